package logappender

import (
	"context"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/internal/spool"
)

// write takes an encoded entry into the buffer, or counts it as dropped. It
// keeps neither k nor payload.
func (a *Appender) write(level zapcore.Level, k *key, payload []byte) {
	need := entrySize(k, payload)
	limit := a.limit(level)

	var deadline time.Time // of the wait under Block
	a.mu.Lock()
	for !a.closed && !a.roomLocked(limit, need) {
		if level >= zapcore.PanicLevel {
			break
		}
		switch a.cfg.Overflow {
		case DropOldest:
			if a.dropOldestLocked() {
				continue
			}
		case Block:
			now := time.Now()
			if deadline.IsZero() {
				deadline = now.Add(a.cfg.BlockTimeout)
			}
			if left := deadline.Sub(now); left > 0 {
				a.awaitSpaceLocked(left)
				a.stats.Blocked += time.Since(now)
				continue
			}
		case DropNewest:
		}
		break
	}

	i := levelIndex(level)
	a.stats.Accepted[i]++
	if a.closed || !a.roomLocked(limit, need) {
		if level >= zapcore.PanicLevel {
			// The last words of a dying program do not vanish in a counter.
			a.stats.Lost[i]++
			a.mu.Unlock()
			poke(a.report)
			a.saveLine(payload)
			return
		}
		reason := DropFull
		if a.closed {
			reason = DropClosed
		}
		a.dropLocked(i, reason)
		var f finished
		if reason == DropFull && a.spill != nil && a.open != nil && a.spill.usableLocked() {
			// The open chunk may be all that the disk can relieve memory of.
			a.pressureLocked(&f)
			a.flushWanted = true
			f.wake = a.wake
		}
		a.mu.Unlock()
		f.notify()
		if reason == DropFull {
			poke(a.report)
		}
		return
	}

	if a.gap.total > 0 || a.thinned.total > 0 {
		a.closeGapLocked(need)
	}
	wake := a.placeLocked(level, k, payload, 0)
	a.stats.Pending[i]++
	var f finished
	if wake && a.spill != nil {
		a.pressureLocked(&f)
	}
	if level > zapcore.ErrorLevel {
		a.flushWanted, wake = true, true
	}
	wake = wake && a.sleeping
	if wake {
		a.sleeping = false
	}
	a.mu.Unlock()
	if wake {
		poke(a.wake)
	}
	if f.stopPut != nil {
		f.stopPut()
	}
}

// limit is how much memory may be in use after an entry of this level.
func (a *Appender) limit(level zapcore.Level) int {
	switch {
	case level >= zapcore.PanicLevel:
		return a.cfg.BufferBytes + lastWordsBytes
	case level >= zapcore.WarnLevel:
		return a.cfg.BufferBytes
	default:
		return a.softLimit()
	}
}

func (a *Appender) softLimit() int { return a.cfg.BufferBytes - a.cfg.BufferBytes/10 }

func (a *Appender) usedLocked() int {
	if a.open == nil {
		return a.committed
	}
	return a.committed + chunkOverhead + len(a.open.buf)
}

// roomLocked reports whether need bytes more stay within limit.
func (a *Appender) roomLocked(limit, need int) bool {
	used := a.usedLocked()
	if a.open == nil {
		used += chunkOverhead
	} else if !a.open.fits(need) {
		used = a.committed + a.open.cost() + chunkOverhead
	}
	return used+need <= limit
}

// placeLocked appends an entry, for which there is room, and reports whether
// the drainer has to know.
func (a *Appender) placeLocked(level zapcore.Level, k *key, payload []byte, flags uint8) (news bool) {
	need := entrySize(k, payload)
	if a.open != nil && !a.open.fits(need) {
		a.closeOpenLocked(false)
		news = true
	}
	if need > a.cfg.ChunkBytes {
		c := &chunk{buf: make([]byte, 0, need)}
		c.add(level, k, payload, flags)
		a.pushLocked(c)
		return true
	}
	if a.open == nil {
		a.open = a.newChunkLocked()
		news = true
	}
	a.open.add(level, k, payload, flags)
	return news
}

func (a *Appender) newChunkLocked() *chunk {
	if n := len(a.free); n > 0 {
		c := a.free[n-1]
		a.free = a.free[:n-1]
		return c
	}
	return &chunk{buf: make([]byte, 0, a.cfg.ChunkBytes)}
}

