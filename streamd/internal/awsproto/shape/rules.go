package shape

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// Rules are the constraints on a member. The zero Rules allow everything.
type Rules struct {
	Required bool
	// Min and Max bound a string's length in characters, a blob's in bytes, a
	// list's or map's in elements, and an integer's value. HasMin says that Min counts;
	// a Max of 0 does not count.
	Min, Max int64
	HasMin   bool
	Pattern  *Pattern
	Enum     []string
	// Key bounds the keys of a map, Value the values of a map or a list of
	// strings. nil allows everything.
	Key, Value *Rules
}

// Pattern is a regular expression of the API's model: its text, as messages
// show it, and a function that matches it.
type Pattern struct {
	Text  string
	Match func(string) bool
}

// Req returns the rules with the member required.
func (r Rules) Req() Rules {
	r.Required = true
	return r
}

// Length returns rules for a length from lo to hi.
func Length(lo, hi int64) Rules { return Rules{Min: lo, Max: hi, HasMin: true} }

// Range returns rules for a value from lo to hi.
func Range(lo, hi int64) Rules { return Length(lo, hi) }

// AtLeast returns rules for a value of lo or more.
func AtLeast(lo int64) Rules { return Rules{Min: lo, HasMin: true} }

// Matching returns the rules with a pattern.
func (r Rules) Matching(p *Pattern) Rules {
	r.Pattern = p
	return r
}

// EachOf returns the rules with rules for the elements of a list of strings.
func (r Rules) EachOf(value Rules) Rules {
	r.Value = &value
	return r
}

// Mapping returns the rules with rules for the keys and values of a map.
func (r Rules) Mapping(key, value Rules) Rules {
	r.Key, r.Value = &key, &value
	return r
}

// OneOf returns rules for a string out of a set.
func OneOf(values ...string) Rules { return Rules{Enum: values} }

// maxErrors is how many constraint errors one answer lists.
const maxErrors = 10

// Validate checks the struct that in points to. It returns nil or a
// ValidationException that lists what is wrong, in the order of the table.
//
// Source of the wording: errors recorded from AWS.
func Validate(s Struct, in any) *awserr.Error {
	if valid(s, in) {
		return nil
	}
	v := validation{}
	v.members(s, in, "")
	return v.err()
}

// Violation returns the ValidationException of one constraint that the tables
// cannot know. path names the member, as in "records.1.member.data"; the value
// is not shown.
func Violation(path, constraint string) *awserr.Error {
	return awserr.New("ValidationException", "1 validation error detected: Value at '%s' failed to satisfy constraint: %s", path, constraint)
}

// valid is Validate for the usual case. It makes no texts.
func valid(s Struct, in any) bool {
	for i := range s {
		if !validMember(&s[i], in) {
			return false
		}
	}
	return true
}

func validMember(m *Member, in any) bool {
	r := &m.Rules
	switch f := m.Field(in).(type) {
	case *String:
		if !f.Set {
			return !r.Required
		}
		return r.allows(f.V)
	case *Int:
		if !f.Set {
			return !r.Required
		}
		return r.bounds(f.V)
	case *Blob:
		if !f.Set {
			return !r.Required
		}
		return r.bounds(int64(len(f.V)))
	case *Bool:
		return f.Set || !r.Required
	case *Time:
		return f.Set || !r.Required
	case *Present:
		return f.Set || !r.Required
	case *Strings:
		if !f.Set {
			return !r.Required
		}
		return r.bounds(int64(len(f.V))) && r.Value.allowsAll(slices.Values(f.V))
	case *Map:
		if !f.Set {
			return !r.Required
		}
		return r.bounds(int64(len(f.V))) && r.Key.allowsAll(maps.Keys(f.V)) && r.Value.allowsAll(maps.Values(f.V))
	case Lister:
		if !f.Present() {
			return !r.Required
		}
		if !r.bounds(int64(f.Counted())) {
			return false
		}
		for i := range f.Kept() {
			if !valid(m.Elem, f.At(i)) {
				return false
			}
		}
		return true
	case Nested:
		if inner := f.Get(); inner != nil {
			return valid(m.Elem, inner)
		}
		return !r.Required
	}
	return true
}

// allows checks a string.
func (r *Rules) allows(s string) bool {
	return r.bounds(chars(s, r.Max)) && (r.Pattern == nil || r.Pattern.Match(s)) && r.inEnum(s)
}

// allowsAll checks the strings of a list or map. nil allows all.
func (r *Rules) allowsAll(all iter.Seq[string]) bool {
	if r == nil {
		return true
	}
	for s := range all {
		if !r.allows(s) {
			return false
		}
	}
	return true
}

