package consumer

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
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

// table is what one worker has seen of the leases. It belongs to one goroutine.
type table struct {
	c       *Consumer
	seen    map[string]observed
	asked   time.Time // when what seen was made of was asked for
	at      time.Time // when it came
	made    time.Time
	audits  map[*source]*audit
	cleaned time.Time // when finished leases were last deleted
	former  []Lease   // of streams that are not listed any more, to be deleted
	failed  streak
}

// audit is what was seen of the completeness of a stream's leases.
type audit struct {
	holes  int       // looks in a row that showed a hole
	synced time.Time // when shards were last listed
}

func (c *Consumer) newTable() *table {
	return &table{c: c, made: time.Now(), cleaned: time.Now(), audits: map[*source]*audit{}}
}

// loop calls look, again and again until ctx ends: after the time that it
// returned, a little varied, or as soon as there is a reason.
func (c *Consumer) loop(ctx context.Context, look func() time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.kick:
		}
		if ctx.Err() != nil {
			return
		}
		timer.Reset(jitter(look()))
	}
}

// refresh lists the leases, and ends the shard consumers of those that were
// lost. It reports false if they could not be listed.
func (t *table) refresh(ctx context.Context) bool {
	return t.refreshBy(ctx, t.c.store.List)
}

// refreshBy is refresh with another way to list the leases.
func (t *table) refreshBy(ctx context.Context, list func(context.Context) ([]Lease, error)) bool {
	asked := time.Now()
	callCtx, cancel := context.WithTimeout(ctx, t.c.cfg.FailoverTime)
	leases, err := list(callCtx)
	cancel()
	if err != nil {
		t.c.stats.listErrors.Add(1)
		if ctx.Err() == nil && t.failed.fail() {
			t.c.log.Warn("leases not listed; trying again", errAttr(err))
		}
		return false
	}
	if n := t.failed.ok(); n > 0 {
		t.c.log.Info("leases listed again", slog.Int("failed", n))
	}
	leases = t.sift(leases)
	// After the answer, never before: an owner trusts its lease from before
	// its write was sent, and what the listing shows was sent before this.
	t.asked, t.at = asked, time.Now()
	before := t.seen
	t.seen = observe(before, leases, t.at)
	t.c.looked.Store(&look{t.at, t.seen})
	t.reportInvalid(before)
	t.dropLost()
	return true
}

// sift returns those of the listed leases that this consumer reads.
func (t *table) sift(leases []Lease) []Lease {
	t.c.streams.forget(leases)
	t.former = t.former[:0]
	return slices.DeleteFunc(leases, func(l Lease) bool {
		if t.c.streams.reads(l.Key) {
			return false
		}
		if t.c.streams.deletable(l) {
			t.former = append(t.former, l)
		}
		return true
	})
}

// maintain lists the shards if leases seem to be missing, and deletes those
// that are no longer needed.
func (t *table) maintain(ctx context.Context) {
	of := t.byStream()
	for _, src := range t.c.streams.listed() {
		t.audit(ctx, src, of[src.id.String()])
	}
	t.clean(ctx)
	t.bury(ctx)
}

// bury deletes leases of streams that are not listed any more.
func (t *table) bury(ctx context.Context) {
	for _, l := range t.former[:min(len(t.former), buryAtOnce)] {
		callCtx, cancel := context.WithTimeout(ctx, t.c.cfg.attemptTimeout())
		err := t.c.store.Delete(callCtx, l)
		cancel()
		if err == nil { // else the next look finds it again
			t.c.stats.leasesDeleted.Add(1)
			t.c.log.Debug("lease of a former stream deleted", lease(l.Key))
		}
	}
}

// waits reports whether a shard waits for a parent, whose end another worker
// may store.
func (t *table) waits() bool {
	for _, o := range t.seen {
		if !o.ended() && o.Invalid == nil && !readable(o.Lease, t.seen) {
			return true
		}
	}
	return false
}

// reportInvalid counts the leases that cannot be understood, and logs each when
// it is first seen.
func (t *table) reportInvalid(before map[string]observed) {
	n := 0
	for _, key := range slices.Sorted(maps.Keys(t.seen)) {
		err := t.seen[key].Invalid
		if err == nil {
			continue
		}
		n++
		if known := before[key].Invalid; known == nil || known.Error() != err.Error() {
			t.c.log.Error("lease not understood; its shard is not read", lease(key), errAttr(err))
		}
	}
	t.c.stats.invalidLeases.Store(int64(n))
}

