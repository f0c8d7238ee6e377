package plainhttp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	// readBuffer is the room for a head and what comes with it. A head that is
	// larger is left to net/http.
	readBuffer = 4 << 10

	// A client that sends more than was read of it, because the answer did not
	// wait for it, has so much and so long to read the answer.
	maxDrain   = 256 << 10
	drainLimit = 500 * time.Millisecond
)

// The states of a connection.
const (
	idle   = iota // may be closed at any time
	active        // a request is under way
	over          // closed while it was idle
)

// conn is a connection that is served here.
type conn struct {
	net.Conn
	l     *Listener
	state atomic.Int32

	buf    [readBuffer]byte
	begin  int // buf[begin:end] was read and not used
	end    int
	head   head
	url    url.URL
	req    http.Request
	body   body
	answer answer

	pair [2][]byte   // that are written together
	out  net.Buffers // of pair

	readBy  time.Time // the deadline of reads that is set; zero if none is
	writeBy time.Time
}

func newConn(l *Listener, nc net.Conn) *conn {
	c := &conn{Conn: nc, l: l}
	c.answer.c, c.body.c = c, c
	c.answer.header = make(http.Header)
	return c
}

// serve serves the connection until it ends or is left to net/http.
func (c *conn) serve() {
	c.l.cfg.ConnState(c, http.StateNew)
	ctx, cancel := context.WithCancel(context.Background())
	left := c.requests(ctx)
	cancel()
	c.l.remove(c)
	if left {
		_ = c.SetDeadline(time.Time{}) // net/http sets its own
		h := &handed{Conn: c.Conn, begun: append([]byte(nil), c.buf[c.begin:c.end]...)}
		if c.l.leave(h) {
			return
		}
	}
	_ = c.Close() // there is nobody to tell
	c.l.cfg.ConnState(c, http.StateClosed)
}

// requests serves requests. left is true if the next one is not plain.
func (c *conn) requests(ctx context.Context) (left bool) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler: // the handler wants the connection cut
		default:
			c.l.cfg.Logger.Error("panic in a connection", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		}
	}()
	c.readUntil(time.Now().Add(c.l.cfg.HeadTimeout))
	base := (&http.Request{
		Method: http.MethodPost, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		RequestURI: "/", RemoteAddr: c.RemoteAddr().String(),
	}).WithContext(ctx)
	for {
		size, ok := c.readHead()
		if size == 0 {
			return ok
		}
		if !c.head.read(string(c.buf[c.begin : c.begin+size-len("\r\n")])) {
			return true
		}
		c.url = url.URL{Path: "/"}
		c.req = *base
		c.req.URL, c.req.Header, c.req.Host = &c.url, c.head.header, c.head.host
		c.req.ContentLength, c.req.Body = c.head.length, &c.body
		if c.head.length == 0 {
			c.req.Body = http.NoBody
		}
		if !c.l.cfg.Takes(&c.req) {
			return true
		}
		c.begin += size
		c.body.left = c.head.length
		c.answer.start()
		c.l.cfg.Handler.ServeHTTP(&c.answer, &c.req)
		if err := c.answer.finish(); err != nil {
			return false
		}
		if c.answer.last {
			c.drain()
			return false
		}
		if c.begin == c.end {
			c.begin, c.end = 0, 0
		}
		c.state.Store(idle)
		if c.l.closing.Load() && c.state.CompareAndSwap(idle, over) {
			return false
		}
	}
}

// readHead reads until a head is in buf and returns its size. If there is none,
// left says whether the connection is for net/http, and else is at its end.
func (c *conn) readHead() (size int, left bool) {
	if c.begin < c.end { // the client did not wait for the answer
		if !c.state.CompareAndSwap(idle, active) {
			return 0, false
		}
		c.end = copy(c.buf[:], c.buf[c.begin:c.end])
		c.begin = 0
		if size = endOf(c.buf[:c.end], 0); size > 0 {
			return size, false
		}
		c.readUntil(time.Now().Add(c.l.cfg.HeadTimeout))
	} else if now := time.Now(); c.readBy.IsZero() || c.answer.answered && c.readBy.Before(now.Add(c.l.cfg.IdleTimeout)) {
		// Later than it must be: so it need not be set for each request.
		c.readUntil(now.Add(c.l.cfg.IdleTimeout + c.l.cfg.IdleTimeout/8))
	}
	for {
		if !begins(c.buf[:c.end]) || c.end == len(c.buf) {
			return 0, true
		}
		n, err := c.Conn.Read(c.buf[c.end:])
		before := c.end
		c.end += n
		if n > 0 && before == 0 && !c.state.CompareAndSwap(idle, active) {
			return 0, false
		}
		if size = endOf(c.buf[:c.end], before); size > 0 {
			return size, false
		}
		if err != nil {
			return 0, false
		}
		if before == 0 {
			c.readUntil(time.Now().Add(c.l.cfg.HeadTimeout))
		}
	}
}

// parts is a connection that takes the parts of what is written without copying
// them together: one system call, and one reader that is woken, not two.
type parts interface {
	WriteParts(parts *net.Buffers) (int64, error)
}

// writeAll writes head and p, and returns how much of p it has written.
func (c *conn) writeAll(head, p []byte) (int, error) {
	if w, ok := c.Conn.(parts); ok && len(head) > 0 {
		c.pair = [2][]byte{head, p}
		c.out = c.pair[:]
		n, err := w.WriteParts(&c.out)
		c.pair, c.out = [2][]byte{}, nil
		return max(int(n)-len(head), 0), err
	}
	if len(head) > 0 {
		if _, err := c.Conn.Write(head); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// readUntil sets the deadline of reads. Connections without deadlines are served
// without.
func (c *conn) readUntil(t time.Time) {
	c.readBy = t
	_ = c.SetReadDeadline(t)
}

// drain lets the client read the answer although it is still sending: a
// connection that is closed before that is reset.
func (c *conn) drain() {
	if c.body.left == 0 {
		return
	}
	_ = closeWrite(c.Conn)
	c.readUntil(time.Now().Add(drainLimit))
	_, _ = io.CopyN(io.Discard, c.Conn, maxDrain) // whatever ends it, this is the end
}

// body is the body of a request.
type body struct {
	c    *conn
	left int64 // bytes that were not read
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (n int, err error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), b.left)]
	if c := b.c; c.begin < c.end {
		n = copy(p, c.buf[c.begin:c.end])
		c.begin += n
	} else if n, err = c.Conn.Read(p); errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if b.left -= int64(n); b.left == 0 {
		err = io.EOF
	}
	return n, err
}

// Close implements [io.Closer]. What was not read is dealt with behind the
// answer.
func (b *body) Close() error { return nil }

// here reports whether all that is left of the body has been received.
func (b *body) here() bool { return b.left <= int64(b.c.end-b.c.begin) }
