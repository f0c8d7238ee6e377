package logappender_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

// nullPutter stores everything nowhere.
type nullPutter struct{}

func (nullPutter) PutBatch(_ context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	done(producer.BatchResult{Records: len(rs)})
	return nil
}
func (nullPutter) Flush(context.Context) error { return nil }

var errBench = errors.New("an error")

func fiveFields() []zap.Field {
	return []zap.Field{
		zap.String("user", "alice"), zap.Int("attempt", 3), zap.Duration("took", time.Second),
		zap.Bool("cached", true), zap.Error(errBench),
	}
}

func logFive(l *zap.Logger) {
	l.Info("request served", zap.String("user", "alice"), zap.Int("attempt", 3), zap.Duration("took", time.Second),
		zap.Bool("cached", true), zap.Error(errBench))
}

func slogFive(l *slog.Logger) {
	l.LogAttrs(context.Background(), slog.LevelInfo, "request served", slog.String("user", "alice"), slog.Int("attempt", 3),
		slog.Duration("took", time.Second), slog.Bool("cached", true), slog.Int("status", 200))
}

func zapDiscard() zapcore.Core {
	return zapcore.NewCore(jsonEncoder(), zapcore.AddSync(io.Discard), zap.InfoLevel)
}

func BenchmarkFiveFields(b *testing.B) {
	b.Run("zap-discard", func(b *testing.B) {
		l := zap.New(zapDiscard())
		b.ReportAllocs()
		for b.Loop() {
			logFive(l)
		}
	})
	b.Run("appender-null", func(b *testing.B) {
		a := open(b, nullPutter{}, logappender.Config{})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		b.ReportAllocs()
		for b.Loop() {
			logFive(l)
		}
		s := a.Stats()
		b.ReportMetric(float64(s.DroppedTotal()), "drops")
	})
	b.Run("appender-full", func(b *testing.B) {
		a := open(b, &gated{fakePutter: &fakePutter{}, gate: make(chan struct{})}, logappender.Config{BufferBytes: 256 << 10})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		fill(l, zap.InfoLevel, 1000)
		b.ReportAllocs()
		for b.Loop() {
			logFive(l)
		}
	})
	b.Run("slog-discard", func(b *testing.B) {
		l := slog.New(slog.NewJSONHandler(io.Discard, nil))
		b.ReportAllocs()
		for b.Loop() {
			slogFive(l)
		}
	})
	b.Run("slog-appender", func(b *testing.B) {
		a := open(b, nullPutter{}, logappender.Config{})
		l := slog.New(a.Handler(nil))
		b.ReportAllocs()
		for b.Loop() {
			slogFive(l)
		}
	})
}

func BenchmarkParallel(b *testing.B) {
	for _, bb := range []struct {
		name string
		core func(b *testing.B) zapcore.Core
	}{
		{"zap-discard", func(*testing.B) zapcore.Core { return zapDiscard() }},
		{"appender-null", func(b *testing.B) zapcore.Core {
			b.Helper()
			return open(b, nullPutter{}, logappender.Config{}).Core(zap.InfoLevel, jsonEncoder())
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			l := zap.New(bb.core(b))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					logFive(l)
				}
			})
		})
	}
}

func BenchmarkDisabled(b *testing.B) {
	a := open(b, nullPutter{}, logappender.Config{})
	l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
	b.ReportAllocs()
	for b.Loop() {
		if ce := l.Check(zap.DebugLevel, "m"); ce != nil {
			b.Fatal("enabled")
		}
	}
}

func BenchmarkWithThreeFields(b *testing.B) {
	a := open(b, nullPutter{}, logappender.Config{})
	for name, c := range map[string]zapcore.Core{"zap": zapDiscard(), "appender": a.Core(zap.InfoLevel, jsonEncoder())} {
		b.Run(name, func(b *testing.B) {
			f := fiveFields()[:3]
			b.ReportAllocs()
			for b.Loop() {
				c.With(f)
			}
		})
	}
}
