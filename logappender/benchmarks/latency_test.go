package benchmarks_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

// hangingPutter accepts nothing.
type hangingPutter struct{}

func (hangingPutter) Flush(context.Context) error { return nil }

func (hangingPutter) PutBatch(ctx context.Context, _ []producer.UserRecord, _ func(producer.BatchResult)) error {
	<-ctx.Done()
	return ctx.Err()
}

// hanging returns an appender whose stream hangs.
func hanging(b testing.TB) *logappender.Appender {
	b.Helper()
	a, err := logappender.New(hangingPutter{}, logappender.Config{OnError: func(error) {}, Fallback: discard{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = a.Close(ctx) // the stream hangs
		if a.Stats().Delivered.Total() > 0 {
			b.Error("the stream did not hang")
		}
	})
	return a
}

// discard is a WriteSyncer for nothing.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Sync() error                 { return nil }

// latencyContenders are the ways to nowhere of each logger, and to what hangs.
func latencyContenders() []contender {
	var cs []contender
	for _, c := range contenders {
		if c.name == "zap-discard" || c.name == "slog-discard" || c.name == "zapslog-discard" {
			cs = append(cs, c)
		}
	}
	return append(cs,
		contender{name: "zap-appender-hang", zap: func(b testing.TB) zapcore.Core {
			b.Helper()
			return hanging(b).Core(zap.InfoLevel, encoder())
		}},
		contender{name: "slog-appender-hang", slog: func(b testing.TB) slog.Handler { b.Helper(); return hanging(b).Handler(nil) }},
		contender{name: "zapslog-appender-hang", slog: func(b testing.TB) slog.Handler {
			b.Helper()
			return zapslog.NewHandler(hanging(b).Core(zap.InfoLevel, encoder()))
		}},
	)
}

// BenchmarkLatency has eight goroutines log five fields, by zap, by slog and by
// zapslog, to nowhere and to an appender whose stream hangs, and reports how long the
// slowest calls take. What the scheduler and the collector take is in it: the rows of
// discard show how much that is.
func BenchmarkLatency(b *testing.B) {
	five := &scenarios[slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == "five" })]
	for _, c := range latencyContenders() {
		b.Run(c.name, func(b *testing.B) {
			call := c.caller(b, five)
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
						call()
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
