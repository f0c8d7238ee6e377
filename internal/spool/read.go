package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/streamkit/streamkit/internal/seglog"
	"github.com/streamkit/streamkit/internal/vfs"
)

// Block is records as they were written together.
type Block[C any] struct {
	First uint64 // number of the first record
	Count int    // records, those that Next passes over included
	Time  int64  // when they were put, in milliseconds since 1970
	Epoch uint64 // which opening of the spool has written them
	Old   bool   // by an earlier process

	body  []byte
	next  uint64
	skip  *bitmap // may be nil
	base  uint64  // number of the segment's first record
	calls []attached[C]
	group *group[C] // whose memory body is; nil if it is the reader's
}

// Next returns the next record that is not acknowledged, with its number and
// what is attached to it, nil if there is nothing. The entry is valid until the
// next call of [Spool.Next]. ok is false after the last.
func (b *Block[C]) Next() (number uint64, e Entry, c *C, ok bool) {
	for b.next < b.First+uint64(b.Count) {
		var err error
		if e, b.body, err = parseEntry(b.body); err != nil {
			panic("spool: block was not checked")
		}
		number = b.next
		b.next++
		if b.skip != nil && b.skip.has(number-b.base) {
			continue
		}
		for len(b.calls) > 0 && b.calls[0].first+uint64(b.calls[0].n) <= number {
			b.calls = b.calls[1:]
		}
		if len(b.calls) > 0 && b.calls[0].first <= number {
			c = &b.calls[0].c
		}
		return number, e, c, true
	}
	return 0, e, nil, false
}

// Left returns how many records Next would return yet.
func (b *Block[C]) Left() (n int) {
	for number := b.next; number < b.First+uint64(b.Count); number++ {
		if b.skip == nil || !b.skip.has(number-b.base) {
			n++
		}
	}
	return n
}

// Index returns which of the records that its C belongs to the record with a
// number is. It may be called after Next has returned both.
func (b *Block[C]) Index(number uint64) int { return int(number - b.calls[0].first) }

// Rest returns what is attached to records that Next has not returned.
func (b *Block[C]) Rest() (rest []Rest[C]) {
	for i := range b.calls {
		a := &b.calls[i]
		from := max(a.first, b.next)
		if end := a.first + uint64(a.n); from < end {
			rest = append(rest, Rest[C]{C: a.c, Index: int(from - a.first), Count: int(end - from)})
		}
	}
	return rest
}

// Rest is records in a row that belong to one C.
type Rest[C any] struct {
	C     C
	Index int // of the first
	Count int
}

// Data returns a channel that holds a signal when Next may have more to give.
func (s *Spool[C]) Data() <-chan struct{} { return s.data }

func (s *Spool[C]) wakeReader() {
	select {
	case s.data <- struct{}{}:
	default: // it will look anyway
	}
}

