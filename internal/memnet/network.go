package memnet

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Network joins hosts in memory. What is on its way between two hosts takes up to a
// millisecond, or longer, and can be held up in either direction, as TCP's packets
// are: nothing is lost or overtakes, unless a connection ends. It is safe for
// concurrent use.
type Network struct {
	wg sync.WaitGroup // all pumps

	mu        sync.Mutex // guards what follows
	rng       *rand.Rand
	listeners map[string]*Listener     // by host
	blocked   map[[2]string]bool       // from, to
	held      map[string]int           // hosts that nothing leaves or reaches, and how often that was asked for
	delay     map[string]time.Duration // of all that a host sends and gets
	changed   chan struct{}            // closed when blocked or held changes
	conns     map[*pair]struct{}
	dead      map[string]bool // hosts whose process has ended
}

// pair is a connection between two hosts.
type pair struct {
	from, to  string
	near, far net.Conn // our ends, of the caller's connection and of the called's
	lose      func()   // what is on its way
}

// NewNetwork returns a Network whose delays are drawn from seed.
func NewNetwork(seed uint64) *Network {
	return &Network{
		rng: rand.New(rand.NewPCG(seed, 1)), listeners: map[string]*Listener{}, blocked: map[[2]string]bool{}, held: map[string]int{},
		delay: map[string]time.Duration{}, changed: make(chan struct{}), conns: map[*pair]struct{}{}, dead: map[string]bool{},
	}
}

// Listen opens the listener of a host, at an address of the host's name.
func (n *Network) Listen(host string) *Listener {
	ln := Listen(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[host] = ln
	delete(n.dead, host)
	return ln
}

// Block holds up what from sends to to, or lets it pass.
func (n *Network) Block(from, to string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocked[[2]string{from, to}] = on
	close(n.changed)
	n.changed = make(chan struct{})
}

// Heal lets everything pass, without delay.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.blocked)
	clear(n.held)
	clear(n.delay)
	close(n.changed)
	n.changed = make(chan struct{})
}

// Hold holds up all that a host sends and gets, as when it is lost or stands still,
// until Release was called as often.
func (n *Network) Hold(host string) { n.hold(host, 1) }

// Release takes one Hold back, if none was by Heal.
func (n *Network) Release(host string) { n.hold(host, -1) }

func (n *Network) hold(host string, more int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held[host] = max(0, n.held[host]+more)
	close(n.changed)
	n.changed = make(chan struct{})
}

// BlockBoth holds up what two hosts send to each other, or lets it pass.
func (n *Network) BlockBoth(a, b string, on bool) {
	n.Block(a, b, on)
	n.Block(b, a, on)
}

// Slow delays all that a host sends and gets.
func (n *Network) Slow(host string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay[host] = d
}

// Kill ends all connections of a host from its side, as when its process ends,
// and refuses calls to it until it listens again. What the host has sent still
// arrives, unless it is held up there.
func (n *Network) Kill(host string) {
	n.mu.Lock()
	for p := range n.conns {
		switch host {
		case p.from:
			_ = p.near.Close() // never fails
		case p.to:
			_ = p.far.Close()
		default:
			continue
		}
		if n.held[host] > 0 {
			p.lose()
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

// Reset ends all connections between two hosts.
func (n *Network) Reset(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.conns {
		if p.from == a && p.to == b || p.from == b && p.to == a {
			_, _ = p.near.Close(), p.far.Close()
		}
	}
}

// pass waits until what from sends reaches to.
func (n *Network) pass(ctx context.Context, from, to string) error {
	for first := true; ; first = false {
		n.mu.Lock()
		blocked, changed := n.blocked[[2]string{from, to}] || n.held[from] > 0 || n.held[to] > 0, n.changed
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

// Dialer returns the Dial of a host.
func (n *Network) Dialer(from string) func(ctx context.Context, _, to string) (net.Conn, error) {
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
		near, mine := Pipe(Addr(from), Addr(to))
		carried, lose := context.WithCancel(context.Background())
		p := &pair{from: from, to: to, near: near, far: far, lose: lose}
		n.mu.Lock()
		n.conns[p] = struct{}{}
		n.mu.Unlock()
		n.pump(carried, p)
		return mine, nil
	}
}

// pump carries bytes both ways until either side ends.
func (n *Network) pump(ctx context.Context, p *pair) {
	carry := func(from, to string, r, w net.Conn) {
		defer p.lose()
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

// Wait waits until nothing is carried any more: all connections have ended.
func (n *Network) Wait() { n.wg.Wait() }
