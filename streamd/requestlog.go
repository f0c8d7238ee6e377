package streamd

import (
	"context"
	"log/slog"

	"github.com/streamkit/streamkit/streamd/internal/awsproto"
)

// Bounds of what a line of the request log repeats of the client's words. AWS's
// keys have ids of 128 characters at most, and SDKs say some 200 of themselves.
const (
	maxKeyID     = 128
	maxUserAgent = 512
)

// logRequest writes the line of a request. What it says of the client is as the
// client has it, and bounded; the query is left out, since it may be signed.
func logRequest(log *slog.Logger, e *awsproto.Exchange) {
	ctx := context.WithoutCancel(e.Request.Context()) // the client may be gone
	if !log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	var room [16]slog.Attr
	attrs := append(room[:0],
		slog.String("id", e.ID),
		slog.String("service", e.Service),
		slog.String("operation", e.Operation),
		slog.Int("status", e.Status),
		slog.String("code", e.Code),
		slog.Float64("ms", float64(e.Took.Microseconds())/1000),
		slog.Int64("in", e.In),
		slog.Int64("out", e.Out),
		slog.String("remote", e.Request.RemoteAddr),
		slog.String("proto", e.Request.Proto),
	)
	for _, optional := range []struct{ key, value string }{
		{"stream", e.Subject.Stream},
		{"region", e.Subject.Region},
		{"account", e.Subject.Account},
		{"key", bounded(e.KeyID, maxKeyID)},
		{"agent", bounded(e.Request.UserAgent(), maxUserAgent)},
	} {
		if optional.value != "" {
			attrs = append(attrs, slog.String(optional.key, optional.value))
		}
	}
	if n := e.Attempt(); n > 0 {
		attrs = append(attrs, slog.Int("attempt", n))
	}
	log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
}

func bounded(s string, n int) string { return s[:min(len(s), n)] }
