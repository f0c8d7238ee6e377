package agent

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/streamkit/streamkit/agent/internal/container"
	"github.com/streamkit/streamkit/agent/internal/position"
	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/producer"
)

// A chunk holds bytes of files and the records that were cut out of them.
type chunk = tail.Chunk[producer.UserRecord]

// smallest is the least room in a chunk that a read with more to come uses.
const smallest = tail.ChunkSize / 4

// A long is a line that is longer than a chunk, while its end is sought. It takes no
// memory: what is sent of it is read again once the end is known, which may be never.
type long struct {
	scan int64 // offset up to which there was no newline
	end  int64 // of the line; 0 while it is not known
}

// pollFiles looks at the open files that are due and returns the time to the next
// poll.
func (fl *flow) pollFiles() time.Duration {
	now := time.Now()
	next := idlePoll
	for _, g := range fl.byID {
		if g.f == nil {
			continue
		}
		if now.Sub(g.grew) < activeFor || now.Sub(g.polled) >= idlePoll {
			fl.look(g, now)
		}
		if now.Sub(g.grew) < activeFor {
			next = fl.cfg.PollInterval
		}
	}
	if len(fl.shut) > 0 {
		next = fl.cfg.PollInterval
		fl.openShut(now)
	}
	fl.closeWindows(now)
	if fl.starved && now.Sub(fl.hungry) > starvedFlush {
		// What holds the memory may sit in batches that wait for their age.
		poke(fl.flush)
	}
	return max(min(next, idlePoll), fl.cfg.PollInterval)
}

// look compares an open file with what was known of it.
func (fl *flow) look(g *file, now time.Time) {
	g.polled = now
	fi, err := g.f.Stat()
	if err != nil {
		fl.trouble(g.path, "cannot stat an open file", err)
		return
	}
	size, mtime := fi.Size(), fi.ModTime().UnixNano()
	switch {
	case size < g.size || size < g.read:
		fl.truncated(g, g.size, now)
		return
	case size > g.size:
		g.grew = now
		fl.pollSoon(now)
		if g.ended {
			g.reopen()
			fl.protect(g)
		}
	case mtime != g.mtime && size == g.read:
		// Truncated and filled up to the same size between two looks?
		if same, err := tail.Marked(g.f, g.read, g.marker()); err == nil && !same {
			fl.truncated(g, g.size, now)
			return
		}
	}
	if size != g.size || mtime != g.mtime {
		if !fl.checkPrefix(g, size) {
			fl.truncated(g, g.size, now) // at the look before it began as it had
			return
		}
		g.size, g.mtime = size, mtime
		g.update(func(e *position.Entry) { e.Size, e.ModTime, e.Prefix = size, mtime, g.prefix })
	}
	if !g.deleted && (tail.Links(fi) == 0 || fl.alone(g, fi)) {
		g.deleted = true
		if !g.rotated {
			fl.rotate(g, now, "delete")
		}
	}
	if g.deleted && !fl.alone(g, fi) && g.read < size && fl.cfg.CloseDeletedAfter >= 0 && now.Sub(g.readAt()) >= fl.cfg.CloseDeletedAfter {
		fl.abandon(g, now)
		return
	}
	switch {
	case g.read < size && g.idleSize != size:
		fl.enqueue(g)
	case g.read < size && fl.overdue(g):
		fl.enqueue(g)
	}
	if g.rotated && !g.ended && now.Sub(g.grew) >= fl.cfg.RotateWait && now.Sub(g.rotatedAt) >= fl.cfg.RotateWait {
		if g.read < size {
			g.final = true
			fl.enqueue(g)
			return
		}
		fl.ended(g, now)
	}
}

