package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/internal/backoff"
)

// writePolicy spaces the tries of a write to the lease store: several fit
// before the lease is given up.
var writePolicy = backoff.Policy{Base: 300 * time.Millisecond, Max: 1200 * time.Millisecond}

// holding is a lease that this worker holds. One goroutine at a time writes to
// the lease: keep, and after it the shard consumer.
//
// A holding is trusted until its rules say, which depends on when the last write
// that is known to have been done was sent. At that moment, if not earlier, the
// context of the shard consumer ends with ErrLeaseLost, and nothing is written any
// more.
type holding struct {
	c       *Consumer
	key     string
	source  *source
	token   int64 // the lease's counter when it was taken
	tracker *tracker
	memory  *share // of the consumer's budget
	meter   meter
	end     func(error)                // ends the shard consumer's context with a cause
	lose    func()                     // ends the shard consumer's context with ErrLeaseLost
	expiry  *time.Timer                // calls expire at the end of trust, or sooner
	taken   atomic.Bool                // another has it, which is counted
	expired atomic.Bool                // the trust has ended, which is counted
	ended   atomic.Bool                // the shard consumer has ended
	next    atomic.Pointer[Assignment] // who gets the lease with the last write; nil if it is anybody's
	poke    chan struct{}              // capacity 1: write now

	forced  atomic.Bool // write with the next poke, though there be nothing to store
	parting atomic.Bool // the last write, which gives the lease up, may be on its way

	stopping  chan struct{} // closed by stop: start nothing new, finish what is begun, let the lease go
	stopOnce  sync.Once
	stopCause error                             // set by stop, before it closes stopping
	grace     *time.Timer                       // set by stop, before it closes stopping; may be nil
	farewell  atomic.Pointer[func(Write) Write] // who asked for the lease to be given up has the last word on the last write
	gone      chan struct{}                     // closed when the shard consumer has ended, and the lease counts as held no longer
	abandoned chan struct{}                     // capacity 1: let the lease go without the shard consumer, which is stuck

	commitMu sync.Mutex    // guards attempt
	attempt  *attempt      // the next write, for those who wait for it
	over     chan struct{} // closed when keep has ended
	overBy   error         // why, set before

	stored      atomic.Pointer[Lease]             // the lease as it is known to be stored
	written     atomic.Pointer[time.Time]         // when the last write known to be done was sent
	prepared    atomic.Pointer[PendingCheckpoint] // to be stored, unless nil
	latestSince atomic.Pointer[time.Time]         // to be stored, if not nil
	trail       atomic.Pointer[trail]             // marks to be stored with checkpoints, if not nil
	behind      atomic.Int64                      // time.Duration behind the newest record
	subscribed  atomic.Bool                       // whether the shard is read over a subscription now
	answered    stamp                             // when the service last said how far it is behind
	progress    stamp                             // when something last moved, or there was nothing to move
	unreadable  atomic.Bool                       // whether the last read failed
	failing     atomic.Int64                      // calls of the processor that failed, since one succeeded
	failingFor  atomic.Pointer[time.Time]         // when the first of them did; nil if there is none
	hung        atomic.Int64                      // calls that have not returned in time, nor by now
	calls       calls                             // of ProcessRecords

	// Owned by the writing goroutine.
	unsettled time.Time // when the first try since the last write known to be done was sent; zero if none
	committed time.Time // when a checkpoint was last written
	failures  streak
}

// adopt makes l, which a write sent at the given time has stored, the lease's
// known state. It must not be called once the lease is lost.
func (h *holding) adopt(l Lease, sent time.Time) {
	h.stored.Store(&l)
	h.unsettled = time.Time{}
	h.written.Store(&sent)
	h.expiry.Reset(time.Until(h.trustedUntil()))
}

// shardID returns the shard that the lease is for.
func (h *holding) shardID() string {
	_, id := SplitLeaseKey(h.key)
	return id
}

// trustedUntil returns the end of the trust in the lease.
func (h *holding) trustedUntil() time.Time {
	written := *h.written.Load()
	if !h.c.awake.since(written) {
		return written // that is over
	}
	return h.c.rules.trustedUntil(written)
}

