package consumer

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/internal/peers"
)

// Properties of a worker's row by which its peers find it. See package peers.
const (
	propPeerAddr   = "g_addr"
	propPeerSecret = "g_secret" // in base64: who can read the row may call the worker
	propPeerTerm   = "g_term"
)

const (
	// verifyWithin is how long the leases of a worker that has paused may take
	// to be verified before they are given up. With the 1.2 s after which it
	// pauses that is less than the 1.5 s after which its watchers vote, with
	// clocks that differ by 5 %: so nobody else reads a shard while the batch
	// that was in flight is still being processed.
	verifyWithin = 150 * time.Millisecond

	// claimApart is the time between the tries of workers to replace a leader
	// that their peers call dead, in the order of their age; from the fifth on
	// they try together, as some of the older ones may be dead as well.
	claimApart = 250 * time.Millisecond
	claimTurns = 4

	// drainWithin is how long a stop waits for what this worker's last hints tell: that
	// its leases are free, which others would find out a fifth of the failover time
	// later at worst.
	drainWithin = 250 * time.Millisecond

	// introduceEvery is the time between two looks for the addresses of workers
	// that have not told one, or could not be asked.
	introduceEvery = time.Second
)

// peering is what a worker under [ModeNative] does with its peers: it tells them
// where it is found, has them watch it, and acts on what they say of others. It is
// nil in a worker without Config.PeerAddr.
//
// The table stays the judge. A worker that its watchers call dead is taken as
// dead only while its row, read after the leases were listed, still has the term
// that they have given up; and each lease is taken by the counter of that
// listing.
type peering struct {
	c    *Consumer
	n    *native
	mesh *peers.Mesh

	leader atomic.Pointer[string] // owner of the lock, as last read
	kick   chan struct{}          // capacity 1: the workers have changed
	stop   chan struct{}          // closed by close
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	resumed chan struct{}
	known   map[string]knownPeer // by incarnation
	dead    map[string]deadPeer  // likewise
}

// knownPeer is what a worker's row has told of it.
type knownPeer struct {
	member peers.Member // without address if it has none
	start  int64
}

// deadPeer is a verdict.
type deadPeer struct {
	peers.Verdict
	at time.Time
}

func newPeering(n *native) *peering {
	if n.c.cfg.PeerAddr == "" {
		return nil
	}
	return &peering{
		c: n.c, n: n,
		kick: make(chan struct{}, 1), stop: make(chan struct{}), resumed: make(chan struct{}),
		known: map[string]knownPeer{}, dead: map[string]deadPeer{},
	}
}

// listenError is what keeps a worker from listening for its peers: the user is to
// change something.
type listenError struct{ err error }

func (e *listenError) Error() string {
	return "listen for peers; choose another PeerAddr, or none: " + e.err.Error()
}

func (e *listenError) Unwrap() error { return e.err }

// open begins to listen, if that was not done before. It is called before the
// worker's row is first written.
func (p *peering) open(ctx context.Context) error {
	if p == nil || p.mesh != nil {
		return nil
	}
	cfg := &p.c.cfg
	ln, err := p.c.listen(ctx, "tcp", cfg.PeerAddr)
	if err != nil {
		return &listenError{err}
	}
	self := peers.Member{ID: cfg.WorkerID, Incarnation: p.c.incarnation, Addr: cfg.PeerAdvertiseAddr, Secret: make([]byte, 32)}
	_, _ = rand.Read(self.Secret) // never fails
	if self.Addr == "" {
		self.Addr = advertised(ln.Addr().String())
	}
	p.mesh, err = peers.New(self, ln, peers.Config{
		Dial: p.c.dial, TLS: cfg.PeerTLS, Logger: p.c.log,
		OnPause: p.pause, OnDead: p.confirmed, OnHint: p.hinted,
	})
	if err != nil {
		_ = ln.Close() // nobody has called
		return &listenError{err}
	}
	p.n.row.set(map[string]string{
		propPeerAddr: self.Addr, propPeerSecret: base64.StdEncoding.EncodeToString(self.Secret), propPeerTerm: "1",
	})
	p.wg.Go(p.introduce)
	return nil
}

