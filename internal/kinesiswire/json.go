package kinesiswire

import (
	"math"
	"unicode/utf8"

	"github.com/streamkit/streamkit/internal/jsonlex"
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
	i := jsonlex.Plain(p.b)
	if i < len(p.b) && p.b[i] == '"' {
		s, p.b = p.b[:i:i], p.b[i+1:]
		return s, true
	}
	return p.escaped(i)
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
			r, n, ok := jsonlex.Escape(b)
			if !ok {
				return nil, false
			}
			b = b[n:]
			text = utf8.AppendRune(text, r)
		}
	}
	return nil, false
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
	n := jsonlex.Number(p.b)
	p.b = p.b[n:]
	return n > 0
}
