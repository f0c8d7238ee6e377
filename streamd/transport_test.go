package streamd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/memnet"
	"github.com/streamkit/streamkit/internal/sdkhttp"
	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// preface begins a connection of HTTP/2 (RFC 9113, 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// hidden is a connection that does not show that it is one of TLS.
type hidden struct{ net.Conn }

// noting notes the protocols of the answers that pass.
type noting struct {
	http.RoundTripper
	mu     sync.Mutex // guards protos
	protos map[string]bool
}

func (n *noting) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := n.RoundTripper.RoundTrip(req)
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.protos[resp.Proto] = true
	}
	return resp, err
}

func protocols(set ...func(*http.Protocols, bool)) *http.Protocols {
	p := new(http.Protocols)
	for _, f := range set {
		f(p, true)
	}
	return p
}

// TestTransports puts and gets with the SDK over all ways to the one port.
func TestTransports(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	trusting := func() *tls.Config { return &tls.Config{RootCAs: srv.CertPool()} }
	for _, tt := range []struct {
		name, endpoint, proto string
		transport             *http.Transport
	}{
		{"plain, HTTP/1.1", srv.Endpoint(), "HTTP/1.1", &http.Transport{}},
		{"plain, HTTP/2 by prior knowledge", srv.Endpoint(), "HTTP/2.0", &http.Transport{
			Protocols: protocols((*http.Protocols).SetUnencryptedHTTP2),
		}},
		{"TLS, HTTP/1.1 by ALPN", srv.HTTPSEndpoint(), "HTTP/1.1", &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: srv.CertPool(), NextProtos: []string{"http/1.1"}},
			Protocols:       protocols((*http.Protocols).SetHTTP1),
		}},
		{"TLS, HTTP/2 by ALPN", srv.HTTPSEndpoint(), "HTTP/2.0", &http.Transport{
			TLSClientConfig: trusting(), ForceAttemptHTTP2: true,
		}},
		{"TLS, HTTP/1.1 without ALPN", "http" + strings.TrimPrefix(srv.HTTPSEndpoint(), "https"), "HTTP/1.1", &http.Transport{
			DialContext: dialTLS(trusting()),
		}},
		{"TLS, HTTP/2 without ALPN", "http" + strings.TrimPrefix(srv.HTTPSEndpoint(), "https"), "HTTP/2.0", &http.Transport{
			DialContext: dialTLS(trusting()),
			Protocols:   protocols((*http.Protocols).SetUnencryptedHTTP2),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer tt.transport.CloseIdleConnections()
			note := &noting{RoundTripper: sdkhttp.Wrap(tt.transport), protos: make(map[string]bool)}
			client := srv.Kinesis(func(o *kinesis.Options) {
				o.BaseEndpoint, o.HTTPClient = aws.String(tt.endpoint), &http.Client{Transport: note}
			})
			name := aws.String(strings.NewReplacer(" ", "-", ",", "", "/", "_").Replace(tt.name))
			if _, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(1)}); err != nil {
				t.Fatal(err)
			}
			data := bytes.Repeat([]byte("0123456789abcdef"), 1<<15) // beyond every window
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					_, err := client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: name, PartitionKey: aws.String("k"), Data: data})
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			it, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
				StreamName: name, ShardId: aws.String("shardId-000000000000"), ShardIteratorType: "TRIM_HORIZON",
			})
			if err != nil {
				t.Fatal(err)
			}
			out, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Records) != 8 {
				t.Errorf("%d records", len(out.Records))
			}
			for _, r := range out.Records {
				if !bytes.Equal(r.Data, data) {
					t.Error("a record was changed on the way")
				}
			}
			if len(note.protos) != 1 || !note.protos[tt.proto] {
				t.Errorf("spoke %v, want %s", note.protos, tt.proto)
			}
		})
	}
}

// dialTLS returns a dialler of TLS connections without ALPN.
func dialTLS(cfg *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		cfg := cfg.Clone()
		cfg.ServerName, _, _ = net.SplitHostPort(addr)
		c, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if proto := c.(*tls.Conn).ConnectionState().NegotiatedProtocol; proto != "" {
			return nil, errors.New("negotiated " + proto)
		}
		return hidden{c}, nil
	}
}

