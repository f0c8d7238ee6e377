package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// A checkpoint moves what the journal's ring holds to where it stays: records
// into runs, all else into a snapshot, which names the runs. The order is what
// makes a crash harmless: runs, then the snapshot, then the ring is reused and
// what no snapshot names is removed. A run that no snapshot names is left from a
// checkpoint that did not come to its end; what it holds is still in the ring.
//
// Checkpoints run beside commits. They hold the state's lock twice for a moment:
// to clone the state, and to put the runs in the place of the index.

// checkpointEvery is the longest that something changed stays in the journal
// alone: it bounds how long the next start takes.
const checkpointEvery = 15 * time.Minute

// checkpoints tells the loop that writes them when to, and others how it went.
type checkpoints struct {
	want chan struct{} // of capacity 1: one is wanted

	mu    sync.Mutex    // guards what follows
	ended chan struct{} // closed and replaced whenever one has ended
	lsn   journal.LSN   // of the last that succeeded
	at    time.Time     // of its end
	err   error         // of the last one; nil if it succeeded
}

func (c *checkpoints) init(lsn journal.LSN, now time.Time) {
	c.want, c.ended, c.lsn, c.at = make(chan struct{}, 1), make(chan struct{}), lsn, now
}

// ask asks for a checkpoint and returns what is closed when the one after next
// at the latest has ended.
func (c *checkpoints) ask() (ended <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case c.want <- struct{}{}:
	default: // asked for already
	}
	return c.ended
}

func (c *checkpoints) last() (lsn journal.LSN, at time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lsn, c.at, c.err
}

func (c *checkpoints) end(lsn journal.LSN, now time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err = err; err == nil {
		c.lsn, c.at = lsn, now
	}
	close(c.ended)
	c.ended = make(chan struct{})
}

// checkpointLoop writes checkpoints as they are wanted until ctx ends.
func (s *Store) checkpointLoop(ctx context.Context) {
	defer close(s.noCheckpoints)
	for {
		select {
		case <-s.checkpoints.want:
			s.checkpoint()
		case do := <-s.between:
			do()
		case <-s.failed:
			return
		case <-ctx.Done():
			return
		}
	}
}

// checkpoint writes a checkpoint of what is applied. A disk that is full, or a
// process that has too many files open, is tried again when the next is wanted;
// every other failure is final.
func (s *Store) checkpoint() {
	s.mu.Lock() // for writing: a clone marks the tables' trees as shared
	st, lsn := s.state.Clone(), s.at
	s.mu.Unlock()
	err := s.writeCheckpoint(st, lsn)
	s.room.note(s, err)
	s.checkpoints.end(lsn, s.clock.Now(), err)
	switch {
	case err == nil:
	case vfs.Passing(err):
		s.log.Error("cannot write a checkpoint; writes are refused once the journal is full", slog.Any("err", err))
	default:
		s.fail(err)
	}
}

func (s *Store) writeCheckpoint(st *state.State, lsn journal.LSN) error {
	gone := expired(st.Horizons(s.trimTime()))
	old := s.runs.Dead(gone)
	done, _, _ := s.checkpoints.last()
	crowded := s.runs.Crowded(gone)
	if lsn == done && len(old) == 0 && len(crowded) == 0 && s.snapshots.has(lsn) {
		return nil // nothing has happened since
	}
	if lsn == done && s.snapshots.isHeld(lsn) {
		return nil // one with other runs would take the name of what somebody reads
	}
	fresh, err := s.writeRuns(st)
	if err == nil && len(old) == 0 && len(crowded) > 0 {
		old = crowded
		var merged *runs.Run
		if merged, err = runs.Merge(s.opts.FS, s.runsDir(), s.footers, crowded, gone); merged != nil {
			fresh = append(fresh, merged)
		}
	}
	named := false
	if err == nil {
		st.Forget(st.Seq())
		live := slices.DeleteFunc(s.runs.Live(), func(r *runs.Run) bool { return slices.Contains(old, r) })
		named, err = s.snapshots.write(st, lsn, append(live, fresh...))
	}
	if err != nil && !named {
		return errors.Join(err, remove(fresh))
	}
	if err != nil {
		return err // and the runs stay: the next start knows whether they are needed
	}
	// In this order a reader, who looks at the index first, finds all.
	err = s.runs.Replace(old, fresh)
	s.mu.Lock()
	s.state.Forget(st.Seq())
	s.mu.Unlock()
	return errors.Join(err, s.j.Release(context.Background(), lsn), s.snapshots.prune())
}

// writeRuns writes the records that st has an index of, a run for each length of
// retention: what is in a run expires together.
func (s *Store) writeRuns(st *state.State) (fresh []*runs.Run, err error) {
	classes := make(map[time.Duration][]*state.Stream)
	for _, stream := range st.All() {
		for shard := range stream.Shards {
			if len(st.Log(stream.ID, shard).Refs()) > 0 {
				classes[stream.Retention] = append(classes[stream.Retention], stream)
				break
			}
		}
	}
	for class, streams := range classes {
		slices.SortFunc(streams, func(a, b *state.Stream) int { return cmp.Compare(a.ID, b.ID) })
		run, err := s.writeRun(st, uint32(class/time.Hour), streams)
		if err != nil {
			return fresh, err
		}
		if run != nil {
			fresh = append(fresh, run)
		}
	}
	return fresh, nil
}

// writeRun writes what streams have in the index, but for what has expired. It
// returns nil if nothing is left.
func (s *Store) writeRun(st *state.State, class uint32, streams []*state.Stream) (_ *runs.Run, err error) {
	first, last := uint64(math.MaxUint64), uint64(0)
	pick := func(stream *state.Stream, shard int) []state.Ref {
		return st.Log(stream.ID, shard).From(state.Position{}, stream.Horizon(s.trimTime()))
	}
	for _, stream := range streams {
		for shard := range stream.Shards {
			if refs := pick(stream, shard); len(refs) > 0 {
				first, last = min(first, refs[0].First), max(last, refs[len(refs)-1].Last())
			}
		}
	}
	if last == 0 {
		return nil, nil
	}
	w, err := runs.Create(s.opts.FS, s.runsDir(), runs.ID{First: first, Last: last, Class: class}, s.footers)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Abort())
		}
	}()
	for _, stream := range streams {
		for shard := range stream.Shards {
			key := runKey(stream.ID, shard)
			for _, ref := range pick(stream, shard) {
				b := runs.Batch{First: ref.First, Count: ref.Count, Arrival: ref.Arrival, CRC: ref.CRC}
				err := w.AddFrom(key, b, int(ref.Size), func(into []byte) error { return s.bodies.ReadInto(into, journal.LSN(ref.Pos)) })
				if err != nil {
					return nil, fmt.Errorf("records at journal position %d: %w", ref.Pos, err)
				}
			}
		}
	}
	return w.Finish()
}

// trimTime is the time at which what is removed for good is past retention. A
// frame that raises a retention keeps what had not expired when it arrived, and
// may be on its way: what it keeps must not be gone before it is here.
func (s *Store) trimTime() time.Time { return s.Aging().Add(-trimLag) }

// expired reports of what a run holds of a stream whether nothing of it can be
// read any more.
func expired(horizons map[uint64]int64) func(runs.StreamPart) bool {
	return func(p runs.StreamPart) bool {
		horizon, ok := horizons[p.Stream]
		return !ok || p.MaxArrival <= horizon
	}
}

// remove removes runs that nothing knows of.
func remove(fresh []*runs.Run) error {
	var errs []error
	for _, r := range fresh {
		errs = append(errs, r.Remove())
	}
	return errors.Join(errs...)
}
