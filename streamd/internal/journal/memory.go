package journal

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Memory is a journal that keeps its frames in memory alone. The zero Memory
// is empty and ready.
type Memory struct {
	mu       sync.Mutex
	tail     tail
	head     LSN
	audience audience
	closed   bool
}

// Append implements [Journal].
func (m *Memory) Append(_ context.Context, f *Frame) (LSN, error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return 0, ErrClosed
	}
	prev := m.head
	m.head += LSN(headerSize + len(f.Body))
	lsn := m.head
	m.tail.push(prev, lsn, f)
	follower := m.audience.next(prev)
	m.mu.Unlock()
	if follower != nil {
		m.audience.handOn(&m.mu, follower, lsn, f, func() (LSN, bool) { return m.head, !m.closed })
	}
	return lsn, nil
}

// Follow implements [Journal].
func (m *Memory) Follow(ctx context.Context, from LSN, apply func(LSN, *Frame) error) error {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return ErrClosed
		}
		if from >= m.head {
			var err error
			if from, err = m.audience.wait(ctx, &m.mu, from, apply); err != nil {
				return err
			}
			continue
		}
		e, ok := m.tail.after(from)
		m.mu.Unlock()
		if !ok {
			return fmt.Errorf("follow from %d: %w", from, ErrTrimmed)
		}
		if err := apply(e.lsn, e.frame); err != nil {
			return err
		}
		from = e.lsn
	}
}

// Head implements [Journal].
func (m *Memory) Head(context.Context) (LSN, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head, nil
}

// Size returns how many bytes of frames the journal keeps.
func (m *Memory) Size() (live, all int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	live = int64(m.tail.bytes + headerSize*len(m.tail.entries))
	return live, live
}

// Release implements [Journal].
func (m *Memory) Release(_ context.Context, upTo LSN) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tail.dropThrough(upTo)
	return nil
}

// ReadAt implements [Reader].
func (m *Memory) ReadAt(pos LSN, n int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.tail.read(pos, n); ok {
		return b, nil
	}
	return nil, fmt.Errorf("read %d bytes at %d: %w", n, pos, ErrTrimmed)
}

// ReadInto implements [Reader].
func (m *Memory) ReadInto(b []byte, pos LSN) error {
	kept, err := m.ReadAt(pos, len(b))
	copy(b, kept)
	return err
}

// Close implements [Journal].
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.audience.news()
	return nil
}

// tail holds the last frames of a journal in order.
type tail struct {
	entries []entry
	bytes   int // of bodies
	slabs   slabs
}

type entry struct {
	prev, lsn LSN // positions of the frame before and of this one
	frame     *Frame
}

func (t *tail) push(prev, lsn LSN, f *Frame) {
	t.entries = append(t.entries, entry{prev, lsn, f})
	t.bytes += len(f.Body)
}

// first returns the index of the first entry with a position above lsn.
func (t *tail) first(lsn LSN) int {
	i, found := slices.BinarySearchFunc(t.entries, lsn, func(e entry, at LSN) int {
		switch {
		case e.lsn < at:
			return -1
		case e.lsn > at:
			return 1
		}
		return 0
	})
	if found {
		i++
	}
	return i
}

// after returns the frame that follows position lsn. ok is false if that frame
// is not in the tail.
func (t *tail) after(lsn LSN) (e entry, ok bool) {
	i := t.first(lsn)
	if i == len(t.entries) {
		return entry{}, false
	}
	e = t.entries[i]
	return e, e.prev <= lsn
}

// find returns n bytes of a frame body at position pos, and the frame.
func (t *tail) find(pos LSN, n int) ([]byte, *Frame) {
	i := t.first(pos)
	if i == len(t.entries) {
		return nil, nil
	}
	e := t.entries[i]
	start := e.lsn - LSN(len(e.frame.Body))
	if pos < start || pos+LSN(n) > e.lsn {
		return nil, nil
	}
	off := int(pos - start)
	return e.frame.Body[off : off+n : off+n], e.frame
}

// read is find for who may keep what it returns.
func (t *tail) read(pos LSN, n int) ([]byte, bool) {
	b, f := t.find(pos, n)
	if f != nil {
		f.lend()
	}
	return b, f != nil
}

func (t *tail) dropThrough(lsn LSN) { t.drop(t.first(lsn)) }

// shrink drops the oldest frames until at most limit bytes of bodies are left.
func (t *tail) shrink(limit int) {
	n, bytes := 0, t.bytes
	for ; n < len(t.entries)-1 && bytes > limit; n++ {
		bytes -= len(t.entries[n].frame.Body)
	}
	t.drop(n)
}

func (t *tail) drop(n int) {
	for _, e := range t.entries[:n] {
		t.bytes -= len(e.frame.Body)
		t.slabs.letGo(e.frame)
	}
	clear(t.entries[:n]) // let the frames go, though the array stays
	t.entries = t.entries[n:]
}
