package table

import (
	"encoding/base64"
	"slices"
)

// parseCondition reads a condition, filter or key condition expression. msg is
// what is wrong with it, empty if nothing is.
func parseCondition(src string, ph *placeholders) (c *condition, msg string) {
	p := newParser(src, ph)
	defer p.free()
	if !p.failed() {
		c = p.condition(p.or())
		p.end()
	}
	if msg = p.err(); msg != "" {
		return nil, msg
	}
	return c, ""
}

// term is a condition or, while it is not known yet which of the two a
// parenthesis holds, an operand.
type term struct {
	cond    *condition
	operand operand
	parens  bool // stands in parentheses of its own
}

// condition returns the condition that t is, and fails if it is an operand.
func (p *parser) condition(t term) *condition {
	if t.cond == nil && !p.failed() {
		if t.operand.op == operandSize {
			p.note(faultMisuse, "The function is not allowed to be used this way in an expression; function: size")
			return &condition{op: condExists, args: []operand{{path: attribute("")}}}
		}
		p.fail()
	}
	return t.cond
}

func (p *parser) or() term { return p.chain(condOr) }

// chain reads one or more parts that the operator op, AND or OR, joins.
func (p *parser) chain(op conditionOp) term {
	t := p.part(op)
	if p.failed() || !p.isWord(op.String()) {
		return t
	}
	c := p.ph.slab.condition(condition{op: op, subs: append(make([]*condition, 0, 2), p.condition(t))})
	for p.word(op.String()) {
		p.operators++
		c.subs = append(c.subs, p.condition(p.part(op)))
	}
	return term{cond: c}
}

// part reads what op joins, which is what binds closer than op.
func (p *parser) part(op conditionOp) term {
	if op == condOr {
		return p.chain(condAnd)
	}
	return p.not()
}

func (p *parser) not() term {
	if !p.word("NOT") {
		return p.comparison()
	}
	p.operators++
	defer p.leave()
	if !p.enter() {
		return term{}
	}
	return term{cond: &condition{op: condNot, subs: []*condition{p.condition(p.not())}}}
}

// comparison reads a comparison, a function, or something in parentheses.
func (p *parser) comparison() term {
	t := p.primary()
	if p.failed() || t.cond != nil {
		return t
	}
	first := t.operand
	for op := condEQ; op <= condGE; op++ {
		if !p.symbol(op.String()) {
			continue
		}
		p.operators++
		return p.check(op, first, p.operand())
	}
	switch {
	case p.word("BETWEEN"):
		p.operators++
		low := p.operand()
		if !p.word("AND") {
			p.fail()
		}
		return p.check(condBetween, first, low, p.operand())
	case p.word("IN"):
		p.operators++
		p.expect("(")
		args := append([]operand{first}, p.operands()...)
		if n := len(args) - 1; n > maxInOperands {
			p.note(faultCount, "The IN operator is provided with too many operands; number of operands: %d", n)
		}
		return p.check(condIn, args...)
	}
	return t
}

// primary reads an operand, a function, or something in parentheses.
func (p *parser) primary() term {
	if p.symbol("(") {
		defer p.leave()
		if !p.enter() {
			return term{}
		}
		t := p.or()
		p.expect(")")
		if t.parens {
			p.note(faultParens, "The expression has redundant parentheses;")
		}
		t.parens = true
		return t
	}
	if p.failed() {
		return term{}
	}
	if p.isCall() && !p.isKeyword() {
		return p.call()
	}
	if p.tok().kind == lexValue {
		return term{operand: p.literal()}
	}
	return term{operand: operand{op: operandPath, path: p.path()}}
}

// operand reads what an operator works on: no condition.
func (p *parser) operand() operand {
	t := p.primary()
	if t.cond != nil && !p.failed() {
		if t.parens || t.cond.op < condExists {
			p.fail()
		}
		p.note(faultMisuse, "The function is not allowed to be used this way in an expression; function: %s", t.cond.op)
	}
	return t.operand
}

// operands reads operands up to the closing parenthesis.
func (p *parser) operands() []operand {
	list := []operand{p.operand()}
	for p.symbol(",") {
		list = append(list, p.operand())
	}
	p.expect(")")
	return list
}

