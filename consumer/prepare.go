package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// errNotExplicit is what Prepare answers where checkpoints are stored by themselves.
var errNotExplicit = errors.New("consumer: Prepare needs Config.ExplicitCheckpoints; otherwise the next checkpoint, which is stored by itself, removes what was prepared")

// Prepared is a place that [Shard.Prepare] has stored.
type Prepared struct {
	shard *Shard
	at    Checkpoint
}

// Checkpoint returns the place.
func (p *Prepared) Checkpoint() Checkpoint { return p.at }

// Commit makes the place the checkpoint, as [Shard.CommitTo] does, and so removes
// what was prepared.
func (p *Prepared) Commit(ctx context.Context) error { return p.shard.CommitTo(ctx, p.at) }

// Prepare is the first half of a checkpoint in two: it stores a place in the lease,
// with some bytes of the application's own, and leaves the checkpoint where it is.
// Between the two halves the application does what it has to do outside. If it dies
// there, the next processor of the shard finds in [Shard.Pending] what its
// predecessor was about to do, and can find out whether it was done.
//
// The place is as for CommitTo; the zero Checkpoint is the last one delivered. It
// returns when the write is done, with errors as for Commit. A later Prepare takes
// the place of this one, any checkpoint removes it. The state counts for the size of
// the lease, and so for the price of each write of it; keep it short. Prepare needs
// Config.ExplicitCheckpoints.
func (s *Shard) Prepare(ctx context.Context, at Checkpoint, state []byte) (*Prepared, error) {
	switch {
	case s.h == nil:
		return nil, errNoConsumer
	case !s.h.c.cfg.ExplicitCheckpoints:
		return nil, errNotExplicit
	}
	return s.h.prepare(ctx, s, at, state)
}

// Pending returns the place that was prepared and not committed, as it is stored
// now, or nil. In Initialize it is what the processor before has left.
func (s *Shard) Pending() *PendingCheckpoint {
	if s.h == nil {
		return nil
	}
	return s.h.stored.Load().Clone().Pending
}

func (h *holding) prepare(ctx context.Context, s *Shard, at Checkpoint, state []byte) (*Prepared, error) {
	if err := h.closedTo(s); err != nil {
		return nil, err
	}
	at, err := h.tracker.reach(at, h.stored.Load().Checkpoint)
	if err != nil {
		return nil, err
	}
	p := &PendingCheckpoint{Checkpoint: at, State: slices.Clone(state)}
	h.prepared.Store(p)
	err = h.await(ctx, s, func(l *Lease) bool { return p.equal(l.Pending) })
	if err != nil {
		return nil, fmt.Errorf("prepare checkpoint %v: %w", at, err)
	}
	return &Prepared{s, at}, nil
}

func (p *PendingCheckpoint) equal(o *PendingCheckpoint) bool {
	return o != nil && p.Checkpoint == o.Checkpoint && bytes.Equal(p.State, o.State)
}
