package consumer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
)

// met is a stamped user record that the reader has met.
type met struct {
	seq   string // of its Kinesis record
	stamp aggregation.Stamp
	key   hashkey.Key
	at    time.Time
}

// trail keeps the marks of the place up to which a shard is acknowledged, behind
// the reader, who has marks of its own. Marks that are stored must not know more
// than the checkpoint beside them, or records that were not delivered would be
// taken for copies.
//
// Its marks stand at the beginning of a Kinesis record: that of the checkpoint,
// which the next reader reads again.
type trail struct {
	mu      sync.Mutex // guards all below
	marks   *aggregation.Marks
	log     []met  // behind marks, in order
	evicted uint64 // of marks, when they were last asked
}

func newTrail(m *aggregation.Marks) *trail { return &trail{marks: m.Clone(), evicted: m.Evicted()} }

// add notes what a batch holds. acked is the place up to which all is
// acknowledged.
func (t *trail) add(batch []met, acked Checkpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.followLocked(acked) // so that the log holds what is in flight, and no more
	t.log = append(t.log, batch...)
}

// restart returns the trail of a reader that begins at a place up to which all is
// acknowledged, after the one before.
func (t *trail) restart(acked Checkpoint) *trail {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.followLocked(acked)
	return &trail{marks: t.marks.Clone(), evicted: t.evicted}
}

// encode returns the marks as they are at a checkpoint, as they are stored
// beside it, and how many lanes had to make room since the last call.
func (t *trail) encode(at Checkpoint) (stored []byte, evicted uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.followLocked(at)
	stored = binary.AppendUvarint(nil, uint64(len(at.SequenceNumber)))
	stored = append(stored, at.SequenceNumber...)
	stored = binary.AppendUvarint(stored, uint64(at.SubSequenceNumber))
	stored, _ = t.marks.AppendBinary(stored) // its error is always nil
	evicted = t.marks.Evicted() - t.evicted
	t.evicted = t.marks.Evicted()
	return stored, evicted
}

// followLocked moves the marks to the beginning of the Kinesis record at a
// checkpoint, or to the end of the shard.
func (t *trail) followLocked(at Checkpoint) {
	if at.IsSentinel() && at.SequenceNumber != ShardEnd {
		return
	}
	n := 0
	for ; n < len(t.log); n++ {
		m := &t.log[n]
		if at.SequenceNumber != ShardEnd && seqno.Compare(m.seq, at.SequenceNumber) >= 0 {
			break
		}
		t.marks.Admit(&m.stamp, m.key, m.at)
	}
	t.log = append(t.log[:0], t.log[n:]...)
}

// parseMarks reads what encode has written. at is the checkpoint that they were
// stored with.
func parseMarks(stored []byte) (m *aggregation.Marks, at Checkpoint, err error) {
	bad := errors.New("consumer: stored marks are damaged")
	n, size := binary.Uvarint(stored)
	if size <= 0 || n > uint64(len(stored)-size) {
		return nil, at, bad
	}
	stored = stored[size:]
	at.SequenceNumber, stored = string(stored[:n]), stored[n:]
	sub, size := binary.Uvarint(stored)
	if size <= 0 || int64(sub) < 0 {
		return nil, at, bad
	}
	at.SubSequenceNumber = int64(sub)
	if err := at.Validate(); err != nil {
		return nil, at, errors.Join(bad, err)
	}
	if m, err = aggregation.ParseMarks(stored[size:]); err != nil {
		return nil, at, errors.Join(bad, err)
	}
	return m, at, nil
}

// marksAt returns the marks with which the reading of a shard begins: those that
// are stored with its lease, or at the beginning of the shard those of its
// parents.
func (c *Consumer) marksAt(ctx context.Context, l Lease, start Checkpoint, keys hashkey.Range) (*aggregation.Marks, error) {
	if len(l.Marks) > 0 {
		m, at, err := parseMarks(l.Marks)
		switch {
		case err != nil:
			c.log.Warn("marks not used; copies may be delivered", lease(l.Key), errAttr(err))
		case at.Compare(start) > 0 || m.Keys() != keys:
			// Somebody has set the checkpoint back: with these marks, what is
			// wanted again would be taken for copies.
			c.log.Warn("marks of another place not used; copies may be delivered", lease(l.Key))
		default:
			return m, nil
		}
		return aggregation.NewMarks(keys), nil
	}
	if start.SequenceNumber != TrimHorizon {
		return aggregation.NewMarks(keys), nil
	}
	var parents []*aggregation.Marks
	for _, key := range l.Parents {
		p, ok, err := c.getLease(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("read the marks of parent %q: %w", key, err)
		}
		if !ok || !p.ended() || len(p.Marks) == 0 {
			continue
		}
		m, _, err := parseMarks(p.Marks)
		if err != nil {
			c.log.Warn("marks of a parent not used; copies may be delivered", lease(key), errAttr(err))
			continue
		}
		parents = append(parents, m)
	}
	return aggregation.NewMarks(keys, parents...), nil
}

// startMarks gives a reader its marks, and makes the trail behind it. It reports
// false if ctx ended first.
func (s *shardConsumer) startMarks(ctx context.Context, dec *decoder, start Checkpoint) bool {
	if !s.c.cfg.DropDuplicates {
		return true
	}
	if t := s.h.trail.Load(); t != nil {
		// Of the processor before this one: what is stored may know less.
		t = t.restart(start)
		dec.marks = t.marks.Clone()
		s.h.trail.Store(t)
		return true
	}
	var failures streak
	for {
		m, err := s.c.marksAt(ctx, *s.h.stored.Load(), start, dec.rng)
		if err == nil {
			dec.marks = m
			s.h.trail.Store(newTrail(m))
			return true
		}
		if failures.fail() && ctx.Err() == nil {
			s.c.log.Warn("marks not read; trying again", lease(s.h.key), errAttr(err))
		}
		if sleep(ctx, readPolicy.Wait(failures.n, chance)) != nil {
			return false
		}
	}
}

// addMarks gives w the marks of its checkpoint, if they are kept.
func (h *holding) addMarks(w *Write) {
	if t := h.trail.Load(); t != nil && w.Checkpoint != (Checkpoint{}) {
		var evicted uint64
		w.Marks, evicted = t.encode(w.Checkpoint)
		h.c.stats.marksEvicted.Add(int64(evicted))
	}
}
