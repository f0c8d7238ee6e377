// Package sniff lets one port serve plain and TLS connections: the first byte
// of a connection says which of the two it is.
//
// A [Listener] returns connections at once. The first byte is awaited by the
// first Read, which a server does on the connection's own goroutine and under
// its own deadline, so that a silent peer costs what a slow one costs, and no
// more. A TLS connection is decrypted from there on, and looks to the server
// like a plain one. This is what serves HTTP/2 to peers that negotiate it and
// to those that just begin it: net/http looks for the 24 bytes that begin
// HTTP/2 on plain connections only, and answers them with an error of HTTP/1.1
// on a TLS connection without ALPN, as the Java SDK before 2.30 makes them.
package sniff

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// recordTypeHandshake is the first byte of a TLS connection (RFC 8446, 5.1).
// No method of HTTP begins with it.
const recordTypeHandshake = 0x16

// handshakeTimeout bounds how long the handshake waits for a peer that takes
// nothing. How long it waits for one that sends nothing is the time that the
// reader's deadline gives.
const handshakeTimeout = 5 * time.Second

// Listener accepts connections that may be plain or TLS.
type Listener struct {
	net.Listener
	config    *tls.Config
	log       *slog.Logger
	untrusted sync.Once // guards the one line about certificates
}

// NewListener returns a Listener that accepts from ln and closes it.
func NewListener(ln net.Listener, config *tls.Config, log *slog.Logger) *Listener {
	return &Listener{Listener: ln, config: config, log: log}
}

// Accept waits for the next connection, not for its first byte.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, listener: l}, nil
}

// failed logs why a TLS connection did not come about.
func (l *Listener) failed(c net.Conn, err error) {
	l.log.Debug("TLS connection failed", slog.String("peer", c.RemoteAddr().String()), slog.Any("err", err))
	if refused, ok := errors.AsType[*net.OpError](err); ok && refused.Op == "remote error" && strings.Contains(err.Error(), "certificate") {
		l.untrusted.Do(func() {
			l.log.Warn("a client does not trust the server's certificate; streamd ca prints what it needs (said once)",
				slog.String("peer", c.RemoteAddr().String()), slog.Any("err", err))
		})
	}
}

// The states of a connection.
const (
	unknown = iota // nothing has been read
	plain
	encrypted
	broken // the handshake has failed
)

var errBroken = errors.New("the TLS handshake has failed")

// conn is a connection that finds out what it is when it is first read. Until
// that Read has returned no other may be begun; net/http keeps to that. Other
// methods may be called at any time.
type conn struct {
	net.Conn
	listener *Listener
	state    atomic.Int32
	tls      atomic.Pointer[tls.Conn] // set before state becomes encrypted
	patience atomic.Int64             // how long the reader waits for the first bytes, zero for ever
}

// SetReadDeadline bounds a Read. The time that it gives for the first one is
// given three times to a TLS connection: for the first byte, for the handshake
// and for what comes after it. A Java client that has just started on a busy
// machine takes seconds for its first request.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.state.Load() == unknown {
		c.patience.Store(0)
		if !t.IsZero() {
			c.patience.Store(int64(time.Until(t)))
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// again gives the reader's time anew.
func (c *conn) again() error {
	if d := time.Duration(c.patience.Load()); d > 0 {
		return c.Conn.SetReadDeadline(time.Now().Add(d))
	}
	return nil
}

func (c *conn) Read(b []byte) (int, error) {
	switch c.state.Load() {
	case plain:
		return c.Conn.Read(b)
	case encrypted:
		return c.tls.Load().Read(b)
	case broken:
		return 0, errBroken
	}
	n, err := c.Conn.Read(b)
	if n == 0 {
		return 0, err
	}
	if b[0] != recordTypeHandshake {
		c.state.Store(plain)
		return n, err
	}
	if err := c.handshake(b[:n]); err != nil {
		c.state.Store(broken)
		c.listener.failed(c.Conn, err)
		return 0, err
	}
	n, err = c.tls.Load().Read(b)
	if err != nil {
		// A peer of TLS 1.3 looks at the certificate after the server's part of
		// the handshake is over: its refusal is the first thing read.
		c.listener.failed(c.Conn, err)
	}
	return n, err
}

// handshake makes c a TLS connection. begun is what has been read of it.
func (c *conn) handshake(begun []byte) error {
	t := tls.Server(&replayed{Conn: c.Conn, begun: append([]byte(nil), begun...)}, c.listener.config)
	c.tls.Store(t)
	if err := c.Conn.SetWriteDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if err := c.again(); err != nil {
		return err
	}
	if err := t.Handshake(); err != nil { //nolint:noctx // the reader's deadline bounds it, Close ends it
		return err
	}
	if err := c.again(); err != nil {
		return err
	}
	if err := c.Conn.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	c.state.Store(encrypted)
	return nil
}

func (c *conn) Write(b []byte) (int, error) {
	switch c.state.Load() {
	case encrypted:
		return c.tls.Load().Write(b)
	case broken:
		return 0, errBroken // an answer in plain text would be noise to the peer
	}
	return c.Conn.Write(b)
}

// WriteParts writes all parts, of which none is left in the end. On a plain
// connection they leave together.
func (c *conn) WriteParts(parts *net.Buffers) (n int64, err error) {
	if c.state.Load() == plain {
		return parts.WriteTo(c.Conn)
	}
	for _, p := range *parts {
		m, err := c.Write(p)
		if n += int64(m); err != nil {
			return n, err
		}
	}
	*parts = nil
	return n, nil
}

func (c *conn) Close() error {
	if t := c.tls.Load(); t != nil {
		return t.Close() // during the handshake it closes the connection alone
	}
	return c.Conn.Close()
}

// CloseWrite ends what is sent, so that the peer can still read an answer that
// comes before the end of its request. net/http looks for this method.
func (c *conn) CloseWrite() error {
	if c.state.Load() == encrypted {
		return c.tls.Load().CloseWrite()
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// replayed is a connection whose first bytes have been read by another.
type replayed struct {
	net.Conn
	begun []byte
}

func (c *replayed) Read(b []byte) (int, error) {
	if len(c.begun) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.begun)
	c.begun = c.begun[n:]
	if len(c.begun) == 0 {
		c.begun = nil // frees it
	}
	return n, nil
}
