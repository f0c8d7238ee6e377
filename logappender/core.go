package logappender

import (
	"context"

	"go.uber.org/zap/zapcore"
)

// Core returns a zap core that writes to the appender what enab enables,
// encoded by enc. Several cores may share an appender. Write never returns an
// error: a dropped entry is counted. A Panic or Fatal entry waits for its
// delivery, see Config.FatalTimeout; a DPanic entry is handed over at once.
// Sync waits for Config.SyncTimeout at most and returns a [*PendingError] then;
// in a Tee the core should be the last, for those after it wait.
func (a *Appender) Core(enab zapcore.LevelEnabler, enc zapcore.Encoder) zapcore.Core {
	c := &core{LevelEnabler: enab, a: a, enc: enc.Clone(), key: a.static.key}
	addAll(c.enc, a.static.fields)
	return c
}

type core struct {
	zapcore.LevelEnabler
	a   *Appender
	enc zapcore.Encoder
	key string // what With has left for the partition key
}

// Level makes [zapcore.LevelOf] work.
func (c *core) Level() zapcore.Level { return zapcore.LevelOf(c.LevelEnabler) }

func (c *core) With(fields []zapcore.Field) zapcore.Core {
	clone := &core{
		LevelEnabler: c.LevelEnabler,
		a:            c.a,
		enc:          c.enc.Clone(),
		key:          c.a.cfg.PartitionKey.with(fields, c.key),
	}
	addAll(clone.enc, fields)
	return clone
}

func addAll(enc zapcore.ObjectEncoder, fields []zapcore.Field) {
	for i := range fields {
		fields[i].AddTo(enc)
	}
}

func (c *core) Check(ent zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(ent.Level) {
		return ce.AddCore(ent, c)
	}
	return ce
}

func (c *core) Write(ent zapcore.Entry, fields []zapcore.Field) error {
	if reserved(ent.LoggerName) {
		c.a.drop(ent.Level, DropSelf)
		return nil
	}
	if c.a.sampled(ent.Level, ent.Message) {
		return nil
	}
	c.encode(&ent, fields)
	if ent.Level >= zapcore.PanicLevel {
		c.a.lastWords()
	}
	return nil
}

// encode writes the entry to the buffer. A panic of the encoder or of a field
// counts as a failure to encode: the application must not die of its log.
func (c *core) encode(ent *zapcore.Entry, fields []zapcore.Field) {
	defer func() {
		if recover() != nil {
			c.a.drop(ent.Level, DropEncode)
		}
	}()
	buf, err := c.enc.EncodeEntry(*ent, fields)
	if err != nil {
		c.a.drop(ent.Level, DropEncode)
		return
	}
	payload := c.a.trim(buf.Bytes())
	if len(payload) > c.a.cfg.MaxRecordBytes {
		n := len(payload)
		buf.Free()
		c.oversize(*ent, fields, n)
		return
	}
	var k key
	c.a.cfg.PartitionKey.of(&k, ent, fields, c.key)
	c.a.write(ent.Level, &k, payload)
	buf.Free()
}

// Sync flushes the appender.
func (c *core) Sync() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.a.cfg.SyncTimeout)
	defer cancel()
	return c.a.Flush(ctx)
}

// trim cuts the line ending that an encoder adds.
func (a *Appender) trim(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' && !a.cfg.KeepLineEnding {
		return b[:n-1]
	}
	return b
}
