package logappender_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

func TestSpillOutlivesAnOutage(t *testing.T) {
	for _, tt := range []struct {
		name string
		down fate
		mode logappender.SpillMode
		sort bool // what was in memory as it began comes when it may
	}{
		{"refused", refuse, logappender.SpillOnPressure, false},
		{"blocked", block, logappender.SpillOnPressure, false},
		{"some refused", failSome, logappender.SpillOnPressure, true},
		{"panics", panicFirst, logappender.SpillOnPressure, false},
		{"refused, write-ahead", refuse, logappender.SpillAlways, false},
		{"blocked, write-ahead", block, logappender.SpillAlways, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk, s := vfstest.NewDisk(), newSink(tt.down)
				p := run(t, disk, s, logappender.Config{Linger: 10 * time.Millisecond, SpillMode: tt.mode})
				want := numbered(0, 600)
				p.logEach(want, 100*time.Millisecond) // a minute
				if st := p.Stats(); tt.down != failSome && (!st.CircuitOpen || st.CircuitOpened != 1 || p.Healthy() || st.Spilled.At(zap.InfoLevel) < 500) {
					t.Errorf("after a minute: %+v", st)
				}
				checkAccounts(t, p.Appender)
				s.set(store)
				time.Sleep(40 * time.Second) // the longest back-off
				got := s.lines()
				if tt.sort {
					slices.Sort(got)
					slices.Sort(want)
				}
				if !slices.Equal(got, want) {
					t.Errorf("stored %d of %d: %.300q", len(got), len(want), got)
				}
				if st := p.Stats(); st.CircuitOpen || !p.Healthy() || st.Spilled.Total() != 0 {
					t.Errorf("in the end: %+v", st)
				}
				p.end(time.Second)
			})
		})
	}
}

func TestSpillRelievesMemory(t *testing.T) {
	for _, f := range []fate{hang, block, refuse} {
		synctest.Test(t, func(t *testing.T) {
			p := run(t, vfstest.NewDisk(), newSink(f), logappender.Config{BufferBytes: 256 << 10})
			msg := strings.Repeat("x", 1000)
			for range 5000 { // 5 MB in 5 s
				p.log.Info(msg)
				time.Sleep(time.Millisecond)
			}
			if n := p.Stats().DroppedTotal(); n > 0 {
				t.Errorf("sink %d: %d entries are dropped", f, n)
			}
			p.end(time.Second)
			if st := p.Stats(); st.Spilled.Total() != 5000 || st.Lost.Total() != 0 {
				t.Errorf("sink %d: %+v", f, st)
			}
		})
	}
}

// What the producer accepts and keeps does not take the room that a burst needs.
func TestBurstWhileTheProducerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(hang)
		p := run(t, vfstest.NewDisk(), s, logappender.Config{BufferBytes: 1 << 20, ChunkBytes: 16 << 10})
		msg := strings.Repeat("x", 1000)
		for range 900 {
			p.log.Info(msg)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		if st := p.Stats(); st.Pending.Total() < 200 || st.Pending.Total() > 300 || st.Spilled.Total() < 600 {
			t.Errorf("before the burst: %d entries in memory, %d on disk", st.Pending.Total(), st.Spilled.Total())
		}
		for range 600 {
			p.log.Info(msg)
		}
		if st := p.Stats(); st.DroppedTotal() > 0 {
			t.Errorf("%d entries of the burst are dropped", st.DroppedTotal())
		}
		p.end(time.Second)
	})
}

// With less than a quarter of the buffer in the producer's hands everything goes on as
// it is handed back, and a Flush has all of it sent.
func TestProducerGetsAQuarterOfTheBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(storeLater)
		p := run(t, vfstest.NewDisk(), s, logappender.Config{BufferBytes: 256 << 10, ChunkBytes: 4 << 10})
		want := make([]string, 120)
		for i := range want {
			want[i] = fmt.Sprintf("%d %s", i, strings.Repeat("x", 900))
			p.log.Info(want[i])
		}
		start := time.Now()
		if err := p.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		// Two portions, of 50 ms each, and nothing between them.
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("Flush took %v", took)
		}
		got := s.lines()
		slices.Sort(got)
		slices.Sort(want)
		if st := p.Stats(); !slices.Equal(got, want) || st.CircuitOpened > 0 {
			t.Errorf("stored %d of %d, %+v", len(got), len(want), st)
		}
		p.end(time.Second)
	})
}

