package streamd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/certs"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/faults"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/plainhttp"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

var (
	// ErrCorrupt is wrapped by the error of [New] when the data directory holds
	// damaged data. Nothing was changed.
	ErrCorrupt = errors.New("streamd: data directory is damaged")

	// ErrStoreFailed is wrapped by the error of [Server.Run] when the disk
	// refused a write. What is stored is found out by starting again.
	ErrStoreFailed = errors.New("streamd: the journal has failed")
)

// Limits of connections.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 16 << 10

	// maxStreams is how many requests one connection of HTTP/2 may have under
	// way. A client of fan-out sets no limit of its own, and holds one for each
	// shard: the library's 250 are too few.
	maxStreams = 1000

	// pingAfter and pingTimeout find peers of HTTP/2 that have gone without a
	// word. One that is stopped in a debugger should not be taken for such.
	pingAfter   = time.Minute
	pingTimeout = time.Minute
)

// Server is a server that has been opened. It is safe for concurrent use.
type Server struct {
	set     settings
	log     *slog.Logger
	clock   *clock.Clock
	store   *store.Store
	metrics *metrics
	faults  *faults.Set // nil if they are disabled
	keys    *keyring    // nil unless signatures are verified
	serving atomic.Bool

	listener net.Listener  // of the AWS APIs
	admin    net.Listener  // nil if there is none
	certs    *certs.Source // nil if TLS is off
	recorder *recorder     // nil if nothing is captured

	closeOnce sync.Once
	closeErr  error
}

// New opens the data directory, recovers what it holds, takes the addresses
// and creates the streams of cfg. The caller must call Run, which closes the
// server at its end, or Close. Errors are for the operator, and say what to do.
func New(cfg Config) (_ *Server, err error) {
	set, err := cfg.check()
	if err != nil {
		return nil, err
	}
	s := &Server{set: set, log: set.Logger, clock: new(clock.Clock), metrics: newMetrics(set.Version)}
	defer func() {
		if err != nil {
			_ = s.Close() // err says more
		}
	}()
	if set.auth == awsproto.AuthVerify {
		s.keys = newKeyring(set.Keys)
	}
	if err = s.openFaults(); err != nil {
		return nil, err
	}
	if s.listener = cfg.Listener; s.listener == nil {
		if s.listener, err = listen("listen", set.Listen); err != nil {
			return nil, err
		}
	}
	s.listener = s.bounded(s.listener) // below TLS, whose handshakes count
	if set.Admin != AdminOff {
		if s.admin, err = listen("admin", set.Admin); err != nil {
			return nil, err
		}
	}
	s.store, err = store.Open(store.Options{
		Dir: set.DataDir, Fsync: set.fsync, RingFiles: set.ring.files, RingBytes: set.ring.bytes, MaxBytes: set.MaxDisk,
		Clock: s.clock, Logger: s.log, Synced: s.metrics.synced,
	})
	if err != nil {
		return nil, corrupt(err)
	}
	s.metrics.watch(s.store)
	// The store holds the lock of the data directory, where certificates are.
	if err := s.openTLS(); err != nil {
		return nil, err
	}
	if err := s.create(set.Create); err != nil {
		return nil, err
	}
	if err := s.openCapture(); err != nil {
		return nil, err
	}
	return s, nil
}

