package consumer

import (
	"context"
	"fmt"
	"time"
)

// rules is what a [Mode] decides: which leases this worker takes, how it shows
// that it lives, for how long it believes in a lease, and what it leaves of one.
// All else (reading, acknowledging, conditional writes, lost answers) is the same in
// all modes.
type rules interface {
	// attend looks at the leases, and takes some, until ctx ends. Shard
	// consumers run under work.
	attend(ctx, work context.Context)

	// renewAfter is the age of a lease's last write at which it is renewed; 0
	// if leases are not renewed one by one.
	renewAfter() time.Duration

	// trustedUntil returns the end of the trust in a lease whose last write
	// known to be done was sent at the given time. Another worker takes the lease
	// later than that, whatever the clocks show, if they agree in rate to 5 %.
	trustedUntil(written time.Time) time.Time

	// ours reports whether now, which is stored in place of what h knew, leaves
	// the lease with this worker: w, or a try before it, was done and its answer
	// lost.
	ours(h *holding, now *Lease, w Write) bool

	// parting makes w the last write of a lease that this worker gives up.
	parting(ctx context.Context, h *holding, w Write) Write

	// child returns the lease of a child shard as it is to be created, while the lease of
	// its parent is held here; ready tells that the shard may be read once that parent has ended.
	child(l Lease, ready bool) Lease

	// takeChild begins with the lease of a child shard, which is nobody's or
	// was created as this worker's, as it was at the given time or later.
	takeChild(work context.Context, l Lease, asked time.Time)

	// lives reports whether the owner of a lease is thought to live, by what this
	// worker has seen up to now.
	lives(o observed, now time.Time) bool

	// parts tells of a lease that is not held here any more, as it was last
	// known.
	parts(l Lease)

	// leave is called when attend has returned and no lease is held any more.
	leave(ctx context.Context)
}

// preparer is what rules are that need something of the store before the first
// leases are made. Its errors are those of [LeaseStore.Prepare].
type preparer interface {
	prepare(ctx context.Context) error
}

func newRules(c *Consumer) (rules, error) {
	store, ok := c.store.(CoordinationStore)
	switch {
	case c.cfg.Mode == ModeAuto && ok:
		return newAuto(c, store), nil
	case c.cfg.Mode == ModeAuto, c.cfg.Mode == ModeKCL2:
		return &kcl2{c: c, table: c.newTable()}, nil
	case !ok:
		return nil, fmt.Errorf("%v needs a lease store that implements CoordinationStore, as those of dynamolease and memlease do; %T does not", c.cfg.Mode, c.store)
	}
	c.measures.Store(true)
	if c.cfg.Mode == ModeNative {
		return newNative(c, store), nil
	}
	return newKCL3(c, store), nil
}