func TestSpillHasACap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, s := vfstest.NewDisk(), newSink(refuse)
		p := run(t, disk, s, logappender.Config{
			BufferBytes: 256 << 10, MaxRecordBytes: 4 << 10, SpillMaxBytes: 1 << 20, Linger: 10 * time.Millisecond,
		})
		pad := strings.Repeat("x", 1000)
		var want []string
		for i := range 3000 {
			want = append(want, fmt.Sprintf("%d %s", i, pad))
			p.log.Log(zapcore.Level(i%3), want[i]) // info, warn, error
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		st := p.Stats()
		d := st.Dropped[logappender.DropSpillFull]
		if d.At(zap.InfoLevel) < 500 || d.At(zap.ErrorLevel) < 500 || d.Total() != st.DroppedTotal() {
			t.Errorf("dropped %v", st.Dropped)
		}
		if st.SpillBytes > 1<<20 || st.SpillSegments < 6 {
			t.Errorf("%d bytes in %d segments", st.SpillBytes, st.SpillSegments)
		}
		checkAccounts(t, p.Appender)
		s.set(store)
		time.Sleep(time.Minute)
		got := s.lines()
		n := len(want) - len(got)
		if n != int(d.Total()) {
			t.Errorf("%d of %d entries are missing, %d are counted", n, len(want), d.Total())
		}
		// What was in the replayer's hand, then the newest without a hole.
		last := got[len(got)-1000/2:]
		if !slices.Equal(last, want[len(want)-len(last):]) {
			t.Error("the newest entries are not all there")
		}
		p.log.Info("after")
		p.end(time.Second)
	})
}

func TestCloseLeavesTheRestToTheNext(t *testing.T) {
	for _, f := range []fate{hang, block, refuse} {
		synctest.Test(t, func(t *testing.T) {
			disk, s := vfstest.NewDisk(), newSink(f)
			p := run(t, disk, s, logappender.Config{})
			want := numbered(0, 100)
			p.logEach(want, 0)
			p.log.Error("last")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := p.Close(ctx); err != nil {
				t.Errorf("sink %d: Close = %v, though nothing is lost", f, err)
			}
			cancel()
			if st := p.Stats(); st.Spilled.Total() != 101 || st.Spilled.At(zap.ErrorLevel) != 1 {
				t.Errorf("sink %d: left on disk %v", f, st.Spilled)
			}
			checkAccounts(t, p.Appender)

			next := newSink(store)
			p = run(t, disk, next, logappender.Config{})
			p.log.Info("new")
			time.Sleep(time.Minute)
			got := next.lines()
			got = slices.DeleteFunc(got, func(l string) bool { return l == "new" })
			if !slices.Equal(got, append(want, "last")) {
				t.Errorf("sink %d: the next process has sent %q", f, got)
			}
			st := p.Stats()
			if st.Recovered != 101 || st.Replayed.Total() != 101 || st.Replayed.At(zap.ErrorLevel) != 1 || st.Accepted.Total() != 1 {
				t.Errorf("sink %d: %+v", f, st)
			}
			p.end(time.Second)
			if st.SpillSegments != 0 && p.Stats().SpillSegments != 0 {
				t.Errorf("sink %d: %d segments are left", f, st.SpillSegments)
			}
		})
	}
}

func TestSpillDirIsOneAppenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfstest.NewDisk()
		p := run(t, disk, newSink(store), logappender.Config{})
		_, err := logappender.NewOn(disk, newSink(store), logappender.Config{SpillDir: "spill"})
		if !errors.Is(err, logappender.ErrSpillInUse) {
			t.Errorf("New = %v, want ErrSpillInUse", err)
		}
		p.end(time.Second)
	})
}

