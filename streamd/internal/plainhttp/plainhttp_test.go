package plainhttp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/memnet"
	"github.com/streamkit/streamkit/streamd/internal/plainhttp"
)

const (
	headTimeout = 5 * time.Second
	idleTimeout = 120 * time.Second
)

// rig is a listener with a server of net/http behind it. The header Plain of an
// answer says who has served it.
type rig struct {
	t       *testing.T
	ln      *memnet.Listener
	plain   *plainhttp.Listener
	srv     *http.Server
	serving sync.WaitGroup
	open    atomic.Int64
}

func newRig(t *testing.T, handler http.HandlerFunc) *rig {
	t.Helper()
	r := &rig{t: t, ln: memnet.Listen("127.0.0.1:4567")}
	state := func(_ net.Conn, to http.ConnState) {
		switch to {
		case http.StateNew:
			r.open.Add(1)
		case http.StateClosed:
			r.open.Add(-1)
		case http.StateActive, http.StateIdle, http.StateHijacked:
		}
	}
	r.plain = plainhttp.Listen(r.ln, plainhttp.Config{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Plain", "yes")
			handler(w, req)
		}),
		Takes:       func(req *http.Request) bool { return req.Header.Get("X-Amz-Target") != "Other" },
		HeadTimeout: headTimeout, IdleTimeout: idleTimeout, ConnState: state, Logger: slog.New(slog.DiscardHandler),
	})
	r.srv = &http.Server{Handler: handler, ReadHeaderTimeout: headTimeout, IdleTimeout: idleTimeout, ConnState: func(c net.Conn, to http.ConnState) {
		if to != http.StateNew || !plainhttp.Known(c) {
			state(c, to)
		}
	}}
	r.serving.Go(func() { _ = r.srv.Serve(r.plain) }) // ends with the listener
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	_ = r.srv.Shutdown(context.Background())
	if err := r.plain.Shutdown(context.Background()); err != nil {
		r.t.Error(err)
	}
	r.serving.Wait()
	if n := r.open.Load(); n != 0 {
		r.t.Errorf("%d connections are counted at the end", n)
	}
}

func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := r.ln.Dial(context.Background(), "", "")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		body = append(body, "!"+err.Error()...)
	}
	fmt.Fprintf(w, "%s %s %s %d %v %s", r.Method, r.RequestURI, r.Host, r.ContentLength, r.Header["X-A"], body)
}

