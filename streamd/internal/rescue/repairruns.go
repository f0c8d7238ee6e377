package rescue

import (
	"fmt"
	"math"
	"slices"

	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// cover is which sequence indexes of each shard are in runs that are kept.
type cover map[runs.Key][][2]uint64

// add adds a batch of a run, whose batches come in order. In one that is whole,
// what lies between two of a shard's belongs to other shards.
func (c cover) add(k runs.Key, first, last uint64, whole bool) {
	spans := c[k]
	if n := len(spans); n > 0 && whole {
		spans[n-1][1] = last
		return
	}
	c[k] = append(spans, [2]uint64{first, last})
}

func (c cover) clone() cover {
	other := make(cover, len(c))
	for k, spans := range c {
		other[k] = slices.Clone(spans)
	}
	return other
}

func (c cover) has(k runs.Key, first uint64) bool {
	for _, s := range c[k] {
		if s[0] <= first && first <= s[1] {
			return true
		}
	}
	return false
}

// planRuns decides which runs the snapshot names.
func (r *repair) planRuns() error {
	have := make(cover)
	for _, run := range r.named {
		switch {
		case run.missing:
			r.snapshot = true
			r.step("take "+run.name+" out of the snapshot", r.missing(run.name))
			continue
		case run.Whole():
			r.live = append(r.live, run.name)
		default:
			r.snapshot = true
			r.planRewrite(run)
		}
		if !r.fallen() {
			continue
		}
		if err := r.cover(have, run); err != nil {
			return err
		}
	}
	if !r.fallen() {
		return nil
	}
	for _, name := range r.unnamed {
		if err := r.planUnnamed(have, name); err != nil {
			return err
		}
	}
	return nil
}

// cover takes down what is whole in a run.
func (r *repair) cover(have cover, run *runFile) error {
	own := make(cover)
	_, err := runs.Examine(r.fs, run.name, func(k runs.Key, b runs.Batch) error {
		own.add(k, b.First, b.Last(), run.Whole())
		return nil
	})
	for k, spans := range own {
		have[k] = append(have[k], spans...)
	}
	return err
}

// planRewrite makes a new run of what is whole in a damaged one.
func (r *repair) planRewrite(run *runFile) {
	r.drop(run.name)
	if run.Records == 0 {
		r.step("take "+run.name+" out of the snapshot: nothing in it is whole", r.missing(run.name))
		return
	}
	id, name := r.newID(run.ID)
	r.rewrites = append(r.rewrites, rewrite{run.name, id, name, nil})
	r.live = append(r.live, name)
	loses := r.losses(run.Lost)
	if len(run.Lost) == 0 && run.Torn {
		loses = append(loses, "what lay where it is damaged; the end of the file, which would say what that was, is damaged as well")
	}
	r.step(fmt.Sprintf("write %s anew, as %s, from the %d records that are whole", run.name, relative(r.dir, name), run.Records), loses...)
}

// planUnnamed keeps what the base lacks of a run that it does not name: it may
// be what others were merged into, or of a checkpoint after the base.
func (r *repair) planUnnamed(have cover, name string) error {
	replayed := r.baseSeq // what came later is in the journal
	if r.adopts() {
		replayed = math.MaxUint64
	}
	before := have.clone() // keep is asked once more when the run is written
	keep := func(k runs.Key, b runs.Batch) bool {
		return b.Last() <= replayed && !before.has(k, b.First) && r.base.State.Log(k.Stream, int(k.Shard)) != nil
	}
	own, last, kept := make(cover), make(map[runs.Key]uint64), uint64(0)
	x, err := runs.Examine(r.fs, name, func(k runs.Key, b runs.Batch) error {
		if keep(k, b) {
			kept += uint64(b.Count)
			own.add(k, b.First, b.Last(), false)
			last[k] = b.Last()
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch {
	case kept == 0:
		r.drop(name)
		return nil
	case kept == x.Records && x.Whole():
		r.live = append(r.live, name)
		r.step(fmt.Sprintf("put %s into the snapshot, with %d records", name, kept))
	default:
		r.drop(name)
		id, fresh := r.newID(x.ID)
		r.rewrites = append(r.rewrites, rewrite{name, id, fresh, keep})
		r.live = append(r.live, fresh)
		r.step(fmt.Sprintf("put %d records of %s into the snapshot, as %s", kept, name, relative(r.dir, fresh)), r.losses(x.Lost)...)
	}
	r.snapshot = true
	for k, l := range last {
		if l > r.baseSeq {
			r.adopt = append(r.adopt, runs.Loss{Key: k, Last: l})
		}
	}
	for k, spans := range own {
		have[k] = append(have[k], spans...)
	}
	return nil
}

// adopts reports whether records can be kept that are newer than the base: no
// frame behind it gives their numbers away once more.
func (r *repair) adopts() bool {
	return r.gap() > r.journal.Head && len(r.journal.Frames) == 0
}

func (r *repair) losses(lost []runs.Loss) []string {
	var loses []string
	for _, l := range lost {
		loses = append(loses, fmt.Sprintf("%d records of %s, with sequence indexes from %d to %d", l.Records, r.shard(l.Key), l.First, l.Last))
	}
	return loses
}

// missing says what a run has held that cannot be read.
func (r *repair) missing(name string) string {
	id, ok := runs.ParseName(name)
	if !ok {
		return "its records"
	}
	return fmt.Sprintf("its records, with sequence indexes from %d to %d, of streams that keep them for %d hours", id.First, id.Last, id.Class)
}

// encode returns the snapshot with other runs.
func (r *repair) encode() ([]byte, error) {
	s := store.Snapshot{LSN: r.base.LSN, State: r.base.State}
	for _, name := range r.live {
		s.Runs = append(s.Runs, relative(r.path(store.RunsDir), name))
	}
	for _, a := range r.adopt {
		s.State.Adopt(a.Stream, int(a.Shard), a.Last)
	}
	return s.Encode()
}
