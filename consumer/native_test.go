package consumer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

func TestNativeNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 64)
		a := f.start("a", consumer.Config{})
		f.until(3*time.Second, "one worker reads all", f.shared(64))
		stop := f.feed(100 * time.Millisecond)
		time.Sleep(100 * time.Second)
		f.longest()

		b := f.start("b", consumer.Config{})
		took := f.until(5*time.Second, "two workers share", func() bool {
			o := f.owners()
			return o["a"]-o["b"] <= 3
		})
		t.Logf("64 shards balanced to a newcomer in %v", took)
		time.Sleep(20 * time.Second)
		if gap := f.longest(); gap > 2500*time.Millisecond {
			t.Errorf("a shard was not read for %v", gap)
		}
		if st := a.Stats(); st.HandOvers < 29 || st.HandOvers > 32 || st.LeasesLost != 0 {
			t.Errorf("%d leases were handed over, %d lost", st.HandOvers, st.LeasesLost)
		}
		if n := b.Stats().LeasesAssigned; b.view.writes.Load() > 5*n || n != a.Stats().HandOvers {
			t.Errorf("%d leases came, with %d writes", n, b.view.writes.Load())
		}
		stop()
		time.Sleep(2 * time.Second)
		b.wait()
		a.wait()
		f.check(false)
	})
}

func TestNativePlannedStop(t *testing.T) {
	for _, first := range []string{"the leader", "another"} {
		t.Run(first, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newNativeFleet(t, 12)
				ws := []*nativeWorker{f.start("a", consumer.Config{})}
				f.until(3*time.Second, "one worker reads all", f.shared(12))
				ws = append(ws, f.start("b", consumer.Config{}), f.start("c", consumer.Config{}))
				f.until(10*time.Second, "three workers share", f.shared(4, 4, 4))
				stop := f.feed(100 * time.Millisecond)
				time.Sleep(10 * time.Second)
				f.longest()

				i := slices.IndexFunc(ws, func(w *nativeWorker) bool { return w.Stats().Leader == (first == "the leader") })
				gone := ws[i]
				before := gone.view.writes.Load()
				gone.stop()
				<-gone.done
				if n := gone.view.writes.Load() - before; gone.err != nil || n > 4 {
					t.Errorf("the stop of a worker with 4 leases took %d writes, %v", n, gone.err)
				}
				took := f.until(4*time.Second, "two workers share", f.shared(6, 6))
				time.Sleep(3 * time.Second)
				t.Logf("leases of a stopped worker taken after %v, longest pause of a shard %v", took, f.longest())
				stop()
				time.Sleep(2 * time.Second)
				for j, w := range ws {
					if j != i {
						w.wait()
					}
				}
				f.check(false)
				if rows, _ := f.table.ListWorkers(t.Context()); len(rows) != 0 {
					t.Errorf("rows left behind: %v", rows)
				}
			})
		})
	}
}

// partingView notes whether the row of its worker told that it stops when the leader's
// lock was given up.
type partingView struct {
	consumer.CoordinationStore
	unknown, released atomic.Int64
}

func (s *partingView) RenewLeader(ctx context.Context, before, after consumer.LeaderLock) (bool, error) {
	if after.Duration <= time.Millisecond {
		s.released.Add(1)
		if row, _, err := s.GetWorker(ctx, after.Owner); err != nil || row.Properties["g_stop"] == "" {
			s.unknown.Add(1)
		}
	}
	return s.CoordinationStore.RenewLeader(ctx, before, after)
}

// TestNativeLeaderStops has a leader stop: whoever leads next must know that it stops,
// or it would give it leases, which nobody would read.
func TestNativeLeaderStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 4)
		view := &partingView{CoordinationStore: f.table}
		w := f.startOn("a", consumer.Config{}, view)
		f.until(3*time.Second, "one worker reads all", f.shared(4))
		w.wait()
		if view.released.Load() != 1 || view.unknown.Load() != 0 {
			t.Errorf("the lock was given up %d times, %d of them before the row told of the stop", view.released.Load(), view.unknown.Load())
		}
	})
}

func TestNativeCrash(t *testing.T) {
	for _, first := range []string{"the leader", "another"} {
		t.Run(first, func(t *testing.T) {
			var longest time.Duration
			for delay := range 10 { // against the beats
				synctest.Test(t, func(t *testing.T) {
					f := newNativeFleet(t, 12)
					ws := []*nativeWorker{f.start("a", consumer.Config{}), f.start("b", consumer.Config{}), f.start("c", consumer.Config{})}
					f.until(10*time.Second, "three workers share", f.shared(4, 4, 4))
					stop := f.feed(100 * time.Millisecond)
					time.Sleep(20*time.Second + time.Duration(delay)*200*time.Millisecond)
					i := slices.IndexFunc(ws, func(w *nativeWorker) bool { return w.Stats().Leader == (first == "the leader") })
					f.longest()
					ws[i].kill()
					f.until(20*time.Second, "two workers share", f.shared(6, 6))
					time.Sleep(3 * time.Second)
					longest = max(longest, f.longest())
					stop()
					time.Sleep(2 * time.Second)
					ws[i].stop()
					<-ws[i].done
					for j, w := range ws {
						if j != i {
							w.wait()
						}
					}
					f.check(true)
				})
			}
			t.Logf("longest pause of a shard after a crash: %v", longest)
			if longest > 10*time.Second {
				t.Errorf("longest pause of a shard after a crash: %v", longest)
			}
		})
	}
}

