package awsproto

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/streamkit/streamkit/internal/jsonlex"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

// maxDepth is how deep structures and lists may nest. The deepest input of the
// API has three levels.
const maxDepth = 8

// defaultListLimit bounds the elements kept of a list whose rules do not.
const defaultListLimit = 1000

// jsonDecoder reads a body in one pass. Strings stay where they are in the
// body, with escapes resolved in place, and blobs are decoded over their own
// text: nothing is allocated for the values of an ordinary request.
type jsonDecoder struct {
	b []byte
	i int
}

// Decode implements [Codec].
func (jsonCodec) Decode(body []byte, s shape.Struct, in any) (conversion *awserr.Error, syntaxOK bool) {
	d := jsonDecoder{b: body}
	d.space()
	if d.peek() != '{' {
		return nil, false
	}
	conversion, ok := d.structure(s, in, 1)
	if !ok {
		return nil, false
	}
	d.space()
	return conversion, d.i == len(d.b)
}

// peek returns the next byte, 0 at the end: no byte of JSON's syntax is 0.
func (d *jsonDecoder) peek() byte {
	if d.i < len(d.b) {
		return d.b[d.i]
	}
	return 0
}

func (d *jsonDecoder) space() {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\n', '\r', '\t':
			d.i++
		default:
			return
		}
	}
}

// structure reads an object into in. The conversion error is that of the
// member which comes first in the table.
func (d *jsonDecoder) structure(s shape.Struct, in any, depth int) (conversion *awserr.Error, ok bool) {
	if depth > maxDepth {
		return nil, false
	}
	first, hint := len(s), 0
	d.i++ // the brace
	d.space()
	if d.peek() == '}' {
		d.i++
		return nil, true
	}
	for {
		m, ok := d.key(s, hint)
		if !ok {
			return nil, false
		}
		d.space()
		if m >= 0 {
			hint = m + 1
			err, ok := d.member(&s[m], in, depth)
			if !ok {
				return nil, false
			}
			if err != nil && m < first {
				conversion, first = err, m
			}
		} else if !d.skip(depth) {
			return nil, false
		}
		d.space()
		switch d.peek() {
		case ',':
			d.i++
			d.space()
		case '}':
			d.i++
			return conversion, true
		default:
			return nil, false
		}
	}
}

// key reads a member's name and the colon behind it, and returns the member's
// place in s, -1 if it has none. hint is where it is looked for first.
func (d *jsonDecoder) key(s shape.Struct, hint int) (m int, ok bool) {
	if m = s.Begins(d.b[d.i:], hint); m >= 0 {
		d.i += len(s[m].Quoted)
		return m, true
	}
	key, ok := d.str()
	if !ok {
		return -1, false
	}
	d.space()
	if d.peek() != ':' {
		return -1, false
	}
	d.i++
	return s.Index(key, hint), true
}

// member reads a value into the field of m.
func (d *jsonDecoder) member(m *shape.Member, in any, depth int) (conversion *awserr.Error, ok bool) {
	c := d.peek()
	if c == 'n' {
		if !d.word("null") {
			return nil, false
		}
		clearField(m.Field(in))
		return nil, true
	}
	switch f := m.Field(in).(type) {
	case *shape.String:
		if c == '"' {
			s, ok := d.str()
			f.V, f.Set = unsafe.String(unsafe.SliceData(s), len(s)), true
			return nil, ok
		}
	case *shape.Blob:
		if c == '"' {
			return d.blob(f)
		}
	case *shape.Int:
		if c == '-' || isDigit(c) {
			text, ok := d.number()
			if ok {
				f.V, f.Set = toInt(text), true
			}
			return nil, ok
		}
	case *shape.Time:
		if c == '-' || isDigit(c) {
			text, ok := d.number()
			if ok {
				f.V, f.Set = toMillis(text), true
			}
			return nil, ok
		}
	case *shape.Bool:
		switch c {
		case 't', 'f':
			f.V, f.Set = c == 't', true
			return nil, d.skip(depth)
		case '"':
			s, ok := d.str()
			if !ok {
				return nil, false
			}
			return toBool(f, string(s)), true
		}
	case *shape.Present:
		f.Set = true
		return nil, d.skip(depth)
	case *shape.Strings:
		if c == '[' {
			return d.stringList(f, depth+1)
		}
	case *shape.Map:
		if c == '{' {
			return d.stringMap(f, depth+1)
		}
	case shape.Lister:
		if c == '[' {
			return d.list(m, f, depth+1)
		}
	case shape.Nested:
		if c == '{' {
			return d.structure(m.Elem, f.Begin(), depth+1)
		}
	}
	return mismatch(m.Kind, foundBy(c)), d.skip(depth)
}

