package vfstest

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	blockSize  = 4096
	sectorSize = 512

	// maxVersions bounds the versions of a block that are remembered, so that a
	// file which is never synced costs no memory without end.
	maxVersions = 4
)

// block is the content of one block. It is immutable once it is in a node: a
// write makes another, so that a cut copies no data. nil stands for a block
// that was never written and reads as zeros.
type block [blockSize]byte

var zeros block

// node is a file.
type node struct {
	blocks []*block // what reading shows
	size   int64

	durable     []*block // as of the last Sync
	durableSize int64

	dirty map[int][]*block // by block: its versions since the last Sync, oldest first
	sizes []int64          // since the last Sync
}

// allocated returns how many blocks the file takes.
func (n *node) allocated() int64 {
	count := int64(0)
	for _, b := range n.blocks {
		if b != nil {
			count++
		}
	}
	return count
}

// set makes b the content of block i.
func (n *node) set(i int, b *block) {
	for len(n.blocks) <= i {
		n.blocks = append(n.blocks, nil)
	}
	n.blocks[i] = b
	if n.dirty == nil {
		n.dirty = make(map[int][]*block)
	}
	versions := n.dirty[i]
	if len(versions) == maxVersions {
		versions = slices.Delete(versions, 1, 2)
	}
	n.dirty[i] = append(versions, b)
}

func (n *node) resize(size int64) {
	n.size = size
	n.sizes = append(n.sizes, size)
	if len(n.sizes) > 4*maxVersions {
		n.sizes = slices.Delete(n.sizes, 1, 2)
	}
}

// write puts p at off. room is how many blocks may be added; it returns how many
// bytes were written and how many blocks were added.
func (n *node) write(p []byte, off, room int64) (written int, added int64) {
	for written < len(p) {
		at := off + int64(written)
		i, in := int(at/blockSize), int(at%blockSize)
		part := p[written:min(written+blockSize-in, len(p))]
		var old *block
		if i < len(n.blocks) {
			old = n.blocks[i]
		}
		if old == nil {
			if room >= 0 && added == room {
				break
			}
			added++
		}
		n.set(i, overwrite(old, part, in))
		written += len(part)
	}
	if end := off + int64(written); written > 0 && end > n.size {
		n.resize(end)
	}
	return written, added
}

// overwrite returns old with part at offset in.
func overwrite(old *block, part []byte, in int) *block {
	if len(part) == blockSize && bytes.Equal(part, zeros[:]) {
		return &zeros // a file written full of zeros takes no memory
	}
	b := new(block)
	if old != nil && len(part) < blockSize {
		*b = *old
	}
	copy(b[in:], part)
	return b
}

// truncate sets the size and returns how many blocks that freed.
func (n *node) truncate(size int64) (freed int64) {
	if size == n.size {
		return 0
	}
	for i := int(size / blockSize); i < len(n.blocks); i++ {
		in := int(max(size-int64(i)*blockSize, 0))
		switch b := n.blocks[i]; {
		case b == nil:
		case in == 0:
			n.set(i, nil)
			freed++
		case !bytes.Equal(b[in:], zeros[in:]):
			n.set(i, overwrite(b, zeros[in:], in))
		}
	}
	n.resize(size)
	return freed
}

func (n *node) readAt(p []byte, off int64) (int, error) {
	if off >= n.size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), n.size-off)]
	for done := 0; done < len(p); {
		at := off + int64(done)
		i, in := int(at/blockSize), int(at%blockSize)
		from := &zeros
		if i < len(n.blocks) && n.blocks[i] != nil {
			from = n.blocks[i]
		}
		done += copy(p[done:], from[in:])
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return len(p), nil
}

// sync makes what was written since the last Sync durable.
func (n *node) sync() {
	n.durable = resized(n.durable, n.size)
	for i := range n.dirty {
		if i < len(n.durable) {
			n.durable[i] = n.blocks[i]
		}
	}
	n.durableSize = n.size
	n.forget()
}

