package logappender

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// dying is what goroutines with a Panic or Fatal entry share.
type dying struct {
	n        int // goroutines that wait for delivery
	deadline time.Time
}

// lastWords gives what was written, the caller's Panic or Fatal entry among
// it, the time until FatalTimeout to be delivered, and then writes the
// unfinished rest to the spill or to Fallback. Goroutines that die at the same time share the
// deadline of the first. The entries stay on their way, because a panic may be
// recovered; in the accounts they are pending.
func (a *Appender) lastWords() {
	timeout := max(a.cfg.FatalTimeout, 0)
	s := a.spill
	if s != nil {
		timeout /= 2
	}
	a.mu.Lock()
	if a.dying.n == 0 {
		a.dying.deadline = time.Now().Add(timeout)
	}
	a.dying.n++
	deadline := a.dying.deadline
	atOnce := s != nil && (s.always || s.open) && s.usableLocked()
	a.mu.Unlock()

	finished := false
	if !atOnce {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		finished = a.Flush(ctx) == nil
		cancel()
	}

	a.mu.Lock()
	a.dying.n--
	finished = finished && a.stats.Spilled.Total() == 0 // what is on disk must be synced
	a.mu.Unlock()
	if finished {
		return
	}
	// Marking and writing are one step: who finds the own entry marked by
	// another must not die before that one has written it.
	if s != nil {
		var safe atomic.Bool // the goroutine may outlive the wait
		a.bounded(max(timeout, minSpillWait), func(owned bool) {
			if owned { // else Close has the disk
				once(a.spilling, func() { safe.Store(a.spillLastWords()) })
			}
		})
		if safe.Load() {
			return
		}
	}
	a.bounded(a.fallbackWait(), func(bool) { a.fallback(func() { a.save(lastFirst(a.unsaved())) }) })
}

// minSpillWait is the least time that the disk is given to take last words.
const minSpillWait = 250 * time.Millisecond

// fallbackWait is as long as the wait for a delivery, but a second at least.
func (a *Appender) fallbackWait() time.Duration { return max(a.cfg.FatalTimeout, time.Second) }

// unsaved returns the live chunks that Fallback has not got yet, and marks
// them.
func (a *Appender) unsaved() (tail []*chunk) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closeOpenLocked(true)
	for c := a.live.head; c != nil; c = c.next {
		if !c.saved {
			c.saved = true
			tail = append(tail, c)
		}
	}
	return tail
}

// lastFirst moves the last chunk, with the last words, to the front: there may
// not be the time to write megabytes.
func lastFirst(tail []*chunk) []*chunk {
	if n := len(tail); n > 1 {
		last := tail[n-1]
		copy(tail[1:], tail)
		tail[0] = last
	}
	return tail
}

// bounded runs f, which writes to Fallback or to the disk, and waits for it no
// longer than limit: a pipe that nobody reads must not keep a program from dying.
// f is told whether Close waits for it, as it does unless it is already beyond.
func (a *Appender) bounded(limit time.Duration, f func(owned bool)) {
	a.mu.Lock()
	owned := !a.ended // or else wg may be waited for already
	if owned {
		a.wg.Add(1)
	}
	a.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if owned {
			defer a.wg.Done()
		}
		f(owned)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// fallback runs f, which writes to Fallback, when no other does.
func (a *Appender) fallback(f func()) {
	once(a.saving, func() {
		defer func() { _ = recover() }() // the application's code
		f()
	})
}

// once runs f while it holds a channel of capacity 1.
func once(held chan struct{}, f func()) {
	held <- struct{}{}
	defer func() { <-held }()
	f()
}

// save writes the entries of chunks marked as saved to Fallback.
func (a *Appender) save(tail []*chunk) {
	n := uint64(0)
	for _, c := range tail {
		n += c.count.Total()
	}
	if n == 0 {
		return
	}
	_, _ = fmt.Fprintf(a.cfg.Fallback, "logappender: %d log entries are not known to be delivered; they follow\n", n)
	var b []byte
	for _, c := range tail {
		b = b[:0]
		for _, e := range c.entries {
			b = appendLine(b, e.payload)
		}
		_, _ = a.cfg.Fallback.Write(b)
	}
	_ = a.cfg.Fallback.Sync()
	a.mu.Lock()
	a.stats.Saved += n
	a.mu.Unlock()
}

// saveLine writes a Panic or Fatal entry, for which there was no room, to
// Fallback.
func (a *Appender) saveLine(payload []byte) {
	line := appendLine(nil, payload) // the goroutine may outlive the caller's buffer
	a.bounded(a.fallbackWait(), func(bool) {
		a.fallback(func() {
			_, _ = a.cfg.Fallback.Write(line)
			_ = a.cfg.Fallback.Sync()
			a.mu.Lock()
			a.stats.Saved++
			a.mu.Unlock()
		})
	})
}

func appendLine(b, payload []byte) []byte {
	return append(append(b, bytes.TrimSuffix(payload, []byte("\n"))...), '\n')
}
