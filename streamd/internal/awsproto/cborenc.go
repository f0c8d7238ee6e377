package awsproto

import (
	"encoding/binary"
	"math"
	"time"
	"unicode/utf8"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

// cborCodec is CBOR as AWS writes it: structures and lists without a length,
// timestamps as milliseconds in an integer with tag 1, blobs as byte strings.
//
// Source: answers of AWS recorded by others, and what the AWS SDK for Java
// reads.
type cborCodec struct{}

// ContentType implements [Codec].
func (cborCodec) ContentType() string { return typeCBOR }

// AppendOutput implements [Codec].
func (cborCodec) AppendOutput(dst []byte, out shape.Output) []byte {
	e := cborEncoder{b: append(dst, cborMapOpen)}
	out.Encode(&e)
	return append(e.b, cborBreak)
}

// AppendError implements [Codec].
func (cborCodec) AppendError(dst []byte, err *awserr.Error) []byte {
	e := cborEncoder{b: append(dst, cborMapOpen)}
	e.String("__type", err.Code)
	if err.Message != "" {
		e.String(messageKey(err.Code), err.Message)
	}
	return append(e.b, cborBreak)
}

type cborEncoder struct {
	b       []byte
	numbers seqno.Appender
}

// head adds the first byte of a value and its argument, as short as it goes.
func (e *cborEncoder) head(major byte, arg uint64) {
	major <<= 5
	switch {
	case arg < 24:
		e.b = append(e.b, major|byte(arg))
	case arg <= math.MaxUint8:
		e.b = append(e.b, major|24, byte(arg))
	case arg <= math.MaxUint16:
		e.b = binary.BigEndian.AppendUint16(append(e.b, major|25), uint16(arg))
	case arg <= math.MaxUint32:
		e.b = binary.BigEndian.AppendUint32(append(e.b, major|26), uint32(arg))
	default:
		e.b = binary.BigEndian.AppendUint64(append(e.b, major|27), arg)
	}
}

// key begins a member, or an element if key is empty.
func (e *cborEncoder) key(key string) {
	if key != "" {
		e.head(majorText, uint64(len(key)))
		e.b = append(e.b, key...)
	}
}

func (e *cborEncoder) Begin(key string) { e.key(key); e.b = append(e.b, cborMapOpen) }
func (e *cborEncoder) BeginElem()       { e.b = append(e.b, cborMapOpen) }
func (e *cborEncoder) End()             { e.b = append(e.b, cborBreak) }

func (e *cborEncoder) BeginList(key string) { e.key(key); e.b = append(e.b, cborListOpen) }
func (e *cborEncoder) EndList()             { e.b = append(e.b, cborBreak) }

func (e *cborEncoder) String(key, value string) {
	e.key(key)
	if !utf8.ValidString(value) {
		value = string(validUTF8([]byte(value)))
	}
	e.head(majorText, uint64(len(value)))
	e.b = append(e.b, value...)
}

func (e *cborEncoder) Int(key string, value int64) {
	e.key(key)
	if value < 0 {
		e.head(majorNegative, uint64(-1-value))
		return
	}
	e.head(majorUint, uint64(value))
}

func (e *cborEncoder) Bool(key string, value bool) {
	e.key(key)
	if value {
		e.b = append(e.b, cborTrue)
		return
	}
	e.b = append(e.b, cborFalse)
}

func (e *cborEncoder) Time(key string, value time.Time) {
	e.key(key)
	e.b = append(e.b, majorTag<<5|1)
	e.Int("", value.UnixMilli())
}

func (e *cborEncoder) Blob(key string, value []byte) {
	e.key(key)
	e.head(majorBytes, uint64(len(value)))
	e.b = append(e.b, value...)
}

func (e *cborEncoder) ShardID(key string, index int) {
	e.key(key)
	e.head(majorText, shardIDSize)
	e.b = appendShardID(e.b, index)
}

func (e *cborEncoder) Sequence(key string, n seqno.Number) {
	e.key(key)
	e.head(majorText, seqno.Digits)
	e.b = e.numbers.Append(e.b, n)
}

func (e *cborEncoder) HashKey(key string, k hashkey.Key) {
	e.key(key)
	var buf [40]byte
	text := k.Append(buf[:0])
	e.head(majorText, uint64(len(text)))
	e.b = append(e.b, text...)
}
