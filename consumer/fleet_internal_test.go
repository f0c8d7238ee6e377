package consumer

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRowsThatCount(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		name            string
		row             WorkerRow
		active, failing bool
	}{
		{"fresh, without measures", WorkerRow{Updated: now.Add(-59 * time.Second)}, true, false},
		{"old", WorkerRow{Updated: now.Add(-60 * time.Second)}, false, false},
		{"never written", WorkerRow{}, false, false},
		{"with measures", WorkerRow{Updated: now, Stats: map[string][]float64{"C": {-1, 5}}, OperatingRange: map[string][]int64{"C": {100}}}, true, false},
		{"last measurement failed", WorkerRow{Updated: now, Stats: map[string][]float64{"C": {5, -1}}, OperatingRange: map[string][]int64{"C": {100}}}, true, true},
		{"measure without limit", WorkerRow{Updated: now, Stats: map[string][]float64{"C": {5}}}, false, false},
		{"limit 0", WorkerRow{Updated: now, Stats: map[string][]float64{"C": {5}}, OperatingRange: map[string][]int64{"C": {0}}}, false, false},
		{"not understood", WorkerRow{Updated: now, Invalid: fmt.Errorf("broken")}, false, false},
	} {
		if tt.row.active(now) != tt.active || tt.row.failing() != tt.failing {
			t.Errorf("%s: active %v, failing %v", tt.name, tt.row.active(now), tt.row.failing())
		}
	}
}

func TestSmooth(t *testing.T) {
	for want, values := range map[float64][]float64{0: nil, 8: {8}, 6: {8, 4}, 5: {-1, 8, -1, 4, 4}} {
		if got := smooth(values); got != want {
			t.Errorf("smooth(%v) = %v, want %v", values, got, want)
		}
	}
}

func TestMeter(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	m := meter{since: start}
	read := func(before Lease, took, after time.Duration) [2]float64 {
		rate, busy := m.read(&before, took, start.Add(after))
		if rate == nil || busy == nil {
			return [2]float64{-1, -1}
		}
		return [2]float64{*rate, *busy}
	}
	for _, tt := range []struct {
		bytes       int64
		before      Lease
		took, after time.Duration
		want        [2]float64
	}{
		{10 * 1024, Lease{}, time.Second, time.Second / 2, [2]float64{-1, -1}},
		{0, Lease{}, time.Second, 4 * time.Second, [2]float64{2.5, 0.25}},
		{0, Lease{ThroughputKBps: 2.5}, time.Second, 5 * time.Second, [2]float64{1.25, 1e-6}},
		{1, Lease{ThroughputKBps: 2.5, Busy: 0.5}, 4 * time.Second, 8 * time.Second, [2]float64{1.250163, 0.75}},
		{0, Lease{ThroughputKBps: 1, Busy: 1}, 4 * time.Second, 9 * time.Second, [2]float64{0.5, 0.5}},
	} {
		m.bytes.Add(tt.bytes)
		if got := read(tt.before, tt.took, tt.after); got != tt.want {
			t.Errorf("after %v: %v, want %v", tt.after, got, tt.want)
		}
	}
}

func TestWeigh(t *testing.T) {
	all := map[string]observed{}
	for key, l := range map[string]Lease{
		"much":  {ThroughputKBps: 30, Busy: 0.1},
		"slow":  {ThroughputKBps: 10, Busy: 0.29},
		"idle":  {ThroughputKBps: 20, Busy: 0.000001},
		"new":   {},
		"ended": {ThroughputKBps: 1000, Busy: 1, Checkpoint: Checkpoint{SequenceNumber: ShardEnd}},
	} {
		all[key] = observed{Lease: l}
	}
	for _, tt := range []struct {
		handler bool
		want    map[string]float64
	}{
		{false, map[string]float64{"much": 1.5, "slow": 0.5, "idle": 1, "new": 1}},
		{true, map[string]float64{"much": (1.5 + 0.75) / 2, "slow": (0.5 + 2.175) / 2, "idle": (1 + 0.075) / 2, "new": 1}},
	} {
		weight := weigh(all, tt.handler)
		for key, want := range tt.want {
			if got := weight(all[key].Lease); math.Abs(got-want) > 1e-9 {
				t.Errorf("with the time of handlers %v: %s costs %v, want %v", tt.handler, key, got, want)
			}
		}
	}
	if got := weigh(nil, true)(Lease{}); got != 1 {
		t.Errorf("of nothing known: %v", got)
	}
}

