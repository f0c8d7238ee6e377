package peers

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// The beginning of a connection. The key is derived from the secret of the one
// that is called, which stands in its row: to know it is to be able to read the
// table.
//
//	caller ─ magic, nonce ─────────────▶ called
//	caller ◀───────────── nonce ──────── called
//	caller ─ identity, proof ──────────▶ called     proof: HMAC over both nonces and the identity
//	caller ◀────────── identity, proof ─ called     and here over the caller's identity too
//
// Both nonces are random, so what was heard of one connection opens no other.
const (
	magic     = "SKP1"
	nonceSize = 32
	proofSize = sha256.Size
)

var (
	errProof = errors.New("peers: the other side does not know the secret")
	errHello = errors.New("peers: not a connection of a peer")
)

// authKey derives the key of connections to the holder of secret.
func authKey(secret []byte) []byte { return derive(secret, "streamkit peers: connections") }

func derive(key []byte, label string, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(appendString(nil, label))
	for _, p := range parts {
		mac.Write(p) // each is of fixed size, or begins with its lengths
	}
	return mac.Sum(nil)
}

// session is a connection on which both sides have proved themselves.
type session struct {
	conn  net.Conn
	other peer
	out   *sealer
	in    *opener
}

func (s *session) write(typ frameType, flag byte, number uint32, payload []byte) error {
	_, err := s.conn.Write(s.out.seal(typ, flag, number, payload))
	return err
}

// connect calls to and returns a session. The other side may prove to be
// another process than to names: that is for the caller to judge.
func (m *Mesh) connect(ctx context.Context, to Member, within time.Duration) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	conn, err := m.cfg.Dial(ctx, "tcp", to.Addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now().Add(-time.Second)) })
	s, err := m.greet(ctx, conn, to)
	if !stop() && err == nil {
		err = ctx.Err() // the deadline is set, or about to be
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (m *Mesh) greet(ctx context.Context, conn net.Conn, to Member) (*session, error) {
	if m.cfg.TLS != nil {
		cfg := m.cfg.TLS
		if cfg.ServerName == "" {
			host, _, err := net.SplitHostPort(to.Addr)
			if err != nil {
				host = to.Addr
			}
			cfg = cfg.Clone()
			cfg.ServerName = host
		}
		secure := tls.Client(conn, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secure
	}
	return callerHello(conn, authKey(to.Secret), m.me)
}

func callerHello(conn net.Conn, key []byte, me peer) (*session, error) {
	hello := append([]byte(magic), make([]byte, nonceSize)...)
	mine := hello[len(magic):]
	_, _ = rand.Read(mine) // never fails
	if _, err := conn.Write(hello); err != nil {
		return nil, err
	}
	theirs := make([]byte, nonceSize)
	if _, err := io.ReadFull(conn, theirs); err != nil {
		return nil, err
	}
	self := me.append(nil)
	if _, err := conn.Write(append(slices.Clip(self), derive(key, "caller", mine, theirs, self)...)); err != nil {
		return nil, err
	}
	other, raw, err := readPeer(conn)
	if err != nil {
		return nil, err
	}
	if err := readProof(conn, derive(key, "called", mine, theirs, self, raw)); err != nil {
		return nil, err
	}
	return &session{
		conn: conn, other: other,
		out: newSealer(derive(key, "to called", mine, theirs, self, raw)),
		in:  newOpener(conn, derive(key, "to caller", mine, theirs, self, raw)),
	}, nil
}

// calledHello proves both sides on a connection that was accepted.
func calledHello(conn net.Conn, key []byte, me peer) (*session, error) {
	hello := make([]byte, len(magic)+nonceSize)
	if _, err := io.ReadFull(conn, hello); err != nil {
		return nil, err
	}
	if string(hello[:len(magic)]) != magic {
		return nil, errHello
	}
	theirs := hello[len(magic):]
	mine := make([]byte, nonceSize)
	_, _ = rand.Read(mine) // never fails
	if _, err := conn.Write(mine); err != nil {
		return nil, err
	}
	other, raw, err := readPeer(conn)
	if err != nil {
		return nil, err
	}
	if err := readProof(conn, derive(key, "caller", theirs, mine, raw)); err != nil {
		return nil, err
	}
	self := me.append(nil)
	s := &session{
		conn: conn, other: other,
		out: newSealer(derive(key, "to caller", theirs, mine, raw, self)),
		in:  newOpener(conn, derive(key, "to called", theirs, mine, raw, self)),
	}
	if _, err := conn.Write(append(slices.Clip(self), derive(key, "called", theirs, mine, raw, self)...)); err != nil {
		return nil, err
	}
	return s, nil
}

// readPeer reads an identity; raw is how it was written.
func readPeer(r io.Reader) (p peer, raw []byte, err error) {
	for _, high := range []int{maxID, maxIncarnation} {
		var n [1]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return peer{}, nil, err
		}
		if n[0] == 0 || int(n[0]) > high {
			return peer{}, nil, fmt.Errorf("%w: name of %d bytes", errHello, n[0])
		}
		text := make([]byte, n[0])
		if _, err := io.ReadFull(r, text); err != nil {
			return peer{}, nil, err
		}
		raw = append(append(raw, n[0]), text...)
	}
	d := decoder{b: raw}
	return d.peer(), raw, nil
}

func readProof(r io.Reader, want []byte) error {
	got := make([]byte, proofSize)
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if !hmac.Equal(got, want) {
		return errProof
	}
	return nil
}
