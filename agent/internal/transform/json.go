package transform

import "unicode/utf8"

const hexDigits = "0123456789ABCDEF"

// AppendString appends s as a JSON string, escaped as Jackson does: quotes,
// backslashes and control characters, nothing else. Bytes that are no UTF-8 become
// U+FFFD.
func AppendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
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
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// object writes the fields of one JSON object.
type object struct {
	dst    []byte
	pretty bool // as Jackson's default pretty printer
	n      int
}

func (o *object) key(name []byte) {
	switch {
	case o.n == 0:
		o.dst = append(o.dst, '{')
	default:
		o.dst = append(o.dst, ',')
	}
	o.n++
	if o.pretty {
		o.dst = append(o.dst, "\n  "...)
	}
	o.dst = AppendString(o.dst, name)
	if o.pretty {
		o.dst = append(o.dst, " : "...)
	} else {
		o.dst = append(o.dst, ':')
	}
}

// field writes a field; a nil value is null.
func (o *object) field(name, value []byte) {
	o.key(name)
	if value == nil {
		o.dst = append(o.dst, "null"...)
		return
	}
	o.dst = AppendString(o.dst, value)
}

// end closes the object and the record.
func (o *object) end() []byte {
	if o.pretty {
		o.dst = append(o.dst, '\n')
	}
	return append(o.dst, "}\n"...)
}
