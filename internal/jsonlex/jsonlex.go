// Package jsonlex has the parts of JSON that every reader of it needs and that are
// easily got wrong or slow: escapes, numbers, and what in a string stands for itself.
//
// Source: RFC 8259, sections 6 and 7.
package jsonlex

import (
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Escape reads the escape that s begins with, backslash included, and returns
// what it stands for and its length: 2 bytes, 6, or 12 for a surrogate pair. One
// half of such a pair alone stands for U+FFFD, as in encoding/json. ok is false
// if s begins with no escape.
func Escape[T ~[]byte | ~string](s T) (r rune, n int, ok bool) {
	if len(s) < 2 || s[0] != '\\' {
		return 0, 0, false
	}
	if s[1] != 'u' {
		at := strings.IndexByte(`"\/bfnrt`, s[1])
		if at < 0 {
			return 0, 0, false
		}
		return rune("\"\\/\b\f\n\r\t"[at]), 2, true
	}
	r, ok = unit(s)
	if !ok {
		return 0, 0, false
	}
	if !utf16.IsSurrogate(r) {
		return r, 6, true
	}
	if low, ok := unit(s[6:]); ok {
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12, true
		}
	}
	return utf8.RuneError, 6, true
}

// unit reads \uXXXX.
func unit[T ~[]byte | ~string](s T) (r rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for i := 2; i < 6; i++ {
		c := s[i]
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20-'a' <= 'f'-'a':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// Plain returns how many bytes s begins with that are ASCII and stand for
// themselves in a string: no control character, quote or backslash.
func Plain[T ~[]byte | ~string](s T) int {
	i := 0
	for ; len(s)-i >= 8; i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		// The high bit of each byte that is none of them. A borrow may set that of
		// bytes above the first, too.
		if other := (w | (w - ones*' ') | (quote-ones)&^quote | (slash-ones)&^slash) & highs; other != 0 {
			return i + bits.TrailingZeros64(other)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// Number returns the length of the number that s begins with, or 0 if it begins
// with none. What follows is not looked at: of 01 it is the 0.
func Number[T ~[]byte | ~string](s T) (n int) {
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if i = digits(s, i); i == 0 {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		if i = digits(s, i+1); i == 0 {
			return 0
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		i = digits(s, i)
	}
	return i
}

// digits returns the index behind one or more digits, or 0 if there are none.
func digits[T ~[]byte | ~string](s T, i int) int {
	start := i
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return 0
	}
	return i
}
