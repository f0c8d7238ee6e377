package tail

import (
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

// Pool hands out chunks within a budget. It is safe for concurrent use.
type Pool[R any] struct {
	limit int64
	wake  func() // called when memory came back; must not block

	mu   sync.Mutex // guards free
	free []*Chunk[R]
	used atomic.Int64
}

// NewPool returns a pool of at most limit bytes. It calls wake each time that
// memory comes back.
func NewPool[R any](limit int64, wake func()) *Pool[R] {
	return &Pool[R]{limit: limit, wake: wake}
}

// Used returns how many bytes are in use.
func (p *Pool[R]) Used() int64 { return p.used.Load() }

// Limit returns the budget in bytes.
func (p *Pool[R]) Limit() int64 { return p.limit }

// Get returns an empty chunk of at least size bytes, with one user, or nil if the
// budget does not allow it now. An empty pool allows any size: a line longer than
// the budget must not stop its file for ever.
func (p *Pool[R]) Get(size int) *Chunk[R] {
	size = max(size, ChunkSize)
	var r R
	cost := int64(size) + ChunkRecords*int64(unsafe.Sizeof(r))
	for {
		used := p.used.Load()
		if used > 0 && used+cost > p.limit {
			return nil
		}
		if p.used.CompareAndSwap(used, used+cost) {
			break
		}
	}
	var c *Chunk[R]
	if size == ChunkSize {
		p.mu.Lock()
		if n := len(p.free); n > 0 {
			c, p.free = p.free[n-1], p.free[:n-1]
		}
		p.mu.Unlock()
	}
	if c == nil {
		c = &Chunk[R]{Buf: make([]byte, size), Recs: make([]R, 0, ChunkRecords), pool: p, cost: cost}
	}
	c.refs.Store(1)
	return c
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
	p := c.pool
	if len(c.Buf) == ChunkSize {
		// The records point at keys and converted bytes elsewhere.
		clear(c.Recs)
		c.N, c.Recs = 0, c.Recs[:0]
		p.mu.Lock()
		p.free = append(p.free, c)
		p.mu.Unlock()
	}
	p.used.Add(-c.cost)
	p.wake()
}
