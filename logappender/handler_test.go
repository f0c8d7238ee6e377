package logappender_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
)

func TestHandlerKeepsTheContract(t *testing.T) {
	var p fakePutter
	var a *logappender.Appender
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		p = fakePutter{}
		a = open(t, &p, logappender.Config{})
		return a.Handler(nil)
	}, func(t *testing.T) map[string]any {
		flush(t, a)
		lines := p.lines()
		if len(lines) != 1 {
			t.Fatalf("stored %q", lines)
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(lines[0]), &m); err != nil {
			t.Fatal(err)
		}
		return m
	})
}

type badValuer struct{}

func (badValuer) LogValue() slog.Value { panic("value") }

func TestHandlerWritesWhatJSONHandlerWrites(t *testing.T) {
	at := time.Unix(1764115200, 5)
	for _, tt := range []struct {
		name string
		opts *slog.HandlerOptions
		with func(h slog.Handler) slog.Handler
		attr []slog.Attr
	}{
		{name: "plain"},
		{name: "many attributes", attr: []slog.Attr{slog.Int("a", 1), slog.Any("e", errors.New("x")), slog.Duration("d", 1), slog.Time("t", at), slog.Any("n", nil), slog.Group("g", slog.Bool("b", true))}},
		{name: "groups", with: func(h slog.Handler) slog.Handler {
			return h.WithAttrs([]slog.Attr{slog.Int("o", 1)}).WithGroup("g").WithAttrs([]slog.Attr{slog.Int("i", 2)}).WithGroup("empty")
		}},
		{name: "panicking value", attr: []slog.Attr{slog.Any("p", badValuer{})}},
		{name: "options", opts: &slog.HandlerOptions{AddSource: true, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			a.Key = "x" + a.Key
			return a
		}}, attr: []slog.Attr{slog.String("k", "v")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p fakePutter
			a := open(t, &p, logappender.Config{KeepLineEnding: true})
			var buf bytes.Buffer
			for _, h := range []slog.Handler{a.Handler(tt.opts), slog.NewJSONHandler(&buf, tt.opts)} {
				if tt.with != nil {
					h = tt.with(h)
				}
				r := slog.NewRecord(at, slog.LevelWarn, "m\n", 0)
				r.AddAttrs(tt.attr...)
				if err := h.Handle(t.Context(), r); err != nil {
					t.Error(err)
				}
			}
			flush(t, a)
			if got := strings.Join(p.lines(), ""); got != buf.String() {
				t.Errorf("got  %s\nwant %s", got, buf.String())
			}
		})
	}
}

// chatty logs while it is formatted.
type chatty struct{ l *slog.Logger }

func (c chatty) LogValue() slog.Value {
	c.l.Info("inner")
	return slog.StringValue("outer")
}

func TestHandlerFromManyGoroutinesAndFromWithin(t *testing.T) {
	var p fakePutter
	a := open(t, &p, logappender.Config{PartitionKey: logappender.FieldKey("k", "none")})
	l := slog.New(a.Handler(nil)).With("k", "w")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 50 {
				l.Info("m", slog.Int("k", g), slog.Any("v", chatty{l}))
			}
		})
	}
	wg.Wait()
	flush(t, a)
	lines, keys := p.lines(), p.keys()
	if len(lines) != 800 {
		t.Fatalf("stored %d records, want 800", len(lines))
	}
	for i, line := range lines {
		var m struct {
			Msg string
			K   json.RawMessage
			V   string
		}
		dec := json.NewDecoder(strings.NewReader(line))
		if err := dec.Decode(&m); err != nil {
			t.Fatal(err)
		}
		want := string(m.K)
		if m.Msg == "inner" {
			want = "w"
		} else if m.V != "outer" {
			t.Errorf("record %s", line)
		}
		if keys[i] != want {
			t.Errorf("key %q of %s", keys[i], line)
		}
	}
}

func TestHandlerLevelsAndTruncation(t *testing.T) {
	var p fakePutter
	a := open(t, &p, logappender.Config{MaxRecordBytes: 1024})
	l := slog.New(a.Handler(&slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, lv := range []slog.Level{slog.LevelDebug - 4, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelWarn + 1, slog.LevelError + 8} {
		l.Log(t.Context(), lv, strings.Repeat("\x01", 900), slog.Int("i", 1))
	}
	l.With("f", strings.Repeat("x", 2000)).Info("m", "g", strings.Repeat("y", 2000))
	flush(t, a)
	s := a.Stats()
	if want := (logappender.LevelCounts{1, 2, 2, 1}); s.Delivered != want {
		t.Errorf("Delivered = %v, want %v", s.Delivered, want)
	}
	if s.Truncated != 6 {
		t.Errorf("Truncated = %d, want 6", s.Truncated)
	}
	for _, line := range p.lines() {
		if !json.Valid([]byte(line)) || len(line) > 1024 || !strings.Contains(line, `"truncated":true`) {
			t.Errorf("%d bytes %q", len(line), line)
		}
	}
}

func TestWriter(t *testing.T) {
	var p fakePutter
	a := open(t, &p, logappender.Config{MaxRecordBytes: 1024})
	w := a.Writer(zapcore.WarnLevel)
	for _, s := range []string{"a\nb", "c\n\n", "crlf\r\n", strings.Repeat("é", 700), "x\nend\n", "open"} {
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	log.New(a.Writer(zapcore.InfoLevel), "p ", 0).Print("std")
	flush(t, a)
	want := []string{"a", "bc", "crlf", strings.Repeat("é", 512), "end", "p std"}
	if got := p.lines(); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if s := a.Stats(); s.Delivered.At(zapcore.WarnLevel) != 5 || s.Truncated != 1 {
		t.Errorf("%+v", s)
	}
}

func TestHandlerIgnoresACancelledContext(t *testing.T) {
	var p fakePutter
	a := open(t, &p, logappender.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	slog.New(a.Handler(nil)).InfoContext(ctx, "m")
	flush(t, a)
	if n := len(p.lines()); n != 1 {
		t.Errorf("stored %d records", n)
	}
}