// expire ends the shard consumer, unless the end of trust has moved.
func (h *holding) expire() {
	switch left := time.Until(h.trustedUntil()); {
	case h.ended.Load():
	case left > 0:
		h.expiry.Reset(left)
	default:
		if !h.expired.Swap(true) {
			h.c.stats.leasesExpired.Add(1)
		}
		h.lose()
	}
}

// loseToOther ends the shard consumer of a lease that is another's now, as a write or a
// look has shown, or several before it has ended.
func (h *holding) loseToOther() {
	if !h.taken.Swap(true) {
		h.c.stats.leasesLost.Add(1)
	}
	h.lose()
}

// renewal returns when the lease is to be renewed.
func (h *holding) renewal() time.Time {
	after := h.c.rules.renewAfter()
	if after == 0 {
		return time.Now().Add(time.Hour) // never: each look at it moves it on
	}
	return h.written.Load().Add(after)
}

// stop has the shard consumer let the lease go in order: it finishes what is
// begun, and its last write is what the rules call the parting one. What is not
// finished after Config.ShutdownTimeout is given up: the context of the processor
// ends with cause. At the consumer's stop, ErrShutdown, it is Run that sees to that.
func (h *holding) stop(cause error) {
	h.stopOnce.Do(func() {
		h.stopCause = cause
		if !errors.Is(cause, ErrShutdown) {
			h.grace = time.AfterFunc(h.c.cfg.ShutdownTimeout, func() { h.end(cause) })
		}
		close(h.stopping)
	})
}

func (h *holding) isStopping() bool {
	select {
	case <-h.stopping:
		return true
	default:
		return false
	}
}

// failed and recovered keep what Stats tells of a processor that fails.
func (h *holding) failed() {
	if h.failing.Add(1) == 1 {
		now := time.Now()
		h.failingFor.Store(&now)
	}
}

func (h *holding) recovered(n int) {
	if h.failing.Add(-int64(n)) == 0 {
		h.failingFor.Store(nil)
	}
}

// abandon has the keeper let the lease go, while the shard consumer is stuck in a
// call of the processor.
func (h *holding) abandon() {
	select {
	case h.abandoned <- struct{}{}:
	default:
	}
}

// release stores what is acknowledged and gives the lease up, in one write. It
// may be called by the writing goroutine only.
func (h *holding) release(ctx context.Context) {
	h.parting.Store(true)
	w := h.pending()
	w.Pending = nil // whoever prepared it has not been told that it is stored
	w = h.c.rules.parting(ctx, h, w)
	if change := h.farewell.Load(); change != nil {
		w = (*change)(w)
	}
	if err := h.finish(ctx, w, 2*h.c.cfg.attemptTimeout()); err != nil {
		h.c.log.Warn("lease not released; others wait until it expires", lease(h.key), errAttr(err))
		return
	}
	h.c.stats.leasesReleased.Add(1)
	h.c.log.Info("lease released", lease(h.key))
}

// pending returns what is acknowledged, or otherwise known, and not stored.
func (h *holding) pending() Write {
	var w Write
	stored := h.stored.Load()
	if pos, _ := h.tracker.state(); pos.SequenceNumber != "" && pos.Compare(stored.Checkpoint) > 0 {
		w.Checkpoint = pos
		h.addMarks(&w)
	}
	if t := h.latestSince.Load(); t != nil && !t.Equal(stored.LatestSince) {
		w.LatestSince = *t
	}
	if p := h.prepared.Load(); p != nil && w.Checkpoint == (Checkpoint{}) && !p.equal(stored.Pending) {
		w.Pending = p
	}
	return w
}

// position returns the place up to which all is acknowledged: from there a new
// processor reads on.
func (h *holding) position() Checkpoint {
	stored := h.stored.Load().Checkpoint
	if pos, _ := h.tracker.state(); pos.SequenceNumber != "" && pos.Compare(stored) > 0 {
		return pos
	}
	return stored
}

// since returns when reading began, if that was from LATEST.
func (h *holding) since() time.Time {
	if t := h.latestSince.Load(); t != nil {
		return *t
	}
	return h.stored.Load().LatestSince
}

// attempt is one try to write, to be waited for.
type attempt struct {
	done chan struct{} // closed after the try
	err  error         // set before
}

// nextAttempt returns the try after this moment.
func (h *holding) nextAttempt() *attempt {
	h.commitMu.Lock()
	defer h.commitMu.Unlock()
	if h.attempt == nil {
		h.attempt = &attempt{done: make(chan struct{})}
	}
	return h.attempt
}