// readAt returns when the file last made progress: when something of it was read,
// when it grew, or when it lost its name.
func (g *file) readAt() time.Time {
	last := g.grew
	for _, at := range []time.Time{g.progress, g.rotatedAt} {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// abandon closes a deleted file that takes up the disk and is not read.
func (fl *flow) abandon(g *file, now time.Time) {
	fl.closeFile(g)
	fl.delist(g)
	g.window, g.reason = now, lossDeleted
	fl.orphan(g)
	fl.giveUp(g)
}

// ended lets go of a rotated file that is read to its end.
func (fl *flow) ended(g *file, now time.Time) {
	fl.closeFile(g)
	if g.deleted && len(fl.suspects) > 0 {
		// Moved to here from another file system, it would be a copy of itself: the next
		// scan gives it to this generation.
		fl.detach(g, lossTruncated)
		fl.scanSoon(0)
		return
	}
	g.end(g.deleted)
	if !g.listed {
		fl.forget(g, now)
	}
}

// checkPrefix reports whether the file still begins as it did, and makes the prefix
// as long as the file allows. A file that was truncated and filled again may have
// the very bytes before the place where reading goes on, if its lines are alike;
// its beginning then mostly differs.
func (fl *flow) checkPrefix(g *file, size int64) bool {
	if err := fl.head.Read(g.f, size); err != nil {
		fl.trouble(g.path, "cannot read", err)
		return true
	}
	if !fl.head.Has(g.prefix) {
		return false
	}
	g.setPrefix(&fl.head)
	return true
}

func (fl *flow) enqueue(g *file) {
	if !g.queued {
		g.queued = true
		fl.ready.push(g)
	}
}

// step gives the next ready file its turn.
func (fl *flow) step() {
	g := fl.ready.pop()
	g.queued = false
	if g.f == nil {
		return
	}
	more, err := fl.turn(g)
	if g.failed = err; err != nil {
		fl.trouble(g.path, "cannot read", err)
		return
	}
	switch {
	case !more || g.f == nil || g.queued:
	case fl.starved:
		// It stays the next: a line that needs all the memory would never get it if
		// others took each part that comes back.
		g.queued = true
		fl.ready.unpop(g)
	default:
		fl.enqueue(g)
	}
}

// room returns a chunk with at least n bytes free, or with a good part of a chunk
// if n is large; nil if memory is short.
func (fl *flow) room(n int64) *chunk {
	if c := fl.chunk; c != nil {
		if int64(len(c.Buf)-c.N) >= min(n, smallest) && len(c.Recs) < cap(c.Recs) {
			return c
		}
		fl.dropChunk()
	}
	fl.chunk = fl.get(tail.ChunkSize)
	return fl.chunk
}

func (fl *flow) get(size int) *chunk {
	c := fl.pool.Get(size)
	if c == nil {
		if !fl.starved {
			fl.starved, fl.hungry = true, time.Now()
		}
		fl.stats.stalls.Add(1)
	}
	return c
}

var errReplaced = errors.New("content replaced")

// fill reads what follows g.read into the free part of c. It checks that the bytes
// before are still those that were read, and at the start those that were seen: a file
// that was truncated and filled again past that place shows it in no other way.
func (fl *flow) fill(g *file, c *chunk) (data []byte, err error) {
	free := c.Buf[c.N:]
	want := min(int64(len(free)), int64(g.nbefore)+g.size-g.read)
	b := free[:want]
	n, err := g.f.ReadAt(b, g.read-int64(g.nbefore))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n < len(b) {
		g.known = g.size // of what is gone: it was looked at, and has been longer
		return nil, errReplaced
	}
	if !bytes.Equal(b[:g.nbefore], g.before[:g.nbefore]) || g.read == 0 && !beginsWith(b, g.prefix) {
		return nil, errReplaced
	}
	g.known = g.size
	return b[g.nbefore:], nil
}

// beginsWith reports whether data, of the start of a file, is what it began with when it was
// looked at.
func beginsWith(data []byte, p tail.Print) bool {
	return p.Len > len(data) || tail.PrintOf(data[:p.Len]) == p
}

// replaced is truncated for a file whose new content is as long as the old. Where both begin
// alike, the size that was seen since the last read may be the new one's.
func (fl *flow) replaced(g *file) {
	size := max(g.read, g.known)
	if err := fl.head.Read(g.f, int64(g.prefix.Len)); err == nil && !fl.head.Has(g.prefix) {
		size = g.size
	}
	fl.truncated(g, size, time.Now())
}

// turn reads once from g and cuts at most one span. It reports whether there is
// more to do at once.
func (fl *flow) turn(g *file) (more bool, err error) {
	if g.long != nil {
		return fl.turnLine(g)
	}
	if g.large {
		return fl.turnLong(g)
	}
	need := int64(g.nbefore) + g.size - g.read
	c := fl.room(need)
	if c == nil {
		return true, nil
	}
	data, err := fl.fill(g, c)
	if errors.Is(err, errReplaced) {
		fl.replaced(g)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	atEnd := int64(len(data)) == g.size-g.read
	s, used := fl.cut(g, c, data, atEnd)
	if used > 0 {
		c.N += g.nbefore + used
		fl.finishCut(g, s, data[:used])
		return g.read < g.size, nil
	}
	s.free()
	switch {
	case atEnd && len(data) < fl.maxData():
		g.idleSize = g.size
		return false, nil
	case c.N > 0:
		fl.dropChunk() // no whole record in the rest of the chunk; try a whole one
		return true, nil
	case fl.cutter.start == nil && fl.cutter.format == container.None && fl.cfg.OnOversize != OversizeSplit:
		g.long = &long{scan: g.read + int64(len(data))}
		return true, nil
	}
	return fl.turnLong(g)
}

// dropChunk gives the flow's own chunk back. What a flow may have beyond its part, it
// may have only while it has nothing.
func (fl *flow) dropChunk() {
	if fl.chunk != nil {
		fl.chunk.Release()
		fl.chunk = nil
	}
}

// turnLong is turn for a record that does not fit into a chunk, and whose end is not
// that of a line or may be chosen.
func (fl *flow) turnLong(g *file) (more bool, err error) {
	fl.dropChunk()
	c := fl.get(g.nbefore + fl.maxData() + smallest)
	if g.large = c == nil; g.large {
		return true, nil
	}
	defer c.Release()
	data, err := fl.fill(g, c)
	if errors.Is(err, errReplaced) {
		fl.replaced(g)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	atEnd := int64(len(data)) == g.size-g.read
	s, used := fl.cut(g, c, data, atEnd)
	if used > 0 {
		fl.finishCut(g, s, data[:used])
		return g.read < g.size, nil
	}
	s.free()
	if len(data) < fl.maxData() {
		g.idleSize = g.size
		return false, nil
	}
	g.long = &long{scan: g.read + int64(len(data))}
	return true, nil
}

// turnLine is turn for a line that is longer than a chunk. It looks for its end
// without keeping what it reads.
func (fl *flow) turnLine(g *file) (more bool, err error) {
	l := g.long
	if l.end > 0 {
		return fl.takeLine(g, l.end)
	}
	want := min(int64(len(fl.scratch)), g.size-l.scan)
	if n, err := g.f.ReadAt(fl.scratch[:want], l.scan); int64(n) < want {
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		g.known = g.size
		fl.replaced(g)
		return false, nil
	}
	if n := fl.lineEnd(g, fl.scratch[:want], l.scan); n > 0 {
		l.end = l.scan + int64(n)
	} else if l.scan += want; l.scan == g.size {
		if !g.final && !fl.overdue(g) {
			g.idleSize = g.size
			return false, nil
		}
		l.end = g.size
	}
	return true, nil
}

// takeLine reads the line that ends at end, or the beginning of it that is kept, and
// makes a span of it.
func (fl *flow) takeLine(g *file, end int64) (more bool, err error) {
	size := end - g.read
	kept := min(size, int64(fl.maxKept()))
	fl.dropChunk()
	c := fl.get(g.nbefore + int(kept))
	if c == nil {
		return true, nil
	}
	defer c.Release()
	data, err := fl.fill(g, c)
	if errors.Is(err, errReplaced) || err == nil && int64(len(data)) < kept {
		fl.replaced(g)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	g.long = nil
	s := newSpan()
	s.chunk = c
	off := g.read
	var marker tail.Print
	if size <= kept {
		fl.advance(g, data[:size])
		marker = tail.PrintOf(g.before[:g.nbefore])
	} else {
		b, err := tail.Before(g.f, end, &g.before)
		if err != nil {
			s.free()
			return false, err
		}
		g.read, g.nbefore = end, len(b)
		marker = tail.PrintOf(b)
	}
	c.Keep()
	if g.headerLeft > 0 {
		g.headerLeft--
		fl.stats.filtered.Add(1)
	} else {
		s.recs = fl.emit(s, c.Recs[:0], g, piece{data: data[:kept], off: off, missing: int(size - kept), inChunk: true})
	}
	fl.stats.read.Add(uint64(size))
	fl.queue(g, s, marker)
	return g.read < g.size, nil
}

// finishCut moves g past the bytes that went into s and queues s.
func (fl *flow) finishCut(g *file, s *span, used []byte) {
	fl.advance(g, used)
	s.chunk.Keep()
	fl.stats.read.Add(uint64(len(used)))
	fl.queue(g, s, tail.PrintOf(g.before[:g.nbefore]))
}

// advance moves g past the bytes that follow the place up to which it was read.
func (fl *flow) advance(g *file, used []byte) {
	if len(used) >= tail.MarkerMax {
		g.nbefore = copy(g.before[:], used[len(used)-tail.MarkerMax:])
	} else {
		keep := min(g.nbefore, tail.MarkerMax-len(used))
		copy(g.before[:], g.before[g.nbefore-keep:g.nbefore])
		g.nbefore = keep + copy(g.before[keep:], used)
	}
	g.read += int64(len(used))
}

// queue appends s, which ends at g.read, to the file's list and makes it the next
// for the sender.
func (fl *flow) queue(g *file, s *span, marker tail.Print) {
	fl.seq++
	s.g, s.seq, s.end, s.marker, s.headerLeft = g, fl.seq, g.read, marker, g.headerLeft
	s.born = time.Now()
	g.idleSize = -1
	if g.deleted {
		g.progress = time.Now()
	}
	g.readNow.Store(g.read)
	fl.outstanding.Add(1)
	fl.stats.records.Add(uint64(len(s.recs)))
	g.mu.Lock()
	g.spans = append(g.spans, s)
	g.mu.Unlock()
	if len(s.recs) == 0 { // all filtered
		s.complete()
		return
	}
	fl.pending = s
}
