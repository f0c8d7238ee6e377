package logappender

import (
	"encoding/binary"
	"time"

	"go.uber.org/zap/zapcore"
)

// A chunk holds entries one after another, each as
//
//	payload length  uint32, little-endian
//	key length      uint16
//	level           int8
//	flags           uint8
//	key, payload
//
// It is open while entries are added, then live until the last of them is
// finished. All fields but buf are guarded by Appender.mu; the bytes of buf do
// not change once the chunk is live.
type chunk struct {
	buf   []byte
	id    uint64 // position among the live chunks, ascending
	born  time.Time
	n     int         // entries, gap records included
	count LevelCounts // entries, gap records not included
	bytes int         // of their payloads
	saved bool        // written to Fallback, or about to be: never recycled

	returned bool    // the producer has given it back, not for its own fault
	writing  bool    // somebody writes it to the disk
	turn     uint64  // when, among others
	copied   *copied // its copy on disk, or nil

	delivery   *delivery // once it was handed over
	prev, next *chunk    // among the live chunks
}

const (
	headerSize    = 8
	chunkOverhead = 224 // the struct above, rounded up

	flagGap = 1 // the appender's own record, outside the accounts
)

func (c *chunk) reset() { *c = chunk{buf: c.buf[:0]} }

// cost is the memory that a live chunk takes of the budget.
func (c *chunk) cost() int { return cap(c.buf) + chunkOverhead }

func (c *chunk) fits(need int) bool { return cap(c.buf)-len(c.buf) >= need }

func entrySize(k *key, payload []byte) int { return headerSize + k.len() + len(payload) }

// add appends an entry, for which there is room.
func (c *chunk) add(level zapcore.Level, k *key, payload []byte, flags uint8) {
	if c.n == 0 {
		c.born = time.Now()
	}
	i := levelIndex(level)
	// The header in one word: lengths, level and flags.
	b := binary.LittleEndian.AppendUint64(c.buf, uint64(len(payload))|uint64(k.len())<<32|uint64(i)<<48|uint64(flags)<<56)
	if k.len() > 0 {
		b = k.appendTo(b)
	}
	c.buf = append(b, payload...)
	c.n++
	if flags&flagGap == 0 {
		c.count[i]++
		c.bytes += len(payload)
	}
}

// entry is a view into a chunk.
type entry struct {
	key, payload []byte
	level        int // index in LevelCounts
	gap          bool
}

// entries yields the entries in order.
func (c *chunk) entries(yield func(int, entry) bool) {
	b := c.buf
	for i := 0; len(b) > 0; i++ {
		n := int(binary.LittleEndian.Uint32(b))
		k := int(binary.LittleEndian.Uint16(b[4:]))
		end := headerSize + k + n
		e := entry{
			key:     b[headerSize : headerSize+k],
			payload: b[headerSize+k : end : end],
			level:   int(b[6]),
			gap:     b[7]&flagGap != 0,
		}
		b = b[end:]
		if !yield(i, e) {
			return
		}
	}
}

// part returns a chunk of the entries whose failure was the stream's, in the
// place of c.
func (c *chunk) part(faults []fault) *chunk {
	size := 0
	for i, e := range c.entries {
		if i < len(faults) && faults[i] == streamFault {
			size += headerSize + len(e.key) + len(e.payload)
		}
	}
	p := &chunk{buf: make([]byte, 0, size), id: c.id, born: c.born, returned: true, copied: c.copied, saved: c.saved}
	b := c.buf
	for i, e := range c.entries {
		n := headerSize + len(e.key) + len(e.payload)
		if i < len(faults) && faults[i] == streamFault {
			p.buf = append(p.buf, b[:n]...)
			p.n++
			if !e.gap {
				p.count[e.level]++
				p.bytes += len(e.payload)
			}
		}
		b = b[n:]
	}
	return p
}

// chunkList is the live chunks in order. Those that the producer has come
// first; waiting is the first one that it has not.
type chunkList struct {
	head, tail, waiting *chunk
}

func (l *chunkList) push(c *chunk) {
	c.prev = l.tail
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.next = c
	}
	l.tail = c
	if l.waiting == nil {
		l.waiting = c
	}
}

// take marks the first waiting chunk as handed over.
func (l *chunkList) take() *chunk {
	c := l.waiting
	if c != nil {
		l.waiting = c.next
	}
	return c
}

// insertTaken puts c, already handed over, before the first waiting chunk.
func (l *chunkList) insertTaken(c *chunk) {
	w := l.waiting
	if w == nil {
		l.push(c)
		l.waiting = nil
		return
	}
	c.prev, c.next = w.prev, w
	if w.prev == nil {
		l.head = c
	} else {
		w.prev.next = c
	}
	w.prev = c
}

// replace puts n, which is not waiting, in the place of c.
func (l *chunkList) replace(c, n *chunk) {
	n.prev, n.next = c.prev, c
	if c.prev == nil {
		l.head = n
	} else {
		c.prev.next = n
	}
	c.prev = n
	l.remove(c)
}

func (l *chunkList) remove(c *chunk) {
	if c.prev == nil {
		l.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	if l.waiting == c {
		l.waiting = c.next
	}
	c.prev, c.next = nil, nil
}
