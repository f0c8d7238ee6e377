package logappender

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.uber.org/zap/zapcore"
)

// maxKeyRunes is the limit of Kinesis on a partition key.
// Source: Amazon Kinesis API Reference, PutRecordsRequestEntry.
const maxKeyRunes = 256

type keyKind uint8

const (
	keyRandom keyKind = iota
	keyFixed
	keyField
	keyLoggerName
	keyFunc
)

// PartitionKey chooses the partition key of each entry. The zero value is
// [RandomKey]. Keys longer than 256 characters are cut, and what is no UTF-8
// is replaced. Where the chosen key is empty, the producer picks the shard.
type PartitionKey struct {
	kind keyKind
	text string // fixed key, or name of the field
	back string // fallback
	fn   func(zapcore.Entry, []zapcore.Field) string
}

// RandomKey leaves the choice of the shard to the producer, which balances
// and aggregates best that way. Entries have no order among each other.
func RandomKey() PartitionKey { return PartitionKey{} }

// FixedKey gives every entry the same key: one shard, one order.
func FixedKey(key string) PartitionKey {
	return PartitionKey{kind: keyFixed, text: cleanKey(key)}
}

// FieldKey takes the key from the field of this name, in the log call or
// else in With, the later one if there are several; namespaces and groups do not
// matter for zap fields, and slog attributes count only outside groups given in
// the call. Strings, byte strings, integers, bools and Stringers are
// understood; for anything else, and for an empty value, it is fallback.
func FieldKey(name, fallback string) PartitionKey {
	return PartitionKey{kind: keyField, text: name, back: cleanKey(fallback)}
}

// LoggerNameKey takes the name of the zap logger. A slog logger has none.
func LoggerNameKey() PartitionKey { return PartitionKey{kind: keyLoggerName} }

// KeyFunc calls fn for each entry, in the log call: it must be fast and safe
// for concurrent use, and must not keep the fields. Fields given to With are
// not among them, and for a slog record there are none. A panic in fn counts
// as an empty key.
func KeyFunc(fn func(ent zapcore.Entry, fields []zapcore.Field) string) PartitionKey {
	if fn == nil {
		return PartitionKey{}
	}
	return PartitionKey{kind: keyFunc, fn: fn}
}

// key is a partition key: s, or else the first n bytes of num. The second form
// spares integers an allocation.
type key struct {
	s   string
	num [20]byte
	n   int
}

func (k *key) len() int { return len(k.s) + k.n }

func (k *key) appendTo(b []byte) []byte {
	b = append(b, k.s...)
	return append(b, k.num[:k.n]...)
}

func (k *key) setInt(v int64)   { k.n = len(strconv.AppendInt(k.num[:0], v, 10)) }
func (k *key) setUint(v uint64) { k.n = len(strconv.AppendUint(k.num[:0], v, 10)) }

// of sets k to the key of a zap entry. with is the key that With has stored.
func (p *PartitionKey) of(k *key, ent *zapcore.Entry, fields []zapcore.Field, with string) {
	switch p.kind {
	case keyFixed:
		k.s = p.text
	case keyField:
		for i := len(fields) - 1; i >= 0; i-- {
			if fields[i].Key == p.text && fieldKey(k, &fields[i]) {
				return
			}
		}
		k.s = with
		if with == "" {
			k.s = p.back
		}
	case keyLoggerName:
		k.s = cleanKey(ent.LoggerName)
	case keyFunc:
		k.s = cleanKey(callKeyFunc(p.fn, *ent, fields))
	case keyRandom:
	}
}

// with returns the key that a With of fields leaves behind; old is the one
// before.
func (p *PartitionKey) with(fields []zapcore.Field, old string) string {
	if p.kind != keyField {
		return ""
	}
	for i := len(fields) - 1; i >= 0; i-- {
		var k key
		if fields[i].Key == p.text && fieldKey(&k, &fields[i]) {
			return string(k.appendTo(nil))
		}
	}
	return old
}

// fieldKey sets k to the value of f and reports whether it makes a key.
func fieldKey(k *key, f *zapcore.Field) bool {
	switch f.Type {
	case zapcore.StringType:
		k.s = cleanKey(f.String)
	case zapcore.ByteStringType:
		if b, ok := f.Interface.([]byte); ok {
			k.s = cleanKey(string(b))
		}
	case zapcore.Int64Type, zapcore.Int32Type, zapcore.Int16Type, zapcore.Int8Type:
		k.setInt(f.Integer)
	case zapcore.Uint64Type, zapcore.Uint32Type, zapcore.Uint16Type, zapcore.Uint8Type:
		k.setUint(uint64(f.Integer))
	case zapcore.BoolType:
		k.s = strconv.FormatBool(f.Integer == 1)
	case zapcore.StringerType:
		if s, ok := f.Interface.(fmt.Stringer); ok {
			k.s = cleanKey(callString(s))
		}
	default:
		return false
	}
	return k.len() > 0
}

// ofAttr sets k to the value of a and reports whether it makes a key.
func ofAttr(k *key, a slog.Attr) bool {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		k.s = cleanKey(v.String())
	case slog.KindInt64:
		k.setInt(v.Int64())
	case slog.KindUint64:
		k.setUint(v.Uint64())
	case slog.KindBool:
		k.s = strconv.FormatBool(v.Bool())
	case slog.KindAny:
		if s, ok := v.Any().(fmt.Stringer); ok {
			k.s = cleanKey(callString(s))
		}
	default:
		return false
	}
	return k.len() > 0
}

// callKeyFunc and callString run code of the application, which must not
// take the log call down.
func callKeyFunc(fn func(zapcore.Entry, []zapcore.Field) string, ent zapcore.Entry, fields []zapcore.Field) (s string) {
	defer func() { _ = recover() }()
	return fn(ent, fields)
}

func callString(v fmt.Stringer) (s string) {
	defer func() { _ = recover() }()
	return v.String()
}

// cleanKey returns s as Kinesis takes it. It allocates only for invalid text.
func cleanKey(s string) string {
	if len(s) > maxKeyRunes {
		n := 0
		for i := range s {
			if n == maxKeyRunes {
				s = s[:i]
				break
			}
			n++
		}
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}
