package producer

import (
	"context"
	"sync"
)

// tracker tells a Flush when all that was accepted before it is finished. Each
// batch belongs to the generation in which it was begun; a Flush ends the
// current generation and waits until no batch of it or an older one is left.
// A record that was put before the Flush is in such a batch.
type tracker struct {
	mu      sync.Mutex // guards all below; taken inside a lane's mutex
	gen     uint64
	batches map[uint64]int // unfinished, by generation
	waiters map[*flushWaiter]struct{}
}

type flushWaiter struct {
	gen  uint64
	done chan struct{} // closed when nothing of gen or before is left
}

// begin counts a new batch and returns its generation.
func (t *tracker) begin() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addLocked(t.gen)
	return t.gen
}

// inherit counts a batch that takes over records of generation gen. The old
// batch must not have been finished yet.
func (t *tracker) inherit(gen uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addLocked(gen)
}

func (t *tracker) addLocked(gen uint64) {
	if t.batches == nil {
		t.batches = make(map[uint64]int)
	}
	t.batches[gen]++
}

// finish counts a batch off.
func (t *tracker) finish(gen uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.batches[gen]--; t.batches[gen] > 0 {
		return
	}
	delete(t.batches, gen)
	for w := range t.waiters {
		if !t.pendingLocked(w.gen) {
			delete(t.waiters, w)
			close(w.done)
		}
	}
}

func (t *tracker) pendingLocked(gen uint64) bool {
	for g := range t.batches {
		if g <= gen {
			return true
		}
	}
	return false
}

// advance ends the current generation and returns it.
func (t *tracker) advance() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gen++
	return t.gen - 1
}

// wait returns when no batch of gen or before is left, or ctx ends.
func (t *tracker) wait(ctx context.Context, gen uint64) error {
	t.mu.Lock()
	if !t.pendingLocked(gen) {
		t.mu.Unlock()
		return nil
	}
	w := &flushWaiter{gen: gen, done: make(chan struct{})}
	if t.waiters == nil {
		t.waiters = make(map[*flushWaiter]struct{})
	}
	t.waiters[w] = struct{}{}
	t.mu.Unlock()

	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		t.mu.Lock()
		delete(t.waiters, w)
		t.mu.Unlock()
		return ctx.Err()
	}
}
