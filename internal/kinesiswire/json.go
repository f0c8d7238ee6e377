package kinesiswire

import (
	"math"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseJSON reads an answer in JSON into r. Members that it does not know are
// passed over; null is as if the member were not there; of one that is there
// twice the later counts. It is strict: the error is [ErrSyntax] for whatever
// RFC 8259 does not allow, and for a member of another type than the API says.
func (r *Response) ParseJSON(body []byte) error {
	r.reset()
	p := jsonParser{b: body, r: r}
	ok := p.object(0, func(name []byte) bool {
		switch string(name) {
		case "FailedRecordCount":
			if p.null() {
				return true
			}
			r.HasFailed = true
			return p.int32(&r.Failed)
		case "EncryptionType":
			return p.optional(&r.EncryptionType)
		case "Records":
			return p.records()
		}
		return p.skip(1)
	})
	p.space()
	if !ok || len(p.b) != 0 {
		return ErrSyntax
	}
	return nil
}

// jsonParser reads from the front of b. Its methods report whether what they
// read was there.
type jsonParser struct {
	b []byte
	r *Response
}

func (p *jsonParser) records() bool {
	if p.null() {
		return true
	}
	p.r.Records, p.r.HasRecords = p.r.Records[:0], true
	return p.list(func() bool {
		res := p.r.add()
		if p.null() {
			return true
		}
		return p.object(1, func(name []byte) bool {
			if m := res.member(name); m != nil {
				return p.optional(m)
			}
			return p.skip(3)
		})
	})
}

func (p *jsonParser) space() {
	for len(p.b) > 0 {
		switch p.b[0] {
		case ' ', '\t', '\n', '\r':
			p.b = p.b[1:]
		default:
			return
		}
	}
}

// take takes c after space.
func (p *jsonParser) take(c byte) bool {
	p.space()
	if len(p.b) == 0 || p.b[0] != c {
		return false
	}
	p.b = p.b[1:]
	return true
}

func (p *jsonParser) word(w string) bool {
	p.space()
	if len(p.b) < len(w) || string(p.b[:len(w)]) != w {
		return false
	}
	p.b = p.b[len(w):]
	return true
}

func (p *jsonParser) null() bool { return p.word("null") }

// object calls member with each name; member reads the value.
func (p *jsonParser) object(depth int, member func(name []byte) bool) bool {
	if depth > maxDepth || !p.take('{') {
		return false
	}
	if p.take('}') {
		return true
	}
	for {
		name, ok := p.str()
		if !ok || !p.take(':') || !member(name) {
			return false
		}
		if p.take('}') {
			return true
		}
		if !p.take(',') {
			return false
		}
	}
}

func (p *jsonParser) list(element func() bool) bool {
	if !p.take('[') {
		return false
	}
	if p.take(']') {
		return true
	}
	for {
		if !element() {
			return false
		}
		if p.take(']') {
			return true
		}
		if !p.take(',') {
			return false
		}
	}
}

// optional reads a string or null.
func (p *jsonParser) optional(s *[]byte) (ok bool) {
	if p.null() {
		return true
	}
	*s, ok = p.str()
	return ok
}

// str reads a string. What it returns is never nil.
func (p *jsonParser) str() (s []byte, ok bool) {
	if !p.take('"') {
		return nil, false
	}
	for i, c := range p.b {
		switch {
		case c == '"':
			s, p.b = p.b[:i:i], p.b[i+1:]
			return s, true
		case c == '\\' || c >= utf8.RuneSelf:
			return p.escaped(i)
		case c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// escaped reads the rest of a string from the first byte that is not ASCII as
// it stands, and writes it anew.
func (p *jsonParser) escaped(plain int) (s []byte, ok bool) {
	text := p.r.text
	start := len(text)
	text = append(text, p.b[:plain]...)
	b := p.b[plain:]
	for len(b) > 0 {
		switch c := b[0]; {
		case c == '"':
			p.b, p.r.text = b[1:], text
			return text[start:len(text):len(text)], true
		case c < ' ':
			return nil, false
		case c < utf8.RuneSelf && c != '\\':
			text, b = append(text, c), b[1:]
		case c != '\\':
			r, n := utf8.DecodeRune(b)
			if r == utf8.RuneError && n == 1 {
				return nil, false
			}
			text, b = append(text, b[:n]...), b[n:]
		default:
			if len(b) < 2 {
				return nil, false
			}
			if c, plain := escapes[b[1]]; plain {
				text, b = append(text, c), b[2:]
				continue
			}
			r, ok := hexRune(b)
			if !ok {
				return nil, false
			}
			b = b[6:]
			if utf16.IsSurrogate(r) {
				low, ok := hexRune(b)
				if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
					return nil, false
				}
				b = b[6:]
			}
			text = utf8.AppendRune(text, r)
		}
	}
	return nil, false
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// hexRune reads \uXXXX.
func hexRune(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// int32 reads an integer without fraction or exponent.
func (p *jsonParser) int32(v *int32) bool {
	p.space()
	n, i, sign := int64(0), 0, int64(1)
	if len(p.b) > 0 && p.b[0] == '-' {
		i, sign = 1, -1
	}
	first := i
	for ; i < len(p.b) && '0' <= p.b[i] && p.b[i] <= '9'; i++ {
		if n = n*10 + int64(p.b[i]-'0'); n > math.MaxInt32 {
			return false
		}
	}
	if i == first || p.b[first] == '0' && i > first+1 {
		return false
	}
	if i < len(p.b) && (p.b[i] == '.' || p.b[i] == 'e' || p.b[i] == 'E') {
		return false
	}
	*v, p.b = int32(sign*n), p.b[i:]
	return true
}

// skip passes over a value.
func (p *jsonParser) skip(depth int) bool {
	if depth > maxDepth {
		return false
	}
	p.space()
	if len(p.b) == 0 {
		return false
	}
	switch p.b[0] {
	case '{':
		return p.object(depth, func([]byte) bool { return p.skip(depth + 1) })
	case '[':
		return p.list(func() bool { return p.skip(depth + 1) })
	case '"':
		_, ok := p.str()
		return ok
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		return p.null()
	}
	return p.number()
}

// number passes over a number.
func (p *jsonParser) number() bool {
	b := p.b
	digits := func() bool {
		n := 0
		for n < len(b) && '0' <= b[n] && b[n] <= '9' {
			n++
		}
		b = b[n:]
		return n > 0
	}
	next := func(set string) bool {
		for i := range len(set) {
			if len(b) > 0 && b[0] == set[i] {
				b = b[1:]
				return true
			}
		}
		return false
	}
	next("-")
	if !next("0") && !digits() {
		return false
	}
	if next(".") && !digits() {
		return false
	}
	if next("eE") {
		next("+-")
		if !digits() {
			return false
		}
	}
	p.b = b
	return true
}
