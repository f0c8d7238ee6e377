package table

// parseUpdate reads an update expression. msg is what is wrong with it, empty
// if nothing is.
func parseUpdate(src string, ph *placeholders) (u *update, msg string) {
	p := newParser(src, ph)
	defer p.free()
	u = &update{actions: make([]action, 0, 2)}
	var seen [len(actionNames)]bool
	for first := true; !p.failed() && (first || p.tok().kind != lexEnd); first = false {
		op := actionOp(0)
		for int(op) < len(actionNames) && !p.isWord(op.String()) {
			op++
		}
		if int(op) == len(actionNames) {
			p.fail()
			break
		}
		p.at++
		if seen[op] {
			p.note(faultSection, "The \"%s\" section can only be used once in an update expression;", op)
		}
		seen[op] = true
		u.actions = append(u.actions, p.action(op))
		for p.symbol(",") {
			u.actions = append(u.actions, p.action(op))
		}
	}
	if !p.failed() {
		p.checkOverlap(u.paths())
	}
	if msg = p.err(); msg != "" {
		return nil, msg
	}
	u.sort()
	return u, ""
}

// action reads one clause of a section.
func (p *parser) action(op actionOp) action {
	p.operators++
	a := action{op: op, path: p.path()}
	switch op {
	case actionSet:
		p.expect("=")
		a.value = p.setValue()
	case actionAdd, actionDelete:
		if p.failed() || p.tok().kind != lexValue {
			p.fail()
			break
		}
		a.value = p.literal()
		if k := a.value.value.kind; !k.isSet() && (op == actionDelete || k != kindN) {
			p.note(faultType, "Incorrect operand type for operator or function; operator: %s, operand type: %s", op, longNames[k])
		}
	case actionRemove:
	}
	return a
}

// longNames are the names of types in the messages about ADD and DELETE.
var longNames = [...]string{
	kindS: "STRING", kindN: "NUMBER", kindB: "BINARY", kindBOOL: "BOOLEAN", kindNULL: "NULL",
	kindL: "LIST", kindM: "MAP",
}

// setValue reads the right side of an assignment.
func (p *parser) setValue() operand {
	if p.symbol("(") {
		defer p.leave()
		if !p.enter() {
			return operand{}
		}
		o := p.setValue()
		p.expect(")")
		return p.sum(o)
	}
	return p.sum(p.setOperand())
}

// sum reads the rest of a + b or a - b.
func (p *parser) sum(first operand) operand {
	op := operandPlus
	switch {
	case p.symbol("+"):
	case p.symbol("-"):
		op = operandMinus
	default:
		return first
	}
	p.operators++
	o := operand{op: op, args: []operand{first, p.setOperand()}}
	name := "+"
	if op == operandMinus {
		name = "-"
	}
	for i := range o.args {
		if k, ok := o.args[i].kindIfKnown(); ok && k != kindN {
			p.wrongType("operator or function: "+name, k)
		}
	}
	return o
}

// setOperand reads a path, a literal, a function of the two, or one of them in
// parentheses.
func (p *parser) setOperand() operand {
	defer p.leave()
	if !p.enter() {
		return operand{}
	}
	switch {
	case p.symbol("("):
		o := p.setOperand()
		p.expect(")")
		return o
	case p.isCall():
		return p.setCall()
	case p.tok().kind == lexValue:
		return p.literal()
	}
	return operand{op: operandPath, path: p.path()}
}

func (p *parser) setCall() operand {
	name := p.text(p.take())
	p.expect("(")
	p.operators++
	args := []operand{p.setOperand()}
	for p.symbol(",") {
		args = append(args, p.setOperand())
	}
	p.expect(")")
	nothing := operand{op: operandValue, value: value{kind: kindNULL}}
	if p.failed() {
		return nothing
	}
	switch name {
	case "if_not_exists":
		if !p.count(name, args, 2) {
			return nothing
		}
		if args[0].op != operandPath {
			p.note(faultType, "Operator or function requires a document path; operator or function: if_not_exists")
		}
		return operand{op: operandIfNotExists, args: args}
	case "list_append":
		if !p.count(name, args, 2) {
			return nothing
		}
		for i := range args {
			if k, ok := args[i].kindIfKnown(); ok && k != kindL {
				p.wrongType("operator or function: list_append", k)
			}
		}
		return operand{op: operandListAppend, args: args}
	}
	p.note(faultFunction, "Invalid function name; function: %s", name)
	return nothing
}

// checkOverlap notes a fault if one path leads to or into what another does,
// or uses as a list what another uses as a map.
func (p *parser) checkOverlap(paths []path) {
	for i := range paths {
		for j := range i {
			if what := overlap(paths[j], paths[i]); what != "" {
				p.note(faultOverlap, "Two document paths %s with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", what, paths[j], paths[i])
				return
			}
		}
	}
}

func overlap(a, b path) string {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == b[i]:
		case (a[i].index < 0) != (b[i].index < 0):
			return "conflict"
		default:
			return ""
		}
	}
	return "overlap"
}