// advertised returns the address at which others reach one that listens at addr.
func advertised(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			return net.JoinHostPort(name, port)
		}
	}
	return addr
}

// close says goodbye to all. No lease must be held any more.
func (p *peering) close() {
	if p == nil || p.mesh == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainWithin)
	p.mesh.Drain(ctx)
	cancel()
	close(p.stop)
	_ = p.mesh.Close() // the listener's error would tell nothing
	p.wg.Wait()
}

// news tells that the workers may have changed.
func (p *peering) news() {
	if p == nil {
		return
	}
	select {
	case p.kick <- struct{}{}:
	default: // it will look
	}
}

// introduce keeps the mesh's members those that the leader's bulletin names.
func (p *peering) introduce() {
	ctx, cancel := p.untilClosed()
	defer cancel()
	timer := time.NewTimer(introduceEvery)
	defer timer.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-p.kick:
		case <-timer.C:
		}
		p.meet(ctx)
		timer.Reset(introduceEvery)
	}
}

// untilClosed returns a context that ends with close.
func (p *peering) untilClosed() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	p.wg.Go(func() {
		select {
		case <-p.stop:
		case <-ctx.Done():
		}
		cancel()
	})
	return ctx, cancel
}

// meet looks up workers that are new, and forgets those that are gone.
func (p *peering) meet(ctx context.Context) {
	var list []peers.Member
	present := map[string]bool{}
	for _, w := range p.n.news.Load().Workers {
		present[w.Incarnation] = true
		if w.ID == p.c.cfg.WorkerID {
			continue
		}
		p.mu.Lock()
		k, known := p.known[w.Incarnation]
		_, dead := p.dead[w.Incarnation]
		p.mu.Unlock()
		if !known {
			if k, known = p.ask(ctx, w.ID, w.Incarnation); !known {
				continue
			}
		}
		if k.member.Addr != "" && !dead && !w.Silent { // of rows of the dead there may be many
			list = append(list, k.member)
		}
	}
	p.mu.Lock()
	for inc := range p.known {
		if !present[inc] {
			delete(p.known, inc)
		}
	}
	for inc, d := range p.dead {
		if !present[inc] && time.Since(d.at) > time.Minute {
			delete(p.dead, inc)
		}
	}
	p.mu.Unlock()
	p.mesh.SetMembers(list)
}

// ask reads the row of one worker.
func (p *peering) ask(ctx context.Context, id, incarnation string) (knownPeer, bool) {
	ctx, cancel := context.WithTimeout(ctx, p.n.times.attempt)
	defer cancel()
	row, ok, err := p.n.store.GetWorker(ctx, id)
	if err != nil || !ok || row.Properties[propIncarnation] != incarnation {
		return knownPeer{}, false
	}
	k := knownPeer{member: peers.Member{ID: id, Incarnation: incarnation, Addr: row.Properties[propPeerAddr]}}
	k.start, _ = strconv.ParseInt(row.Properties[propStart], 10, 64) // 0: the oldest
	secret, err := base64.StdEncoding.DecodeString(row.Properties[propPeerSecret])
	if err != nil {
		k.member.Addr = ""
	}
	k.member.Secret = secret
	p.mu.Lock()
	p.known[incarnation] = k
	p.mu.Unlock()
	return k, true
}

