package agent_test

import (
	"context"
	"sync"
)

// A gate lets goroutines pass while it is open, as it is at first.
type gate struct {
	mu     sync.Mutex
	closed *closure // guarded by mu; nil: it is open
}

type closure struct {
	over chan struct{}
	err  error // of those that wait, once it is over
}

func (g *gate) now() *closure {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

func (g *gate) running() bool { return g.now() == nil }

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = &closure{over: make(chan struct{})}
}

// open lets those that wait pass, or tells them an error.
func (g *gate) open(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		g.closed.err = err
		close(g.closed.over)
		g.closed = nil
	}
}

// pass waits until the gate is open.
func (g *gate) pass(ctx context.Context) error {
	for c := g.now(); c != nil; c = g.now() {
		select {
		case <-c.over:
		case <-ctx.Done():
			return ctx.Err()
		}
		if c.err != nil {
			return c.err
		}
	}
	return nil
}

// later calls f once the gate is open, and does not wait for that.
func (g *gate) later(f func()) {
	if g.running() {
		f()
		return
	}
	go func() {
		if g.pass(context.Background()) == nil {
			f()
		}
	}()
}
