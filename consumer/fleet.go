package consumer

import (
	"cmp"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// The settings of the official library's balance, at its defaults.
//
// Source: amazon-kinesis-client 3.5, WorkerUtilizationAwareAssignmentConfig.
const (
	balanceEvery     = 3   // rounds of assignment
	balanceThreshold = 0.1 // of the fleet's mean: no worker within it gives or gets for balance
	balanceDampening = 0.6 // of what a worker has too much moves at once
	statAlpha        = 0.5 // weight of the newest value in a mean
	handOverTimeout  = 30 * time.Second

	// loadMetric stands for the load of workers that measure nothing: their
	// share of what is read, so that the mean of the fleet is half of what
	// there can be.
	loadMetric = "T"
)

// member is a worker that a leader counts on, with its load.
type member struct {
	id         string
	leases     int
	throughput float64            // by weigh
	values     map[string]float64 // by measure
	limits     map[string]float64
}

// fleet is what a leader knows of its workers.
type fleet struct {
	members []*member // in order of their ids
	byID    map[string]*member
	mean    map[string]float64 // by measure, of those that have it
	share   float64            // mean throughput of a member
	weight  func(Lease) float64
}

// newFleet returns the workers of rows that are alive, loaded with the leases
// that they hold.
func newFleet(all map[string]observed, rows []WorkerRow, now time.Time) *fleet {
	f := &fleet{byID: map[string]*member{}, mean: map[string]float64{}, weight: weigh(all, !OfficialActive(rows, now))}
	for _, r := range rows {
		if !r.active(now) || r.failing() {
			continue
		}
		m := &member{id: r.ID, values: map[string]float64{}, limits: map[string]float64{}}
		for name, values := range r.Stats {
			m.values[name], m.limits[name] = smooth(values), float64(r.OperatingRange[name][0])
		}
		f.members = append(f.members, m)
		f.byID[m.id] = m
	}
	slices.SortFunc(f.members, func(a, b *member) int { return cmp.Compare(a.id, b.id) })
	total := 0.0
	for _, o := range byKey(all) {
		if m := f.byID[o.Owner]; m != nil && !o.ended() && o.Invalid == nil {
			m.leases++
			m.throughput += f.weight(o.Lease)
			total += f.weight(o.Lease)
		}
	}
	if len(f.members) == 0 {
		return f
	}
	f.share = total / float64(len(f.members))
	for _, m := range f.members {
		if len(m.values) == 0 {
			m.limits[loadMetric] = 100
			m.values[loadMetric] = 0
			if f.share > 0 {
				m.values[loadMetric] = 50 * m.throughput / f.share
			}
		}
	}
	f.average()
	return f
}

// smooth returns the mean of a measure's values in which newer ones weigh more.
// Failed ones do not count.
func smooth(values []float64) float64 {
	mean, any := 0.0, false
	for _, v := range values {
		switch {
		case v < 0:
		case !any:
			mean, any = v, true
		default:
			mean = statAlpha*v + (1-statAlpha)*mean
		}
	}
	return mean
}

// idleBusy is how much of the time a processor may take for its shard to cost what any
// other idle one does.
const idleBusy = 0.01

// weigh returns what a lease costs, in means of all leases: half of it by what is read
// from its shard, half by the time that its processor takes. What is not known yet counts
// as the mean. Without handler only what is read counts, as in the official library: two
// leaders with two measures would move leases to and fro.
func weigh(all map[string]observed, handler bool) func(Lease) float64 {
	read := inMeans(all, func(l Lease) float64 { return l.ThroughputKBps })
	if !handler {
		return read
	}
	busy := inMeans(all, func(l Lease) float64 {
		if l.Busy == 0 {
			return 0
		}
		return max(l.Busy, idleBusy)
	})
	return func(l Lease) float64 { return (read(l) + busy(l)) / 2 }
}

// inMeans returns a measure of leases in means of those of which it is known; 1 where it
// is not.
func inMeans(all map[string]observed, of func(Lease) float64) func(Lease) float64 {
	sum, n := 0.0, 0
	for _, o := range all {
		if v := of(o.Lease); v > 0 && !o.ended() && o.Invalid == nil {
			sum, n = sum+v, n+1
		}
	}
	return func(l Lease) float64 {
		if v := of(l); v > 0 && n > 0 {
			return v * float64(n) / sum
		}
		return 1
	}
}

// average brings the means up to date.
func (f *fleet) average() {
	sums, counts := map[string]float64{}, map[string]int{}
	for _, m := range f.members {
		for name, v := range m.values {
			sums[name] += v
			counts[name]++
		}
	}
	for name, sum := range sums {
		f.mean[name] = sum / float64(counts[name])
	}
}

// add changes a member's load by a lease of weight w; negative if it goes.
func (f *fleet) add(m *member, w float64) {
	for name, v := range m.values {
		switch {
		case m.throughput > 0:
			m.values[name] = max(0, v*(m.throughput+w)/m.throughput)
		case f.share > 0 && w > 0:
			m.values[name] = v + f.mean[name]*w/f.share
		}
	}
	m.throughput = max(0, m.throughput+w)
	if w > 0 {
		m.leases++
	} else {
		m.leases--
	}
}

// headroom is the factor by which a member could grow before one of its
// measures is at the fleet's mean.
func (f *fleet) headroom(m *member) float64 {
	least := math.Inf(1)
	for name, v := range m.values {
		if v > 0 {
			least = min(least, f.mean[name]/v)
		}
	}
	return least
}

// roomiest returns the member with the most headroom that may have one lease
// more and is not excepted, or nil.
func (f *fleet) roomiest(maxLeases int, except func(*member) bool) *member {
	var best *member
	for _, m := range f.members {
		if m.leases >= maxLeases || except(m) {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(f.headroom(m), f.headroom(best)), cmp.Compare(best.leases, m.leases)) > 0 {
			best = m
		}
	}
	return best
}

// silent returns the members that have let leases expire, and renew no other. Their
// rows speak for them for up to a minute after their death.
func (f *fleet) silent(all map[string]observed, failover time.Duration, now time.Time) map[*member]bool {
	out := map[*member]bool{}
	for _, o := range all {
		if m := f.byID[o.holder()]; m != nil && !o.ended() && now.Sub(o.changed) > failover {
			out[m] = true
		}
	}
	for _, o := range all {
		if m := f.byID[o.holder()]; m != nil && !o.ended() && now.Sub(o.changed) <= failover {
			delete(out, m)
		}
	}
	return out
}

// move is a decision about one lease.
type move struct {
	lease    Lease
	to       string
	gracious bool // its owner lives, and is to finish what it has begun
	any      bool // whatever the owner does meanwhile
}

// handOvers are the hand-overs that a leader has seen under way, by lease, and since when.
type handOvers map[string]handOver

type handOver struct {
	from, to string
	since    time.Time
}

// observe brings h up to date, and returns the leases whose hand-over takes too long.
func (h handOvers) observe(all map[string]observed, failover time.Duration, now time.Time) map[string]bool {
	late := map[string]bool{}
	for key, o := range all {
		if o.CheckpointOwner == "" {
			delete(h, key)
			continue
		}
		if was, ok := h[key]; !ok || was.from != o.CheckpointOwner || was.to != o.Owner {
			h[key] = handOver{o.CheckpointOwner, o.Owner, now}
		}
		late[key] = now.Sub(h[key].since) > handOverTimeout+failover
	}
	for key := range h {
		if _, ok := all[key]; !ok {
			delete(h, key)
		}
	}
	return late
}

// assignFree gives the leases that no worker holds, those not renewed for a
// failover time among them, to the workers with the most headroom, and ends
// hand-overs that take too long. unplaced counts those that fit nowhere.
//
// A worker that has let a lease expire does not get it again, and one that renews
// nothing gets none, as long as another has room. (The library gives the leases of a
// worker that has died back to it until its row is a minute old.)
//
// Leases of ended shards are left alone: nobody reads them.
//
// Source: amazon-kinesis-client 3.5, LeaseAssignmentManager,
// VarianceBasedLeaseAssignmentDecider.
func assignFree(all map[string]observed, f *fleet, late map[string]bool, lim limits, now time.Time) (moves []move, unplaced int) {
	var free []observed
	for key, o := range all {
		if o.ended() || o.Invalid != nil {
			continue
		}
		if o.holder() == "" || now.Sub(o.changed) > lim.failover || late[key] {
			free = append(free, o)
		}
	}
	slices.SortFunc(free, func(a, b observed) int {
		return cmp.Or(a.changed.Compare(b.changed), cmp.Compare(a.Key, b.Key))
	})
	silent := f.silent(all, lim.failover, now)
	for _, o := range free {
		w := f.weight(o.Lease)
		owner := f.byID[o.Owner]
		if m := owner; m != nil {
			if o.CheckpointOwner != "" {
				// It was to have the lease, and lives.
				moves = append(moves, move{lease: o.Lease, to: m.id, any: late[o.Key]})
				continue
			}
			f.add(m, -w) // it does not renew the lease, though its row is there
		}
		m := f.roomiest(lim.maxLeases, func(m *member) bool { return m == owner || silent[m] })
		if m == nil {
			m = f.roomiest(lim.maxLeases, func(*member) bool { return false })
		}
		if m == nil {
			unplaced++
			continue
		}
		f.add(m, w)
		moves = append(moves, move{lease: o.Lease, to: m.id, any: late[o.Key]})
	}
	return moves, unplaced
}

// balanceFleet has workers that have more than the fleet's mean hand leases over to
// those with the most headroom. A lease may move to where there is more than the
// mean then, if there is no more than where it was: the library would leave two
// leases with one of three workers. Each move makes the fleet more even, so
// there is an end to them.
//
// Source: amazon-kinesis-client 3.5, VarianceBasedLeaseAssignmentDecider.
func balanceFleet(all map[string]observed, f *fleet, lim limits, now time.Time, rng *rand.Rand) []move {
	f.average()
	metric, most := "", 0.0
	for _, name := range slices.Sorted(maps.Keys(f.mean)) {
		mean, uneven, much := f.mean[name], false, 0.0
		for _, m := range f.members {
			v, ok := m.values[name]
			if !ok {
				continue
			}
			uneven = uneven || v > mean*(1+balanceThreshold) || v < mean*(1-balanceThreshold) || v > m.limits[name]
			much += tooMuch(m, v, mean)
		}
		if uneven && much > most {
			metric, most = name, much
		}
	}
	if metric == "" {
		return nil
	}
	var moves []move
	givers := slices.SortedFunc(slices.Values(f.members), func(a, b *member) int {
		return cmp.Or(cmp.Compare(b.values[metric], a.values[metric]), cmp.Compare(a.id, b.id))
	})
	for _, giver := range givers {
		v, ok := giver.values[metric]
		much := tooMuch(giver, v, f.mean[metric])
		if !ok || much <= 0 {
			continue
		}
		for _, l := range choose(all, giver.id, much, f.weight, lim.failover, now, rng) {
			to := f.roomiest(lim.maxLeases, func(m *member) bool { return m == giver })
			if to == nil {
				return moves
			}
			w, before := f.weight(l), *to
			before.values = maps.Clone(to.values)
			f.add(to, w)
			left := *giver
			left.values = maps.Clone(giver.values)
			f.add(&left, -w)
			if to.values[metric] > max(f.mean[metric], left.values[metric])*(1+1e-9) {
				*to = before
				break
			}
			*giver = left
			moves = append(moves, move{lease: l, to: to.id, gracious: true})
		}
	}
	return moves
}

// tooMuch is the throughput that a member should give away, if its measure is v.
func tooMuch(m *member, v, mean float64) float64 {
	if v <= mean || v <= 0 {
		return 0
	}
	return m.throughput * (v - mean) / v * balanceDampening
}

// choose returns leases of a worker of no more than the given weight together,
// or the lightest one if each has more.
func choose(all map[string]observed, owner string, much float64, weight func(Lease) float64, failover time.Duration, now time.Time, rng *rand.Rand) []Lease {
	var own []Lease
	for _, key := range slices.Sorted(maps.Keys(all)) {
		o := all[key]
		if o.Owner == owner && o.CheckpointOwner == "" && !o.ended() && o.Invalid == nil && now.Sub(o.changed) <= failover {
			own = append(own, o.Lease)
		}
	}
	rng.Shuffle(len(own), func(i, j int) { own[i], own[j] = own[j], own[i] })
	var chosen []Lease
	sum := 0.0
	for _, l := range own {
		if w := weight(l); sum+w <= much {
			chosen, sum = append(chosen, l), sum+w
		}
	}
	if len(chosen) == 0 && len(own) > 0 {
		chosen = []Lease{slices.MinFunc(own, func(a, b Lease) int { return cmp.Compare(weight(a), weight(b)) })}
	}
	return chosen
}