// call reads a function call.
func (p *parser) call() term {
	name := p.text(p.take())
	p.expect("(")
	p.operators++
	defer p.leave()
	if !p.enter() {
		return term{}
	}
	args := p.operands()
	if p.failed() {
		return term{}
	}
	if name == "size" {
		p.count(name, args, 1)
		if k, ok := args[0].kindIfKnown(); ok && (k == kindN || k == kindBOOL || k == kindNULL) {
			p.wrongType("operator or function: size", k)
		}
		return term{operand: operand{op: operandSize, args: args}}
	}
	i := slices.Index(conditionNames[condExists:], name)
	if i < 0 {
		p.note(faultFunction, "Invalid function name; function: %s", name)
		i = 0
	}
	return p.check(condExists+conditionOp(i), args...)
}

// count notes a fault unless there are n arguments.
func (p *parser) count(name string, args []operand, n int) bool {
	if len(args) == n {
		return true
	}
	p.note(faultCount, "Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", name, len(args))
	return false
}

func (p *parser) wrongType(where string, k kind) {
	p.note(faultType, "Incorrect operand type for operator or function; %s, operand type: %s", where, k)
}

// check returns the condition, and notes what is wrong with its operands.
func (p *parser) check(op conditionOp, args ...operand) term {
	t := term{cond: p.ph.slab.condition(condition{op: op, args: p.ph.slab.list(args...)})}
	if p.failed() {
		return t
	}
	switch op {
	case condExists, condNotExists:
		if p.count(op.String(), args, 1) && args[0].op != operandPath {
			p.note(faultType, "Operator or function requires a document path; operator or function: %s", op)
		}
		return t
	case condType, condBeginsWith, condContains:
		if !p.count(op.String(), args, 2) {
			return t
		}
	default: // an operator, which has its operands by its grammar
	}
	if a, b := args[0], args[1]; len(args) == 2 && a.op == operandPath && b.op == operandPath && slices.Equal(a.path, b.path) {
		p.note(faultDistinct, "The first operand must be distinct from the remaining operands for this operator or function; operator: %s, first operand: %s", op, a.path)
	}
	p.checkTypes(op, args)
	return t
}

func (p *parser) checkTypes(op conditionOp, args []operand) {
	switch op {
	case condLT, condLE, condGT, condGE, condBetween:
		for i := range args {
			if k, ok := args[i].kindIfKnown(); ok && !k.isOrdered() {
				p.wrongType("operator: "+op.String(), k)
			}
		}
		if op == condBetween {
			p.checkBounds(&args[1], &args[2])
		}
	case condBeginsWith:
		for i := range args {
			if k, ok := args[i].kindIfKnown(); ok && k != kindS && k != kindB {
				p.wrongType("operator or function: begins_with", k)
			}
		}
	case condType:
		if k, ok := args[1].kindIfKnown(); !ok || k != kindS || args[1].op != operandValue {
			if !ok {
				p.note(faultType, "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: {NS,SS,L,BS,N,M,B,BOOL,NULL,S}")
				return
			}
			p.wrongType("operator or function: attribute_type", k)
			return
		}
		if _, ok := kindOf(args[1].value.text); !ok {
			p.note(faultType, "Invalid attribute type name found; type: %s, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}", args[1].value.text)
		}
	default: // any type will do
	}
}

// checkBounds notes a fault if both bounds of BETWEEN are literals that do not
// go together.
func (p *parser) checkBounds(low, high *operand) {
	if low.op != operandValue || high.op != operandValue {
		return
	}
	form := func(v *value) string {
		s := v.text
		if v.kind == kindB {
			s = base64.StdEncoding.EncodeToString([]byte(s))
		}
		return "AttributeValue: {" + v.kind.String() + ":" + s + "}"
	}
	what := ""
	if c, ok := compareValues(&low.value, &high.value); !ok {
		what = "same data type for lower and upper bounds"
	} else if c > 0 {
		what = "upper bound to be greater than or equal to lower bound"
	}
	if what != "" {
		p.note(faultType, "The BETWEEN operator requires %s; lower bound operand: %s, upper bound operand: %s", what, form(&low.value), form(&high.value))
	}
}
