package journal

import (
	"context"
	"sync"
)

// audience are those who follow a journal and have seen all there is. The
// journal's lock guards it.
//
// One of them, the first to come, parks what it does with a frame: whoever
// appends the next one does it in its place, before Append returns. A store has
// one follower, and every frame of its own is handed on without waking a
// goroutine for it.
type audience struct {
	parked  *follower
	changed chan struct{} // closed and replaced when there is news; nil until somebody waits
}

// follower is a call of Follow that is parked.
type follower struct {
	from    LSN // it has seen all up to here
	apply   func(LSN, *Frame) error
	err     error         // of apply
	leaving bool          // its context has ended
	resume  chan struct{} // of capacity 1: the call goes on from from, or ends with err
}

// wait waits until there may be frames behind from, and returns up to where they
// have been handed on meanwhile. mu is the journal's lock, which is held, and is
// not afterwards.
func (a *audience) wait(ctx context.Context, mu *sync.Mutex, from LSN, apply func(LSN, *Frame) error) (LSN, error) {
	if a.parked != nil {
		if a.changed == nil {
			a.changed = make(chan struct{})
		}
		changed := a.changed
		mu.Unlock()
		select {
		case <-changed:
			return from, nil
		case <-ctx.Done():
			return from, ctx.Err()
		}
	}
	f := &follower{from: from, apply: apply, resume: make(chan struct{}, 1)}
	a.parked = f
	mu.Unlock()
	select {
	case <-f.resume:
		return f.from, f.err
	case <-ctx.Done():
	}
	mu.Lock()
	if a.parked == f {
		a.parked = nil
		mu.Unlock()
		return f.from, ctx.Err()
	}
	f.leaving = true // a frame is being handed on: the call must outlast that
	mu.Unlock()
	<-f.resume
	return f.from, ctx.Err()
}

// news tells all that there is something to see.
func (a *audience) news() {
	a.changed = wake(a.changed)
	if a.parked != nil {
		a.parked.resume <- struct{}{}
		a.parked = nil
	}
}

// next returns the parked follower if the next frame behind prev is the next for
// it, and wakes all others. The caller hands the frame on.
func (a *audience) next(prev LSN) *follower {
	f := a.parked
	if f == nil || f.from != prev {
		a.news()
		return nil
	}
	a.parked = nil
	a.changed = wake(a.changed)
	return f
}

// handOn hands a frame on to f and parks it again. head returns the journal's
// head, and false if the journal has come to an end; mu guards it and a.
func (a *audience) handOn(mu *sync.Mutex, f *follower, lsn LSN, frame *Frame, head func() (LSN, bool)) {
	err := f.apply(lsn, frame)
	mu.Lock()
	defer mu.Unlock()
	f.from, f.err = lsn, err
	if at, ok := head(); err == nil && ok && at == lsn && !f.leaving && a.parked == nil {
		a.parked = f
		return
	}
	f.resume <- struct{}{}
}

// wake closes c, if anybody waits for it, and returns what takes its place.
func wake(c chan struct{}) chan struct{} {
	if c != nil {
		close(c)
	}
	return nil
}
