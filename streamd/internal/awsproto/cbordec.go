package awsproto

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

// Major types of CBOR: the upper three bits of a value's first byte.
//
// Source: RFC 8949, section 3.1.
const (
	majorUint = iota
	majorNegative
	majorBytes
	majorText
	majorList
	majorMap
	majorTag
	majorSimple // and floats
)

// First bytes of CBOR values that are whole, and of those without a length.
const (
	cborFalse     = majorSimple<<5 | 20
	cborTrue      = majorSimple<<5 | 21
	cborNull      = majorSimple<<5 | 22
	cborUndefined = majorSimple<<5 | 23
	cborFloat16   = majorSimple<<5 | 25
	cborFloat32   = majorSimple<<5 | 26
	cborFloat64   = majorSimple<<5 | 27
	cborBreak     = majorSimple<<5 | indefinite

	cborListOpen = majorList<<5 | indefinite
	cborMapOpen  = majorMap<<5 | indefinite

	indefinite = 31 // lower five bits of what ends with a break
)

// cborDecoder reads a body in one pass. As in JSON, strings and blobs stay
// where they are in the body: those that come in chunks are joined in place.
// What a length promises is never believed further than there are bytes.
type cborDecoder struct {
	b []byte
	i int
}

// Decode implements [Codec].
func (cborCodec) Decode(body []byte, s shape.Struct, in any) (conversion *awserr.Error, syntaxOK bool) {
	d := cborDecoder{b: body}
	if c, ok := d.value(); !ok || c>>5 != majorMap {
		return nil, false
	}
	conversion, ok := d.structure(s, in, 1)
	return conversion, ok && d.i == len(d.b)
}

// value returns the first byte of the next value. Tags before it are passed
// over: what a value is for, its member says.
func (d *cborDecoder) value() (first byte, ok bool) {
	for d.i < len(d.b) {
		c := d.b[d.i]
		if c>>5 != majorTag {
			return c, true
		}
		if _, ok := d.head(); !ok {
			return 0, false
		}
	}
	return 0, false
}

// head reads the first byte of a value, which must not be an indefinite one,
// and its argument.
func (d *cborDecoder) head() (arg uint64, ok bool) {
	info := d.b[d.i] & 31
	d.i++
	if info < 24 {
		return uint64(info), true
	}
	rest := d.b[d.i:]
	n := 1 << (info & 7)
	if info > 27 || len(rest) < n {
		return 0, false
	}
	d.i += n
	switch n {
	case 1:
		return uint64(rest[0]), true
	case 2:
		return uint64(binary.BigEndian.Uint16(rest)), true
	case 4:
		return uint64(binary.BigEndian.Uint32(rest)), true
	}
	return binary.BigEndian.Uint64(rest), true
}

// items counts what is left of a list or of the pairs of a map.
type items struct {
	left uint64
	open bool // until a break
}

func (d *cborDecoder) items() (it items, ok bool) {
	if d.b[d.i]&31 == indefinite {
		d.i++
		return items{open: true}, true
	}
	it.left, ok = d.head()
	return it, ok
}

// more reports whether another item follows, and passes over the break.
func (d *cborDecoder) more(it *items) bool {
	if it.open {
		if d.i < len(d.b) && d.b[d.i] == cborBreak {
			d.i++
			return false
		}
		return true // or nothing, which is found next
	}
	if it.left == 0 {
		return false
	}
	it.left--
	return true
}

// structure reads a map into in. The conversion error is that of the member
// which comes first in the table.
func (d *cborDecoder) structure(s shape.Struct, in any, depth int) (conversion *awserr.Error, ok bool) {
	if depth > maxDepth {
		return nil, false
	}
	it, ok := d.items()
	if !ok {
		return nil, false
	}
	first, hint := len(s), 0
	for d.more(&it) {
		key, ok := d.key()
		if !ok {
			return nil, false
		}
		m := s.Index(key, hint)
		if m < 0 {
			if !d.skip(depth) {
				return nil, false
			}
			continue
		}
		hint = m + 1
		err, ok := d.member(&s[m], in, depth)
		if !ok {
			return nil, false
		}
		if err != nil && m < first {
			conversion, first = err, m
		}
	}
	return conversion, true
}

// key reads the key of a map, which must be text.
func (d *cborDecoder) key() (key []byte, ok bool) {
	if c, ok := d.value(); !ok || c>>5 != majorText {
		return nil, false
	}
	return d.text()
}

