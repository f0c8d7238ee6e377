package crashtest_test

import (
	"flag"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

var (
	cutsFlag = flag.Int("cuts", 2000, "how many times the tests of this package cut the power")
	seedFlag = flag.Uint64("seed", 0, "the one story to tell, 0 for as many as the cuts allow")
	fromFlag = flag.Uint64("from", 1, "the seed of the first story")
)

var usual = config{newDisk: newOwnDisk, steps: 90, lives: 4}

// TestPowerCut tells stories until the power has been cut so many times.
func TestPowerCut(t *testing.T) { tellMany(t, usual, *cutsFlag) }

// TestPowerCutOnPebblesDisk does so on Pebble's model of a disk.
func TestPowerCutOnPebblesDisk(t *testing.T) {
	cfg := usual
	cfg.newDisk = newPebbleDisk
	tellMany(t, cfg, *cutsFlag/4)
}

// TestKilledWithoutFsync tells some of a store that leaves it to the system, or
// to a timer, when its journal is synced. Who kills only the process loses
// nothing.
func TestKilledWithoutFsync(t *testing.T) {
	for name, fsync := range map[string]journal.Fsync{"off": {Off: true}, "interval": {Interval: time.Minute}} {
		t.Run(name, func(t *testing.T) {
			cfg := usual
			cfg.powered = true
			cfg.free = fsync.Interval > 0 // the timer's sync keeps the next file waiting
			cfg.change = func(o *store.Options) { o.Fsync = fsync }
			tellMany(t, cfg, *cutsFlag/10)
		})
	}
}

func tellMany(t *testing.T, cfg config, cuts int) {
	t.Helper()
	began := time.Now()
	if *seedFlag != 0 {
		n, bad := tell(t, cfg, *seedFlag, func() bool { return true })
		report(t, bad)
		t.Logf("%d cuts in %v", n, time.Since(began))
		return
	}
	var left atomic.Int64
	var told, next atomic.Uint64
	left.Store(int64(cuts))
	next.Store(*fromFlag)
	t.Run("lanes", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for left.Load() > 0 && !t.Failed() {
					_, bad := tell(t, cfg, next.Add(1)-1, func() bool { return left.Add(-1) >= 0 })
					report(t, bad)
					told.Add(1)
				}
			})
		}
	})
	t.Logf("%d cuts in %d stories, %v", cuts, told.Load(), time.Since(began).Round(time.Millisecond))
}

func report(t *testing.T, bad *failure) {
	t.Helper()
	if bad != nil {
		t.Errorf("%s\nafter %d cuts; again: go test -C streamd/internal/crashtest -v -run '^%s$' . -seed %d", bad.text, bad.cuts, rootName(t), bad.seed)
	}
}

// rootName is the name of the test that t is a part of.
func rootName(t *testing.T) string {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	return name
}
