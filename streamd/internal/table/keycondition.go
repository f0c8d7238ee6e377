package table

import "slices"

// keyCondition is a condition of Query on one attribute of a key: a comparison
// other than <>, BETWEEN or begins_with, with literal operands.
type keyCondition struct {
	name   string
	op     conditionOp
	values []value
}

// keyConditions appends the conditions that c, whose parts AND joins, puts on
// the attributes of a key. msg says what makes c unfit for that.
func keyConditions(dst []keyCondition, c *condition) (keys []keyCondition, msg string) {
	switch c.op {
	case condAnd:
		for _, s := range c.subs {
			if dst, msg = keyConditions(dst, s); msg != "" {
				return nil, msg
			}
		}
		return dst, ""
	case condEQ, condLT, condLE, condGT, condGE, condBetween, condBeginsWith:
	default:
		return nil, "Invalid operator used in KeyConditionExpression: " + c.op.String()
	}
	subject := -1
	for i := range c.args {
		switch a := &c.args[i]; {
		case a.op == operandSize:
			return nil, "KeyConditionExpressions cannot contain nested operations"
		case a.op != operandPath:
		case subject >= 0:
			return nil, "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"
		case len(a.path) > 1:
			return nil, "KeyConditionExpressions cannot have conditions on nested attributes"
		default:
			subject = i
		}
	}
	op := c.op
	switch {
	case subject < 0:
		return nil, "Invalid condition in KeyConditionExpression: No key attribute specified"
	case subject > 0 && (op == condBetween || op == condBeginsWith):
		return nil, "Invalid condition in KeyConditionExpression: " + op.String() + " operator must have the key attribute as its first operand"
	case subject > 0:
		op = mirrored[op]
	}
	k := keyCondition{name: c.args[subject].path[0].name, op: op}
	for i := range c.args {
		if i != subject {
			k.values = append(k.values, c.args[i].value)
		}
	}
	for i := range dst {
		if dst[i].name == k.name {
			return nil, "KeyConditionExpressions must only contain one condition per key"
		}
	}
	return append(dst, k), ""
}

// mirrored are the comparisons with their operands exchanged.
var mirrored = map[conditionOp]conditionOp{condEQ: condEQ, condLT: condGT, condLE: condGE, condGT: condLT, condGE: condLE}

// keyRange is a range of places in a tree: from lo, included, to hi, not
// included. An empty hi is the end of the tree.
type keyRange struct{ lo, hi string }

func (r keyRange) has(key string) bool { return key >= r.lo && (r.hi == "" || key < r.hi) }

// rangeOf returns the places of the items that meet the conditions on a key.
func (s keySchema) rangeOf(conds []keyCondition) (keyRange, error) {
	var found [2]*keyCondition
	for i := range conds {
		c := &conds[i]
		part := -1
		for j, p := range s {
			if p.name == c.name {
				part = j
			}
		}
		if part < 0 {
			continue
		}
		for _, v := range c.values {
			if v.kind != s[part].kind {
				return keyRange{}, invalidParameter("Condition parameter type does not match schema type")
			}
			if v.text == "" && c.op != condBeginsWith {
				return keyRange{}, checkKeyValue(c.name, &v, part == 0)
			}
		}
		found[part] = c
	}
	switch {
	case found[0] == nil:
		return keyRange{}, invalid("Query condition missed key schema element: %s", s[0].name)
	case found[0].op != condEQ:
		return keyRange{}, invalid("Query key condition not supported")
	case len(conds) == 2 && len(s) == 1:
		return keyRange{}, invalid("Query key condition not supported")
	case len(conds) == 2 && found[1] == nil:
		return keyRange{}, invalid("Query condition missed key schema element: %s", s[1].name)
	case len(conds) > 2:
		return keyRange{}, invalid("Conditions can be of length 1 or 2 only")
	}
	prefix := appendKeyPart(nil, &found[0].values[0])
	whole := keyRange{string(prefix), successor(prefix)}
	if found[1] == nil {
		return whole, nil
	}
	c := found[1]
	at := func(v *value) []byte { return appendKeyPart(slices.Clip(prefix), v) }
	first := at(&c.values[0])
	switch c.op {
	case condEQ:
		return keyRange{string(first), successor(first)}, nil
	case condLT:
		return keyRange{whole.lo, string(first)}, nil
	case condLE:
		return keyRange{whole.lo, successor(first)}, nil
	case condGT:
		return keyRange{successor(first), whole.hi}, nil
	case condGE:
		return keyRange{string(first), whole.hi}, nil
	case condBetween:
		return keyRange{string(first), successor(at(&c.values[1]))}, nil
	default: // begins_with, which the parser allows for strings and binaries only
		p := appendKeyPrefix(slices.Clip(prefix), c.values[0].text)
		return keyRange{string(p), successor(p)}, nil
	}
}