// drawn is a table and its workers.
type drawn struct {
	all  map[string]observed
	rows []WorkerRow
	lim  limits
	now  time.Time
}

func drawFleet(t *rapid.T) drawn {
	d := drawn{all: map[string]observed{}, now: time.Unix(1_700_000_000, 0), lim: limits{failover: 10 * time.Second, maxLeases: rapid.SampledFrom([]int{1, 3, 1000}).Draw(t, "max")}}
	workers := rapid.IntRange(0, 5).Draw(t, "workers")
	owner := func(name string) string {
		return rapid.SampledFrom([]string{"", "w0", "w1", "w2", "w3", "w4", "gone"}).Draw(t, name)
	}
	for i := range workers {
		r := WorkerRow{ID: fmt.Sprint("w", i), Updated: d.now}
		if rapid.Bool().Draw(t, "measures") {
			r.Stats = map[string][]float64{"C": {rapid.Float64Range(0, 120).Draw(t, "cpu")}}
			r.OperatingRange = map[string][]int64{"C": {100}}
		}
		d.rows = append(d.rows, r)
	}
	for i := range rapid.IntRange(0, 12).Draw(t, "leases") {
		o := observed{changed: d.now.Add(-time.Duration(rapid.IntRange(0, 20).Draw(t, "age")) * time.Second)}
		o.Key, o.Owner, o.Counter = fmt.Sprintf("s%02d", i), owner("owner"), 5
		o.Checkpoint.SequenceNumber = rapid.SampledFrom([]string{TrimHorizon, "123", ShardEnd}).Draw(t, "checkpoint")
		o.ThroughputKBps = rapid.SampledFrom([]float64{0, 0.5, 10, 200}).Draw(t, "rate")
		if o.Owner != "" && rapid.IntRange(0, 4).Draw(t, "handed") == 0 {
			o.CheckpointOwner = owner("from")
		}
		d.all[o.Key] = o
	}
	return d
}

// TestAssignments holds a leader's decisions to what they must never do.
func TestAssignments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawFleet(t)
		f := newFleet(d.all, d.rows, d.now)
		count := map[string]int{}
		for _, m := range f.members {
			count[m.id] = m.leases
		}
		h := handOvers{}
		h.observe(d.all, d.lim.failover, d.now.Add(-time.Hour))
		late := h.observe(d.all, d.lim.failover, d.now)
		moves, unplaced := assignFree(d.all, f, late, d.lim, d.now)
		moves = append(moves, balanceFleet(d.all, f, d.lim, d.now, rand.New(rand.NewPCG(1, 2)))...)
		moved := map[string]bool{}
		for _, m := range moves {
			o := d.all[m.lease.Key]
			expired := d.now.Sub(o.changed) > d.lim.failover
			switch {
			case moved[m.lease.Key] && !m.gracious:
				t.Fatalf("%s moves twice", m.lease.Key)
			case o.ended():
				t.Fatalf("%s has ended and moves", m.lease.Key)
			case f.byID[m.to] == nil:
				t.Fatalf("%s goes to %q, which is not there", m.lease.Key, m.to)
			case m.any && !late[o.Key]:
				t.Fatalf("%s is taken whatever its owner does", m.lease.Key)
			case m.gracious && (o.CheckpointOwner != "" || expired || o.Owner == "" || o.Owner == m.to):
				t.Fatalf("%+v is handed over to %s", o, m.to)
			case !m.gracious && o.holder() != "" && !expired && !late[o.Key]:
				t.Fatalf("%+v is taken from a living owner", o)
			}
			moved[m.lease.Key] = true
			if f.byID[o.Owner] != nil {
				count[o.Owner]--
			}
			count[m.to]++
		}
		before := map[string]int{}
		for _, m := range newFleet(d.all, d.rows, d.now).members {
			before[m.id] = m.leases
		}
		for id, n := range count {
			if n > d.lim.maxLeases && n > before[id] {
				t.Fatalf("%s gets more than it may: %d", id, n)
			}
		}
		waiting := 0
		for _, o := range d.all {
			if !o.ended() && (o.holder() == "" || d.now.Sub(o.changed) > d.lim.failover || late[o.Key]) && !moved[o.Key] {
				waiting++
			}
		}
		if waiting != unplaced {
			t.Fatalf("%d leases are left, and %d are said to be", waiting, unplaced)
		}
		room := 0
		for _, m := range f.members {
			room += max(0, d.lim.maxLeases-m.leases)
		}
		if unplaced > 0 && room > 0 {
			t.Fatalf("%d leases are left although there is room for %d", unplaced, room)
		}
	})
}

