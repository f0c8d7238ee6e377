package jsontext

// AppendValue appends a value that [Object] yielded as the official agent would
// print it: no blanks, or with pretty those of Jackson's default pretty printer, at
// the given depth of nesting. Strings are escaped anew; numbers keep their digits.
// scratch is for its use and may be nil; the one it returns may be given again.
func AppendValue(dst, value []byte, pretty bool, depth int, scratch []byte) (out, newScratch []byte) {
	w := writer{dst: dst, pretty: pretty, scratch: scratch}
	w.value(value, 0, depth)
	return w.dst, w.scratch
}

type writer struct {
	dst     []byte
	pretty  bool
	scratch []byte
}

// value writes the value at b[i] and returns the index behind it. The text is known
// to be right.
func (w *writer) value(b []byte, i, depth int) int {
	switch b[i] {
	case '"':
		return w.text(b, i)
	case '{':
		return w.members(b, i, depth, '}')
	case '[':
		return w.members(b, i, depth, ']')
	}
	end := valueEnd(b, i, 1)
	w.dst = append(w.dst, b[i:end]...)
	return end
}

func (w *writer) text(b []byte, i int) int {
	end := stringEnd(b, i)
	w.scratch = AppendUnescaped(w.scratch[:0], b[i+1:end-1])
	w.dst = AppendString(w.dst, w.scratch)
	return end
}

func (w *writer) members(b []byte, i, depth int, last byte) int {
	w.dst = append(w.dst, b[i])
	i = space(b, i+1)
	for n := 0; b[i] != last; n++ {
		if n > 0 {
			w.dst = append(w.dst, ',')
			i = space(b, i+1)
		}
		if last == ']' {
			// Jackson breaks the lines of objects and not those of arrays.
			w.blank()
			i = space(b, w.value(b, i, depth))
			continue
		}
		if w.pretty {
			w.dst = AppendIndent(w.dst, depth+1)
		}
		i = space(b, w.text(b, i)) + 1
		if w.pretty {
			w.dst = append(w.dst, " :"...)
		} else {
			w.dst = append(w.dst, ':')
		}
		w.blank()
		i = space(b, w.value(b, space(b, i), depth+1))
	}
	switch open := w.dst[len(w.dst)-1]; {
	case !w.pretty:
	case last == ']', open == '{':
		w.blank()
	default:
		w.dst = AppendIndent(w.dst, depth)
	}
	w.dst = append(w.dst, last)
	return i + 1
}

func (w *writer) blank() {
	if w.pretty {
		w.dst = append(w.dst, ' ')
	}
}

// AppendIndent appends a new line with the blanks of a depth of nesting.
func AppendIndent(dst []byte, depth int) []byte {
	dst = append(dst, '\n')
	for range depth {
		dst = append(dst, "  "...)
	}
	return dst
}

// An Encoder writes the members of one object that ends in a newline, compact or as
// Jackson's default pretty printer does. The zero Encoder with Dst set is ready.
type Encoder struct {
	Dst    []byte
	Pretty bool

	n int
}

// Key begins a member; its value must be appended to Dst.
func (o *Encoder) Key(name []byte) {
	if o.n == 0 {
		o.Dst = append(o.Dst, '{')
	} else {
		o.Dst = append(o.Dst, ',')
	}
	o.n++
	if o.Pretty {
		o.Dst = append(o.Dst, "\n  "...)
	}
	o.Dst = AppendString(o.Dst, name)
	if o.Pretty {
		o.Dst = append(o.Dst, " : "...)
	} else {
		o.Dst = append(o.Dst, ':')
	}
}

// Text writes a member with a string, or null if value is nil.
func (o *Encoder) Text(name, value []byte) {
	o.Key(name)
	if value == nil {
		o.Dst = append(o.Dst, "null"...)
		return
	}
	o.Dst = AppendString(o.Dst, value)
}

// End closes the object and the line.
func (o *Encoder) End() []byte {
	switch {
	case o.n == 0 && o.Pretty:
		o.Dst = append(o.Dst, "{ "...)
	case o.n == 0:
		o.Dst = append(o.Dst, '{')
	case o.Pretty:
		o.Dst = append(o.Dst, '\n')
	}
	return append(o.Dst, "}\n"...)
}
