package peers_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/streamkit/streamkit/internal/memnet"
)

// network joins hosts in memory. What is on its way between two hosts takes a
// while, and can be held up in either direction, as TCP's packets are: nothing
// is lost or overtakes, unless a connection ends.
type network struct {
	wg sync.WaitGroup // all pumps

	mu        sync.Mutex // guards what follows
	rng       *rand.Rand
	listeners map[string]*memnet.Listener // by host
	blocked   map[[2]string]bool          // from, to
	delay     map[string]time.Duration    // of all that a host sends and gets
	changed   chan struct{}               // closed when blocked changes
	conns     map[*pair]struct{}
	dead      map[string]bool // hosts whose process has ended
}

// pair is a connection between two hosts.
type pair struct {
	from, to  string
	near, far net.Conn // our ends, of the caller's connection and of the called's
}

func newNetwork(seed uint64) *network {
	return &network{
		rng: rand.New(rand.NewPCG(seed, 1)), listeners: map[string]*memnet.Listener{}, blocked: map[[2]string]bool{},
		delay: map[string]time.Duration{}, changed: make(chan struct{}), conns: map[*pair]struct{}{}, dead: map[string]bool{},
	}
}

func (n *network) listen(host string) *memnet.Listener {
	ln := memnet.Listen(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[host] = ln
	delete(n.dead, host)
	return ln
}

// block holds up what from sends to to, or lets it pass.
func (n *network) block(from, to string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocked[[2]string{from, to}] = on
	close(n.changed)
	n.changed = make(chan struct{})
}

// heal lets everything pass.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.blocked)
	clear(n.delay)
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *network) blockBoth(a, b string, on bool) {
	n.block(a, b, on)
	n.block(b, a, on)
}

func (n *network) slow(host string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay[host] = d
}

// kill ends all connections of a host from its side, as when its process ends,
// and refuses calls to it until it listens again.
func (n *network) kill(host string) {
	n.mu.Lock()
	for p := range n.conns {
		switch host {
		case p.from:
			_ = p.near.Close() // never fails
		case p.to:
			_ = p.far.Close()
		}
	}
	ln := n.listeners[host]
	delete(n.listeners, host)
	n.dead[host] = true
	n.mu.Unlock()
	if ln != nil {
		_ = ln.Close()
	}
}

// reset ends all connections between two hosts.
func (n *network) reset(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.conns {
		if p.from == a && p.to == b || p.from == b && p.to == a {
			_, _ = p.near.Close(), p.far.Close()
		}
	}
}

// pass waits until what from sends reaches to.
func (n *network) pass(ctx context.Context, from, to string) error {
	for first := true; ; first = false {
		n.mu.Lock()
		blocked, changed := n.blocked[[2]string{from, to}], n.changed
		d := n.delay[from] + n.delay[to] + time.Duration(n.rng.Int64N(int64(time.Millisecond)))
		n.mu.Unlock()
		if !blocked && first {
			select {
			case <-time.After(d):
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		if !blocked {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dialer returns the Dial of a host.
func (n *network) dialer(from string) func(ctx context.Context, _, to string) (net.Conn, error) {
	return func(ctx context.Context, _, to string) (net.Conn, error) {
		n.mu.Lock()
		dead := n.dead[from]
		n.mu.Unlock()
		if dead {
			return nil, syscall.ENETDOWN
		}
		if n.pass(ctx, from, to) != nil || n.pass(ctx, to, from) != nil {
			return nil, os.ErrDeadlineExceeded
		}
		n.mu.Lock()
		ln := n.listeners[to]
		n.mu.Unlock()
		if ln == nil {
			return nil, &net.OpError{Op: "dial", Net: "mem", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
		far, err := ln.Dial(ctx, "", "")
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				err = syscall.ECONNREFUSED
			}
			return nil, err
		}
		near, mine := memnet.Pipe(memnet.Addr(from), memnet.Addr(to))
		p := &pair{from: from, to: to, near: near, far: far}
		n.mu.Lock()
		n.conns[p] = struct{}{}
		n.mu.Unlock()
		n.pump(p)
		return mine, nil
	}
}

// pump carries bytes both ways until either side ends.
func (n *network) pump(p *pair) {
	ctx, cancel := context.WithCancel(context.Background())
	carry := func(from, to string, r, w net.Conn) {
		defer cancel()
		buf := make([]byte, 4096)
		for {
			k, err := r.Read(buf)
			// An end is news as well, and takes as long.
			if n.pass(ctx, from, to) != nil {
				break
			}
			if k > 0 {
				if _, err := w.Write(buf[:k]); err != nil {
					_ = n.pass(ctx, to, from)
					break
				}
			}
			if err != nil {
				break
			}
		}
		_, _ = r.Close(), w.Close()
	}
	var both sync.WaitGroup
	both.Go(func() { carry(p.from, p.to, p.near, p.far) })
	both.Go(func() { carry(p.to, p.from, p.far, p.near) })
	n.wg.Go(func() {
		both.Wait()
		n.mu.Lock()
		delete(n.conns, p)
		n.mu.Unlock()
	})
}
