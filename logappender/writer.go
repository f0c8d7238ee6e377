package logappender

import (
	"bytes"
	"io"
	"sync"

	"go.uber.org/zap/zapcore"
)

// Writer returns a writer, for the log package and libraries that take one,
// that makes each line an entry of the given level, as it is. It joins lines
// that come in parts, leaves out empty ones, and cuts those longer than
// Config.MaxRecordBytes. A line without its end stays with the writer until
// the end comes. Write never fails and never waits for delivery, whatever the
// level; of fields only Config.StaticFields make partition keys here. It is safe for concurrent use.
func (a *Appender) Writer(level zapcore.Level) io.Writer {
	return &lineWriter{a: a, level: level}
}

type lineWriter struct {
	a     *Appender
	level zapcore.Level

	mu   sync.Mutex // guards part, and keeps lines in order
	part []byte     // start of a line, of at most MaxRecordBytes + 1
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		p = rest
		if !ended || len(w.part) > 0 {
			room := w.a.cfg.MaxRecordBytes + 1 - len(w.part)
			w.part = append(w.part, line[:min(len(line), room)]...)
			line = w.part
		}
		if ended {
			w.a.writeLine(w.level, line)
			w.part = w.part[:0]
		}
	}
	return n, nil
}

// writeLine writes one line of text.
func (a *Appender) writeLine(level zapcore.Level, line []byte) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	if len(line) == 0 || a.cfg.Sample > 1 && a.sampled(level, string(line[:min(len(line), sampleText)])) {
		return
	}
	ent := zapcore.Entry{Level: level}
	if a.cfg.PartitionKey.kind == keyFunc {
		ent.Message = string(line)
	}
	var k key
	a.cfg.PartitionKey.of(&k, &ent, nil, a.static.key)
	ending := 0
	if a.cfg.KeepLineEnding {
		ending = 1
	}
	if len(line)+ending <= a.cfg.MaxRecordBytes {
		if ending > 0 {
			line = append(bytes.Clone(line), '\n')
		}
		a.write(level, &k, line)
		return
	}
	if a.cfg.DropOversize {
		a.drop(level, DropOversize)
		return
	}
	cut := []byte(cutText(string(line), len(line)+ending-a.cfg.MaxRecordBytes))
	if ending > 0 {
		cut = append(cut, '\n')
	}
	a.writeTruncated(level, &k, cut)
}