// wait returns when the worker may deliver; false if ctx has ended, or stopping
// was closed, before.
func (p *peering) wait(ctx context.Context, stopping <-chan struct{}) bool {
	if p == nil || p.mesh == nil {
		return true
	}
	for {
		p.mu.Lock()
		resumed := p.resumed
		p.mu.Unlock()
		if p.mesh.Active() {
			return true
		}
		select {
		case <-resumed:
		case <-stopping:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// paused reports whether the worker must decide nothing.
func (p *peering) paused() bool { return p != nil && p.mesh != nil && !p.mesh.Active() }

// pause verifies this worker's leases. The row comes first, then one write for
// each lease: so whoever takes this worker for dead either sees the new term, or
// has listed the leases before they were written to.
func (p *peering) pause(next uint64) {
	p.c.stats.peerPauses.Add(1)
	p.n.row.set(map[string]string{propPeerTerm: strconv.FormatUint(next, 10)})
	base, cancelAll := p.untilClosed()
	defer cancelAll()

	ctx, cancel := context.WithTimeout(base, verifyWithin)
	since, err := p.n.row.doubt(ctx)
	held := p.c.holdings()
	var wg sync.WaitGroup
	for _, h := range held {
		wg.Go(func() {
			if err != nil || !h.verify(ctx, since) {
				p.c.stats.leasesExpired.Add(1)
				h.lose()
			}
		})
	}
	wg.Wait()
	cancel()
	for try := 0; err != nil; try++ {
		if sleep(base, writePolicy.Wait(try, chance)) != nil {
			return
		}
		_, err = p.n.row.doubt(base)
	}
	if p.mesh.Resume(next) {
		p.mu.Lock()
		close(p.resumed)
		p.resumed = make(chan struct{})
		p.mu.Unlock()
		p.c.lookNow()
	}
}

// doubt writes the row, and from then on trusts no lease on the ground of what
// was known of it before.
func (r *ownRow) doubt(ctx context.Context) (since time.Time, err error) {
	if err := r.beatNow(ctx); err != nil {
		return since, err
	}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return since, context.Cause(ctx)
	}
	t := *r.trust.Load()
	t.since, t.lapses = time.Now(), t.lapses+1
	r.trust.Store(&t)
	return t.since, nil
}

// verify has the lease written to, and reports whether that was done by a write
// sent at since or later.
func (h *holding) verify(ctx context.Context, since time.Time) bool {
	for h.written.Load().Before(since) {
		a := h.nextAttempt()
		h.forced.Store(true)
		select {
		case h.poke <- struct{}{}:
		default: // the keeper is about to write
		}
		select {
		case <-a.done: // perhaps a write of before: look again
		case <-h.over:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// confirmed is told that all watchers of a worker, this one among them, call it
// dead.
func (p *peering) confirmed(v peers.Verdict) {
	p.c.log.Warn("peers confirm that a worker is dead", slog.String("dead", v.ID), slog.Bool("silent", v.Silent))
	p.c.stats.peerDeaths.Add(1)
	p.bury(v)
	hint := peers.Hint{Kind: peers.HintDead, Verdict: v}
	if leader := p.leader.Load(); leader != nil && *leader != v.ID {
		if *leader != p.c.cfg.WorkerID {
			p.mesh.Send(*leader, hint)
		}
		return
	}
	// All must know, as one of them is to lead now.
	for _, id := range p.others(v.ID) {
		p.mesh.Send(id, hint)
	}
}

// hinted is told what another worker says.
func (p *peering) hinted(_ string, h peers.Hint) {
	switch h.Kind {
	case peers.HintDead:
		p.bury(h.Verdict)
	case peers.HintReleased:
		p.n.surveyNow()
	case peers.HintLook:
		p.c.lookNow()
	}
}

// bury notes a verdict, and has it acted upon.
func (p *peering) bury(v peers.Verdict) {
	if v.Incarnation == p.c.incarnation {
		return
	}
	p.mu.Lock()
	old, known := p.dead[v.Incarnation]
	if !known || old.Term < v.Term {
		p.dead[v.Incarnation] = deadPeer{v, time.Now()}
	}
	rank := p.rankLocked()
	p.mu.Unlock()
	p.news()
	p.n.surveyNow()
	if leader := p.leader.Load(); rank > 0 && leader != nil && *leader == v.ID {
		time.AfterFunc(time.Duration(rank)*claimApart, p.c.lookNow)
	}
}

// rankLocked returns how many workers that live are older than this one. A leader that
// is new sees the rows of all that have died before, and tells of them for a while.
func (p *peering) rankLocked() int {
	mine, _ := strconv.ParseInt(p.n.row.property(propStart), 10, 64) // always there
	out := map[string]bool{}
	for _, w := range p.n.news.Load().Workers {
		out[w.Incarnation] = w.Silent || w.Stopping
	}
	rank := 0
	for inc, k := range p.known {
		_, dead := p.dead[inc]
		if !dead && !out[inc] && k.member.Addr != "" && cmp.Or(cmp.Compare(k.start, mine), cmp.Compare(k.member.ID, p.c.cfg.WorkerID)) < 0 {
			rank++
		}
	}
	return min(rank, claimTurns)
}

// lost reports whether the process is dead by a verdict of its peers that may
// still hold.
func (p *peering) lost(incarnation string) bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, dead := p.dead[incarnation]
	return dead
}

// gone reports whether the owner of a lease is dead by a verdict of its peers and
// by its row, which is read now: after the leases were listed.
func (p *peering) gone(ctx context.Context, id, incarnation string) bool {
	if !p.lost(incarnation) {
		return false
	}
	p.mu.Lock()
	d := p.dead[incarnation]
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, p.n.times.attempt)
	defer cancel()
	row, ok, err := p.n.store.GetWorker(ctx, id)
	switch {
	case err != nil:
		return false
	case !ok || row.Properties[propIncarnation] != incarnation:
		return true
	case row.Properties[propPeerTerm] == strconv.FormatUint(d.Term, 10):
		return true
	}
	p.seen(newSeenWorker(row, time.Now()))
	return false
}

// seen is told of a worker's row. One of a later term than a verdict makes it
// void, now and for ever.
func (p *peering) seen(w seenWorker) {
	if p == nil {
		return
	}
	term, err := strconv.ParseUint(w.row.Properties[propPeerTerm], 10, 64)
	p.mu.Lock()
	d, dead := p.dead[w.incarnation]
	void := dead && err == nil && term > d.Term
	if void {
		delete(p.dead, w.incarnation)
	}
	p.mu.Unlock()
	if void {
		p.news()
		p.c.log.Info("worker that its peers called dead has verified itself", slog.String("suspect", w.row.ID))
	}
}

// follow is told who leads.
func (p *peering) follow(lock *LeaderLock) {
	if p == nil {
		return
	}
	var owner *string
	if lock != nil && !lock.Released {
		owner = &lock.Owner
	}
	p.leader.Store(owner)
}

// heir reports whether it is for this worker to replace a leader that is dead.
func (p *peering) heir(lock *LeaderLock) bool {
	if p == nil || lock == nil {
		return false
	}
	incarnation := p.n.news.Load().incarnation(lock.Owner)
	p.mu.Lock()
	defer p.mu.Unlock()
	d, dead := p.dead[incarnation]
	return dead && time.Since(d.at) >= time.Duration(p.rankLocked())*claimApart
}

// tell has workers look at what the leader has just decided about them.
func (p *peering) tell(ids []string) {
	if p == nil || p.mesh == nil {
		return
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if id != "" && id != p.c.cfg.WorkerID {
			p.mesh.Send(id, peers.Hint{Kind: peers.HintLook})
		}
	}
}

// released tells that this worker lets go: the leader, or if it led itself all, as
// any of them may lead now.
func (p *peering) released() {
	if p == nil || p.mesh == nil {
		return
	}
	hint := peers.Hint{Kind: peers.HintReleased}
	if leader := p.leader.Load(); leader != nil && *leader != p.c.cfg.WorkerID {
		p.mesh.Send(*leader, hint)
		return
	}
	for _, id := range p.others("") {
		p.mesh.Send(id, hint)
	}
}

// others returns the ids of the workers that can be told something, without one.
func (p *peering) others(without string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for _, k := range p.known {
		if k.member.ID != without && k.member.Addr != "" {
			ids = append(ids, k.member.ID)
		}
	}
	return ids
}
