package consumer

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// nativeTimes are the times of [ModeNative], which all follow from
// Config.FailoverTime, F.
type nativeTimes struct {
	beat    time.Duration // between two writes of a worker's row: F/5
	dead    time.Duration // after which a row that does not change is a dead worker's: 3 beats
	trust   time.Duration // for which a worker trusts its leases, from before its row was written: 0.9 of that
	lock    time.Duration // for which the leader's lock is valid without a new version: F/2
	look    time.Duration // between two looks at the lock: F/10
	busy    time.Duration // between two looks while leases move: F/40
	relook  time.Duration // after which a worker that does not lead lists the leases for no reason: 6 F
	attempt time.Duration // bounds a call about a row or the lock: F/10
}

func newNativeTimes(failover time.Duration) nativeTimes {
	beat := failover / 5
	return nativeTimes{
		beat: beat, dead: 3 * beat, trust: 3 * beat * 9 / 10, lock: failover / 2,
		look: failover / 10, busy: failover / 40, relook: 6 * failover, attempt: failover / 10,
	}
}

// native is [ModeNative]. A worker shows that it lives by one row of its own,
// whatever the number of its leases. One worker leads: it alone decides who has which
// lease. What it decides, and what it has seen of the workers' rows, stands beside its lock as a
// bulletin, which all others read.
//
// A lease is its owner's while the owner's row changes and shows the incarnation
// that the lease shows. The leader gives leases without such an owner to workers, by one
// conditional write each. A lease of a worker that lives moves by that worker's own
// last write alone, once its processor has finished. So a new owner begins with no write at
// all, as long as it has been alive all the time.
type native struct {
	c     *Consumer
	store CoordinationStore
	times nativeTimes
	row   *ownRow
	peers *peering                 // nil without Config.PeerAddr
	news  atomic.Pointer[bulletin] // the last one read or published; not to be changed

	mu     sync.Mutex       // guards parted
	parted map[string]int64 // counters of leases as this worker last knew them

	suspect atomic.Bool // look at all rows now
	relist  atomic.Bool // a lease of this worker may not be read: list them again

	stopBeats context.CancelFunc // nil before prepare
	beats     sync.WaitGroup
	farewell  sync.WaitGroup

	// Owned by the goroutine of attend.
	lock     *leaderClaim
	table    *table
	workers  map[string]seenWorker
	lead     leading
	expected map[string]bool // leases that are on their way here
	number   int64           // of the last bulletin that the leases were listed for
	settled  time.Time       // when the store last made up its mind
	late     seenWorker      // a row of an earlier process that was found over the own one
	failed   streak
}

// bulletin is what the leader tells all workers.
type bulletin struct {
	Number  int64            `json:"n"` // grows when leases have been given to workers
	Workers []bulletinWorker `json:"w"`
	Moves   []bulletinMove   `json:"m,omitempty"` // from live workers, under way
	Foreign int64            `json:"f,omitempty"` // workers that do not know these rules
}

type bulletinWorker struct {
	ID          string `json:"id"`
	Incarnation string `json:"i"`
	Seq         string `json:"s"`
	Stopping    bool   `json:"x,omitempty"`
	Silent      bool   `json:"d,omitempty"` // it gets no leases before it writes again
}

type bulletinMove struct {
	Lease string `json:"l"`
	From  string `json:"a"`
	To    string `json:"b"`
}

// readBulletin reads what stands beside a lock; ok is false if it is no bulletin.
func readBulletin(data []byte) (b *bulletin, ok bool) {
	b = new(bulletin)
	err := json.Unmarshal(data, b)
	return b, err == nil && b.Workers != nil
}

// incarnation returns that of a worker, or "".
func (b *bulletin) incarnation(id string) string {
	for _, w := range b.Workers {
		if w.ID == id {
			return w.Incarnation
		}
	}
	return ""
}

