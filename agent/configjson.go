package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A node is a value of a JSON or YAML text and where it is.
type node struct {
	line, col int
	value     any    // nil, bool, string, json.Number or []*node
	fields    fields // not nil: an object, and value is nil
}

// fields are the members of an object in their order.
type fields []field

type field struct {
	key   string
	line  int
	value *node
}

// A syntaxError is a place where a text is no JSON, or no YAML.
type syntaxError struct {
	line, col int
	text      string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.line, e.col, e.text)
}

// blankComments replaces // and /* */ comments by blanks, which the official
// agent allows, so that offsets stay what they are.
func blankComments(src []byte) ([]byte, error) {
	out := bytes.Clone(src)
	for i := 0; i < len(out); i++ {
		switch {
		case out[i] == '"':
			for i++; i < len(out) && out[i] != '"'; i++ {
				if out[i] == '\\' {
					i++
				}
			}
		case bytes.HasPrefix(out[i:], []byte("//")):
			for ; i < len(out) && out[i] != '\n'; i++ {
				out[i] = ' '
			}
		case bytes.HasPrefix(out[i:], []byte("/*")):
			n := bytes.Index(out[i+2:], []byte("*/"))
			if n < 0 {
				return nil, syntaxAt(src, int64(i), "a comment that begins here is not closed")
			}
			for end := i + n + 4; i < end; i++ {
				if out[i] != '\n' {
					out[i] = ' '
				}
			}
			i--
		case len(out)-i > 2 && out[i] == 0xe2 && out[i+1] == 0x80 && out[i+2] >= 0x98 && out[i+2] <= 0x9f: // U+2018 to U+201F
			return nil, syntaxAt(src, int64(i), `a typographic quotation mark; texts stand in straight ones, "`)
		}
	}
	return out, nil
}

// lineAt returns the line and the column, in characters from 1, of an offset.
func lineAt(src []byte, off int64) (line, col int) {
	before := src[:min(off, int64(len(src)))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[start:])
}

func syntaxAt(src []byte, off int64, text string) *syntaxError {
	line, col := lineAt(src, off)
	return &syntaxError{line, col, text}
}

// parseJSON returns the one value of a text.
func parseJSON(src []byte) (*node, error) {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	text, err := blankComments(src)
	if err != nil {
		return nil, err
	}
	p := &parser{src: text, dec: json.NewDecoder(bytes.NewReader(text))}
	p.dec.UseNumber()
	n, err := p.value()
	if err == nil {
		if _, more := p.dec.Token(); !errors.Is(more, io.EOF) {
			off := p.dec.InputOffset()
			off += int64(len(text[off:]) - len(bytes.TrimLeft(text[off:], " \t\r\n")))
			err = syntaxAt(text, off, "something follows the closing brace; remove it")
		}
	}
	if err != nil {
		return nil, p.explain(err)
	}
	return n, nil
}

type parser struct {
	src   []byte
	dec   *json.Decoder
	depth int
}

const maxDepth = 100

// next returns the next token and its offset.
func (p *parser) next() (json.Token, int64, error) {
	start := p.dec.InputOffset()
	t, err := p.dec.Token()
	// The offset is that of the end of the token before.
	for start < int64(len(p.src)) && strings.IndexByte(" \t\r\n,:", p.src[start]) >= 0 {
		start++
	}
	return t, start, err
}

