package producer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// A Budget is memory that several producers share: those of this package by
// [Config.Budget], and others that hold bytes until they are delivered. Who
// waits for it is served in order, whichever producer it came to, and nobody
// overtakes. It is safe for concurrent use.
type Budget struct {
	pool pool
}

// NewBudget returns a budget of so many bytes. It must be at least twice the
// MaxUserRecordSize of every producer that uses it.
func NewBudget(bytes int64) *Budget {
	return &Budget{pool: pool{max: bytes}}
}

// Size returns the bytes of the budget.
func (b *Budget) Size() int64 { return b.pool.max }

// Used returns the bytes that are taken.
func (b *Budget) Used() int64 { return b.pool.used.Load() }

// TryAcquire takes n bytes if they are free and nobody waits, and reports
// whether it did.
func (b *Budget) TryAcquire(n int64) bool { return b.pool.tryAcquire(n) }

// Acquire takes n bytes and waits for them until ctx ends. The error is ctx's,
// or wraps [ErrTooLarge] if the budget is smaller than n.
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	if n > b.pool.max {
		return fmt.Errorf("%w: %d bytes of a budget of %d", ErrTooLarge, n, b.pool.max)
	}
	return b.pool.acquire(ctx, n, nil)
}

// Release gives back n bytes that were taken.
func (b *Budget) Release(n int64) { b.pool.release(n) }

// budget bounds the bytes of records that one producer has accepted and not
// finished: by a pool of its own, and by one that it shares, if any. It takes
// from its own first. Whoever waits for the shared one holds a part of the
// producer's own meanwhile, which nobody waits for who holds shared bytes.
type budget struct {
	pool
	shared *pool // nil if the producer shares nothing
}

func (b *budget) tryAcquire(n int64) bool {
	if !b.pool.tryAcquire(n) {
		return false
	}
	if b.shared == nil || b.shared.tryAcquire(n) {
		return true
	}
	b.pool.release(n)
	return false
}

// acquire takes n bytes, at most max. It waits for them until ctx ends or stop
// is closed.
func (b *budget) acquire(ctx context.Context, n int64, stop <-chan struct{}) error {
	if err := b.pool.acquire(ctx, n, stop); err != nil || b.shared == nil {
		return err
	}
	err := b.shared.acquire(ctx, n, stop)
	if err != nil {
		b.pool.release(n)
	}
	return err
}

// short reports whether somebody waits, or less than half is free.
func (b *budget) short() bool { return b.pool.short() || b.shared != nil && b.shared.short() }

func (b *budget) release(n int64) {
	b.pool.release(n)
	if b.shared != nil {
		b.shared.release(n)
	}
}

// pool is so many bytes. Those who wait are served in order, and nobody
// overtakes them.
type pool struct {
	max     int64
	used    atomic.Int64
	waiting atomic.Int32 // len(queue), so that the fast paths need no lock

	mu    sync.Mutex // guards queue and waiter.granted
	queue []*waiter
}

type waiter struct {
	n       int64
	granted bool
	ready   chan struct{} // closed when granted
}

// tryAcquire takes n bytes if they are free and nobody waits.
func (b *pool) tryAcquire(n int64) bool {
	return b.waiting.Load() == 0 && b.take(n)
}

func (b *pool) short() bool { return b.waiting.Load() > 0 || b.used.Load() > b.max/2 }

func (b *pool) take(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.max {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// acquire takes n bytes, at most max. It waits for them until ctx ends or stop
// is closed.
func (b *pool) acquire(ctx context.Context, n int64, stop <-chan struct{}) error {
	if b.tryAcquire(n) {
		return nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	b.mu.Lock()
	b.queue = append(b.queue, w)
	b.waiting.Add(1)
	// What was released since tryAcquire failed has woken nobody.
	b.grantLocked()
	b.mu.Unlock()

	var err error
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-stop:
		err = ErrClosed
	}
	b.mu.Lock()
	granted := w.granted
	if !granted {
		b.queue = slices.DeleteFunc(b.queue, func(o *waiter) bool { return o == w })
		b.waiting.Add(-1)
		b.grantLocked() // a smaller one behind it may fit
	}
	b.mu.Unlock()
	if granted {
		b.release(n)
	}
	return err
}

func (b *pool) release(n int64) {
	b.used.Add(-n)
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.grantLocked()
		b.mu.Unlock()
	}
}

func (b *pool) grantLocked() {
	for len(b.queue) > 0 && b.take(b.queue[0].n) {
		w := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		b.waiting.Add(-1)
		w.granted = true
		close(w.ready)
	}
}
