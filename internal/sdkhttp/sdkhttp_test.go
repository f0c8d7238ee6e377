package sdkhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/streamkit/streamkit/internal/sdkhttp"
)

const (
	requestSize  = 100_000
	responseSize = 50_000
)

// TestFastAnswerKeepsConnection plays the race that the wrapper removes, step
// by step: the server has read the whole request and its answer's headers
// reach the SDK, which closes the request's body, before net/http has returned
// from writing the last byte.
func TestFastAnswerKeepsConnection(t *testing.T) {
	for _, tt := range []struct {
		name    string
		wrap    func(http.RoundTripper) http.RoundTripper
		dropped bool
	}{
		{name: "bare", wrap: func(rt http.RoundTripper) http.RoundTripper { return rt }, dropped: true},
		{name: "wrapped", wrap: sdkhttp.Wrap},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clientEnd, serverEnd := net.Pipe()
				bodyClosed := make(chan struct{})
				rt := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
					return &slowReturn{Conn: clientEnd, release: bodyClosed}, nil
				}}
				finish := make(chan struct{})
				served := make(chan struct{})
				go func() {
					defer close(served)
					serve(serverEnd, finish)
				}()

				// As the SDK does it: build, send, close the body, read.
				sr := smithyhttp.NewStackRequest().(*smithyhttp.Request)
				sr.Method = http.MethodPost
				sr.URL.Scheme, sr.URL.Host = "http", "kinesis.test"
				sr.ContentLength = requestSize
				sr, err := sr.SetStream(bytes.NewReader(make([]byte, requestSize)))
				if err != nil {
					t.Fatal(err)
				}
				req := sr.Build(t.Context())
				resp, err := tt.wrap(rt).RoundTrip(req)
				if err != nil {
					t.Fatalf("RoundTrip: %v", err)
				}
				if err := req.Body.Close(); err != nil {
					t.Error(err)
				}
				close(bodyClosed)
				synctest.Wait() // net/http has looked at the body's end
				close(finish)
				got, err := io.ReadAll(resp.Body)
				if dropped := err != nil || len(got) != responseSize; dropped != tt.dropped {
					t.Errorf("read %d of %d bytes, %v; dropped = %v, want %v", len(got), responseSize, err, dropped, tt.dropped)
				}
				if err := resp.Body.Close(); err != nil {
					t.Log(err)
				}
				rt.CloseIdleConnections()
				<-served
			})
		})
	}
}

// serve reads one request, answers with headers and half the body, waits, and
// sends the other half.
func serve(conn net.Conn, finish <-chan struct{}) {
	defer conn.Close()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return
	}
	half := strings.Repeat("x", responseSize/2)
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", responseSize); err != nil {
		return
	}
	<-finish
	if _, err := io.WriteString(conn, half+half); err != nil {
		return // the client has dropped the connection
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return
	}
}

// slowReturn is a connection whose Write sends the data at once and returns
// only after release, once the whole request has been written.
type slowReturn struct {
	net.Conn
	written int
	release <-chan struct{}
}

func (c *slowReturn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.written += n; c.written > requestSize {
		<-c.release
	}
	return n, err
}

func TestClientProtocols(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		fmt.Fprint(w, r.Proto)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()

	for _, tt := range []struct {
		name, path, target string
		status             int
		want               string
	}{
		{name: "bulk", target: "Kinesis_20131202.PutRecords", status: 200, want: "HTTP/1.1"},
		{name: "fan-out in JSON", target: "Kinesis_20131202.SubscribeToShard", status: 200, want: "HTTP/2.0"},
		{name: "fan-out in CBOR", path: "/service/Kinesis_20131202/operation/SubscribeToShard", status: 200, want: "HTTP/2.0"},
		{name: "redirect", path: "/redirect", status: 302},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := sdkhttp.Client()
			sdkhttp.Trust(client, srv)
			defer client.CloseIdleConnections()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+tt.path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Amz-Target", tt.target)
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || string(body) != tt.want {
				t.Errorf("status %d, %q, want %d, %q", resp.StatusCode, body, tt.status, tt.want)
			}
		})
	}
}

// TestBodiesMakeNoGarbage posts large bodies and looks at what is allocated for
// each, by the client and the server together.
func TestBodiesMakeNoGarbage(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random")
	}
	const size = 300_000
	sink := make([]byte, 64<<10)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n := 0
		for {
			m, err := r.Body.Read(sink)
			n += m
			if err != nil {
				break
			}
		}
		if n != size {
			t.Errorf("the server read %d bytes", n)
		}
	}))
	defer srv.Close()
	body := bytes.Repeat([]byte("x"), size)
	each := func(client *http.Client) int64 {
		post := func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
		}
		post()
		const n = 50
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			post()
		}
		runtime.ReadMemStats(&after)
		return int64(after.TotalAlloc-before.TotalAlloc) / n
	}
	client := sdkhttp.Client()
	defer client.CloseIdleConnections()
	plain := &http.Client{Transport: &http.Transport{}}
	defer plain.CloseIdleConnections()
	ours, theirs := each(client), each(plain)
	t.Logf("%d bytes a request, the standard client %d", ours, theirs)
	if ours > theirs-24<<10 {
		t.Errorf("%d bytes a request, the standard client %d", ours, theirs)
	}
}

// TestConnectionsAreKept checks that the connections of a full set of requests
// are there for the next one.
func TestConnectionsAreKept(t *testing.T) {
	var opened atomic.Int32
	all := new(sync.WaitGroup)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		all.Done()
		all.Wait() // until all requests of a round are there
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	client := sdkhttp.Client()
	defer client.CloseIdleConnections()
	const n = 100
	for range 3 {
		all.Add(n)
		var callers sync.WaitGroup
		for range n {
			callers.Go(func() {
				if err := get(t.Context(), client, srv.URL); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	}
	if got := opened.Load(); got != n {
		t.Errorf("%d connections for 3 rounds of %d requests", got, n)
	}
}

// TestCutOffClosesConnection checks that a request that was cut off leaves no
// connection behind on which its answer might come.
func TestCutOffClosesConnection(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	closed := make(chan struct{}, 1) // one signal
	release := make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			cancel()
			<-release
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			select {
			case closed <- struct{}{}:
			default:
			}
		}
	}
	srv.Start()
	defer srv.Close()
	client := sdkhttp.Client()
	defer client.CloseIdleConnections()
	if err := get(ctx, client, srv.URL+"/slow"); !errors.Is(err, context.Canceled) {
		t.Errorf("slow request: %v", err)
	}
	close(release)
	<-closed // or the test hangs
	if err := get(t.Context(), client, srv.URL); err != nil {
		t.Errorf("next request: %v", err)
	}
}

// TestConnectTimeout checks that a server which takes connections and is silent about
// TLS is given up when the caller says, long before the default.
func TestConnectTimeout(t *testing.T) {
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // the system takes the connection, and nobody reads it
	client := sdkhttp.ClientWithin(50 * time.Millisecond)
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // less than the default
	defer cancel()
	if err := get(ctx, client, "https://"+ln.Addr().String()); err == nil || !strings.Contains(err.Error(), "TLS handshake timeout") {
		t.Errorf("error %v, want a handshake that timed out", err)
	}
}

func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
