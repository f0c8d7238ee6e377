package table

import (
	"slices"
	"strings"
)

// update is what UpdateItem does to an item: an update expression, or the
// older AttributeUpdates.
type update struct {
	legacy  bool // AttributeUpdates, whose errors have other words
	actions []action
}

// action is one change. The actions of an update are sorted so that each can
// be done where the one before left the item: see [update.sort].
type action struct {
	op    actionOp
	path  path
	value operand // of SET, ADD and DELETE
}

type actionOp uint8

const (
	actionSet actionOp = iota
	actionAdd
	actionDelete
	actionRemove
)

var actionNames = [...]string{actionSet: "SET", actionAdd: "ADD", actionDelete: "DELETE", actionRemove: "REMOVE"}

func (o actionOp) String() string { return actionNames[o] }

// sort puts the actions in the order in which they have to be done. All of
// them mean the item as it was before. Setting beyond the end of a list
// appends, so sets go by rising index; removals shift what follows, so they
// come last, by falling index.
func (u *update) sort() {
	slices.SortStableFunc(u.actions, func(a, b action) int {
		ar, br := a.op == actionRemove, b.op == actionRemove
		switch {
		case ar && br:
			return comparePaths(b.path, a.path)
		case ar:
			return 1
		case br:
			return -1
		}
		return comparePaths(a.path, b.path)
	})
}

func comparePaths(a, b path) int {
	return slices.CompareFunc(a, b, func(x, y step) int {
		if x.index != y.index {
			return x.index - y.index
		}
		return strings.Compare(x.name, y.name)
	})
}

// paths returns what the update may change.
func (u *update) paths() []path {
	if u == nil {
		return nil
	}
	paths := make([]path, len(u.actions))
	for i := range u.actions {
		paths[i] = u.actions[i].path
	}
	return paths
}

// creates reports whether the update makes a new item where there is none.
// Only taking things away does not.
func (u *update) creates() bool {
	return u == nil || len(u.actions) == 0 ||
		slices.ContainsFunc(u.actions, func(a action) bool { return a.op == actionSet || a.op == actionAdd })
}

var (
	errOperandType = invalid("An operand in the update expression has an incorrect data type")
	errUpdatePath  = invalid("The document path provided in the update expression is invalid for update")
	errNoAttribute = invalid("The provided expression refers to an attribute that does not exist in the item")
	errLegacyType  = invalid("Type mismatch for attribute to update")
	errUpdateSize  = invalid("Item size to update has exceeded the maximum allowed size")
)

