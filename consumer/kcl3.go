package consumer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// kcl3 is [ModeKCL3]: each lease is renewed by itself; the worker that leads
// gives leases to all whose rows are up to date, and each worker finds out which
// are its own.
type kcl3 struct {
	c     *Consumer
	store CoordinationStore
	rows  *reporter
	lock  *leaderLock

	// Owned by the goroutine of attend.
	due      time.Time // of the next discovery
	expected time.Time // of the next look; one before it has a reason
	settled  time.Time // when the store last made up its mind
	state    Coordination
	yielding bool // official workers migrate, and are to lead
	waiting  map[string]waiting
	failed   streak
	lead     *leading3 // nil while another worker leads
}

// waiting is a lease of this worker whose shard waits for its parents. It is
// renewed meanwhile, as its owner lives.
type waiting struct {
	lease   Lease
	written time.Time // when the last write known to be done was sent; zero if none was
}

func newKCL3(c *Consumer, store CoordinationStore) *kcl3 {
	return &kcl3{
		c: c, store: store, rows: &reporter{c: c, store: store}, waiting: map[string]waiting{},
		lock: newLeaderLock(store, c.cfg.WorkerID, c.cfg.attemptTimeout(), c.log),
	}
}

// The times that follow from the failover time.
//
// Source: amazon-kinesis-client 3.x, LeaseManagementConfig,
// DynamoDBLeaseCoordinator.

func (k *kcl3) assignEvery() time.Duration { return 2 * k.c.cfg.FailoverTime }

// discoverEvery is, with its variation, no longer than the failover time: what
// was assigned is renewed before it is taken for expired.
func (k *kcl3) discoverEvery() time.Duration {
	return (k.assignEvery()/2 - 25*time.Millisecond) * 9 / 10
}

// prepare makes the store ready for what is beside leases.
func (k *kcl3) prepare(ctx context.Context) error {
	callCtx, cancel := context.WithTimeout(ctx, k.c.cfg.FailoverTime)
	defer cancel()
	if err := k.store.CreateIndex(callCtx); err != nil {
		k.c.log.Warn("index of leases by owner not created; without it each worker reads all leases to find its own. Grant UpdateTable, or create the index", errAttr(err))
	}
	return k.settle(ctx)
}

// settle has the store make up its mind.
func (k *kcl3) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, k.c.cfg.FailoverTime)
	defer cancel()
	st, err := k.store.Coordination(ctx)
	if err == nil {
		k.state, k.settled = st, time.Now()
	}
	return err
}

func (k *kcl3) attend(ctx, work context.Context) {
	// No lease is to be expected before the row is there.
	for try := 0; k.rows.report(ctx) != nil; try++ {
		if sleep(ctx, readPolicy.Wait(try, chance)) != nil {
			return
		}
	}
	k.c.shards.Go(func() { k.rows.run(ctx) })
	k.yielding = k.mustYield(ctx)
	k.c.loop(ctx, func() time.Duration { return k.look(ctx, work) })
	k.c.stats.leader.Store(false)
	k.c.shards.Go(func() { k.lock.release(context.WithoutCancel(ctx)) })
}

// look does one round and returns the time until the next.
func (k *kcl3) look(ctx, work context.Context) time.Duration {
	now := time.Now()
	if now.Sub(k.settled) >= time.Minute {
		if err := k.settle(ctx); err == nil {
			k.yielding = k.mustYield(ctx)
		}
	}
	if k.yielding {
		k.lock.release(ctx)
	} else {
		k.lock.step(ctx)
	}
	leads := k.lock.leads()
	k.c.stats.leader.Store(leads)
	switch {
	case !leads:
		k.lead = nil // what was seen is of no use to one who leads again later
	case k.lead == nil:
		k.lead = newLeading3(k)
	}
	assigned := k.lead != nil && k.lead.round(ctx)

	if assigned || !now.Before(k.due) || now.Before(k.expected) {
		if k.discover(ctx, work) {
			k.due = time.Now().Add(k.discoverEvery())
		} else {
			k.due = time.Now().Add(min(time.Second, k.discoverEvery()))
		}
	}
	k.await(ctx, work)

	next := time.Until(k.due)
	if k.lead != nil {
		next = min(next, time.Until(k.lead.due))
	}
	if !k.yielding {
		next = min(next, time.Until(k.lock.next))
	}
	if len(k.waiting) > 0 {
		next = min(next, waitingLook, k.renewAfter()/4)
	}
	next = max(next, 10*time.Millisecond)
	k.expected = time.Now().Add(next * 9 / 10) // it varies by a tenth
	return next
}

