package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNotHeld is wrapped by the error of what only the owner of a lease can do, when
// that is not this worker.
var ErrNotHeld = errors.New("consumer: lease not held by this worker")

// ErrReleased is the cause with which the context of a [Processor] ends when its
// lease is given up on request, by [Consumer.Release] and the like, and
// Config.ShutdownTimeout is over.
var ErrReleased = errors.New("consumer: lease to be given up")

// Release gives up the lease of a shard that this worker reads, in order: the batch
// in flight is finished, as at the stop of the consumer, and the lease released in
// the write that stores the last checkpoint, so that no record comes twice. This
// worker then leaves the shard to others for one Config.FailoverTime.
//
// Release returns when the lease is released. If ctx ends first it still will be.
// The error wraps [ErrNotHeld] if this worker does not have the lease, and
// [ErrLeaseLost] if it was lost on the way.
func (c *Consumer) Release(ctx context.Context, shard string) error {
	h, err := c.holdingOf(ctx, shard)
	if err != nil {
		return err
	}
	c.leave(shard)
	return c.part(ctx, h, func(w Write) Write { return w })
}

// Transfer gives the lease of a shard to another worker, which is told by the
// table and goes on at its next look: if this worker has it, as [Consumer.Release]
// does, in the one write that stores the last checkpoint; if nobody has it, at
// once. Workers go on to balance leases, so one that has more than its share by
// that gives some up again.
//
// The other worker must be known: it has a lease, or a row of its own in the
// store. The error wraps [ErrNotHeld] if a third worker has the lease.
func (c *Consumer) Transfer(ctx context.Context, shard, worker string) error {
	h, err := c.holdingOf(ctx, shard)
	if err != nil && !errors.Is(err, errUnowned) {
		return err
	}
	incarnation, findErr := c.incarnationOf(ctx, worker)
	if findErr != nil {
		return findErr
	}
	if err != nil { // unowned
		return c.changeUnowned(ctx, shard, func(ctx context.Context, l Lease) error {
			if l.ended() {
				return fmt.Errorf("consumer: shard %q has been read to its end; there is nothing to transfer", shard)
			}
			_, err := c.store.Take(ctx, l, worker, incarnation)
			return err
		})
	}
	if worker == c.cfg.WorkerID {
		return nil
	}
	c.leave(shard) // else it may be stolen back at once
	err = c.part(ctx, h, func(w Write) Write {
		if w.Release {
			w.Release, w.NextOwner, w.Incarnation = false, worker, incarnation
		}
		return w
	})
	if err == nil && h.stored.Load().Owner != worker {
		return fmt.Errorf("consumer: the lease of shard %q was given up, but worker %q did not get it: %w", shard, worker, ErrNotHeld)
	}
	return err
}

// ResetCheckpoint sets where a shard is read on: after at, a sequence number or one
// of the sentinels but [ShardEnd]. [Latest] means what is put from now on,
// [AtTimestamp] the time of Config.InitialPosition.
//
// If nobody has the lease, that is one write. If this worker has it, its processor
// finishes as for [Consumer.Release]; then at is stored instead of what it has
// acknowledged, and a worker goes on there. If another worker has it nothing is
// changed, and the error wraps [ErrNotHeld]: the next checkpoint of that worker
// would undo it. So it does if the shard has been read to its end, as its children
// may be read by now, and would get ahead of what were read again.
func (c *Consumer) ResetCheckpoint(ctx context.Context, shard string, at Checkpoint) error {
	if at == (Checkpoint{SequenceNumber: ShardEnd}) {
		return errors.New("consumer: a checkpoint cannot be reset to SHARD_END: that is stored when a shard has been read to its end")
	}
	if err := at.Validate(); err != nil {
		return err
	}
	reset := Write{Checkpoint: at}
	if at.SequenceNumber == Latest {
		reset.LatestSince = time.Now() // not when a worker comes to read it
	}
	h, err := c.holdingOf(ctx, shard)
	if errors.Is(err, errUnowned) {
		return c.changeUnowned(ctx, shard, func(ctx context.Context, l Lease) error {
			if l.ended() {
				return fmt.Errorf("%w: shard %q has been read to its end, and its children may be read already; to read all again, stop the workers and say \"streamctl lease reset --all\"", ErrNotHeld, shard)
			}
			_, err := c.store.Update(ctx, l, reset)
			return err
		})
	}
	if err != nil {
		return err
	}
	return c.part(ctx, h, func(w Write) Write {
		// Marks belong to the checkpoint that is not stored.
		w.Checkpoint, w.LatestSince, w.Marks = reset.Checkpoint, reset.LatestSince, nil
		return w
	})
}

// errUnowned is a lease that nobody has.
var errUnowned = fmt.Errorf("%w: nobody has it", ErrNotHeld)