// apply returns the item after the update. The given one is left as it is, and
// the result shares with it whatever did not change.
func (u *update) apply(item []attr) ([]attr, error) {
	if u == nil {
		return item, nil
	}
	// Operands mean the item as it was, so all are evaluated first.
	values := make([]value, len(u.actions))
	size := 0
	for i := range u.actions {
		if a := &u.actions[i]; a.op == actionSet {
			v, err := evaluate(&a.value, item)
			if err != nil {
				return nil, err
			}
			// Each goes to a place of its own, so together they are no larger
			// than the item will be. A short expression can multiply a large
			// attribute: stop before it takes the memory.
			if size += v.size(); size > maxItemSize {
				return nil, errUpdateSize
			}
			values[i] = v
		}
	}
	root := value{kind: kindM, kids: append(make([]attr, 0, len(item)+len(u.actions)), item...)}
	for i := range u.actions {
		a := &u.actions[i]
		err := edit(&root, a.path, func(old *value) (*value, error) {
			switch a.op {
			case actionSet:
				return &values[i], nil
			case actionAdd:
				return u.add(old, &a.value.value)
			case actionDelete:
				return u.subtract(old, &a.value.value)
			default:
				return nil, nil
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return root.kids, nil
}

func (u *update) errType() error {
	if u.legacy {
		return errLegacyType
	}
	return errOperandType
}

// add returns old with v added: to a number, or to a set.
func (u *update) add(old, v *value) (*value, error) {
	o := ownValue(*v)
	v = &o
	if old == nil {
		return v, nil
	}
	if old.kind != v.kind {
		return nil, u.errType()
	}
	if v.kind == kindN {
		n, err := addNumbers(old.text, v.text, false)
		return &value{kind: kindN, text: n}, err
	}
	if v.kind == kindL {
		return &value{kind: kindL, kids: slices.Concat(old.kids, v.kids)}, nil
	}
	kids := slices.Concat(old.kids, v.kids)
	slices.SortFunc(kids, func(a, b attr) int { return compareText(a.kind, a.text, b.text) })
	kids = slices.CompactFunc(kids, func(a, b attr) bool { return a.text == b.text })
	return &value{kind: v.kind, kids: kids}, nil
}

// subtract returns the set old without the members of v, nil if none is left.
func (u *update) subtract(old, v *value) (*value, error) {
	if old == nil {
		return nil, nil
	}
	if old.kind != v.kind {
		return nil, u.errType()
	}
	var kids []attr
	for _, e := range old.kids {
		if _, found := slices.BinarySearchFunc(v.kids, e.text, func(d attr, text string) int { return compareText(d.kind, d.text, text) }); !found {
			kids = append(kids, e)
		}
	}
	if len(kids) == 0 {
		return nil, nil
	}
	return &value{kind: v.kind, kids: kids}, nil
}

// evaluate returns the value of an operand of SET. It keeps nothing of the
// request's body.
func evaluate(o *operand, item []attr) (value, error) {
	switch o.op {
	case operandValue:
		return ownValue(o.value), nil
	case operandIfNotExists:
		if v := o.args[0].path.lookup(item); v != nil {
			return *v, nil
		}
		return evaluate(&o.args[1], item)
	case operandPlus, operandMinus, operandListAppend:
	default:
		if v := o.in(item); v != nil {
			return *v, nil
		}
		return value{}, errNoAttribute
	}
	a, err := evaluate(&o.args[0], item)
	if err != nil {
		return value{}, err
	}
	b, err := evaluate(&o.args[1], item)
	if err != nil {
		return value{}, err
	}
	want := kindN
	if o.op == operandListAppend {
		want = kindL
	}
	if a.kind != want || b.kind != want {
		return value{}, errOperandType
	}
	if want == kindL {
		if len(a.kids)+len(b.kids) > maxItemSize/(1+elementSize) {
			return value{}, errUpdateSize
		}
		return value{kind: kindL, kids: slices.Concat(a.kids, b.kids)}, nil
	}
	n, err := addNumbers(a.text, b.text, o.op == operandMinus)
	return value{kind: kindN, text: n}, err
}

// edit replaces the value at p inside v by what change returns for it; nil
// stands for a value that is not there. v's own list of kids may be written,
// those below it are shared and get copied.
func edit(v *value, p path, change func(old *value) (*value, error)) error {
	s := p[0]
	if v.kind != kindM && s.index < 0 || v.kind != kindL && s.index >= 0 {
		return errUpdatePath
	}
	i, found := s.index, s.index < len(v.kids)
	if s.index < 0 {
		i, found = search(v.kids, s.name)
	}
	if len(p) > 1 {
		if !found {
			return errUpdatePath
		}
		child := v.kids[i].value
		child.kids = slices.Clone(child.kids)
		if err := edit(&child, p[1:], change); err != nil {
			return err
		}
		v.kids[i].value = child
		return nil
	}
	var old *value
	if found {
		old = &v.kids[i].value
	}
	changed, err := change(old)
	switch {
	case err != nil:
		return err
	case changed == nil && found:
		v.kids = slices.Delete(v.kids, i, i+1)
	case changed == nil:
	case found:
		v.kids[i].value = *changed
	default:
		v.kids = slices.Insert(v.kids, min(i, len(v.kids)), attr{strings.Clone(s.name), *changed})
	}
	return nil
}
