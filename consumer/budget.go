package consumer

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// minShare is what a shard with nothing in memory may read at least, however
	// much others hold.
	minShare = 64 << 10

	// patience is how long it waits for memory before it does.
	patience = time.Second
)

// budget bounds the bytes of records in memory, over all shards, each of which has a
// share. Those who wait are served in order, and shards that have nothing in
// memory before those that read ahead, which leave a quarter of all to them: so a
// shard whose processor fails or hangs does not keep others from being read. If
// the quarter is held by such shards as well, one that has nothing goes over the
// bound, by minShare or one record.
type budget struct {
	total int64

	mu      sync.Mutex // guards all below, and the shares
	used    int64
	waiting []*budgetWait // oldest first
}

// share is what one shard has of the budget.
type share struct {
	*budget
	held int64
}

type budgetWait struct {
	of    *share
	n     int64
	ready chan struct{} // closed when n is granted
}

func newBudget(total int64) *budget { return &budget{total: total} }

func (b *budget) share() *share { return &share{budget: b} }

// acquire waits for n bytes. More than there are in all is cut to that. It returns
// what it took. lean tells that there is no more, and that it is over the bound:
// the caller should read no more than that, if it can.
func (s *share) acquire(ctx context.Context, n int64) (got int64, lean bool, err error) {
	b := s.budget
	w := &budgetWait{of: s, n: min(n, b.total), ready: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, w)
	b.grantLocked()
	b.mu.Unlock()

	select {
	case <-w.ready: // most often
		return w.n, false, nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-w.ready:
			return w.n, false, nil
		case <-ctx.Done():
			if b.withdraw(w, false) {
				return 0, false, ctx.Err()
			}
			b.mu.Lock()
			s.takeLocked(-w.n) // it was granted as ctx ended
			b.mu.Unlock()
			return 0, false, ctx.Err()
		case <-timer.C:
			if b.withdraw(w, true) {
				return w.n, true, nil
			}
			timer.Reset(patience)
		}
	}
}

// withdraw takes w out of those who wait. It reports false if it is granted already.
// lean grants it minShare at most, whatever there is, if its shard has nothing; it
// leaves it alone otherwise, and reports false.
func (b *budget) withdraw(w *budgetWait, lean bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, w)
	if i < 0 || lean && w.of.held > 0 {
		return false
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	if lean {
		w.n = min(w.n, minShare)
		w.of.held += w.n
		b.used += w.n
	}
	b.grantLocked() // those behind may have waited for this one only
	return true
}

// charge takes n bytes without waiting, over the bound if need be: a response
// that was larger than expected is already in memory. A negative n returns
// bytes.
func (s *share) charge(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeLocked(n)
}

// release returns n bytes.
func (s *share) release(n int64) { s.charge(-n) }

func (s *share) takeLocked(n int64) {
	s.held += n
	s.used += n
	if n < 0 {
		s.grantLocked()
	}
}

// grantLocked serves those who wait, as far as there is room: first those who have
// nothing. In each of the two groups nobody overtakes another.
func (b *budget) grantLocked() {
	for _, ahead := range [...]bool{false, true} {
		room := b.total
		if ahead {
			room -= b.total / 4
		}
		for i := 0; i < len(b.waiting); {
			w := b.waiting[i]
			if w.of.held > 0 != ahead {
				i++
				continue
			}
			if b.used+w.n > room {
				if !ahead {
					return
				}
				break
			}
			b.waiting = slices.Delete(b.waiting, i, i+1)
			w.of.held += w.n
			b.used += w.n
			close(w.ready)
		}
	}
}

func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
