package sniff_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/memnet"
	"github.com/streamkit/streamkit/streamd/internal/certs"
	"github.com/streamkit/streamkit/streamd/internal/sniff"
)

// rig is a listener in memory behind a sniffing one.
type rig struct {
	raw  *memnet.Listener
	ln   *sniff.Listener
	pool *x509.CertPool
	log  bytes.Buffer // read it when nothing writes it
}

func newRig(t *testing.T) *rig {
	t.Helper()
	source, err := certs.Open(certs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{raw: memnet.Listen("server:1"), pool: x509.NewCertPool()}
	r.pool.AppendCertsFromPEM(source.CA())
	r.ln = sniff.NewListener(r.raw, source.TLS(), slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() { _ = r.ln.Close() })
	return r
}

// pair returns both ends of a connection.
func (r *rig) pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	client, err := r.raw.Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if server, err = r.ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

func (r *rig) client(c net.Conn) *tls.Conn {
	return tls.Client(c, &tls.Config{RootCAs: r.pool, ServerName: "localhost"})
}

// echo answers one message of a connection, and ends its side of it.
func echo(server net.Conn) error {
	b := make([]byte, 64)
	n, err := server.Read(b)
	if err != nil {
		return err
	}
	if _, err := server.Write(b[:n]); err != nil {
		return err
	}
	return server.(interface{ CloseWrite() error }).CloseWrite()
}

func TestPlainAndTLS(t *testing.T) {
	for _, secure := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			client, server := r.pair(t)
			if secure {
				client = r.client(client)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := echo(server); err != nil {
					t.Errorf("TLS %t: %v", secure, err)
				}
				_ = server.Close()
			})
			if _, err := client.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(client)
			if err != nil || string(got) != "hello" {
				t.Errorf("TLS %t: read %q, %v", secure, got, err)
			}
			wg.Wait()
		})
	}
}

// TestFirstByteAlone has the bytes of a handshake come one by one.
func TestFirstByteAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		near, far := memnet.Pipe(memnet.Addr("near"), memnet.Addr("far"))
		client, server := r.pair(t)
		var wg sync.WaitGroup
		wg.Go(func() { // to the server, in pieces
			b := make([]byte, 1)
			for {
				if _, err := far.Read(b); err != nil {
					_ = client.Close()
					return
				}
				if _, err := client.Write(b); err != nil {
					return
				}
			}
		})
		wg.Go(func() { _, _ = io.Copy(far, client) })
		wg.Go(func() {
			if err := echo(server); err != nil {
				t.Error(err)
			}
		})
		c := r.client(near)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Errorf("read %q, %v", b, err)
		}
		_ = near.Close()
		wg.Wait()
	})
}

func TestReadDeadlineHoldsForHandshake(t *testing.T) {
	for _, sent := range []string{"", "\x16", "\x16\x03\x01\x00\xff\x01"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			client, server := r.pair(t)
			if _, err := client.Write([]byte(sent)); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_ = server.SetReadDeadline(began.Add(5 * time.Second))
			_, err := server.Read(make([]byte, 16))
			if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 5*time.Second {
				t.Errorf("%q: %v after %v", sent, err, time.Since(began))
			}
		})
	}
}

// TestSlowPeer has each part of a connection's beginning take nearly all of the
// time that there is for it.
func TestSlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		client, server := r.pair(t)
		_ = server.SetReadDeadline(time.Now().Add(5 * time.Second))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := echo(server); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(4 * time.Second) // of the bubble
		c := r.client(client)
		if err := c.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		wg.Wait()

		client, server = r.pair(t)
		began := time.Now()
		_ = server.SetReadDeadline(began.Add(5 * time.Second))
		wg.Go(func() {
			time.Sleep(4 * time.Second)
			_, _ = client.Write([]byte{0x16})
		})
		_, err := server.Read(make([]byte, 64))
		if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != 9*time.Second {
			t.Errorf("a handshake that stops: %v after %v", err, took)
		}
		wg.Wait()
	})
}

func TestCloseEndsHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		client, server := r.pair(t)
		if _, err := client.Write([]byte{0x16}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := server.Read(make([]byte, 16)); err == nil {
				t.Error("Read of a closed connection succeeded")
			}
		})
		synctest.Wait()
		_ = server.Close()
		wg.Wait()
	})
}

func TestBrokenHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		client, server := r.pair(t)
		if _, err := client.Write([]byte("\x16 is how TLS begins, but not how it goes on")); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Read(make([]byte, 64)); err == nil {
			t.Fatal("the handshake succeeded")
		}
		if _, err := server.Read(make([]byte, 64)); err == nil {
			t.Error("a second Read succeeded")
		}
		if _, err := server.Write([]byte("HTTP/1.1 400 Bad Request")); err == nil {
			t.Error("plain text was written to a TLS client")
		}
		_ = server.Close()
		got, _ := io.ReadAll(client)
		if bytes.Contains(got, []byte("HTTP")) {
			t.Errorf("the client got %q", got)
		}
		if !strings.Contains(r.log.String(), "TLS connection failed") || strings.Contains(r.log.String(), "level=WARN") {
			t.Errorf("log: %s", &r.log)
		}
	})
}

// TestUntrusted has clients refuse the certificate: the log says so once.
func TestUntrusted(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			for range 2 {
				client, server := r.pair(t)
				var wg sync.WaitGroup
				wg.Go(func() {
					if _, err := server.Read(make([]byte, 64)); err == nil {
						t.Error("Read succeeded")
					}
				})
				err := tls.Client(client, &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", MaxVersion: version}).HandshakeContext(t.Context())
				if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
					t.Errorf("handshake: %v", err)
				}
				_ = client.Close()
				wg.Wait()
			}
			if n := strings.Count(r.log.String(), "streamd ca prints"); n != 1 {
				t.Errorf("%x: said %d times\n%s", version, n, &r.log)
			}
		})
	}
}

// TestServerEnds has net/http cut silent connections, and Close end all kinds.
// The bubble fails the test if a goroutine is left.
func TestServerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		srv := &http.Server{
			Handler:           http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }),
			ReadHeaderTimeout: 5 * time.Second,
			ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := srv.Serve(r.ln); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
		dial := func(sent string) net.Conn {
			c, err := r.raw.Dial(context.Background(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte(sent)); err != nil {
				t.Fatal(err)
			}
			return c
		}
		silent, half := dial(""), dial("\x16\x03")
		began := time.Now()
		for _, c := range []net.Conn{silent, half} {
			// A handshake that is cut off ends with an alert, or without.
			if b, err := io.ReadAll(c); err != nil || len(b) > 7 {
				t.Errorf("%q, %v", b, err)
			}
			_ = c.Close()
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("cut after %v", took)
		}

		c := r.client(dial(""))
		open := []net.Conn{dial(""), dial("\x16"), dial("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), c}
		if _, err := c.Write([]byte("POST / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		for _, c := range open {
			_, _ = io.ReadAll(c) // ends because the server has
			_ = c.Close()
		}
		wg.Wait()
	})
}

func TestWriteParts(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "TLS"}[encrypted], func(t *testing.T) {
			r := newRig(t)
			client, server := r.pair(t)
			if encrypted {
				client = r.client(client)
			}
			large := bytes.Repeat([]byte("answer"), 20_000)
			sent := make(chan error, 1)
			go func() {
				_, err := server.Read(make([]byte, 64))
				if err == nil {
					parts := net.Buffers{[]byte("head"), nil, large}
					var n int64
					n, err = server.(interface {
						WriteParts(parts *net.Buffers) (int64, error)
					}).WriteParts(&parts)
					if n != int64(len("head")+len(large)) || len(parts) != 0 {
						t.Errorf("WriteParts = %d, %d parts are left", n, len(parts))
					}
				}
				sent <- err
			}()
			if _, err := client.Write([]byte("request")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len("head")+len(large))
			if _, err := io.ReadFull(client, got); err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			if string(got[:4]) != "head" || !bytes.Equal(got[4:], large) {
				t.Error("the parts did not come one after the other")
			}
		})
	}
}
