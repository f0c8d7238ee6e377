// Package logparse takes the lines of well-known log formats apart, as the patterns
// of the official agent do, by hand: no allocation, and some thirty times the speed
// of regular expressions.
//
// Source of the formats: awslabs/amazon-kinesis-agent,
// processing/parsers/PatternConstants.java.
package logparse

import (
	"bytes"
	"unicode/utf8"
)

// MaxFields is the most fields that a format has.
const MaxFields = 9

// Fields are the parts of a line, in the order of the format's field names. They
// alias the line; nil is a part that is not there.
type Fields [MaxFields][]byte

// class is what a byte may be part of.
type class uint8

const (
	digit class = 1 << iota
	word        // letter, digit, underscore
	host        // word, dash, dot
	prog        // host, slash, per cent
	blank
)

var classes = func() (t [256]class) {
	for c := range 256 {
		switch {
		case c >= '0' && c <= '9':
			t[c] = digit | word | host | prog
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
			t[c] = word | host | prog
		case c == '.', c == '-':
			t[c] = host | prog
		case c == '/', c == '%':
			t[c] = prog
		case c == ' ', c >= '\t' && c <= '\r':
			t[c] = blank
		}
	}
	return t
}()

// run returns the index behind the bytes of a class that begin at b[i].
func run(b []byte, i int, c class) int {
	for i < len(b) && classes[b[i]]&c != 0 {
		i++
	}
	return i
}

// lit returns the index behind the byte c at b[i], or -1. Like all that follow, it
// takes -1 for an index and then returns it.
func lit(b []byte, i int, c byte) int {
	if i < 0 || i >= len(b) || b[i] != c {
		return -1
	}
	return i + 1
}

func lits(b []byte, i int, s string) int {
	if i < 0 || len(b)-i < len(s) || string(b[i:i+len(s)]) != s {
		return -1
	}
	return i + len(s)
}

// some returns the index behind at least one byte of a class.
func some(b []byte, i int, c class) int {
	if i < 0 {
		return -1
	}
	end := run(b, i, c)
	if end == i {
		return -1
	}
	return end
}

// user is a name of letters, digits, dots, dashes and underscores.
func user(b []byte, i int) int { return some(b, i, host) }

// hostname is labels with dots between them and perhaps one behind, or any digits
// and dots.
func hostname(b []byte, i int) int {
	end := some(b, i, host)
	if end < 0 {
		return -1
	}
	name := b[i:end]
	if name[0] != '.' && !bytes.Contains(name, []byte("..")) {
		return end
	}
	for _, c := range name {
		if c != '.' && classes[c]&digit == 0 {
			return -1
		}
	}
	return end
}

// positive is a number that begins with no zero.
func positive(b []byte, i int) int {
	if i < 0 || i >= len(b) || b[i] == '0' {
		return -1
	}
	return some(b, i, digit)
}

// integer is digits, perhaps with a sign.
func integer(b []byte, i int) int {
	if i >= 0 && i < len(b) && (b[i] == '+' || b[i] == '-') {
		i++
	}
	return some(b, i, digit)
}

// count is an integer or a dash.
func count(b []byte, i int) int {
	if end := integer(b, i); end >= 0 {
		return end
	}
	return lit(b, i, '-')
}

// quoted is at least one character that is no quote, in quotes. It returns the
// indexes of what is inside and of what follows.
func quoted(b []byte, i int) (start, end, next int) {
	start = lit(b, i, '"')
	if start < 0 {
		return 0, 0, -1
	}
	n := bytes.IndexByte(b[start:], '"')
	if n <= 0 {
		return 0, 0, -1
	}
	return start, start + n, start + n + 1
}

// number is one or two digits; it returns what they are worth.
func number(b []byte, i int) (v, end int) {
	end = some(b, i, digit)
	switch end - i {
	case 1:
		return int(b[i] - '0'), end
	case 2:
		return int(b[i]-'0')*10 + int(b[i+1]-'0'), end
	}
	return 0, -1
}

// monthDay is 1 to 31, with a zero before or not.
func monthDay(b []byte, i int) int {
	if v, end := number(b, i); end >= 0 && v >= 1 && v <= 31 {
		return end
	}
	return -1
}

// clock is hh:mm:ss, perhaps with a fraction. Hours and seconds may have one digit,
// and the second 60 exists.
func clock(b []byte, i int) int {
	hour, end := number(b, i)
	if end < 0 || hour > 23 {
		return -1
	}
	start := lit(b, end, ':')
	minute, end := number(b, start)
	if end != start+2 || minute > 59 {
		return -1
	}
	second, end := number(b, lit(b, end, ':'))
	if end < 0 || second > 60 {
		return -1
	}
	if end < len(b) && (b[end] == '.' || b[end] == ',' || b[end] == ':') {
		if fraction := some(b, end+1, digit); fraction > 0 {
			return fraction
		}
	}
	return end
}

var (
	months = [...]string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}
	days   = [...]string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
)

// name is one of names, whole or its first three letters.
func name(b []byte, i int, names []string) int {
	if i < 0 || len(b)-i < 3 {
		return -1
	}
	for _, n := range names {
		if b[i] != n[0] || b[i+1] != n[1] || b[i+2] != n[2] {
			continue
		}
		if end := lits(b, i, n); end >= 0 {
			return end
		}
		return i + 3
	}
	return -1
}

// line reports whether b has no line terminator, in Java's sense: what a dot there
// does not match.
func line(b []byte) bool {
	if bytes.IndexByte(b, '\n') >= 0 || bytes.IndexByte(b, '\r') >= 0 {
		return false
	}
	for i := bytes.IndexByte(b, 0xC2); i >= 0 && i+1 < len(b); {
		if b[i+1] == 0x85 {
			return false
		}
		n := bytes.IndexByte(b[i+1:], 0xC2)
		if n < 0 {
			break
		}
		i += 1 + n
	}
	return !bytes.Contains(b, []byte("\u2028")) && !bytes.Contains(b, []byte("\u2029"))
}

// dot returns the index behind the one character at b[i], or -1 for a line
// terminator.
func dot(b []byte, i int) int {
	if i < 0 || i >= len(b) {
		return -1
	}
	r, n := utf8.DecodeRune(b[i:])
	switch r {
	case '\n', '\r', '\u0085', '\u2028', '\u2029':
		return -1
	}
	return i + n
}
