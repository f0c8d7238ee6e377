package consumer

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Author opens the rules by which a worker knows its own writes to tests.
type Author struct{ a author }

// NewAuthor returns the worker's.
func NewAuthor(worker, incarnation string) Author { return Author{author{worker, incarnation}} }

// Left reports whether now is what an earlier try of w has left of before.
func (a Author) Left(before Lease, now *Lease, w Write) bool { return a.a.left(before, now, w) }

// Took reports whether now is what an earlier try to take before has left.
func (a Author) Took(before Lease, now *Lease) bool { return a.a.took(before, now) }

// Play makes chance repeat what it draws from seed, until the returned function is
// called. No other test may run meanwhile.
func Play(seed uint64) (stop func()) {
	before := chance
	chance = rand.New(&lockedSource{src: rand.NewPCG(seed, 0)})
	return func() { chance = before }
}

type lockedSource struct {
	mu  sync.Mutex // guards src
	src rand.Source
}

func (s *lockedSource) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.src.Uint64()
}

// Suspect is a hint that a worker may be dead, as peers give it.
func (c *Consumer) Suspect() { c.follows().(*native).surveyNow() }

// HandsOver reports whether now is before with the start of a hand-over.
func (a Author) HandsOver(before Lease, now *Lease) bool { return a.a.handsOver(before, now) }

// PeersActive reports whether the worker may act, as far as its peers are concerned. It
// is for a worker that has had a lease.
func (c *Consumer) PeersActive() bool {
	n, ok := c.follows().(*native)
	return !ok || !n.peers.paused()
}

// LeaderLockOf opens a worker's view of the leader's lock to tests.
type LeaderLockOf struct{ l *leaderLock }

// NewLeaderLock returns that of a worker.
func NewLeaderLock(store CoordinationStore, owner string) LeaderLockOf {
	return LeaderLockOf{newLeaderLock(store, owner, 2*time.Second, slog.New(slog.DiscardHandler))}
}

// Step does what is due, Leads tells what the worker believes, Release gives
// the lock up.
func (l LeaderLockOf) Step(ctx context.Context)    { l.l.step(ctx) }
func (l LeaderLockOf) Leads() bool                 { return l.l.leads() }
func (l LeaderLockOf) Release(ctx context.Context) { l.l.release(ctx) }

// SetPeerNetwork has a worker with Config.PeerAddr listen and call elsewhere than
// on the network. It is for before Run.
func (c *Consumer) SetPeerNetwork(
	listen func(ctx context.Context, network, address string) (net.Listener, error),
	dial func(ctx context.Context, network, address string) (net.Conn, error),
) {
	c.listen, c.dial = listen, dial
}

// SetWall gives the worker another wall clock. It is for before Run.
func (c *Consumer) SetWall(wall func() time.Time) { c.awake.wall = wall }

// Lapsed reports whether a worker of ModeNative has ever had to take it that others
// thought it dead. It is for a worker that has had a lease.
func (c *Consumer) Lapsed() bool { return c.follows().(*native).row.lapsed() }
