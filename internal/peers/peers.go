package peers

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what a Mesh keeps, whatever others send.
const (
	watchers      = 3    // of each owner
	maxLinks      = 8    // outgoing connections to watchers, and those tried in their place
	maxMembers    = 1024 // of the list
	maxWatched    = 1024 // owners that declare themselves here
	maxIncoming   = 1024 // connections of those who have proved themselves
	maxFromOne    = 8    // the same, of one id
	maxHandshakes = 32   // connections that have not
	maxCouriers   = 64   // targets of hints at one time
	maxQueue      = 64   // hints to one target
	maxEvents     = 256  // callbacks that wait
	minSecret     = 16   // bytes
	maxAddr       = 255
)

// Member is a worker, as it has published itself.
type Member struct {
	ID          string // worker id; at most 128 bytes
	Incarnation string // of the process; at most 64 bytes
	Addr        string // host:port at which others reach it
	Secret      []byte // known to all that may call it; at least 16 random bytes
}

func (p Member) peer() peer { return peer{p.ID, p.Incarnation} }

func (p Member) check() error {
	var errs []error
	if n := len(p.ID); n == 0 || n > maxID {
		errs = append(errs, fmt.Errorf("id has %d bytes, not 1 to %d", n, maxID))
	}
	if n := len(p.Incarnation); n == 0 || n > maxIncarnation {
		errs = append(errs, fmt.Errorf("incarnation has %d bytes, not 1 to %d", n, maxIncarnation))
	}
	if n := len(p.Addr); n == 0 || n > maxAddr {
		errs = append(errs, fmt.Errorf("address has %d bytes, not 1 to %d", n, maxAddr))
	}
	if n := len(p.Secret); n < minSecret {
		errs = append(errs, fmt.Errorf("secret has %d bytes, fewer than %d", n, minSecret))
	}
	return errors.Join(errs...)
}

func (p Member) equal(q Member) bool {
	return p.peer() == q.peer() && p.Addr == q.Addr && string(p.Secret) == string(q.Secret)
}

// Verdict says that a process is dead, as far as all its watchers can tell.
type Verdict struct {
	ID, Incarnation string

	// Term is the process's term that all its watchers have given up. A later
	// one in the table makes the verdict void: the process has verified itself.
	Term uint64

	// Silent tells that nothing was heard; otherwise its connection was closed
	// and its address refuses calls, as when a process ends.
	Silent bool
}

// HintKind says what a [Hint] is about.
type HintKind byte

// Kinds of hints.
const (
	HintLook     HintKind = 1 + iota // look at the table now
	HintReleased                     // leases were released
	HintDead                         // Verdict
)

// Hint tells another worker what it may want to look at. It is never proof: it
// can be late, or be lost.
type Hint struct {
	Kind    HintKind
	Verdict Verdict // of HintDead
}

