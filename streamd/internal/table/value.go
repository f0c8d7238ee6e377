package table

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// kind is the type of an attribute value. Its numbers are part of the
// snapshot format.
type kind uint8

const (
	kindS kind = iota + 1
	kindN
	kindB
	kindBOOL
	kindNULL
	kindSS
	kindNS
	kindBS
	kindL
	kindM
)

// kindNames are the names on the wire.
var kindNames = [...]string{
	kindS: "S", kindN: "N", kindB: "B", kindBOOL: "BOOL", kindNULL: "NULL",
	kindSS: "SS", kindNS: "NS", kindBS: "BS", kindL: "L", kindM: "M",
}

func (k kind) String() string { return kindNames[k] }

// isSet reports whether k is one of the three set types.
func (k kind) isSet() bool { return k == kindSS || k == kindNS || k == kindBS }

// element returns the type of the members of the set type k.
func (k kind) element() kind { return k - kindSS + kindS }

// isOrdered reports whether values of k have an order: they can be compared
// with <, be keys and be members of sets.
func (k kind) isOrdered() bool { return k == kindS || k == kindN || k == kindB }

// kindOf returns the type with the given wire name.
func kindOf(name string) (kind, bool) {
	i := slices.Index(kindNames[:], name)
	return kind(max(i, 0)), i > 0
}

// value is an attribute value. It is immutable once it is part of a stored
// item.
type value struct {
	kind kind
	yes  bool   // BOOL
	text string // S; the bytes of B; the canonical form of N
	kids []attr // L in order; SS, NS, BS and M sorted, without duplicates; only M has names
}

// attr is an attribute: a value and its name.
type attr struct {
	name string
	value
}

// compareText orders two values of the same ordered type.
func compareText(k kind, a, b string) int {
	if k == kindN {
		return compareNumbers(a, b)
	}
	return strings.Compare(a, b)
}

// equal reports whether a and b are of the same type and the same.
func equal(a, b *value) bool {
	if a.kind != b.kind || a.yes != b.yes || a.text != b.text || len(a.kids) != len(b.kids) {
		return false
	}
	for i := range a.kids {
		if a.kids[i].name != b.kids[i].name || !equal(&a.kids[i].value, &b.kids[i].value) {
			return false
		}
	}
	return true
}

// find returns the attribute of that name, nil if there is none. attrs are
// sorted by name.
func find(attrs []attr, name string) *value {
	if i, ok := search(attrs, name); ok {
		return &attrs[i].value
	}
	return nil
}

// search returns the place of an attribute in sorted attrs, or the place where
// it would go.
func search(attrs []attr, name string) (int, bool) {
	lo, hi := 0, len(attrs)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if attrs[m].name < name {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo, lo < len(attrs) && attrs[lo].name == name
}

// sortAttrs sorts attributes by name. Of several with the same name it keeps
// the last.
func sortAttrs(attrs []attr) []attr {
	if isStrictlySorted(attrs) {
		return attrs
	}
	slices.SortStableFunc(attrs, func(a, b attr) int { return strings.Compare(a.name, b.name) })
	n := 0
	for i := range attrs {
		if i+1 < len(attrs) && attrs[i+1].name == attrs[i].name {
			continue
		}
		attrs[n] = attrs[i]
		n++
	}
	return attrs[:n]
}

func isStrictlySorted(attrs []attr) bool {
	for i := 1; i < len(attrs); i++ {
		if attrs[i-1].name >= attrs[i].name {
			return false
		}
	}
	return true
}

// sortSet sorts the members of a set of type k. ok is false if two are equal.
// The given slice is left as it is.
func sortSet(k kind, members []attr) (sorted []attr, ok bool) {
	e := k.element()
	order := func(a, b attr) int { return compareText(e, a.text, b.text) }
	if !slices.IsSortedFunc(members, order) {
		members = slices.Clone(members)
		slices.SortFunc(members, order)
	}
	for i := 1; i < len(members); i++ {
		if members[i-1].text == members[i].text {
			return nil, false
		}
	}
	return members, true
}

// length is what the function size of expressions returns for v; ok is false
// where it has none.
func (v *value) length() (n int, ok bool) {
	switch v.kind {
	case kindS:
		return utf8.RuneCountInString(v.text), true
	case kindB:
		return len(v.text), true
	case kindSS, kindNS, kindBS, kindL, kindM:
		return len(v.kids), true
	default:
		return 0, false
	}
}

// Source of the sizes: Amazon DynamoDB Developer Guide, "DynamoDB item sizes
// and formats".
const (
	maxItemSize   = 400 << 10
	containerSize = 3 // a list or map, empty or not
	elementSize   = 1 // each element of one
)

// sizeOf returns the size of attributes as DynamoDB counts it, in bytes.
func sizeOf(attrs []attr) int {
	n := 0
	for i := range attrs {
		n += len(attrs[i].name) + attrs[i].size()
	}
	return n
}

func (v *value) size() int {
	switch v.kind {
	case kindN:
		return numberSize(v.text)
	case kindBOOL, kindNULL:
		return 1
	case kindL, kindM:
		return containerSize + elementSize*len(v.kids) + sizeOf(v.kids)
	case kindSS, kindNS, kindBS:
		return sizeOf(v.kids)
	default:
		return len(v.text)
	}
}

// own returns a copy of attrs whose strings share one allocation of their own.
// A parsed request's strings are parts of its whole body: an item that kept
// one of them would keep the body.
func own(attrs []attr) []attr {
	var b strings.Builder
	b.Grow(textSize(attrs))
	return ownInto(&b, attrs)
}

// ownValue is own for one value.
func ownValue(v value) value {
	if len(v.kids) == 0 {
		v.text = strings.Clone(v.text)
		return v
	}
	v.kids = own(v.kids)
	return v
}

func textSize(attrs []attr) int {
	n := 0
	for i := range attrs {
		n += len(attrs[i].name) + len(attrs[i].text) + textSize(attrs[i].kids)
	}
	return n
}

// ownInto does the work of own. b never grows, so the strings cut from it stay
// parts of one allocation.
func ownInto(b *strings.Builder, attrs []attr) []attr {
	if attrs == nil {
		return nil
	}
	keep := func(s string) string {
		n := b.Len()
		b.WriteString(s)
		return b.String()[n:]
	}
	out := make([]attr, len(attrs))
	for i := range attrs {
		a := &attrs[i]
		out[i] = attr{name: keep(a.name), value: value{kind: a.kind, yes: a.yes, text: keep(a.text)}}
		out[i].kids = ownInto(b, a.kids)
	}
	return out
}

// compareValues orders two values; ok is false if their types differ or have
// no order.
func compareValues(a, b *value) (c int, ok bool) {
	if a.kind != b.kind || !a.kind.isOrdered() {
		return 0, false
	}
	return compareText(a.kind, a.text, b.text), true
}