// Next returns the next records, or ones that are lost, or neither if there are
// none now. A call says that the reader has done with what the last one
// returned. One goroutine may call it. The error is one that may be gone later.
func (s *Spool[C]) Next() (*Block[C], *Loss[C], error) {
	s.mu.Lock()
	s.handed = max(s.handed, s.taken)
	if g := s.block.group; g != nil {
		s.releaseLocked(g)
	}
	clear(s.block.calls)
	s.block = Block[C]{calls: s.block.calls[:0]}
	for {
		if s.drops > 0 {
			s.mu.Unlock()
			return nil, nil, nil // DropOldest wakes the reader
		}
		s.settleReaderLocked()
		if len(s.lost) > 0 {
			l := s.lost[0]
			s.lost = s.lost[1:]
			s.wakeWaitersLocked()
			s.mu.Unlock()
			return nil, l, nil
		}
		g := s.rseg
		if len(s.memory) > 0 {
			m := s.memory[0]
			s.memory[0] = nil
			s.memory = s.memory[1:]
			h, body, err := parseHeader(m.group.buf)
			if err != nil {
				panic("spool: block in memory is broken")
			}
			s.block.group = m.group
			s.giveLocked(m.seg, h, body, m.end)
			s.mu.Unlock()
			return &s.block, nil, nil
		}
		if g == nil || s.roff >= g.size {
			if s.cur.count == 0 && !s.writing {
				s.handed = s.next
				s.busy.Store(false)
			}
			s.wakeWaitersLocked()
			s.mu.Unlock()
			return nil, nil, nil
		}
		off, limit := s.roff, g.size
		s.mu.Unlock()
		payload, err := s.read(g, off, limit)
		var h header
		if err == nil {
			if h, err = check(payload); err != nil {
				err = &seglog.CorruptError{Path: g.path, Offset: off, Reason: err.Error(), Hint: damagedHint}
			}
		}
		s.mu.Lock()
		if s.rseg != g || s.drops > 0 {
			continue // it was dropped meanwhile, or is being dropped
		}
		if err == nil && h.first != g.first+g.read {
			err = &seglog.CorruptError{
				Path: g.path, Offset: off, Hint: damagedHint,
				Reason: fmt.Sprintf("record %d follows where %d should", h.first, g.first+g.read),
			}
		}
		if err != nil {
			if s.passing(err) {
				s.wakeWaitersLocked()
				s.mu.Unlock()
				return nil, nil, err
			}
			s.endBadLocked(g, err)
			continue
		}
		s.giveLocked(g, h, payload[blockHeader:], s.reader.Offset())
		s.mu.Unlock()
		s.tries = 0
		return &s.block, nil, nil
	}
}

// maxTries is how often a disk that fails is asked for a block before the rest of
// its segment is given up.
const maxTries = 8

// passing reports whether a fault of the reader may be gone later.
func (s *Spool[C]) passing(err error) bool {
	torn, _ := errors.AsType[*seglog.TornError](err)
	if torn != nil || errors.Is(err, seglog.ErrCorrupt) || errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
		return false
	}
	s.tries++
	return vfs.Passing(err) || s.tries < maxTries
}

// read returns the block at an offset of a segment. The reader alone calls it,
// without the lock.
func (s *Spool[C]) read(g *segment, off, limit int64) ([]byte, error) {
	if s.opened != g {
		s.closeReader()
		r, err := seglog.OpenReader(s.fsys, g.path, seglog.Options{Kind: segmentKind, Hint: damagedHint})
		if err != nil {
			return nil, err
		}
		s.reader = r
		s.mu.Lock()
		s.opened = g
		s.mu.Unlock()
	}
	s.reader.Skip(off)
	return s.reader.Next(limit)
}

func (s *Spool[C]) closeReader() {
	if s.reader == nil {
		return
	}
	_ = s.reader.Close() // only read from
	s.reader = nil
	s.mu.Lock()
	s.opened = nil
	s.mu.Unlock()
	s.kickKeeper()
}

// giveLocked makes s.block of the block that ends at an offset of g.
func (s *Spool[C]) giveLocked(g *segment, h header, body []byte, end int64) {
	s.settleReaderLocked()
	s.rseg, s.roff = g, end
	g.read += uint64(h.count)
	if g.old {
		g.n = g.read
		s.stats.Replayed += uint64(h.count)
	}
	s.taken = h.first + uint64(h.count)
	b := &s.block
	b.First, b.Count, b.Time, b.Epoch, b.Old = h.first, int(h.count), h.time, h.epoch, g.old
	b.body, b.next, b.skip, b.base = body, h.first, g.skip, g.first
	if b.skip != nil {
		for i := range uint64(h.count) {
			if b.skip.has(h.first - g.first + i) {
				s.stats.Replayed--
			}
		}
	}
	if !g.old {
		s.takeCallsLocked(h.first, s.taken, func(a *attached[C]) { b.calls = append(b.calls, *a) })
	}
	s.wakeWaitersLocked()
}

// settleReaderLocked moves the reader's place on to the segment that it reads
// from next.
func (s *Spool[C]) settleReaderLocked() {
	for {
		if g := s.rseg; g != nil {
			if g.old && !g.complete && s.roff >= g.size {
				s.endOldLocked(g)
			}
			if !g.complete || s.roff < g.size {
				return
			}
			g.past = true
			s.rseg = nil
			s.kickKeeper()
		}
		i := slices.IndexFunc(s.segs, func(g *segment) bool { return !g.past })
		if i < 0 {
			return
		}
		s.rseg, s.roff = s.segs[i], headerOffset // it may have nothing behind that
	}
}

