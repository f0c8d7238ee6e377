package table

import (
	"fmt"
	"strings"
	"sync"
)

// Limits of expressions. Source: Amazon DynamoDB Developer Guide, "Service
// quotas": length 4 KB, 300 operators, 100 operands of IN; a path as deep as a
// value can be.
const (
	maxExpression = 4 << 10
	maxOperators  = 300
	maxInOperands = 100
	maxPathSteps  = maxNesting
)

type lexKind uint8

const (
	lexEnd lexKind = iota
	lexWord
	lexName  // #name
	lexValue // :value
	lexNumber
	lexSymbol
	lexBad
)

// lexeme is a token of an expression.
type lexeme struct {
	kind       lexKind
	start, end int
}

// tokenize appends the tokens of src and an end token.
func tokenize(dst []lexeme, src string) []lexeme {
	for i := 0; ; {
		for i < len(src) && strings.IndexByte(" \t\r\n", src[i]) >= 0 {
			i++
		}
		if i >= len(src) {
			return append(dst, lexeme{lexEnd, len(src), len(src)})
		}
		t := lexeme{start: i}
		c := src[i]
		i++
		switch {
		case isLetter(c):
			t.kind = lexWord
			i = wordEnd(src, i)
		case c == '#' || c == ':':
			t.kind = lexName
			if c == ':' {
				t.kind = lexValue
			}
			if i = wordEnd(src, i); i == t.start+1 {
				t.kind = lexBad
			}
		case isDigit(c):
			t.kind = lexNumber
			for i < len(src) && isDigit(src[i]) {
				i++
			}
		case strings.IndexByte("=(),.[]+-", c) >= 0:
			t.kind = lexSymbol
		case c == '<' || c == '>':
			t.kind = lexSymbol
			if i < len(src) && (src[i] == '=' || c == '<' && src[i] == '>') {
				i++
			}
		default:
			t.kind = lexBad
		}
		t.end = i
		dst = append(dst, t)
	}
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

func wordEnd(s string, i int) int {
	for i < len(s) && (isLetter(s[i]) || isDigit(s[i])) {
		i++
	}
	return i
}

// placeholders are ExpressionAttributeNames and ExpressionAttributeValues, and
// which of them the expressions of a request have used.
type placeholders struct {
	names      []attr // text is the attribute's name
	usedNames  []bool
	values     []attr
	usedValues []bool
	usedSpace  [2][8]bool // of small maps
	slab       slab
}

// fault is an error in an expression that is not one of syntax. Of several, the
// one that DynamoDB looks for first is reported: the order is that of the
// constants.
type fault uint8

const (
	faultParens fault = iota
	faultFunction
	faultMisuse
	faultReserved
	faultSection
	faultUndefined
	faultCount
	faultDistinct
	faultOverlap
	faultType
	faultNone
)

// parser reads one expression by recursive descent.
type parser struct {
	src       string
	toks      []lexeme
	at        int
	ph        *placeholders
	operators int
	depth     int

	syntax string // the first error of syntax; ends the parsing
	worst  fault
	msg    string // of worst
}

// parsers keeps parsers for the room that their tokens take.
var parsers = sync.Pool{New: func() any { return new(parser) }}

// newParser returns a parser of src, which must be freed.
func newParser(src string, ph *placeholders) *parser {
	p := parsers.Get().(*parser)
	p.init(src, ph, p.toks[:0])
	return p
}

func (p *parser) free() {
	p.src, p.ph = "", nil
	if cap(p.toks) <= maxKeptTokens {
		parsers.Put(p)
	}
}

const maxKeptTokens = 512

// init makes p a parser of src. buf is where the tokens go if they fit.
func (p *parser) init(src string, ph *placeholders, buf []lexeme) {
	*p = parser{src: src, ph: ph, worst: faultNone}
	switch {
	case len(src) > maxExpression:
		p.syntax = fmt.Sprintf("Expression size has exceeded the maximum allowed size; expression size: %d", len(src))
	case strings.Trim(src, " \t\r\n") == "":
		p.syntax = "The expression can not be empty;"
	}
	if p.syntax != "" {
		p.toks = append(buf, lexeme{})
		return
	}
	p.toks = tokenize(buf, src)
}

// err returns what is wrong with the expression, in the words that follow
// "Invalid ConditionExpression: ".
func (p *parser) err() string {
	switch {
	case p.syntax != "":
		return p.syntax
	case p.operators > maxOperators:
		return fmt.Sprintf("The expression contains too many operators; operator count: %d", p.operators)
	}
	return p.msg
}

// note remembers a fault.
func (p *parser) note(f fault, format string, args ...any) {
	if f < p.worst {
		p.worst, p.msg = f, fmt.Sprintf(format, args...)
	}
}

// fail remembers that the next token is wrong.
func (p *parser) fail() {
	if p.syntax != "" {
		return
	}
	t := p.toks[p.at]
	from, to := t.start, t.end
	if p.at > 0 {
		from = p.toks[p.at-1].start
	}
	if p.at+1 < len(p.toks) {
		to = p.toks[p.at+1].end
	}
	text := p.src[t.start:t.end]
	if t.kind == lexEnd {
		text = "<EOF>"
	}
	p.syntax = fmt.Sprintf("Syntax error; token: \"%s\", near: \"%s\"", text, strings.TrimSpace(p.src[from:to]))
}

// failed reports whether there was an error of syntax.
func (p *parser) failed() bool { return p.syntax != "" }

func (p *parser) tok() lexeme          { return p.toks[p.at] }
func (p *parser) text(t lexeme) string { return p.src[t.start:t.end] }

// take consumes and returns the next token; the end token stays.
func (p *parser) take() lexeme {
	t := p.toks[p.at]
	if t.kind != lexEnd {
		p.at++
	}
	return t
}

func (p *parser) isSymbol(s string) bool {
	t := p.tok()
	return t.kind == lexSymbol && p.text(t) == s
}

// symbol consumes the symbol s if it comes next.
func (p *parser) symbol(s string) bool {
	if p.failed() || !p.isSymbol(s) {
		return false
	}
	p.at++
	return true
}

func (p *parser) expect(s string) {
	if !p.symbol(s) {
		p.fail()
	}
}

// isWord reports whether the keyword w, in any case, comes next.
func (p *parser) isWord(w string) bool {
	t := p.tok()
	return t.kind == lexWord && len(w) == t.end-t.start && strings.EqualFold(p.text(t), w)
}

func (p *parser) word(w string) bool {
	if p.failed() || !p.isWord(w) {
		return false
	}
	p.at++
	return true
}

// enter guards the recursion; leave must be called after it, whatever it says.
func (p *parser) enter() bool {
	if p.depth++; p.depth > maxOperators {
		p.fail()
	}
	return !p.failed()
}

func (p *parser) leave() { p.depth-- }

// end requires that nothing is left.
func (p *parser) end() {
	if !p.failed() && p.tok().kind != lexEnd {
		p.fail()
	}
}

// isCall reports whether a function call comes next.
func (p *parser) isCall() bool {
	return p.tok().kind == lexWord && p.toks[p.at+1].kind == lexSymbol && p.text(p.toks[p.at+1]) == "("
}

// isKeyword reports whether a word that cannot start an operand comes next.
func (p *parser) isKeyword() bool {
	return p.isWord("AND") || p.isWord("OR") || p.isWord("NOT") || p.isWord("BETWEEN") || p.isWord("IN")
}

// path reads a document path.
func (p *parser) path() path {
	var steps path
	if s, ok := p.name(); ok {
		steps = p.ph.slab.path(s)
	}
	for !p.failed() {
		switch {
		case p.symbol("."):
			s, _ := p.name()
			steps = append(steps, s)
		case p.symbol("["):
			t := p.tok()
			if t.kind != lexNumber || t.end-t.start > 9 {
				p.fail()
				break
			}
			p.at++
			n := 0
			for _, c := range []byte(p.text(t)) {
				n = n*10 + int(c-'0')
			}
			p.expect("]")
			steps = append(steps, step{index: n})
		default:
			if len(steps) > maxPathSteps {
				p.syntax = fmt.Sprintf("The document path has too many nesting elements; nesting levels: %d", len(steps))
			}
			return steps
		}
	}
	return steps
}

// name reads the name of a step.
func (p *parser) name() (step, bool) {
	if p.failed() {
		return step{}, false
	}
	t := p.tok()
	switch t.kind {
	case lexWord:
		if p.isKeyword() {
			break
		}
		p.at++
		w := p.text(t)
		if isReserved(w) {
			p.note(faultReserved, "Attribute name is a reserved keyword; reserved keyword: %s", w)
		}
		return step{w, -1}, true
	case lexName:
		p.at++
		i, ok := search(p.ph.names, p.text(t))
		if !ok {
			p.note(faultUndefined, "An expression attribute name used in the document path is not defined; attribute name: %s", p.text(t))
			return step{index: -1}, true
		}
		p.ph.usedNames[i] = true
		return step{p.ph.names[i].text, -1}, true
	default:
	}
	p.fail()
	return step{}, false
}

// literal reads a :value.
func (p *parser) literal() operand {
	t := p.take()
	i, ok := search(p.ph.values, p.text(t))
	if !ok {
		p.note(faultUndefined, "An expression attribute value used in expression is not defined; attribute value: %s", p.text(t))
		return operand{op: operandValue, value: value{kind: kindNULL}}
	}
	p.ph.usedValues[i] = true
	return operand{op: operandValue, value: p.ph.values[i].value}
}
