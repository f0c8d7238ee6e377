package logappender

import (
	"context"
	"log/slog"
)

// FlushOnLevel returns a handler that gives h each record, and treats one from
// level up like the Fatal of zap, which slog does not have: Handle returns when what
// was logged is delivered, or, after Config.FatalTimeout, on disk or in
// Config.Fallback. Of h, or what it wraps, a must be a part. A record has no room
// beyond the budget for it.
//
//	log := slog.New(a.FlushOnLevel(a.Handler(nil), slog.LevelError+8))
//	log.Log(ctx, slog.LevelError+8, "giving up")
//	os.Exit(1)
func (a *Appender) FlushOnLevel(h slog.Handler, level slog.Level) slog.Handler {
	return &flushHandler{Handler: h, a: a, level: level}
}

type flushHandler struct {
	slog.Handler
	a     *Appender
	level slog.Level
}

func (h *flushHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= h.level {
		h.a.lastWords()
	}
	return err
}

func (h *flushHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.a.FlushOnLevel(h.Handler.WithAttrs(attrs), h.level)
}

func (h *flushHandler) WithGroup(name string) slog.Handler {
	return h.a.FlushOnLevel(h.Handler.WithGroup(name), h.level)
}
