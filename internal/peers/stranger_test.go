package peers_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/memnet"
	"github.com/streamkit/streamkit/internal/peers"
)

func TestConfigErrors(t *testing.T) {
	_, err := peers.New(peers.Member{ID: strings.Repeat("x", 129), Secret: []byte("short")}, nil, peers.Config{TLS: &tls.Config{}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"id has 129", "incarnation has 0", "address has 0", "secret has 5", "listener is nil", "TLS has no certificate"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

// TestListOfMembers leaves out what cannot be used.
func TestListOfMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := direct{}
		m := d.join(t, "w", peers.Config{})
		defer m.Close()
		short := member("x")
		short.Secret = short.Secret[:15]
		double := member("w")
		double.Incarnation = "2"
		m.SetMembers([]peers.Member{{}, short, double, member("w"), member("y")})
		if s := m.Stats(); s.InvalidMembers != 3 || s.Members != 1 {
			t.Errorf("%+v", s)
		}
		var many []peers.Member
		for i := range 2000 {
			p := member("z")
			p.ID += string(rune('a'+i%26)) + strings.Repeat("i", i/26)
			many = append(many, p)
		}
		m.SetMembers(many)
		if s := m.Stats(); s.Members != 1024 || s.InvalidMembers != 3+2000-1024 {
			t.Errorf("%+v", s)
		}
	})
}

// dial connects to ln as a stranger.
func dial(t *testing.T, d direct, to string) net.Conn {
	t.Helper()
	conn, err := d[to].Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestStrangers has all kinds of strangers at the door of a worker: none gets
// in, none stays, and those who know the secret still do.
func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := direct{}
		m := d.join(t, "w", peers.Config{OnHint: func(string, peers.Hint) { t.Error("a hint of a stranger") }})
		defer m.Close()
		self := member("w")
		for name, say := range map[string][]byte{
			"nothing":     nil,
			"http":        []byte("GET / HTTP/1.1\r\nHost: a-name-that-is-long-enough\r\n\r\n"),
			"zeros":       make([]byte, 4096),
			"half":        []byte("SKP1 half"),
			"no identity": append([]byte("SKP1"), make([]byte, 32+200)...),
			"long name":   append([]byte("SKP1"), bytes.Repeat([]byte{255}, 300)...),
			"wrong proof": append(append([]byte("SKP1"), make([]byte, 32)...), "\x01x\x01y01234567890123456789012345678901"...),
		} {
			conn := dial(t, d, "w")
			_, _ = conn.Write(say)
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: still connected after 5 s", name)
			}
			_ = conn.Close()
		}
		if s := m.Stats(); s.Rejected != 7 || s.Incoming != 0 {
			t.Errorf("%+v", s)
		}

		// A crowd that says nothing, and one who knows.
		var crowd []net.Conn
		for range 200 {
			crowd = append(crowd, dial(t, d, "w"))
		}
		synctest.Wait()
		if s := m.Stats(); s.CrowdedOut != 200-32 {
			t.Errorf("%+v", s)
		}
		conn := dial(t, d, "w")
		c, err := peers.Call(conn, member("x"), self)
		if err != nil {
			t.Fatalf("behind a crowd: %v", err)
		}
		if err := c.Beat(1); err != nil {
			t.Fatal(err)
		}
		if typ, _, n, err := c.Next(); typ != 2 || n != 1 || err != nil {
			t.Errorf("answer %d, %d, %v", typ, n, err)
		}
		for _, c := range crowd {
			_ = c.Close()
		}

		// One who knows, and calls too often.
		for range 20 {
			if c, err := peers.Call(dial(t, d, "w"), member("x"), self); err == nil {
				_ = c.Beat(1)
			}
		}
		synctest.Wait()
		if s := m.Stats(); s.Incoming > 8 {
			t.Errorf("%+v", s)
		}
		time.Sleep(15 * time.Second)
		if s := m.Stats(); s.Incoming != 0 || s.IdleClosed == 0 {
			t.Errorf("silent connections stay: %+v", s)
		}
		_ = conn.Close()
	})
}