// closeOpenLocked makes the open chunk live. If trim is set, a chunk that is
// less than half full gets memory of its size: with a slow stream and little
// to log, nearly empty chunks would take the budget otherwise.
func (a *Appender) closeOpenLocked(trim bool) {
	c := a.open
	if c == nil {
		return
	}
	a.open = nil
	if trim && len(c.buf) < cap(c.buf)/2 {
		small := *c
		small.buf = append(make([]byte, 0, len(c.buf)), c.buf...)
		a.recycleLocked(c)
		c = &small
	}
	a.pushLocked(c)
}

func (a *Appender) pushLocked(c *chunk) {
	a.lastID++
	c.id = a.lastID
	a.live.push(c)
	a.committed += c.cost()
}

func (a *Appender) recycleLocked(c *chunk) {
	if c.saved || cap(c.buf) != a.cfg.ChunkBytes || len(a.free) >= maxFree {
		return
	}
	c.reset()
	a.free = append(a.free, c)
}

// dropLocked counts the drop of an entry.
func (a *Appender) dropLocked(level int, reason DropReason) {
	a.stats.Dropped[reason][level]++
	if reason != DropSelf && reason != DropClosed {
		a.gap.add(level, reason)
	}
}

// drop counts an entry that never came to the buffer.
func (a *Appender) drop(level zapcore.Level, reason DropReason) {
	i := levelIndex(level)
	a.mu.Lock()
	a.stats.Accepted[i]++
	a.dropLocked(i, reason)
	a.mu.Unlock()
	if reason != DropSelf {
		poke(a.report)
	}
}

// dropOldestLocked drops the first chunk that was not handed over.
func (a *Appender) dropOldestLocked() bool {
	c := a.live.waiting
	if c == nil {
		return false
	}
	for i, n := range c.count {
		a.headGap.addN(i, DropFull, n, c.born)
	}
	a.stats.Pending.sub(&c.count)
	a.stats.Dropped[DropFull].add(&c.count)
	var f finished
	a.releaseLocked(c, &f)
	a.recycleLocked(c)
	f.notify() // closes channels, which does not block
	poke(a.report)
	return true
}

// awaitSpaceLocked releases the lock until room may have appeared, the time is
// over or the appender is closed, and takes it again.
func (a *Appender) awaitSpaceLocked(d time.Duration) {
	if a.space == nil {
		a.space = make(chan struct{})
	}
	space := a.space
	a.mu.Unlock()
	timer := time.NewTimer(d)
	select {
	case <-space:
	case <-timer.C:
	}
	timer.Stop()
	a.mu.Lock()
}

// finished collects what must be told once the lock is released.
type finished struct {
	waiters []*waiter
	space   chan struct{}
	wake    chan struct{}         // the drainer's, if it has something to do
	stopPut context.CancelFunc    // the circuit has opened
	drained chan struct{}         // nothing is spilled any more
	idle    chan struct{}         // nobody writes to the disk
	replay  *spool.Spool[spilled] // has copies to acknowledge
}

func (f *finished) notify() {
	for _, w := range f.waiters {
		close(w.ch)
	}
	if f.space != nil {
		close(f.space)
	}
	if f.wake != nil {
		poke(f.wake)
	}
	if f.stopPut != nil {
		f.stopPut()
	}
	if f.drained != nil {
		close(f.drained)
	}
	if f.idle != nil {
		close(f.idle)
	}
	if f.replay != nil {
		f.replay.Wake()
	}
}

// releaseLocked takes a chunk out of the live ones.
func (a *Appender) releaseLocked(c *chunk, f *finished) {
	if c.prev != nil || c.next != nil || a.live.head == c { // else it was replaced
		a.live.remove(c)
	}
	a.committed -= c.cost()
	if m := c.copied; m != nil {
		c.copied = nil
		m.finished = true
		if len(m.numbers) > 0 {
			a.spill.acks = append(a.spill.acks, m.numbers...)
			f.replay = a.spill.store
		}
	}
	if a.space != nil {
		f.space, a.space = a.space, nil
	}
	rest := a.waiters[:0]
	for _, w := range a.waiters {
		if h := a.live.head; h == nil || h.id > w.id {
			f.waiters = append(f.waiters, w)
		} else {
			rest = append(rest, w)
		}
	}
	clear(a.waiters[len(rest):])
	a.waiters = rest
}
