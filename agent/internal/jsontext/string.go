// Package jsontext writes and reads JSON without allocating: strings escaped as
// the official agent's printer does, and the members of objects as they stand.
package jsontext

import (
	"unicode/utf8"

	"github.com/streamkit/streamkit/internal/jsonlex"
)

const hexDigits = "0123456789ABCDEF"

// AppendString appends s as a JSON string, escaped as Jackson does: quotes,
// backslashes and control characters, nothing else. Bytes that are no UTF-8 become
// U+FFFD.
func AppendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i := jsonlex.Plain(s); i < len(s); i += jsonlex.Plain(s[i:]) {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, c)
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\t':
		return append(dst, '\\', 't')
	case '\n':
		return append(dst, '\\', 'n')
	case '\f':
		return append(dst, '\\', 'f')
	case '\r':
		return append(dst, '\\', 'r')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
