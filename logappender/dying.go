package logappender

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// dying is what goroutines with a Panic or Fatal entry share.
type dying struct {
	n        int // goroutines that wait for delivery
	deadline time.Time
}

// lastWords gives what was written, the caller's Panic or Fatal entry among
// it, the time until FatalTimeout to be delivered, and then writes the
// unfinished rest to Fallback. Goroutines that die at the same time share the
// deadline of the first. The entries stay on their way, because a panic may be
// recovered; in the accounts they are pending.
func (a *Appender) lastWords() {
	timeout := max(a.cfg.FatalTimeout, 0)
	a.mu.Lock()
	if a.dying.n == 0 {
		a.dying.deadline = time.Now().Add(timeout)
	}
	a.dying.n++
	deadline := a.dying.deadline
	a.mu.Unlock()

	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	err := a.Flush(ctx)
	cancel()

	a.mu.Lock()
	a.dying.n--
	a.mu.Unlock()
	if err == nil {
		return
	}
	// Marking and writing are one step: who finds the own entry marked by
	// another must not die before that one has written it.
	a.bounded(func() { a.fallback(func() { a.save(lastFirst(a.unsaved())) }) })
}

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

// bounded runs f, which writes to Fallback, and waits for it as long as for a
// delivery, but for a second at least: a pipe that nobody reads must not keep a
// program from dying.
func (a *Appender) bounded(f func()) {
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
		f()
	}()
	timer := time.NewTimer(max(a.cfg.FatalTimeout, time.Second))
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// fallback runs f, which writes to Fallback, when no other does.
func (a *Appender) fallback(f func()) {
	a.saving <- struct{}{}
	defer func() {
		_ = recover() // the application's code
		<-a.saving
	}()
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
	a.bounded(func() {
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
