package awsproto

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/streamkit/streamkit/internal/b64"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/jsonlex"
	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

// jsonCodec is JSON as AWS writes it: compact, timestamps as seconds with
// milliseconds behind the point, blobs in base64.
type jsonCodec struct{ contentType string }

// ContentType implements [Codec].
func (c jsonCodec) ContentType() string { return c.contentType }

// AppendOutput implements [Codec].
func (jsonCodec) AppendOutput(dst []byte, out shape.Output) []byte {
	e := jsonEncoder{b: append(dst, '{')}
	out.Encode(&e)
	return append(e.b, '}')
}

// AppendError implements [Codec].
func (jsonCodec) AppendError(dst []byte, err *awserr.Error) []byte {
	e := jsonEncoder{b: append(dst, '{')}
	e.String("__type", err.Code)
	if err.Message != "" {
		e.String(messageKey(err.Code), err.Message)
	}
	e.b = append(e.b, err.Members...)
	return append(e.b, '}')
}

type jsonEncoder struct {
	b       []byte
	numbers seqno.Appender
}

// key begins a member, or an element if key is empty.
func (e *jsonEncoder) key(key string) {
	if c := e.b[len(e.b)-1]; c != '{' && c != '[' { // a string's last byte is its quote
		e.b = append(e.b, ',')
	}
	if key != "" {
		e.b = append(e.b, '"')
		e.b = append(e.b, key...)
		e.b = append(e.b, '"', ':')
	}
}

func (e *jsonEncoder) Begin(key string) { e.key(key); e.b = append(e.b, '{') }
func (e *jsonEncoder) BeginElem()       { e.Begin("") }
func (e *jsonEncoder) End()             { e.b = append(e.b, '}') }

func (e *jsonEncoder) BeginList(key string) { e.key(key); e.b = append(e.b, '[') }
func (e *jsonEncoder) EndList()             { e.b = append(e.b, ']') }

func (e *jsonEncoder) String(key, value string) {
	e.key(key)
	e.b = appendJSONString(e.b, value)
}

func (e *jsonEncoder) Int(key string, value int64) {
	e.key(key)
	e.b = strconv.AppendInt(e.b, value, 10)
}

func (e *jsonEncoder) Bool(key string, value bool) {
	e.key(key)
	e.b = strconv.AppendBool(e.b, value)
}

func (e *jsonEncoder) Time(key string, value time.Time) {
	e.key(key)
	ms := value.UnixMilli()
	e.b = strconv.AppendInt(e.b, ms/1000, 10)
	e.b = append(e.b, '.', byte('0'+ms/100%10), byte('0'+ms/10%10), byte('0'+ms%10))
}

func (e *jsonEncoder) Blob(key string, value []byte) {
	e.key(key)
	e.b = append(e.b, '"')
	e.b = b64.AppendEncode(e.b, value)
	e.b = append(e.b, '"')
}

func (e *jsonEncoder) ShardID(key string, index int) {
	e.key(key)
	e.b = append(e.b, '"')
	e.b = appendShardID(e.b, index)
	e.b = append(e.b, '"')
}

func (e *jsonEncoder) Sequence(key string, n seqno.Number) {
	e.key(key)
	e.b = append(e.b, '"')
	e.b = e.numbers.Append(e.b, n)
	e.b = append(e.b, '"')
}

func (e *jsonEncoder) HashKey(key string, k hashkey.Key) {
	e.key(key)
	e.b = append(e.b, '"')
	e.b = k.Append(e.b)
	e.b = append(e.b, '"')
}

// appendJSONString adds s in quotes. What is not UTF-8 is replaced.
func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0
	for i := jsonlex.Plain(s); i < len(s); i += jsonlex.Plain(s[i:]) {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[plain:i]...)
				dst = append(dst, "\ufffd"...)
				plain = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[plain:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		plain = i
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}