// TestNativeDeadRow has a leader follow another while the row of a worker that
// died is still there. It must not get leases: nobody would read them.
func TestNativeDeadRow(t *testing.T) {
	for _, since := range []time.Duration{7 * time.Second, 12 * time.Second, 40 * time.Second} {
		t.Run(since.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newNativeFleet(t, 12)
				a := f.start("a", consumer.Config{})
				f.until(3*time.Second, "one worker reads all", f.shared(12))
				b := f.start("b", consumer.Config{})
				f.until(10*time.Second, "two workers share", f.shared(6, 6))
				stop := f.feed(100 * time.Millisecond)
				time.Sleep(5 * time.Second)
				b.kill()
				time.Sleep(since)
				c := f.start("c", consumer.Config{})
				// By name: until its leases are taken, two have six each with the dead one.
				f.until(10*time.Second, "the newcomer shares", f.shared2("a", 6, "c", 6))
				time.Sleep(2 * time.Second)
				f.longest()
				a.stop()
				<-a.done
				f.until(5*time.Second, "the last worker reads all", func() bool { return f.owners()["c"] == 12 })
				time.Sleep(2 * time.Second)
				if most := f.longest(); most > 2*time.Second {
					t.Errorf("a shard was not read for %v", most)
				}
				stop()
				time.Sleep(2 * time.Second)
				for _, w := range []*nativeWorker{b, c} {
					w.stop()
					<-w.done
				}
				f.check(true)
			})
		})
	}
}

// TestNativePaused cuts a worker off from the table and lets it come back.
// Nobody else reads its shards before it has stopped, whatever the clocks do.
func TestNativePaused(t *testing.T) {
	for _, drift := range []float64{0, 0.049, -0.049} {
		t.Run(fmt.Sprint(drift), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newNativeFleet(t, 4)
				failover := func(d float64) consumer.Config {
					return consumer.Config{FailoverTime: time.Duration(float64(10*time.Second) * (1 + d))}
				}
				a, b := f.start("a", failover(drift)), f.start("b", failover(-drift))
				f.until(10*time.Second, "two workers share", f.shared(2, 2))
				stop := f.feed(100 * time.Millisecond)
				time.Sleep(20 * time.Second)
				a.view.cut.Store(true)
				f.until(15*time.Second, "one worker has all", func() bool { return f.owners()["b"] == 4 })
				time.Sleep(20 * time.Second)
				if st := a.Stats(); len(st.Shards) != 0 {
					t.Errorf("%d shards are read without a row", len(st.Shards))
				}
				a.view.cut.Store(false)
				f.until(90*time.Second, "two workers share again", f.shared(2, 2))
				time.Sleep(5 * time.Second)
				stop()
				time.Sleep(2 * time.Second)
				a.wait()
				b.wait()
				f.check(true)
			})
		})
	}
}

func TestNativeLostAnswers(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			defer consumer.Play(seed)()
			f := newNativeFleet(t, 8)
			var ws []*nativeWorker
			for i := range 3 {
				view := &tableView{CoordinationStore: f.table, rng: rand.New(rand.NewPCG(seed, uint64(i))), lost: 0.1, reply: 0.2}
				ws = append(ws, f.startWith(string(rune('a'+i)), consumer.Config{}, view))
			}
			stop := f.feed(100 * time.Millisecond)
			time.Sleep(40 * time.Second)
			i := int(seed % 3)
			ws[i].wait()
			time.Sleep(40 * time.Second)
			stop()
			time.Sleep(5 * time.Second)
			for _, w := range ws {
				w.view.mu.Lock()
				w.view.lost, w.view.reply = 0, 0
				w.view.mu.Unlock()
			}
			time.Sleep(10 * time.Second)
			for j, w := range ws {
				if j != i {
					w.wait()
				}
			}
			f.check(true)
		})
	}
}

// TestNativeSuspect has a leader look at once, and think for itself.
func TestNativeSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNativeFleet(t, 4)
		a := f.start("a", consumer.Config{})
		f.until(5*time.Second, "one worker reads all", f.shared(4))
		b := f.start("b", consumer.Config{})
		f.until(10*time.Second, "two workers share", f.shared(2, 2))
		time.Sleep(30*time.Second + 300*time.Millisecond)
		before := a.view.reads.Load()
		a.Suspect()
		time.Sleep(time.Millisecond)
		if a.view.reads.Load() == before {
			t.Error("the leader did not look")
		}
		time.Sleep(time.Minute)
		if st := b.Stats(); len(st.Shards) != 2 || st.LeasesLost != 0 {
			t.Errorf("a live worker has %d shards, and lost %d", len(st.Shards), st.LeasesLost)
		}
		a.wait()
		b.wait()
	})
}
