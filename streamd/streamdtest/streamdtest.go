// Package streamdtest starts a server of package streamd for a test, in memory
// and within milliseconds, and hands out clients of the AWS SDK for it.
//
//	srv := streamdtest.New(t)
//	srv.CreateStream(t, "orders", 4)
//	_, err := srv.Kinesis().PutRecord(t.Context(), …)
//
// The server stops when the test ends, and leaves no goroutine behind. Each
// test may have servers of its own: they share nothing, and tests may run in
// parallel.
//
// # Bubbles
//
// Client and server speak over a network inside the process, so that both may
// live in a bubble of testing/synctest: call New inside it. Waiting then takes
// no time, and a goroutine that the code under test leaves behind fails the
// test.
//
// [Listen] asks for a real loopback socket instead, for other processes to
// connect to; such a server must not be in a bubble.
//
// # Time
//
// A server has a clock. It goes as the time of the test does, real or fake, and
// [Server.Advance] moves it forward: records are trimmed, iterators expire, and
// streams become ACTIVE without waiting, outside of bubbles as well. The time of
// the code under test stays as it is. To move both, sleep in a bubble.
//
// # Waiting
//
// What the code under test does in the background is seen with
// [Server.WaitForRecords] and [Server.WaitForStream]. They return as soon as it
// is there, and fail the test with what is there if it does not come.
package streamdtest

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/memnet"
	"github.com/streamkit/streamkit/internal/sdkhttp"
	"github.com/streamkit/streamkit/streamd"
)

// Region is the region of the clients.
const Region = "us-east-1"

// memAddr is the address that a server on the network inside the process
// reports.
const memAddr = "127.0.0.1:4567"

// Option changes how a server is started.
type Option func(*options)

type options struct {
	cfg    streamd.Config
	listen bool
	limits string // empty leaves those of cfg
}

// Listen has the server listen on a free port of the loopback interface, for
// plain and for TLS connections: see [Server.HTTPSEndpoint].
func Listen() Option {
	return func(o *options) { o.listen = true }
}

// Dir has the server keep its data in a directory. A server started later on
// the same directory has it again.
func Dir(dir string) Option {
	return func(o *options) { o.cfg.DataDir = dir }
}

// TransitionDelay sets how long streams stay CREATING, UPDATING and DELETING,
// by the server's clock. Default 0, not at all.
func TransitionDelay(d time.Duration) Option {
	return func(o *options) { o.cfg.TransitionDelay = d }
}

// Limits has the server refuse what comes too fast, by its clock: "aws", or what
// else [streamd.ParseLimits] reads. Default off. [New] fails the test if it
// cannot be read.
func Limits(limits string) Option {
	return func(o *options) { o.limits = limits }
}

// Keys has the server verify signatures by these keys. The clients of the server
// sign with the first.
func Keys(keys ...streamd.Key) Option {
	return func(o *options) { o.cfg.Auth, o.cfg.Keys = "verify", keys }
}

// Logger takes the server's log. Default none.
func Logger(l *slog.Logger) Option {
	return func(o *options) { o.cfg.Logger = l }
}

// Config changes the server's configuration as it likes, after the other
// options that were given before it.
func Config(change func(*streamd.Config)) Option {
	return func(o *options) { change(&o.cfg) }
}

// Server is a running server. It is safe for concurrent use.
type Server struct {
	srv   *streamd.Server
	http  *http.Client
	creds aws.CredentialsProvider
	close func() error
}

// New starts a server that stops when the test ends. It fails the test if the
// server cannot start, or does not stop cleanly.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	o := options{cfg: streamd.Config{Admin: streamd.AdminOff, EnableFaults: true, Logger: slog.New(slog.DiscardHandler)}}
	for _, opt := range opts {
		opt(&o)
	}
	if o.limits != "" {
		var err error
		if o.cfg.Limits, err = streamd.ParseLimits(o.limits); err != nil {
			t.Fatalf("streamdtest: %v", err)
		}
	}
	s := &Server{http: sdkhttp.Client(), creds: credentialsOf(o.cfg)}
	if o.listen {
		o.cfg.Listen = "127.0.0.1:0"
	} else {
		ln := memnet.Listen(memAddr)
		o.cfg.Listener = ln
		if o.cfg.TLS == "" {
			o.cfg.TLS = streamd.TLSOff // nobody could connect so: spare the keys
		}
		s.http.Transport = sdkhttp.Wrap(memTransport(ln))
	}
	srv, err := streamd.New(o.cfg)
	if err != nil {
		t.Fatalf("streamdtest: %v", err)
	}
	s.srv = srv
	// Not t.Context(): it ends before the clean-up functions of the test, which
	// may still need the server.
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1) // its sender must not wait
	go func() { done <- srv.Run(ctx) }()
	s.close = sync.OnceValue(func() error {
		s.http.CloseIdleConnections()
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("streamdtest: stop the server: %v", err)
		}
	})
	return s
}

