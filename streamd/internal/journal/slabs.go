package journal

import "unsafe"

// The bodies of a [Local] journal's frames lie side by side in slabs, and a slab
// is used again when all its frames have left the tail. Memory that was used a
// moment ago is in the caches, and needs neither the collector nor pages of the
// system, whose first touch is what memory costs most on a virtual machine.
//
// Nobody is told to give back what he was given: a slab of which a part was
// lent is left to the collector.

const (
	slabSize = 2 << 20
	// slabStep is what the size of a slab for one large frame is a multiple of.
	slabStep = 256 << 10
	// maxFree is how many slabs are kept for frames to come. Where as much comes
	// as goes there are two at most.
	maxFree = 4
)

// slab is memory for bodies, with room for a header before each. The journal's
// lock guards what is in it but for buf.
type slab struct {
	buf  []byte
	used int  // frames have been given so much
	held int  // frames that are made, in the tail or being read
	lent bool // somebody has a part and may keep it
	open bool // takes more frames
}

// slabs are the slabs of a journal. Its lock guards them.
type slabs struct {
	open *slab // nil before the first
	free []*slab
}

// frame returns a frame whose body is empty and has room for size bytes.
func (cs *slabs) frame(size int) *Frame {
	n := headerSize + size
	c := cs.open
	switch {
	case n > slabSize/2:
		c = cs.take((n + slabStep - 1) / slabStep * slabStep)
	case c == nil || len(c.buf)-c.used < n:
		if c != nil {
			c.open = false
			cs.settle(c)
		}
		c = cs.take(slabSize)
		c.open, cs.open = true, c
	}
	c.held++
	room := c.buf[c.used : c.used+n : c.used+n]
	c.used += n
	return &Frame{Body: room[headerSize:headerSize], home: c, room: room}
}

// take returns a slab of at least so many bytes that nobody uses.
func (cs *slabs) take(size int) *slab {
	for i, c := range cs.free {
		if len(c.buf) >= size {
			last := len(cs.free) - 1
			cs.free[i], cs.free[last] = cs.free[last], nil
			cs.free = cs.free[:last]
			c.used = 0
			return c
		}
	}
	return &slab{buf: make([]byte, size)}
}

// letGo takes down that one who held f does not any more.
func (cs *slabs) letGo(f *Frame) {
	if f.home != nil {
		f.home.held--
		cs.settle(f.home)
	}
}

// settle keeps c if nobody uses it.
func (cs *slabs) settle(c *slab) {
	if c.held == 0 && !c.open && !c.lent && len(cs.free) < maxFree {
		cs.free = append(cs.free, c)
	}
}

// hold keeps the memory of f from being used again until letGo.
func (f *Frame) hold() {
	if f.home != nil {
		f.home.held++
	}
}

// lend takes down that who got f, or a part of its body, may keep it.
func (f *Frame) lend() {
	if f.home != nil {
		f.home.lent = true
	}
}

// withHeader returns the body with room for a header before it, nil if there is
// none.
func (f *Frame) withHeader() []byte {
	if f.home == nil || len(f.Body) == 0 || unsafe.SliceData(f.Body) != unsafe.SliceData(f.room[headerSize:]) {
		return nil // none, or the body became too large for its room
	}
	return f.room[:headerSize+len(f.Body)]
}
