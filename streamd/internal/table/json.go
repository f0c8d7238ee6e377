package table

import (
	"strings"
	"unicode/utf8"

	"github.com/streamkit/streamkit/internal/jsonlex"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// maxJSONDepth bounds the nesting of a body, and so the depth of recursion. An
// attribute value nests two levels of JSON for each of its own, of which 32 are
// allowed; the rest is room for wrong input to be named as such.
const maxJSONDepth = 256

// reader reads JSON from a string. The strings that it returns are parts of
// its input where that is possible.
//
// Its error is sticky: once something was wrong, every method returns nothing.
type reader struct {
	s     string
	i     int
	depth int
	err   error // an *awserr.Error: SerializationException
}

// token is what comes next in the input.
type token byte

const (
	tokenEnd token = iota
	tokenObject
	tokenArray
	tokenString
	tokenNumber
	tokenTrue
	tokenFalse
	tokenNull
	tokenBad
)

// fail makes the reader stop. An empty message is what AWS sends for a body
// that is no JSON.
func (r *reader) fail(msg string) {
	if r.err == nil {
		r.err = awserr.New(codeSerialization, "%s", msg)
	}
	r.i = len(r.s)
}

func (r *reader) space() {
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// peek returns the kind of the next value and leaves it.
func (r *reader) peek() token {
	r.space()
	if r.i >= len(r.s) {
		return tokenEnd
	}
	switch c := r.s[r.i]; {
	case c == '{':
		return tokenObject
	case c == '[':
		return tokenArray
	case c == '"':
		return tokenString
	case c == '-' || '0' <= c && c <= '9':
		return tokenNumber
	case strings.HasPrefix(r.s[r.i:], "true"):
		return tokenTrue
	case strings.HasPrefix(r.s[r.i:], "false"):
		return tokenFalse
	case strings.HasPrefix(r.s[r.i:], "null"):
		return tokenNull
	}
	return tokenBad
}

// null consumes a null and reports whether there was one.
func (r *reader) null() bool {
	if r.peek() != tokenNull {
		return false
	}
	r.i += len("null")
	return true
}

func (r *reader) byte() byte {
	r.space()
	if r.i >= len(r.s) {
		return 0
	}
	r.i++
	return r.s[r.i-1]
}

// object reads an object. member must consume the value of each member.
func (r *reader) object(member func(name string)) {
	if !r.enter('{') {
		return
	}
	for first := true; r.err == nil; first = false {
		switch r.next(first, '}') {
		case itemLast:
			r.depth--
			return
		case itemBad:
			r.fail("")
			return
		case itemMore:
		}
		if r.peek() != tokenString {
			r.fail("")
			return
		}
		name := r.text()
		if r.byte() != ':' {
			r.fail("")
			return
		}
		member(name)
	}
}

// array reads an array. element must consume each element.
func (r *reader) array(element func()) {
	if !r.enter('[') {
		return
	}
	for first := true; r.err == nil; first = false {
		switch r.next(first, ']') {
		case itemLast:
			r.depth--
			return
		case itemBad:
			r.fail("")
			return
		case itemMore:
		}
		element()
	}
}

func (r *reader) enter(open byte) bool {
	if r.err != nil || r.byte() != open {
		r.fail("")
		return false
	}
	if r.depth++; r.depth > maxJSONDepth {
		r.fail("")
		return false
	}
	return true
}

type item uint8

const (
	itemMore item = iota
	itemLast
	itemBad
)

// next consumes what separates the elements of an object or an array.
func (r *reader) next(first bool, end byte) item {
	r.space()
	if r.i >= len(r.s) {
		return itemBad
	}
	switch c := r.s[r.i]; {
	case c == end:
		r.i++
		return itemLast
	case first:
		return itemMore
	case c == ',':
		r.i++
		return itemMore
	}
	return itemBad
}

// skip consumes a value of any kind.
func (r *reader) skip() {
	switch r.peek() {
	case tokenObject:
		r.object(func(string) { r.skip() })
	case tokenArray:
		r.array(r.skip)
	case tokenString:
		r.text()
	case tokenNumber:
		r.number()
	case tokenTrue, tokenNull:
		r.i += len("true")
	case tokenFalse:
		r.i += len("false")
	case tokenEnd, tokenBad:
		r.fail("")
	}
}

// number consumes a number and returns its text.
func (r *reader) number() string {
	n := jsonlex.Number(r.s[r.i:])
	if n == 0 {
		r.fail("")
		return ""
	}
	r.i += n
	return r.s[r.i-n : r.i]
}

// text consumes a string, whose quote comes next.
func (r *reader) text() string {
	r.i++
	start := r.i
	for i := start + jsonlex.Plain(r.s[start:]); i < len(r.s); i++ {
		switch c := r.s[i]; {
		case c == '"':
			r.i = i + 1
			return r.s[start:i]
		case c == '\\':
			return r.escaped(start, i)
		case c < ' ':
			r.fail("")
			return ""
		}
	}
	r.fail("")
	return ""
}

// escaped reads the rest of a string that starts at start and has its first
// backslash at i.
func (r *reader) escaped(start, i int) string {
	b := append(make([]byte, 0, 2*(i-start)+32), r.s[start:i]...)
	for i < len(r.s) {
		c := r.s[i]
		switch {
		case c == '"':
			r.i = i + 1
			return string(b)
		case c < ' ':
			r.fail("")
			return ""
		case c != '\\':
			b = append(b, c)
			i++
			continue
		}
		u, n, ok := jsonlex.Escape(r.s[i:])
		if !ok {
			break
		}
		b = utf8.AppendRune(b, u)
		i += n
	}
	r.fail("")
	return ""
}

// The methods below read a member of a known type. A null counts as absent.

// mismatch fails with what AWS says of a value that is not of the wanted type.
func (r *reader) mismatch(want string) {
	switch r.peek() {
	case tokenObject:
		r.fail("Start of structure or map found where not expected")
	case tokenArray:
		r.fail("Unrecognized collection type class java.lang." + want)
	case tokenString:
		if want == "Boolean" {
			r.fail("Unexpected token received from parser")
			return
		}
		r.fail("STRING_VALUE cannot be converted to " + want)
	case tokenNumber:
		if n := r.number(); strings.ContainsAny(n, ".eE") {
			r.fail("DECIMAL_VALUE cannot be converted to " + want)
			return
		}
		r.fail("NUMBER_VALUE cannot be converted to " + want)
	case tokenTrue:
		r.fail("TRUE_VALUE cannot be converted to " + want)
	case tokenFalse:
		r.fail("FALSE_VALUE cannot be converted to " + want)
	case tokenNull, tokenEnd, tokenBad:
		r.fail("")
	}
}

// optString reads a string; ok is false for null.
func (r *reader) optString() (s string, ok bool) {
	if r.null() {
		return "", false
	}
	if r.peek() != tokenString {
		r.mismatch("String")
		return "", false
	}
	return r.text(), r.err == nil
}

// optBool reads a boolean; ok is false for null.
func (r *reader) optBool() (v, ok bool) {
	switch r.peek() {
	case tokenTrue:
		r.i += len("true")
		return true, true
	case tokenFalse:
		r.i += len("false")
		return false, true
	case tokenNull:
		r.i += len("null")
		return false, false
	default:
		r.mismatch("Boolean")
		return false, false
	}
}

// optInt reads an integer, cutting a fraction off; ok is false for null. Values
// outside of 32 bits are held at the nearest one inside, or outside of 64 bits
// if long is set.
func (r *reader) optInt(long bool) (n int64, ok bool) {
	if r.null() {
		return 0, false
	}
	limit, want := float64(1<<31-1), "Integer"
	if long {
		limit, want = float64(1<<53), "Long"
	}
	if r.peek() != tokenNumber {
		r.mismatch(want)
		return 0, false
	}
	return clampedInt(r.number(), limit), r.err == nil
}

// optObject reads an object; it returns false for null.
func (r *reader) optObject(member func(name string)) bool {
	if r.null() {
		return false
	}
	switch r.peek() {
	case tokenObject:
		r.object(member)
	case tokenArray:
		r.fail("Start of list found where not expected")
	default:
		r.fail("Unexpected field type")
	}
	return r.err == nil
}

// optArray reads an array; it returns false for null.
func (r *reader) optArray(element func()) bool {
	if r.null() {
		return false
	}
	switch r.peek() {
	case tokenArray:
		r.array(element)
	case tokenObject:
		r.fail("Start of structure or map found where not expected")
	default:
		r.fail("Unexpected field type")
	}
	return r.err == nil
}
