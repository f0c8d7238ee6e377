// Package sdkhttp makes the HTTP client that the AWS SDK's clients should use.
package sdkhttp

import (
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Client returns an HTTP client for the SDK's clients of Kinesis and DynamoDB,
// with a connection pool of its own. It is safe for concurrent use.
//
// It differs from the SDK's default in four points.
//
// It keeps connections whole under a fast server. The SDK closes the request
// body as soon as the answer's headers arrive, and the body that it hands to
// net/http has a WriteTo method that then returns io.EOF as an error. When
// net/http has sent the last byte it looks, through that method, whether the
// body holds more than announced. If the server answered in between, net/http
// takes the error for a failed write and drops the connection in the middle of
// the answer. Client hands net/http a body without WriteTo, whose Read reports
// the end in the ordinary way.
//
// It speaks HTTP/1.1 over several connections, also where the server offers
// HTTP/2: for bulk transfer one HTTP/2 connection costs two to four times as
// much. Only SubscribeToShard, which needs it, may use HTTP/2.
//
// It keeps 256 idle connections to a host, not 10: as many as a producer may
// have requests in flight, so that a full set of them does not open new ones in
// each round.
//
// It sends bodies in pieces of 64 KiB out of memory that is used again. net/http
// would take 32 KiB of new memory for each request.
//
// Timeouts are the caller's: every request is bounded by its context, and one
// that is cut off takes its connection with it, so that no late answer is taken
// for the next one's. A redirect is returned as it is, not followed.
func Client() *http.Client { return ClientWithin(connectTimeout) }

// ClientWithin is [Client] with a bound of its own, in place of 6s, on the making of a
// connection, and then on its TLS handshake. connect must be more than 0.
func ClientWithin(connect time.Duration) *http.Client {
	return &http.Client{
		Transport: &transport{
			bulk:      newTransport(false, connect),
			streaming: newTransport(true, connect),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// Wrap returns a round tripper that hands each request's body to next in the
// way that [Client] explains. Tests use it with a transport over an in-memory
// network.
func Wrap(next http.RoundTripper) http.RoundTripper {
	return &transport{bulk: next, streaming: next}
}

// maxIdle is the greatest number of requests that a producer has in flight.
const maxIdle = 256

// connectTimeout is that of [Client].
const connectTimeout = 6 * time.Second

func newTransport(http2 bool, connect time.Duration) *http.Transport {
	d := &dialer{net.Dialer{Timeout: connect, KeepAlive: 30 * time.Second}}
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(http2)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           d.dial,
		Protocols:             p,
		MaxIdleConns:          2 * maxIdle,
		MaxIdleConnsPerHost:   maxIdle,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   connect,
		ExpectContinueTimeout: time.Second,
		// The SDK asks for the encodings that it can check; net/http must not
		// add one of its own.
		DisableCompression: true,
	}
}

type transport struct {
	bulk      http.RoundTripper
	streaming http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	next := t.bulk
	if isSubscribe(req) {
		next = t.streaming
	}
	if req.Body != nil && req.Body != http.NoBody {
		// A copy, because a round tripper must leave the request alone.
		plain := *req
		plain.Body = plainBody{req.Body}
		if get := req.GetBody; get != nil {
			plain.GetBody = func() (io.ReadCloser, error) {
				body, err := get()
				if err != nil {
					return nil, err
				}
				return plainBody{body}, nil
			}
		}
		req = &plain
	}
	return next.RoundTrip(req)
}

// CloseIdleConnections closes the connections that wait for a request. The
// method of [http.Client] calls it.
func (t *transport) CloseIdleConnections() {
	for _, rt := range []http.RoundTripper{t.bulk, t.streaming} {
		if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// isSubscribe knows the operation by its header in JSON, by its path in the
// SDK's newer CBOR protocol.
func isSubscribe(req *http.Request) bool {
	return strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".SubscribeToShard") ||
		strings.HasSuffix(req.URL.Path, "/operation/SubscribeToShard")
}

// plainBody has the two methods of its interface and no other.
type plainBody struct{ io.ReadCloser }
