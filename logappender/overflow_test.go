package logappender_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

// Errors come through a flood of debug entries of a hundred times the buffer, into
// a stream that takes less than a tenth of it.
func TestErrorsComeThroughAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const buffer = 256 << 10
		p := &slowPutter{fakePutter: &fakePutter{}, perSecond: 1 << 20}
		a := open(t, p, logappender.Config{BufferBytes: buffer, Linger: time.Millisecond})
		l := zap.New(a.Core(zap.DebugLevel, bareEncoder()))
		pad := strings.Repeat("x", 1000)
		errors := 0
		for flooded := 0; flooded < 100*buffer; {
			for range 12 { // 12 MB/s
				l.Debug(pad)
				flooded += len(pad)
			}
			l.Error(fmt.Sprintf("error %d", errors))
			errors++
			time.Sleep(time.Millisecond)
		}
		flush(t, a)
		next := 0
		for _, line := range p.lines() {
			if line == fmt.Sprintf("error %d", next) {
				next++
			}
		}
		s := a.Stats()
		if next != errors || s.Dropped[logappender.DropFull].At(zap.ErrorLevel) > 0 {
			t.Errorf("%d of %d errors are stored: %+v", next, errors, s)
		}
		if n := s.Dropped[logappender.DropFull].At(zap.DebugLevel); n < s.Accepted.At(zap.DebugLevel)/2 {
			t.Errorf("only %d debug entries are dropped: the stream was too fast for this test", n)
		}
	})
}

// slowPutter takes so many bytes a second.
type slowPutter struct {
	*fakePutter
	perSecond int
}

func (p *slowPutter) PutBatch(ctx context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	n := 0
	for _, r := range rs {
		n += len(r.Data)
	}
	time.Sleep(time.Duration(n) * time.Second / time.Duration(p.perSecond))
	return p.fakePutter.PutBatch(ctx, rs, done)
}

// What DropOldest keeps is the newest, without a hole.
func TestDropOldestKeepsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		gate := make(chan struct{})
		a := open(t, &gated{fakePutter: &p, gate: gate}, logappender.Config{
			BufferBytes: 256 << 10, ChunkBytes: 4 << 10, Overflow: logappender.DropOldest, DisableGapRecords: true,
		})
		l := zap.New(a.Core(zap.InfoLevel, bareEncoder()))
		pad := strings.Repeat("x", 300)
		l.Info("in the producer's hands")
		time.Sleep(time.Second)
		const n = 5000
		for i := range n {
			l.Info(fmt.Sprintf("%d %s", i, pad))
		}
		close(gate)
		flush(t, a)
		lines := p.lines()[1:]
		if len(lines) < 500 || len(lines) > n/2 {
			t.Fatalf("%d entries are kept", len(lines))
		}
		for i, line := range lines {
			if want := fmt.Sprintf("%d %s", n-len(lines)+i, pad); line != want {
				t.Fatalf("entry %d from the end is %.20q", len(lines)-i, line)
			}
		}
	})
}

// A call under Block waits for its time and no longer, however many wait with it
// and take the room that appears.
func TestBlockHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slowPutter{fakePutter: &fakePutter{}, perSecond: 1 << 20}
		const most = 30 * time.Millisecond
		a := open(t, p, logappender.Config{BufferBytes: 256 << 10, Overflow: logappender.Block, BlockTimeout: most})
		l := zap.New(a.Core(zap.InfoLevel, bareEncoder()))
		pad := strings.Repeat("x", 1000)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				for range 50 {
					start := time.Now()
					l.Info(pad)
					if took := time.Since(start); took > most {
						t.Errorf("a call has waited for %v", took)
					}
				}
			})
		}
		wg.Wait()
		s := a.Stats()
		if s.DroppedTotal() == 0 || s.Delivered.Total() == 0 || s.Blocked == 0 {
			t.Errorf("nothing to see: %+v", s)
		}
		flush(t, a)
	})
}

// Whatever the disk does, a log call does not wait for it.
func TestWriteDoesNotWaitForTheDisk(t *testing.T) {
	for _, mode := range []logappender.SpillMode{logappender.SpillOnPressure, logappender.SpillAlways} {
		synctest.Test(t, func(t *testing.T) {
			disk := vfstest.NewDisk()
			p := run(t, disk, newSink(block), logappender.Config{BufferBytes: 256 << 10, SpillMode: mode})
			disk.SetHook(func(op vfstest.Op, _ string) error {
				if op == vfstest.Write || op == vfstest.Sync {
					time.Sleep(300 * time.Millisecond)
				}
				return nil
			})
			pad := strings.Repeat("x", 1000)
			for i := range 3000 {
				start := time.Now()
				p.log.Log(zapcore.Level(i%4-1), pad)
				if took := time.Since(start); took > 0 {
					t.Fatalf("mode %d: call %d has waited for %v", mode, i, took)
				}
				time.Sleep(3 * time.Millisecond)
			}
			if st := p.Stats(); st.Spilled.Total() == 0 || st.DroppedTotal() == 0 {
				t.Errorf("mode %d: %+v", mode, st)
			}
			disk.SetHook(nil)
			p.end(time.Second)
		})
	}
}

// What Sync waits for is its own: a core beside it in a Tee that hangs delays it, and
// it never takes longer than SyncTimeout by itself, while others log.
func TestSyncInATee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p fakePutter
		p.set(hang)
		a := open(t, &p, logappender.Config{SyncTimeout: time.Second})
		until := make(chan struct{})
		stuck := zapcore.NewCore(jsonEncoder(), stuckSync{until: until}, zap.InfoLevel)
		l := zap.New(zapcore.NewTee(stuck, a.Core(zap.InfoLevel, jsonEncoder())))
		l.Info("m")
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
						l.Info("more")
					}
				}
			})
		}
		time.AfterFunc(3*time.Second, func() { close(until) })
		start := time.Now()
		if err := l.Sync(); err == nil {
			t.Error("Sync says nothing of what is pending")
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("Sync took %v, want 3 s for the other core and 1 s for this", took)
		}
		p.set(store)
		for range 20 {
			start := time.Now()
			_ = a.Core(zap.InfoLevel, jsonEncoder()).Sync() // the first batches are still pending
			if took := time.Since(start); took > time.Second {
				t.Errorf("Sync among writers took %v", took)
			}
		}
		close(stop)
		wg.Wait()
	})
}

// stuckSync discards, and syncs when it is let.
type stuckSync struct{ until chan struct{} }

func (stuckSync) Write(p []byte) (int, error) { return len(p), nil }
func (w stuckSync) Sync() error               { <-w.until; return nil }
