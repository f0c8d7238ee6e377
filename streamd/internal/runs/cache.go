package runs

import (
	"container/list"
	"sync"

	"github.com/streamkit/streamkit/internal/vfs"
)

const (
	// DefaultCacheBytes is what a [Cache] holds unless it is told otherwise.
	DefaultCacheBytes = 8 << 20

	maxOpenFiles = 512
)

// A Cache holds open files and their footers, those that were used last. It is
// shared by the runs of a store.
type Cache struct {
	limit int

	mu    sync.Mutex // guards what follows, and the users of every opened
	order list.List  // of *opened, the one used last in front
	bytes int
}

// NewCache returns a cache for so many bytes of footers; 0 is the default.
func NewCache(bytes int) *Cache {
	if bytes == 0 {
		bytes = DefaultCacheBytes
	}
	return &Cache{limit: bytes}
}

// opened is a file that is open.
type opened struct {
	run     *Run
	file    vfs.File
	extents []Extent
	bytes   int
	elem    *list.Element // nil once it has left the cache
	users   int
}

// take returns the file of r for use, opening it if need be. give ends the use.
func (c *Cache) take(r *Run) (*opened, error) {
	c.mu.Lock()
	if o := r.opened; o != nil {
		o.users++
		c.order.MoveToFront(o.elem)
		c.mu.Unlock()
		return o, nil
	}
	c.mu.Unlock()
	o, err := r.open()
	if err != nil {
		return nil, err
	}
	o.users = 1
	c.mu.Lock()
	if r.opened == nil { // nobody was faster
		r.opened = o
		o.elem = c.order.PushFront(o)
		c.bytes += o.bytes
	}
	gone := c.shrink()
	c.mu.Unlock()
	closeAll(gone)
	return o, nil
}

// give ends a use that take began.
func (c *Cache) give(o *opened) {
	c.mu.Lock()
	o.users--
	last := o.users == 0 && o.elem == nil
	c.mu.Unlock()
	if last {
		_ = o.file.Close() // it was only read
	}
}

// shrink takes out what is too much, and returns what nobody uses. c.mu is held.
func (c *Cache) shrink() (gone []*opened) {
	for c.order.Len() > 1 && (c.bytes > c.limit || c.order.Len() > maxOpenFiles) {
		gone = c.evict(c.order.Back().Value.(*opened), gone)
	}
	return gone
}

// evict takes o out, and adds it to gone if nobody uses it. c.mu is held.
func (c *Cache) evict(o *opened, gone []*opened) []*opened {
	c.order.Remove(o.elem)
	c.bytes -= o.bytes
	o.elem, o.run.opened = nil, nil
	if o.users == 0 {
		gone = append(gone, o)
	}
	return gone
}

// forget closes the file of r once nobody uses it.
func (c *Cache) forget(r *Run) {
	c.mu.Lock()
	var gone []*opened
	if r.opened != nil {
		gone = c.evict(r.opened, nil)
	}
	c.mu.Unlock()
	closeAll(gone)
}

func closeAll(gone []*opened) {
	for _, o := range gone {
		_ = o.file.Close() // it was only read
	}
}
