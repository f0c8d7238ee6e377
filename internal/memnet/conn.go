package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// bufferSize is how much of one direction may be on its way, as with the
// buffers of a socket.
const bufferSize = 64 << 10

// Pipe returns the two ends of a connection, which report the given addresses
// as their own.
func Pipe(a, b net.Addr) (net.Conn, net.Conn) {
	ab, ba := newHalf(), newHalf()
	return &conn{in: ba, out: ab, local: a, remote: b}, &conn{in: ab, out: ba, local: b, remote: a}
}

// conn is one end of a connection.
type conn struct {
	in, out       *half
	local, remote net.Addr
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, c.wrap("read", err)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, c.wrap("write", err)
}

// wrap dresses an error as that of a socket.
func (c *conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // exactly what read returns
		return err
	}
	return &net.OpError{Op: op, Net: "mem", Source: c.local, Addr: c.remote, Err: err}
}

// Close ends both directions: what was written can still be read by the peer,
// what the peer writes from now on fails.
func (c *conn) Close() error {
	c.out.closeWriter()
	c.in.closeReader()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t) // never fails
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.reader, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writer, t)
	return nil
}

// half is one direction of a connection.
type half struct {
	mu      sync.Mutex // guards what follows
	changed sync.Cond  // any of it has changed
	buf     []byte     // written, not read; its array is reused
	off     int        // of buf, what has been read
	reader  side
	writer  side
}

// side is the reading or the writing end of a half.
type side struct {
	closed  bool
	expired bool        // its deadline has passed
	timer   *time.Timer // nil without a deadline
}

func newHalf() *half {
	h := new(half)
	h.changed.L = &h.mu
	return h
}

func (h *half) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.reader.closed:
			return 0, net.ErrClosed
		case h.reader.expired:
			return 0, os.ErrDeadlineExceeded
		case h.off < len(h.buf):
			n := copy(b, h.buf[h.off:])
			if h.off += n; h.off == len(h.buf) {
				h.buf, h.off = h.buf[:0], 0
			}
			h.changed.Broadcast()
			return n, nil
		case h.writer.closed:
			return 0, io.EOF
		case len(b) == 0:
			return 0, nil
		}
		h.changed.Wait()
	}
}

func (h *half) write(b []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.writer.closed:
			return n, net.ErrClosed
		case h.writer.expired:
			return n, os.ErrDeadlineExceeded
		case h.reader.closed:
			return n, io.ErrClosedPipe
		case n == len(b):
			return n, nil
		}
		if room := bufferSize - (len(h.buf) - h.off); room > 0 {
			h.buf = append(h.buf[:copy(h.buf, h.buf[h.off:])], b[n:min(n+room, len(b))]...)
			h.off = 0
			n += min(room, len(b)-n)
			h.changed.Broadcast()
			continue
		}
		h.changed.Wait()
	}
}

func (h *half) closeWriter() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writer.close()
	h.changed.Broadcast()
}

func (h *half) closeReader() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reader.close()
	h.changed.Broadcast()
}

func (s *side) close() {
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

func (h *half) setDeadline(s *side, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.expired = false
	if t.IsZero() || s.closed {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		s.expired = true
		h.changed.Broadcast()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if s.timer == timer { // not replaced while this call waited for the lock
			s.expired = true
			h.changed.Broadcast()
		}
	})
	s.timer = timer
}
