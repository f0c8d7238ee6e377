// Package shape describes the inputs and outputs of API operations apart from
// their encoding.
//
// An input is a Go struct with a table beside it: for each member the name on
// the wire, the place of its field, and the constraints of the API's model. A
// codec fills the struct by the table, [Validate] checks it by the table, and
// neither knows the operation. An output writes itself member by member to an
// [Encoder].
package shape

// Opt is a member that may be absent. A null on the wire is absent too.
type Opt[T any] struct {
	V   T
	Set bool
}

// Or returns the member's value, or def if it is absent.
func (o Opt[T]) Or(def T) T {
	if o.Set {
		return o.V
	}
	return def
}

// Millis is a timestamp, in milliseconds since the epoch.
type Millis int64

type (
	// String is a field of text. It aliases the request's body: it is valid
	// until the answer has been written.
	String = Opt[string]
	// Int is a field of a whole number.
	Int = Opt[int64]
	// Bool is a field of a truth value.
	Bool = Opt[bool]
	// Time is a field of a timestamp.
	Time = Opt[Millis]
	// Blob is a field of bytes, decoded. It aliases the request's body too.
	Blob = Opt[[]byte]
	// Present is a field of any type, of which only the presence counts.
	Present = Opt[struct{}]
)

// Strings is a field of a list of strings. Nulls in it are passed over. It
// aliases the request's body, as its strings do.
type Strings struct {
	V   []string
	Set bool
}

// Map is a field of a map from strings to strings. A key whose value is null is
// passed over. Of a key that comes twice, the last value counts. It aliases the
// request's body, as its strings do.
type Map struct {
	V   map[string]string
	Set bool
}

// Nested is a field that holds a structure: an *Opt of a struct.
type Nested interface {
	// Begin marks the member as present and returns a pointer to its struct.
	Begin() any
	// Clear makes the member absent.
	Clear()
	// Get returns a pointer to its struct, nil if it is absent.
	Get() any
}

// Begin implements [Nested].
func (o *Opt[T]) Begin() any {
	var zero T
	o.V, o.Set = zero, true
	return &o.V
}

// Clear implements [Nested].
func (o *Opt[T]) Clear() { *o = Opt[T]{} }

// Get implements [Nested].
func (o *Opt[T]) Get() any {
	if !o.Set {
		return nil
	}
	return &o.V
}

// List is a list of structures. It keeps no more elements than it may have, but
// counts all.
type List[T any] struct {
	Items []T
	Total int // elements on the wire
	Set   bool

	spare *T // what Add returns beyond the limit; nil before
}

// Lister is the view of a *List that a codec has.
type Lister interface {
	// BeginList marks the list as present and empty. It keeps the room that it
	// has.
	BeginList()
	// Add appends a zero element and returns a pointer to it. Beyond limit
	// elements it only counts: the pointer is to an element that is dropped, and
	// used again by the next Add.
	Add(limit int) any
	Clear()
	// At returns a pointer to element i.
	At(i int) any
	// Kept returns how many elements there are, Counted how many were added.
	Kept() int
	Counted() int
	Present() bool
}

// BeginList implements [Lister].
func (l *List[T]) BeginList() { l.Items, l.Total, l.Set = l.Items[:0], 0, true }

// Add implements [Lister].
func (l *List[T]) Add(limit int) any {
	var zero T
	l.Total++
	if len(l.Items) < limit {
		l.Items = append(l.Items, zero)
		return &l.Items[len(l.Items)-1]
	}
	// One for all: a body of nulls has millions.
	if l.spare == nil {
		l.spare = new(T)
	}
	*l.spare = zero
	return l.spare
}

// Clear implements [Lister].
func (l *List[T]) Clear() { l.Items, l.Total, l.Set = l.Items[:0], 0, false }

// At implements [Lister].
func (l *List[T]) At(i int) any { return &l.Items[i] }

// Kept implements [Lister].
func (l *List[T]) Kept() int { return len(l.Items) }

// Counted implements [Lister].
func (l *List[T]) Counted() int { return l.Total }

// Present implements [Lister].
func (l *List[T]) Present() bool { return l.Set }

// Kind is the type of a member on the wire.
type Kind uint8

// The kinds of members.
const (
	KindString Kind = iota
	KindInt
	KindBool
	KindTime
	KindBlob
	KindPresent
	KindStruct
	KindList    // of structures
	KindStrings // a list
	KindMap     // from strings to strings
)

// Struct is the table of a structure: its members in the model's order.
type Struct []Member

// Member describes one member of a structure.
type Member struct {
	Name   string
	Quoted string // the name as JSON has it, with the colon
	Kind   Kind
	Rules  Rules
	Elem   Struct // of a structure, or of a list's elements

	field func(in any) any
}

// Field returns a pointer to the member's field in the struct that in points
// to. Its type follows from the kind: *String, *Int, …, a [Nested] or a
// [Lister].
func (m *Member) Field(in any) any { return m.field(in) }

// Of makes a member from its name and the place of its field. The field's type
// decides the kind.
func Of[S, F any](name string, at func(*S) *F, rules Rules) Member {
	m := Member{Name: name, Quoted: `"` + name + `":`, Rules: rules, field: func(in any) any { return at(in.(*S)) }}
	switch any((*F)(nil)).(type) {
	case *String:
		m.Kind = KindString
	case *Int:
		m.Kind = KindInt
	case *Bool:
		m.Kind = KindBool
	case *Time:
		m.Kind = KindTime
	case *Blob:
		m.Kind = KindBlob
	case *Present:
		m.Kind = KindPresent
	case *Strings:
		m.Kind = KindStrings
	case *Map:
		m.Kind = KindMap
	case Lister:
		m.Kind = KindList
	default:
		m.Kind = KindStruct
	}
	return m
}

// With returns m with the table of its structure or of its elements.
func (m Member) With(elem Struct) Member {
	m.Elem = elem
	return m
}

// Begins returns the index of the member whose quoted name b begins with, or -1.
// It looks no further than at hint and the one behind it, which clients that write
// members in a fixed order may leave out: other names are for Index.
func (s Struct) Begins(b []byte, hint int) int {
	for i := hint; i < len(s) && i < hint+2; i++ {
		if q := s[i].Quoted; len(b) >= len(q) && string(b[:len(q)]) == q {
			return i
		}
	}
	return -1
}

// Index returns the index of the member called name, or -1. hint is where it
// is looked for first: clients that write members in a fixed order pay for one
// comparison.
func (s Struct) Index(name []byte, hint int) int {
	if hint < len(s) && s[hint].Name == string(name) {
		return hint
	}
	for i := range s {
		if s[i].Name == string(name) {
			return i
		}
	}
	return -1
}
