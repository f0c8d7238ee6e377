package journal_test

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/journal"
)

// TestPowerCutsWithAnInterval cuts the power of a journal that syncs beside its
// appends. What is lost then was not synced, and is no damage: no frame that has
// survived says of one that has not that it was on disk.
func TestPowerCutsWithAnInterval(t *testing.T) {
	cfg := journal.LocalConfig{Files: 40, FileBytes: 2 * small, Fsync: journal.Fsync{Interval: 20 * time.Microsecond}}
	short := 0 // how often something was lost
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		d := newDisk(t)
		if err := d.SyncDir("/"); err != nil {
			t.Fatal(err)
		}
		var appended, syncs atomic.Int64
		d.SetHook(func(op vfstest.Op, _ string) error {
			if op == vfstest.Sync {
				syncs.Add(1)
				n := appended.Load()
				yield(func() bool { return appended.Load() > n+2 }) // appends go on meanwhile
			}
			return nil
		})
		j, err := tryOpen(d, cfg)
		if err != nil {
			t.Fatal(err)
		}
		frames := 1 + r.IntN(80)
		for n := 1; n <= frames; n++ {
			if n%4 == 0 { // so that some are appended during a sync, and some are not
				begun := syncs.Load()
				yield(func() bool { return syncs.Load() > begun })
			}
			fill(t, j, n, n+1)
			appended.Add(1)
		}
		cut := d.Cut(r, []int{0, 30, 70, 100}[r.IntN(4)])
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		after, err := tryOpen(cut, cfg)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got := follow(t, after, 0)
		if len(got) > frames {
			t.Fatalf("seed %d: %d frames, %d were appended", seed, len(got), frames)
		}
		wantFrames(t, got, 1, 1+len(got))
		if len(got) < frames {
			short++
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if short == 0 {
		t.Error("no cut of 200 has lost a frame")
	}
}

// yield lets others run until something is so, or for a moment if it does not
// come about.
func yield(until func() bool) {
	for i := 0; i < 500 && !until(); i++ {
		runtime.Gosched()
	}
}
