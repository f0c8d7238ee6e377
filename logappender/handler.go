package logappender

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"go.uber.org/zap/zapcore"
)

// Handler returns a handler for log/slog that writes to the appender the JSON
// of [slog.JSONHandler], with the same options; nil means the default ones.
// Levels count as the zap level at or below them. Nothing waits for delivery:
// slog has no Fatal, so call Close before the program exits.
func (a *Appender) Handler(opts *slog.HandlerOptions) slog.Handler {
	h := &handler{a: a, key: a.static.key}
	if opts != nil {
		h.opts = *opts
	}
	if len(a.static.attrs) > 0 {
		h.ops = []op{{attrs: a.static.attrs}}
	}
	h.put(h.newFormatter())
	return h
}

// handler formats with standard JSON handlers. Such a handler writes to one
// writer and does not say which record it writes, so each has a formatter
// around it that belongs to one call at a time. A handler keeps those that it
// has; more are made only when calls overlap.
type handler struct {
	a    *Appender
	opts slog.HandlerOptions
	ops  []op   // since the root, to build a formatter
	key  string // what WithAttrs has left for the partition key
	in   bool   // inside a group: attributes do not make keys

	mu   sync.Mutex // guards idle
	idle []*formatter
}

// op is a WithAttrs, or a WithGroup if group is not empty.
type op struct {
	attrs []slog.Attr
	group string
}

// maxIdle bounds the formatters that a handler keeps.
const maxIdle = 16

// formatter is a JSON handler and what its writer has to know of the record.
type formatter struct {
	json  slog.Handler
	a     *Appender
	level zapcore.Level
	key   key
	short bool // the record was cut already
	size  int  // of a record that was too long; 0 if it was written
}

// Write takes one record from the JSON handler.
func (f *formatter) Write(b []byte) (int, error) {
	p := f.a.trim(b)
	switch {
	case len(p) > f.a.cfg.MaxRecordBytes:
		f.size = len(p)
	case f.short:
		f.a.writeTruncated(f.level, &f.key, p)
	default:
		f.a.write(f.level, &f.key, p)
	}
	return len(b), nil
}

func (h *handler) newFormatter() *formatter {
	f := &formatter{a: h.a}
	f.json = slog.NewJSONHandler(f, &h.opts)
	for _, o := range h.ops {
		if o.group != "" {
			f.json = f.json.WithGroup(o.group)
		} else {
			// The handler may keep and change the slice.
			f.json = f.json.WithAttrs(slices.Clone(o.attrs))
		}
	}
	return f
}

func (h *handler) get() *formatter {
	h.mu.Lock()
	if n := len(h.idle); n > 0 {
		f := h.idle[n-1]
		h.idle = h.idle[:n-1]
		h.mu.Unlock()
		return f
	}
	h.mu.Unlock()
	return h.newFormatter()
}

func (h *handler) put(f *formatter) {
	f.key, f.short, f.size = key{}, false, 0
	h.mu.Lock()
	if len(h.idle) < maxIdle {
		h.idle = append(h.idle, f)
	}
	h.mu.Unlock()
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool {
	if l == probeLow || l == probeHigh {
		h.a.probed(ctx)
		return false
	}
	least := slog.LevelInfo
	if h.opts.Level != nil {
		least = h.opts.Level.Level()
	}
	return l >= least
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	c := h.derive(op{attrs: attrs})
	if h.a.cfg.PartitionKey.kind == keyField && !h.in {
		for _, a := range slices.Backward(attrs) {
			var k key
			if a.Key == h.a.cfg.PartitionKey.text && ofAttr(&k, a) {
				c.key = string(k.appendTo(nil))
				break
			}
		}
	}
	c.put(c.newFormatter()) // formats the attributes as they are now
	return c
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := h.derive(op{group: name})
	c.in = true
	c.put(c.newFormatter())
	return c
}

func (h *handler) derive(o op) *handler {
	return &handler{a: h.a, opts: h.opts, ops: append(slices.Clip(h.ops), o), key: h.key, in: h.in}
}

// Handle writes the record. It returns nil even if the record is dropped,
// which is counted.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	level := zapLevel(r.Level)
	if h.a.sampled(level, r.Message) {
		return nil
	}
	if err := h.format(ctx, &r, level); err != nil {
		h.a.drop(level, DropEncode)
	}
	return nil
}

// errEncode says that a value panicked while it was formatted.
var errEncode = errors.New("logappender: a value panicked")

func (h *handler) format(ctx context.Context, r *slog.Record, level zapcore.Level) (err error) {
	defer func() {
		if recover() != nil {
			err = errEncode // the formatter is not used again
		}
	}()
	f := h.get()
	f.level = level
	h.keyOf(&f.key, r)
	if err := f.json.Handle(ctx, *r); err != nil {
		return err
	}
	if f.size > 0 {
		if err := h.oversize(ctx, f, r); err != nil {
			return err
		}
	}
	h.put(f)
	return nil
}

// oversize writes a record that was too long, in the steps of core.oversize.
func (h *handler) oversize(ctx context.Context, f *formatter, r *slog.Record) error {
	maxBytes := h.a.cfg.MaxRecordBytes
	if h.a.cfg.DropOversize {
		h.a.drop(f.level, DropOversize)
		return nil
	}
	mark := slog.Bool(truncatedKey, true)
	short := slog.NewRecord(r.Time, r.Level, h.a.shorten(r.Message, f.size), r.PC)
	short.AddAttrs(mark)
	r.Attrs(func(a slog.Attr) bool { short.AddAttrs(a); return true })
	f.short, f.size = true, 0
	if err := f.json.Handle(ctx, short); err != nil || f.size == 0 {
		return err
	}
	f.size = 0
	short = slog.NewRecord(r.Time, r.Level, cutText(r.Message, len(r.Message)-maxBytes/8), r.PC)
	short.AddAttrs(mark)
	if err := f.json.Handle(ctx, short); err != nil || f.size == 0 {
		return err
	}
	h.a.writeTruncated(f.level, &f.key, h.a.bareRecord(r.Level.String(), "", r.Message, r.Time))
	return nil
}

// keyOf sets k to the partition key of a record.
func (h *handler) keyOf(k *key, r *slog.Record) {
	p := &h.a.cfg.PartitionKey
	switch p.kind {
	case keyRandom:
		return
	case keyField:
		if h.in {
			break
		}
		found := false
		r.Attrs(func(a slog.Attr) bool { // the last one counts
			var got key
			if a.Key == p.text && ofAttr(&got, a) {
				*k, found = got, true
			}
			return true
		})
		if found {
			return
		}
	case keyFixed, keyLoggerName, keyFunc:
	}
	ent := zapcore.Entry{Level: zapLevel(r.Level), Time: r.Time, Message: r.Message}
	p.of(k, &ent, nil, h.key)
}

func zapLevel(l slog.Level) zapcore.Level {
	switch {
	case l < slog.LevelInfo:
		return zapcore.DebugLevel
	case l < slog.LevelWarn:
		return zapcore.InfoLevel
	case l < slog.LevelError:
		return zapcore.WarnLevel
	default:
		return zapcore.ErrorLevel
	}
}
