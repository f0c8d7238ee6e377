package consumer

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// observed is a lease with what this worker has seen of it. Liveness is judged
// by the worker's own monotonic clock and the counter alone: no clock of
// another machine enters.
type observed struct {
	Lease
	changed time.Time // when the present counter was first seen
}

// observe carries what was seen of leases over to a new listing of them.
func observe(before map[string]observed, listed []Lease, now time.Time) map[string]observed {
	after := make(map[string]observed, len(listed))
	for _, l := range listed {
		o := observed{Lease: l, changed: now}
		if b, ok := before[l.Key]; ok && b.Counter == l.Counter && b.Owner == l.Owner {
			o.changed = b.changed
		}
		after[l.Key] = o
	}
	return after
}

// how a lease is come by.
type how int

const (
	takeFree    how = iota // it has no owner, or its owner was an earlier run of this worker
	takeExpired            // its owner has not renewed it
	takeStolen             // its owner has more than its share
)

func (h how) String() string {
	switch h {
	case takeFree:
		return "free"
	case takeExpired:
		return "expired"
	default:
		return "stolen"
	}
}

// take is a lease that a worker should try to take.
type take struct {
	lease Lease
	how   how
}

// worker is the one that plans.
type worker struct {
	name        string
	incarnation string
	held        func(key string) bool

	// fresh tells that the worker plans for the first time. What its name owns
	// then is from a run before this one. Later it is another process that
	// runs under the same name, or one that was thought dead; to take from it
	// at once would be answered in kind, for ever.
	fresh bool
}

// limits bound what plan proposes.
type limits struct {
	failover  time.Duration
	maxLeases int
	maxSteal  int
}

// readable reports whether a shard may be read: all its parents that have a
// lease have been read to their end. A parent without a lease does not block;
// it is out of retention, or lies before where the application began.
func readable(l Lease, all map[string]observed) bool {
	for _, p := range l.Parents {
		if parent, ok := all[p]; ok && !parent.ended() {
			return false
		}
	}
	return true
}

// plan returns the leases that me should take now, by the rules of the
// official library's 2.x: each worker's share is the number of leases divided
// by that of workers, rounded up; what has no living owner is taken first; only
// if there is nothing of that kind, leases are stolen from the worker that has
// most. It is a pure function of its arguments and rng.
//
// It differs in three points. Leases of ended shards, of shards whose parents
// have not ended, and those that are invalid neither count nor move, as nobody
// reads them. Leases
// that have waited for 3 F for an owner, as seen by this worker, are taken beyond the share: a
// worker that should take them does not. And what is to be stolen is chosen
// lease by lease, each from the worker that has most by then.
//
// Source: amazon-kinesis-client 2.7, DynamoDBLeaseTaker.
func plan(all map[string]observed, me worker, now time.Time, lim limits, rng *rand.Rand) []take {
	var free, overdue []take
	mine := 0
	owned := map[string][]Lease{} // by workers that live, other than me
	total := 0
	for _, key := range slices.Sorted(maps.Keys(all)) {
		o := all[key]
		if o.ended() || o.Invalid != nil || !readable(o.Lease, all) {
			continue
		}
		total++
		age := now.Sub(o.changed)
		switch {
		case me.held(key):
			mine++
			continue
		case o.Owner == "" || o.Owner == me.name && (me.fresh || o.Incarnation == me.incarnation):
			free = append(free, take{o.Lease, takeFree})
		case age > lim.failover:
			free = append(free, take{o.Lease, takeExpired})
		default:
			owner := o.Owner
			if owner == me.name {
				owner += "/" + o.Incarnation // another process, though by mistake
			}
			owned[owner] = append(owned[owner], o.Lease)
			continue
		}
		if age > 3*lim.failover {
			overdue = append(overdue, free[len(free)-1])
			free = free[:len(free)-1]
		}
	}

	workers := len(owned) + 1
	share := max(1, (total+workers-1)/workers)
	share = min(share, lim.maxLeases)

	takes := overdue[:min(len(overdue), max(0, lim.maxLeases-mine))]
	need := share - mine - len(takes)
	if need <= 0 {
		return takes
	}
	if len(free)+len(overdue) > 0 {
		rng.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
		return append(takes, free[:min(need, len(free))]...)
	}
	return steal(owned, share, min(need, lim.maxSteal), need, rng)
}

// steal chooses up to n leases of other workers.
func steal(owned map[string][]Lease, share, n, need int, rng *rand.Rand) []take {
	var takes []take
	names := slices.Sorted(maps.Keys(owned))
	for _, name := range names {
		ls := owned[name]
		rng.Shuffle(len(ls), func(i, j int) { ls[i], ls[j] = ls[j], ls[i] })
	}
	for len(takes) < n && len(names) > 0 {
		victim := slices.MaxFunc(names, func(a, b string) int {
			return cmp.Or(cmp.Compare(len(owned[a]), len(owned[b])), cmp.Compare(b, a))
		})
		ls := owned[victim]
		// A worker with just its share gives one lease, to one that lacks two
		// or more; otherwise rounding up would leave the last worker with
		// nothing.
		if len(ls) < share || len(ls) == share && (need < 2 || len(takes) > 0) || len(ls) < 2 {
			break
		}
		takes = append(takes, take{ls[0], takeStolen})
		owned[victim] = ls[1:]
	}
	return takes
}