// corrupt makes an error that says that data is damaged one of [ErrCorrupt].
func corrupt(err error) error {
	if _, ok := errors.AsType[*journal.CorruptError](err); ok || errors.Is(err, store.ErrDamaged) || errors.Is(err, runs.ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// listen takes an address. what is the name of its flag.
func listen(what, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(addr)
		return nil, fmt.Errorf("port %s is in use by another program (%s address %s); stop it, or choose another address with --%s", port, what, addr, what)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; choose another address with --%s", addr, err, what)
	}
	return ln, nil
}

// create makes the streams that the configuration asks for.
func (s *Server) create(specs []StreamSpec) error {
	for _, spec := range specs {
		region := spec.Region
		if region == "" {
			region = awsproto.DefaultRegion
		}
		_, err := s.store.Command(context.Background(), state.CreateStream{
			Key:        state.StreamKey{Scope: arn.Scope{Account: awsproto.DefaultAccount, Region: region}, Name: spec.Name},
			ShardCount: spec.Shards, Mode: state.Provisioned, MaxRecordBytes: 1 << 20,
		})
		if e, ok := errors.AsType[*awserr.Error](err); ok && e.Code == "ResourceInUseException" {
			continue // it exists
		}
		if err != nil {
			return fmt.Errorf("create stream %s: %w", spec.Name, err)
		}
	}
	return nil
}

// Addr returns the address that the AWS APIs are listened for on, as it is:
// [::]:4567 is every address of the machine.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// AdminAddr returns the address of the admin listener, empty if there is none.
func (s *Server) AdminAddr() string {
	if s.admin == nil {
		return ""
	}
	return s.admin.Addr().String()
}

// AdminEndpoint returns the URL of the admin listener on this machine, as
// [Server.Endpoint] does; empty if there is none.
func (s *Server) AdminEndpoint() string {
	if s.admin == nil {
		return ""
	}
	return "http://" + reached(s.admin.Addr())
}

// Endpoint returns the URL that clients of the AWS APIs need on this machine:
// where the server listens on all addresses, that of loopback.
func (s *Server) Endpoint() string { return "http://" + reached(s.listener.Addr()) }

// reached returns the host and port by which a client on this machine reaches
// an address that is listened on. No client can call 0.0.0.0 or [::]
// everywhere, and no certificate is for them.
func reached(addr net.Addr) string {
	if a, ok := addr.(*net.TCPAddr); ok && a.IP.IsUnspecified() {
		// Both are IPv4 as well: net listens on [::] for both protocols.
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
	}
	return addr.String()
}

// Advance moves the server's clock forward by d, and carries out what comes
// due on the way: transitions of streams, retention, expiry of iterators. It is
// for tests.
func (s *Server) Advance(d time.Duration) { s.clock.Advance(d) }

// Handler returns the handler of the AWS APIs.
func (s *Server) handler() *awsproto.Handler {
	opsConfig := api.Config{
		TransitionDelay: s.set.TransitionDelay, Meter: s.metrics.stream,
		SubscriptionLife: s.set.SubscriptionLife, AdmitAnswer: awsproto.AdmitAnswer,
	}
	cfg := awsproto.Config{
		CORSOrigins: s.set.CORSOrigins, AnswerBytes: s.set.AnswerMemory,
		Observe: s.observe,
		Logger:  s.log,
	}
	// From the inside out: who may not ask is refused before faults, and they
	// come before anything is counted.
	s.limit(&opsConfig)
	s.inject(&opsConfig)
	s.protect(&opsConfig, &cfg)
	ops := api.New(s.store, opsConfig)
	cfg.Operations = ops.Operations()
	cfg.Table = func(ctx context.Context, scope arn.Scope, op string, body []byte) (awsproto.TableResponse, error) {
		return ops.Table(ctx, scope, op, body)
	}
	s.injectTables(&cfg)
	if s.set.loopback {
		cfg.HostAllowed = s.hostAllowed()
	}
	h := awsproto.NewHandler(cfg)
	s.metrics.answers.Store(h)
	return h
}

// observe is told of each request that was answered.
func (s *Server) observe(e awsproto.Exchange) {
	s.metrics.observe(&e)
	if s.set.RequestLog != nil {
		logRequest(s.set.RequestLog, &e)
	}
}

// hostAllowed returns the check of Host headers: the names under which this
// machine is known to itself. A web page that has its own name point here sends
// its own name.
func (s *Server) hostAllowed() func(string) bool {
	names := map[string]bool{"localhost": true, "host.docker.internal": true}
	if name, err := os.Hostname(); err == nil {
		names[strings.ToLower(name)] = true
	}
	for _, name := range slices.Concat(s.set.AllowHosts, s.set.TLSNames) {
		names[strings.ToLower(name)] = true
	}
	return func(host string) bool {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.ToLower(strings.Trim(host, "[]"))
		_, parent, _ := strings.Cut(host, ".")
		return names[host] || names["*."+parent] || strings.HasSuffix(host, ".localhost") || isLoopback(net.JoinHostPort(host, "0"))
	}
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// plain returns the listener that serves the plain requests of HTTP/1.1 itself
// and leaves the others to srv.
func (s *Server) plain(srv *http.Server) *plainhttp.Listener {
	return plainhttp.Listen(s.listener, plainhttp.Config{
		Handler: srv.Handler, HeadTimeout: srv.ReadHeaderTimeout, IdleTimeout: srv.IdleTimeout,
		ConnState: s.metrics.connection, Logger: s.log,
		Takes: func(r *http.Request) bool {
			// What waits must learn that its client has gone: subscriptions, and
			// whatever a fault holds up.
			return s.faults == nil && !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".SubscribeToShard")
		},
	})
}

// Run serves until ctx ends. It then stops accepting, finishes the requests
// under way within Config.ShutdownTimeout, and closes the server. It returns
// nil after a clean stop. Run may be called once.
func (s *Server) Run(ctx context.Context) error {
	handler := s.handler()
	main := s.httpServer(s.recorder.wrap(handler))
	main.RegisterOnShutdown(handler.EndEvents)
	main.ConnState = func(c net.Conn, to http.ConnState) {
		if to != http.StateNew || !plainhttp.Known(c) {
			s.metrics.connection(c, to)
		}
	}
	main.Protocols = new(http.Protocols)
	main.Protocols.SetHTTP1(true)
	main.Protocols.SetHTTP2(true)
	main.Protocols.SetUnencryptedHTTP2(true) // over TLS as well: see package sniff
	main.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: pingTimeout}
	servers := []*http.Server{main}
	failed := make(chan error, 2) // one for each server, so that none blocks
	var serving sync.WaitGroup
	serve := func(srv *http.Server, ln net.Listener) {
		serving.Go(func() {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", ln.Addr(), err)
			}
		})
	}
	plain := s.plain(main)
	serve(main, plain)
	if s.admin != nil {
		admin := s.httpServer(s.adminHandler())
		servers = append(servers, admin)
		serve(admin, s.admin)
	}
	s.serving.Store(true)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	case <-s.store.Failed():
		err = fmt.Errorf("%w: %w; start the server again once the disk is well", ErrStoreFailed, s.store.Err())
	}
	s.serving.Store(false)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.set.ShutdownTimeout)
	defer cancel()
	for _, srv := range servers {
		if stop := srv.Shutdown(limit); stop != nil {
			s.log.Warn("requests were cut off at shutdown", slog.Any("err", stop))
			_ = srv.Close() // closes what Shutdown has left
		}
	}
	if stop := plain.Shutdown(limit); stop != nil {
		s.log.Warn("requests were cut off at shutdown", slog.Any("err", stop))
	}
	serving.Wait()
	return errors.Join(err, s.Close())
}

// Close frees what a Server holds that is not running. Run calls it.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		var errs []error
		for _, ln := range []net.Listener{s.listener, s.admin} {
			if ln == nil {
				continue
			}
			if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
		s.recorder.close()
		if s.store != nil {
			errs = append(errs, s.store.Close())
		}
		s.clock.Close()
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}