// A full disk costs what memory has no room for, and nothing else.
func TestSpillOnABadDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, s := vfstest.NewDisk(), newSink(block)
		p := run(t, disk, s, logappender.Config{BufferBytes: 256 << 10, Linger: 10 * time.Millisecond})
		disk.SetHook(func(op vfstest.Op, _ string) error {
			if op == vfstest.Write {
				return syscall.ENOSPC
			}
			return nil
		})
		p.logEach(numbered(0, 100), 200*time.Millisecond) // the circuit opens after 10 s
		st := p.Stats()
		if st.SpillHealthy || p.Healthy() || st.Pending.Total() != 100 {
			t.Errorf("on a full disk: %+v", st)
		}
		fill(p.log, zap.InfoLevel, 2000)
		if n := p.Stats().Dropped[logappender.DropFull].Total(); n == 0 {
			t.Error("nothing is dropped with a full disk and a full buffer")
		}
		p.mu.Lock()
		spillErrors := 0
		for _, err := range p.told {
			if se, ok := errors.AsType[*logappender.SpillError](err); ok && errors.Is(se, syscall.ENOSPC) {
				spillErrors++
			}
		}
		p.mu.Unlock()
		if spillErrors == 0 {
			t.Errorf("OnError has not heard of the disk: %v", p.told)
		}
		disk.SetHook(nil)
		time.Sleep(time.Minute) // it is tried again
		if st := p.Stats(); !st.SpillHealthy || st.Pending.Total() != 0 || st.Spilled.Total() < 100 {
			t.Errorf("with room again: %+v", st)
		}
		checkAccounts(t, p.Appender)
		p.end(time.Second)
	})
}

// What can never be stored does not hold up what is behind it.
func TestPoisonOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(block)
		p := run(t, vfstest.NewDisk(), s, logappender.Config{SpillMode: logappender.SpillAlways})
		p.logEach(numbered(0, 10), 0)
		p.log.Warn("poison")
		p.logEach(numbered(10, 20), 0)
		time.Sleep(time.Second)
		p.end(time.Second)
		s = newSink(store)
		disk := vfstest.NewDisk()
		p = run(t, disk, s, logappender.Config{SpillMode: logappender.SpillAlways})
		p.logEach(numbered(0, 10), 0)
		p.log.Warn("poison")
		p.logEach(numbered(10, 20), 0)
		time.Sleep(10 * time.Second)
		if got := s.lines(); !slices.Equal(got, numbered(0, 20)) {
			t.Errorf("stored %q", got)
		}
		if st := p.Stats(); st.Dropped[logappender.DropRejected].At(zap.WarnLevel) != 1 || st.Spilled.Total() != 0 {
			t.Errorf("%+v", st)
		}
		p.end(time.Second)
	})
}

// The last words are on disk, synced, when the process may die.
func TestLastWordsGoToDisk(t *testing.T) {
	for _, mode := range []logappender.SpillMode{logappender.SpillOnPressure, logappender.SpillAlways} {
		for _, f := range []fate{hang, block, refuse} {
			synctest.Test(t, func(t *testing.T) {
				disk, s := vfstest.NewDisk(), newSink(f)
				var fallback syncBuffer
				p := run(t, disk, s, logappender.Config{SpillMode: mode, Fallback: &fallback})
				p.logEach(numbered(0, 50), 10*time.Millisecond)
				start := time.Now()
				p.panics("last word")
				if took := time.Since(start); took > 2*time.Second || mode == logappender.SpillAlways && took > 0 {
					t.Errorf("mode %d, sink %d: took %v", mode, f, took)
				}
				checkAccounts(t, p.Appender)
				if out := fallback.String(); out != "" {
					t.Errorf("mode %d, sink %d: written to Fallback: %.100q", mode, f, out)
				}
				cut := disk.Cut(rand.New(rand.NewPCG(1, 1)), 0)
				next := newSink(store)
				q := run(t, cut, next, logappender.Config{})
				time.Sleep(time.Minute)
				if got := next.lines(); !slices.Contains(got, "last word") {
					t.Errorf("mode %d, sink %d: the next process has sent %q", mode, f, got)
				}
				q.end(time.Second)
				p.end(time.Second)
			})
		}
	}
}