// Config holds the optional settings of a [Mesh]. The zero Config is valid.
// Callbacks are called one at a time, from one goroutine, and may block; they
// must not call [Mesh.Close].
type Config struct {
	// Dial connects to a member. Default that of a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS, if not nil, secures the connections in both directions: so it must
	// have a certificate, and say whom to trust. Its ServerName is what the
	// certificates of others must fit; if empty, the host of their address.
	TLS *tls.Config

	// OnPause is told that the worker must not act on its leases any more. To
	// go on it stores the term next, writes to each of its leases, and calls
	// [Mesh.Resume]. May be nil.
	OnPause func(next uint64)

	// OnDead is told of a dead process that this one has watched. Each of its
	// watchers is. May be nil.
	OnDead func(Verdict)

	// OnHint receives the hints of others. May be nil.
	OnHint func(from string, h Hint)

	// Logger receives what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

// timing is all that is measured by this process's clock.
type timing struct {
	beat      time.Duration // between two beats
	trust     time.Duration // how long an acknowledged beat lets its sender act
	regrets   time.Duration // how long all connections may be gone
	silence   time.Duration // how long a watcher waits from its last acknowledgement
	closed    time.Duration // how long it waits from a close that is followed by refusals
	ask       time.Duration // for the answer of another watcher
	giveUp    time.Duration // after which a suspicion is left to the table
	call      time.Duration // for a connection to come about
	fresh     time.Duration // within which a good link has heard of its watcher
	stale     time.Duration // after which another watcher takes its place
	settle    time.Duration // after which a watcher of higher rank is preferred
	gather    time.Duration // to wait for more watchers before the first declaration
	idle      time.Duration // after which an incoming connection is closed
	linger    time.Duration // that a courier keeps its connection
	maxHold   time.Duration // bound of the wait after pauses
	calm      time.Duration // after which past pauses are forgotten
	lateTimer time.Duration // from which on a late timer tells of a process that stood still
}

// The owner stops 1.2 s after the sending of the last beat that was
// acknowledged; a watcher votes 1.5 s after its acknowledgement, which is later
// than the sending. 1.2 s by a clock that is 5 % slow is 1.27 s, 1.5 s by one
// that is 5 % fast is 1.42 s. The same holds for a close: an owner meets it at
// its next beat, so it stops within 300 ms, and watchers wait for 400.
var defaultTiming = timing{
	beat:      250 * time.Millisecond,
	trust:     1200 * time.Millisecond,
	regrets:   50 * time.Millisecond,
	silence:   1500 * time.Millisecond,
	closed:    400 * time.Millisecond,
	ask:       300 * time.Millisecond,
	giveUp:    10 * time.Second,
	call:      time.Second,
	fresh:     700 * time.Millisecond,
	stale:     2 * time.Second,
	settle:    5 * time.Second,
	gather:    time.Second,
	idle:      10 * time.Second,
	linger:    5 * time.Second,
	maxHold:   30 * time.Second,
	calm:      time.Minute,
	lateTimer: 500 * time.Millisecond,
}

// Mesh is one worker's part of the net. It is safe for concurrent use.
type Mesh struct {
	self Member
	me   peer
	cfg  Config
	t    timing
	log  *slog.Logger
	ln   net.Listener
	base time.Time // instants are time since then, by the monotonic clock

	stats counters
	until atomic.Int64  // the instant at which trust ends, never if MaxInt64
	term  atomic.Uint64 // changed under mu

	kick   chan struct{} // capacity 1: look at the state now
	wake   chan struct{} // capacity 1: events wait
	stop   chan struct{} // closed by Close
	once   sync.Once     // guards the closing of stop
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines

	mu       sync.Mutex // guards what follows, and what links and records hold
	closing  bool
	members  map[peer]Member
	byID     map[string]Member
	ranked   []Member // without self, best watcher first
	links    map[peer]*link
	own      owner
	watched  map[peer]*watched
	incoming map[*incoming]struct{}
	accepted uint64        // connections so far
	due      time.Duration // when run looks next, at the latest
	greeting []net.Conn    // oldest first
	couriers map[string]*courier
	outbox   []parcel
	events   []event
	pausing  uint64 // the term to tell OnPause; 0 if none
}

// parcel is a hint on its way.
type parcel struct {
	to   string
	hint Hint
}

// event is a callback that waits.
type event struct {
	dead *Verdict
	from string
	hint Hint
}

// New returns a running Mesh for the worker self, which is called at ln. The
// Mesh closes ln; the caller must close the Mesh. It is active, in term 1, and
// knows nobody.
func New(self Member, ln net.Listener, cfg Config) (*Mesh, error) {
	return newMesh(self, ln, cfg, defaultTiming)
}

func newMesh(self Member, ln net.Listener, cfg Config, t timing) (*Mesh, error) {
	err := self.check()
	if ln == nil {
		err = errors.Join(err, errors.New("the listener is nil"))
	}
	if c := cfg.TLS; c != nil && len(c.Certificates) == 0 && c.GetCertificate == nil {
		err = errors.Join(err, errors.New("TLS has no certificate; every worker is called, so it needs one"))
	}
	if err != nil {
		return nil, fmt.Errorf("peers: config: %w", err)
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &Mesh{
		self: self, me: self.peer(), cfg: cfg, t: t, log: cfg.Logger, ln: ln,
		base:     time.Now(),
		kick:     make(chan struct{}, 1),
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
		cancel:   cancel,
		members:  map[peer]Member{},
		byID:     map[string]Member{},
		links:    map[peer]*link{},
		watched:  map[peer]*watched{},
		incoming: map[*incoming]struct{}{},
		couriers: map[string]*courier{},
	}
	m.until.Store(math.MaxInt64)
	m.term.Store(1)
	m.wg.Go(func() { m.run(ctx) })
	m.wg.Go(m.accept)
	m.wg.Go(m.deliver)
	return m, nil
}

// now returns the present instant.
func (m *Mesh) now() time.Duration { return time.Since(m.base) }

// Active reports whether the worker may act on its leases. It is cheap, and to
// be asked before each delivery and each write: when a process has stood still,
// it is right before OnPause is called.
func (m *Mesh) Active() bool { return int64(m.now()) < m.until.Load() }

// Term returns the present term: 1 at first, and one more after each
// [Mesh.Resume].
func (m *Mesh) Term() uint64 { return m.term.Load() }

// Resume lets the worker act again, in the term that OnPause has named, and
// reports whether it does: not if the Mesh is not paused, or at another term.
// Whoever has not yet told the table must not call it.
func (m *Mesh) Resume(term uint64) bool {
	m.mu.Lock()
	ok := m.resumeLocked(m.now(), term)
	m.mu.Unlock()
	if ok {
		m.log.Info("worker verified; it acts again", slog.Uint64("term", term))
		m.lookNow()
	}
	return ok
}

// SetMembers names the workers that live, as far as the caller knows. The
// worker itself may be among them. What cannot be used is left out and counted.
func (m *Mesh) SetMembers(list []Member) {
	members := make(map[peer]Member, len(list))
	for _, p := range list {
		switch {
		case p.peer() == m.me:
		case p.check() != nil || p.ID == m.me.id || len(members) == maxMembers:
			m.stats.invalidMembers.Add(1)
		default:
			p.Secret = slices.Clone(p.Secret)
			members[p.peer()] = p
		}
	}
	m.mu.Lock()
	same := maps.EqualFunc(members, m.members, Member.equal)
	if !same {
		m.members = members
		m.ranked = rank(m.me.id, members)
		m.byID = make(map[string]Member, len(members))
		for _, p := range m.ranked {
			m.byID[p.ID] = p
		}
	}
	m.mu.Unlock()
	if !same {
		m.lookNow()
	}
}

// rank orders members by how well they suit as watchers of id: by a hash of both
// names, so that all have about the same number to watch, and a change of the
// members changes few.
func rank(id string, members map[peer]Member) []Member {
	weight := func(p Member) uint64 {
		h := fnv.New64a()
		_, _ = h.Write(appendString(appendString(nil, id), p.ID)) // never fails
		x := h.Sum64()
		// FNV leaves names that differ in the last letter close together.
		x ^= x >> 33
		x *= 0xff51afd7ed558ccd
		x ^= x >> 33
		x *= 0xc4ceb9fe1a85ec53
		return x ^ x>>33
	}
	return slices.SortedFunc(maps.Values(members), func(a, b Member) int {
		return cmp.Or(cmp.Compare(weight(b), weight(a)), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Incarnation, b.Incarnation))
	})
}

// Send tells a member something. It does not wait; a hint that does not get
// through is lost and counted.
func (m *Mesh) Send(to string, h Hint) {
	m.stats.hintsAsked.Add(1)
	if !h.valid() {
		m.stats.hintsDropped.Add(1)
		return
	}
	m.mu.Lock()
	full := len(m.outbox) >= maxEvents || m.closing
	if !full {
		m.outbox = append(m.outbox, parcel{to, h})
	}
	m.mu.Unlock()
	if full {
		m.stats.hintsDropped.Add(1)
		return
	}
	m.lookNow()
}

// lookNow makes run look at the state.
func (m *Mesh) lookNow() {
	select {
	case m.kick <- struct{}{}:
	default: // it will
	}
}

// Drain waits until every hint was sent, or given up, or until ctx ends. It is for
// before [Mesh.Close], which drops what is still to be sent.
func (m *Mesh) Drain(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for m.stats.hintsSent.Load()+m.stats.hintsDropped.Load() < m.stats.hintsAsked.Load() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Close tells watchers and watched that the worker leaves, so that nobody
// suspects it, and ends all. A callback that runs is waited for. It may be
// called more than once.
func (m *Mesh) Close() error {
	var err error
	m.once.Do(func() {
		close(m.stop)
		err = m.ln.Close()
		m.mu.Lock()
		m.closing = true
		for c := range m.incoming {
			// Its reader wakes, says goodbye, and closes it.
			_ = c.s.conn.SetReadDeadline(time.Now().Add(-time.Second))
		}
		for _, c := range m.greeting {
			_ = c.Close() // nothing was said on it
		}
		m.mu.Unlock()
		m.cancel()
	})
	m.wg.Wait()
	return err
}

// run looks at the state whenever something is due.
func (m *Mesh) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-m.kick:
		case <-timer.C:
		}
		timer.Reset(m.step(ctx, m.now()))
	}
}

