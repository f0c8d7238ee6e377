package consumer

import (
	"context"
	"crypto/rand"
	"time"
)

// leaderClaim is this worker's view of the leader's lock, and its claim to it. It
// belongs to one goroutine.
//
// A lock is valid for its duration from when its present version was first seen,
// by the clock of the one that looks; the holder believes in it for nine
// tenths of that, from before it was written.
type leaderClaim struct {
	store    CoordinationStore
	me       string
	duration time.Duration
	attempt  time.Duration // bounds a call

	seen  *LeaderLock // as it was last read; nil if there was none
	since time.Time   // when its version was first seen

	mine    *LeaderLock // as this worker has written it; nil if it does not lead
	sent    time.Time   // when that write was sent
	pending *LeaderLock // a write whose answer was lost
	asked   time.Time   // when that was sent
}

// leads reports whether this worker holds the lock.
func (l *leaderClaim) leads() bool {
	return l.mine != nil && time.Since(l.sent) < l.duration*9/10
}

// look reads the lock.
func (l *leaderClaim) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.attempt)
	defer cancel()
	lock, ok, err := l.store.GetLeader(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	if !ok {
		l.seen = nil
	} else {
		if l.seen == nil || l.seen.Version != lock.Version {
			l.since = now
		}
		l.seen = &lock
	}
	if l.mine != nil && (!ok || lock.Version != l.mine.Version) {
		l.mine = nil
	}
	if p := l.pending; p != nil {
		if ok && lock.Version == p.Version {
			l.mine, l.sent = p, l.asked
		}
		l.pending = nil
	}
	return nil
}

// vacancy returns how long the lock must be left to whoever has it.
func (l *leaderClaim) vacancy() time.Duration {
	if l.seen == nil || l.seen.Released {
		return 0
	}
	if l.seen.Owner == l.me && l.mine == nil {
		return 0 // an earlier run of this worker
	}
	return l.seen.Duration - time.Since(l.since)
}

// claim tries to get the lock, as it was last read.
func (l *leaderClaim) claim(ctx context.Context, data []byte) (bool, error) {
	return l.write(ctx, data, func(ctx context.Context, next LeaderLock) (bool, error) {
		return l.store.AcquireLeader(ctx, l.seen, next)
	})
}

// renew keeps the lock, with new data. It reports false if it is lost.
func (l *leaderClaim) renew(ctx context.Context, data []byte) (bool, error) {
	return l.write(ctx, data, func(ctx context.Context, next LeaderLock) (bool, error) {
		return l.store.RenewLeader(ctx, *l.mine, next)
	})
}

func (l *leaderClaim) write(ctx context.Context, data []byte, call func(context.Context, LeaderLock) (bool, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, l.attempt)
	defer cancel()
	next := LeaderLock{Owner: l.me, Version: rand.Text(), Duration: l.duration, Data: data}
	sent := time.Now()
	ok, err := call(ctx, next)
	switch {
	case err != nil:
		l.pending, l.asked = &next, sent // the next look tells
	case ok:
		l.mine, l.sent, l.seen, l.since = &next, sent, &next, time.Now()
	default:
		l.mine = nil
	}
	return ok, err
}

// release gives the lock up. A stop cuts off the write that is under way, so what is
// stored tells whether it was done.
func (l *leaderClaim) release(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, l.attempt)
	defer cancel()
	for range 2 {
		if l.pending != nil || err != nil {
			if err := l.look(ctx); err != nil {
				return err
			}
		}
		if l.mine == nil {
			return nil // it is free, or another has it
		}
		// The row stays: with what is in it, it tells whose table this is. A lock that
		// lasts no time is free.
		next := LeaderLock{Owner: l.me, Version: rand.Text(), Duration: time.Millisecond, Data: l.mine.Data}
		if _, err = l.store.RenewLeader(ctx, *l.mine, next); err == nil {
			break
		}
	}
	l.mine = nil
	return err
}
