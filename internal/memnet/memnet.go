// Package memnet is a network inside the process: a [Listener] whose
// connections are buffers in memory.
//
// It exists for tests in a testing/synctest bubble. A goroutine that waits on a
// real socket keeps a bubble's time from moving; one that waits here does not.
// Connections are buffered, as TCP's are, so that a peer that answers before it
// has read the whole request does not block.
package memnet

import (
	"context"
	"net"
	"sync"
)

// backlog is how many connections wait to be accepted before Dial blocks.
const backlog = 16

// Listener accepts the connections that its [Listener.Dial] makes. It is safe
// for concurrent use.
type Listener struct {
	addr  Addr
	conns chan net.Conn // of capacity backlog, as a socket's queue

	done chan struct{}
	once sync.Once // guards the closing of done
}

var _ net.Listener = (*Listener)(nil)

// Listen returns a Listener that reports the given address. The address is
// only a name: two listeners may share it.
func Listen(addr string) *Listener {
	return &Listener{addr: Addr(addr), conns: make(chan net.Conn, backlog), done: make(chan struct{})}
}

// Accept waits for the next connection. The error is [net.ErrClosed] once the
// Listener is closed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Dial connects to the Listener. It has the form of a DialContext function and
// ignores the network and the address.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := Pipe(Addr("client"), l.addr)
	select {
	case <-l.done:
		return nil, l.refused(client, server)
	default:
	}
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, l.refused(client, server)
	case <-ctx.Done():
		_, _ = client.Close(), server.Close()
		return nil, ctx.Err()
	}
}

func (l *Listener) refused(client, server net.Conn) error {
	_, _ = client.Close(), server.Close()
	return &net.OpError{Op: "dial", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
}

// Close stops accepting and closes the connections that nobody has accepted.
// Accepted connections live on. It may be called more than once.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	for {
		select {
		case c := <-l.conns:
			_ = c.Close() // never fails
		default:
			return nil
		}
	}
}

// Addr returns the address given to [Listen].
func (l *Listener) Addr() net.Addr { return l.addr }

// Addr is the name of an end of a connection.
type Addr string

// Network returns "mem".
func (Addr) Network() string { return "mem" }

func (a Addr) String() string { return string(a) }