func newNative(c *Consumer, store CoordinationStore) *native {
	n := &native{
		c: c, store: store, times: newNativeTimes(c.cfg.FailoverTime), table: c.newTable(),
		parted: map[string]int64{}, workers: map[string]seenWorker{}, expected: map[string]bool{},
	}
	n.row = newOwnRow(c, store, n.times)
	n.peers = newPeering(n)
	n.row.beaten = func() {
		if c.stats.leader.Load() {
			c.lookNow() // a leader tells others of its own row as well
		}
	}
	n.lock = &leaderClaim{store: store, me: c.cfg.WorkerID, duration: n.times.lock, attempt: n.times.attempt}
	n.news.Store(&bulletin{Workers: []bulletinWorker{}})
	n.lead = newLeading()
	return n
}

// prepare begins to write the row, with a mark by which this worker gets no
// leases yet. There is no lease before it: others judge by it, also by which rules
// leases are shared.
func (n *native) prepare(ctx context.Context) error {
	if err := n.peers.open(ctx); err != nil { // first: peers remember what the row says of the address
		return err
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	n.row.set(map[string]string{propStopping: "1"})
	if err := n.row.beatNow(ctx); err != nil {
		return err
	}
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stopBeats = stop
	n.beats.Go(func() { n.row.run(beating) })
	return nil
}

// settle has the store make up its mind.
func (n *native) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.times.attempt)
	defer cancel()
	_, err := n.store.Coordination(ctx)
	if err == nil {
		n.settled = time.Now()
	}
	return err
}

func (n *native) attend(ctx, work context.Context) {
	n.row.set(map[string]string{propStopping: ""})
	_ = n.row.beatNow(ctx) // the next beat tells it as well
	n.c.loop(ctx, func() time.Duration { return n.look(ctx, work) })

	n.c.stats.leader.Store(false)
	n.row.set(map[string]string{propStopping: "1"})
	n.farewell.Go(func() {
		last := context.WithoutCancel(ctx)
		_ = n.row.beatNow(last) // first: who leads next must not give it leases; the next beat tells it as well
		if err := n.lock.release(last); err != nil {
			n.c.log.Warn("leader's lock not released; others wait until it expires", errAttr(err))
		}
		n.peers.released()
	})
}

// leave ends the beats. No lease must be held any more.
func (n *native) leave(ctx context.Context) {
	n.farewell.Wait()
	defer n.peers.close() // last: what is told now is on its way meanwhile
	n.peers.released()
	if n.stopBeats == nil {
		return
	}
	n.releaseRest(ctx)
	n.stopBeats()
	n.beats.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.times.attempt)
	defer cancel()
	if err := n.row.remove(ctx); err != nil {
		n.c.log.Warn("row of this worker not removed; the leader will do it", errAttr(err))
	}
}

// releaseRest releases leases that came while this worker stopped.
func (n *native) releaseRest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.c.cfg.attemptTimeout())
	defer cancel()
	leases, err := n.store.List(ctx)
	if err != nil {
		return // they are given away in a while
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, l := range leases {
		if n.owns(l) {
			wg.Go(func() { _, _ = n.store.Update(ctx, l, Write{Release: true}) }) // likewise
		}
	}
}

// look does one round and returns the time until the next.
func (n *native) look(ctx, work context.Context) time.Duration {
	if n.peers.paused() {
		return n.times.busy // it decides nothing before it has verified itself
	}
	if time.Since(n.settled) > time.Minute {
		_ = n.settle(ctx) // the next look does it
	}
	if !n.lock.leads() || n.lock.pending != nil {
		if err := n.lock.look(ctx); err != nil {
			n.c.stats.listErrors.Add(1)
			if n.failed.fail() && ctx.Err() == nil {
				n.c.log.Warn("leader's lock not read; trying again", errAttr(err))
			}
			return n.times.look
		}
		if n.failed.ok() > 0 {
			n.c.log.Info("leader's lock read again")
		}
	}
	if !n.lock.leads() {
		n.read(n.lock.seen)
		if n.lock.vacancy() <= 0 || n.peers.heir(n.lock.seen) {
			n.candidate(ctx)
		}
	}
	n.c.stats.leader.Store(n.lock.leads())
	again := n.relist.Swap(false)
	var listed bool
	if n.lock.leads() {
		listed = n.govern(ctx, work)
	}
	n.peers.follow(n.lock.seen)
	n.peers.news()
	if listed = n.follow(ctx, work, listed, again); again && !listed {
		n.relist.Store(true)
	}
	return n.pause()
}

