package logappender

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"go.uber.org/zap/zapcore"
)

// truncatedKey is the field that marks an entry that was cut.
const truncatedKey = "truncated"

// slack is more than the mark adds to an entry in any encoder of zap.
const slack = 64

// cutText returns s without at least its last excess bytes, at a rune border.
// No encoder writes a byte of text in less than a byte, so the encoded entry
// shrinks by as much.
func cutText(s string, excess int) string {
	n := min(max(len(s)-excess, 0), len(s))
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// shorten returns the message of an entry that took size bytes so that it
// fits, if what is too much stands in the message. If that is longer than the
// message, which may have grown in the encoder, an eighth of what is allowed
// is left.
func (a *Appender) shorten(msg string, size int) string {
	excess := size - a.cfg.MaxRecordBytes + slack
	if excess > len(msg) {
		excess = len(msg) - a.cfg.MaxRecordBytes/8
	}
	return cutText(msg, excess)
}

// oversize writes an entry of size bytes that is longer than MaxRecordBytes.
// It is encoded again with less in it, so that what a reader gets is as valid
// as any other: first with a shorter message, then without the call's fields
// and the stack, then without the fields of With.
func (c *core) oversize(ent zapcore.Entry, fields []zapcore.Field, size int) {
	a := c.a
	if a.cfg.DropOversize {
		a.drop(ent.Level, DropOversize)
		return
	}
	var k key
	a.cfg.PartitionKey.of(&k, &ent, fields, c.key)

	mark := zapcore.Field{Key: truncatedKey, Type: zapcore.BoolType, Integer: 1}
	// First, to stand outside a namespace that the fields open.
	marked := append(append(make([]zapcore.Field, 0, len(fields)+1), mark), fields...)
	short := ent
	short.Message = a.shorten(ent.Message, size)
	if c.writeFitting(short, marked, &k) {
		return
	}
	short.Stack = ""
	short.Message = cutText(ent.Message, len(ent.Message)-a.cfg.MaxRecordBytes/8)
	if c.writeFitting(short, marked[:1], &k) {
		return
	}
	a.writeTruncated(ent.Level, &k, a.bareRecord(ent.Level.String(), ent.LoggerName, ent.Message, ent.Time))
}

func (c *core) writeFitting(ent zapcore.Entry, fields []zapcore.Field, k *key) bool {
	buf, err := c.enc.EncodeEntry(ent, fields)
	if err != nil {
		return false
	}
	defer buf.Free()
	payload := c.a.trim(buf.Bytes())
	if len(payload) > c.a.cfg.MaxRecordBytes {
		return false
	}
	c.a.writeTruncated(ent.Level, k, payload)
	return true
}

func (a *Appender) writeTruncated(level zapcore.Level, k *key, payload []byte) {
	a.mu.Lock()
	a.stats.Truncated++
	a.mu.Unlock()
	a.write(level, k, payload)
}

// bareRecord is what is left of an entry if nothing else fits: JSON of at most
// MaxRecordBytes.
func (a *Appender) bareRecord(level, logger, msg string, at time.Time) []byte {
	// JSON writes a byte in six at most, and the rest takes less than 256.
	room := (a.cfg.MaxRecordBytes - 256 - len(a.static.json)) / 6
	b, err := json.Marshal(struct {
		Level     string    `json:"level"`
		Time      time.Time `json:"ts"`
		Logger    string    `json:"logger,omitempty"`
		Message   string    `json:"msg"`
		Truncated bool      `json:"truncated"`
	}{level, at.UTC(), cutText(logger, len(logger)-room/4), cutText(msg, len(msg)-room*3/4), true})
	if err != nil { // a year that JSON cannot write
		b = []byte(`{"msg":"log entry too long","truncated":true}`)
	}
	return a.static.closeObject(b[:len(b)-1])
}