// constraints writes the rules for a string as messages about a list's or map's
// elements do.
func (r *Rules) constraints() string {
	var all []string
	if r.Max != 0 {
		all = append(all, fmt.Sprintf("Member must have length less than or equal to %d", r.Max))
	}
	if r.HasMin {
		all = append(all, fmt.Sprintf("Member must have length greater than or equal to %d", r.Min))
	}
	if r.Pattern != nil {
		all = append(all, "Member must satisfy regular expression pattern: "+r.Pattern.Text)
	}
	if r.Enum != nil {
		all = append(all, r.enumText())
	}
	return "constraint: [" + strings.Join(all, ", ") + "]"
}

func (r *Rules) enumText() string {
	return "Member must satisfy enum value set: [" + strings.Join(r.Enum, ", ") + "]"
}

// chars counts the characters of s. Where the bytes are within limit, so are
// the characters, and the bytes may be returned: only a minimum of 1 or less
// is ever compared with.
func chars(s string, limit int64) int64 {
	if int64(len(s)) <= limit {
		return int64(len(s))
	}
	return int64(utf8.RuneCountInString(s))
}

func (r *Rules) bounds(n int64) bool {
	return (!r.HasMin || n >= r.Min) && (r.Max == 0 || n <= r.Max)
}

func (r *Rules) inEnum(s string) bool {
	return r.Enum == nil || slices.Contains(r.Enum, s)
}

// validation collects the errors of one input.
type validation struct {
	listed []string
	count  int
}

func (v *validation) add(value, path, constraint string) {
	if v.count++; v.count <= maxErrors {
		v.listed = append(v.listed, "Value "+value+"at '"+path+"' failed to satisfy constraint: "+constraint)
	}
}

func (v *validation) err() *awserr.Error {
	if v.count == 0 {
		return nil
	}
	n := min(v.count, maxErrors)
	plural := ""
	if n > 1 {
		plural = "s"
	}
	return awserr.New("ValidationException", "%d validation error%s detected: %s", n, plural, strings.Join(v.listed, "; "))
}

func (v *validation) members(s Struct, in any, prefix string) {
	for i := range s {
		m := &s[i]
		v.member(m, in, prefix+lowerFirst(m.Name))
	}
}

func (v *validation) member(m *Member, in any, path string) {
	r := &m.Rules
	null := func(set bool) bool {
		if !set && r.Required {
			v.add("null ", path, "Member must not be null")
		}
		return !set
	}
	switch f := m.Field(in).(type) {
	case *String:
		if null(f.Set) {
			return
		}
		shown := "'" + f.V + "' "
		v.bounds(r, "length", int64(utf8.RuneCountInString(f.V)), shown, path)
		if r.Pattern != nil && !r.Pattern.Match(f.V) {
			v.add(shown, path, "Member must satisfy regular expression pattern: "+r.Pattern.Text)
		}
		if !r.inEnum(f.V) {
			v.add(shown, path, r.enumText())
		}
	case *Int:
		if !null(f.Set) {
			v.bounds(r, "value", f.V, "'"+strconv.FormatInt(f.V, 10)+"' ", path)
		}
	case *Blob:
		if !null(f.Set) {
			v.bounds(r, "length", int64(len(f.V)), "", path)
		}
	case *Bool:
		null(f.Set)
	case *Time:
		null(f.Set)
	case *Present:
		null(f.Set)
	case *Strings:
		if null(f.Set) {
			return
		}
		v.bounds(r, "length", int64(len(f.V)), "", path)
		if !r.Value.allowsAll(slices.Values(f.V)) {
			v.add("", path, "Member must satisfy "+r.Value.constraints())
		}
	case *Map:
		if null(f.Set) {
			return
		}
		v.bounds(r, "length", int64(len(f.V)), "", path)
		if !r.Key.allowsAll(maps.Keys(f.V)) {
			v.add("", path, "Map keys must satisfy "+r.Key.constraints())
		}
		if !r.Value.allowsAll(maps.Values(f.V)) {
			v.add("", path, "Map value must satisfy "+r.Value.constraints())
		}
	case Lister:
		if null(f.Present()) {
			return
		}
		v.bounds(r, "length", int64(f.Counted()), "", path)
		for i := 0; i < f.Kept() && v.count < maxErrors; i++ {
			v.members(m.Elem, f.At(i), path+"."+strconv.Itoa(i+1)+".member.")
		}
	case Nested:
		if inner := f.Get(); !null(inner != nil) {
			v.members(m.Elem, inner, path+".")
		}
	}
}

func (v *validation) bounds(r *Rules, what string, n int64, shown, path string) {
	if r.Max != 0 && n > r.Max {
		v.add(shown, path, fmt.Sprintf("Member must have %s less than or equal to %d", what, r.Max))
	}
	if r.HasMin && n < r.Min {
		v.add(shown, path, fmt.Sprintf("Member must have %s greater than or equal to %d", what, r.Min))
	}
}

// lowerFirst writes a member's name as paths do: the first letter in lower
// case.
func lowerFirst(name string) string {
	return strings.ToLower(name[:1]) + name[1:]
}
