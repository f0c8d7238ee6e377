package consumer_test

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// What DynamoDB makes of expressions, as far as leases need it. What is not known
// here is a fault of the request: it panics, and so is noticed.

// simItem is a row. Rows are never changed, but replaced.
type simItem = map[string]types.AttributeValue

// simArgs are the names and values that go with an expression.
type simArgs struct {
	names  map[string]string
	values simItem
}

type (
	simCond   func(simItem, *simArgs) bool
	simValue  func(simItem, *simArgs) types.AttributeValue // nil if there is none
	simChange func(before, after simItem, a *simArgs)
)

var simParsed struct {
	sync.Mutex // guards both
	conds      map[string]simCond
	updates    map[string]simChange
}

func simCondition(expr *string) simCond {
	if expr == nil {
		return func(simItem, *simArgs) bool { return true }
	}
	simParsed.Lock()
	defer simParsed.Unlock()
	c, ok := simParsed.conds[*expr]
	if !ok {
		p := newSimParser(*expr)
		c = p.or()
		p.end()
		if simParsed.conds == nil {
			simParsed.conds = map[string]simCond{}
		}
		simParsed.conds[*expr] = c
	}
	return c
}

func simUpdate(expr *string) simChange {
	simParsed.Lock()
	defer simParsed.Unlock()
	u, ok := simParsed.updates[*expr]
	if !ok {
		p := newSimParser(*expr)
		u = p.update()
		p.end()
		if simParsed.updates == nil {
			simParsed.updates = map[string]simChange{}
		}
		simParsed.updates[*expr] = u
	}
	return u
}

type simParser struct {
	text   string
	tokens []string
}

func newSimParser(text string) *simParser {
	p := &simParser{text: text}
	for rest := text; ; {
		rest = strings.TrimLeft(rest, " \n\t")
		if rest == "" {
			return p
		}
		n := 1
		switch {
		case strings.HasPrefix(rest, "<>") || strings.HasPrefix(rest, "<=") || strings.HasPrefix(rest, ">="):
			n = 2
		case strings.ContainsRune("=<>(),+-", rune(rest[0])):
		default:
			if n = strings.IndexAny(rest, " \n\t=<>(),+-"); n < 0 {
				n = len(rest)
			}
			if n == 0 || strings.ContainsAny(rest[:n], "[]") {
				p.fail()
			}
		}
		p.tokens = append(p.tokens, rest[:n])
		rest = rest[n:]
	}
}

func (p *simParser) fail() { panic(fmt.Sprintf("expression %q: not known: %v", p.text, p.tokens)) }

func (p *simParser) end() {
	if len(p.tokens) > 0 {
		p.fail()
	}
}

func (p *simParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return strings.ToUpper(p.tokens[0])
}

