package logappender

import (
	"errors"
	"slices"
	"time"
	"unsafe"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/spool"
)

// What a spooled entry's extension says. docs/formats.md draws it.
const (
	extField = 1
	extGap   = 1 // flag: a gap record
	extCopy  = 2 // flag: the entry was in memory as well
)

// extensions has the extension for each level and flags.
var extensions = func() (x [numLevels][4][4]byte) {
	for level := range x {
		for flags := range x[level] {
			x[level][flags] = [4]byte{extField, 2, byte(level), byte(flags)}
		}
	}
	return x
}()

// parseExtension returns the level, Info if there is none, and the flags.
func parseExtension(b []byte) (level int, flags uint8) {
	for len(b) >= 2 && b[1] < 0x80 && len(b) >= 2+int(b[1]) {
		if b[0] == extField && b[1] >= 2 {
			return min(int(b[2]), numLevels-1), b[3]
		}
		b = b[2+int(b[1]):]
	}
	return 1, 0
}

// keyCache holds the partition keys seen of late, so that few are allocated.
type keyCache map[string]string

const maxKeysKept = 4096

func (k keyCache) of(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := k[string(b)]; ok {
		return s
	}
	if len(k) >= maxKeysKept {
		clear(k)
	}
	s := string(b)
	k[s] = s
	return s
}

// clone is of for a string that does not last.
func (k keyCache) clone(s string) string { return k.of(unsafe.Slice(unsafe.StringData(s), len(s))) }

// spiller writes chunks to the disk. The drainer has one, and each dying
// goroutine.
type spiller struct {
	a       *Appender
	entries []spool.Entry
	keys    keyCache
}

func newSpiller(a *Appender) *spiller { return &spiller{a: a, keys: make(keyCache)} }

// toDisk is toDiskLocked of a chunk that the putter has not taken.
func (a *Appender) toDisk(c *chunk) bool {
	var f finished
	a.mu.Lock()
	yes := a.toDiskLocked(c, &f)
	a.mu.Unlock()
	f.notify()
	return yes
}

// toDiskLocked reports whether a chunk that is handed to nobody goes to the disk.
// If so, spill must follow.
func (a *Appender) toDiskLocked(c *chunk, f *finished) bool {
	s := a.spill
	if s == nil || !s.usableLocked() {
		return false
	}
	if a.agedLocked() || a.usedLocked() >= s.threshold {
		a.openCircuitLocked(f)
	}
	if !s.always && !s.open && !c.returned && !s.sick { // a sick one has to be tried
		return false
	}
	a.moveToDiskLocked(c)
	return true
}

// moveToDiskLocked has the accounts of a chunk before it is written: the
// replayer may be faster than who has written it. The chunk gets its turn among
// those that are to be written.
func (a *Appender) moveToDiskLocked(c *chunk) {
	a.spill.writing++
	c.writing = true
	c.turn = a.spill.turns
	a.spill.turns++
	a.stats.Pending.sub(&c.count)
	a.stats.Spilled.add(&c.count)
}

// spill writes a chunk for which moveToDiskLocked was called, in its turn, and
// finishes it. If the disk does not take it it is as it was before, and spill
// returns false.
func (w *spiller) spill(c *chunk) bool {
	a := w.a
	a.mu.Lock()
	for a.spill.turn != c.turn {
		a.spill.turned.Wait()
	}
	a.mu.Unlock()
	err := w.write(c, spilled{count: c.count, born: c.born.Sub(a.begun)}, 0)
	var f finished
	a.mu.Lock()
	c.writing = false
	a.spill.turn++
	a.spill.turned.Broadcast()
	a.spill.writing--
	if a.spill.writing == 0 {
		f.idle, a.spill.idle = a.spill.idle, nil
	}
	a.noteDiskLocked(err)
	if err != nil {
		a.stats.Spilled.sub(&c.count)
		a.stats.Pending.add(&c.count)
		a.spill.drainedLocked(a, &f)
	} else {
		a.releaseLocked(c, &f)
		a.recycleLocked(c)
	}
	a.mu.Unlock()
	f.notify()
	return err == nil
}

// copy writes a chunk that stays live.
func (w *spiller) copy(c *chunk, mark *copied) bool {
	err := w.write(c, spilled{copy: mark}, extCopy)
	w.a.mu.Lock()
	w.a.noteDiskLocked(err)
	w.a.mu.Unlock()
	return err == nil
}

// write appends the entries to the spool. Where that is full the oldest segment
// has to go.
func (w *spiller) write(c *chunk, with spilled, flags uint8) error {
	w.entries = w.entries[:0]
	for _, e := range c.entries {
		ext := flags
		if e.gap {
			ext |= extGap
		}
		se := spool.Entry{Data: e.payload, Extension: extensions[e.level][ext][:]}
		if len(e.key) > 0 {
			se.PartitionKey = w.keys.of(e.key)
			se.Hash = hashkey.Of(se.PartitionKey)
		}
		w.entries = append(w.entries, se)
	}
	defer clear(w.entries)
	store := w.a.spill.store
	for {
		err := store.Append(w.entries, with, true)
		if !errors.Is(err, spool.ErrFull) || !store.DropOldest() {
			return err
		}
		for _, l := range store.Lost() { // the replayer may be waiting for the stream
			w.a.loseSpilled(l)
		}
	}
}

