package peers

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"time"
)

// incoming is a connection that another has opened and proved itself on. One
// goroutine reads it, and writes the answers. The Mesh's mutex guards the rest.
type incoming struct {
	s        *session
	number   uint64        // in the order in which they came
	declared bool          // at least once
	mute     bool          // beats are not acknowledged
	heard    time.Duration // the last frame
}

// accept takes connections until the listener is closed.
func (m *Mesh) accept() {
	for failures := 0; ; {
		conn, err := m.ln.Accept()
		if m.isClosing() {
			if err == nil {
				_ = conn.Close() // nothing was said on it
			}
			return
		}
		if err != nil {
			// Out of file descriptors, perhaps: it may pass.
			m.stats.acceptErrors.Add(1)
			failures++
			select {
			case <-m.stop:
				return
			case <-time.After(redialPolicy.Wait(failures, nil)):
			}
			continue
		}
		failures = 0
		m.mu.Lock()
		if m.closing {
			m.mu.Unlock()
			_ = conn.Close() // nothing was said on it
			return
		}
		if len(m.greeting) >= maxHandshakes {
			// A stranger holds connections and says nothing: those who know the
			// secret take a moment only, so the oldest is not one of them.
			_ = m.greeting[0].Close()
			m.greeting = slices.Delete(m.greeting, 0, 1)
			m.stats.crowdedOut.Add(1)
		}
		m.greeting = append(m.greeting, conn)
		m.wg.Go(func() { m.welcome(conn) })
		m.mu.Unlock()
	}
}

// welcome proves both sides of a connection, and serves it.
func (m *Mesh) welcome(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(m.t.call))
	var secure net.Conn = conn
	if m.cfg.TLS != nil {
		secure = tls.Server(conn, m.cfg.TLS)
	}
	s, err := calledHello(secure, authKey(m.self.Secret), m.me)
	m.mu.Lock()
	if i := slices.Index(m.greeting, conn); i >= 0 {
		m.greeting = slices.Delete(m.greeting, i, i+1)
	}
	if err != nil || m.closing {
		m.mu.Unlock()
		m.stats.rejected.Add(1)
		_ = secure.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	m.accepted++
	c := &incoming{s: s, number: m.accepted, heard: m.now()}
	var same []*incoming
	for o := range m.incoming {
		if o.s.other.id == s.other.id {
			same = append(same, o)
		}
	}
	ok := len(m.incoming) < maxIncoming && len(same) < maxFromOne
	if ok {
		m.incoming[c] = struct{}{}
	}
	m.mu.Unlock()
	if ok {
		m.serveIncoming(c)
	} else {
		m.stats.refused.Add(1)
	}
	_ = secure.Close()
}

func (m *Mesh) serveIncoming(c *incoming) {
	m.answer(c)
	m.mu.Lock()
	delete(m.incoming, c)
	r := m.watched[c.s.other]
	leave := m.closing && r != nil && r.conn == c
	var flag byte
	if leave {
		if r.voted > 0 {
			flag = flagVoted
		}
		delete(m.watched, c.s.other)
	}
	m.closedLocked(c, m.now())
	m.mu.Unlock()
	if leave {
		_ = c.s.conn.SetWriteDeadline(time.Now().Add(m.t.ask))
		_ = c.s.write(frameLeave, flag, 0, nil) // the connection ends in any case
	}
}

// answer reads frames and answers them until the connection breaks.
func (m *Mesh) answer(c *incoming) {
	for {
		f, err := c.s.in.next()
		if err != nil {
			m.countBroken(err)
			return
		}
		typ, flag, number, payload := frameType(0), byte(0), uint32(0), []byte(nil)
		bad := error(nil)
		m.mu.Lock()
		now := m.now()
		c.heard = now
		switch f.typ {
		case frameBeat:
			var ok bool
			if ok, flag = m.beatLocked(c, now); ok {
				typ, number = frameAck, f.number
			}
		case frameDeclare:
			var d declaration
			if d, bad = parseDeclaration(f.payload); bad == nil {
				typ, payload = frameAccept, m.declaredLocked(c, d, now).append(nil)
			}
		case frameQuery:
			var q query
			if q, bad = parseQuery(f.payload); bad == nil {
				code, wait := m.voteLocked(q, now)
				typ, flag, number = frameAnswer, byte(code), uint32(wait/time.Millisecond)+1
			}
		case frameHint:
			var h Hint
			if h, bad = parseHint(f.payload); bad == nil {
				m.stats.hintsReceived.Add(1)
				if !m.queueLocked(event{from: c.s.other.id, hint: h}) {
					m.stats.hintsDropped.Add(1)
				}
			}
		default:
			bad = errFrame
		}
		m.mu.Unlock()
		if bad != nil {
			m.stats.malformed.Add(1)
			return
		}
		if typ == 0 {
			continue
		}
		if err := c.s.write(typ, flag, number, payload); err != nil {
			return
		}
	}
}

// tidyLocked closes connections on which nothing comes: also those whose reader
// is stuck in an answer that nobody takes.
func (m *Mesh) tidyLocked(now time.Duration) {
	for c := range m.incoming {
		if now-c.heard > m.t.idle {
			_ = c.s.conn.Close() // its reader sees it
			m.stats.idleClosed.Add(1)
		}
	}
}

// countBroken counts the end of a connection that was not an orderly one.
func (m *Mesh) countBroken(err error) {
	switch {
	case errors.Is(err, errTag), errors.Is(err, errFrame):
		m.stats.malformed.Add(1)
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
	default:
		m.stats.broken.Add(1)
	}
}
