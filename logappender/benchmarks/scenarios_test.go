package benchmarks_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

// nullPutter stores everything nowhere.
type nullPutter struct{}

func (nullPutter) Flush(context.Context) error { return nil }

func (nullPutter) PutBatch(_ context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	done(producer.BatchResult{Records: len(rs)})
	return nil
}

func appender(b testing.TB, cfg logappender.Config) *logappender.Appender {
	b.Helper()
	a, err := logappender.New(nullPutter{}, cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := a.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return a
}

func encoder() zapcore.Encoder {
	cfg := zap.NewProductionEncoderConfig()
	cfg.EncodeTime = zapcore.EpochNanosTimeEncoder // as zap's suite has it
	return zapcore.NewJSONEncoder(cfg)
}

func zapDiscard() zapcore.Core {
	return zapcore.NewCore(encoder(), zapcore.AddSync(io.Discard), zap.InfoLevel)
}

// zapFile is zap's own way to a file without a write for each entry.
func zapFile(b testing.TB) zapcore.Core {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	w := &zapcore.BufferedWriteSyncer{WS: f}
	b.Cleanup(func() {
		if err := errors.Join(w.Stop(), f.Close()); err != nil {
			b.Error(err)
		}
	})
	return zapcore.NewCore(encoder(), w, zap.InfoLevel)
}

func ours(b testing.TB) zapcore.Core {
	b.Helper()
	return appender(b, logappender.Config{}).Core(zap.InfoLevel, encoder())
}

// A contender is a way to write a log: by zap, or by slog.
type contender struct {
	name string
	zap  func(b testing.TB) zapcore.Core
	slog func(b testing.TB) slog.Handler
}

var contenders = []contender{
	{name: "zap-discard", zap: func(testing.TB) zapcore.Core { return zapDiscard() }},
	{name: "zap-file-buffered", zap: zapFile},
	{name: "zap-appender", zap: ours},
	{name: "zap-appender-write-ahead", zap: func(b testing.TB) zapcore.Core {
		b.Helper()
		return appender(b, logappender.Config{SpillDir: b.TempDir(), SpillMode: logappender.SpillAlways}).Core(zap.InfoLevel, encoder())
	}},
	{name: "zap-appender-key", zap: func(b testing.TB) zapcore.Core {
		b.Helper()
		return appender(b, logappender.Config{PartitionKey: logappender.FieldKey("user", "")}).Core(zap.InfoLevel, encoder())
	}},
	{name: "slog-discard", slog: func(testing.TB) slog.Handler { return slog.NewJSONHandler(io.Discard, nil) }},
	{name: "slog-appender", slog: func(b testing.TB) slog.Handler { b.Helper(); return appender(b, logappender.Config{}).Handler(nil) }},
	{name: "zapslog-discard", slog: func(testing.TB) slog.Handler { return zapslog.NewHandler(zapDiscard()) }},
	{name: "zapslog-appender", slog: func(b testing.TB) slog.Handler { b.Helper(); return zapslog.NewHandler(ours(b)) }},
}

var errBench = errors.New("an error")

// A scenario is a log call, and what the logger has with it.
type scenario struct {
	name      string
	fields    int // of the call
	context   int // of With
	belowInfo bool
}

var scenarios = []scenario{
	{name: "disabled", belowInfo: true},
	{name: "static"},
	{name: "context", context: 10},
	{name: "five", fields: 5},
	{name: "ten", fields: 10},
}

var (
	at   = time.Unix(1_764_115_200, 0)
	list = []int{1, 2, 3, 4, 5}
)

// zapFields is written out, as a call's fields are: they are on the stack, or in one
// allocation.
func logZap(l *zap.Logger, s *scenario) {
	switch {
	case s.belowInfo:
		l.Debug("request served")
	case s.fields == 5:
		l.Info("request served", zap.String("user", "alice"), zap.Int("attempt", 3), zap.Duration("took", time.Second),
			zap.Bool("cached", true), zap.Error(errBench))
	case s.fields == 10:
		l.Info("request served", zap.String("user", "alice"), zap.Int("attempt", 3), zap.Duration("took", time.Second),
			zap.Bool("cached", true), zap.Error(errBench), zap.Ints("list", list), zap.Time("at", at), zap.Int64("bytes", 1<<40),
			zap.Float64("load", 0.5), zap.String("path", "/orders/7"))
	default:
		l.Info("request served")
	}
}

func logSlog(l *slog.Logger, s *scenario) {
	ctx := context.Background()
	switch {
	case s.belowInfo:
		l.LogAttrs(ctx, slog.LevelDebug, "request served")
	case s.fields == 5:
		l.LogAttrs(ctx, slog.LevelInfo, "request served", slog.String("user", "alice"), slog.Int("attempt", 3),
			slog.Duration("took", time.Second), slog.Bool("cached", true), slog.Any("error", errBench))
	case s.fields == 10:
		l.LogAttrs(ctx, slog.LevelInfo, "request served", slog.String("user", "alice"), slog.Int("attempt", 3),
			slog.Duration("took", time.Second), slog.Bool("cached", true), slog.Any("error", errBench), slog.Any("list", list),
			slog.Time("at", at), slog.Int64("bytes", 1<<40), slog.Float64("load", 0.5), slog.String("path", "/orders/7"))
	default:
		l.LogAttrs(ctx, slog.LevelInfo, "request served")
	}
}

// caller returns a function that logs as the scenario says.
func (c *contender) caller(b testing.TB, s *scenario) func() {
	b.Helper()
	if c.zap != nil {
		l := zap.New(c.zap(b))
		if s.context == 10 {
			l = l.With(zap.String("user", "alice"), zap.Int("attempt", 3), zap.Duration("took", time.Second),
				zap.Bool("cached", true), zap.Error(errBench), zap.Ints("list", list), zap.Time("at", at), zap.Int64("bytes", 1<<40),
				zap.Float64("load", 0.5), zap.String("path", "/orders/7"))
		}
		return func() { logZap(l, s) }
	}
	l := slog.New(c.slog(b))
	if s.context == 10 {
		l = l.With(slog.String("user", "alice"), slog.Int("attempt", 3), slog.Duration("took", time.Second), slog.Bool("cached", true),
			slog.Any("error", errBench), slog.Any("list", list), slog.Time("at", at), slog.Int64("bytes", 1<<40),
			slog.Float64("load", 0.5), slog.String("path", "/orders/7"))
	}
	return func() { logSlog(l, s) }
}

// BenchmarkCall has each scenario of each contender, from as many goroutines as
// there are processors.
func BenchmarkCall(b *testing.B) {
	for _, s := range scenarios {
		for _, c := range contenders {
			b.Run(s.name+"/"+c.name, func(b *testing.B) {
				call := c.caller(b, &s)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						call()
					}
				})
			})
		}
	}
}
