package producer

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// budget bounds the bytes of records that were accepted and are not finished.
// Those who wait are served in order, and nobody overtakes them.
type budget struct {
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
func (b *budget) tryAcquire(n int64) bool {
	return b.waiting.Load() == 0 && b.take(n)
}

func (b *budget) take(n int64) bool {
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
func (b *budget) acquire(ctx context.Context, n int64, stop <-chan struct{}) error {
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

func (b *budget) release(n int64) {
	b.used.Add(-n)
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.grantLocked()
		b.mu.Unlock()
	}
}

func (b *budget) grantLocked() {
	for len(b.queue) > 0 && b.take(b.queue[0].n) {
		w := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		b.waiting.Add(-1)
		w.granted = true
		close(w.ready)
	}
}