func (p *parser) value() (*node, error) {
	t, off, err := p.next()
	if err != nil {
		return nil, err
	}
	n := &node{value: t}
	n.line, n.col = lineAt(p.src, off)
	if p.depth++; p.depth > maxDepth {
		return nil, &syntaxError{n.line, n.col, "nested too deeply"}
	}
	switch t {
	case json.Delim('{'):
		n.value = nil
		n.fields = fields{}
		for p.dec.More() {
			key, at, err := p.next()
			if err != nil {
				return nil, err
			}
			v, err := p.value()
			if err != nil {
				return nil, err
			}
			k, _ := key.(string)
			line, _ := lineAt(p.src, at)
			n.fields = append(n.fields, field{k, line, v})
		}
	case json.Delim('['):
		list := []*node{}
		for p.dec.More() {
			v, err := p.value()
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		n.value = list
	default:
		p.depth--
		return n, nil
	}
	p.depth--
	if _, _, err := p.next(); err != nil {
		return nil, err
	}
	return n, nil
}

const trailingComma = "a comma stands before a closing brace or bracket; remove it"

// explain gives an error of the decoder its line and what is most likely wrong.
func (p *parser) explain(err error) error {
	if se, ok := errors.AsType[*syntaxError](err); ok {
		return se
	}
	off := p.dec.InputOffset()
	if je, ok := errors.AsType[*json.SyntaxError](err); ok {
		off = max(off, je.Offset-1)
	}
	// What is wrong is the token there, not the blanks before it.
	if at := min(off, int64(len(p.src))); at > 0 {
		off = at + int64(len(p.src[at:])-len(bytes.TrimLeft(p.src[at:], " \t\r\n")))
	}
	e := syntaxAt(p.src, off, "")
	rest := bytes.TrimLeft(p.src[min(off, int64(len(p.src))):], " \t\r\n")
	before := bytes.TrimRight(p.src[:min(off, int64(len(p.src)))], " \t\r\n")
	switch {
	case len(bytes.TrimSpace(p.src)) == 0:
		e.text = "the file is empty; it must hold an object with \"flows\""
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || len(rest) == 0:
		e.line, e.col = lineAt(p.src, int64(len(bytes.TrimRight(p.src, " \t\r\n"))))
		e.text = "the text ends early; a brace, a bracket or a quote is not closed"
	case bytes.HasSuffix(before, []byte(",")) && (rest[0] == '}' || rest[0] == ']'):
		e.line, e.col = lineAt(p.src, int64(len(before)-1))
		e.text = trailingComma
	case rest[0] == ',' && len(bytes.TrimLeft(rest[1:], " \t\r\n")) > 0 && strings.IndexByte("}]", bytes.TrimLeft(rest[1:], " \t\r\n")[0]) >= 0:
		e.text = trailingComma
	case strings.IndexByte("}]", rest[0]) >= 0 && bytes.ContainsAny(before[len(before)-min(1, len(before)):], ":[{"):
		e.text = "a value is missing before this bracket or brace"
	case strings.HasSuffix(err.Error(), "after object key"):
		e.text = "a colon is missing between a key and its value"
	case rest[0] == '\'':
		e.text = "texts stand in double quotes"
	case rest[0] == '"' && strings.HasSuffix(err.Error(), "in string escape code"):
		at := badEscape(rest)
		e.line, e.col = lineAt(p.src, int64(len(p.src)-len(rest)+at))
		e.text = fmt.Sprintf(`%q is none of the escapes of JSON; write \\ for a backslash`, rest[at:at+2])
	case rest[0] == '"' && strings.HasSuffix(err.Error(), "in string literal"):
		e.text = "this text goes on to the end of the line; its closing quote is missing, or it holds a line break or a tab that must be written \\n or \\t"
	case rest[0] == '"':
		e.text = "a comma is missing before this line's key or value"
	default:
		e.text = err.Error() + "; correct it here or just before"
	}
	return e
}

// badEscape returns where in a text, which begins with its quote and has one, there is
// a backslash with what may not follow it.
func badEscape(text []byte) int {
	i := 1
	for ; i < len(text)-2; i++ {
		if text[i] != '\\' {
			continue
		}
		if strings.IndexByte(`"\/bfnrtu`, text[i+1]) < 0 {
			break
		}
		i++
	}
	return i
}

// The official agent turns scalars into what a key wants: text into numbers and
// truth values, and the other way round.

func (n *node) isNull() bool { return n.value == nil && n.fields == nil }

func (n *node) asString() (string, error) {
	switch v := n.value.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", errors.New("must be a text")
}

func (n *node) asInt() (int64, error) {
	s, err := n.asString()
	if err == nil {
		var v int64
		if v, err = strconv.ParseInt(strings.TrimSpace(s), 10, 64); err == nil {
			return v, nil
		}
	}
	return 0, errors.New("must be a whole number")
}

func (n *node) asBool() (bool, error) {
	s, err := n.asString()
	if err == nil {
		switch strings.ToLower(strings.TrimSpace(s)) {
		case "true", "t", "yes", "y", "1":
			return true, nil
		case "false", "f", "no", "n", "0":
			return false, nil
		}
	}
	return false, errors.New("must be true or false")
}

func (n *node) asStrings() ([]string, error) {
	list, ok := n.value.([]*node)
	if !ok {
		return nil, errors.New("must be a list of texts")
	}
	var out []string
	for _, e := range list {
		s, ok := e.value.(string)
		if !ok {
			return nil, errors.New("must be a list of texts")
		}
		out = append(out, s)
	}
	return out, nil
}