// dropLost ends the shard consumers of leases that show another owner, or that
// somebody else has released: sooner than their next write would.
func (t *table) dropLost() {
	t.c.mu.Lock()
	var lost []*holding
	for key, h := range byKey(t.c.held) {
		o, ok := t.seen[key]
		if h == nil || h.isOver() || h.parting.Load() || !ok {
			continue
		}
		other := o.holder() != t.c.cfg.WorkerID || o.Incarnation != t.c.incarnation
		ahead := o.Counter - h.stored.Load().Counter
		// One write of ours may be on its way; two are never.
		if ahead > 0 && other || ahead > 1 {
			lost = append(lost, h)
		}
	}
	t.c.mu.Unlock()
	for _, h := range lost {
		h.loseToOther()
	}
}

// audit lists the shards of a stream if leases seem to be missing.
func (t *table) audit(ctx context.Context, src *source, seen map[string]observed) {
	a := t.audits[src]
	if a == nil {
		a = &audit{synced: t.made}
		t.audits[src] = a
	}
	if len(seen) > 0 && !hasHole(seen) {
		a.holes = 0
		return
	}
	a.holes++
	if a.holes < holeConfidence || t.at.Sub(a.synced) < syncEvery {
		return
	}
	a.holes, a.synced = 0, t.at
	if err := t.c.sync(ctx, src); err != nil {
		if ctx.Err() == nil {
			t.c.logOf(src).Warn("some hash keys have no lease, and the shards could not be listed", errAttr(err))
		}
		return
	}
	t.c.logOf(src).Info("leases completed, as some hash keys had none")
	t.c.lookNow()
}

// byStream returns the leases of each stream.
func (t *table) byStream() map[string]map[string]observed {
	if t.c.streams.only != nil {
		return map[string]map[string]observed{"": t.seen}
	}
	of := map[string]map[string]observed{}
	for key, o := range t.seen {
		stream, _ := SplitLeaseKey(key)
		if of[stream] == nil {
			of[stream] = map[string]observed{}
		}
		of[stream][key] = o
	}
	return of
}

// clean deletes leases of finished shards.
func (t *table) clean(ctx context.Context) {
	if t.c.cfg.DisableCleanupLeasesUponShardCompletion || t.at.Sub(t.cleaned) < cleanupEvery {
		return
	}
	t.cleaned = t.at
	for _, l := range finished(t.seen) {
		callCtx, cancel := context.WithTimeout(ctx, t.c.cfg.attemptTimeout())
		err := t.c.store.Delete(callCtx, l)
		cancel()
		if err != nil {
			continue // the next pass finds it again
		}
		t.c.stats.leasesDeleted.Add(1)
		t.c.log.Debug("lease of a finished shard deleted", lease(l.Key))
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
// taken. It reports false if it is already, or leaves the lease to others.
func (c *Consumer) reserve(key string) bool {
	if !c.streams.reads(key) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.held[key]; ok || c.leavesLocked(key) {
		return false
	}
	c.held[key] = nil
	return true
}

// unreserve takes reserve back.
func (c *Consumer) unreserve(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.held, key)
}

// take tries to take a lease and starts to consume its shard.
func (c *Consumer) take(work context.Context, t take) {
	key := t.lease.Key
	if c.isStopping() || !c.reserve(key) {
		return
	}
	l, sent, err := c.tryTake(work, t.lease)
	if err != nil {
		c.unreserve(key)
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
		if c.countHeld() >= c.cfg.MaxLeasesForWorker {
			return
		}
		asked := time.Now()
		if l, ok := c.readyChild(work, key); ok {
			c.rules.takeChild(work, l, asked)
		}
	}
}

// readyChild returns the lease of a shard if it has no owner, or this worker for
// one, and its parents have ended. If it cannot be found out, the next look will.
func (c *Consumer) readyChild(ctx context.Context, key string) (Lease, bool) {
	l, ok, err := c.getLease(ctx, key)
	mine := l.Owner == c.cfg.WorkerID && l.Incarnation == c.incarnation
	if err != nil || !ok || l.Owner != "" && !mine || l.ended() || l.Invalid != nil {
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
