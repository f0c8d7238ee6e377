package logappender_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/logappender"
)

// TestSpillAccounts runs a process through faults of stream and disk to its end,
// by Close or by a kill, and a second one behind it.
func TestSpillAccounts(t *testing.T) {
	var played, killed, onDisk, twice int
	for seed := range seedRange(200) {
		played++
		synctest.Test(t, func(t *testing.T) {
			defer tellSeed(t, seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex // guards rng in the sink and the disk
			chance := func(n int) bool { mu.Lock(); defer mu.Unlock(); return rng.IntN(n) == 0 }
			roll := func(n int) int { mu.Lock(); defer mu.Unlock(); return rng.IntN(n) }
			disk, s := vfstest.NewDisk(), newSink(store)
			bad := 1 + roll(4)
			s.fate = func() fate {
				if chance(bad) {
					return []fate{refuse, failSome, block, panicFirst, hang}[roll(5)]
				}
				return []fate{store, storeLater}[roll(2)]
			}
			cfg := logappender.Config{
				BufferBytes: 256 << 10, ChunkBytes: 4 << 10, MaxRecordBytes: 32 << 10, SpillMaxBytes: 1 << 20,
				Linger: 10 * time.Millisecond, FatalTimeout: 100 * time.Millisecond, ReplayBytesPerSecond: 100 << 10,
				SpillMode: logappender.SpillMode(seed % 2), Overflow: logappender.Overflow(seed / 2 % 3),
			}
			if seed%7 == 0 {
				cfg.Sample, cfg.SampleAbove = 3, 0.1
			}
			p := run(t, disk, s, cfg)
			if seed%3 == 0 {
				disk.SetHook(func(op vfstest.Op, _ string) error {
					if (op == vfstest.Write || op == vfstest.Sync) && chance(8) {
						return []error{syscall.ENOSPC, errRefused}[roll(2)]
					}
					return nil
				})
			}
			panics := seed%5 == 0
			var wg sync.WaitGroup
			for g := range 2 {
				r := rand.New(rand.NewPCG(seed, uint64(g+2)))
				wg.Go(func() {
					for i := range 60 {
						msg := fmt.Sprintf("%d-%d %s", g, i, strings.Repeat("x", r.IntN(2000)))
						switch {
						case panics && r.IntN(20) == 0:
							p.panics(msg)
						case r.IntN(20) == 0:
							ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
							_ = p.Flush(ctx)
							cancel()
							fallthrough
						default:
							p.log.Log(zapcore.Level(r.IntN(4)-1), msg)
						}
						if r.IntN(3) == 0 {
							time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
						}
						if !t.Failed() {
							checkAccounts(t, p.Appender)
						}
					}
				})
			}
			wg.Wait()
			disk.SetHook(nil)
			var st logappender.Stats
			if seed%2 == 0 {
				synctest.Wait()
				st = p.Stats()
				checkAccounts(t, p.Appender)
				disk = p.kill(disk)
				killed++
			} else {
				p.end(time.Duration(roll(20)) * time.Second)
				st = p.Stats()
			}
			s.later.Wait()
			onDisk += int(st.Spilled.Total())

			next := newSink(store)
			q := run(t, disk, next, cfg)
			time.Sleep(time.Minute)
			q.end(time.Minute)
			first, second := s.lines(), next.lines()
			have := make(map[string]bool)
			for _, l := range slices.Concat(first, second) {
				have[l] = true
			}
			missing := int(st.Accepted.Total()) - len(have)
			if mayMiss := int(st.DroppedTotal() + st.Sampled.Total() + st.Lost.Total() + st.Pending.Total()); missing > mayMiss {
				t.Errorf("%d entries are missing, %d may be: %+v", missing, mayMiss, st)
			}
			again := make(map[int]bool) // batches of the first process
			for _, l := range second {
				if b, ok := s.batch[l]; ok {
					again[b] = true
				}
			}
			twice += len(again)
			if len(again) > 1 && !panics {
				t.Errorf("batches %v were stored and are sent again", slices.Collect(maps.Keys(again)))
			}
		})
	}
	t.Logf("%d histories, %d kills, %d entries left on disk, %d batches sent twice", played, killed, onDisk, twice)
	if played >= 100 && onDisk == 0 {
		t.Error("no seed has left anything on disk")
	}
}