// pause returns the time until there is something to look at.
func (n *native) pause() time.Duration {
	d := n.times.look
	if len(n.expected) > 0 || len(n.news.Load().Moves) > 0 {
		d = n.times.busy
	}
	if n.lock.leads() {
		for _, w := range n.workers {
			if w.stopping {
				d = n.times.busy
			}
			if left := time.Until(w.first.Add(n.times.dead)); left > 0 {
				d = min(d, left+left/8) // jitter must not make it too early
			}
		}
		return max(d, time.Millisecond)
	}
	if left := n.lock.vacancy(); left > 0 {
		d = min(d, left+left/8)
	}
	return max(d, time.Millisecond)
}

// read takes over what another worker has published.
func (n *native) read(lock *LeaderLock) {
	if lock == nil || len(lock.Data) == 0 {
		return
	}
	b, ok := readBulletin(lock.Data)
	if !ok {
		n.c.log.Error("what the leader tells is not understood; a worker of another mode or version leads")
		return
	}
	now := time.Now()
	workers := make(map[string]seenWorker, len(b.Workers))
	for _, w := range b.Workers {
		s := seenWorker{incarnation: w.Incarnation, seq: w.Seq, stopping: w.Stopping, silent: w.Silent, first: now}
		if old, ok := n.workers[w.ID]; ok && old.same(s) {
			s.first = old.first
		}
		workers[w.ID] = s
	}
	n.lead.remember(n.workers, workers)
	n.workers = workers
	n.news.Store(b)
}

