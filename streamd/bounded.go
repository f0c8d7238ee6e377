package streamd

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
)

// bounded returns ln with no more connections than the configuration allows.
func (s *Server) bounded(ln net.Listener) net.Listener {
	if s.set.MaxConnections == 0 {
		return ln
	}
	return &boundedListener{Listener: ln, limit: int64(s.set.MaxConnections), log: s.log}
}

// boundedListener closes connections as they come while there are enough. It
// does not wait for one to end: who waits in the queue of the system does not
// learn why.
type boundedListener struct {
	net.Listener
	limit int64
	log   *slog.Logger

	open atomic.Int64
	full atomic.Bool // said since there was room
}

// Accept implements [net.Listener].
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.limit {
			l.full.Store(false)
			return &boundedConn{Conn: c, release: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
		}
		l.open.Add(-1)
		_ = c.Close() // nothing was said on it
		if !l.full.Swap(true) {
			l.log.Warn("too many connections: new ones are closed until others end; see --max-connections", slog.Int64("max", l.limit))
		}
	}
}

type boundedConn struct {
	net.Conn
	release func()
}

// Close implements [net.Conn].
func (c *boundedConn) Close() error {
	c.release()
	return c.Conn.Close()
}
