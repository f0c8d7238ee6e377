package logappender_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
)

func TestStaticFields(t *testing.T) {
	fields := []zapcore.Field{
		zap.String("service", "a \"shop\""), zap.Int("pid", 7), zap.Dict("build", zap.String("version", "1.2"), zap.Bool("dirty", true)),
		zap.Inline(object{"x", 1}),
	}
	cfg := logappender.Config{StaticFields: fields, PartitionKey: logappender.FieldKey("pid", "none"), MaxRecordBytes: 2048}

	t.Run("core", func(t *testing.T) {
		var p fakePutter
		a := open(t, &p, cfg)
		ours, zaps, buf := beside(a, zap.InfoLevel)
		zaps = zaps.With(fields...)
		for _, l := range []*zap.Logger{ours, zaps} {
			l.Info("one")
			l.With(zap.Int("i", 1)).Info("two", zap.Namespace("n"), zap.Int("j", 2))
		}
		ours.Info("key", zap.String("pid", "of the call"))
		flush(t, a)
		lines := p.lines()
		if got := strings.Join(lines[:2], "\n") + "\n"; got != buf.String() {
			t.Errorf("got  %s\nwant %s", got, buf)
		}
		if got := strings.Join(p.keys(), ","); got != "7,7,of the call" {
			t.Errorf("keys %s", got)
		}
	})
	t.Run("handler", func(t *testing.T) {
		var p fakePutter
		a := open(t, &p, cfg)
		var buf bytes.Buffer
		std := slog.NewJSONHandler(&buf, nil).WithAttrs([]slog.Attr{
			slog.String("service", "a \"shop\""), slog.Int("pid", 7), slog.Any("build", map[string]any{"version": "1.2", "dirty": true}),
			slog.Any("list", []any{1, "x"}), slog.Int("n", 1), slog.String("name", "x"),
		})
		r := slog.NewRecord(time.Unix(1764115200, 5), slog.LevelInfo, "m", 0)
		r.AddAttrs(slog.Int("i", 1))
		for _, h := range []slog.Handler{a.Handler(nil), std} {
			if err := h.WithGroup("g").Handle(t.Context(), r); err != nil {
				t.Error(err)
			}
		}
		flush(t, a)
		var got, want map[string]any
		if err := json.Unmarshal([]byte(p.lines()[0]), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(buf.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		g, w := mustJSON(t, got), mustJSON(t, want)
		if g != w {
			t.Errorf("got  %s\nwant %s", g, w)
		}
		if got := p.keys(); got[0] != "7" {
			t.Errorf("key %q", got)
		}
	})
	t.Run("writer", func(t *testing.T) {
		var p fakePutter
		a := open(t, &p, cfg)
		if _, err := a.Writer(zap.InfoLevel).Write([]byte("line\n")); err != nil {
			t.Fatal(err)
		}
		flush(t, a)
		if p.lines()[0] != "line" || p.keys()[0] != "7" {
			t.Errorf("stored %q with key %q", p.lines(), p.keys())
		}
	})
	t.Run("gap and truncation", func(t *testing.T) {
		var p fakePutter
		a := open(t, &p, cfg)
		l := zap.New(a.Core(zap.InfoLevel, brokenEncoder{jsonEncoder()}))
		l.Info("fails")
		long := strings.Repeat("é\"", 3000)
		l.With(zap.String("f", long)).Info("short")
		flush(t, a)
		lines := p.lines()
		if len(lines) != 2 || !strings.Contains(lines[0], "log records dropped") || !strings.Contains(lines[1], `"truncated":true`) {
			t.Fatalf("stored %q", lines)
		}
		for _, line := range lines {
			var m struct {
				Service string
				Pid     int
				Build   struct{ Version string }
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			if m.Service != `a "shop"` || m.Pid != 7 || m.Build.Version != "1.2" || len(line) > 2048 {
				t.Errorf("%d bytes: %s", len(line), line)
			}
		}
	})
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestStaticFieldsThatCannotBe(t *testing.T) {
	for want, f := range map[string]zapcore.Field{
		`namespace "n"`:       zap.Namespace("n"),
		"a value panics":      zap.Inline(zapcore.ObjectMarshalerFunc(func(zapcore.ObjectEncoder) error { panic("field") })),
		"a quarter of MaxRec": zap.String("long", strings.Repeat("x", 300)),
	} {
		_, err := logappender.New(&fakePutter{}, logappender.Config{MaxRecordBytes: 1024, StaticFields: []zapcore.Field{zap.Int("i", 1), f}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestProcessFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		a := open(t, &p, logappender.Config{StaticFields: logappender.ProcessFields("shop")})
		zap.New(a.Core(zap.InfoLevel, jsonEncoder())).Info("m")
		flush(t, a)
		var m struct {
			Host, Service string
			Pid           int
		}
		if err := json.Unmarshal([]byte(p.lines()[0]), &m); err != nil {
			t.Fatal(err)
		}
		if host, err := os.Hostname(); err == nil && m.Host != host || m.Service != "shop" || m.Pid != os.Getpid() {
			t.Errorf("stored %s", p.lines()[0])
		}
	})
	if f := logappender.ProcessFields(""); f[len(f)-1].Key != "pid" {
		t.Errorf("without a service: %v", f)
	}
}