// TestSettingsOfHTTP2 reads the server's first frame, which must allow as many
// streams as a client of fan-out opens.
func TestSettingsOfHTTP2(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	addr := strings.TrimPrefix(srv.Endpoint(), "http://")
	for _, secure := range []bool{false, true} {
		var c net.Conn
		var err error
		if secure {
			c, err = dialTLS(&tls.Config{RootCAs: srv.CertPool()})(t.Context(), "tcp", addr)
		} else {
			c, err = new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		// The preface in two parts: the server must wait for the second.
		for _, part := range []string{preface[:16], preface[16:], "\x00\x00\x00\x04\x00\x00\x00\x00\x00"} {
			if _, err := io.WriteString(c, part); err != nil {
				t.Fatal(err)
			}
		}
		var head [9]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c, body); err != nil {
			t.Fatal(err)
		}
		if head[3] != 4 { // SETTINGS
			t.Fatalf("the first frame is of type %d", head[3])
		}
		var streams uint32
		for ; len(body) >= 6; body = body[6:] {
			if binary.BigEndian.Uint16(body) == 3 { // SETTINGS_MAX_CONCURRENT_STREAMS
				streams = binary.BigEndian.Uint32(body[2:])
			}
		}
		if streams < 1000 {
			t.Errorf("TLS %t: %d streams at once", secure, streams)
		}
	}
}

// TestGarbage sends what is no request. The server answers with an error in
// plain text, or with a TLS alert, or not at all, and cuts the connection.
func TestGarbage(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	addr := strings.TrimPrefix(srv.Endpoint(), "http://")
	for _, tt := range []struct{ name, sent, want string }{
		{"zeros", "\x00\x00\x00\x00\r\n\r\n", "HTTP/1.1 400"},
		{"text", "hello\r\n\r\n", "HTTP/1.1 400"},
		{"another record of TLS", "\x17\x03\x03\x00\x01\x00\r\n\r\n", "HTTP/1.1 400"},
		{"a handshake of nothing", "\x16\x03\x01\x00\x04\x01\x00\x00\x00", "\x15\x03"},
		{"only like a handshake", "\x16GET / HTTP/1.1\r\n\r\n", ""},
		{"nearly HTTP/2", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "HTTP/1.1 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.WriteString(c, tt.sent); err != nil {
				t.Fatal(err)
			}
			_ = c.(*net.TCPConn).CloseWrite()
			got, err := io.ReadAll(c)
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				t.Fatal("the connection stays open")
			}
			if !strings.HasPrefix(string(got), tt.want) || tt.want == "" && bytes.Contains(got, []byte("HTTP/")) {
				t.Errorf("got %q, want %q…", got, tt.want)
			}
		})
	}
	// The server is none the worse.
	srv.CreateStream(t, "s", 1)
}

// TestSilentConnections has the first byte not come. The bubble fails the test
// if the server leaves a goroutine.
func TestSilentConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := memnet.Listen("127.0.0.1:4567")
		srv, err := streamd.New(streamd.Config{Listener: ln, Admin: streamd.AdminOff, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := srv.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		for _, sent := range []string{"", "\x16", "P", preface[:20]} {
			c, err := ln.Dial(ctx, "", "")
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, _ = io.WriteString(c, sent)
			_, _ = io.ReadAll(c)
			if took := time.Since(began); took != 5*time.Second {
				t.Errorf("%q: cut after %v", sent, took)
			}
			_ = c.Close()
		}
		held, err := ln.Dial(ctx, "", "")
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		_, _ = io.ReadAll(held)
		wg.Wait()
		_ = held.Close()
	})
}

// TestStopWithHTTP2 has clients keep their connections when the server stops, which
// waits for requests, and for 10 s at most.
func TestStopWithHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := memnet.Listen("127.0.0.1:4567")
		srv, err := streamd.New(streamd.Config{Listener: ln, Admin: streamd.AdminOff, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		stopped := make(chan error, 1) // its sender does not wait
		go func() { stopped <- srv.Run(ctx) }()
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(srv.CACertificate())
		for _, tr := range []*http.Transport{
			{Protocols: protocols((*http.Protocols).SetUnencryptedHTTP2)},
			{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true},
		} {
			tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) { return ln.Dial(ctx, network, addr) }
			defer tr.CloseIdleConnections()
			endpoint := srv.Endpoint()
			if tr.TLSClientConfig != nil {
				endpoint = srv.HTTPSEndpoint()
			}
			seen := &noting{RoundTripper: tr, protos: make(map[string]bool)}
			client := kinesis.New(kinesis.Options{
				BaseEndpoint: aws.String(endpoint), Region: streamdtest.Region, Credentials: aws.AnonymousCredentials{},
				HTTPClient: &http.Client{Transport: sdkhttp.Wrap(seen)},
			})
			if _, err := client.ListStreams(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if len(seen.protos) != 1 || !seen.protos["HTTP/2.0"] {
				t.Errorf("%s: protocols %v", endpoint, seen.protos)
			}
		}
		began := time.Now()
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the server took %v to stop", took)
		}
	})
}

