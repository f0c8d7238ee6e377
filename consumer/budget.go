package consumer

import (
	"context"
	"sync"
)

// budget bounds the bytes of records in memory, over all shards. Those who
// wait are served in order, so that a shard with large responses is not
// starved by small ones.
type budget struct {
	total int64

	mu      sync.Mutex // guards all below
	used    int64
	waiting []*budgetWait // oldest first
}

type budgetWait struct {
	n     int64
	ready chan struct{} // closed when n is granted
}

func newBudget(total int64) *budget { return &budget{total: total} }

// acquire waits for n bytes. More than there are in all is cut to that. It
// returns what it took.
func (b *budget) acquire(ctx context.Context, n int64) (int64, error) {
	n = min(n, b.total)
	b.mu.Lock()
	if len(b.waiting) == 0 && b.used+n <= b.total {
		b.used += n
		b.mu.Unlock()
		return n, nil
	}
	w := &budgetWait{n: n, ready: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.mu.Unlock()

	select {
	case <-w.ready:
		return n, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	for i, other := range b.waiting {
		if other == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			b.grantLocked() // those behind may have waited for this one only
			b.mu.Unlock()
			return 0, ctx.Err()
		}
	}
	b.mu.Unlock()
	// It was granted as ctx ended.
	b.release(n)
	return 0, ctx.Err()
}

// charge takes n bytes without waiting, over the bound if need be: a response
// that was larger than expected is already in memory. A negative n returns
// bytes.
func (b *budget) charge(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += n
	b.grantLocked()
}

// release returns n bytes.
func (b *budget) release(n int64) { b.charge(-n) }

func (b *budget) grantLocked() {
	for len(b.waiting) > 0 && b.used+b.waiting[0].n <= b.total {
		w := b.waiting[0]
		b.waiting[0] = nil
		b.waiting = b.waiting[1:]
		b.used += w.n
		close(w.ready)
	}
}

func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
