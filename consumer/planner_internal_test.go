package consumer

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// rapid tells the same stories in each run; with -rapid.seed=0 it draws others.
var _ = flag.Set("rapid.seed", "1")

var noLimits = limits{failover: 10 * time.Second, maxLeases: 1 << 30, maxSteal: 1 << 30}

// world makes leases by owner: "" is free, "!name" is owned by a worker that
// has stopped renewing.
func world(now time.Time, owners ...string) map[string]observed {
	all := map[string]observed{}
	for i, owner := range owners {
		l := Lease{Key: fmt.Sprintf("shard-%02d", i), Owner: owner, Counter: 1, Checkpoint: Checkpoint{SequenceNumber: TrimHorizon}}
		changed := now
		if owner != "" && owner[0] == '!' {
			l.Owner, changed = owner[1:], now.Add(-11*time.Second)
		}
		all[l.Key] = observed{Lease: l, changed: changed}
	}
	return all
}

func TestPlan(t *testing.T) {
	now := time.Now()
	old := func(all map[string]observed, age time.Duration) map[string]observed {
		for k, o := range all {
			o.changed = now.Add(-age)
			all[k] = o
		}
		return all
	}
	for _, tt := range []struct {
		name string
		all  map[string]observed
		held int // the first so many are held by me
		lim  limits
		want map[how]int
	}{
		{name: "alone takes all", all: world(now, "", "", ""), lim: noLimits, want: map[how]int{takeFree: 3}},
		{name: "nothing to take", all: world(now), lim: noLimits},
		{name: "share of what is free", all: world(now, "", "", "", "b", "b"), lim: noLimits, want: map[how]int{takeFree: 3}},
		{name: "no more than the share", all: world(now, "", "", "", "", "", "b"), lim: noLimits, want: map[how]int{takeFree: 3}},
		{name: "of a dead worker", all: world(now, "!b", "!b"), lim: noLimits, want: map[how]int{takeExpired: 2}},
		{name: "of a former run", all: world(now, "me", "me"), lim: noLimits, want: map[how]int{takeFree: 2}},
		{name: "free before stolen", all: world(now, "", "b", "b", "b", "b"), lim: noLimits, want: map[how]int{takeFree: 1}},
		{name: "steals the share", all: world(now, "b", "b", "b", "b"), lim: noLimits, want: map[how]int{takeStolen: 2}},
		{name: "steals no more than allowed", all: world(now, "b", "b", "b", "b"), lim: limits{10 * time.Second, 99, 1}, want: map[how]int{takeStolen: 1}},
		{name: "from all that have too many", all: world(now, "b", "b", "b", "b", "b", "c", "c", "c", "c", "c"), lim: noLimits, want: map[how]int{takeStolen: 2}},
		{name: "balanced", all: world(now, "me", "me", "b", "b"), held: 2, lim: noLimits},
		{name: "one short is balanced", all: world(now, "me", "me", "b", "b", "b"), held: 2, lim: noLimits},
		{name: "one from a worker with its share", all: world(now, "b", "b", "c", "c", "d"), lim: noLimits, want: map[how]int{takeStolen: 1}},
		{name: "as many workers as leases", all: world(now, "b", "c"), lim: noLimits},
		{name: "own limit", all: world(now, "", "", ""), lim: limits{10 * time.Second, 2, 9}, want: map[how]int{takeFree: 2}},
		{name: "overdue ones beyond the share", all: old(world(now, "", "", "", ""), time.Minute), lim: limits{10 * time.Second, 3, 9}, want: map[how]int{takeFree: 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			held := func(key string) bool {
				var i int
				_, err := fmt.Sscanf(key, "shard-%d", &i)
				return err == nil && i < tt.held
			}
			got := map[how]int{}
			for _, tk := range plan(tt.all, worker{"me", "i", held, true}, now, tt.lim, rand.New(rand.NewPCG(1, 1))) {
				got[tk.how]++
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("plan takes %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPlanLeavesWhatCannotBeRead(t *testing.T) {
	now := time.Now()
	all := world(now, "", "", "", "")
	set := func(key string, f func(*Lease)) { o := all[key]; f(&o.Lease); all[key] = o }
	set("shard-00", func(l *Lease) { l.Checkpoint.SequenceNumber = ShardEnd })
	set("shard-01", func(l *Lease) { l.Parents = []string{"shard-00", "gone"} })     // parents done
	set("shard-02", func(l *Lease) { l.Parents = []string{"shard-00", "shard-03"} }) // one is not
	var keys []string
	for _, tk := range plan(all, worker{"me", "i", func(string) bool { return false }, true}, now, noLimits, rand.New(rand.NewPCG(1, 1))) {
		keys = append(keys, tk.lease.Key)
	}
	if len(keys) != 2 || keys[0] == "shard-00" || keys[0] == "shard-02" || keys[1] == "shard-00" || keys[1] == "shard-02" {
		t.Errorf("plan takes %v, want shard-01 and shard-03", keys)
	}
}

// TestPlanConverges lets workers plan one after the other, in any order, from
// any beginning: every lease comes to have an owner, the numbers differ by at
// most one, and then nothing moves.
func TestPlanConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		workers := rapid.IntRange(1, 6).Draw(t, "workers")
		n := rapid.IntRange(0, 30).Draw(t, "leases")
		maxSteal := rapid.IntRange(1, 30).Draw(t, "maxSteal")
		seed := rapid.Uint64().Draw(t, "seed")
		rng := rand.New(rand.NewPCG(seed, 1))
		now := time.Now()
		owners := make([]string, n)
		for i := range owners {
			owners[i] = rapid.SampledFrom([]string{"", "!dead", "w0", "w1", "w2", "w3", "w4", "w5"}[:2+workers]).Draw(t, "owner")
		}
		all := world(now, owners...)
		round := func(i int) int {
			me := fmt.Sprint("w", i)
			takes := plan(all, worker{me, "i", func(key string) bool { return all[key].Owner == me }, true}, now, limits{10 * time.Second, 1 << 30, maxSteal}, rng)
			seen := map[string]bool{}
			for _, tk := range takes {
				if seen[tk.lease.Key] || all[tk.lease.Key].Owner == me {
					t.Fatalf("%s takes %s twice", me, tk.lease.Key)
				}
				seen[tk.lease.Key] = true
				o := all[tk.lease.Key]
				o.Owner, o.changed = me, now
				all[tk.lease.Key] = o
			}
			return len(takes)
		}
		for range 60 {
			round(rng.IntN(workers))
		}
		for range 3 {
			for w := range workers {
				round(w)
			}
		}
		count := make(map[string]int)
		for _, o := range all {
			count[o.Owner]++
		}
		least, most := n, 0
		for w := range workers {
			least, most = min(least, count[fmt.Sprint("w", w)]), max(most, count[fmt.Sprint("w", w)])
		}
		if share := (n + workers - 1) / workers; most > max(share, 1) || count[""]+count["dead"] > 0 {
			t.Fatalf("not in balance, share %d: %v", share, count)
		}
		if n >= workers && least == 0 {
			t.Fatalf("a worker has nothing: %v", count)
		}
		for w := range workers {
			if moved := round(w); moved > 0 {
				t.Fatalf("still moving %d leases: %v", moved, count)
			}
		}
	})
}

func TestObserveJudgesByTheCounterAlone(t *testing.T) {
	t0 := time.Now()
	seen := observe(nil, []Lease{{Key: "a", Owner: "x", Counter: 1}, {Key: "b", Owner: "x", Counter: 1}}, t0)
	seen = observe(seen, []Lease{{Key: "a", Owner: "x", Counter: 2}, {Key: "b", Owner: "x", Counter: 1}}, t0.Add(time.Second))
	if !seen["a"].changed.Equal(t0.Add(time.Second)) || !seen["b"].changed.Equal(t0) {
		t.Errorf("a changed at %v, b at %v", seen["a"].changed.Sub(t0), seen["b"].changed.Sub(t0))
	}
	if seen = observe(seen, nil, t0); len(seen) != 0 {
		t.Error("a lease that is gone is still seen")
	}
}