// forget makes what was written since the last Sync clean, durable or not.
func (n *node) forget() {
	clear(n.dirty)
	n.sizes = n.sizes[:0]
}

// resized returns blocks with as many as size needs.
func resized(blocks []*block, size int64) []*block {
	count := int((size + blockSize - 1) / blockSize)
	for len(blocks) < count {
		blocks = append(blocks, nil)
	}
	clear(blocks[count:])
	return blocks[:count]
}

// directory maps names to nodes and directories.
type directory struct {
	entries map[string]any // *node or *directory
	durable map[string]any // as of the last SyncDir
	log     []change       // since then
}

// change is what one operation did to a directory, all of it or nothing.
type change []assignment

type assignment struct {
	name  string
	entry any // nil: the name is gone
}

func newDirectory() *directory {
	return &directory{entries: make(map[string]any), durable: make(map[string]any)}
}

func (d *directory) change(c ...assignment) {
	change(c).apply(d.entries)
	d.log = append(d.log, c)
}

func (c change) apply(entries map[string]any) {
	for _, a := range c {
		if a.entry == nil {
			delete(entries, a.name)
		} else {
			entries[a.name] = a.entry
		}
	}
}

func (d *directory) sync() {
	d.durable = maps.Clone(d.entries)
	d.log = nil
}

// cutter makes the copy of a disk that a power cut leaves.
type cutter struct {
	r       *rand.Rand
	percent int
	files   map[*node]*node
}

// keep decides whether one thing survives.
func (c *cutter) keep() bool {
	switch c.percent {
	case 0:
		return false
	case 100:
		return true
	}
	return c.r.IntN(100) < c.percent
}

func (c *cutter) directory(d *directory) *directory {
	entries := maps.Clone(d.durable)
	for _, change := range d.log {
		if c.keep() {
			change.apply(entries)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		switch e := entries[name].(type) {
		case *directory:
			entries[name] = c.directory(e)
		case *node:
			entries[name] = c.file(e)
		}
	}
	return &directory{entries: entries, durable: maps.Clone(entries)}
}

func (c *cutter) file(n *node) *node {
	if cut, ok := c.files[n]; ok {
		return cut
	}
	size := n.durableSize
	if len(n.sizes) > 0 && c.keep() {
		size = n.size
		if c.percent < 100 {
			size = n.sizes[c.r.IntN(len(n.sizes))]
		}
	}
	// All that may be there: a truncation that is lost brings blocks back, and
	// those behind the end may come with a size that is lost.
	blocks := resized(slices.Clone(n.durable), max(size, n.durableSize))
	for _, i := range slices.Sorted(maps.Keys(n.dirty)) {
		if i < len(blocks) && c.keep() {
			blocks[i] = c.version(blocks[i], n.dirty[i])
		}
	}
	blocks = resized(blocks, size)
	if in := int(size % blockSize); in > 0 {
		if last := len(blocks) - 1; blocks[last] != nil && !bytes.Equal(blocks[last][in:], zeros[in:]) {
			blocks[last] = overwrite(blocks[last], zeros[in:], in)
		}
	}
	cut := &node{blocks: blocks, size: size, durable: slices.Clone(blocks), durableSize: size}
	c.files[n] = cut
	return cut
}

// version picks what is left of a block that was being written.
func (c *cutter) version(durable *block, versions []*block) *block {
	last := versions[len(versions)-1]
	if c.percent == 100 {
		return last
	}
	switch c.r.IntN(4) {
	case 0:
		return versions[c.r.IntN(len(versions))]
	case 1: // torn
		b := new(block)
		for _, from := range []struct {
			b    *block
			take func() bool
		}{{durable, func() bool { return true }}, {last, func() bool { return c.r.IntN(2) == 0 }}} {
			if from.b == nil {
				from.b = &zeros
			}
			for s := 0; s < blockSize; s += sectorSize {
				if from.take() {
					copy(b[s:s+sectorSize], from.b[s:])
				}
			}
		}
		return b
	}
	return last
}

// info describes a file or a directory.
type info struct {
	name string
	size int64
	dir  bool
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