func TestOldTLSIsRefused(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	_, err := (&tls.Dialer{Config: &tls.Config{RootCAs: srv.CertPool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}).
		DialContext(t.Context(), "tcp", strings.TrimPrefix(srv.Endpoint(), "http://"))
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
}

func TestTLSSettings(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		cfg  streamd.Config
		want []string
	}{
		{"word", streamd.Config{TLS: "yes"}, []string{`tls "yes"`}},
		{"off with settings", streamd.Config{TLS: streamd.TLSOff, TLSDir: dir}, []string{"tls is off"}},
		{"half a pair", streamd.Config{TLSCert: "a"}, []string{"one is missing"}},
		{"two kinds", streamd.Config{TLSCert: "a", TLSKey: "b", TLSDir: dir}, []string{"excludes"}},
		{"names", streamd.Config{TLSNames: []string{"a b", "https://x", "h:1", ""}}, []string{`"a b"`, `"https://x"`, `"h:1"`, `""`}},
		{"no file", streamd.Config{TLSCert: filepath.Join(dir, "c"), TLSKey: filepath.Join(dir, "k")}, []string{"does not exist"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Listen, tt.cfg.Admin = "127.0.0.1:0", streamd.AdminOff
			srv, err := streamd.New(tt.cfg)
			if err == nil {
				_ = srv.Close()
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// TestNamesOfTLS calls the server by a name that it was given.
func TestNamesOfTLS(t *testing.T) {
	data := t.TempDir()
	srv, stop := start(t, streamd.Config{DataDir: data, TLSNames: []string{"streamd.test", "*.streamd.test"}})
	ca, err := streamd.Config{DataDir: data}.CACertificate()
	if err != nil || !bytes.Equal(ca, srv.CACertificate()) {
		t.Fatalf("CACertificate: %q, %v", ca, err)
	}
	if code, body := get(t, "http://"+srv.AdminAddr()+"/ca.pem"); code != http.StatusOK || body != string(ca) {
		t.Errorf("/ca.pem: %d %s", code, body)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, srv.Addr())
		},
	}
	defer tr.CloseIdleConnections()
	host, _ := os.Hostname()
	for _, name := range []string{"localhost", "127.0.0.1", "[::1]", host, "streamd.test", "any.streamd.test"} {
		client := kinesis.New(kinesis.Options{
			Region: "us-east-1", BaseEndpoint: aws.String("https://" + name), HTTPClient: &http.Client{Transport: tr},
			Credentials: aws.AnonymousCredentials{},
		})
		if _, err := client.ListStreams(t.Context(), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	// The server's own files can be given to another one as its certificate.
	pair := filepath.Join(data, "tls", "server.pem")
	given, _ := start(t, streamd.Config{TLSCert: pair, TLSKey: pair})
	if given.CACertificate() != nil {
		t.Error("a server with a given certificate has an authority")
	}
	c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool}}).DialContext(t.Context(), "tcp", given.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestTLSOff(t *testing.T) {
	data := t.TempDir()
	srv, _ := start(t, streamd.Config{DataDir: data, TLS: streamd.TLSOff})
	if srv.HTTPSEndpoint() != "" || srv.CACertificate() != nil {
		t.Error("a server without TLS has an endpoint for it")
	}
	if _, err := os.Stat(filepath.Join(data, "tls")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of certificates: %v", err)
	}
	_, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", srv.Addr())
	if err == nil {
		t.Error("TLS is spoken")
	}
	if _, err := (streamd.Config{}).CACertificate(); err == nil || !strings.Contains(err.Error(), "--tls-dir") {
		t.Errorf("CACertificate of a server in memory: %v", err)
	}
}
