package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/streamkit/streamkit/internal/seglog"
	"github.com/streamkit/streamkit/internal/vfs"
)

// maxMemory is how many written blocks wait in memory for the reader.
const maxMemory = 3

// group is Appends that share one write.
type group[C any] struct {
	buf   []byte // a block; its header is written last
	first uint64
	count int
	calls []attached[C]
	refs  int // Appends that still look at it, and the reader
	done  bool
	err   error
}

// Append adds records in a row and returns when they are written, and with
// Options.Fsync durable. If attach is set, c comes back with them; it belongs to
// all of es together. The records are copied.
//
// After an error none of them will be given to the reader of this process, but
// a later one may find them: the disk may have kept what it said it had not. The
// error wraps [ErrFull] if MaxBytes would be exceeded.
func (s *Spool[C]) Append(es []Entry, c C, attach bool) error {
	size := 0
	for i := range es {
		size += es[i].size()
	}
	if size+blockHeader > seglog.MaxPayload {
		return fmt.Errorf("spool: %d bytes are more than one write takes, %d", size, seglog.MaxPayload-blockHeader)
	}
	s.mu.Lock()
	for {
		if s.sealed {
			s.mu.Unlock()
			return ErrClosed
		}
		if s.total+int64(len(s.cur.buf)+size+blockHeader) > s.opt.MaxBytes {
			s.mu.Unlock()
			return ErrFull
		}
		if s.cur.count == 0 || len(s.cur.buf)+size <= s.opt.BlockBytes {
			break
		}
		s.cond.Wait()
	}
	s.busy.Store(true)
	g := s.cur
	if g.count == 0 {
		g.first = s.next
		g.buf = append(g.buf[:0], make([]byte, blockHeader)...)
	}
	if attach {
		g.calls = append(g.calls, attached[C]{first: s.next, n: len(es), c: c})
	}
	for i := range es {
		g.buf = appendEntry(g.buf, &es[i])
	}
	g.count += len(es)
	g.refs++
	s.next += uint64(len(es))

	// The first whom nobody's write keeps waiting writes for all.
	for !g.done {
		if !s.writing && s.cur == g {
			s.leadLocked(g)
			continue
		}
		s.cond.Wait()
	}
	err := g.err
	s.releaseLocked(g)
	s.mu.Unlock()
	return err
}

// releaseLocked gives back a hold of a group.
func (s *Spool[C]) releaseLocked(g *group[C]) {
	if g.refs--; g.refs > 0 || len(s.spare) > 2*maxMemory || cap(g.buf) > 2*s.opt.BlockBytes {
		return
	}
	clear(g.calls)
	*g = group[C]{buf: g.buf[:0], calls: g.calls[:0]}
	s.spare = append(s.spare, g)
}

// leadLocked writes a group. It gives up the lock meanwhile.
func (s *Spool[C]) leadLocked(g *group[C]) {
	s.writing = true
	if n := len(s.spare); n > 0 {
		s.cur = s.spare[n-1]
		s.spare = s.spare[:n-1]
	} else {
		s.cur = new(group[C])
	}
	size := int64(len(g.buf))
	s.total += size // it counts while it is written
	s.mu.Unlock()

	h := header{count: uint32(g.count), first: g.first, time: time.Now().UnixMilli(), epoch: s.about.Epoch}
	h.put(g.buf)
	gaveUp, err := s.write(g, size)
	if err != nil && gaveUp && !vfs.Passing(err) {
		// The file may have been the only fault.
		_, err = s.write(g, size)
	}

	s.mu.Lock()
	s.writing = false
	g.done, g.err = true, err
	if err != nil {
		s.total -= size
		s.log.Warn("spool cannot be written", slog.String("spool", s.dir), slog.Any("err", err))
	}
	s.cond.Broadcast()
	s.wakeReader()
}