// TestWhoServes sends requests that are plain and others. Whoever serves them,
// the answer is the same.
func TestWhoServes(t *testing.T) {
	for _, tt := range []struct {
		name, sent, want string
		status           int
		plain            bool
	}{
		{"plain", "POST / HTTP/1.1\r\nHost: h:1\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi", "POST / h:1 2 [b] hi", 200, true},
		{"empty body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "POST / h 0 [] ", 200, true},
		{"spelled otherwise", "POST / HTTP/1.1\r\nhOST:h\r\nx-a:\t b \r\nx-A:c\r\ncontent-length:2\r\nCONNECTION: Keep-Alive\r\n\r\nhi", "POST / h 2 [b c] hi", 200, true},
		{"large body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000), "POST / h 100000 [] " + strings.Repeat("x", 100000), 200, true},
		{"other method", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", "PUT / h 2 [] hi", 200, false},
		{"other path", "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", "POST /p h 2 [] hi", 200, false},
		{"no length", "POST / HTTP/1.1\r\nHost: h\r\n\r\n", "POST / h 0 [] ", 200, false},
		{"chunks", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "POST / h -1 [] hi", 200, false},
		{"chunks and a length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "POST / h -1 [] hi", 200, false},
		{"two lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", "400 Bad Request", 400, false},
		{"a length with a sign", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +2\r\n\r\nhi", "400 Bad Request", 400, false},
		{"no host", "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", "400 Bad Request", 400, false},
		{"two hosts", "POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi", "400 Bad Request", 400, false},
		{"a host that is none", "POST / HTTP/1.1\r\nHost: a/b c\r\nContent-Length: 2\r\n\r\nhi", "400 Bad Request", 400, false},
		{"a folded line", "POST / HTTP/1.1\r\nHost: h\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nhi", "POST / h 2 [b c] hi", 200, false},
		{"a name with a blank", "POST / HTTP/1.1\r\nHost: h\r\nX-A : b\r\nContent-Length: 2\r\n\r\nhi", "400 Bad Request", 400, false},
		{"a value with a zero", "POST / HTTP/1.1\r\nHost: h\r\nX-A: \x00\r\nContent-Length: 2\r\n\r\nhi", "400 Bad Request", 400, false},
		{"lines without CR", "POST / HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi", "POST / h 2 [] hi", 200, false},
		{"to be closed", "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", "POST / h 2 [] hi", 200, false},
		{"not taken", "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: Other\r\nContent-Length: 2\r\n\r\nhi", "POST / h 2 [] hi", 200, false},
		{"a long head", "POST / HTTP/1.1\r\nHost: h\r\nX-B: " + strings.Repeat("b", 5000) + "\r\nContent-Length: 2\r\n\r\nhi", "POST / h 2 [] hi", 200, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, echo)
				defer r.stop()
				for _, before := range []bool{false, true} { // alone, and behind a plain one
					for _, part := range []int{len(tt.sent), 1, 7} {
						if part < len(tt.sent) && len(tt.sent) > 10000 {
							continue
						}
						c := r.dial()
						in := bufio.NewReader(c)
						sent := tt.sent
						if before {
							sent = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n0" + sent
						}
						go func() {
							for len(sent) > 0 {
								n := min(part, len(sent))
								if _, err := io.WriteString(c, sent[:n]); err != nil {
									return // refused before its end
								}
								sent = sent[n:]
							}
						}()
						if before {
							if got := read(t, in); got.status != 200 || got.body != "POST / h 1 [] 0" || got.header.Get("Plain") != "yes" {
								t.Fatalf("plain request: %+v", got)
							}
						}
						got := read(t, in)
						if got.status != tt.status || got.body != tt.want && (tt.status == 200 || !strings.HasPrefix(got.body, tt.want)) {
							t.Errorf("in parts of %d: %d %q, want %d %q", part, got.status, got.body, tt.status, tt.want)
						}
						if here := got.header.Get("Plain") == "yes"; here != tt.plain {
							t.Errorf("in parts of %d: served here %t, want %t", part, here, tt.plain)
						}
						if tt.status == 200 && got.header.Get("Date") == "" {
							t.Error("no date")
						}
						_ = c.Close()
						synctest.Wait()
					}
				}
			})
		})
	}
}

// reply is an answer that was read whole.
type reply struct {
	status int
	header http.Header
	last   bool // the connection ends with it
	body   string
}

func read(t *testing.T, in *bufio.Reader) reply {
	t.Helper()
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // it was read
	return reply{resp.StatusCode, resp.Header, resp.Close, string(body)}
}

const plain = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"

// TestTimeouts has connections on which nothing comes, or not all of it.
func TestTimeouts(t *testing.T) {
	for _, tt := range []struct {
		name, sent string
		answers    int
		least      time.Duration
		most       time.Duration
	}{
		{"nothing", "", 0, headTimeout, headTimeout},
		{"half a head", "POST / HTTP/1.1\r\nHo", 0, headTimeout, headTimeout},
		{"nothing more", plain, 1, idleTimeout, idleTimeout * 5 / 4},
		{"half a second head", plain + "POST / HT", 1, headTimeout, headTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, echo)
				defer r.stop()
				c := r.dial()
				began := time.Now()
				if _, err := io.WriteString(c, tt.sent); err != nil {
					t.Fatal(err)
				}
				in := bufio.NewReader(c)
				for range tt.answers {
					read(t, in)
				}
				if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
					t.Errorf("then %q, %v", rest, err)
				}
				if took := time.Since(began); took < tt.least || took > tt.most {
					t.Errorf("cut after %v, want %v to %v", took, tt.least, tt.most)
				}
			})
		})
	}
}

// TestIdleConnectionsStay sends a request a minute for an hour.
func TestIdleConnectionsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, echo)
		defer r.stop()
		c := r.dial()
		in := bufio.NewReader(c)
		for range 60 {
			if _, err := io.WriteString(c, plain); err != nil {
				t.Fatal(err)
			}
			if got := read(t, in); got.body != "POST / h 2 [] hi" {
				t.Fatal(got.body)
			}
			time.Sleep(idleTimeout - time.Millisecond) // of the bubble
		}
	})
}