// follow does what the bulletin says about this worker. listed tells that the
// leases have just been listed, again that they have to be. It reports whether they
// have been.
func (n *native) follow(ctx, work context.Context, listed, again bool) bool {
	b := n.news.Load()
	n.c.stats.foreignWorkers.Store(b.Foreign)
	me := n.c.cfg.WorkerID
	arrived := false
	expected := map[string]bool{}
	for _, m := range b.Moves {
		if m.From == me {
			n.handOver(m, b)
		}
		if m.To == me {
			expected[m.Lease] = true
		}
	}
	for key := range n.expected {
		arrived = arrived || !expected[key] && !n.c.holds(key)
	}
	n.expected = expected

	if !listed && (arrived || b.Number != n.number || again || time.Since(n.table.at) >= n.times.relook) {
		if listed = n.table.refresh(ctx); listed {
			n.checkOwnRow(ctx)
		}
	} else if n.table.seen != nil {
		n.c.looked.Store(&look{time.Now(), n.table.seen}) // that nothing has changed is as good as a look
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	if listed {
		n.number = b.Number
		for _, o := range byKey(n.table.seen) {
			if n.owns(o.Lease) && readable(o.Lease, n.table.seen) && !n.c.holds(o.Key) || o.CheckpointOwner == me {
				wg.Go(func() { n.begin(work, o.Lease, n.table.asked) })
			}
		}
		return true
	}
	for key := range byKey(expected) {
		if n.c.holds(key) {
			continue
		}
		wg.Go(func() {
			asked := time.Now()
			if l, ok, err := n.c.getLease(ctx, key); err == nil && ok && n.owns(l) {
				n.begin(work, l, asked)
			}
		})
	}
	return false
}

// owns reports whether the lease is to be read here.
func (n *native) owns(l Lease) bool {
	return l.Owner == n.c.cfg.WorkerID && l.Incarnation == n.c.incarnation && l.CheckpointOwner == "" && !l.ended() && l.Invalid == nil
}

// begin begins to read the shard of a lease that shows this worker as its owner,
// as it was at the given time or later.
func (n *native) begin(work context.Context, l Lease, asked time.Time) {
	c := n.c
	if l.CheckpointOwner == c.cfg.WorkerID {
		n.endHandOver(work, l)
		return
	}
	if c.isStopping() {
		return
	}
	if now := time.Now(); !now.Before(n.row.trustedUntil(now)) {
		n.relist.Store(true) // not before the row is written again
		return
	}
	if n.leaves(l.Key) {
		// The leader did not know yet.
		ctx, cancel := context.WithTimeout(work, c.cfg.attemptTimeout())
		defer cancel()
		n.relist.Store(true)
		if n.row.beatNow(ctx) == nil {
			_, _ = c.store.Update(ctx, l, Write{Release: true}) // the next look finds it again
		}
		return
	}
	key := l.Key // l may be lost on the way
	if !c.reserve(key) {
		return
	}
	full := c.countHeld() > c.cfg.MaxLeasesForWorker // this one is among them
	n.mu.Lock()
	last, had := n.parted[l.Key]
	n.mu.Unlock()
	var err error
	switch {
	case full:
		ctx, cancel := context.WithTimeout(work, c.cfg.attemptTimeout())
		_, err = c.store.Update(ctx, l, Write{Release: true})
		cancel()
	case n.row.lapsed() || had && l.Counter <= last:
		// It may have been given to another worker on the ground of what was
		// before, or have left here after it was looked at. A write tells.
		l, asked, err = c.tryTake(work, l)
	}
	if full || err != nil {
		c.unreserve(key)
		if err != nil {
			c.stats.leaseWriteErrors.Add(1)
			c.log.Info("lease of this worker has changed; looking again", lease(key), errAttr(err))
			n.relist.Store(true)
		}
		return
	}
	c.stats.leasesAssigned.Add(1)
	c.log.Info("lease assigned to this worker", lease(l.Key))
	c.start(work, l, asked)
}

// leaves reports whether this worker leaves the lease to others for a while.
func (n *native) leaves(key string) bool {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	_, held := n.c.held[key]
	return !held && n.c.leavesLocked(key)
}

// endHandOver lets a lease go that is to be handed over by the rules of the
// official library's 3.x: something outside wants it to.
func (n *native) endHandOver(work context.Context, l Lease) {
	n.c.mu.Lock()
	h, held := n.c.held[l.Key]
	n.c.mu.Unlock()
	if h != nil {
		h.stop(ErrHandoff)
	}
	if held || l.Incarnation != n.c.incarnation {
		return
	}
	ctx, cancel := context.WithTimeout(work, n.c.cfg.attemptTimeout())
	defer cancel()
	_, _ = n.c.store.Update(ctx, l, Write{EndHandOver: true, Incarnation: n.incarnation(ctx, l.Owner)}) // the next look finds it again
}

// handOver has a lease that is held go to another worker.
func (n *native) handOver(m bulletinMove, b *bulletin) {
	incarnation := b.incarnation(m.To)
	n.c.mu.Lock()
	h := n.c.held[m.Lease]
	n.c.mu.Unlock()
	if h == nil || incarnation == "" {
		return
	}
	if h.next.CompareAndSwap(nil, &Assignment{Owner: m.To, Incarnation: incarnation}) {
		h.stop(ErrHandoff)
	}
}

// checkOwnRow finds out whether another process runs under this worker's name.
func (n *native) checkOwnRow(ctx context.Context) {
	callCtx, cancel := context.WithTimeout(ctx, n.times.attempt)
	defer cancel()
	if row, ok, err := n.store.GetWorker(callCtx, n.c.cfg.WorkerID); err == nil && ok {
		n.usurped(row)
	}
}

func (n *native) usurped(row WorkerRow) {
	other := newSeenWorker(row, time.Now())
	if other.incarnation == "" || other.incarnation == n.c.incarnation || n.row.standsDown() {
		return
	}
	if other.before(seenWorker{seq: n.row.begun}) && (n.late.incarnation != other.incarnation || n.late.same(other)) {
		n.late = other // the last beat of a process that has ended may come late
		return
	}
	n.c.log.Error("another process runs under the name of this worker; this one gives up its leases for a while. Give each worker a name of its own",
		slog.String("incarnation", other.incarnation))
	n.row.standDown()
}

// The rest of what rules are.

// renewAfter is 0: no lease is renewed by itself.
func (n *native) renewAfter() time.Duration { return 0 }

func (n *native) trustedUntil(written time.Time) time.Time { return n.row.trustedUntil(written) }

func (n *native) ours(h *holding, now *Lease, w Write) bool {
	stored, me := *h.stored.Load(), n.c.me()
	if now != nil && now.Invalid == nil && now.CheckpointOwner == me.worker && stored.CheckpointOwner == "" && now.Incarnation == me.incarnation &&
		(now.Counter == stored.Counter || now.Counter == stored.Counter+1) {
		// Something outside has it handed over; at most one write of ours came before.
		h.stop(ErrHandoff)
		return true
	}
	return me.left(stored, now, w)
}

func (n *native) parting(ctx context.Context, h *holding, w Write) Write {
	if l := h.stored.Load(); l.CheckpointOwner == n.c.cfg.WorkerID {
		w.EndHandOver, w.Incarnation = true, n.incarnation(ctx, l.Owner)
		return w
	}
	if next := h.next.Load(); next != nil {
		w.NextOwner, w.Incarnation = next.Owner, next.Incarnation
		return w
	}
	w.Release = true
	return w
}

// incarnation returns the process that runs under a name: by its row, as the bulletin
// knows nothing yet of one that has just begun; by the bulletin if that cannot be read.
func (n *native) incarnation(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.times.attempt) // a stop may be why it is asked
	defer cancel()
	if row, ok, err := n.store.GetWorker(ctx, id); err == nil && ok && row.native() {
		return row.Properties[propIncarnation]
	}
	return n.news.Load().incarnation(id)
}

