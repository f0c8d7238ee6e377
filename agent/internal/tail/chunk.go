package tail

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	// ChunkSize is the size of an ordinary chunk in bytes.
	ChunkSize = 256 << 10
	// ChunkRecords is the most records that are cut out of one chunk.
	ChunkRecords = 2048
)

// Chunk is a piece of memory that bytes of files are read into, with the records
// that were cut out of them. Several files share a chunk when each has little to
// say. R is the type of a record. It counts its users and returns to its pool with the last of them.
type Chunk[R any] struct {
	Buf  []byte // filled up to N
	N    int
	Recs []R

	pool *Pool[R]
	cost int64
	refs atomic.Int32
}

// Budget is the memory that several pools share. A part of it is kept for each of
// them, so that one whose chunks do not come back leaves the others room to go on;
// the rest is for who asks first. It is safe for concurrent use.
type Budget[R any] struct {
	limit int64

	mu    sync.Mutex // guards what follows, and used and hungry of the pools
	used  int64
	free  []*Chunk[R]
	pools []*Pool[R]
}

// NewBudget returns a budget of so many bytes.
func NewBudget[R any](limit int64) *Budget[R] { return &Budget[R]{limit: limit} }

// Pool adds a pool. It calls wake each time that memory came back to it, or to
// another while it could get none; wake must not block.
func (b *Budget[R]) Pool(wake func()) *Pool[R] {
	p := &Pool[R]{budget: b, wake: wake}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pools = append(b.pools, p)
	return p
}

// Limit returns the budget in bytes.
func (b *Budget[R]) Limit() int64 { return b.limit }

// Used returns how many bytes of it are in use.
func (b *Budget[R]) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

func costOf[R any](size int) int64 {
	var r R
	return int64(size) + ChunkRecords*int64(unsafe.Sizeof(r))
}

// reserveLocked is what is kept for each pool: two ordinary chunks, one to cut and
// one on its way, if there is so much for everybody.
func (b *Budget[R]) reserveLocked() int64 {
	return min(b.limit/int64(len(b.pools)), 2*costOf[R](ChunkSize))
}

// Pool hands out the chunks of one flow. It is safe for concurrent use.
type Pool[R any] struct {
	budget *Budget[R]
	wake   func()

	used   int64
	hungry bool // got nothing when it asked last
}

// Used returns how many bytes are in use.
func (p *Pool[R]) Used() int64 {
	p.budget.mu.Lock()
	defer p.budget.mu.Unlock()
	return p.used
}

// Close takes the pool out of its budget, once all of its chunks are back.
func (p *Pool[R]) Close() {
	b := p.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pools = slices.DeleteFunc(b.pools, func(o *Pool[R]) bool { return o == p })
}

// Get returns an empty chunk of at least size bytes, with one user, or nil if the
// budget does not allow it now. A pool that has nothing in use gets any size: a
// line longer than the budget must not stop its file for ever.
func (p *Pool[R]) Get(size int) *Chunk[R] {
	size = max(size, ChunkSize)
	cost := costOf[R](size)
	b := p.budget
	b.mu.Lock()
	if p.hungry = !b.allowsLocked(p, cost); p.hungry {
		b.mu.Unlock()
		return nil
	}
	b.used += cost
	p.used += cost
	var c *Chunk[R]
	if n := len(b.free); n > 0 && size == ChunkSize {
		c, b.free = b.free[n-1], b.free[:n-1]
	}
	b.mu.Unlock()
	if c == nil {
		c = &Chunk[R]{Buf: make([]byte, size), Recs: make([]R, 0, ChunkRecords), cost: cost}
	}
	c.pool = p
	c.refs.Store(1)
	return c
}

// allowsLocked reports whether p may have cost more: within what is kept for it,
// or without what is kept for the others.
func (b *Budget[R]) allowsLocked(p *Pool[R], cost int64) bool {
	reserve := b.reserveLocked()
	if p.used == 0 || p.used+cost <= reserve {
		return true
	}
	kept := int64(0)
	for _, o := range b.pools {
		if o != p {
			kept += max(0, reserve-o.used)
		}
	}
	return b.used+cost+kept <= b.limit
}

// Keep adds a user.
func (c *Chunk[R]) Keep() { c.refs.Add(1) }

// Release takes a user away.
func (c *Chunk[R]) Release() {
	n := c.refs.Add(-1)
	if n > 0 {
		return
	}
	if n < 0 {
		panic("tail: chunk released twice")
	}
	p, b := c.pool, c.pool.budget
	ordinary := len(c.Buf) == ChunkSize
	if ordinary {
		// The records point at keys and converted bytes elsewhere.
		clear(c.Recs)
		c.N, c.Recs, c.pool = 0, c.Recs[:0], nil
	}
	b.mu.Lock()
	if ordinary {
		b.free = append(b.free, c)
	}
	b.used -= c.cost
	p.used -= c.cost
	// Their own wake calls, not under the lock.
	var others []*Pool[R]
	for _, o := range b.pools {
		if o.hungry && o != p {
			o.hungry = false
			others = append(others, o)
		}
	}
	p.hungry = false
	b.mu.Unlock()
	p.wake()
	for _, o := range others {
		o.wake()
	}
}
