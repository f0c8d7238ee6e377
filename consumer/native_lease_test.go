package consumer_test

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

func TestNativeSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 2)
		a := f.start("a", consumer.Config{})
		b := f.start("b", consumer.Config{})
		f.until(10*time.Second, "two workers share", f.shared(1, 1))
		stop := f.feed(100 * time.Millisecond)
		time.Sleep(5 * time.Second)
		f.stream.split(0)
		took := f.until(5*time.Second, "the children are read", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.reading["shardId-000000000002"] != "" && f.reading["shardId-000000000003"] != ""
		})
		t.Logf("children read after %v", took)
		if took > time.Second {
			t.Errorf("children of a split were read after %v", took)
		}
		for key, l := range leases(t, f.table) {
			if strings.HasSuffix(key, "2") && l.OwnerSwitches != 0 {
				t.Errorf("a child's lease has changed its owner %d times", l.OwnerSwitches)
			}
		}
		f.merge(2)
		f.until(5*time.Second, "the merged shard is read", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.reading["shardId-000000000004"] != ""
		})
		time.Sleep(20 * time.Second)
		stop()
		time.Sleep(2 * time.Second)
		a.wait()
		b.wait()
		f.check(false)
	})
}

func TestNativeMaxLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 8)
		a := f.start("a", consumer.Config{MaxLeasesForWorker: 3})
		b := f.start("b", consumer.Config{MaxLeasesForWorker: 3})
		f.until(10*time.Second, "two workers are full", f.shared2("a", 3, "b", 3))
		time.Sleep(time.Minute)
		if o := f.owners(); o["a"] != 3 || o["b"] != 3 || o[""] != 2 {
			t.Errorf("leases of workers: %v", o)
		}
		c := f.start("c", consumer.Config{})
		f.until(10*time.Second, "all shards are read", f.shared(2, 3, 3))
		a.wait()
		b.wait()
		c.wait()
	})
}

// TestNativeHung has a call of a processor not return: another worker gets the
// shard, and no worker is given it that cannot have it.
func TestNativeHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 4)
		a := f.start("a", consumer.Config{ProcessorTimeout: 10 * time.Second})
		a.hang = make(chan struct{})
		f.until(5*time.Second, "one worker reads all", f.shared(4))
		b := f.start("b", consumer.Config{})
		f.until(10*time.Second, "two workers share", f.shared(2, 2))
		var shard string
		for key, l := range leases(t, f.table) {
			if l.Owner == "a" {
				shard = key
			}
		}
		a.hungShard.Store(&shard)
		stop := f.feed(100 * time.Millisecond)
		f.until(2*time.Minute, "another worker has the shard", func() bool { return leases(t, f.table)[shard].Owner == "b" })
		time.Sleep(3 * time.Minute) // longer than a lease must rest
		if l := leases(t, f.table)[shard]; l.Owner != "b" || l.OwnerSwitches != 0 {
			t.Errorf("the shard that hangs went to %q, switches %d", l.Owner, l.OwnerSwitches)
		}
		a.hungShard.Store(nil)
		close(a.hang)
		time.Sleep(5 * time.Second)
		stop()
		time.Sleep(2 * time.Second)
		a.wait()
		b.wait()
		f.check(true)
	})
}

// TestNativeWrites counts an hour's writes: a row of each worker and one of the
// leader for each beat, and nothing for a lease on which nothing happens.
func TestNativeWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 10)
		ws := []*nativeWorker{f.start("a", consumer.Config{}), f.start("b", consumer.Config{})}
		f.until(10*time.Second, "two workers share", f.shared(5, 5))
		time.Sleep(2 * time.Minute)
		for _, w := range ws {
			for _, n := range []*atomic.Int64{&w.view.writes, &w.view.rows, &w.view.locks, &w.view.reads} {
				n.Store(0)
			}
		}
		time.Sleep(time.Hour)
		var locks int64
		for _, w := range ws {
			rows, writes := w.view.rows.Load(), w.view.writes.Load()
			t.Logf("%s: rows %d, lock %d, leases %d, reads %d", w.name, rows, w.view.locks.Load(), writes, w.view.reads.Load())
			if beats := int64(time.Hour / (2 * time.Second)); rows < beats*95/100 || rows > beats*105/100 {
				t.Errorf("%s wrote its row %d times, and should %d times", w.name, rows, beats)
			}
			if writes != 0 {
				t.Errorf("%s wrote to leases %d times", w.name, writes)
			}
			locks += w.view.locks.Load()
		}
		if beats := int64(time.Hour / (2 * time.Second)); locks < beats*95/100 || locks > beats*110/100 {
			t.Errorf("the lock was written %d times, and should be %d times", locks, beats)
		}
		for _, w := range ws {
			w.wait()
		}
	})
}

// TestNativeOnRequest releases a lease, and gives one to a worker, from outside the
// leader's plan.
func TestNativeOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 4)
		a := f.start("a", consumer.Config{})
		f.until(5*time.Second, "one worker reads all", f.shared(4))
		b := f.start("b", consumer.Config{})
		f.until(10*time.Second, "two workers share", f.shared(2, 2))
		stop := f.feed(100 * time.Millisecond)
		time.Sleep(2 * time.Minute)
		of := func(worker string) string {
			for _, key := range slices.Sorted(maps.Keys(leases(t, f.table))) {
				if leases(t, f.table)[key].Owner == worker {
					return key
				}
			}
			return ""
		}
		for _, w := range []*nativeWorker{a, b} {
			key := of(w.name)
			if err := w.Release(t.Context(), key); err != nil {
				t.Error(err)
			}
			f.until(6*time.Second, "the other worker has it", func() bool {
				l := leases(t, f.table)[key]
				return l.Owner != w.name && l.Owner != ""
			})
			time.Sleep(2 * time.Minute)
			f.longest()
			key = of(w.name)
			other := map[string]string{"a": "b", "b": "a"}[w.name]
			if err := w.Transfer(t.Context(), key, other); err != nil {
				t.Error(err)
			}
			time.Sleep(5 * time.Second)
			if gap := f.longest(); gap > 5*time.Second {
				t.Errorf("a shard was not read for %v", gap)
			}
			time.Sleep(2 * time.Minute)
		}
		stop()
		time.Sleep(2 * time.Second)
		a.wait()
		b.wait()
		f.check(false)
	})
}