// TestWrongSecret has a worker call another with a secret of before.
func TestWrongSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := direct{}
		a, b := d.join(t, "a", peers.Config{}), d.join(t, "b", peers.Config{})
		defer a.Close()
		defer b.Close()
		old := member("b")
		old.Secret = []byte("another secret of b")
		a.SetMembers([]peers.Member{old})
		time.Sleep(time.Minute)
		if s := a.Stats(); s.Connects != 0 || s.FailedCalls < 5 || s.Watchers != 0 || s.Pauses != 0 {
			t.Errorf("%+v", s)
		}
		if s := b.Stats(); s.Rejected < 5 || s.Incoming != 0 {
			t.Errorf("%+v", s)
		}
		// Another process has the address by now.
		other := member("b")
		other.Incarnation = "0"
		a.SetMembers([]peers.Member{other})
		time.Sleep(time.Minute)
		if s := a.Stats(); s.Strangers < 5 || s.Watchers != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestReplay plays what one connection has carried into another.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := direct{}
		m := d.join(t, "w", peers.Config{})
		defer m.Close()
		tap := &tapped{Conn: dial(t, d, "w")}
		c, err := peers.Call(tap, member("x"), member("w"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Declare(1, 1, member("w")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := m.Stats(); s.Watched != 1 {
			t.Fatalf("%+v", s)
		}
		again := dial(t, d, "w")
		if _, err := again.Write(tap.wrote.Bytes()); err != nil {
			t.Fatal(err)
		}
		_ = again.SetReadDeadline(time.Now().Add(time.Second))
		if got, err := io.ReadAll(again); err != nil || len(got) != 32 {
			t.Errorf("a replay was answered by %d bytes, %v; want the nonce and the end", len(got), err)
		}
		if s := m.Stats(); s.Rejected != 1 || s.Incoming != 1 {
			t.Errorf("%+v", s)
		}
		// And in the same connection: the count is in the tag.
		if _, err := tap.Conn.Write(tap.last); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := m.Stats(); s.Malformed != 1 || s.Incoming != 0 {
			t.Errorf("%+v", s)
		}
		_, _ = tap.Close(), again.Close()
	})
}

// tapped keeps what was written.
type tapped struct {
	net.Conn
	wrote bytes.Buffer
	last  []byte
}

func (t *tapped) Write(b []byte) (int, error) {
	t.wrote.Write(b)
	t.last = bytes.Clone(b)
	return t.Conn.Write(b)
}

// TestForgedFrames sends frames that make no sense by one who knows the secret:
// each ends its connection, and nothing else.
func TestForgedFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := direct{}
		m := d.join(t, "w", peers.Config{})
		defer m.Close()
		for i, say := range []struct {
			typ     byte
			payload []byte
		}{
			{0, nil},
			{2, nil},
			{4, nil},
			{5, nil},
			{7, nil},
			{99, nil},
			{3, nil},
			{3, append(make([]byte, 12), 4)},
			{3, append(make([]byte, 12), 3, 1)},
			{6, []byte{0}},
			{8, []byte{9, 0}},
		} {
			c, err := peers.Call(dial(t, d, "w"), member("x"), member("w"))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Write(say.typ, say.payload); err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := c.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("%d: frame %d %x was answered: %v", i, say.typ, say.payload, err)
			}
			if s := m.Stats(); s.Malformed != int64(i+1) {
				t.Errorf("%d: frame %d %x: %+v", i, say.typ, say.payload, s)
			}
		}
	})
}

