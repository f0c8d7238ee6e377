package sdkhttp

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// chunk is how much of a body is written at once.
const chunk = 64 << 10

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// dialer makes the connections of a client.
type dialer struct{ net.Dialer }

// dial returns a connection to addr.
func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// conn is a TCP connection whose ReadFrom makes no garbage: that of the standard
// library, unless it can leave the work to the system, takes 32 KiB of new
// memory for each body.
type conn struct{ net.Conn }

// ReadFrom implements [io.ReaderFrom]. net/http calls it with the body of a
// request. Over TLS it is not used.
func (c *conn) ReadFrom(r io.Reader) (n int64, err error) {
	buf := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buf)
	for {
		m, err := fill(r, buf[:])
		if m > 0 {
			w, err := c.Write(buf[:m])
			n += int64(w)
			if err != nil {
				return n, err
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// fill reads until buf is full or r ends.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}
