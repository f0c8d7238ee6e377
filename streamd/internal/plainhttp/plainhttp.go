// Package plainhttp serves the requests that AWS clients send over HTTP/1.1, and
// leaves all others to net/http.
//
// A server of small requests spends most of its time around them: net/http begins
// a goroutine for each that waits for the client to go away, makes a context, sets
// four deadlines and a dozen small objects. A [Listener] looks at a connection
// before net/http does. As long as what comes is a POST of / with a length, and
// nothing in its head asks for more than an answer, it reads and answers on the
// connection's own goroutine, with what the connection has. The first request that
// is anything else, HTTP/2 among them, goes to net/http together with the
// connection and what was read of it, and nothing is lost but the time.
//
// So this package has to get right only what is plain: a head that net/http would
// refuse, or read in another way, is not plain. What differs is that the context
// of a request does not end when its client goes away: who waits long must not be
// served here, see Config.Takes.
package plainhttp

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how a [Listener] serves. All fields are required.
type Config struct {
	Handler http.Handler
	// Takes says of a request, whose body has not been read, whether it is served
	// here. If not, net/http gets it.
	Takes func(*http.Request) bool
	// HeadTimeout is the longest that a head takes, from its first byte on, or
	// from the beginning of the connection. A connection is cut that has nothing
	// to do for IdleTimeout, or a little longer.
	HeadTimeout, IdleTimeout time.Duration
	// ConnState is told of connections that are new here, and of those that are
	// closed here. See [Known].
	ConnState func(net.Conn, http.ConnState)
	Logger    *slog.Logger
}

// Listener accepts connections and serves the plain requests on them. Its Accept
// returns the connections that are left to net/http.
type Listener struct {
	net.Listener
	cfg  Config
	left chan accepted
	done chan struct{} // closed by Close

	mu      sync.Mutex // guards what follows
	conns   map[*conn]struct{}
	closed  bool
	closing atomic.Bool // set under mu, read without it

	serving sync.WaitGroup
}

type accepted struct {
	conn net.Conn
	err  error
}

// Listen returns a Listener that accepts from ln and closes it. The caller calls
// Accept until it fails, and Shutdown at the end.
func Listen(ln net.Listener, cfg Config) *Listener {
	l := &Listener{
		Listener: ln, cfg: cfg, left: make(chan accepted), done: make(chan struct{}),
		conns: make(map[*conn]struct{}),
	}
	l.serving.Go(l.accept)
	return l
}

// accept takes connections in. Errors go to who calls Accept, who knows which of
// them pass.
func (l *Listener) accept() {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			select {
			case l.left <- accepted{err: err}:
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue
			case <-l.done:
				return
			}
		}
		c := newConn(l, nc)
		if !l.add(c) {
			_ = nc.Close() // nothing was said on it
			continue
		}
		l.serving.Go(c.serve)
	}
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.left:
		return a.conn, a.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *Listener) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *Listener) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// leave gives a connection to net/http. It reports whether that took it.
func (l *Listener) leave(c net.Conn) bool {
	select {
	case l.left <- accepted{conn: c}:
		return true
	case <-l.done:
		return false
	}
}

// Close stops accepting and closes the connections that have nothing to do.
// Requests under way are answered, and their connections closed afterwards.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.closing.Store(true)
	conns := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	close(l.done)
	err := l.Listener.Close()
	for _, c := range conns {
		if c.state.CompareAndSwap(idle, over) {
			_ = c.Close() // its reader sees why
		}
	}
	return err
}

// Shutdown closes l and waits for the requests under way. If ctx ends before, it
// cuts their connections and returns its error.
func (l *Listener) Shutdown(ctx context.Context) error {
	err := l.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.serving.Wait()
	}()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
	}
	l.mu.Lock()
	conns := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // ends what it reads or writes
	}
	<-ended
	return errors.Join(ctx.Err(), err)
}

// handed is a connection that was left to net/http.
type handed struct {
	net.Conn
	begun []byte // what was read of it
}

// Known reports whether c was accepted by a [Listener], which has told its
// ConnState that it is new.
func Known(c net.Conn) bool {
	_, ok := c.(*handed)
	return ok
}

// Read implements [net.Conn].
func (h *handed) Read(b []byte) (int, error) {
	if len(h.begun) == 0 {
		return h.Conn.Read(b)
	}
	n := copy(b, h.begun)
	if h.begun = h.begun[n:]; len(h.begun) == 0 {
		h.begun = nil // frees it
	}
	return n, nil
}

// CloseWrite ends what is sent, if the connection can: net/http looks for this
// method.
func (h *handed) CloseWrite() error { return closeWrite(h.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
