package runs

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/streamkit/streamkit/internal/vfs"
)

// What Crowded finds worth a merge.
const (
	smallRun  = 16 << 20 // neighbours that have so much together become one,
	fewRuns   = 4        // if they are not fewer than so many
	manyRuns  = 2000     // beyond so many, neighbours become one
	mergedRun = 1 << 30  // up to this size
)

// Crowded returns neighbours of one class that are to become one run, or a run
// of which more than half has expired: nil if there is nothing to do.
func (s *Set) Crowded(expired func(StreamPart) bool) []*Run {
	runs := s.list()
	limit := int64(smallRun)
	if len(runs) > manyRuns {
		limit = mergedRun
	}
	classes := make(map[uint32][]*Run)
	for _, r := range runs {
		classes[r.id.Class] = append(classes[r.id.Class], r)
		gone := uint64(0)
		for _, p := range r.streams {
			if expired(p) {
				gone += p.Bytes
			}
		}
		if 2*gone > r.trailer.bytes {
			return []*Run{r}
		}
	}
	for _, class := range classes {
		for i := range class {
			n, bytes := 0, int64(0)
			for i+n < len(class) && bytes+class[i+n].Size() <= limit {
				bytes += class[i+n].Size()
				n++
			}
			if n < fewRuns && (n < 2 || limit < mergedRun) {
				continue
			}
			if group := class[i : i+n]; !straddles(group, runs) {
				return group
			}
		}
	}
	return nil
}

// straddles reports whether a run of another class holds records of a stream of
// the group that may lie between those of the group, as after a change of the
// stream's retention. In one run, they would be passed over.
func straddles(group, runs []*Run) bool {
	first, last := group[0].id.First, uint64(0)
	streams := make(map[uint64]bool)
	for _, r := range group {
		first, last = min(first, r.id.First), max(last, r.id.Last)
		for _, p := range r.streams {
			streams[p.Stream] = true
		}
	}
	return slices.ContainsFunc(runs, func(r *Run) bool {
		return r.id.Class != group[0].id.Class && r.id.First <= last && r.id.Last >= first &&
			slices.ContainsFunc(r.streams, func(p StreamPart) bool { return streams[p.Stream] })
	})
}

// Merge writes one run with what is in those of one class, but for the streams
// that have expired. It returns nil if nothing is left. The runs stay.
func Merge(fsys vfs.FS, dir string, cache *Cache, in []*Run, expired func(StreamPart) bool) (_ *Run, err error) {
	type piece struct {
		Extent
		run *Run
	}
	var pieces []piece
	id := ID{First: in[0].id.First, Class: in[0].id.Class}
	for _, r := range in {
		id.First, id.Last, id.Merges = min(id.First, r.id.First), max(id.Last, r.id.Last), max(id.Merges, r.id.Merges+1)
		gone := make(map[uint64]bool)
		for _, p := range r.streams {
			gone[p.Stream] = expired(p)
		}
		if err := r.Extents(func(e Extent) bool {
			if !gone[e.Stream] {
				pieces = append(pieces, piece{e, r})
			}
			return true
		}); err != nil {
			return nil, err
		}
	}
	if len(pieces) == 0 {
		return nil, nil
	}
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Or(a.Compare(b.Key), cmp.Compare(a.First, b.First)) })
	w, err := Create(fsys, dir, id, cache)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Abort())
		}
	}()
	for _, p := range pieces {
		for from := p.First; from <= p.Last; {
			batches, err := p.run.Read(p.Key, from, math.MaxInt, writeSize)
			if err != nil {
				return nil, err
			}
			for _, b := range batches {
				if err := w.Add(p.Key, b); err != nil {
					return nil, err
				}
				from = b.Last() + 1
			}
		}
	}
	return w.Finish()
}