func clearField(field any) {
	switch f := field.(type) {
	case *shape.Strings:
		*f = shape.Strings{}
	case *shape.Map:
		*f = shape.Map{}
	case shape.Lister:
		f.Clear()
	case shape.Nested:
		f.Clear()
	}
}

func (d *jsonDecoder) list(m *shape.Member, l shape.Lister, depth int) (conversion *awserr.Error, ok bool) {
	if depth > maxDepth {
		return nil, false
	}
	limit := int(m.Rules.Max)
	if limit == 0 {
		limit = defaultListLimit
	}
	l.BeginList()
	d.i++ // the bracket
	d.space()
	if d.peek() == ']' {
		d.i++
		return nil, true
	}
	for {
		var err *awserr.Error
		switch c := d.peek(); c {
		case '{':
			if err, ok = d.structure(m.Elem, l.Add(limit), depth+1); !ok {
				return nil, false
			}
		case 'n':
			if !d.word("null") {
				return nil, false
			}
			l.Add(limit) // as an empty one: what it lacks is reported
		default:
			err = mismatch(shape.KindStruct, foundBy(c))
			if !d.skip(depth) {
				return nil, false
			}
		}
		if conversion == nil {
			conversion = err
		}
		d.space()
		switch d.peek() {
		case ',':
			d.i++
			d.space()
		case ']':
			d.i++
			return conversion, true
		default:
			return nil, false
		}
	}
}

// elemString reads a string inside a list or map. null says that there is none.
func (d *jsonDecoder) elemString(depth int) (s string, null bool, conversion *awserr.Error, ok bool) {
	switch c := d.peek(); c {
	case '"':
		b, ok := d.str()
		return unsafe.String(unsafe.SliceData(b), len(b)), false, nil, ok
	case 'n':
		return "", true, nil, d.word("null")
	default:
		return "", true, mismatch(shape.KindString, foundBy(c)), d.skip(depth)
	}
}

func (d *jsonDecoder) stringList(l *shape.Strings, depth int) (conversion *awserr.Error, ok bool) {
	l.V, l.Set = l.V[:0], true
	d.i++ // the bracket
	d.space()
	if d.peek() == ']' {
		d.i++
		return nil, true
	}
	for {
		s, null, err, ok := d.elemString(depth)
		if !ok {
			return nil, false
		}
		if conversion == nil {
			conversion = err
		}
		if !null {
			l.V = append(l.V, s)
		}
		d.space()
		switch d.peek() {
		case ',':
			d.i++
			d.space()
		case ']':
			d.i++
			return conversion, true
		default:
			return nil, false
		}
	}
}

func (d *jsonDecoder) stringMap(m *shape.Map, depth int) (conversion *awserr.Error, ok bool) {
	m.V, m.Set = make(map[string]string), true
	d.i++ // the brace
	d.space()
	if d.peek() == '}' {
		d.i++
		return nil, true
	}
	for {
		key, ok := d.str()
		if !ok {
			return nil, false
		}
		d.space()
		if d.peek() != ':' {
			return nil, false
		}
		d.i++
		d.space()
		s, null, err, ok := d.elemString(depth)
		if !ok {
			return nil, false
		}
		if conversion == nil {
			conversion = err
		}
		if k := unsafe.String(unsafe.SliceData(key), len(key)); null {
			delete(m.V, k)
		} else {
			m.V[k] = s
		}
		d.space()
		switch d.peek() {
		case ',':
			d.i++
			d.space()
		case '}':
			d.i++
			return conversion, true
		default:
			return nil, false
		}
	}
}

// skip passes over a value of any kind.
func (d *jsonDecoder) skip(depth int) bool {
	switch c := d.peek(); {
	case c == '"':
		_, ok := d.str()
		return ok
	case c == '{':
		_, ok := d.structure(nil, nil, depth+1)
		return ok
	case c == '[':
		return d.skipList(depth + 1)
	case c == 't':
		return d.word("true")
	case c == 'f':
		return d.word("false")
	case c == 'n':
		return d.word("null")
	case c == '-' || isDigit(c):
		_, ok := d.number()
		return ok
	}
	return false
}