// TestVote holds a watcher to its word.
func TestVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := direct{}
		var mu sync.Mutex
		var dead []peers.Verdict
		w := d.join(t, "w", peers.Config{OnDead: func(v peers.Verdict) { mu.Lock(); dead = append(dead, v); mu.Unlock() }})
		defer w.Close()
		x, v := member("x"), member("v")
		w.SetMembers([]peers.Member{x, v}) // neither of them listens
		c, err := peers.Call(dial(t, d, "w"), x, member("w"))
		if err != nil {
			t.Fatal(err)
		}
		ask, err := peers.Call(dial(t, d, "w"), v, member("w"))
		if err != nil {
			t.Fatal(err)
		}
		want := func(name string, wantTyp, wantFlag byte, c *peers.Caller) uint32 {
			t.Helper()
			typ, flag, n, err := c.Next()
			if typ != wantTyp || flag != wantFlag || err != nil {
				t.Errorf("%s: answer %d with %d, %v; want %d with %d", name, typ, flag, err, wantTyp, wantFlag)
			}
			return n
		}
		set := []peers.Member{member("w"), v}
		_ = c.Declare(3, 7, set...)
		want("declaration", 4, 0, c)
		_ = ask.Ask(x, 3, 7, set...)
		if n := want("it lives", 7, 2, ask); n < 1490 || n > 1501 {
			t.Errorf("to be asked again after %d ms", n)
		}
		_ = ask.Ask(x, 2, 7, set...)
		want("an older term", 7, 0, ask)
		_ = ask.Ask(x, 3, 6, set...)
		want("an older epoch", 7, 0, ask)
		_ = ask.Ask(member("y"), 3, 7, set...)
		want("unknown", 7, 0, ask)
		time.Sleep(1499 * time.Millisecond)
		_ = ask.Ask(x, 3, 7, set...)
		want("just alive", 7, 2, ask)
		time.Sleep(time.Millisecond)
		_ = ask.Ask(x, 3, 7, set...)
		want("dead", 7, 1, ask)
		_ = c.Beat(1)
		want("a beat after the vote", 2, 1, c)
		_ = c.Declare(3, 7, set...)
		want("the same declaration", 4, 0, c)
		_ = c.Beat(2)
		want("a beat after it", 2, 1, c)
		_ = c.Declare(3, 8, set...)
		want("the next declaration", 4, 0, c)
		_ = c.Beat(3)
		want("a beat after that", 2, 0, c)
		_ = ask.Ask(x, 3, 7, set...)
		want("the epoch of the vote is over", 7, 0, ask)
		time.Sleep(20 * time.Second)
		mu.Lock()
		if len(dead) != 0 {
			t.Errorf("verdicts without the vote of the other watcher: %+v", dead)
		}
		mu.Unlock()
		if s := w.Stats(); s.Unconfirmed != 1 || s.Votes != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestTLS runs two workers over TLS with certificates on both sides, and keeps
// out one without.
func TestTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fleet"}, DNSNames: []string{"a", "b"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
			KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(cert)
		cfg := &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
		}
		d := direct{}
		a, b := d.join(t, "a", peers.Config{TLS: cfg}), d.join(t, "b", peers.Config{TLS: cfg})
		plain := d.join(t, "c", peers.Config{})
		for _, m := range []*peers.Mesh{a, b, plain} {
			m.SetMembers([]peers.Member{member("a"), member("b")})
		}
		time.Sleep(5 * time.Second)
		for _, m := range []*peers.Mesh{a, b} {
			if s := m.Stats(); s.Links != 1 || s.Watchers != 1 || s.Watched != 1 || s.Pauses != 0 {
				t.Errorf("%+v", s)
			}
		}
		if s := plain.Stats(); s.Links != 0 || s.Connects != 0 {
			t.Errorf("without TLS: %+v", s)
		}
		for _, m := range []*peers.Mesh{plain, a, b} {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestAcceptErrors outlives a listener that fails for a while.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &failing{Listener: memnet.Listen("w"), left: 5}
		m, err := peers.New(member("w"), ln, peers.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		time.Sleep(10 * time.Second)
		conn, err := ln.Dial(context.Background(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := peers.Call(conn, member("x"), member("w")); err != nil {
			t.Errorf("after the faults: %v", err)
		}
		if s := m.Stats(); s.AcceptErrors != 5 {
			t.Errorf("%+v", s)
		}
	})
}

type failing struct {
	*memnet.Listener
	left int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left > 0 {
		f.left--
		return nil, errors.New("too many open files")
	}
	return f.Listener.Accept()
}
