package nullserver

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"time"
)

// An encoder writes answers in one encoding. An empty key means an element of
// a list, or the answer itself.
type encoder interface {
	begin(key string)
	end()
	beginList(key string)
	endList()
	text(key, value string)
	num(key string, value int64)
	flag(key string, value bool)
	blob(key string, value []byte)
	at(key string, value time.Time)
	bytes() []byte
}

type jsonEncoder struct{ buf []byte }

func (e *jsonEncoder) key(key string) {
	if n := len(e.buf); n > 0 && e.buf[n-1] != '{' && e.buf[n-1] != '[' {
		e.buf = append(e.buf, ',')
	}
	if key != "" {
		e.buf = strconv.AppendQuote(e.buf, key)
		e.buf = append(e.buf, ':')
	}
}

func (e *jsonEncoder) begin(key string)     { e.key(key); e.buf = append(e.buf, '{') }
func (e *jsonEncoder) end()                 { e.buf = append(e.buf, '}') }
func (e *jsonEncoder) beginList(key string) { e.key(key); e.buf = append(e.buf, '[') }
func (e *jsonEncoder) endList()             { e.buf = append(e.buf, ']') }

func (e *jsonEncoder) text(key, value string) {
	e.key(key)
	e.buf = strconv.AppendQuote(e.buf, value) // our values are plain ASCII
}

func (e *jsonEncoder) num(key string, value int64) {
	e.key(key)
	e.buf = strconv.AppendInt(e.buf, value, 10)
}

func (e *jsonEncoder) flag(key string, value bool) {
	e.key(key)
	e.buf = strconv.AppendBool(e.buf, value)
}

func (e *jsonEncoder) blob(key string, value []byte) {
	e.text(key, base64.StdEncoding.EncodeToString(value))
}

func (e *jsonEncoder) at(key string, value time.Time) {
	e.key(key)
	e.buf = strconv.AppendFloat(e.buf, float64(value.UnixMilli())/1e3, 'f', 3, 64)
}

func (e *jsonEncoder) bytes() []byte { return e.buf }

// cborEncoder writes maps and lists of indefinite length, as AWS does.
type cborEncoder struct{ buf []byte }

const (
	cborUint  = 0x00
	cborBytes = 0x40
	cborText  = 0x60
	cborList  = 0x9f
	cborMap   = 0xbf
	cborBreak = 0xff
	cborTime  = 0xc1
	cborFalse = 0xf4
	cborTrue  = 0xf5
)

func (e *cborEncoder) head(major byte, n uint64) {
	switch {
	case n < 24:
		e.buf = append(e.buf, major|byte(n))
	case n < 1<<8:
		e.buf = append(e.buf, major|24, byte(n))
	case n < 1<<16:
		e.buf = binary.BigEndian.AppendUint16(append(e.buf, major|25), uint16(n))
	case n < 1<<32:
		e.buf = binary.BigEndian.AppendUint32(append(e.buf, major|26), uint32(n))
	default:
		e.buf = binary.BigEndian.AppendUint64(append(e.buf, major|27), n)
	}
}

func (e *cborEncoder) key(key string) {
	if key != "" {
		e.head(cborText, uint64(len(key)))
		e.buf = append(e.buf, key...)
	}
}

func (e *cborEncoder) begin(key string)     { e.key(key); e.buf = append(e.buf, cborMap) }
func (e *cborEncoder) end()                 { e.buf = append(e.buf, cborBreak) }
func (e *cborEncoder) beginList(key string) { e.key(key); e.buf = append(e.buf, cborList) }
func (e *cborEncoder) endList()             { e.buf = append(e.buf, cborBreak) }

func (e *cborEncoder) text(key, value string) {
	e.key(key)
	e.head(cborText, uint64(len(value)))
	e.buf = append(e.buf, value...)
}

func (e *cborEncoder) num(key string, value int64) {
	e.key(key)
	e.head(cborUint, uint64(value)) // our values are not negative
}

func (e *cborEncoder) flag(key string, value bool) {
	e.key(key)
	b := byte(cborFalse)
	if value {
		b = cborTrue
	}
	e.buf = append(e.buf, b)
}

func (e *cborEncoder) blob(key string, value []byte) {
	e.key(key)
	e.head(cborBytes, uint64(len(value)))
	e.buf = append(e.buf, value...)
}

func (e *cborEncoder) at(key string, value time.Time) {
	e.key(key)
	e.buf = append(e.buf, cborTime)
	e.head(cborUint, uint64(value.UnixMilli()))
}

func (e *cborEncoder) bytes() []byte { return e.buf }
