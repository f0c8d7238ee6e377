// Package charset makes UTF-8 of the bytes of log files, line by line, so that the
// place of a line in its file stays known.
package charset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Encoding is how the characters of a file are written.
type Encoding int

const (
	// Bytes leaves everything as it is.
	Bytes Encoding = iota
	// UTF8 drops a byte order mark and replaces what is no UTF-8.
	UTF8
	// UTF16LE is UTF-16 with the low byte first.
	UTF16LE
	// UTF16BE is UTF-16 with the high byte first.
	UTF16BE
	// UTF16 is one of the two, as the byte order mark says; without one, UTF16LE.
	UTF16
	// Latin1 is ISO 8859-1.
	Latin1
	// Windows1252 is Windows's extension of it.
	Windows1252
	// Auto is what the byte order mark says; without one, Bytes.
	Auto
)

var names = []struct {
	name string
	enc  Encoding
}{
	{"bytes", Bytes},
	{"utf-8", UTF8},
	{"utf-16", UTF16},
	{"utf-16le", UTF16LE},
	{"utf-16be", UTF16BE},
	{"iso-8859-1", Latin1},
	{"windows-1252", Windows1252},
	{"auto", Auto},
	// Other names of the same.
	{"", Bytes},
	{"utf8", UTF8},
	{"us-ascii", UTF8},
	{"ascii", UTF8},
	{"utf16", UTF16},
	{"utf16le", UTF16LE},
	{"utf16be", UTF16BE},
	{"latin-1", Latin1},
	{"latin1", Latin1},
	{"cp1252", Windows1252},
}

// Parse returns the encoding of a name, in letters of either case.
func Parse(name string) (Encoding, error) {
	var known []string
	for i, n := range names {
		if strings.EqualFold(n.name, name) {
			return n.enc, nil
		}
		if i <= int(Auto) {
			known = append(known, n.name)
		}
	}
	return 0, fmt.Errorf("%q is none of %s", name, strings.Join(known, ", "))
}

// Marked reports whether the encoding is told by how the file begins.
func (e Encoding) Marked() bool { return e == UTF16 || e == Auto }

// Detect returns the encoding of a file that begins with head, and the length of
// its byte order mark. Four bytes of head are enough.
func (e Encoding) Detect(head []byte) (enc Encoding, mark int) {
	starts := func(mark string) bool { return bytes.HasPrefix(head, []byte(mark)) }
	wide := e == UTF16 || e == Auto
	switch {
	case (e == UTF8 || e == Auto) && starts("\xef\xbb\xbf"):
		return UTF8, 3
	case (wide || e == UTF16LE) && starts("\xff\xfe"):
		return UTF16LE, 2
	case (wide || e == UTF16BE) && starts("\xfe\xff"):
		return UTF16BE, 2
	case e == UTF16:
		return UTF16LE, 0
	case e == Auto:
		return Bytes, 0
	}
	return e, 0
}

// Wide reports whether a character has two bytes or more.
func (e Encoding) Wide() bool { return e == UTF16LE || e == UTF16BE }

// LineEnd returns the index behind the first newline in b, or -1. odd says that b
// begins in the middle of a wide character.
func (e Encoding) LineEnd(b []byte, odd bool) int {
	if !e.Wide() {
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return i + 1
		}
		return -1
	}
	low := 0 // where the byte of the newline stands in its character
	if e == UTF16BE {
		low = 1
	}
	for i := 0; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n
		other, end := i+1-2*low, i+2-low
		if (i+b2i(odd))&1 == low && other >= 0 && end <= len(b) && b[other] == 0 {
			return end
		}
		i++
	}
}

// LastLineEnd is LineEnd for the last newline.
func (e Encoding) LastLineEnd(b []byte, odd bool) int {
	end := -1
	if !e.Wide() {
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			end = i + 1
		}
		return end
	}
	for i := 0; ; i = end {
		n := e.LineEnd(b[i:], odd != (i&1 == 1))
		if n < 0 {
			return end
		}
		end = i + n
	}
}

// Boundary returns the largest n of at most limit so that b[:n] does not end within
// a character. b begins with a whole one.
func (e Encoding) Boundary(b []byte, limit int) int {
	if limit >= len(b) {
		return len(b)
	}
	switch e {
	case UTF16LE, UTF16BE:
		limit &^= 1
		if limit >= 2 && e.unit(b[limit-2:])&0xfc00 == 0xd800 {
			limit -= 2
		}
	case Latin1, Windows1252:
		return limit
	case Bytes, UTF8, UTF16, Auto:
	}
	return Whole(b, limit)
}

// Whole is Boundary for text in UTF-8. What is no UTF-8 may be cut anywhere.
func Whole(b []byte, limit int) int {
	if limit >= len(b) {
		return len(b)
	}
	for n := limit; n > 0 && limit-n < utf8.UTFMax; n-- {
		if utf8.RuneStart(b[n]) {
			if _, size := utf8.DecodeRune(b[n:]); n+size > limit && size > 1 {
				return n
			}
			break
		}
	}
	return limit
}

func (e Encoding) unit(b []byte) uint16 {
	if e == UTF16BE {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

// Append appends b as UTF-8. What stands for no character becomes U+FFFD.
func (e Encoding) Append(dst, b []byte) []byte {
	switch e {
	case UTF8:
		return appendUTF8(dst, b)
	case UTF16LE, UTF16BE:
		return e.appendWide(dst, b)
	case Latin1, Windows1252:
		for _, c := range b {
			switch {
			case c < utf8.RuneSelf:
				dst = append(dst, c)
			case e == Windows1252 && c < 0xa0:
				dst = utf8.AppendRune(dst, windows1252[c-0x80])
			default:
				dst = append(dst, 0xc0|c>>6, 0x80|c&0x3f)
			}
		}
		return dst
	case Bytes, UTF16, Auto: // the last two are never left over by Detect
	}
	return append(dst, b...)
}

func appendUTF8(dst, b []byte) []byte {
	if utf8.Valid(b) {
		return append(dst, b...)
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		dst = utf8.AppendRune(dst, r)
		b = b[n:]
	}
	return dst
}

func (e Encoding) appendWide(dst, b []byte) []byte {
	for len(b) >= 2 {
		r := rune(e.unit(b))
		b = b[2:]
		switch {
		case r < utf8.RuneSelf:
			dst = append(dst, byte(r))
			continue
		case utf16.IsSurrogate(r):
			pair := utf8.RuneError
			if len(b) >= 2 {
				pair = utf16.DecodeRune(r, rune(e.unit(b)))
			}
			if r = pair; pair != utf8.RuneError {
				b = b[2:]
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	if len(b) > 0 {
		dst = utf8.AppendRune(dst, utf8.RuneError)
	}
	return dst
}

// windows1252 is what differs from Latin-1; what is not assigned is the control
// character of the same number, as browsers read it.
//
// Source: WHATWG Encoding Standard, index windows-1252.
var windows1252 = [32]rune{
	0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8d, 0x017d, 0x8f,
	0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d, 0x017e, 0x0178,
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