// TestExpiredGoElsewhere: the row of a worker that has died speaks for it for a minute,
// in which its leases must not be given back to it.
func TestExpiredGoElsewhere(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	fresh, expired := now.Add(-time.Second), now.Add(-11*time.Second)
	type has struct {
		owner   string
		changed time.Time
	}
	for _, tt := range []struct {
		name    string
		workers []string
		leases  []has // s0 and so on
		want    map[string]string
	}{
		{"to the one that lives, which has more", []string{"dead", "live"}, []has{{"live", fresh}, {"live", fresh}, {"dead", expired}}, map[string]string{"s2": "live"}},
		{"a free one, too", []string{"dead", "live"}, []has{{"live", fresh}, {"live", fresh}, {"dead", expired}, {"", fresh}}, map[string]string{"s2": "live", "s3": "live"}},
		{"one that renews others gets others", []string{"slow", "live"}, []has{{"slow", fresh}, {"slow", expired}, {"live", fresh}, {"live", fresh}, {"live", fresh}, {"", expired}, {"", expired}}, map[string]string{"s1": "live", "s5": "slow", "s6": "slow"}},
		{"nobody else is there", []string{"dead"}, []has{{"dead", expired}}, map[string]string{"s0": "dead"}},
		{"all are silent", []string{"a", "b"}, []has{{"a", expired}, {"b", expired}}, map[string]string{"s0": "a", "s1": "b"}},
	} {
		all := map[string]observed{}
		for i, h := range tt.leases {
			o := observed{changed: h.changed}
			o.Key, o.Owner, o.ThroughputKBps, o.Checkpoint.SequenceNumber = fmt.Sprint("s", i), h.owner, 10, "123"
			all[o.Key] = o
		}
		var rows []WorkerRow
		for _, id := range tt.workers {
			rows = append(rows, WorkerRow{ID: id, Updated: now})
		}
		moves, unplaced := assignFree(all, newFleet(all, rows, now), nil, limits{failover: 10 * time.Second, maxLeases: 1000}, now)
		got := map[string]string{}
		for _, m := range moves {
			got[m.lease.Key] = m.to
		}
		if !maps.Equal(got, tt.want) || unplaced != 0 {
			t.Errorf("%s: %v, %d left, want %v", tt.name, got, unplaced, tt.want)
		}
	}
}

// TestFleetComesToRest: a fleet of workers without measures comes to a balance
// and stays there.
func TestFleetComesToRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_700_000_000, 0)
		rng := rand.New(rand.NewPCG(uint64(rapid.IntRange(0, 1000).Draw(t, "seed")), 1))
		lim := limits{failover: 10 * time.Second, maxLeases: 1000}
		workers, shards := rapid.IntRange(1, 5).Draw(t, "workers"), rapid.IntRange(1, 24).Draw(t, "shards")
		var rows []WorkerRow
		for i := range workers {
			rows = append(rows, WorkerRow{ID: fmt.Sprint("w", i), Updated: now})
		}
		all := map[string]observed{}
		even := rapid.Bool().Draw(t, "even")
		for i := range shards {
			o := observed{changed: now}
			o.Key, o.Owner, o.Checkpoint.SequenceNumber = fmt.Sprintf("s%02d", i), "w0", "123"
			if !even {
				o.ThroughputKBps = rapid.Float64Range(1, 100).Draw(t, "rate")
			}
			all[o.Key] = o
		}
		still := 0
		for round := 0; still < 5; round++ {
			if round > 200 {
				t.Fatalf("no rest after %d rounds: %v", round, slices.Collect(maps.Values(all)))
			}
			moves := balanceFleet(all, newFleet(all, rows, now), lim, now, rng)
			still++
			for _, m := range moves {
				still = 0
				o := all[m.lease.Key]
				o.Owner = m.to
				all[m.lease.Key] = o
			}
		}
		if even {
			f := newFleet(all, rows, now)
			least, most := shards, 0
			for _, m := range f.members {
				least, most = min(least, m.leases), max(most, m.leases)
			}
			if most-least > 1 && float64(most) > float64(shards)/float64(workers)*(1+balanceThreshold) {
				t.Fatalf("%d shards on %d workers: from %d to %d", shards, workers, least, most)
			}
		}
	})
}
