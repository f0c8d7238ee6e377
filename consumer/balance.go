package consumer

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// balanceInput is all that [balance] knows. It can be written as JSON and played
// again.
type balanceInput struct {
	Leases  []balanceLease  `json:"leases"`
	Workers []balanceWorker `json:"workers"`
	Limits  balanceLimits   `json:"limits"`
}

// balanceLease is a lease of a shard that is to be read now.
type balanceLease struct {
	Key string `json:"key"`

	// Owner is the worker that has the lease, or gets it by a move that is under way;
	// "" if it needs one. A lease of a worker that is not in the input is left alone.
	Owner string `json:"owner,omitempty"`

	// Load is what the shard costs, in any unit.
	Load float64 `json:"load"`

	// Moving tells that a move is under way.
	Moving bool `json:"moving,omitempty"`

	// Not are workers that cannot have it now.
	Not []string `json:"not,omitempty"`

	// Rested is the time since the last move from one live worker to another.
	Rested time.Duration `json:"rested"`
}

// balanceWorker is a worker that lives.
type balanceWorker struct {
	ID string `json:"id"`

	// MaxLeases bounds its leases; 0 if nothing does.
	MaxLeases int `json:"max_leases,omitempty"`
}

// balanceLimits bound what [balance] proposes.
type balanceLimits struct {
	MaxLoad   float64       `json:"max_load"`   // of a worker, in means: above it leases move
	Spread    float64       `json:"spread"`     // by which numbers of leases may differ, in means; 1 lease always
	MinGain   float64       `json:"min_gain"`   // by which a move must lower the higher of two loads, in parts of it
	MaxMoving float64       `json:"max_moving"` // of all leases, moving at one time; 1 lease always
	CoolDown  time.Duration `json:"cool_down"`  // between two moves of a lease
}

func defaultBalanceLimits() balanceLimits {
	return balanceLimits{MaxLoad: 1.15, Spread: 0.10, MinGain: 0.05, MaxMoving: 0.20, CoolDown: time.Minute}
}

// balancePlan is a plan with what it was made of, as it is logged.
type balancePlan struct {
	Input balanceInput  `json:"input"`
	Moves []balanceMove `json:"moves"`
}

// balanceMove gives a lease to a worker. From is "" if the lease has no owner.
type balanceMove struct {
	Lease string `json:"lease"`
	From  string `json:"from,omitempty"`
	To    string `json:"to"`
}

// balance says which leases go to which workers. It is a pure function: the order of
// its input does not matter.
//
// First, leases without an owner get one, as far as there is room. Then the numbers of
// leases are brought together with the fewest moves that do it. Last, load is taken from
// the worker that has most, by a move or by an exchange of two leases, as long
// as that helps enough. What lies within the limits stays where it is.
func balance(in balanceInput) []balanceMove {
	b := newBalancer(in)
	b.place()
	b.even()
	b.level()
	return b.moves
}

type balancer struct {
	lim     balanceLimits
	workers []*side
	free    []*weighed
	spread  int // by which numbers of leases may differ
	mean    float64
	budget  int // moves of leases that have an owner
	moves   []balanceMove
}

// side is a worker with what it has after the moves so far.
type side struct {
	id     string
	max    int
	load   float64
	leases []*weighed
}

func (s *side) full() bool { return len(s.leases) >= s.max }

// weighed is a lease with its load.
type weighed struct {
	key   string
	load  float64
	fixed bool
	not   []string
}

// fits reports whether the lease can go to a worker, as far as it is concerned.
func (l *weighed) fits(s *side) bool { return !slices.Contains(l.not, s.id) }

func newBalancer(in balanceInput) *balancer {
	b := &balancer{lim: in.Limits}
	byID := map[string]*side{}
	for _, w := range in.Workers {
		if byID[w.ID] == nil {
			byID[w.ID] = &side{id: w.ID, max: cmp.Or(w.MaxLeases, math.MaxInt)}
			b.workers = append(b.workers, byID[w.ID])
		}
	}
	slices.SortFunc(b.workers, func(x, y *side) int { return cmp.Compare(x.id, y.id) })

	leases := slices.SortedFunc(slices.Values(in.Leases), func(x, y balanceLease) int { return cmp.Compare(x.Key, y.Key) })
	total, moving := 0, 0
	sum := 0.0
	for _, l := range leases {
		s := byID[l.Owner]
		if s == nil && l.Owner != "" {
			continue
		}
		w := &weighed{key: l.Key, load: l.Load, not: l.Not, fixed: l.Moving || l.Rested < in.Limits.CoolDown}
		if l.Moving {
			moving++
		}
		total++
		sum += w.load
		if s == nil {
			b.free = append(b.free, w)
		} else {
			s.leases = append(s.leases, w)
			s.load += w.load
		}
	}
	if n := len(b.workers); n > 0 {
		b.spread = max(1, int(in.Limits.Spread*float64(total)/float64(n)))
		b.mean = sum / float64(n)
	}
	b.budget = max(1, int(in.Limits.MaxMoving*float64(total))) - moving
	return b
}

