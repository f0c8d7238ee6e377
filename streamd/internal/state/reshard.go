package state

import (
	"slices"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// reshaper changes the shards of a stream. It works on a copy: streams are
// immutable.
type reshaper struct {
	shards []Shard
	open   []int
	at     time.Time
}

func (s *Stream) reshape(at time.Time) *reshaper {
	return &reshaper{shards: slices.Clone(s.Shards), open: slices.Clone(s.open), at: at}
}

// openInitial opens the shards of a new stream. Their creation second lies two
// seconds back, as on AWS, so that a first record sorts above the shard's
// starting number.
func (r *reshaper) openInitial(count int) {
	for i, rng := range hashkey.Uniform(count) {
		r.shards = append(r.shards, Shard{
			Index: i, Parent: NoShard, AdjacentParent: NoShard, Range: rng,
			CreateSecond: r.at.Unix() - 2, Opened: r.at,
		})
		r.open = append(r.open, i)
	}
}

// close closes a shard and returns the creation second that its children need:
// above every number of the shard, since the creation second decides first.
func (r *reshaper) close(i int) int64 {
	sh := &r.shards[i]
	sh.Closed = r.at
	sh.CloseSecond = max(r.at.Unix(), sh.CreateSecond)
	return sh.CloseSecond + 1
}

func (r *reshaper) add(parent, adjacent int, rng hashkey.Range, create int64) int {
	i := len(r.shards)
	r.shards = append(r.shards, Shard{
		Index: i, Parent: parent, AdjacentParent: adjacent, Range: rng,
		CreateSecond: create, Opened: r.at,
	})
	return i
}

// split closes the shard at place p of the open shards and opens two: up to,
// and from, hash key h.
func (r *reshaper) split(p int, h hashkey.Key) {
	i := r.open[p]
	create := r.close(i)
	rng := r.shards[i].Range
	left := r.add(i, NoShard, hashkey.Range{Start: rng.Start, End: h.Sub(1)}, create)
	right := r.add(i, NoShard, hashkey.Range{Start: h, End: rng.End}, create)
	r.open = slices.Replace(r.open, p, p+1, left, right)
}

// merge closes the shards at places p and p+1 of the open shards and opens one.
func (r *reshaper) merge(p int) {
	a, b := r.open[p], r.open[p+1]
	create := max(r.close(a), r.close(b))
	rng := hashkey.Range{Start: r.shards[a].Range.Start, End: r.shards[b].Range.End}
	r.open = slices.Replace(r.open, p, p+2, r.add(a, b, rng, create))
}

// splittable reports whether the API lets a shard be split at h: both parts
// would hold more than one hash key, or nearly so.
func splittable(rng hashkey.Range, h hashkey.Key) bool {
	return rng.Start != hashkey.Max && rng.Start.Add(1).Less(h) && h.Less(rng.End)
}

// uniform splits and merges until count open shards divide the hash space
// evenly. A border that lies too close to one that exists to be split off
// stays where it is.
func (r *reshaper) uniform(count int) {
	targets := hashkey.Uniform(count)
	p := 0
	for _, t := range targets[1:] {
		for !r.shards[r.open[p]].Range.Contains(t.Start) {
			p++
		}
		if splittable(r.shards[r.open[p]].Range, t.Start) {
			r.split(p, t.Start)
		}
	}
	p = 0
	for _, t := range targets {
		for p+1 < len(r.open) && t.Contains(inner(r.shards[r.open[p]].Range)) && t.Contains(inner(r.shards[r.open[p+1]].Range)) {
			r.merge(p)
		}
		if p < len(r.open) && t.Contains(inner(r.shards[r.open[p]].Range)) {
			p++
		}
	}
}

// inner returns a hash key that says which target range a piece belongs to:
// its second one, since a piece's border may lie one before the target's.
func inner(rng hashkey.Range) hashkey.Key {
	if rng.Start == rng.End {
		return rng.Start
	}
	return rng.Start.Add(1)
}

// apply gives next, which is not published yet, the shards of r.
func (r *reshaper) apply(next *Stream) { next.Shards, next.open = r.shards, r.open }
