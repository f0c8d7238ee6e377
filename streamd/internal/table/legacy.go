package table

import (
	"slices"
	"strings"
)

// legacyCondition is one entry of Expected, ScanFilter, QueryFilter or
// KeyConditions.
type legacyCondition struct {
	name     string
	operator string // ComparisonOperator, "" if absent
	exists   *bool
	value    *value
	list     []value
	hasList  bool
}

// legacyUpdate is one entry of AttributeUpdates.
type legacyUpdate struct {
	name   string
	action string // "" if absent
	value  *value
}

var comparisonOperators = map[string]conditionOp{
	"EQ": condEQ, "NE": condNE, "LE": condLE, "LT": condLT, "GE": condGE, "GT": condGT,
	"NOT_NULL": condExists, "NULL": condNotExists, "CONTAINS": condContains, "NOT_CONTAINS": condNot,
	"BEGINS_WITH": condBeginsWith, "IN": condIn, "BETWEEN": condBetween,
}

// legacy reads a map of conditions.
func (p *params) legacy(r *reader, name string, dst *[]legacyCondition) {
	list := []legacyCondition{}
	if !r.optObject(func(attribute string) {
		c := legacyCondition{name: attribute}
		if !r.optObject(func(member string) {
			switch member {
			case "ComparisonOperator":
				p.enum(r, &c.operator, lowerFirst(name)+"."+attribute+".member.comparisonOperator",
					"IN", "NULL", "BETWEEN", "LT", "NOT_CONTAINS", "EQ", "GT", "NOT_NULL", "NE", "LE", "BEGINS_WITH", "GE", "CONTAINS")
			case "Exists":
				if v, ok := r.optBool(); ok {
					c.exists = &v
				}
			case "Value":
				if v, ok := r.value(&p.legacyInvalid, 0); ok {
					c.value = &v
				}
			case "AttributeValueList":
				c.hasList = r.optArray(func() {
					if v, ok := r.value(&p.legacyInvalid, 0); ok {
						c.list = append(c.list, v)
					}
				})
			default:
				r.skip()
			}
		}) {
			return
		}
		if name != "Expected" {
			p.require(c.operator != "", "null", lowerFirst(name)+"."+attribute+".member.comparisonOperator", "Member must not be null")
		}
		list = append(list, c)
	}) {
		return
	}
	p.mark(name)
	*dst = list
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

func readAttributeUpdates(p *params, r *reader) {
	list := []legacyUpdate{}
	if !r.optObject(func(attribute string) {
		u := legacyUpdate{name: attribute}
		if r.optObject(func(member string) {
			switch member {
			case "Action":
				p.enum(r, &u.action, "attributeUpdates."+attribute+".member.action", "ADD", "DELETE", "PUT")
			case "Value":
				if v, ok := r.value(&p.legacyInvalid, 0); ok {
					u.value = &v
				}
			default:
				r.skip()
			}
		}) {
			list = append(list, u)
		}
	}) {
		return
	}
	p.mark("AttributeUpdates")
	p.attributeUpdates = list
}

// compileLegacy turns the older parameters into what expressions become.
func (r *Request) compileLegacy() error {
	p := &r.p
	if p.legacyInvalid != nil {
		return p.legacyInvalid
	}
	if p.conditionalOperator != "" && p.expected == nil && p.filterCondition == nil {
		return invalid("ConditionalOperator cannot be used without Filter or Expected")
	}
	or := p.conditionalOperator == "OR"
	var err error
	if r.update, err = legacyUpdates(&p.ph.slab, p.attributeUpdates); err != nil {
		return err
	}
	if r.condition, err = p.legacyConditions(p.expected, or); err != nil {
		return err
	}
	if r.filter, err = p.legacyConditions(p.filterCondition, or); err != nil {
		return err
	}
	if len(p.attributesGet) > 0 {
		for i, name := range p.attributesGet {
			if slices.Contains(p.attributesGet[:i], name) {
				return invalidParameter("Duplicate value in attribute name: %s", name)
			}
			r.projection = append(r.projection, attribute(name))
		}
	}
	if p.keyConditions == nil {
		return nil
	}
	if n := len(p.keyConditions); n != 1 && n != 2 {
		return invalid("Conditions can be of length 1 or 2 only")
	}
	for i := range p.keyConditions {
		c, err := p.keyConditions[i].compile(&p.ph.slab)
		if err != nil {
			return err
		}
		var msg string
		if r.keys, msg = keyConditions(r.keys, c); msg != "" {
			return invalid("Attempted conditional constraint is not an indexable operation")
		}
	}
	return nil
}

// legacyConditions joins conditions; nil if there are none.
func (p *params) legacyConditions(list []legacyCondition, or bool) (*condition, error) {
	if len(list) == 0 {
		return nil, nil
	}
	if len(list) == 1 {
		return list[0].compile(&p.ph.slab)
	}
	all := p.ph.slab.condition(condition{op: condAnd, subs: make([]*condition, len(list))})
	if or {
		all.op = condOr
	}
	for i := range list {
		c, err := list[i].compile(&p.ph.slab)
		if err != nil {
			return nil, err
		}
		all.subs[i] = c
	}
	return all, nil
}

// compile returns the condition that l stands for.
func (l *legacyCondition) compile(in *slab) (*condition, error) {
	subject := operand{op: operandPath, path: in.path(step{l.name, -1})}
	if l.hasList && l.value != nil {
		return nil, invalidParameter("Value and AttributeValueList cannot be used together for Attribute: %s", l.name)
	}
	if l.operator == "" {
		return l.compileExists(in, subject)
	}
	values := l.list
	if l.value != nil {
		values = []value{*l.value}
	}
	if err := l.check(values); err != nil {
		return nil, err
	}
	c := &condition{op: comparisonOperators[l.operator], args: []operand{subject}}
	for i := range values {
		c.args = append(c.args, operand{op: operandValue, value: values[i]})
	}
	if c.op == condNot {
		c.op = condContains
		c = &condition{op: condNot, subs: []*condition{c}}
	}
	return c, nil
}

// compileExists compiles the form without an operator.
func (l *legacyCondition) compileExists(in *slab, subject operand) (*condition, error) {
	exists := l.exists == nil || *l.exists
	switch {
	case l.hasList:
		return nil, invalidParameter("AttributeValueList can only be used with a ComparisonOperator for Attribute: %s", l.name)
	case exists && l.value == nil && l.exists == nil:
		return nil, invalidParameter("Value must be provided when Exists is null for Attribute: %s", l.name)
	case exists && l.value == nil:
		return nil, invalidParameter("Value must be provided when Exists is true for Attribute: %s", l.name)
	case !exists && l.value != nil:
		return nil, invalidParameter("Value cannot be used when Exists is false for Attribute: %s", l.name)
	case !exists:
		return in.condition(condition{op: condNotExists, args: in.list(subject)}), nil
	}
	return in.condition(condition{op: condEQ, args: in.list(subject, operand{op: operandValue, value: *l.value})}), nil
}

// check returns the error for values that do not go with the operator.
func (l *legacyCondition) check(values []value) error {
	if l.exists != nil {
		return invalidParameter("Exists and ComparisonOperator cannot be used together for Attribute: %s", l.name)
	}
	op := l.operator
	if op != "NULL" && op != "NOT_NULL" && !l.hasList && l.value == nil {
		return invalidParameter("Value or AttributeValueList must be used with ComparisonOperator: %s for Attribute: %s", op, l.name)
	}
	n := len(values)
	var ok bool
	switch op {
	case "NULL", "NOT_NULL":
		ok = n == 0
	case "IN":
		ok = n > 0
	case "BETWEEN":
		ok = n == 2
	default:
		ok = n == 1
	}
	if !ok {
		return invalidParameter("Invalid number of argument(s) for the %s ComparisonOperator", op)
	}
	for i := range values {
		k := values[i].kind
		if k != values[0].kind {
			return invalidParameter("AttributeValues inside AttributeValueList must be of same type")
		}
		switch op {
		case "EQ", "NE":
			ok = true
		case "BEGINS_WITH":
			ok = k == kindS || k == kindB
		default:
			ok = k.isOrdered()
		}
		if !ok {
			return invalidParameter("ComparisonOperator %s is not valid for %s AttributeValue type", op, k)
		}
	}
	if op == "BETWEEN" {
		if c, ok := compareValues(&values[0], &values[1]); ok && c > 0 {
			return invalid("The BETWEEN condition was provided a range where the lower bound is greater than the upper bound")
		}
	}
	return nil
}

// legacyUpdates returns the update that AttributeUpdates stand for; nil if
// there are none.
func legacyUpdates(in *slab, list []legacyUpdate) (*update, error) {
	if len(list) == 0 {
		return nil, nil
	}
	u := &update{legacy: true, actions: make([]action, 0, len(list))}
	for i := range list {
		a, err := list[i].compile(in)
		if err != nil {
			return nil, err
		}
		// Of a name that stands twice in the JSON the last counts, as in every map.
		if !slices.ContainsFunc(list[i+1:], func(l legacyUpdate) bool { return l.name == list[i].name }) {
			u.actions = append(u.actions, a)
		}
	}
	u.sort()
	return u, nil
}

func (l *legacyUpdate) compile(in *slab) (action, error) {
	a := action{path: in.path(step{l.name, -1})}
	if l.value == nil {
		a.op = actionRemove
		if l.action != "DELETE" {
			return a, invalidParameter("Only DELETE action is allowed when no attribute value is specified")
		}
		return a, nil
	}
	a.value = operand{op: operandValue, value: *l.value}
	k := l.value.kind
	switch l.action {
	case "DELETE":
		a.op = actionDelete
		if !k.isSet() {
			return a, invalidParameter("DELETE action with value is not supported for the type %s", k)
		}
	case "ADD":
		a.op = actionAdd
		if !k.isSet() && k != kindN && k != kindL {
			return a, invalidParameter("ADD action is not supported for the type %s", k)
		}
	}
	return a, nil
}
