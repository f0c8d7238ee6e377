package consumer

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// wakefulness finds out that the machine has slept, or that it is virtual and was
// suspended. Leases are trusted by the monotonic clock, which on some systems stands
// still meanwhile, while other workers go on to count. The wall clock shows it.
type wakefulness struct {
	wall  func() time.Time          // the wall clock
	limit time.Duration             // by which it may get ahead between two looks
	woke  atomic.Pointer[time.Time] // when it was last found to have slept; nil before

	mu   sync.Mutex // guards all below
	mono time.Time  // the last look
	last time.Time  // the wall clock then
}

func newWakefulness(failover time.Duration) *wakefulness {
	return &wakefulness{
		wall:  func() time.Time { return time.Now().Round(0) },
		limit: failover / 20, // half of what lies between the end of trust and a take
	}
}

// look calls f if the machine has slept since the last look, with for how long. A wall
// clock that is set forward looks the same. Who finds nothing has waited for the f
// of another who did.
func (w *wakefulness) look(f func(slept time.Duration)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mono, wall := time.Now(), w.wall()
	first := w.mono.IsZero()
	slept := wall.Sub(w.last) - mono.Sub(w.mono)
	w.mono, w.last = mono, wall
	if !first && slept > w.limit {
		w.woke.Store(&mono)
		f(slept)
	}
}

// since reports whether the machine has been awake since t, for all that is known.
func (w *wakefulness) since(t time.Time) bool {
	woke := w.woke.Load()
	return woke == nil || !t.Before(*woke)
}

// wake gives up all leases if the machine has slept: others may have them.
func (c *Consumer) wake() {
	var slept time.Duration
	var held []*holding
	c.awake.look(func(d time.Duration) {
		c.stats.sleeps.Add(1)
		slept, held = d, c.holdings()
		for _, h := range held {
			h.expire()
		}
	})
	if slept > 0 { // not while others wait
		c.log.Warn("the machine has slept, or its clock was set forward; leases are given up, as others may have them by now",
			slog.Duration("for", slept), slog.Int("leases", len(held)))
	}
}

// watchSleep looks again and again, until ctx ends.
func (c *Consumer) watchSleep(ctx context.Context) {
	for sleep(ctx, jitter(min(c.awake.limit, time.Second))) == nil {
		c.wake()
	}
}
