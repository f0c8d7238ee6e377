package sdkhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

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
