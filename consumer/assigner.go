package consumer

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// waitingLook is the time between two looks while a shard waits for a
	// parent, whose end another worker may store.
	waitingLook = time.Second

	// cleanupEvery is the time between two passes that delete leases of
	// finished shards.
	cleanupEvery = time.Minute

	// holeConfidence is how many looks in a row must show a hole in the hash
	// keys before the shards are listed: a listing of leases is no snapshot.
	holeConfidence = 3

	// syncEvery is the least time between two listings of shards because of a
	// hole.
	syncEvery = 10 * time.Second
)

// assigner decides which leases this worker takes. It belongs to one
// goroutine.
type assigner struct {
	c       *Consumer
	rng     *rand.Rand
	seen    map[string]observed
	planned bool      // at least once
	holes   int       // looks in a row that showed a hole
	synced  time.Time // when shards were last listed
	cleaned time.Time // when finished leases were last deleted
	failed  streak
}

// assign looks at the leases and takes some, again and again until ctx ends.
// Shard consumers run under work.
func (c *Consumer) assign(ctx, work context.Context) {
	a := &assigner{c: c, rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), synced: time.Now(), cleaned: time.Now()}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.kick:
		}
		timer.Reset(jitter(a.look(ctx, work)))
	}
}

// look does one round and returns the time until the next.
func (a *assigner) look(ctx, work context.Context) time.Duration {
	cfg := &a.c.cfg
	leases, err := a.c.listLeases(ctx)
	if err != nil {
		a.c.stats.listErrors.Add(1)
		if ctx.Err() == nil && a.failed.fail() {
			a.c.log.Warn("leases not listed; trying again", errAttr(err))
		}
		return cfg.lookEvery()
	}
	if n := a.failed.ok(); n > 0 {
		a.c.log.Info("leases listed again", slog.Int("failed", n))
	}
	// After the answer, never before: an owner trusts its lease from before
	// its write was sent, and what the listing shows was sent before this.
	now := time.Now()
	before := a.seen
	a.seen = observe(before, leases, now)
	a.reportInvalid(before)
	a.dropLost()

	lim := limits{failover: cfg.FailoverTime, maxLeases: cfg.MaxLeasesForWorker, maxSteal: cfg.MaxLeasesToStealAtOneTime}
	me := worker{name: cfg.WorkerID, incarnation: a.c.incarnation, held: a.c.holds, fresh: !a.planned}
	takes := plan(a.seen, me, now, lim, a.rng)
	a.planned = true
	var wg sync.WaitGroup
	for _, t := range takes {
		wg.Go(func() { a.c.take(work, t) })
	}
	wg.Wait()

	a.audit(ctx, now)
	a.clean(ctx, now)
	for _, o := range a.seen {
		if !o.ended() && o.Invalid == nil && !readable(o.Lease, a.seen) {
			return min(waitingLook, cfg.lookEvery())
		}
	}
	return cfg.lookEvery()
}

// reportInvalid counts the leases that cannot be understood, and logs each when
// it is first seen.
func (a *assigner) reportInvalid(before map[string]observed) {
	n := 0
	for _, key := range slices.Sorted(maps.Keys(a.seen)) {
		err := a.seen[key].Invalid
		if err == nil {
			continue
		}
		n++
		if known := before[key].Invalid; known == nil || known.Error() != err.Error() {
			a.c.log.Error("lease not understood; its shard is not read", lease(key), errAttr(err))
		}
	}
	a.c.stats.invalidLeases.Store(int64(n))
}

// dropLost ends the shard consumers of leases that show another owner: sooner
// than their next write would.
func (a *assigner) dropLost() {
	a.c.mu.Lock()
	var lost []*holding
	for key, h := range a.c.held {
		o, ok := a.seen[key]
		other := o.Owner != a.c.cfg.WorkerID || o.Incarnation != a.c.incarnation
		if h != nil && ok && o.Owner != "" && other && o.Counter > h.stored.Load().Counter {
			lost = append(lost, h)
		}
	}
	a.c.mu.Unlock()
	for _, h := range lost {
		a.c.stats.leasesLost.Add(1)
		h.lose()
	}
}

// audit lists the shards if leases seem to be missing.
func (a *assigner) audit(ctx context.Context, now time.Time) {
	if len(a.seen) > 0 && !hasHole(a.seen) {
		a.holes = 0
		return
	}
	a.holes++
	if a.holes < holeConfidence || now.Sub(a.synced) < syncEvery {
		return
	}
	a.holes, a.synced = 0, now
	if err := a.c.sync(ctx); err != nil {
		if ctx.Err() == nil {
			a.c.log.Warn("some hash keys have no lease, and the shards could not be listed", errAttr(err))
		}
		return
	}
	a.c.log.Info("leases completed, as some hash keys had none")
	a.c.lookNow()
}