// noteDiskLocked takes note of how a write ended.
func (a *Appender) noteDiskLocked(err error) {
	s := a.spill
	s.sick = err != nil
	if err != nil {
		s.retry = time.Now().Add(diskRetry)
		a.spillErr = &SpillError{Err: err}
	}
}

// giveUp drops the entries of a chunk that the producer has given back and the
// disk does not take.
func (a *Appender) giveUp(c *chunk) {
	var f finished
	a.mu.Lock()
	for _, e := range c.entries {
		if !e.gap {
			a.dropLocked(e.level, DropRejected)
		}
	}
	a.stats.Pending.sub(&c.count)
	a.releaseLocked(c, &f)
	a.recycleLocked(c)
	a.mu.Unlock()
	f.notify()
	poke(a.report)
}

// spillLastWords writes all live chunks to the disk, and syncs it: those that
// the producer has as copies, because it may yet deliver them. It reports
// whether all are there.
func (a *Appender) spillLastWords() bool {
	w := newSpiller(a)
	ok := true
	for ok {
		a.mu.Lock()
		a.closeOpenLocked(true)
		c := a.takeLocked()
		if c != nil {
			a.moveToDiskLocked(c)
		}
		a.mu.Unlock()
		if c == nil {
			break
		}
		if ok = w.spill(c); !ok {
			a.mu.Lock()
			a.spill.back = append(a.spill.back, c)
			a.mu.Unlock()
			poke(a.wake)
		}
	}

	type pair struct {
		chunk *chunk
		mark  *copied
	}
	var handed []pair
	a.checkCopies()
	a.mu.Lock()
	for c := a.live.head; c != a.live.waiting; c = c.next {
		if !c.writing && (c.copied == nil || c.copied.lost) {
			c.copied = new(copied)
			c.saved = true // its memory must not be used again while it is copied
			handed = append(handed, pair{c, c.copied})
		}
	}
	a.mu.Unlock()
	n := uint64(0)
	for _, p := range handed {
		if ok = ok && w.copy(p.chunk, p.mark); ok {
			n += p.chunk.count.Total()
			continue
		}
		a.mu.Lock()
		p.mark.lost = true
		p.chunk.saved = false // Fallback may have it
		a.mu.Unlock()
	}
	a.mu.Lock()
	a.stats.Saved += n
	var idle chan struct{}
	if a.spill.writing > 0 { // the drainer: the last words may be in there
		if a.spill.idle == nil {
			a.spill.idle = make(chan struct{})
		}
		idle = a.spill.idle
	}
	a.mu.Unlock()
	if !ok {
		return false
	}
	if idle != nil {
		<-idle
		a.mu.Lock()
		ok = !a.spill.sick
		a.mu.Unlock()
	}
	return ok && a.spill.store.Sync() == nil
}

// checkCopies looks for copies that were read back and have made room since, of
// which the spool does not tell.
func (a *Appender) checkCopies() {
	var marks []*copied
	var numbers [][]uint64
	a.mu.Lock()
	for c := a.live.head; c != nil; c = c.next {
		if c.copied != nil {
			marks = append(marks, c.copied)
			numbers = append(numbers, slices.Clone(c.copied.numbers))
		}
	}
	a.mu.Unlock()
	for i, m := range marks {
		lost := false
		a.spill.store.Holds(slices.Values(numbers[i]), func(uint64) { lost = true })
		if lost {
			a.mu.Lock()
			m.lost = true
			a.mu.Unlock()
		}
	}
}

// spillRest writes what is live at the end of Close to the disk. Where there is a
// copy already, that is the entry from now on; those come last, because a write may
// make a copy lost.
func (a *Appender) spillRest() {
	w := newSpiller(a)
	wrote := false
	for {
		a.checkCopies()
		a.mu.Lock()
		c := a.live.head
		for c != nil && c.copied != nil && !c.copied.lost {
			c = c.next
		}
		if c == nil {
			a.mu.Unlock()
			break
		}
		c.forget()
		a.moveToDiskLocked(c)
		a.mu.Unlock()
		if !w.spill(c) {
			break
		}
		wrote = true
	}
	var f finished
	a.mu.Lock()
	for c := a.live.head; c != nil; {
		next := c.next
		if c.copied != nil && !c.copied.lost {
			c.forget()
			a.stats.Pending.sub(&c.count)
			a.stats.Spilled.add(&c.count)
			a.releaseLocked(c, &f)
		}
		c = next
	}
	a.mu.Unlock()
	f.notify()
	if wrote {
		_ = a.spill.store.Sync() // it has said so
	}
}

// forget cuts c off from its delivery, whose answer comes too late, and from its
// copy, which is not to be acknowledged. Needs Appender.mu.
func (c *chunk) forget() {
	if c.delivery != nil {
		c.delivery.chunk, c.delivery = nil, nil
	}
	c.copied = nil
}