// step brings the state up to now and returns the time until the next look.
func (m *Mesh) step(ctx context.Context, now time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing {
		return time.Second
	}
	wait := time.Second
	m.excuseLocked(now)
	wait = min(wait, m.ownLocked(now))
	wait = min(wait, m.linksLocked(ctx, now))
	wait = min(wait, m.watchLocked(ctx, now))
	m.tidyLocked(now)
	m.postLocked(ctx)
	wait = max(wait, time.Millisecond)
	m.due = now + wait
	return wait
}

// deliver makes the callbacks.
func (m *Mesh) deliver() {
	for {
		select {
		case <-m.stop:
			return
		case <-m.wake:
		}
		for m.deliverOne() {
			select {
			case <-m.stop:
				return
			default:
			}
		}
	}
}

// deliverOne makes one callback and reports whether there was one to make.
func (m *Mesh) deliverOne() bool {
	m.mu.Lock()
	next := m.pausing
	m.pausing = 0
	var e event
	has := next == 0 && len(m.events) > 0
	if has {
		e = m.events[0]
		m.events = slices.Delete(m.events, 0, 1)
	}
	m.mu.Unlock()
	switch {
	case next != 0:
		if m.cfg.OnPause != nil {
			m.cfg.OnPause(next)
		}
	case !has:
		return false
	case e.dead != nil:
		if m.cfg.OnDead != nil {
			m.cfg.OnDead(*e.dead)
		}
	case m.cfg.OnHint != nil:
		m.cfg.OnHint(e.from, e.hint)
	}
	return true
}

// queueLocked has e delivered, and reports false if too many wait.
func (m *Mesh) queueLocked(e event) bool {
	if len(m.events) >= maxEvents {
		return false
	}
	m.events = append(m.events, e)
	m.ringLocked()
	return true
}

func (m *Mesh) ringLocked() {
	select {
	case m.wake <- struct{}{}:
	default: // it will look
	}
}