// member reads a value into the field of m.
func (d *cborDecoder) member(m *shape.Member, in any, depth int) (conversion *awserr.Error, ok bool) {
	c, ok := d.value()
	if !ok {
		return nil, false
	}
	if c == cborNull || c == cborUndefined {
		d.i++
		clearField(m.Field(in))
		return nil, true
	}
	switch f := m.Field(in).(type) {
	case *shape.String:
		if c>>5 == majorText {
			f.V, ok = d.string()
			f.Set = true
			return nil, ok
		}
	case *shape.Blob:
		switch c >> 5 {
		case majorBytes:
			f.V, ok = d.bytes()
			f.Set = true
			return nil, ok
		case majorText: // base64, from clients that took it over from JSON
			text, ok := d.text()
			if !ok {
				return nil, false
			}
			return decodeBlob(f, text, 0, true)
		}
	case *shape.Int:
		if foundByCBOR(c) == foundNumber {
			v, ok := d.number()
			f.V, f.Set = int64(max(math.MinInt32, min(math.Floor(v), math.MaxInt32))), true
			return nil, ok
		}
	case *shape.Time:
		if foundByCBOR(c) == foundNumber {
			const limit = 1 << 53
			v, ok := d.number()
			f.V, f.Set = shape.Millis(math.Round(max(-limit, min(v, limit)))), true
			return nil, ok
		}
	case *shape.Bool:
		switch {
		case c == cborTrue, c == cborFalse:
			d.i++
			f.V, f.Set = c == cborTrue, true
			return nil, true
		case c>>5 == majorText:
			s, ok := d.string()
			if !ok {
				return nil, false
			}
			return toBool(f, s), true
		}
	case *shape.Present:
		f.Set = true
		return nil, d.skip(depth)
	case *shape.Strings:
		if c>>5 == majorList {
			return d.stringList(f, depth+1)
		}
	case *shape.Map:
		if c>>5 == majorMap {
			return d.stringMap(f, depth+1)
		}
	case shape.Lister:
		if c>>5 == majorList {
			return d.list(m, f, depth+1)
		}
	case shape.Nested:
		if c>>5 == majorMap {
			return d.structure(m.Elem, f.Begin(), depth+1)
		}
	}
	return mismatch(m.Kind, foundByCBOR(c)), d.skip(depth)
}

func (d *cborDecoder) list(m *shape.Member, l shape.Lister, depth int) (conversion *awserr.Error, ok bool) {
	if depth > maxDepth {
		return nil, false
	}
	it, ok := d.items()
	if !ok {
		return nil, false
	}
	limit := int(m.Rules.Max)
	if limit == 0 {
		limit = defaultListLimit
	}
	l.BeginList()
	for d.more(&it) {
		var err *awserr.Error
		c, ok := d.value()
		switch {
		case !ok:
			return nil, false
		case c>>5 == majorMap:
			if err, ok = d.structure(m.Elem, l.Add(limit), depth+1); !ok {
				return nil, false
			}
		case c == cborNull || c == cborUndefined:
			d.i++
			l.Add(limit) // as an empty one: what it lacks is reported
		default:
			err = mismatch(shape.KindStruct, foundByCBOR(c))
			if !d.skip(depth) {
				return nil, false
			}
		}
		if conversion == nil {
			conversion = err
		}
	}
	return conversion, true
}

// elemString reads a string inside a list or map. null says that there is none.
func (d *cborDecoder) elemString(depth int) (s string, null bool, conversion *awserr.Error, ok bool) {
	c, ok := d.value()
	switch {
	case !ok:
		return "", true, nil, false
	case c>>5 == majorText:
		s, ok = d.string()
		return s, false, nil, ok
	case c == cborNull || c == cborUndefined:
		d.i++
		return "", true, nil, true
	}
	return "", true, mismatch(shape.KindString, foundByCBOR(c)), d.skip(depth)
}

func (d *cborDecoder) stringList(l *shape.Strings, depth int) (conversion *awserr.Error, ok bool) {
	it, ok := d.items()
	if !ok {
		return nil, false
	}
	l.V, l.Set = l.V[:0], true
	for d.more(&it) {
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
	}
	return conversion, true
}

