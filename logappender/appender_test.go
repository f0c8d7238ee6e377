package logappender_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
)

func TestConfigReportsAllFaults(t *testing.T) {
	_, err := logappender.New(nil, logappender.Config{BufferBytes: 1, ChunkBytes: 1, MaxRecordBytes: 1, Overflow: 9, BlockTimeout: -1, SyncTimeout: 1, Sample: -1})
	for _, want := range []string{"putter is nil", "BufferBytes", "ChunkBytes", "MaxRecordBytes", "Overflow", "BlockTimeout", "SyncTimeout", "Sample of -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	for _, cfg := range []logappender.Config{{SampleAbove: 0.5}, {Sample: 10, SampleAbove: 0.9}, {Sample: 10, SampleAbove: -1}, {Sample: 10, SampleAbove: math.NaN()}} {
		if _, err := logappender.New(&fakePutter{}, cfg); err == nil || !strings.Contains(err.Error(), "SampleAbove") {
			t.Errorf("%v, %v: error %v", cfg.Sample, cfg.SampleAbove, err)
		}
	}
	a, err := logappender.New(&fakePutter{}, logappender.Config{BufferBytes: 256 << 10})
	if err != nil {
		t.Fatalf("the smallest buffer alone: %v", err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		a := open(t, &p, logappender.Config{})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		l.Info("one")
		time.Sleep(99 * time.Millisecond)
		l.Info("two")
		synctest.Wait()
		if n := len(p.lines()); n != 0 {
			t.Errorf("%d records before the linger was over", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := len(p.lines()); n != 2 {
			t.Errorf("%d records after the linger, want 2", n)
		}
		l.DPanic("now")
		synctest.Wait()
		if n := len(p.lines()); n != 3 {
			t.Errorf("%d records after DPanic, want 3", n)
		}
	})
}

// fill writes entries of a KiB until n are written.
func fill(l *zap.Logger, level zapcore.Level, n int) {
	pad := zap.String("pad", strings.Repeat("x", 950))
	for i := range n {
		l.Log(level, fmt.Sprintf("%s %d", level, i), pad)
	}
}

// gapSum returns the number of drops that gap records tell.
func gapSum(t *testing.T, lines []string) (sum uint64, gaps int) {
	t.Helper()
	for _, line := range lines {
		var m struct {
			Logger  string
			Dropped uint64
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if m.Logger == "logappender" {
			sum += m.Dropped
			gaps++
		}
	}
	return sum, gaps
}

func TestOverflow(t *testing.T) {
	const buffer = 256 << 10
	for _, tt := range []struct {
		name   string
		policy logappender.Overflow
		check  func(t *testing.T, lines []string, s logappender.Stats)
	}{
		{"DropNewest", logappender.DropNewest, func(t *testing.T, lines []string, _ logappender.Stats) {
			t.Helper()
			if !strings.Contains(lines[0], "info 0") {
				t.Errorf("first is %.60s", lines[0])
			}
		}},
		{"DropOldest", logappender.DropOldest, func(t *testing.T, lines []string, _ logappender.Stats) {
			t.Helper()
			if !strings.Contains(strings.Join(lines, ""), "info 999") {
				t.Error("the newest entry is missing")
			}
		}},
		{"Block", logappender.Block, func(t *testing.T, _ []string, s logappender.Stats) {
			t.Helper()
			// Fake time: each of the dropped entries has waited to the end.
			dropped := s.Dropped[logappender.DropFull].At(zap.InfoLevel)
			if want := time.Duration(dropped) * 50 * time.Millisecond; s.Blocked != want {
				t.Errorf("blocked %v for %d drops, want %v", s.Blocked, dropped, want)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p fakePutter
				p.set(hang)
				var reports []error
				a := open(t, &p, logappender.Config{BufferBytes: buffer, Overflow: tt.policy, OnError: func(err error) { reports = append(reports, err) }})
				l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
				// One chunk hangs; the rest queues up behind a putter that blocks.
				fill(l, zap.InfoLevel, 40)
				synctest.Wait()
				p.set(block)
				fill(l, zap.InfoLevel, 1000)
				if s := a.Stats(); s.BufferBytes > buffer {
					t.Errorf("%d bytes in use, of %d", s.BufferBytes, buffer)
				}
				if tt.policy != logappender.DropOldest {
					before := a.Stats()
					fill(l, zap.ErrorLevel, 15)
					after := a.Stats()
					if n := after.Dropped[logappender.DropFull].At(zap.ErrorLevel); n != 0 {
						t.Errorf("%d errors dropped in spite of the reserve", n)
					}
					if before.Pending.At(zap.InfoLevel) != after.Pending.At(zap.InfoLevel) {
						t.Error("errors displaced other entries")
					}
				}
				checkAccounts(t, a)

				s := a.Stats()
				if s.DroppedTotal() == 0 {
					t.Fatal("nothing was dropped")
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if len(reports) == 0 || len(reports) > 2+int(s.Blocked/(10*time.Second)) {
					t.Errorf("%d reports", len(reports))
				}
				if de, ok := errors.AsType[*logappender.DropError](reports[0]); !ok || de.Dropped[logappender.DropFull] == (logappender.LevelCounts{}) {
					t.Errorf("report %v", reports[0])
				}
			})
			synctest.Test(t, func(t *testing.T) {
				// The stream comes back: what is missing is told in the stream.
				var p fakePutter
				gate := make(chan struct{})
				a := open(t, &gated{fakePutter: &p, gate: gate}, logappender.Config{BufferBytes: buffer, Overflow: tt.policy})
				l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
				fill(l, zap.InfoLevel, 1000)
				close(gate)
				flush(t, a)
				l.Info("after")
				flush(t, a)
				lines, s := p.lines(), a.Stats()
				sum, gaps := gapSum(t, lines)
				if sum != s.DroppedTotal() || sum == 0 || uint64(gaps) != s.Gaps {
					t.Errorf("%d gap records tell of %d drops, the counters of %d gaps, %d drops", gaps, sum, s.Gaps, s.DroppedTotal())
				}
				tt.check(t, lines, s)
			})
		})
	}
}

func TestGapRecordStandsInTheGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fakePutter{}
		gate := make(chan struct{})
		a := open(t, &gated{fakePutter: &p, gate: gate}, logappender.Config{BufferBytes: 256 << 10})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		l.Info("first")
		time.Sleep(time.Second)
		synctest.Wait() // the drainer stands at the gate, and frees nothing between two drops
		fill(l, zap.InfoLevel, 400)
		fill(l, zap.ErrorLevel, 1) // in the gap, thanks to the reserve
		close(gate)
		synctest.Wait()
		l.Info("after")
		flush(t, a)
		lines := p.lines()
		n := len(lines)
		if n < 4 || !strings.Contains(lines[n-3], "error 0") || !strings.Contains(lines[n-2], "log records dropped") || !strings.Contains(lines[n-1], `"after"`) {
			t.Errorf("the end is %.120q", lines[max(0, n-4):])
		}
		if _, gaps := gapSum(t, lines); gaps != 1 {
			t.Errorf("%d gap records, want 1", gaps)
		}
	})
}

func TestWriteDoesNotWaitForTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, f := range []fate{hang, block} {
			var p fakePutter
			p.set(f)
			a := open(t, &p, logappender.Config{BufferBytes: 256 << 10})
			l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
			start := time.Now()
			fill(l, zap.InfoLevel, 2000)
			fill(l, zap.ErrorLevel, 2000)
			if d := time.Since(start); d != 0 { // fake time passes only if a log call waits
				t.Errorf("4000 log calls waited %v", d)
			}
		}
	})
}

func TestSparseEntriesDoNotExhaustTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		p.set(hang)
		a := open(t, &p, logappender.Config{})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		for range 2000 { // 128 chunks of full size would be all
			l.Info("m")
			time.Sleep(200 * time.Millisecond)
		}
		if s := a.Stats(); s.DroppedTotal() != 0 || s.Pending.Total() != 2000 || a.Healthy() {
			t.Errorf("%+v", s)
		}
	})
}

func TestFlushAndSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		p.set(hang)
		a := open(t, &p, logappender.Config{})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		if err := l.Sync(); err != nil {
			t.Errorf("Sync of nothing: %v", err)
		}
		l.Info("m")
		start := time.Now()
		err := l.Sync()
		pe, ok := errors.AsType[*logappender.PendingError](err)
		if !ok || pe.Records != 1 || pe.Bytes == 0 || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("Sync: %v after %v", err, time.Since(start))
		}
		p.mu.Lock()
		flushes := p.flushes
		p.mu.Unlock()
		if flushes == 0 {
			t.Error("the producer was not asked to flush")
		}
		// A later entry does not extend the wait.
		got := make(chan error)
		go func() { got <- a.Flush(t.Context()) }()
		synctest.Wait()
		l.Info("later")
		time.Sleep(time.Second)
		p.mu.Lock()
		done := p.held[0]
		p.mu.Unlock()
		done(producerResult(1))
		if err := <-got; err != nil {
			t.Errorf("Flush: %v", err)
		}
		if s := a.Stats(); s.Pending.Total() != 1 {
			t.Errorf("%d pending, want 1", s.Pending.Total())
		}
	})
}

func TestFlushAmongWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fakePutter{fate: func() fate { return storeLater }}
		a := open(t, &p, logappender.Config{})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
						l.Info("m")
					}
				}
			})
		}
		for range 20 {
			if err := a.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		}
		close(stop)
		wg.Wait()
		p.later.Wait()
	})
}

func TestCloseDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		a := open(t, &p, logappender.Config{})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		l.Info("m")
		for range 2 {
			if err := a.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if n := len(p.lines()); n != 1 {
			t.Errorf("stored %d", n)
		}
		l.Info("too late")
		if err := l.Sync(); err != nil {
			t.Errorf("Sync: %v", err)
		}
		s := a.Stats()
		if s.Dropped[logappender.DropClosed].Total() != 1 || a.Healthy() {
			t.Errorf("%+v", s)
		}
	})
}

func TestCloseGivesUp(t *testing.T) {
	for name, f := range map[string]fate{"hang": hang, "block": block} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p fakePutter
				p.set(f)
				var reports []error
				fallback := &syncBuffer{}
				a := open(t, &p, logappender.Config{Fallback: fallback, OnError: func(err error) { reports = append(reports, err) }})
				l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
				l.Info("handed over")
				time.Sleep(time.Second)
				l.Info("queued")
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := a.Close(ctx)
				if pe, ok := errors.AsType[*logappender.PendingError](err); !ok || pe.Records != 2 {
					t.Errorf("Close: %v", err)
				}
				got := fallback.String()
				if !strings.Contains(got, "handed over") || !strings.Contains(got, "queued") {
					t.Errorf("fallback has %q", got)
				}
				if len(reports) != 1 || !strings.Contains(reports[0].Error(), "lost 2 (info 2)") {
					t.Errorf("reports %v", reports)
				}
				for _, done := range p.held {
					done(producerResult(1)) // too late
				}
				if s := a.Stats(); s.Lost.Total() != 2 || s.Delivered.Total() != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestSyncAfterCloseWithAGapLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		p.set(refuse)
		a := open(t, &p, logappender.Config{})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		l.Info("refused")
		flush(t, a)
		p.set(store)
		l.Info("stored") // its success ends the gap
		if err := a.Close(t.Context()); err != nil {
			t.Error(err)
		}
		start := time.Now()
		if err := l.Sync(); err != nil || time.Since(start) != 0 {
			t.Errorf("Sync: %v after %v", err, time.Since(start))
		}
	})
}

// TestOpenAndCloseManyTimes has each appender log by every door, and looks for what
// it leaves: its first chunk alone has 64 KiB.
func TestOpenAndCloseManyTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		cycle := func() {
			var p fakePutter
			a, err := logappender.New(&p, logappender.Config{Sample: 10})
			if err != nil {
				t.Fatal(err)
			}
			zap.New(a.Core(zap.InfoLevel, jsonEncoder())).With(zap.Int("i", 1)).Info("m")
			slog.New(a.Handler(nil)).With("i", 1).Info("m")
			_, _ = fmt.Fprintln(a.Writer(zap.InfoLevel), "m") // it never fails
			if err := a.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(p.lines()); n != 3 {
				t.Fatalf("stored %d", n)
			}
		}
		left := func() (goroutines int, heap uint64) {
			synctest.Wait()
			runtime.GC()
			runtime.GC() // what pools keep goes with the second
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return runtime.NumGoroutine(), m.HeapAlloc
		}
		for range 100 {
			cycle()
		}
		goroutines, heap := left()
		const cycles = 10_000
		for range cycles {
			cycle()
		}
		g, h := left()
		if g > goroutines || h > heap+1<<20 { // 100 bytes each
			t.Errorf("after %d appenders: %d goroutines, %d bytes; before: %d, %d", cycles, g, h, goroutines, heap)
		}
	})
}

// Health is that of the last delivery: a failure of some entries spoils it, and the
// next success mends it.
func TestHealthFollowsTheLastDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		a := open(t, &p, logappender.Config{})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		if s := a.Stats(); !a.Healthy() || s.LastError != nil || !s.LastSuccess.IsZero() {
			t.Errorf("before all: %+v", s)
		}
		var success time.Time
		for _, tt := range []struct {
			fate    fate
			healthy bool
			success bool
		}{
			{store, true, true},
			{refuse, false, false},
			{refuse, false, false},
			{store, true, true},
			{failSome, false, true},
			{store, true, true},
			{panicFirst, false, false},
			{store, true, true},
		} {
			p.set(tt.fate)
			time.Sleep(time.Second)
			for range 4 {
				l.Info("m")
			}
			flush(t, a)
			if tt.success {
				success = time.Now()
			}
			s := a.Stats()
			if a.Healthy() != tt.healthy || (s.LastError == nil) != tt.healthy || !s.LastSuccess.Equal(success) {
				t.Errorf("fate %d: healthy %v, LastError %v, LastSuccess %v, now %v", tt.fate, a.Healthy(), s.LastError, s.LastSuccess, time.Now())
			}
			if (tt.fate == refuse || tt.fate == failSome) && !errors.Is(s.LastError, errRefused) {
				t.Errorf("fate %d: LastError is %v", tt.fate, s.LastError)
			}
		}
	})
}

func TestOneBadRecordDoesNotTakeTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &picky{fakePutter: &fakePutter{}}
		a := open(t, p, logappender.Config{})
		l := zap.New(a.Core(zap.InfoLevel, jsonEncoder()))
		l.Info("good 1")
		l.Info("bad")
		l.Info("good 2")
		flush(t, a)
		s := a.Stats()
		if s.Delivered.Total() != 2 || s.Dropped[logappender.DropRejected].Total() != 1 {
			t.Errorf("%+v", s)
		}
	})
}

var (
	seeds    = flag.Int("seeds", 0, "histories of TestAccountsAddUp (1000), TestSpillAccounts (200) and TestWriteAheadKeepsTheOrder (10), each")
	seedFrom = flag.Uint64("seed-from", 0, "the first of them")
)

// seedRange yields the seeds to play: n of them unless a flag says otherwise.
func seedRange(n int) iter.Seq[uint64] {
	if *seeds > 0 {
		n = *seeds
	}
	return func(yield func(uint64) bool) {
		for i := range uint64(n) {
			if !yield(*seedFrom + i) {
				return
			}
		}
	}
}

// tellSeed is deferred in the bubble of a seed, the failure of which ends the test.
func tellSeed(t *testing.T, seed uint64) {
	t.Helper()
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}

// TestAccountsAddUp has goroutines log by every door into a stream that fails in
// all ways, and closes in the midst of it.
func TestAccountsAddUp(t *testing.T) {
	for seed := range seedRange(1000) {
		synctest.Test(t, func(t *testing.T) {
			defer tellSeed(t, seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex // guards rng in fate
			p := &fakePutter{}
			p.fate = func() fate {
				mu.Lock()
				defer mu.Unlock()
				if rng.IntN(4) == 0 {
					return []fate{hang, failSome, refuse, panicFirst, panicLast}[rng.IntN(5)]
				}
				return []fate{store, storeLater}[rng.IntN(2)]
			}
			goroutines, largest := 4, 100<<10
			cfg := logappender.Config{
				BufferBytes: 256 << 10, ChunkBytes: 4 << 10, MaxRecordBytes: 64 << 10,
				Overflow: logappender.Overflow(seed % 3), DropOversize: seed%5 == 0, FatalTimeout: 10 * time.Millisecond,
			}
			if seed%4 == 0 {
				cfg.Sample, cfg.SampleAbove = 3, 0.3
			}
			if seed%250 == 0 {
				goroutines, largest = 64, 2<<20
				cfg.BufferBytes, cfg.MaxRecordBytes = 4<<20, 0
			}
			a := open(t, p, cfg)
			var wg sync.WaitGroup
			for g := range goroutines {
				r := rand.New(rand.NewPCG(seed, uint64(g+2)))
				wg.Go(func() {
					l := zap.New(a.Core(zap.DebugLevel, jsonEncoder()), zap.WithPanicHook(zapcore.WriteThenPanic))
					sl, w := slog.New(a.Handler(nil)), a.Writer(zap.WarnLevel)
					for range 15 {
						size := r.IntN(300)
						if r.IntN(10) == 0 {
							size = r.IntN(largest)
						}
						switch msg := strings.Repeat("x", size); r.IntN(20) {
						case 0:
							ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(50))*time.Millisecond)
							_ = a.Flush(ctx) // may time out: some batches hang
							cancel()
						case 1:
							l = l.With(zap.Int("i", size))
						case 2:
							func() {
								defer func() { _ = recover() }()
								l.Panic(msg)
							}()
						case 3:
							if g == 0 && r.IntN(10) == 0 {
								ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
								_ = a.Close(ctx) // may lose what hangs
								cancel()
							}
						case 4, 5:
							sl.Warn(msg)
						case 6:
							_, _ = fmt.Fprintln(w, msg) // it never fails
						default:
							l.Log(zapcore.Level(r.IntN(4)-1), msg)
						}
						if r.IntN(10) == 0 {
							time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
						}
						checkAccounts(t, a)
					}
				})
			}
			wg.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_ = a.Close(ctx) // the cleanup of open checks the rest
			p.later.Wait()
			checkAccounts(t, a)
		})
	}
}