func (d *jsonDecoder) skipList(depth int) bool {
	if depth > maxDepth {
		return false
	}
	d.i++ // the bracket
	d.space()
	if d.peek() == ']' {
		d.i++
		return true
	}
	for {
		if !d.skip(depth) {
			return false
		}
		d.space()
		switch d.peek() {
		case ',':
			d.i++
			d.space()
		case ']':
			d.i++
			return true
		default:
			return false
		}
	}
}

func (d *jsonDecoder) word(w string) bool {
	if len(d.b)-d.i < len(w) || string(d.b[d.i:d.i+len(w)]) != w {
		return false
	}
	d.i += len(w)
	return true
}

// str reads a string. The result lies in the body, unless it was not UTF-8.
func (d *jsonDecoder) str() (s []byte, ok bool) {
	if d.peek() != '"' {
		return nil, false
	}
	start := d.i + 1
	ascii := byte(0)
	for i := start + jsonlex.Plain(d.b[start:]); i < len(d.b); i++ {
		switch c := d.b[i]; {
		case c == '"':
			d.i = i + 1
			s = d.b[start:i:i]
			if ascii >= utf8.RuneSelf {
				s = validUTF8(s)
			}
			return s, true
		case c == '\\':
			return d.escaped(start, i)
		case c < ' ':
			return nil, false
		default:
			ascii |= c
		}
	}
	return nil, false
}

// escaped reads the rest of a string that began at start and has its first
// escape at i.
func (d *jsonDecoder) escaped(start, i int) (s []byte, ok bool) {
	w := i // where the next resolved byte goes: never beyond what has been read
	for i < len(d.b) {
		c := d.b[i]
		switch {
		case c == '"':
			d.i = i + 1
			return validUTF8(d.b[start:w:w]), true
		case c < ' ':
			return nil, false
		case c != '\\':
			d.b[w] = c
			w, i = w+1, i+1
			continue
		}
		r, n, ok := jsonlex.Escape(d.b[i:])
		if !ok {
			return nil, false
		}
		w += len(utf8.AppendRune(d.b[w:w:i+n], r)) // it is shorter than its escape
		i += n
	}
	return nil, false
}

// validUTF8 returns s with every byte that is not UTF-8 replaced.
func validUTF8(s []byte) []byte {
	if utf8.Valid(s) {
		return s
	}
	valid := make([]byte, 0, len(s)+16)
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		valid = utf8.AppendRune(valid, r)
		s = s[n:]
	}
	return valid
}

// number passes over a number and returns its text.
func (d *jsonDecoder) number() (text []byte, ok bool) {
	n := jsonlex.Number(d.b[d.i:])
	d.i += n
	return d.b[d.i-n : d.i], n > 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// foundBy tells the type of the value that begins with c.
func foundBy(c byte) found {
	switch c {
	case '"':
		return foundString
	case '[':
		return foundList
	case '{':
		return foundStruct
	case 't', 'f':
		return foundBool
	}
	return foundNumber
}

// toInt converts as AWS does: fractions are floored, and what is out of range
// becomes the nearest integer of 32 bits.
func toInt(text []byte) int64 {
	n := int64(0)
	for i, c := range text {
		if !isDigit(c) || i > 9 {
			f, _ := strconv.ParseFloat(string(text), 64) // out of range is infinite
			return int64(max(math.MinInt32, min(math.Floor(f), math.MaxInt32)))
		}
		n = n*10 + int64(c-'0')
	}
	return min(n, math.MaxInt32)
}

// toMillis converts seconds.
func toMillis(text []byte) shape.Millis {
	const limit = 1 << 53
	f, _ := strconv.ParseFloat(string(text), 64) // out of range is infinite, and bounded below
	return shape.Millis(math.Round(max(-limit, min(f*1000, limit))))
}

func toBool(f *shape.Bool, s string) *awserr.Error {
	switch strings.ToLower(s) {
	case "true", "1", "yes":
		f.V, f.Set = true, true
	case "false", "0", "no":
		f.V, f.Set = false, true
	default:
		return serialization("'" + strings.ToUpper(s) + "' can not be converted to an Boolean")
	}
	return nil
}