// tried tells those who wait how a try has ended.
func (h *holding) tried(err error) {
	h.commitMu.Lock()
	a := h.attempt
	h.attempt = nil
	h.commitMu.Unlock()
	if a != nil {
		a.err = err
		close(a.done)
	}
}

// isOver reports whether nothing is written to the lease any more but by the
// shard consumer as it ends.
func (h *holding) isOver() bool {
	select {
	case <-h.over:
		return true
	default:
		return false
	}
}

// commit implements [Shard.CommitTo] for the processor that has s.
func (h *holding) commit(ctx context.Context, s *Shard, at Checkpoint) error {
	if err := h.closedTo(s); err != nil {
		return err
	}
	at, err := h.tracker.commit(at, h.stored.Load().Checkpoint)
	if err != nil {
		return err
	}
	h.prepared.Store(nil) // a checkpoint removes it
	return h.await(ctx, s, func(l *Lease) bool { return l.Checkpoint.Compare(at) >= 0 })
}

// closedTo returns why nothing can be stored any more on behalf of the processor that
// has s.
func (h *holding) closedTo(s *Shard) error {
	select {
	case <-h.over:
		return h.overBy
	case <-s.done:
		return s.cause()
	default:
		return nil
	}
}

// await has the keeper write until the stored lease is as it should be, or a try
// has failed.
func (h *holding) await(ctx context.Context, s *Shard, as func(*Lease) bool) error {
	for {
		a := h.nextAttempt() // before the look at what is stored, or a write in between is missed
		if as(h.stored.Load()) {
			return nil
		}
		select {
		case h.poke <- struct{}{}:
		default: // the keeper is about to write
		}
		select {
		case <-a.done:
			if a.err != nil && !as(h.stored.Load()) {
				return fmt.Errorf("consumer: store checkpoint of lease %q: %w", h.key, a.err)
			}
		case <-h.over:
			return h.overBy
		case <-s.done:
			return s.cause()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// keep renews the lease and stores checkpoints until stop is closed or the
// lease is lost. A checkpoint is a renewal, and each renewal carries the
// checkpoint if there is a new one.
func (h *holding) keep(ctx context.Context, stop <-chan struct{}) {
	defer close(h.over)
	h.overBy = ErrShutdown
	cfg := &h.c.cfg
	timer := time.NewTimer(0)
	defer timer.Stop()
	tries := 0
	var retryAt time.Time // after a try that failed
	poked := false
	for {
		next := h.renewal()
		if commit := h.committed.Add(cfg.CheckpointInterval); commit.Before(next) {
			next = commit
		}
		if poked {
			next = time.Now()
		}
		if tries > 0 {
			next = retryAt
		}
		timer.Reset(time.Until(next))
		select {
		case <-stop:
			return
		case <-ctx.Done():
			h.overBy = context.Cause(ctx)
			return
		case <-h.abandoned:
			h.tracker.close() // the position that is stored now is the last
			h.release(ctx)
			h.ended.Store(true)
			h.overBy = ErrLeaseLost
			h.lose()
			return
		case <-h.poke:
			poked = true
			continue
		case <-timer.C:
		}

		w := h.pending()
		now := time.Now()
		if w.empty() && now.Before(h.renewal()) && tries == 0 && !h.forced.Swap(false) {
			h.committed = now // nothing to commit: look again an interval later
			poked = false
			continue
		}
		if h.c.measures.Load() {
			w.ThroughputKBps, w.Busy = h.meter.read(h.stored.Load(), time.Duration(h.calls.took.Load()), now)
		}
		err := h.write(ctx, w)
		if err != nil {
			if errors.Is(err, ErrLeaseLost) || ctx.Err() != nil {
				h.overBy = context.Cause(ctx)
				return
			}
			h.tried(err)
			retryAt = time.Now().Add(writePolicy.Wait(tries, chance))
			tries++
			continue
		}
		tries, poked = 0, false
		h.tried(nil)
	}
}

// finish stores w as the last write, for as long as the lease is trusted, but
// no longer than limit. The keeper must have stopped.
func (h *holding) finish(ctx context.Context, w Write, limit time.Duration) error {
	deadline := h.trustedUntil()
	if d := time.Now().Add(limit); d.Before(deadline) {
		deadline = d
	}
	// The write is the clean-up after a cancellation.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	for try := 0; ; try++ {
		err := h.write(ctx, w)
		if err == nil || errors.Is(err, ErrLeaseLost) {
			return err
		}
		if sleep(ctx, writePolicy.Wait(try, chance)) != nil {
			return err
		}
	}
}

// write tries once to store w. An error that wraps ErrLeaseLost is final; any
// other leaves open whether the write was done, which the next try finds out.
func (h *holding) write(ctx context.Context, w Write) error {
	select {
	case h.c.writes <- struct{}{}:
		defer func() { <-h.c.writes }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		sent := time.Now()
		if h.unsettled.IsZero() {
			h.unsettled = sent
		}
		stored := *h.stored.Load()
		switch {
		case w.leaves() && !w.EndHandOver && stored.CheckpointOwner != "":
			w = h.c.rules.parting(ctx, h, w) // somebody has it already, whom the rules may have to name
			w.Release, w.NextOwner, w.EndHandOver = false, "", true
		case w.EndHandOver && stored.CheckpointOwner == "":
			// Somebody outside has called the hand-over off. There is nobody to name.
			w.Release, w.EndHandOver, w.Incarnation = true, false, ""
		}
		callCtx, cancel := context.WithTimeout(ctx, h.c.cfg.attemptTimeout())
		l, err := h.c.store.Update(callCtx, stored, w)
		cancel()
		if conflict, ok := errors.AsType[*ConflictError](err); ok {
			if h.c.me().handsOver(stored, conflict.Current) {
				h.beginHandOver(*conflict.Current)
				continue
			}
			if !h.c.rules.ours(h, conflict.Current, w) {
				h.loseToOther()
				return errors.Join(ErrLeaseLost, err)
			}
			// A write of ours was done and its answer lost. It was one of
			// those since the last known one; trust counts from the first.
			h.c.stats.lostReplies.Add(1)
			h.adopt(*conflict.Current, h.unsettled)
			if w.landedIn(*conflict.Current) && (!w.leaves() || conflict.Current.holder() != h.c.cfg.WorkerID) {
				h.done(w)
				return nil
			}
			continue // it was another write: this one is still to be done
		}
		if err != nil {
			h.c.stats.leaseWriteErrors.Add(1)
			if h.failures.fail() && ctx.Err() == nil {
				h.c.log.Warn("lease write failed; trying again", lease(h.key), errAttr(err))
			}
			return err
		}
		h.adopt(l, sent)
		h.done(w)
		return nil
	}
}

// beginHandOver has the shard consumer let the lease go to the worker that now, as it
// is stored, names. Until then it is renewed and checkpointed as before.
func (h *holding) beginHandOver(now Lease) {
	if now.Counter == h.stored.Load().Counter {
		h.stored.Store(&now) // nobody has seen a write of ours in it: trust stays as it was
	} else {
		h.c.stats.lostReplies.Add(1)
		h.adopt(now, h.unsettled)
	}
	h.c.log.Info("lease is to go to another worker", lease(h.key), slog.String("to", now.Owner))
	h.stop(ErrHandoff)
}

func (h *holding) done(w Write) {
	if n := h.failures.ok(); n > 0 {
		h.c.log.Info("lease writes succeed again", lease(h.key), slog.Int("failed", n))
	}
	if w.NextOwner != "" || w.EndHandOver {
		h.c.stats.handOvers.Add(1)
	}
	if w.Checkpoint != (Checkpoint{}) {
		h.committed = time.Now()
		h.progress.set()
		h.c.stats.checkpoints.Add(1)
	} else {
		h.c.stats.renewals.Add(1)
	}
}

// streak lets a repeating fault be logged once, and its end with a count.
type streak struct{ n int }

// fail reports whether the fault is the first of its streak.
func (s *streak) fail() bool {
	s.n++
	return s.n == 1
}

// ok ends the streak and returns its length.
func (s *streak) ok() int {
	n := s.n
	s.n = 0
	return n
}

// jitter varies d by up to a tenth in either direction, so that workers that
// started together do not move together.
func jitter(d time.Duration) time.Duration {
	return d*9/10 + time.Duration(chance.Int64N(int64(d)/5+1))
}