// mustYield reports whether workers of the official library are on the way from
// one way of sharing the table to another, or wait to be, which one of them must
// lead.
func (k *kcl3) mustYield(ctx context.Context) bool {
	migrating := k.state.Migrating()
	if !migrating && (!k.state.LegacyTables || k.state.TableMigration != "") {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, k.c.cfg.FailoverTime)
	defer cancel()
	rows, err := k.store.ListWorkers(ctx)
	now := time.Now()
	if migrating {
		return err != nil || OfficialActive(rows, now)
	}
	// The move into one table begins with a row that only a leader that knows of it
	// writes.
	//
	// Source: amazon-kinesis-client 3.5, TableMigrationStateMachineImpl.
	return slices.ContainsFunc(rows, func(r WorkerRow) bool {
		return r.official() && r.active(now) && r.SupportCode >= supportCode
	})
}

// discover finds the leases that show this worker as their owner, and begins
// with those that it does not hold. It reports false if that failed.
func (k *kcl3) discover(ctx, work context.Context) bool {
	callCtx, cancel := context.WithTimeout(ctx, k.c.cfg.FailoverTime)
	keys, err := k.store.Owned(callCtx, k.c.cfg.WorkerID)
	cancel()
	if err != nil {
		k.c.stats.listErrors.Add(1)
		if ctx.Err() == nil && k.failed.fail() {
			k.c.log.Warn("leases of this worker not found; trying again", errAttr(err))
		}
		return false
	}
	if n := k.failed.ok(); n > 0 {
		k.c.log.Info("leases of this worker found again", slog.Int("failed", n))
	}
	for key := range k.waiting {
		if !slices.Contains(keys, key) {
			delete(k.waiting, key)
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards found
	var found []Lease
	for _, key := range keys {
		if _, waits := k.waiting[key]; waits || k.c.holds(key) || !k.c.streams.reads(key) {
			continue
		}
		wg.Go(func() {
			// The index may lag: the lease itself tells.
			if l, ok, err := k.c.getLease(ctx, key); err == nil && ok && k.owns(l) {
				mu.Lock()
				found = append(found, l)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, l := range found {
		k.waiting[l.Key] = waiting{lease: l}
	}
	k.tell(found)
	return true
}

// tell lets others in the process know what was seen.
func (k *kcl3) tell(found []Lease) {
	if k.lead != nil && k.lead.table.seen != nil {
		return // the leader sees all
	}
	seen := map[string]observed{}
	at := time.Now()
	for _, l := range found {
		seen[l.Key] = observed{Lease: l, changed: at}
	}
	k.c.mu.Lock()
	for key, h := range k.c.held {
		if h != nil {
			seen[key] = observed{Lease: *h.stored.Load(), changed: at}
		}
	}
	k.c.mu.Unlock()
	k.c.looked.Store(&look{at, seen})
}

// owns reports whether this worker is to read the lease's shard. One that is
// being handed over, to us or by us, is not: the old owner has not finished.
func (k *kcl3) owns(l Lease) bool {
	return l.Owner == k.c.cfg.WorkerID && l.CheckpointOwner == "" && !l.ended() && l.Invalid == nil
}

// await begins with the leases whose shards may be read, and renews the others.
func (k *kcl3) await(ctx, work context.Context) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards after
	after := map[string]waiting{}
	for key, w := range byKey(k.waiting) {
		wg.Go(func() {
			if w, still := k.tend(ctx, work, w); still {
				mu.Lock()
				after[key] = w
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	k.waiting = after
}

// tend does what is due for one lease that waits. It reports false if it does
// not wait any more.
func (k *kcl3) tend(ctx, work context.Context, w waiting) (waiting, bool) {
	ready, known := k.readable(ctx, w.lease)
	if !ready && known && time.Since(w.written) < k.renewAfter() {
		return w, true
	}
	if ready && (k.c.isStopping() || ctx.Err() != nil || !k.c.reserve(w.lease.Key)) {
		return w, false
	}
	l, sent, err := k.adopt(work, w.lease)
	if ready && err == nil {
		k.begin(work, l, sent)
		return w, false
	}
	if ready {
		k.unreserve(w.lease.Key)
	}
	if conflict, ok := errors.AsType[*ConflictError](err); ok {
		if now := conflict.Current; now != nil && k.owns(*now) {
			w.lease = *now // a write of ours whose answer was lost, or a leader's
			return w, true
		} else if now != nil && now.CheckpointOwner == k.c.cfg.WorkerID {
			k.passOn(work, *now)
		}
		return w, false
	}
	if err != nil {
		k.c.stats.leaseWriteErrors.Add(1)
		return w, true
	}
	return waiting{lease: l, written: sent}, true
}

// begin begins to read the shard of a lease that was reserved and adopted.
func (k *kcl3) begin(work context.Context, l Lease, sent time.Time) {
	k.c.stats.leasesAssigned.Add(1)
	k.c.log.Info("lease assigned to this worker", lease(l.Key))
	k.c.start(work, l, sent)
}

func (k *kcl3) unreserve(key string) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	delete(k.c.held, key)
}

// passOn ends the hand-over of a lease that was never begun here.
func (k *kcl3) passOn(work context.Context, l Lease) {
	ctx, cancel := context.WithTimeout(work, k.c.cfg.attemptTimeout())
	defer cancel()
	if _, err := k.store.Update(ctx, l, Write{EndHandOver: true}); err != nil {
		k.c.log.Warn("hand-over of a lease not ended; the leader will do it", lease(l.Key), errAttr(err))
	}
}

// adopt renews a lease that was assigned to this worker, and marks it as this
// process's, by which it knows its own writes. An assignment is no sign of life.
// One that nobody has is assigned to this worker by the same write.
func (k *kcl3) adopt(work context.Context, l Lease) (Lease, time.Time, error) {
	k.c.writes <- struct{}{} // every holder of a place is bounded by a timeout
	defer func() { <-k.c.writes }()
	ctx, cancel := context.WithTimeout(work, k.c.cfg.attemptTimeout())
	defer cancel()
	sent := time.Now()
	if l.holder() == "" {
		got, err := k.store.Assign(ctx, l, Assignment{Owner: k.c.cfg.WorkerID, Incarnation: k.c.incarnation})
		return got, sent, err
	}
	got, err := k.store.Update(ctx, l, Write{Incarnation: k.c.incarnation})
	return got, sent, err
}

// readable reports whether all parents of the lease's shard that have a lease
// have been read to their end; known is false if it could not be found out.
func (k *kcl3) readable(ctx context.Context, l Lease) (ready, known bool) {
	for _, p := range l.Parents {
		parent, ok, err := k.c.getLease(ctx, p)
		if err != nil {
			return false, false
		}
		if ok && !parent.ended() {
			return false, true
		}
	}
	return true, true
}

// The rest of what rules are.

func (k *kcl3) renewAfter() time.Duration { return k.c.cfg.renewAfter() }

func (k *kcl3) trustedUntil(written time.Time) time.Time {
	return written.Add(k.c.cfg.trustFor())
}

func (k *kcl3) ours(h *holding, now *Lease, w Write) bool {
	return k.c.me().left(*h.stored.Load(), now, w)
}

// parting releases the lease. One that is being handed over is let go to its
// next owner, which the write itself sees to.
func (k *kcl3) parting(_ context.Context, _ *holding, w Write) Write {
	w.Release = true
	return w
}

// child has this worker go on with the children of a shard that it has read to
// its end; the leader balances later.
func (k *kcl3) child(l Lease, ready bool) Lease {
	k.c.mu.Lock()
	room := len(k.c.held) <= k.c.cfg.MaxLeasesForWorker // the parent's lease goes
	k.c.mu.Unlock()
	if ready && room && !k.c.isStopping() {
		l.Owner, l.Incarnation = k.c.cfg.WorkerID, k.c.incarnation
	}
	return l
}

// takeChild begins with a child that was created as this worker's, and with one
// that nobody has: its second parent ended later than the first. That is the
// write that a leader makes. One that the leader has assigned is its owner's.
func (k *kcl3) takeChild(work context.Context, l Lease, _ time.Time) {
	if l.holder() != "" && !k.owns(l) || !k.c.reserve(l.Key) {
		return
	}
	got, sent, err := k.adopt(work, l)
	if err != nil {
		k.unreserve(l.Key)
		return // the next look finds it, or the leader does
	}
	k.begin(work, got, sent)
}

func (k *kcl3) lives(o observed, now time.Time) bool {
	return now.Sub(o.changed) <= k.c.cfg.FailoverTime
}

func (k *kcl3) parts(Lease) {}

func (k *kcl3) leave(context.Context) {}
