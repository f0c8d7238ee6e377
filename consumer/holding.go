package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
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
// A holding is trusted until trustFor after the last write that is known to
// have been done was sent. At that moment, if not earlier, the context of the
// shard consumer ends with ErrLeaseLost, and nothing is written any more.
type holding struct {
	c       *Consumer
	key     string
	tracker *tracker
	lose    func()        // ends the shard consumer's context with ErrLeaseLost
	expiry  *time.Timer   // calls lose at the end of trust
	poke    chan struct{} // capacity 1: write now

	commitMu sync.Mutex    // guards attempt
	attempt  *attempt      // the next write, for those who wait for it
	over     chan struct{} // closed when keep has ended
	overBy   error         // why, set before

	stored      atomic.Pointer[Lease]     // the lease as it is known to be stored
	latestSince atomic.Pointer[time.Time] // to be stored, if not nil
	trail       atomic.Pointer[trail]     // marks to be stored with checkpoints, if not nil
	behind      atomic.Int64              // time.Duration behind the newest record
	subscribed  atomic.Bool               // whether the shard is read over a subscription now

	// Owned by the writing goroutine.
	written   time.Time // when the last write known to be done was sent
	unsettled time.Time // when the first try since then was sent; zero if none
	committed time.Time // when a checkpoint was last written
	failures  streak
}

// adopt makes l, which a write sent at the given time has stored, the lease's
// known state. It must not be called once the lease is lost.
func (h *holding) adopt(l Lease, sent time.Time) {
	h.stored.Store(&l)
	h.written, h.unsettled = sent, time.Time{}
	h.expiry.Reset(time.Until(sent.Add(h.c.cfg.trustFor())))
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

// commit implements [Shard.CommitTo] for the processor that has s.
func (h *holding) commit(ctx context.Context, s *Shard, at Checkpoint) error {
	select {
	case <-h.over:
		return h.overBy
	case <-s.done:
		return s.cause()
	default:
	}
	at, err := h.tracker.commit(at, h.stored.Load().Checkpoint)
	if err != nil {
		return err
	}
	for {
		a := h.nextAttempt() // before the look at what is stored, or a write in between is missed
		if h.stored.Load().Checkpoint.Compare(at) >= 0 {
			return nil
		}
		select {
		case h.poke <- struct{}{}:
		default: // the keeper is about to write
		}
		select {
		case <-a.done:
			if a.err != nil && h.stored.Load().Checkpoint.Compare(at) < 0 {
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
		next := h.written.Add(cfg.renewAfter())
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
		case <-h.poke:
			poked = true
			continue
		case <-timer.C:
		}

		w := h.pending()
		now := time.Now()
		if w.empty() && now.Before(h.written.Add(cfg.renewAfter())) && tries == 0 {
			h.committed = now // nothing to commit: look again an interval later
			poked = false
			continue
		}
		err := h.write(ctx, w)
		if err != nil {
			if errors.Is(err, ErrLeaseLost) || ctx.Err() != nil {
				h.overBy = context.Cause(ctx)
				return
			}
			h.tried(err)
			retryAt = time.Now().Add(writePolicy.Wait(tries, nil))
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
	deadline := h.written.Add(h.c.cfg.trustFor())
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
		if sleep(ctx, writePolicy.Wait(try, nil)) != nil {
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
		callCtx, cancel := context.WithTimeout(ctx, h.c.cfg.attemptTimeout())
		l, err := h.c.store.Update(callCtx, *h.stored.Load(), w)
		cancel()
		if conflict, ok := errors.AsType[*ConflictError](err); ok {
			if !h.c.me().left(*h.stored.Load(), conflict.Current, w) {
				h.c.stats.leasesLost.Add(1)
				h.lose()
				return errors.Join(ErrLeaseLost, err)
			}
			// A write of ours was done and its answer lost. It was one of
			// those since the last known one; trust counts from the first.
			h.c.stats.lostReplies.Add(1)
			h.adopt(*conflict.Current, h.unsettled)
			if w.landedIn(*conflict.Current) && (!w.Release || conflict.Current.Owner == "") {
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

func (h *holding) done(w Write) {
	if n := h.failures.ok(); n > 0 {
		h.c.log.Info("lease writes succeed again", lease(h.key), slog.Int("failed", n))
	}
	if w.Checkpoint != (Checkpoint{}) {
		h.committed = time.Now()
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
	return d*9/10 + time.Duration(rand.Int64N(int64(d)/5+1))
}