// offerLocked keeps a written block in memory if it is what the reader wants
// next, and there is room.
func (s *Spool[C]) offerLocked(m *memory[C]) {
	if len(s.memory) >= maxMemory {
		return
	}
	s.settleReaderLocked()
	at, off := s.rseg, s.roff
	if n := len(s.memory); n > 0 {
		at, off = s.memory[n-1].seg, s.memory[n-1].end
		if i := slices.Index(s.segs, at); at.complete && off >= at.size && i >= 0 && i+1 < len(s.segs) {
			at, off = s.segs[i+1], headerOffset
		}
	}
	if at != m.seg || off != m.start {
		return // the reader is behind, and will find it on disk
	}
	m.group.refs++
	s.memory = append(s.memory, m)
}

// headerOffset is where the first frame of a segment begins.
const headerOffset = 32

// write puts a group, of which size bytes are counted, into the segment, or into
// a new one if that is full. The leader alone calls it, without the lock. After
// an error no segment is being written; gaveUp says that it was for the error.
func (s *Spool[C]) write(g *group[C], size int64) (gaveUp bool, err error) {
	if s.out != nil && s.out.Size()+int64(len(g.buf)) > s.opt.SegmentBytes && s.out.Size() > headerOffset {
		s.mu.Lock()
		s.sealSegmentLocked()
		s.mu.Unlock()
	}
	if s.out == nil {
		if err := s.begin(g.first, segmentExt); err != nil {
			s.mu.Lock()
			s.stats.Failures++
			s.mu.Unlock()
			return false, err
		}
	}
	seg, start := s.last, s.out.Size()
	err = s.out.Append(g.buf)
	if err == nil && s.opt.Fsync {
		err = s.out.Sync()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.stats.Failures++
		s.abandonLocked(start)
		return true, err
	}
	// All at once, or the reader would find the block and not its calls.
	seg.n += uint64(g.count)
	seg.size = s.out.Size()
	s.total += seg.size - start - size
	s.stats.Appended += uint64(g.count)
	s.calls = append(s.calls, g.calls...)
	s.offerLocked(&memory[C]{seg: seg, start: start, end: seg.size, group: g})
	return false, nil
}

// begin opens a new segment for writing.
func (s *Spool[C]) begin(first uint64, ext string) error {
	path := filepath.Join(s.dir, fmt.Sprintf("%016x%s", first, ext))
	out, err := seglog.Create(s.fsys, path, seglog.Options{Kind: segmentKind, NoLock: true, Hint: damagedHint})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = out
	s.last = &segment{path: path, first: first, front: ext == frontExt, salt: out.Salt(), size: out.Size(), live: true}
	s.segs = append(s.segs, s.last)
	s.total += out.Size()
	return nil
}

// sealSegmentLocked ends the segment that is written, if there is one.
func (s *Spool[C]) sealSegmentLocked() {
	if s.out == nil {
		return
	}
	_ = s.out.Close() // what was written was checked, and with Fsync synced
	s.endLocked()
}

// abandonLocked ends it after a failed write, at a size that it had before.
func (s *Spool[C]) abandonLocked(size int64) {
	if err := s.out.Abandon(size); err != nil {
		s.log.Warn("failed write of a spool could not be undone; a later process may send it", slog.String("spool", s.dir), slog.Any("err", err))
	}
	s.endLocked()
}

func (s *Spool[C]) endLocked() {
	g := s.last
	g.live, g.complete, g.ended, g.after = false, true, g.n, g.first+g.n
	g.dirty = true // ended is not on disk
	s.out, s.last = nil, nil
	s.kickKeeper()
	s.keep.tick()
}