// TestAnswers has handlers that answer in unusual ways.
func TestAnswers(t *testing.T) {
	large := strings.Repeat("y", 100_000)
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
		status  int
		closed  bool
	}{
		{"nothing", func(http.ResponseWriter, *http.Request) {}, "", 200, false},
		{"a status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			w.WriteHeader(http.StatusOK)
		}, "", http.StatusTeapot, false},
		{"several writes", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "a")
			_, _ = io.WriteString(w, "b")
		}, "ab", 200, false},
		{"large", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = io.WriteString(w, large)
		}, large, 200, false},
		{"large, of unknown size", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, large) }, large, 200, false},
		{"to be closed", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }, "", 200, true},
		{"a line in a header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", "a\r\nY: b") }, "", 200, false},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", 0, true},
		{"panic", func(http.ResponseWriter, *http.Request) { panic("x") }, "", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.handler)
				defer r.stop()
				c := r.dial()
				if _, err := io.WriteString(c, plain); err != nil {
					t.Fatal(err)
				}
				in := bufio.NewReader(c)
				if tt.status != 0 {
					got := read(t, in)
					if got.status != tt.status || got.body != tt.want || got.last != tt.closed || got.header.Get("Y") != "" {
						t.Errorf("%d, %d bytes, close %t, %v", got.status, len(got.body), got.last, got.header)
					}
				}
				_ = c.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := in.ReadByte(); (err == io.EOF) != tt.closed {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

// TestUnreadBody refuses a request before its body has come: the answer arrives.
func TestUnreadBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
		defer r.stop()
		c := r.dial()
		go func() {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 100000))
		}()
		if got := read(t, bufio.NewReader(c)); got.status != http.StatusRequestEntityTooLarge || !got.last {
			t.Errorf("%d, close %t", got.status, got.last)
		}
	})
}

// TestShutdown stops with a connection of each kind: new, idle, and with a
// request under way, which is answered, or cut when the time is over.
func TestShutdown(t *testing.T) {
	for _, patient := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(_ http.ResponseWriter, req *http.Request) {
				if body, err := io.ReadAll(req.Body); err == nil && string(body) == "go" {
					time.Sleep(time.Minute) // of the bubble
				}
			})
			fresh, waiting, busy := r.dial(), r.dial(), r.dial()
			if _, err := io.WriteString(waiting, plain); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(waiting)
			read(t, in)
			if _, err := io.WriteString(busy, strings.TrimSuffix(plain, "hi")+"go"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if patient {
				ctx, cancel = context.WithCancel(t.Context())
			}
			defer cancel()
			stopped := make(chan error, 1)
			go func() { stopped <- r.plain.Shutdown(ctx) }()
			for _, c := range []io.Reader{fresh, in} {
				if _, err := io.ReadAll(c); err != nil {
					t.Error(err)
				}
			}
			began := time.Now()
			resp, err := http.ReadResponse(bufio.NewReader(busy), nil)
			if took := time.Since(began); patient && (err != nil || !resp.Close || took != time.Minute) {
				t.Errorf("the request under way: %v, after %v", err, took)
			} else if !patient && err == nil {
				t.Error("the request was answered after the time was over")
			}
			if err := <-stopped; (err == nil) != patient {
				t.Errorf("Shutdown: %v", err)
			}
			if resp != nil {
				_ = resp.Body.Close() // it is empty
			}
		})
	}
}

// TestAllocations bounds what a request costs beside its handler.
func TestAllocations(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Length"] = zero })
	c := r.dial()
	answer := make([]byte, 1000)
	request := []byte(plain)
	got := testing.AllocsPerRun(200, func() {
		if _, err := c.Write(request); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(answer); err != nil {
			t.Error(err)
		}
	})
	if got > 5 { // they are 3, the text of the head among them
		t.Errorf("%v allocations a request", got)
	}
}

var zero = []string{"0"}

func FuzzHead(f *testing.F) {
	f.Add("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n")
	f.Add("POST / HTTP/1.1\r\nhost:[::1]:1\r\nX-A: b\r\nx-a: c\r\nContent-Length: 02\r\nConnection: keep-alive\r\n\r\n")
	f.Add("POST / HTTP/1.1\r\nHost: h\r\n: b\r\nContent-Length: 2\r\nA\x7f: b\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		host, header, length, ok := plainhttp.ReadHead(text)
		if !ok {
			return
		}
		// What is taken for plain net/http reads, and in the same way.
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			t.Fatalf("taken for plain: %v", err)
		}
		if req.Host != host || req.ContentLength != length || req.Method != http.MethodPost || req.RequestURI != "/" || req.Close || len(req.TransferEncoding) > 0 {
			t.Errorf("host %q, length %d; net/http %q, %d, close %t, %q", host, length, req.Host, req.ContentLength, req.Close, req.TransferEncoding)
		}
		if fmt.Sprint(req.Header) != fmt.Sprint(header) {
			t.Errorf("headers %q; net/http %q", header, req.Header)
		}
	})
}