// TestNativeReleasedOutside has somebody who is no worker release a lease, as
// streamctl does. Its owner notices though it has nothing to store, and before
// anybody else reads the shard.
func TestNativeReleasedOutside(t *testing.T) {
	for _, tt := range []struct {
		name    string
		workers []string
	}{
		{"and its owner gets it again", []string{"a"}},
		{"and the owner leads, or not", []string{"a", "b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newNativeFleet(t, 4)
				var ws []*nativeWorker
				for _, name := range tt.workers {
					ws = append(ws, f.start(name, consumer.Config{CheckpointInterval: time.Hour}))
				}
				f.until(10*time.Second, "all is shared", func() bool { o := f.owners(); return o[""] == 0 && o["a"] == 4/len(ws) })
				time.Sleep(2 * time.Minute)
				stop := f.feed(100 * time.Millisecond)
				time.Sleep(5 * time.Second)
				for i, w := range ws {
					f.longest()
					key := w.Stats().Shards[0].ShardID
					before := leases(t, f.table)[key]
					if _, err := f.table.Update(t.Context(), before, consumer.Write{Release: true}); err != nil {
						t.Fatal(err)
					}
					f.until(4*time.Second, "its owner notices", func() bool { return w.Stats().LeasesLost == 1 })
					f.until(4*time.Second, "somebody has the lease", func() bool { return leases(t, f.table)[key].Owner != "" })
					time.Sleep(2 * time.Second)
					if gap := f.longest(); gap > 5*time.Second {
						t.Errorf("%d: a shard was not read for %v", i, gap)
					}
					time.Sleep(2 * time.Minute)
				}
				stop()
				time.Sleep(2 * time.Second)
				for _, w := range ws {
					w.wait()
				}
				f.check(true) // what was read since the checkpoint
			})
		})
	}
}

// TestReleaseMeetsHandOver: a lease that is released while somebody outside has it handed
// over goes to whom it was promised, who knows it for its own, though it began so late that
// the leader has not told of it.
func TestReleaseMeetsHandOver(t *testing.T) {
	for _, to := range []string{"b", "newcomer"} {
		t.Run(to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newNativeFleet(t, 2)
				a, b := f.start("a", consumer.Config{}), f.start("b", consumer.Config{})
				f.until(time.Minute, "two share", f.shared(1, 1))
				time.Sleep(10 * time.Second)
				var mine consumer.Lease
				want := "inc-newcomer"
				for _, l := range leases(t, f.table) {
					if l.Owner == "a" {
						mine = l
					} else if to == "b" {
						want = l.Incarnation
					}
				}
				if to == "newcomer" {
					row := consumer.WorkerRow{ID: to, Updated: time.Now(), Properties: map[string]string{"g_inc": want, "g_seq": "1"}}
					if err := f.table.PutWorker(t.Context(), row); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := f.table.StartHandOver(t.Context(), mine, to); err != nil {
					t.Fatal(err)
				}
				_ = a.Release(t.Context(), mine.Key) // it has another end than was asked for
				if l := leases(t, f.table)[mine.Key]; l.Owner != to || l.CheckpointOwner != "" || l.Incarnation != want {
					t.Errorf("the lease has owner %q, checkpoint owner %q and incarnation %q, want %q, none and %q", l.Owner, l.CheckpointOwner, l.Incarnation, to, want)
				}
				a.wait()
				b.wait()
			})
		})
	}
}

// TestNativeSlowHandlers has one worker get all shards whose records take long. The same is
// read from all, but the load is not the same.
func TestNativeSlowHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 10)
		ws := []*nativeWorker{f.start("a", consumer.Config{}), f.start("b", consumer.Config{})}
		f.until(time.Minute, "two share", f.shared(5, 5))
		time.Sleep(5 * time.Second)
		f.slow = map[string]time.Duration{}
		for _, s := range ws[0].Stats().Shards {
			f.slow[s.ShardID] = 80 * time.Millisecond
		}
		stop := f.feed(200 * time.Millisecond)
		f.until(10*time.Minute, "both have slow ones", func() bool {
			for _, w := range ws {
				n := 0
				for _, s := range w.Stats().Shards {
					if f.slow[s.ShardID] > 0 {
						n++
					}
				}
				if n < 2 {
					return false
				}
			}
			return true
		})
		settled := f.owners()
		moves := ws[0].Stats().HandOvers + ws[1].Stats().HandOvers
		time.Sleep(5 * time.Minute)
		if after := ws[0].Stats().HandOvers + ws[1].Stats().HandOvers; after > moves+2 {
			t.Errorf("%d leases move on, from %v to %v", after-moves, settled, f.owners())
		}
		stop()
		time.Sleep(2 * time.Second)
		for _, w := range ws {
			w.wait()
		}
		f.check(false)
	})
}