// Sync makes what is in the segment that is written survive the end of the
// machine. Segments before it were left to the operating system, unless
// Options.Fsync is set. After an error the segment takes no more: a failed sync
// is final for a file.
func (s *Spool[C]) Sync() error {
	s.mu.Lock()
	for s.writing {
		s.cond.Wait()
	}
	if s.out == nil {
		s.mu.Unlock()
		return nil
	}
	s.writing = true
	s.mu.Unlock()
	err := s.out.Sync()
	s.mu.Lock()
	s.writing = false
	if err != nil {
		s.stats.Failures++
		s.log.Warn("spool cannot be synced", slog.String("spool", s.dir), slog.Any("err", err))
		s.sealSegmentLocked()
	}
	s.cond.Broadcast()
	s.mu.Unlock()
	return err
}

// DropOldest removes the oldest segment that is not written any more, for the
// sake of newer records. It reports false if there is none. The reader is told
// of the loss.
func (s *Spool[C]) DropOldest() bool {
	s.mu.Lock()
	if len(s.segs) == 0 {
		s.mu.Unlock()
		return false
	}
	g := s.segs[0]
	if g.live {
		// One segment is all there is: it can go when it is not being written.
		for s.writing {
			s.cond.Wait()
		}
		if g.live {
			s.sealSegmentLocked()
		}
	}
	if len(s.segs) == 0 || s.segs[0] != g {
		s.mu.Unlock()
		return true // something else has made room
	}
	// The reader waits until the file is gone for good. Its records would be sent
	// behind later ones if a loss of power brought it back.
	s.drops++
	s.mu.Unlock()
	err := s.fsys.Remove(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // somebody else was faster
	}
	if err == nil && s.opt.Fsync {
		if err := s.fsys.SyncDir(s.dir); err != nil {
			s.log.Warn("removal of a spool's segment may not outlive a loss of power; its records would be sent then", slog.String("spool", s.dir), slog.Any("err", err))
		}
	}
	s.mu.Lock()
	s.drops--
	switch {
	case err != nil:
		s.log.Warn("segment of a spool cannot be removed", slog.String("spool", s.dir), slog.Any("err", err))
	case slices.Contains(s.segs, g):
		n := int64(g.estimate()) - int64(min(g.read, g.estimate()))
		s.stats.Dropped += uint64(n)
		s.loseLocked(g, n, fmt.Errorf("%w: dropped to make room for newer records", ErrFull))
	}
	s.mu.Unlock()
	s.wakeReader()
	return err == nil
}

// Lost returns what Next would return as lost, so that it need not wait for the
// reader. Any goroutine may call it.
func (s *Spool[C]) Lost() []*Loss[C] {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := s.lost
	s.lost = nil
	return lost
}

// loseLocked takes a segment out, and with it the records that the reader has
// not had.
func (s *Spool[C]) loseLocked(g *segment, n int64, cause error) {
	s.segs = slices.DeleteFunc(s.segs, func(o *segment) bool { return o == g })
	s.total -= g.size
	s.roomLocked()
	kept := s.memory[:0]
	for _, m := range s.memory {
		if m.seg == g {
			s.releaseLocked(m.group)
		} else {
			kept = append(kept, m)
		}
	}
	clear(s.memory[len(kept):])
	s.memory = kept
	l := &Loss[C]{Records: n, Bytes: g.size, Old: g.old, Err: cause}
	s.takeCallsLocked(g.first, g.first+g.estimate(), func(a *attached[C]) {
		l.Calls = append(l.Calls, a.c)
		l.Counts = append(l.Counts, a.n)
	})
	s.lost = append(s.lost, l)
	g.complete, g.past, g.size = true, true, 0
	if s.rseg == g {
		s.rseg = nil
	}
}

// takeCallsLocked hands out what is attached to records of a range, which lies
// before all that comes behind it.
func (s *Spool[C]) takeCallsLocked(from, to uint64, fn func(*attached[C])) {
	n := 0
	for n < len(s.calls) && s.calls[n].first < to {
		if s.calls[n].first >= from {
			fn(&s.calls[n])
		}
		n++
	}
	clear(s.calls[:n])
	s.calls = s.calls[n:]
}