// Goroutines that die together share the time and the disk.
func TestManyLastWordsGoToDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfstest.NewDisk()
		p := run(t, disk, newSink(hang), logappender.Config{})
		p.logEach(numbered(0, 50), 10*time.Millisecond)
		start := time.Now()
		var want []string
		var wg sync.WaitGroup
		for i := range 100 {
			word := fmt.Sprintf("word %d", i)
			want = append(want, word)
			wg.Go(func() { p.panics(word) })
		}
		wg.Wait()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %v, more than FatalTimeout", took)
		}
		next := newSink(store)
		q := run(t, p.kill(disk), next, logappender.Config{})
		time.Sleep(time.Minute)
		got := next.lines()
		for _, word := range append(want, numbered(0, 50)...) {
			if !slices.Contains(got, word) {
				t.Errorf("%q is missing", word)
			}
		}
		if len(got) != 150 {
			t.Errorf("%d entries are sent by the next process, want 150", len(got))
		}
		q.end(time.Second)
	})
}

// A program that recovers goes on, and what it delivers is not sent again by the
// next one.
func TestRecoveredPanicLeavesNoCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, s := vfstest.NewDisk(), newSink(hang)
		var held []func()
		s.mu.Lock()
		s.fate = func() fate { return hang }
		s.mu.Unlock()
		g := &answering{sink: s, held: &held}
		p := &process{t: t, sink: s}
		a, err := logappender.NewOn(disk, g, quiet(logappender.Config{SpillDir: "spill"}))
		if err != nil {
			t.Fatal(err)
		}
		p.Appender = a
		p.log = zap.New(a.Core(zap.DebugLevel, bareEncoder()))
		p.logEach(numbered(0, 10), 0)
		p.panics("word")
		time.Sleep(time.Second)
		if st := p.Stats(); st.Pending.Total() != 11 || st.Saved != 11 {
			t.Errorf("after the panic: %+v", st)
		}
		s.mu.Lock()
		answers := held
		s.mu.Unlock()
		for _, answer := range answers {
			answer()
		}
		time.Sleep(time.Second)
		if st := p.Stats(); st.Delivered.Total() != 11 {
			t.Errorf("after the answers: %+v", st)
		}
		p.end(time.Second)
		next := newSink(store)
		q := run(t, disk, next, logappender.Config{})
		time.Sleep(time.Minute)
		if got := next.lines(); len(got) > 0 {
			t.Errorf("the next process has sent %q again", got)
		}
		q.end(time.Second)
	})
}

// answering accepts everything and answers when it is told to.
type answering struct {
	*sink
	held *[]func()
}

func (g *answering) PutBatch(_ context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(rs)
	*g.held = append(*g.held, func() { done(producer.BatchResult{Records: n}) })
	return nil
}

// TestWriteAheadSurvivesAKill also has the tools read the directory.
func TestWriteAheadSurvivesAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, s := vfstest.NewDisk(), newSink(block)
		p := run(t, disk, s, logappender.Config{SpillMode: logappender.SpillAlways, PartitionKey: logappender.FixedKey("k")})
		p.logEach(numbered(0, 100), 10*time.Millisecond)
		time.Sleep(time.Second)
		disk = p.kill(disk)
		n := 0
		if _, err := spool.Inspect(disk, "spill", func(r *spool.Record) error {
			if want := fmt.Sprintf("entry %d", n); string(r.Data) != want || r.PartitionKey != "k" || !bytes.Equal(r.Extension, []byte{1, 2, 1, 0}) {
				t.Errorf("record %d is %q, key %q, extension %v", n, r.Data, r.PartitionKey, r.Extension)
			}
			n++
			return nil
		}); err != nil || n != 100 {
			t.Errorf("%d records: %v", n, err)
		}
		next := newSink(store)
		p = run(t, disk, next, logappender.Config{SpillMode: logappender.SpillAlways})
		time.Sleep(time.Second)
		if got := next.lines(); !slices.Equal(got, numbered(0, 100)) {
			t.Errorf("the next process has sent %q", got)
		}
		p.end(time.Second)
	})
}