func (p *simParser) next() string {
	if len(p.tokens) == 0 {
		p.fail()
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

// accept takes the next token if it is one of these.
func (p *simParser) accept(words ...string) bool {
	if slices.Contains(words, p.peek()) {
		p.next()
		return true
	}
	return false
}

func (p *simParser) must(word string) {
	if !p.accept(word) {
		p.fail()
	}
}

func (p *simParser) or() simCond {
	left := p.and()
	for p.accept("OR") {
		a, b := left, p.and()
		left = func(it simItem, args *simArgs) bool { return a(it, args) || b(it, args) }
	}
	return left
}

func (p *simParser) and() simCond {
	left := p.not()
	for p.accept("AND") {
		a, b := left, p.not()
		left = func(it simItem, args *simArgs) bool { return a(it, args) && b(it, args) }
	}
	return left
}

func (p *simParser) not() simCond {
	if p.accept("NOT") {
		c := p.not()
		return func(it simItem, args *simArgs) bool { return !c(it, args) }
	}
	if p.accept("(") {
		c := p.or()
		p.must(")")
		return c
	}
	switch word := p.peek(); word {
	case "ATTRIBUTE_EXISTS", "ATTRIBUTE_NOT_EXISTS":
		p.next()
		p.must("(")
		v := p.value()
		p.must(")")
		there := word == "ATTRIBUTE_EXISTS"
		return func(it simItem, args *simArgs) bool { return (v(it, args) != nil) == there }
	case "BEGINS_WITH":
		p.next()
		p.must("(")
		v := p.value()
		p.must(",")
		prefix := p.value()
		p.must(")")
		return func(it simItem, args *simArgs) bool {
			s, ok := v(it, args).(*types.AttributeValueMemberS)
			return ok && strings.HasPrefix(s.Value, prefix(it, args).(*types.AttributeValueMemberS).Value)
		}
	}
	a := p.value()
	op := p.next()
	b := p.value()
	if !slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, op) {
		p.fail()
	}
	return func(it simItem, args *simArgs) bool {
		c, ok := simCompare(a(it, args), b(it, args))
		switch op {
		case "=":
			return ok && c == 0
		case "<>":
			return !ok || c != 0
		case "<":
			return ok && c < 0
		case "<=":
			return ok && c <= 0
		case ">":
			return ok && c > 0
		}
		return ok && c >= 0
	}
}

// name returns the attribute that a token names.
func (p *simParser) name() func(*simArgs) string {
	t := p.next()
	if strings.Contains(t, ".") {
		p.fail()
	}
	return p.named(t)
}

func (p *simParser) named(t string) func(*simArgs) string {
	if strings.HasPrefix(t, "#") {
		return func(a *simArgs) string {
			n, ok := a.names[t]
			if !ok {
				panic("no name for " + t)
			}
			return n
		}
	}
	if strings.HasPrefix(t, ":") || strings.ContainsAny(t, "=<>(),+-") {
		p.fail()
	}
	return func(*simArgs) string { return t }
}

func (p *simParser) value() simValue {
	if p.accept("IF_NOT_EXISTS") {
		p.must("(")
		n := p.name()
		p.must(",")
		other := p.value()
		p.must(")")
		return func(it simItem, a *simArgs) types.AttributeValue {
			if v, ok := it[n(a)]; ok {
				return v
			}
			return other(it, a)
		}
	}
	if strings.HasPrefix(p.peek(), ":") {
		t := p.next()
		return func(_ simItem, a *simArgs) types.AttributeValue {
			v, ok := a.values[t]
			if !ok {
				panic("no value for " + t)
			}
			return v
		}
	}
	var path []func(*simArgs) string
	for part := range strings.SplitSeq(p.next(), ".") {
		path = append(path, p.named(part))
	}
	return func(it simItem, a *simArgs) types.AttributeValue {
		for _, n := range path[:len(path)-1] {
			m, ok := it[n(a)].(*types.AttributeValueMemberM)
			if !ok {
				return nil
			}
			it = m.Value
		}
		return it[path[len(path)-1](a)] // nil if there is none
	}
}

func (p *simParser) update() simChange {
	var all []simChange
	for len(p.tokens) > 0 {
		section := strings.ToUpper(p.next())
		for first := true; first || p.accept(","); first = false {
			n := p.name()
			switch section {
			case "SET":
				p.must("=")
				v := p.value()
				if sign := p.peek(); p.accept("+", "-") {
					a, b := v, p.value()
					v = func(it simItem, args *simArgs) types.AttributeValue {
						return simAdd(a(it, args), b(it, args), sign == "-")
					}
				}
				all = append(all, func(before, after simItem, a *simArgs) { after[n(a)] = v(before, a) })
			case "REMOVE":
				all = append(all, func(_, after simItem, a *simArgs) { delete(after, n(a)) })
			case "ADD":
				v := p.value()
				all = append(all, func(before, after simItem, a *simArgs) {
					after[n(a)] = simAdd(before[n(a)], v(before, a), false)
				})
			default:
				p.fail()
			}
		}
	}
	return func(before, after simItem, a *simArgs) {
		for _, change := range all {
			change(before, after, a)
		}
	}
}

// simAdd adds two numbers; one that is missing counts as 0.
func simAdd(a, b types.AttributeValue, minus bool) types.AttributeValue {
	n := func(v types.AttributeValue) int64 {
		if v == nil {
			return 0
		}
		n, err := strconv.ParseInt(v.(*types.AttributeValueMemberN).Value, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	}
	sum := n(a) + n(b)
	if minus {
		sum = n(a) - n(b)
	}
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(sum, 10)}
}

// simCompare compares two values; ok is false if they have no order.
func simCompare(a, b types.AttributeValue) (order int, ok bool) {
	switch a := a.(type) {
	case *types.AttributeValueMemberS:
		if b, ok := b.(*types.AttributeValueMemberS); ok {
			return strings.Compare(a.Value, b.Value), true
		}
	case *types.AttributeValueMemberN:
		if b, ok := b.(*types.AttributeValueMemberN); ok {
			if a.Value == b.Value {
				return 0, true
			}
			x, xok := new(big.Float).SetString(a.Value)
			y, yok := new(big.Float).SetString(b.Value)
			if !xok || !yok {
				panic("no numbers: " + a.Value + ", " + b.Value)
			}
			return x.Cmp(y), true
		}
	case *types.AttributeValueMemberBOOL:
		if b, ok := b.(*types.AttributeValueMemberBOOL); ok && a.Value == b.Value {
			return 0, true
		}
	}
	return 0, false
}

// simApply returns the row as an update leaves it, and checks what DynamoDB does
// not take.
func simApply(before simItem, key simItem, change func(before, after simItem)) simItem {
	after := maps.Clone(before)
	if after == nil {
		after = maps.Clone(key)
	}
	change(before, after)
	for name, v := range after {
		switch v := v.(type) {
		case nil:
			panic("no value for " + name)
		case *types.AttributeValueMemberSS:
			if len(v.Value) == 0 {
				panic("an empty set for " + name)
			}
		}
	}
	return after
}