// holdingOf returns this worker's hold on a shard. The error wraps errUnowned if
// nobody has the lease.
func (c *Consumer) holdingOf(ctx context.Context, shard string) (*holding, error) {
	c.mu.Lock()
	h := c.held[shard]
	c.mu.Unlock()
	if h != nil {
		return h, nil
	}
	l, ok, err := c.getLease(ctx, shard)
	switch {
	case err != nil:
		return nil, fmt.Errorf("consumer: get lease %q: %w", shard, err)
	case !ok:
		return nil, fmt.Errorf("%w: there is no lease of shard %q", ErrNotHeld, shard)
	case l.Invalid != nil:
		return nil, l.Invalid
	case l.Owner == "" && l.CheckpointOwner == "":
		return nil, fmt.Errorf("shard %q: %w", shard, errUnowned)
	}
	return nil, fmt.Errorf("%w: worker %q has that of shard %q; ask it there", ErrNotHeld, l.Owner, shard)
}

// changeUnowned makes one conditional write to a lease that nobody has. A write
// that seems to fail may have been done; only a look at the lease tells.
func (c *Consumer) changeUnowned(ctx context.Context, shard string, change func(context.Context, Lease) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.FailoverTime)
	defer cancel()
	l, ok, err := c.store.Get(ctx, shard)
	if err == nil && ok && l.Owner == "" && l.Invalid == nil {
		err = change(ctx, l)
	}
	if conflict, is := errors.AsType[*ConflictError](err); is && conflict.Current != nil && conflict.Current.Owner != "" {
		return fmt.Errorf("%w: worker %q has taken that of shard %q meanwhile: %w", ErrNotHeld, conflict.Current.Owner, shard, err)
	}
	if err == nil && (!ok || l.Owner != "") {
		return fmt.Errorf("%w: that of shard %q has changed meanwhile; try again", ErrNotHeld, shard)
	}
	c.lookNow()
	return err
}

// part has the shard consumer of h let the lease go with a last write that change
// has the last word on, and returns when that is done.
func (c *Consumer) part(ctx context.Context, h *holding, change func(Write) Write) error {
	if !h.farewell.CompareAndSwap(nil, &change) || h.isStopping() {
		return fmt.Errorf("%w: that of shard %q is being given up already", ErrNotHeld, h.key)
	}
	h.stop(ErrReleased)
	select {
	case <-h.over: // the keeper has ended, and made the last write if the shard consumer is stuck
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if h.parted() {
		return nil
	}
	select {
	case <-h.gone:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	switch {
	case h.stored.Load().ended():
		return fmt.Errorf("%w: shard %q was read to its end meanwhile", ErrNotHeld, h.key)
	case !h.parted():
		return fmt.Errorf("consumer: lease of shard %q, which was to be given up: %w", h.key, ErrLeaseLost)
	}
	return nil
}

// parted reports whether the last write of a lease was done. A shard that has
// ended has another one.
func (h *holding) parted() bool {
	l := h.stored.Load()
	return !l.ended() && l.Owner != h.c.cfg.WorkerID && l.CheckpointOwner != h.c.cfg.WorkerID
}

// incarnationOf returns by what a worker knows leases as its own, or an error if
// the worker is not known.
func (c *Consumer) incarnationOf(ctx context.Context, worker string) (string, error) {
	if worker == c.cfg.WorkerID {
		return c.incarnation, nil
	}
	if store, ok := c.store.(CoordinationStore); ok {
		callCtx, cancel := context.WithTimeout(ctx, c.cfg.attemptTimeout())
		row, ok, err := store.GetWorker(callCtx, worker)
		cancel()
		if err != nil {
			return "", fmt.Errorf("consumer: look for worker %q: %w", worker, err)
		}
		if incarnation := row.Properties[propIncarnation]; ok && (incarnation != "" || !c.workersTake()) {
			return incarnation, nil // "" of another library, whose workers look for what is assigned to them
		}
	}
	leases, err := c.Leases(ctx)
	if err != nil {
		return "", err
	}
	for _, l := range leases {
		if l.Owner == worker && l.Incarnation != "" {
			return l.Incarnation, nil
		}
	}
	return "", fmt.Errorf("consumer: worker %q is not known: it has no lease with which it could be told from others; check the name, or release the lease", worker)
}

// workersTake reports whether by the rules that are followed workers take leases,
// and do not look for such as they are given.
func (c *Consumer) workersTake() bool {
	_, ok := c.follows().(*kcl2)
	return ok
}

// leave keeps this worker from taking a lease for a while.
func (c *Consumer) leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left[key] = time.Now().Add(c.cfg.FailoverTime)
}

// leavesLocked reports whether this worker leaves a lease to others.
func (c *Consumer) leavesLocked(key string) bool {
	until, ok := c.left[key]
	if ok && !time.Now().Before(until) {
		delete(c.left, key)
		ok = false
	}
	return ok
}