// What the producer has accepted and never answers for opens the circuit by its
// age, and once the stream works again does so no more.
func TestSpillOpensForAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(hang)
		p := run(t, vfstest.NewDisk(), s, logappender.Config{Linger: 10 * time.Millisecond})
		p.logEach(numbered(0, 99), 100*time.Millisecond)
		if st := p.Stats(); st.CircuitOpen || st.Spilled.Total() > 0 {
			t.Errorf("after 9.9 s: %+v", st)
		}
		p.logEach(numbered(99, 200), 100*time.Millisecond)
		if st := p.Stats(); !st.CircuitOpen || st.Pending.Total() > 102 || st.Spilled.Total() < 98 {
			t.Errorf("after 20 s: %+v", st)
		}
		p.end(time.Second)
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSink(hang)
		p := run(t, vfstest.NewDisk(), s, logappender.Config{SpillMode: logappender.SpillAlways})
		p.log.Info("stuck")
		time.Sleep(11 * time.Second)
		if st := p.Stats(); !st.CircuitOpen || p.Healthy() {
			t.Errorf("write-ahead, after 11 s: %+v", st)
		}
		p.end(time.Second)
		if st := p.Stats(); st.Spilled.Total() != 1 {
			t.Errorf("write-ahead, in the end: %+v", st)
		}
	})
}

// A copy that had to make room does not count as one: Close writes the entries
// anew.
func TestCopyThatMadeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, s := vfstest.NewDisk(), newSink(hang)
		p := run(t, disk, s, logappender.Config{
			BufferBytes: 256 << 10, MaxRecordBytes: 4 << 10, SpillMaxBytes: 1 << 20, Linger: 10 * time.Millisecond,
		})
		p.logEach(numbered(0, 10), 20*time.Millisecond)
		p.panics("word")
		if st := p.Stats(); st.Pending.Total() == 0 || st.Saved == 0 {
			t.Fatalf("no copies: %+v", st)
		}
		pad := strings.Repeat("x", 1000)
		for range 3000 {
			p.log.Info(pad)
			time.Sleep(time.Millisecond)
		}
		if st := p.Stats(); st.Dropped[logappender.DropSpillFull].Total() == 0 {
			t.Fatalf("the spill was not full: %+v", st)
		}
		p.end(time.Second)
		next := newSink(store)
		q := run(t, disk, next, logappender.Config{})
		time.Sleep(time.Minute)
		got := next.lines()
		for _, l := range append(numbered(0, 10), "word") {
			if !slices.Contains(got, l) {
				t.Errorf("%q is missing", l)
			}
		}
		q.end(time.Second)
	})
}

// Nothing overtakes what the stream has not taken when a batch has to be put in
// halves.
func TestReplayInHalvesKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(store)
		puts := 0
		s.fate = func() fate {
			if puts++; puts == 2 { // the first is of all, the second of the first half
				return refuse
			}
			return store
		}
		p := run(t, vfstest.NewDisk(), s, logappender.Config{SpillMode: logappender.SpillAlways})
		want := numbered(0, 8)
		for i, line := range want {
			p.log.Info(line)
			if i == 5 {
				p.log.Info("poison")
			}
		}
		time.Sleep(time.Minute)
		p.end(time.Second)
		if got := s.lines(); !slices.Equal(got, want) {
			t.Errorf("stored %q, want %q", got, want)
		}
	})
}

// The buffer that an appender with a spill has by default outlasts a disk that
// stands still for two seconds, while the producer keeps what it has and the program
// logs 5 MB/s.
func TestDefaultBufferOutlastsAStall(t *testing.T) {
	for _, mode := range []logappender.SpillMode{logappender.SpillOnPressure, logappender.SpillAlways} {
		synctest.Test(t, func(t *testing.T) {
			disk, start := vfstest.NewDisk(), time.Now()
			disk.SetHook(func(op vfstest.Op, _ string) error {
				if at := time.Since(start) % (4 * time.Second); op == vfstest.Write && at >= 2*time.Second {
					time.Sleep(4*time.Second - at)
				}
				return nil
			})
			p := run(t, disk, newSink(hang), logappender.Config{SpillMode: mode})
			msg := strings.Repeat("x", 980)
			for range 1200 { // of 10 ms
				for range 50 {
					p.log.Info(msg)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if st := p.Stats(); st.DroppedTotal() > 0 || st.Spilled.Total() == 0 {
				t.Errorf("mode %d: %d entries are dropped: %+v", mode, st.DroppedTotal(), st)
			}
			p.end(time.Second)
		})
	}
}
