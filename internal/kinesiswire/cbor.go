package kinesiswire

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// ParseCBOR reads an answer in CBOR into r. Members that it does not know are
// passed over; null is as if the member were not there; of one that is there
// twice the later counts. The error is [ErrSyntax] for what is not well-formed,
// for text that is no UTF-8, and for a member of another type than the API says.
func (r *Response) ParseCBOR(body []byte) error {
	r.reset()
	p := cborParser{b: body, r: r}
	ok := p.object(func(name []byte) bool {
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
	if !ok || len(p.b) != 0 {
		return ErrSyntax
	}
	return nil
}

// Fault is the body of an answer that reports an error.
type Fault struct {
	Code, Message []byte
}

// ParseCBORFault reads the error of an answer in CBOR. What it returns aliases
// body or memory of r.
func (r *Response) ParseCBORFault(body []byte) (f Fault, err error) {
	r.reset()
	p := cborParser{b: body, r: r}
	ok := p.object(func(name []byte) bool {
		switch string(name) {
		case "__type":
			return p.optional(&f.Code)
		case "message", "Message":
			return p.optional(&f.Message)
		}
		return p.skip(1)
	})
	if !ok || len(p.b) != 0 {
		return Fault{}, ErrSyntax
	}
	return f, nil
}

// cborParser reads from the front of b. Its methods report whether what they
// read was there.
type cborParser struct {
	b []byte
	r *Response
}

func (p *cborParser) records() bool {
	if p.null() {
		return true
	}
	p.r.Records, p.r.HasRecords = p.r.Records[:0], true
	return p.list(func() bool {
		res := p.r.add()
		if p.null() {
			return true
		}
		return p.object(func(name []byte) bool {
			if m := res.member(name); m != nil {
				return p.optional(m)
			}
			return p.skip(3)
		})
	})
}

// indefinite is the argument of a value whose end is marked.
const indefinite = math.MaxUint64

// head reads the first byte of a value and its argument.
func (p *cborParser) head() (major byte, arg uint64, ok bool) {
	if len(p.b) == 0 {
		return 0, 0, false
	}
	major, info := p.b[0]>>5, p.b[0]&31
	b := p.b[1:]
	var n int
	switch {
	case info < 24:
		arg = uint64(info)
	case info < 28:
		n = 1 << (info - 24)
		if len(b) < n {
			return 0, 0, false
		}
		var wide [8]byte
		copy(wide[8-n:], b[:n])
		arg = binary.BigEndian.Uint64(wide[:])
		if arg == indefinite {
			return 0, 0, false // longer than any answer
		}
	case info == 31 && major >= majorBytes && major <= majorMap:
		arg = indefinite
	default: // reserved, or an end where none can be
		return 0, 0, false
	}
	p.b = b[n:]
	return major, arg, true
}

func (p *cborParser) null() bool {
	if len(p.b) > 0 && (p.b[0] == isNull || p.b[0] == isUndef) {
		p.b = p.b[1:]
		return true
	}
	return false
}

// ended takes the mark that ends a value of indefinite length.
func (p *cborParser) ended() bool {
	if len(p.b) > 0 && p.b[0] == end {
		p.b = p.b[1:]
		return true
	}
	return false
}

// elements calls element for each of arg elements, or up to the end.
func (p *cborParser) elements(arg uint64, element func() bool) bool {
	for i := uint64(0); arg == indefinite || i < arg; i++ {
		if arg == indefinite && p.ended() {
			return true
		}
		if !element() {
			return false
		}
	}
	return true
}

// object calls member with each name; member reads the value.
func (p *cborParser) object(member func(name []byte) bool) bool {
	major, arg, ok := p.head()
	if !ok || major != majorMap {
		return false
	}
	return p.elements(arg, func() bool {
		name, ok := p.str()
		return ok && member(name)
	})
}

func (p *cborParser) list(element func() bool) bool {
	major, arg, ok := p.head()
	return ok && major == majorList && p.elements(arg, element)
}

// optional reads a string or null.
func (p *cborParser) optional(s *[]byte) (ok bool) {
	if p.null() {
		return true
	}
	*s, ok = p.str()
	return ok
}

// str reads text. What it returns is never nil.
func (p *cborParser) str() (s []byte, ok bool) {
	major, arg, ok := p.head()
	if !ok || major != majorText {
		return nil, false
	}
	if arg != indefinite {
		return p.chunk(arg)
	}
	start := len(p.r.text)
	for !p.ended() {
		major, arg, ok := p.head()
		if !ok || major != majorText || arg == indefinite {
			return nil, false
		}
		part, ok := p.chunk(arg)
		if !ok {
			return nil, false
		}
		p.r.text = append(p.r.text, part...)
	}
	n := len(p.r.text)
	return p.r.text[start:n:n], true
}

func (p *cborParser) chunk(n uint64) (s []byte, ok bool) {
	if n > uint64(len(p.b)) {
		return nil, false
	}
	s, p.b = p.b[:n:n], p.b[n:]
	return s, utf8.Valid(s)
}

func (p *cborParser) int32(v *int32) bool {
	major, arg, ok := p.head()
	if !ok || major > majorNint || arg > math.MaxInt32 {
		return false
	}
	*v = int32(arg)
	if major == majorNint {
		*v = -1 - *v
	}
	return true
}

// skip passes over a value.
func (p *cborParser) skip(depth int) bool {
	if depth > maxDepth {
		return false
	}
	major, arg, ok := p.head()
	if !ok {
		return false
	}
	switch major {
	case majorBytes, majorText:
		if arg != indefinite {
			return p.pass(major, arg)
		}
		for !p.ended() {
			m, arg, ok := p.head()
			if !ok || m != major || arg == indefinite || !p.pass(major, arg) {
				return false
			}
		}
	case majorList:
		return p.elements(arg, func() bool { return p.skip(depth + 1) })
	case majorMap:
		return p.elements(arg, func() bool {
			key := p.skip(depth + 1)
			return key && p.skip(depth+1)
		})
	case majorTag:
		return p.skip(depth + 1)
	}
	return true
}

func (p *cborParser) pass(major byte, n uint64) bool {
	s, utf8OK := p.chunk(n)
	return s != nil && (utf8OK || major == majorBytes)
}
