package jsontext

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/streamkit/streamkit/internal/jsonlex"
)

// ErrSyntax says that a text is no JSON, or not of the kind that is wanted.
var ErrSyntax = errors.New("not a JSON object")

const maxDepth = 500

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// Object calls yield for each member of the object that b is, in order, until yield
// returns false. key is the text between the quotes, as it stands; value is the
// whole value without blanks around it. Both alias b.
//
// An error comes only after the members before the place that is wrong were
// yielded. Keys that come twice are yielded twice.
func Object(b []byte, yield func(key, value []byte) bool) error {
	i := space(b, 0)
	if i == len(b) || b[i] != '{' {
		return ErrSyntax
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return atEnd(b, i+1)
	}
	for {
		end := stringEnd(b, i)
		if end < 0 {
			return ErrSyntax
		}
		key := b[i+1 : end-1]
		if i = space(b, end); i == len(b) || b[i] != ':' {
			return ErrSyntax
		}
		i = space(b, i+1)
		if end = valueEnd(b, i, 1); end < 0 {
			return ErrSyntax
		}
		if !yield(key, b[i:end]) {
			return nil
		}
		if i = space(b, end); i == len(b) {
			return ErrSyntax
		}
		switch b[i] {
		case ',':
			i = space(b, i+1)
		case '}':
			return atEnd(b, i+1)
		default:
			return ErrSyntax
		}
	}
}

func atEnd(b []byte, i int) error {
	if space(b, i) != len(b) {
		return ErrSyntax
	}
	return nil
}

// stringEnd returns the index behind the string that begins at b[i], or -1.
func stringEnd(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c != '\\':
			continue
		}
		_, n, ok := jsonlex.Escape(b[i:])
		if !ok {
			return -1
		}
		i += n - 1
	}
	return -1
}

// valueEnd returns the index behind the value that begins at b[i], or -1.
func valueEnd(b []byte, i, depth int) int {
	if i >= len(b) || depth > maxDepth {
		return -1
	}
	switch c := b[i]; c {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
		return compoundEnd(b, i, depth)
	case 't':
		return wordEnd(b, i, "true")
	case 'f':
		return wordEnd(b, i, "false")
	case 'n':
		return wordEnd(b, i, "null")
	}
	if n := jsonlex.Number(b[i:]); n > 0 {
		return i + n
	}
	return -1
}

func compoundEnd(b []byte, i, depth int) int {
	object := b[i] == '{'
	last := b[i] + 2 // the bracket that closes it
	if i = space(b, i+1); i < len(b) && b[i] == last {
		return i + 1
	}
	for {
		if object {
			if i = stringEnd(b, i); i < 0 {
				return -1
			}
			if i = space(b, i); i == len(b) || b[i] != ':' {
				return -1
			}
			i = space(b, i+1)
		}
		if i = valueEnd(b, i, depth+1); i < 0 {
			return -1
		}
		if i = space(b, i); i == len(b) {
			return -1
		}
		switch b[i] {
		case ',':
			i = space(b, i+1)
		case last:
			return i + 1
		default:
			return -1
		}
	}
}

func wordEnd(b []byte, i int, word string) int {
	if !bytes.HasPrefix(b[i:], []byte(word)) {
		return -1
	}
	return i + len(word)
}

// AppendUnescaped appends the text that s, the inside of a JSON string as [Object]
// yields it, stands for. Half a surrogate pair becomes U+FFFD.
func AppendUnescaped(dst, s []byte) []byte {
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...)
		}
		r, n, ok := jsonlex.Escape(s[i:])
		if !ok {
			return append(dst, s...)
		}
		dst = utf8.AppendRune(append(dst, s[:i]...), r)
		s = s[i+n:]
	}
}

// IsString reports whether a value of [Object] is a string, and returns its inside.
func IsString(value []byte) (inside []byte, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return nil, false
	}
	return value[1 : len(value)-1], true
}

// Key reports whether the key of a member, as it stands, means name.
func Key(key []byte, name string) bool {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key) == name
	}
	var buf [128]byte
	return string(AppendUnescaped(buf[:0], key)) == name
}
