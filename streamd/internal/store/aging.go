package store

import (
	"log/slog"
	"sync"
	"time"
)

// What a jump of the clock may do at once.
const (
	maxJump  = time.Hour   // further forward is a jump
	patience = time.Minute // that a jump must last before records expire by it
)

// aging is the time by which records expire. A clock that is wrong for a moment,
// after a start or a step of its daemon, must not expire everything: a jump of
// more than an hour counts only once the server has run for a minute with it.
type aging struct {
	log *slog.Logger

	mu    sync.Mutex // guards what follows
	last  time.Time  // when it was last asked for, of the clock
	since time.Time  // when the clock jumped; zero if nothing is awaited
	from  time.Time  // what it would be there without the jump
}

// start notes the last time that is known of, of the last record or command, and
// the time now. Without a last time there is nothing to expire.
func (a *aging) start(last, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = now
	if last.UnixMilli() > 0 && now.Sub(last) > maxJump {
		a.since, a.from = now, last
	}
}

// at returns the time for expiry at time now of the clock.
func (a *aging) at(now time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	// By the monotonic clock, and by whoever moves the server's; Round takes that
	// away.
	passed := now.Sub(a.last)
	if jump := now.Round(0).Sub(a.last.Round(0)) - passed; jump > maxJump && a.since.IsZero() {
		a.log.Warn("the system's clock has jumped forward; records expire by it in a minute", slog.Duration("jump", jump))
		a.since, a.from = now, a.last.Add(passed)
	}
	a.last = now
	if a.since.IsZero() {
		return now
	}
	waited := now.Sub(a.since)
	if waited >= patience {
		a.since = time.Time{}
		return now
	}
	if t := a.from.Add(waited); t.Before(now) {
		return t
	}
	return now
}

// Aging returns the time by which records and shards expire: the server's, but
// for a minute after the clock has jumped forward by more than an hour, or has
// done so while no server ran.
func (s *Store) Aging() time.Time { return s.aging.at(s.clock.Now()) }
