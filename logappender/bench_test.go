package logappender_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/internal/vfs"
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

// zapFile is zap's own way to a file without a write for each entry.
func zapFile(b *testing.B) zapcore.Core {
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
	return zapcore.NewCore(jsonEncoder(), w, zap.InfoLevel)
}

func BenchmarkFiveFields(b *testing.B) {
	b.Run("zap-discard", func(b *testing.B) {
		l := zap.New(zapDiscard())
		b.ReportAllocs()
		for b.Loop() {
			logFive(l)
		}
	})
	b.Run("zap-file-buffered", func(b *testing.B) {
		l := zap.New(zapFile(b))
		b.ReportAllocs()
		for b.Loop() {
			logFive(l)
		}
	})
	b.Run("appender-write-ahead", func(b *testing.B) {
		a := open(b, nullPutter{}, logappender.Config{SpillDir: b.TempDir(), SpillMode: logappender.SpillAlways})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		b.ReportAllocs()
		for b.Loop() {
			logFive(l)
		}
		s := a.Stats()
		b.ReportMetric(float64(s.DroppedTotal()), "drops")
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

// throttledFS is a disk that takes so many bytes a second, in writes that wait.
type throttledFS struct {
	vfs.FS
	perSecond int
}

type throttledFile struct {
	vfs.File
	perSecond int
}

func (f throttledFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return throttledFile{file, f.perSecond}, nil
}

func (f throttledFile) Write(p []byte) (int, error) {
	f.wait(len(p))
	return f.File.Write(p)
}

func (f throttledFile) WriteAt(p []byte, off int64) (int, error) {
	f.wait(len(p))
	return f.File.WriteAt(p, off)
}

func (f throttledFile) wait(n int) {
	time.Sleep(time.Duration(n) * time.Second / time.Duration(f.perSecond))
}

// BenchmarkLatency has eight goroutines log while the stream hangs, and reports how
// long the slowest calls take. What the scheduler and the collector take is in it:
// zap-discard shows how much that is. The throttled disk takes 5 MB/s.
func BenchmarkLatency(b *testing.B) {
	hanging := func(b *testing.B, cfg logappender.Config) zapcore.Core {
		b.Helper()
		p := &gated{fakePutter: &fakePutter{}, gate: make(chan struct{})}
		return open(b, p, cfg).Core(zap.InfoLevel, jsonEncoder())
	}
	throttled := func(b *testing.B, cfg logappender.Config) zapcore.Core {
		b.Helper()
		cfg.SpillDir = b.TempDir()
		p := &gated{fakePutter: &fakePutter{}, gate: make(chan struct{})}
		a, err := logappender.NewOn(throttledFS{vfs.OS, 5_000_000}, p, quiet(cfg))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = a.Close(ctx) // the stream hangs
		})
		return a.Core(zap.InfoLevel, jsonEncoder())
	}
	for _, bb := range []struct {
		name string
		core func(b *testing.B) zapcore.Core
	}{
		{"zap-discard", func(*testing.B) zapcore.Core { return zapDiscard() }},
		{"zap-file-buffered", func(b *testing.B) zapcore.Core { b.Helper(); return zapFile(b) }},
		{"appender-hang", func(b *testing.B) zapcore.Core { b.Helper(); return hanging(b, logappender.Config{}) }},
		{"appender-hang-drop-oldest", func(b *testing.B) zapcore.Core {
			b.Helper()
			return hanging(b, logappender.Config{Overflow: logappender.DropOldest})
		}},
		{"appender-hang-spill", func(b *testing.B) zapcore.Core {
			b.Helper()
			return hanging(b, logappender.Config{SpillDir: b.TempDir()})
		}},
		{"appender-hang-spill-throttled", func(b *testing.B) zapcore.Core {
			b.Helper()
			return throttled(b, logappender.Config{})
		}},
		{"appender-write-ahead-throttled", func(b *testing.B) zapcore.Core {
			b.Helper()
			return throttled(b, logappender.Config{SpillMode: logappender.SpillAlways})
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			l := zap.New(bb.core(b))
			const goroutines = 8
			took := make([][]time.Duration, goroutines)
			for g := range took {
				took[g] = make([]time.Duration, 0, b.N/goroutines+1)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for g := range took {
				wg.Go(func() {
					for range cap(took[g]) {
						start := time.Now()
						logFive(l)
						took[g] = append(took[g], time.Since(start))
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Concat(took...)
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)*9999/10000]), "p99.99-ns")
			b.ReportMetric(float64(all[len(all)-1]), "max-ns")
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
