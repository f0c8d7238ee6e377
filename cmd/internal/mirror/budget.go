package mirror

import (
	"context"
	"sync"
)

// A budget bounds the memory of all readers together. Who waits gets its share
// in the order of asking.
type budget struct {
	mu    sync.Mutex // guards what follows
	free  int64
	queue []*claim
}

type claim struct {
	n     int64
	ready chan struct{} // closed once n is granted
}

func newBudget(n int64) *budget { return &budget{free: n} }

// take waits until n is free.
func (b *budget) take(ctx context.Context, n int64) error {
	b.mu.Lock()
	if len(b.queue) == 0 && b.free >= n {
		b.free -= n
		b.mu.Unlock()
		return nil
	}
	c := &claim{n: n, ready: make(chan struct{})}
	b.queue = append(b.queue, c)
	b.mu.Unlock()
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
		b.leave(c)
		return ctx.Err()
	}
}

// leave withdraws a claim, or gives back what it was granted meanwhile.
func (b *budget) leave(c *claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.queue {
		if other == c {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			b.grant()
			return
		}
	}
	b.free += c.n
	b.grant()
}

// give returns n. It may be negative: more was used than was taken.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	b.grant()
}

// grant is called with mu held.
func (b *budget) grant() {
	for len(b.queue) > 0 && b.free >= b.queue[0].n {
		b.free -= b.queue[0].n
		close(b.queue[0].ready)
		b.queue = b.queue[1:]
	}
}
