package producer_test

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/producer"
)

// simModes is what a history may be about besides the usual: other promises of
// order, and streams that distribute records themselves.
type simModes struct {
	auto  bool // the stream is AUTO from the start
	turns bool // it becomes AUTO, or ceases to be
	mute  bool // it may not be described
}

// drawOrder draws the promises of a history, without a change to what else its
// seed draws.
func drawOrder(seed uint64, pl *simPlan) {
	if isPlain(seed) {
		return
	}
	r := rand.New(rand.NewPCG(seed, 5))
	mode := r.IntN(12)
	alone := pl.cfg.DuplicateStamps
	switch {
	case mode == 0 && !alone:
		pl.cfg.Order = producer.Unordered
	case mode == 1:
		pl.cfg.Order = producer.Strict
	case mode == 2 && !alone:
		pl.modes.auto = true
	case mode == 3 && !alone:
		pl.modes.turns = true
	case mode == 4 && !alone:
		pl.cfg.AckInRange = true
	case mode == 6 && pl.close == "" && pl.cfg.RecordTTL < 0:
		pl.cfg.Spool = producer.SpoolConfig{
			Dir: "/spool", MaxBytes: 65536 + r.Int64N(1<<20),
			Mode: []producer.SpoolMode{producer.SpoolOnPressure, producer.SpoolAlways}[r.IntN(2)], Fsync: r.IntN(2) == 0,
		}
		pl.cfg = producer.SpoolOn(pl.cfg, vfstest.NewDisk())
	case mode == 7:
		pl.cfg.FailIfPaused = true
		pl.outages = max(pl.outages, 1)
	case mode >= 8 && (pl.fails() || pl.poison):
		pl.cfg.OnFailure = producer.StopKeyed
	case mode == 8 && pl.cfg.Compression == producer.CompressionNone: // the service looks for poison in plain text
		pl.poison = true
		pl.cfg.OnFailure = producer.StopKeyed
	case mode == 5:
		pl.cfg.ReorderGuard = 7 * time.Second // longer than anything is late
	}
	pl.modes.mute = r.IntN(3) == 0
	pl.cfg.AggregateOnAuto = (pl.modes.auto || pl.modes.turns) && r.IntN(3) == 0
}

// unkept says whether the order of keys is not promised.
func (pl *simPlan) unkept() bool {
	return pl.cfg.Order == producer.Unordered || pl.modes.auto || pl.modes.turns
}

// checkGapless: when a record failed, those of its key that had been put by
// then failed, too.
func (h *simHistory) checkGapless() {
	for key, k := range h.keys {
		if !ordered(key) {
			continue
		}
		var gap time.Duration // when the last record before failed
		var hole *simFate
		for _, f := range k.fates {
			switch {
			case f.reports == 0:
			case f.result.Err != nil:
				if !f.batch && f.reportedAt > gap {
					gap, hole = f.reportedAt, f
				}
			case hole != nil && f.buffered > 0 && f.buffered < gap:
				h.complain("key %s: record %d was stored, and %d before it failed at %v, when it had been put", key, f.n, hole.n, gap)
				return
			}
		}
	}
}

// resume lets a stopped key go on, now and then.
func (x *simRun) resume(r *rand.Rand, u *producer.UserRecord, key string) {
	if r.IntN(4) > 0 || !x.p.ResumeKey(u.PartitionKey, u.ExplicitHashKey) {
		return
	}
	x.history.mu.Lock()
	defer x.history.mu.Unlock()
	x.history.resumed[key]++
}

// isPut notes that the records of a batch are put now: keys may have been resumed
// since they were drawn.
func (h *simHistory) isPut(batch []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, data := range batch {
		f := h.fates[data]
		f.resumed = h.resumed[f.key]
	}
}

// checkStops: of the records of a key that were put until it was resumed, none is
// stored behind one that failed.
func (h *simHistory) checkStops() {
	for key, k := range h.keys {
		if !ordered(key) {
			continue
		}
		var failed *simFate // the first since the key was resumed
		for _, f := range k.fates {
			if failed != nil && failed.resumed != f.resumed {
				failed = nil
			}
			switch {
			case f.reports == 0:
			case f.result.Err != nil && failed == nil:
				failed = f
			case f.result.Err == nil && failed != nil:
				h.complain("key %s: record %d was stored, and %d failed before it, with no leave to go on between them", key, f.n, failed.n)
				return
			}
			if errors.Is(f.result.Err, producer.ErrEarlierFailed) && !f.batch && f.reportedAt == f.buffered {
				h.refused++
			}
		}
	}
}

// checkLate: if a lane waits long enough after a failure that may hide a stored
// record, what was sent before another record does not stand behind it.
func (s *simService) checkLate(h *simHistory) {
	for _, sh := range s.shards {
		last := map[string]*simFate{} // the greatest record of a key so far
		for _, e := range sh.entries {
			for _, data := range e.send.records {
				f := h.fates[data]
				if f == nil || !ordered(f.key) {
					continue
				}
				l := last[f.key]
				if l == nil || f.n > l.n {
					last[f.key] = f
				} else if l.sends[0].at > e.send.at {
					h.complain("key %s: record %d, sent at %v, stands behind record %d, which was sent later", f.key, f.n, e.send.at, l.n)
				}
			}
		}
	}
}

// turn changes how the stream distributes records.
func (s *simService) turn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auto = !s.auto
	s.history.mu.Lock()
	s.history.resharded = true
	s.history.mu.Unlock()
}

// about names what is special about a history.
func (pl *simPlan) about() (names []string) {
	for name, is := range map[string]bool{
		"no aggregation":  pl.cfg.DisableAggregation,
		"stamps":          pl.cfg.DuplicateStamps,
		"compression":     pl.cfg.Compression != producer.CompressionNone,
		"no order":        pl.cfg.Order == producer.Unordered,
		"strict order":    pl.cfg.Order == producer.Strict,
		"AUTO":            pl.modes.auto || pl.modes.turns,
		"in range":        pl.cfg.AckInRange,
		"guard":           pl.cfg.ReorderGuard > 0,
		"spool":           pl.cfg.Spool.Dir != "",
		"fails if paused": pl.cfg.FailIfPaused,
		"stops keys":      pl.cfg.OnFailure == producer.StopKeyed,
		"recreation":      pl.recreate,
	} {
		if is {
			names = append(names, name)
		}
	}
	return names
}