func memTransport(ln *memnet.Listener) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return ln.Dial(ctx, network, addr)
		},
		MaxIdleConnsPerHost: 64,
		DisableCompression:  true,
	}
}

// Close stops the server before the test ends. It may be called more than
// once.
func (s *Server) Close() error { return s.close() }

// Endpoint returns the URL of the AWS APIs. Only with [Listen] can it be
// reached by other means than the clients of s.
func (s *Server) Endpoint() string { return s.srv.Endpoint() }

// AdminAddr returns the address of metrics, health and faults. It is empty unless
// [Config] sets one.
func (s *Server) AdminAddr() string { return s.srv.AdminAddr() }

// HTTPSEndpoint returns the URL of the AWS APIs over TLS, which clients reach
// that trust [Server.CertPool]. It is empty without [Listen].
func (s *Server) HTTPSEndpoint() string { return s.srv.HTTPSEndpoint() }

// CertPool returns what a client of [Server.HTTPSEndpoint] must trust. It is
// nil without [Listen].
func (s *Server) CertPool() *x509.CertPool {
	ca := s.srv.CACertificate()
	if ca == nil {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return pool
}

// HTTPClient returns the HTTP client that the clients of s use. It reaches
// [Server.Endpoint].
func (s *Server) HTTPClient() *http.Client { return s.http }

// SetKeys replaces the keys of a server that was started with [Keys]. It fails
// the test if they cannot be. The server's clients go on signing with the key
// that was the first at the start.
func (s *Server) SetKeys(t testing.TB, keys ...streamd.Key) {
	t.Helper()
	if err := s.srv.SetKeys(keys); err != nil {
		t.Fatalf("streamdtest: %v", err)
	}
}

// Kinesis returns a client of the Kinesis API. Options are applied to it last.
func (s *Server) Kinesis(opts ...func(*kinesis.Options)) *kinesis.Client {
	return kinesis.New(kinesis.Options{
		Region:       Region,
		Credentials:  s.creds,
		BaseEndpoint: aws.String(s.Endpoint()),
		HTTPClient:   s.http,
	}, opts...)
}

// DynamoDB returns a client of the DynamoDB API. Options are applied to it
// last.
func (s *Server) DynamoDB(opts ...func(*dynamodb.Options)) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region:       Region,
		Credentials:  s.creds,
		BaseEndpoint: aws.String(s.Endpoint()),
		HTTPClient:   s.http,
	}, opts...)
}

// credentialsOf returns the first key that the server takes, or any if it takes
// all.
func credentialsOf(cfg streamd.Config) aws.CredentialsProvider {
	if len(cfg.Keys) > 0 {
		k := cfg.Keys[0]
		return credentials.NewStaticCredentialsProvider(k.ID, k.Secret, k.Token)
	}
	return credentials.NewStaticCredentialsProvider("test", "test", "")
}

// Advance moves the server's clock forward: transitions, retention and the
// expiry of iterators happen at once, without waiting. The clocks of the test
// and of its clients stay as they are.
func (s *Server) Advance(d time.Duration) { s.srv.Advance(d) }

// CreateStream creates a stream, and waits until it is ACTIVE unless the
// server has a [TransitionDelay].
func (s *Server) CreateStream(t testing.TB, name string, shards int) {
	t.Helper()
	_, err := s.Kinesis().CreateStream(t.Context(), &kinesis.CreateStreamInput{
		StreamName: aws.String(name), ShardCount: aws.Int32(int32(shards)),
	})
	if err != nil {
		t.Fatalf("streamdtest: create stream %s: %v", name, err)
	}
}

// Records reads all records of a stream that are there, shard by shard, parents
// before children, each shard's in their order. [Server.WaitForRecords] waits
// for those that are still to come.
func (s *Server) Records(t testing.TB, stream string) []types.Record {
	t.Helper()
	r := &reader{client: s.Kinesis(), stream: stream}
	if err := r.advance(t.Context()); err != nil {
		t.Fatalf("streamdtest: %v", err)
	}
	return r.records()
}
