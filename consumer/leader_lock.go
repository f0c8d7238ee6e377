package consumer

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"
)

// The times of the official library's lock. All workers must know the same.
//
// Source: amazon-kinesis-client 3.x, DynamoDBLockBasedLeaderDecider.
const (
	leaderDuration  = 120 * time.Second
	leaderHeartbeat = 30 * time.Second

	// leaderLook is the time between two looks at another's lock. The library
	// looks once in a heartbeat; who looks more often sees sooner that there is
	// none.
	leaderLook = 5 * time.Second
)

// leaderLock is the lock of the one that leads, as one worker has it or waits
// for it. It belongs to one goroutine.
//
// No clock is compared: a worker takes the lock over when it has seen the same
// version for as long as the lock says, and its holder believes in it for as
// long after the last write that is known to be done was sent.
//
// Source: amazon-dynamodb-lock-client 1.4, AmazonDynamoDBLockClient.
type leaderLock struct {
	store   CoordinationStore
	owner   string
	attempt time.Duration // bounds a call
	log     *slog.Logger

	held    *LeaderLock          // as known to be stored; nil if it is not ours
	renewed time.Time            // when the write that proved it was sent
	tried   map[string]time.Time // versions of ours that may be stored, and when they were sent

	seen   *LeaderLock // another's; nil if there was none
	seenAt time.Time   // when this version was first seen

	next   time.Time // when to step again
	failed streak
}

func newLeaderLock(store CoordinationStore, owner string, attempt time.Duration, log *slog.Logger) *leaderLock {
	return &leaderLock{store: store, owner: owner, attempt: attempt, log: log, tried: map[string]time.Time{}}
}

// leads reports whether this worker leads, for all that it knows.
func (l *leaderLock) leads() bool {
	return l.held != nil && time.Since(l.renewed) < leaderDuration
}

// step renews the lock if it is ours, and otherwise tries to come by it, if it
// is time.
func (l *leaderLock) step(ctx context.Context) {
	if now := time.Now(); now.Before(l.next) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.attempt)
	defer cancel()
	var err error
	led := l.held != nil
	if led {
		err = l.renew(ctx)
	} else {
		err = l.acquire(ctx)
	}
	now := time.Now()
	switch {
	case err != nil:
		l.next = now.Add(leaderLook)
		if l.failed.fail() && ctx.Err() == nil {
			l.log.Warn("leader's lock not looked at; trying again", errAttr(err))
		}
	case l.held != nil:
		l.next = now.Add(leaderHeartbeat * 9 / 10) // a look may come a little late
	default:
		l.next = now.Add(leaderLook)
		if l.seen != nil {
			if free := l.seenAt.Add(l.seen.Duration); free.Before(l.next) && free.After(now) {
				l.next = free
			}
		}
	}
	if err == nil {
		l.failed.ok()
	}
	if led && !l.leads() {
		l.held = nil
		l.log.Info("this worker does not lead any more")
	} else if !led && l.held != nil {
		l.log.Info("this worker leads")
	}
}

// version returns a new one, in the form that the official library gives it.
func version() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// mine returns a lock of this worker's with a new version, which is about to be
// sent.
func (l *leaderLock) mine(sent time.Time) LeaderLock {
	lock := LeaderLock{Owner: l.owner, Version: version(), Duration: leaderDuration}
	l.tried[lock.Version] = sent
	return lock
}

// adopt makes lock, which was stored by a write sent at the given time, the
// known state.
func (l *leaderLock) adopt(lock LeaderLock, sent time.Time) {
	l.held, l.renewed, l.seen = &lock, sent, nil
	clear(l.tried)
}

func (l *leaderLock) renew(ctx context.Context) error {
	if !l.leads() {
		l.held = nil
		return l.acquire(ctx)
	}
	sent := time.Now()
	after := l.mine(sent)
	ok, err := l.store.RenewLeader(ctx, *l.held, after)
	if err != nil {
		return err // it may have been done; the next try finds out
	}
	if ok {
		l.adopt(after, sent)
		return nil
	}
	l.held = nil
	return l.acquire(ctx)
}

func (l *leaderLock) acquire(ctx context.Context) error {
	now, ok, err := l.store.GetLeader(ctx)
	if err != nil {
		return err
	}
	if sent, ours := l.tried[now.Version]; ok && ours && now.Owner == l.owner {
		l.adopt(now, sent) // a write whose answer was lost
		if l.leads() {
			return nil
		}
		l.held = nil
	}
	var seen *LeaderLock
	switch at := time.Now(); {
	case !ok:
		l.seen = nil
	case l.seen == nil || l.seen.Version != now.Version || l.seen.Released != now.Released:
		l.seen, l.seenAt = &now, at
		fallthrough
	default:
		if !now.Released && at.Sub(l.seenAt) < now.Duration {
			return nil
		}
		seen = &now
	}
	sent := time.Now()
	lock := l.mine(sent)
	done, err := l.store.AcquireLeader(ctx, seen, lock)
	if err == nil && done {
		l.adopt(lock, sent)
	}
	return err
}

// release gives the lock up, if it is ours, and does not try to come by it for
// a while.
func (l *leaderLock) release(ctx context.Context) {
	l.next = time.Now().Add(leaderHeartbeat)
	if l.held == nil {
		return
	}
	lock := *l.held
	l.held = nil
	ctx, cancel := context.WithTimeout(ctx, l.attempt)
	defer cancel()
	if _, err := l.store.ReleaseLeader(ctx, lock); err != nil {
		l.log.Warn("leader's lock not released; others wait until it expires", errAttr(err))
		return
	}
	l.log.Info("this worker does not lead any more")
}