// endOldLocked takes note that a segment of an earlier process was read to its end. A
// file that ends behind a block looks whole, but its writer has noted how many records
// it had.
func (s *Spool[C]) endOldLocked(g *segment) {
	n := g.endOld()
	if n == 0 {
		return
	}
	s.stats.Missing += n
	err := fmt.Errorf("%w: %s has lost its end", ErrDamaged, g.path)
	s.log.Error("segment of a spool has lost its end, as a file that was cut or a machine that lost its power leaves it; what was there is not sent",
		slog.String("segment", g.path), slog.Uint64("records", n))
	s.lost = append(s.lost, &Loss[C]{Records: int64(n), Old: true, Err: err})
}

// endBadLocked gives up the rest of a segment. A torn tail is what a crash
// leaves, and nobody was promised anything about it; the rest is damage.
func (s *Spool[C]) endBadLocked(g *segment, err error) {
	if torn, ok := errors.AsType[*seglog.TornError](err); ok && g.old {
		s.stats.Torn++
		s.log.Warn("end of a spool's segment was not written whole, as a crash leaves it", slog.String("segment", g.path), slog.Int64("bytes", torn.Bytes))
		s.roff = g.size
		s.endOldLocked(g)
		return
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	for g.live && s.writing {
		s.cond.Wait()
	}
	if g.live {
		s.sealSegmentLocked()
	}
	s.stats.Damaged++
	n := int64(-1)
	switch {
	case !g.old:
		n = int64(g.n - g.read)
		s.stats.Lost += uint64(n)
	case g.ended > 0:
		n = int64(missingOf(g.acks, g.read, g.ended))
		s.stats.Missing += uint64(n)
	}
	s.tries = 0
	rest := g.size - s.roff
	s.log.Error("segment of a spool is damaged; the rest of it is passed over and not sent; the file is kept: look at it with \"streamctl spool cat\", then remove it",
		slog.String("segment", g.path+damagedExt), slog.Int64("bytes", rest), slog.Int64("records", n), slog.Any("err", err))
	s.loseLocked(g, n, fmt.Errorf("%w: %w", ErrDamaged, err))
	if err := s.fsys.Rename(g.path, g.path+damagedExt); err != nil {
		s.log.Warn("damaged segment of a spool cannot be renamed", slog.String("segment", g.path), slog.Any("err", err))
	}
}

// WaitHanded returns when the reader has done with all records appended before
// the call, or ctx ends.
func (s *Spool[C]) WaitHanded(ctx context.Context) error {
	s.mu.Lock()
	if s.handed >= s.next {
		s.mu.Unlock()
		return nil
	}
	w := waiter{number: s.next, done: make(chan struct{})}
	s.waiters = append(s.waiters, w)
	s.mu.Unlock()
	s.wakeReader()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wakeWaitersLocked tells those who wait for records that are handed over. A
// waiter that is gone is told too, which nobody hears.
func (s *Spool[C]) wakeWaitersLocked() {
	kept := s.waiters[:0]
	for _, w := range s.waiters {
		if w.number <= s.handed {
			close(w.done)
		} else {
			kept = append(kept, w)
		}
	}
	s.waiters = kept
}

// Wake makes [Spool.Data] hold a signal.
func (s *Spool[C]) Wake() { s.wakeReader() }

// Leave ends the reading: it returns what is attached to records that the
// reader has not had, and what is lost of them. The spool must be sealed. The
// records stay on disk.
func (s *Spool[C]) Leave() (calls []Rest[C], lost []*Loss[C]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing || s.cur.count > 0 {
		s.cond.Wait()
	}
	for i := range s.calls {
		calls = append(calls, Rest[C]{C: s.calls[i].c, Count: s.calls[i].n})
	}
	lost = s.lost
	s.calls, s.lost = nil, nil
	s.handed = s.next
	s.wakeWaitersLocked()
	return calls, lost
}