func (d *cborDecoder) stringMap(m *shape.Map, depth int) (conversion *awserr.Error, ok bool) {
	it, ok := d.items()
	if !ok {
		return nil, false
	}
	m.V, m.Set = make(map[string]string), true
	for d.more(&it) {
		key, ok := d.key()
		if !ok {
			return nil, false
		}
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
	}
	return conversion, true
}

// skip passes over a value of any kind.
func (d *cborDecoder) skip(depth int) bool {
	c, ok := d.value()
	if !ok {
		return false
	}
	switch c >> 5 {
	case majorBytes, majorText:
		_, ok := d.bytes()
		return ok
	case majorList, majorMap:
		if depth+1 > maxDepth {
			return false
		}
		it, ok := d.items()
		if !ok {
			return false
		}
		for d.more(&it) {
			if c>>5 == majorMap && !d.skip(depth+1) {
				return false
			}
			if !d.skip(depth + 1) {
				return false
			}
		}
		return true
	case majorSimple:
		// Below 32 a simple value takes one byte, and must not take two.
		if c&31 == 24 && (d.i+1 == len(d.b) || d.b[d.i+1] < 32) {
			return false
		}
	}
	_, ok = d.head()
	return ok
}

// bytes reads a byte or text string, which lies in the body afterwards.
func (d *cborDecoder) bytes() (s []byte, ok bool) {
	c := d.b[d.i]
	if c&31 != indefinite {
		return d.definite()
	}
	d.i++
	start, end := d.i, d.i
	for first := true; ; first = false {
		switch {
		case d.i == len(d.b):
			return nil, false
		case d.b[d.i] == cborBreak:
			d.i++
			return d.b[start:end:end], true
		case d.b[d.i]>>5 != c>>5:
			return nil, false
		}
		chunk, ok := d.definite()
		if !ok {
			return nil, false
		}
		if first {
			start, end = d.i-len(chunk), d.i
		} else {
			end += copy(d.b[end:], chunk) // over what was read
		}
	}
}

func (d *cborDecoder) definite() (s []byte, ok bool) {
	n, ok := d.head()
	if !ok || n > uint64(len(d.b)-d.i) {
		return nil, false
	}
	s = d.b[d.i : d.i+int(n) : d.i+int(n)]
	d.i += int(n)
	return s, true
}

// text reads a text string.
func (d *cborDecoder) text() (s []byte, ok bool) {
	if s, ok = d.bytes(); !ok {
		return nil, false
	}
	return validUTF8(s), true
}

func (d *cborDecoder) string() (s string, ok bool) {
	b, ok := d.text()
	return unsafe.String(unsafe.SliceData(b), len(b)), ok
}

// number reads an integer or a float. No member needs an integer that a float
// does not hold.
func (d *cborDecoder) number() (v float64, ok bool) {
	c := d.b[d.i]
	arg, ok := d.head()
	switch {
	case !ok:
		return 0, false
	case c>>5 == majorUint:
		return float64(arg), true
	case c>>5 == majorNegative:
		return -1 - float64(arg), true
	case c == cborFloat16:
		v = halfFloat(uint16(arg))
	case c == cborFloat32:
		v = float64(math.Float32frombits(uint32(arg)))
	default:
		v = math.Float64frombits(arg)
	}
	if math.IsNaN(v) {
		return 0, true
	}
	return v, true
}

// halfFloat reads a float of 16 bits: a sign, five bits of exponent, ten of
// fraction.
func halfFloat(bits uint16) float64 {
	exponent, fraction := int(bits>>10&31), float64(bits&0x3ff)
	v := math.Ldexp(fraction+1024, exponent-25)
	switch {
	case exponent == 0:
		v = math.Ldexp(fraction, -24)
	case exponent == 31 && fraction == 0:
		v = math.Inf(1)
	case exponent == 31:
		return math.NaN()
	}
	return math.Copysign(v, float64(int16(bits)))
}

// foundByCBOR tells the type of the value that begins with c.
func foundByCBOR(c byte) found {
	switch c >> 5 {
	case majorBytes:
		return foundBytes
	case majorText:
		return foundString
	case majorList:
		return foundList
	case majorMap:
		return foundStruct
	case majorUint, majorNegative:
		return foundNumber
	}
	if c == cborFloat16 || c == cborFloat32 || c == cborFloat64 {
		return foundNumber
	}
	return foundBool // or a simple value without a meaning
}