// clean deletes leases of finished shards.
func (a *assigner) clean(ctx context.Context, now time.Time) {
	if a.c.cfg.DisableCleanupLeasesUponShardCompletion || now.Sub(a.cleaned) < cleanupEvery {
		return
	}
	a.cleaned = now
	for _, l := range finished(a.seen) {
		callCtx, cancel := context.WithTimeout(ctx, a.c.cfg.attemptTimeout())
		err := a.c.store.Delete(callCtx, l)
		cancel()
		if err != nil {
			continue // the next pass finds it again
		}
		a.c.stats.leasesDeleted.Add(1)
		a.c.log.Debug("lease of a finished shard deleted", lease(l.Key))
	}
}

// holds reports whether this worker holds the lease or is taking it.
func (c *Consumer) holds(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.held[key]
	return ok
}

// reserve makes this worker count as the lease's holder while it is being
// taken. It reports false if it is already.
func (c *Consumer) reserve(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.held[key]; ok {
		return false
	}
	c.held[key] = nil
	return true
}

// take tries to take a lease and starts to consume its shard.
func (c *Consumer) take(work context.Context, t take) {
	key := t.lease.Key
	if c.isStopping() || !c.reserve(key) {
		return
	}
	l, sent, err := c.tryTake(work, t.lease)
	if err != nil {
		c.mu.Lock()
		delete(c.held, key)
		c.mu.Unlock()
		if _, ok := errors.AsType[*ConflictError](err); !ok {
			// If it was done all the same, the next look finds a lease of this
			// worker that it does not hold, and takes it again.
			c.stats.leaseWriteErrors.Add(1)
			c.log.Warn("lease not taken", lease(key), errAttr(err))
		}
		return
	}
	switch t.how {
	case takeFree:
		c.stats.leasesTakenFree.Add(1)
	case takeExpired:
		c.stats.leasesTakenExpired.Add(1)
	case takeStolen:
		c.stats.leasesStolen.Add(1)
	}
	c.log.Info("lease taken", lease(key), slog.String("how", t.how.String()), slog.String("from", t.lease.Owner))
	c.start(work, l, sent)
}

func (c *Consumer) tryTake(work context.Context, l Lease) (Lease, time.Time, error) {
	c.writes <- struct{}{} // every holder of a place is bounded by a timeout
	defer func() { <-c.writes }()
	// Not bounded by the end of Run's context: a take that is broken off may
	// have been done, and nobody would release the lease.
	ctx, cancel := context.WithTimeout(work, c.cfg.attemptTimeout())
	defer cancel()
	for {
		sent := time.Now()
		got, err := c.store.Take(ctx, l, c.cfg.WorkerID, c.incarnation)
		conflict, ok := errors.AsType[*ConflictError](err)
		if !ok || !c.me().took(l, conflict.Current) {
			return got, sent, err
		}
		// An earlier try was done. It may have been one of long ago, that was
		// on its way all the time, and others may have watched what it left for
		// as long: from when to trust the lease only a new one tells.
		l = *conflict.Current
	}
}

// takeChildren takes the leases of shards whose parent has just ended here, so
// that reading goes on at once. They are balanced later.
func (c *Consumer) takeChildren(work context.Context, children []string) {
	for _, key := range children {
		if c.isStopping() {
			return
		}
		c.mu.Lock()
		full := len(c.held) >= c.cfg.MaxLeasesForWorker
		c.mu.Unlock()
		if full {
			return
		}
		if l, ok := c.readyChild(work, key); ok {
			c.take(work, take{l, takeFree})
		}
	}
}

// readyChild returns the lease of a shard if it has no owner and its parents
// have ended. If it cannot be found out, the next look will.
func (c *Consumer) readyChild(ctx context.Context, key string) (Lease, bool) {
	l, ok, err := c.getLease(ctx, key)
	if err != nil || !ok || l.Owner != "" || l.ended() || l.Invalid != nil {
		return l, false
	}
	for _, p := range l.Parents {
		if parent, ok, err := c.getLease(ctx, p); err != nil || ok && !parent.ended() {
			return l, false
		}
	}
	return l, true
}

// listLeases and getLease bound a call to the store: one that hangs must not
// hold up a shard whose lease is renewed all the while.

func (c *Consumer) listLeases(ctx context.Context) ([]Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.FailoverTime)
	defer cancel()
	return c.store.List(ctx)
}

func (c *Consumer) getLease(ctx context.Context, key string) (Lease, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.attemptTimeout())
	defer cancel()
	return c.store.Get(ctx, key)
}