// place gives the leases without an owner to workers: the heaviest first, each to the
// worker with the least load among those with the fewest leases, or not many more.
func (b *balancer) place() {
	slices.SortStableFunc(b.free, func(x, y *weighed) int { return cmp.Compare(y.load, x.load) })
	for i, l := range b.free {
		fewest := math.MaxInt
		for _, s := range b.workers {
			if !s.full() && l.fits(s) {
				fewest = min(fewest, len(s.leases))
			}
		}
		// How far above the fewest a worker may be, and be brought down to the
		// mean by the leases that are still to come.
		slack := (len(b.free) - i - 1) / max(1, len(b.workers))
		var to *side
		for _, s := range b.workers {
			if s.full() || !l.fits(s) || len(s.leases) > fewest+slack {
				continue
			}
			if to == nil || s.load < to.load || s.load == to.load && len(s.leases) < len(to.leases) {
				to = s
			}
		}
		if to == nil {
			continue // no room anywhere
		}
		l.fixed = true // once is enough
		to.leases = append(to.leases, l)
		to.load += l.load
		b.moves = append(b.moves, balanceMove{Lease: l.key, To: to.id})
	}
}

// even brings the numbers of leases together.
func (b *balancer) even() {
	for b.budget > 0 {
		from := b.most(func(s *side) bool { return slices.ContainsFunc(s.leases, movable) })
		to := b.fewest()
		if from == nil || to == nil || len(from.leases)-len(to.leases) <= b.spread {
			return
		}
		// The lease whose move brings the two loads closest together.
		best, bestGap := -1, 0.0
		for i, l := range from.leases {
			gap := math.Abs(from.load - to.load - 2*l.load)
			if movable(l) && l.fits(to) && (best < 0 || gap < bestGap) {
				best, bestGap = i, gap
			}
		}
		if best < 0 {
			return
		}
		b.move(from, to, best)
	}
}

func movable(l *weighed) bool { return !l.fixed }

// most returns the worker with the most leases, of those that can give.
func (b *balancer) most(can func(*side) bool) *side {
	var most *side
	for _, s := range b.workers {
		if can(s) && (most == nil || cmp.Or(cmp.Compare(len(s.leases), len(most.leases)), cmp.Compare(s.load, most.load)) > 0) {
			most = s
		}
	}
	return most
}

// fewest returns the worker with the fewest leases, of those with room.
func (b *balancer) fewest() *side {
	var few *side
	for _, s := range b.workers {
		if !s.full() && (few == nil || cmp.Or(cmp.Compare(len(s.leases), len(few.leases)), cmp.Compare(s.load, few.load)) < 0) {
			few = s
		}
	}
	return few
}

// level takes load from the worker that has most.
func (b *balancer) level() {
	for b.budget > 0 {
		var from *side
		for _, s := range b.workers {
			if from == nil || s.load > from.load {
				from = s
			}
		}
		if from == nil || from.load <= b.lim.MaxLoad*b.mean {
			return
		}
		to, give, back := b.relief(from)
		if to == nil {
			return
		}
		b.move(from, to, give)
		if back >= 0 {
			b.move(to, from, back)
		}
	}
}

// relief returns what lowers the higher of two loads most: a move, or if none
// is allowed and helps enough, an exchange. back is less than 0 for a move.
func (b *balancer) relief(from *side) (to *side, give, back int) {
	limit := from.load * (1 - b.lim.MinGain)
	best := math.Inf(1)
	consider := func(s *side, i, j int, moved float64) {
		higher := max(from.load-moved, s.load+moved)
		if moved > 0 && higher <= limit && higher < best {
			to, give, back, best = s, i, j, higher
		}
	}
	for _, s := range b.workers {
		if s == from || s.full() || !b.mayGive(from, s) {
			continue
		}
		for i, l := range from.leases {
			if movable(l) && l.fits(s) {
				consider(s, i, -1, l.load)
			}
		}
	}
	if to != nil || b.budget < 2 {
		return to, give, back
	}
	for _, s := range b.workers {
		if s == from || s.full() || from.full() {
			continue // each would have one lease more for a moment
		}
		for i, l := range from.leases {
			if !movable(l) || !l.fits(s) {
				continue
			}
			for j, other := range s.leases {
				if movable(other) && other.fits(from) {
					consider(s, i, j, l.load-other.load)
				}
			}
		}
	}
	return to, give, back
}

// mayGive reports whether numbers of leases stay close enough together if one
// goes from one worker to another.
func (b *balancer) mayGive(from, to *side) bool {
	most, fewest := 0, math.MaxInt
	for _, s := range b.workers {
		n := len(s.leases)
		switch s {
		case from:
			n--
		case to:
			n++
		}
		most = max(most, n)
		if n < s.max {
			fewest = min(fewest, n)
		}
	}
	return fewest == math.MaxInt || most-fewest <= b.spread
}

// move moves the lease with index i.
func (b *balancer) move(from, to *side, i int) {
	l := from.leases[i]
	from.leases = slices.Delete(from.leases, i, i+1)
	moved := *l
	moved.fixed = true // once is enough
	to.leases = append(to.leases, &moved)
	from.load -= l.load
	to.load += l.load
	b.budget--
	b.moves = append(b.moves, balanceMove{Lease: l.key, From: from.id, To: to.id})
}
