// Package clock is the time of a streamd server: the system's, moved by an
// offset, and one queue of timers that follow it. Tests move it to make
// retention, iterators and transitions pass without waiting.
package clock

import (
	"container/heap"
	"sync"
	"time"
)

// Clock tells the time of one server and calls functions when it has come. The
// zero Clock shows the system's time and is ready. It is safe for concurrent
// use.
type Clock struct {
	mu     sync.Mutex
	offset time.Duration
	timers timers
	alarm  *time.Timer // fires for the first of timers; nil until the first At
	closed bool
	calls  sync.WaitGroup // functions under way
}

// Now returns the server's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nowLocked()
}

func (c *Clock) nowLocked() time.Time { return time.Now().Add(c.offset) }

// At calls f once, in a goroutine of its own, when the server's time reaches
// t. It does nothing once the Clock is closed.
func (c *Clock) At(t time.Time, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	heap.Push(&c.timers, timer{t, f})
	c.armLocked()
}

// Advance moves the server's time forward by d. It calls the functions that
// come due one after another in order of their times, each at its time, and
// returns when they have returned.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	target := c.offset + d
	for !c.closed && len(c.timers) > 0 {
		wait := c.timers[0].at.Sub(c.nowLocked())
		if c.offset+max(wait, 0) > target {
			break
		}
		c.offset += max(wait, 0)
		f := heap.Pop(&c.timers).(timer).f
		c.mu.Unlock()
		f()
		c.mu.Lock()
	}
	c.offset = target
	c.armLocked()
	c.mu.Unlock()
}

// Close forgets the timers and waits for the functions that they have called.
func (c *Clock) Close() {
	c.mu.Lock()
	c.closed = true
	c.timers = nil
	if c.alarm != nil {
		c.alarm.Stop()
	}
	c.mu.Unlock()
	c.calls.Wait()
}

// armLocked sets the alarm for the first timer.
func (c *Clock) armLocked() {
	if c.closed || len(c.timers) == 0 {
		return
	}
	wait := max(c.timers[0].at.Sub(c.nowLocked()), 0)
	if c.alarm == nil {
		c.alarm = time.AfterFunc(wait, c.ring)
		return
	}
	c.alarm.Reset(wait)
}

// ring calls the functions that are due.
func (c *Clock) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && len(c.timers) > 0 && !c.timers[0].at.After(c.nowLocked()) {
		c.calls.Go(heap.Pop(&c.timers).(timer).f)
	}
	c.armLocked()
}

type timer struct {
	at time.Time
	f  func()
}

// timers is a heap by time.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}
