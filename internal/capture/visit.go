package capture

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Content types of the APIs. DynamoDB's is 1.0.
const (
	typeJSON   = "application/x-amz-json-1.1"
	typeJSON10 = "application/x-amz-json-1.0"
	typeCBOR   = "application/x-amz-cbor-1.1"
)

// maxDepth is how deep a document may nest. Those of the API have less.
const maxDepth = 64

var errSyntax = errors.New("capture: not a well-formed document")

// A text is a string in a document: where it is, and the bytes that write it.
type text struct {
	path       string // members and indexes from the top, joined by dots
	value      string
	start, end int
}

// visit calls f for every string that is the value of a member or an element.
// ctype tells the encoding; a type that is neither JSON nor CBOR has no strings.
func visit(ctype string, body []byte, f func(text)) error {
	switch mediaType(ctype) {
	case typeJSON, typeJSON10:
		return visitJSON(body, f)
	case typeCBOR:
		c := cborVisitor{b: body, f: f}
		if err := c.item("", 0); err != nil {
			return err
		}
		if c.at != len(body) {
			return errSyntax
		}
	}
	return nil
}

func mediaType(ctype string) string {
	t, _, _ := strings.Cut(ctype, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

func isJSON(ctype string) bool {
	t := mediaType(ctype)
	return t == typeJSON || t == typeJSON10
}

func under(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func visitJSON(body []byte, f func(text)) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber() // one that fits no float is for the server to refuse
	return jsonValue(dec, body, "", 0, f)
}

func jsonValue(dec *json.Decoder, body []byte, path string, depth int, f func(text)) error {
	if depth > maxDepth {
		return errSyntax
	}
	before := int(dec.InputOffset())
	tok, err := dec.Token()
	if err != nil {
		return errSyntax
	}
	switch tok := tok.(type) {
	case string:
		end := int(dec.InputOffset())
		start := before + bytes.IndexByte(body[before:end], '"')
		f(text{path, tok, start, end})
	case json.Delim:
		for i := 0; dec.More(); i++ {
			name := strconv.Itoa(i)
			if tok == '{' {
				key, err := dec.Token()
				if err != nil {
					return errSyntax
				}
				name = key.(string) // a member's name is nothing else
			}
			if err := jsonValue(dec, body, under(path, name), depth+1, f); err != nil {
				return err
			}
		}
		if _, err := dec.Token(); err != nil {
			return errSyntax
		}
	}
	return nil
}

// cborVisitor walks a document of CBOR (RFC 8949).
type cborVisitor struct {
	b  []byte
	at int
	f  func(text)
}

// Major types, and the length that is not said in advance.
const (
	cborUint = iota
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborSimple

	indefinite = ^uint64(0)
	cborBreak  = 0xff
)

// head reads the first bytes of an item.
func (c *cborVisitor) head() (major byte, n uint64, err error) {
	if c.at >= len(c.b) {
		return 0, 0, errSyntax
	}
	first := c.b[c.at]
	c.at++
	major, info := first>>5, first&31
	switch {
	case info < 24:
		return major, uint64(info), nil
	case info < 28:
		size := 1 << (info - 24)
		if len(c.b)-c.at < size {
			return 0, 0, errSyntax
		}
		var wide [8]byte
		copy(wide[8-size:], c.b[c.at:])
		c.at += size
		return major, binary.BigEndian.Uint64(wide[:]), nil
	case info == 31 && major >= cborBytes && major <= cborMap:
		return major, indefinite, nil
	}
	return 0, 0, errSyntax
}

// ended reports whether item i is not there any more, and passes the mark that
// says so.
func (c *cborVisitor) ended(i, n uint64) bool {
	if n != indefinite {
		return i >= n
	}
	if c.at < len(c.b) && c.b[c.at] == cborBreak {
		c.at++
		return true
	}
	return false
}

// str reads the rest of a string of the given type and length.
func (c *cborVisitor) str(major byte, n uint64) ([]byte, error) {
	if n != indefinite {
		if n > uint64(len(c.b)-c.at) {
			return nil, errSyntax
		}
		s := c.b[c.at : c.at+int(n)]
		c.at += int(n)
		return s, nil
	}
	var all []byte
	for !c.ended(0, n) {
		m, size, err := c.head()
		if err != nil || m != major || size == indefinite {
			return nil, errSyntax
		}
		part, err := c.str(major, size)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, nil
}

func (c *cborVisitor) item(path string, depth int) error {
	if depth > maxDepth {
		return errSyntax
	}
	start := c.at
	major, n, err := c.head()
	if err != nil {
		return err
	}
	switch major {
	case cborBytes, cborText:
		s, err := c.str(major, n)
		if err != nil {
			return err
		}
		if major == cborText {
			c.f(text{path, string(s), start, c.at})
		}
	case cborArray:
		for i := uint64(0); !c.ended(i, n); i++ {
			if err := c.item(under(path, strconv.FormatUint(i, 10)), depth+1); err != nil {
				return err
			}
		}
	case cborMap:
		for i := uint64(0); !c.ended(i, n); i++ {
			major, size, err := c.head()
			if err != nil || major != cborText {
				return errSyntax
			}
			key, err := c.str(major, size)
			if err != nil {
				return err
			}
			if err := c.item(under(path, string(key)), depth+1); err != nil {
				return err
			}
		}
	case cborTag:
		return c.item(path, depth+1)
	}
	return nil
}

// appendText adds a string in the encoding of ctype.
func appendText(dst []byte, ctype, s string) []byte {
	if isJSON(ctype) {
		quoted, _ := json.Marshal(s) // of a string it cannot fail
		return append(dst, quoted...)
	}
	n := uint64(len(s))
	switch {
	case n < 24:
		dst = append(dst, cborText<<5|byte(n))
	case n < 1<<8:
		dst = append(dst, cborText<<5|24, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, cborText<<5|25), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, cborText<<5|26), uint32(n))
	}
	return append(dst, s...)
}
