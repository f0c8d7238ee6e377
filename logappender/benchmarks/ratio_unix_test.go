//go:build unix

package benchmarks_test

import (
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// cpuTime is what the process has used of all processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRatio has contenders take turns with the first of their kind, a turn
// being ten thousand calls, and reports the median of the ratios of CPU time, with
// the quartiles. What the appender does behind the call is in it, and the collector.
func BenchmarkRatio(b *testing.B) {
	const calls = 10_000
	for _, s := range scenarios[1:] { // a disabled call is too short
		for _, pair := range [][2]string{
			{"zap-discard", "zap-file-buffered"},
			{"zap-discard", "zap-appender"},
			{"zap-discard", "zap-appender-write-ahead"},
			{"zap-discard", "zap-appender-key"},
			{"slog-discard", "slog-appender"},
			{"slog-discard", "zapslog-discard"},
			{"slog-discard", "zapslog-appender"},
		} {
			b.Run(s.name+"/"+pair[1]+"-to-"+pair[0], func(b *testing.B) {
				var f [2]func()
				for i, name := range pair {
					n := slices.IndexFunc(contenders, func(c contender) bool { return c.name == name })
					f[i] = contenders[n].caller(b, &s)
				}
				var ratios, each []float64
				for round := range b.N {
					var took [2]time.Duration
					for turn := range f {
						i := (turn + round) % 2 // who comes first takes turns too
						runtime.GC()
						start := cpuTime(b)
						for range calls {
							f[i]()
						}
						took[i] = cpuTime(b) - start
					}
					ratios = append(ratios, float64(took[1])/float64(took[0]))
					each = append(each, float64(took[1])/calls)
				}
				slices.Sort(ratios)
				slices.Sort(each)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(each[len(each)/2], "cpu-ns/call")
				b.ReportMetric(ratios[len(ratios)/4], "x-quarter")
				b.ReportMetric(ratios[len(ratios)/2], "x-median")
				b.ReportMetric(ratios[len(ratios)*3/4], "x-three-quarters")
			})
		}
	}
}
