package table

import (
	"slices"
	"strconv"
	"strings"
)

// step is one step of a document path: into a map by name, or into a list by
// index.
type step struct {
	name  string
	index int // −1 for a name
}

// path leads from an item to a value inside it. It has at least one step, and
// the first is a name.
type path []step

// attribute returns the path to an attribute of an item.
func attribute(name string) path { return path{{name, -1}} }

// String returns the form of p in DynamoDB's messages.
func (p path) String() string {
	var b strings.Builder
	for i, s := range p {
		if i > 0 {
			b.WriteString(", ")
		}
		if s.index >= 0 {
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		} else {
			b.WriteString(s.name)
		}
	}
	return "[" + b.String() + "]"
}

// lookup returns the value at p inside an item, nil if there is none.
func (p path) lookup(item []attr) *value {
	v := find(item, p[0].name)
	for _, s := range p[1:] {
		switch {
		case v == nil:
			return nil
		case s.index < 0 && v.kind == kindM:
			v = find(v.kids, s.name)
		case s.index >= 0 && v.kind == kindL && s.index < len(v.kids):
			v = &v.kids[s.index].value
		default:
			return nil
		}
	}
	return v
}

// operand is what an operator or a function works on.
type operand struct {
	op    operandOp
	path  path
	value value
	args  []operand
}

type operandOp uint8

const (
	operandPath operandOp = iota
	operandValue
	operandSize        // size(path)
	operandPlus        // the rest stands in update expressions only
	operandMinus       //
	operandIfNotExists // args[0] is a path
	operandListAppend  //
)

// kindIfKnown returns the type of o if it can be told without an item.
func (o *operand) kindIfKnown() (kind, bool) {
	switch o.op {
	case operandValue:
		return o.value.kind, true
	case operandSize, operandPlus, operandMinus:
		return kindN, true
	case operandListAppend:
		return kindL, true
	case operandIfNotExists:
		return o.args[1].kindIfKnown()
	case operandPath:
	}
	return 0, false
}

// in returns the value of o in an item, nil if it has none.
func (o *operand) in(item []attr) *value {
	switch o.op {
	case operandValue:
		return &o.value
	case operandSize:
		if v := o.args[0].in(item); v != nil {
			if n, ok := v.length(); ok {
				return &value{kind: kindN, text: strconv.Itoa(n)}
			}
		}
		return nil
	default:
		return o.path.lookup(item)
	}
}

type conditionOp uint8

const (
	condAnd conditionOp = iota
	condOr
	condNot
	condEQ
	condNE
	condLT
	condLE
	condGT
	condGE
	condBetween
	condIn
	condExists
	condNotExists
	condType // args[1] is a literal name of a type
	condBeginsWith
	condContains
)

// conditionNames are the forms in DynamoDB's messages about expressions.
var conditionNames = [...]string{
	condAnd: "AND", condOr: "OR", condNot: "NOT",
	condEQ: "=", condNE: "<>", condLT: "<", condLE: "<=", condGT: ">", condGE: ">=",
	condBetween: "BETWEEN", condIn: "IN",
	condExists: "attribute_exists", condNotExists: "attribute_not_exists", condType: "attribute_type",
	condBeginsWith: "begins_with", condContains: "contains",
}

func (o conditionOp) String() string { return conditionNames[o] }

// condition is a condition on an item: of an expression, or of one of the
// older parameters that expressions replace. A nil condition always holds.
type condition struct {
	op   conditionOp
	subs []*condition // of AND, OR, NOT
	args []operand    // of the others
}

// holds reports whether c holds for an item; a missing item has no attributes.
func (c *condition) holds(item []attr) bool {
	if c == nil {
		return true
	}
	switch c.op {
	case condAnd:
		for _, s := range c.subs {
			if !s.holds(item) {
				return false
			}
		}
		return true
	case condOr:
		return slices.ContainsFunc(c.subs, func(s *condition) bool { return s.holds(item) })
	case condNot:
		return !c.subs[0].holds(item)
	case condExists:
		return c.args[0].in(item) != nil
	case condNotExists:
		return c.args[0].in(item) == nil
	case condNE:
		a, b := c.args[0].in(item), c.args[1].in(item)
		return a == nil || b == nil || !equal(a, b)
	default:
		a := c.args[0].in(item)
		return a != nil && c.compare(a, item)
	}
}

// compare evaluates the conditions that need a first operand.
func (c *condition) compare(a *value, item []attr) bool {
	if c.op == condIn {
		for i := range c.args[1:] {
			if b := c.args[i+1].in(item); b != nil && equal(a, b) {
				return true
			}
		}
		return false
	}
	b := c.args[1].in(item)
	if b == nil {
		return false
	}
	switch c.op {
	case condEQ:
		return equal(a, b)
	case condType:
		return a.kind.String() == b.text
	case condBeginsWith:
		return a.kind == b.kind && a.kind != kindN && a.kind.isOrdered() && strings.HasPrefix(a.text, b.text)
	case condContains:
		return contains(a, b)
	default:
		return c.inOrder(a, b, item)
	}
}

// inOrder evaluates the conditions that need an order.
func (c *condition) inOrder(a, b *value, item []attr) bool {
	n, ok := compareValues(a, b)
	if !ok {
		return false
	}
	switch c.op {
	case condLT:
		return n < 0
	case condLE:
		return n <= 0
	case condGT:
		return n > 0
	case condGE:
		return n >= 0
	default: // condBetween
		upper := c.args[2].in(item)
		if upper == nil || n < 0 {
			return false
		}
		n, ok = compareValues(a, upper)
		return ok && n <= 0
	}
}

// contains reports whether b is a part of the string or binary a, or a member
// of the set or list a.
func contains(a, b *value) bool {
	switch {
	case a.kind == kindL:
		return slices.ContainsFunc(a.kids, func(e attr) bool { return equal(&e.value, b) })
	case a.kind.isSet():
		return a.kind.element() == b.kind && slices.ContainsFunc(a.kids, func(e attr) bool { return e.text == b.text })
	case a.kind == b.kind && (a.kind == kindS || a.kind == kindB):
		return strings.Contains(a.text, b.text)
	}
	return false
}
