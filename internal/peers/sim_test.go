package peers_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/peers"
)

var (
	simFirst = flag.Uint64("seed", 0, "the first history of TestSimulation")
	simSeeds = flag.Uint64("seeds", 15, "how many histories TestSimulation plays")
)

// TestSimulation plays fleets under faults of every kind, with clocks that
// differ by almost a tenth, and looks for two that act on one lease, for a
// verdict on one that acts, and for a fleet that does not heal.
func TestSimulation(t *testing.T) {
	for i := range *simSeeds {
		seed := *simFirst + i
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, seed)
			defer f.close()
			simulate(t, f, seed, 0.045)
			if t.Failed() {
				t.Logf("seed %d", seed) // it is not the only chance in it: play it several times
			}
		})
		if t.Failed() {
			return
		}
	}
}

// TestSimulationFindsFaults plays fleets whose clocks differ by more than the
// rules allow, or whose workers break a rule: histories in which two act on one lease
// must be found.
func TestSimulationFindsFaults(t *testing.T) {
	for _, tt := range []struct {
		name string
		flaw flaw
		play func(t *testing.T, f *fleet, seed uint64)
	}{
		{"clocks that differ too much", flaw{}, func(t *testing.T, f *fleet, seed uint64) { simulate(t, f, seed, 0.3) }},
		{"verdicts of a former term", flaw{anyTerm: true}, func(t *testing.T, f *fleet, seed uint64) { simulate(t, f, seed, 0.045) }},
		{"the term is read before the leases", flaw{termFirst: true}, verify},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := false
			for seed := uint64(0); seed < 40 && !found; seed++ {
				synctest.Test(t, func(t *testing.T) {
					f := newFleet(t, seed)
					f.flaw = tt.flaw
					defer f.close()
					tt.play(t, f, seed)
					f.mu.Lock()
					defer f.mu.Unlock()
					if found = len(f.bad) > 0; found {
						t.Logf("found by seed %d", seed)
					}
					f.bad = nil
				})
			}
			if !found {
				t.Error("none found")
			}
		})
	}
}

// TestVerification plays histories of workers that verify themselves while others act
// on a verdict.
func TestVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		defer f.close()
		verify(t, f, 1)
	})
}

// verify cuts off one worker after the other from the rest, but not from the table,
// which takes its time, until two act on one lease.
func verify(t *testing.T, f *fleet, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 4))
	f.startAll(4)
	watch(f, 3*time.Second)
	for range 20 {
		f.mu.Lock()
		for _, w := range f.workers {
			w.slow = time.Duration(rng.IntN(2000)) * time.Millisecond
		}
		bad := len(f.bad)
		f.mu.Unlock()
		if bad > 0 {
			return
		}
		a := fmt.Sprintf("w%02d", rng.IntN(4))
		f.isolate(a, true)
		watch(f, 7*time.Second)
		f.healAll()
		watch(f, 5*time.Second)
	}
}

// simulate plays a history in which clocks run at 1 ± drift.
func simulate(t *testing.T, f *fleet, seed uint64, drift float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 3))
	size := 2 + rng.IntN(6)
	if seed%20 == 19 {
		size = 25
	}
	rate := func() float64 { return 1 + drift*(2*rng.Float64()-1) }
	var ids []string
	for i := range size {
		id := fmt.Sprintf("w%02d", i)
		ids = append(ids, id)
		f.start(id, rate())
	}
	f.introduce()
	one := func() string { return ids[rng.IntN(len(ids))] }
	dead := map[string]bool{}
	some := func() []string {
		if rng.IntN(3) > 0 {
			return ids
		}
		return []string{one()}
	}
	for range 25 {
		watch(f, time.Duration(rng.IntN(3000))*time.Millisecond)
		a, b := one(), one()
		switch rng.IntN(19) {
		case 0, 1: // a process dies, and others hear of it late or never
			if !dead[a] {
				f.kill(a)
				dead[a] = true
			}
		case 2, 3: // it comes back under its name
			for id := range dead {
				f.start(id, rate())
				delete(dead, id)
				break
			}
			f.introduce()
		case 4: // the list changes for some
			f.introduceSome(rng)
		case 5, 6: // partition, in one direction
			for _, o := range some() {
				f.net.Block(a, o, true)
			}
		case 7: // the same, in the other
			for _, o := range some() {
				f.net.Block(o, a, true)
			}
		case 8: // a host is lost for a while, with or without its way to the table
			f.isolate(a, true)
			f.mu.Lock()
			f.workers[a].cutAt = rng.IntN(2) == 0
			f.mu.Unlock()
		case 9, 10: // all is well again
			f.healAll()
		case 11: // a slow host
			f.net.Slow(a, time.Duration(rng.IntN(900))*time.Millisecond)
		case 12: // flapping
			for range 10 {
				f.net.Reset(a, b)
				watch(f, time.Duration(rng.IntN(400))*time.Millisecond)
			}
		case 13, 14: // partition from some: the others go on to answer
			for _, o := range ids {
				lost := rng.IntN(3) > 0
				f.net.Block(a, o, lost && rng.IntN(3) > 0)
				f.net.Block(o, a, lost && rng.IntN(3) > 0)
			}
		case 17, 18: // those who answer are others before it has turned to them
			for range 2 {
				for _, o := range ids {
					lost := rng.IntN(2) == 0
					f.net.Block(a, o, lost)
					f.net.Block(o, a, lost)
				}
				watch(f, time.Duration(1500+rng.IntN(500))*time.Millisecond)
			}
		case 15, 16: // a table that takes its time
			f.mu.Lock()
			for _, id := range some() {
				f.workers[id].slow = time.Duration(rng.IntN(4000)) * time.Millisecond
			}
			f.mu.Unlock()
		}
	}
	f.healAll()
	f.introduce()
	watch(f, 45*time.Second)
	f.mu.Lock()
	deaths := len(f.deaths)
	f.mu.Unlock()
	for id, w := range f.workers {
		if dead[id] {
			continue
		}
		if !w.mesh.Active() {
			t.Errorf("%s does not act after all has healed: %+v", id, w.mesh.Stats())
		}
		if got, want := len(w.mesh.Watchers()), min(3, len(ids)-len(dead)-1); got != want {
			t.Errorf("%s has %d watchers, want %d: %+v", id, got, want, w.mesh.Stats())
		}
	}
	watch(f, 5*time.Second)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.deaths) > deaths {
		t.Errorf("verdicts after all has healed: %+v", f.deaths[deaths:])
	}
}

// healAll ends all that is wrong with the network and the table.
func (f *fleet) healAll() {
	f.net.Heal()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.workers {
		w.cutAt, w.slow = false, 0
	}
}

// watch lets d pass and looks for two that act on one lease.
func watch(f *fleet, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(20*time.Millisecond, time.Until(end)))
		f.check("at any time")
	}
}

// introduceSome gives some workers a list from which some are missing.
func (f *fleet) introduceSome(rng *rand.Rand) {
	f.mu.Lock()
	var list []peers.Member
	var some []*worker
	for _, id := range slices.Sorted(func(yield func(string) bool) {
		for id := range f.workers {
			if !yield(id) {
				return
			}
		}
	}) {
		w := f.workers[id]
		if rng.IntN(4) > 0 {
			list = append(list, w.self)
		}
		if w.alive && rng.IntN(2) == 0 {
			some = append(some, w)
		}
	}
	f.mu.Unlock()
	for _, w := range some {
		w.mesh.SetMembers(list)
	}
}