func (n *native) lives(o observed, _ time.Time) bool {
	return n.news.Load().incarnation(o.holder()) == o.Incarnation
}

func (n *native) parts(l Lease) {
	n.mu.Lock()
	n.parted[l.Key] = l.Counter
	n.mu.Unlock()
	switch {
	case n.owns(l):
		n.relist.Store(true) // it was lost, or could not be released, and may have come back
	case n.c.isStopping() || l.ended():
	default:
		n.peers.tell([]string{l.Owner}) // it can begin, if it expects to
		switch {
		case slices.Contains(n.news.Load().Moves, bulletinMove{l.Key, n.c.cfg.WorkerID, l.Owner}):
		case n.c.stats.leader.Load():
			n.surveyNow()
		default:
			n.peers.released() // the leader gives the lease away, or tells the new owner that it is one
		}
	}
}

// child has this worker go on with the children of a shard that it has read to its
// end, unless there would be too many.
func (n *native) child(l Lease, ready bool) Lease {
	// The parent's lease goes, two may come.
	now := time.Now()
	if ready && n.c.countHeld() < n.c.cfg.MaxLeasesForWorker && n.news.Load().Foreign == 0 && now.Before(n.row.trustedUntil(now)) {
		l.Owner, l.Incarnation = n.c.cfg.WorkerID, n.c.incarnation
	}
	return l
}

func (n *native) takeChild(work context.Context, l Lease, asked time.Time) {
	if n.owns(l) {
		n.begin(work, l, asked)
	} else if n.news.Load().Foreign == 0 {
		n.c.take(work, take{l, takeFree})
	}
}

// surveyNow has the leader look at all leases and workers at once. It is a hint:
// what is stored decides.
func (n *native) surveyNow() {
	n.suspect.Store(true)
	n.c.lookNow()
}
