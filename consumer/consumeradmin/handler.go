// Package consumeradmin shows over HTTP how a consumer fares: as JSON for people
// and programs, and as a health check for what restarts processes.
//
//	h, err := consumeradmin.New(c, consumeradmin.Config{})
//	…
//	go http.ListenAndServe("127.0.0.1:8080", h)
//
// It only tells, and changes nothing. It has no authentication: bind it to where
// only those can reach it who may know names of workers and shards. It shows no
// records, partition keys or credentials.
//
// # Paths
//
//	GET /shards       the shards that this worker reads, each with its health
//	GET /healthz      200 if all is well, else 503 and what is wrong; plain text
//	GET /leases       all leases of the application, as they are stored now
//	GET /why          why each shard is read by a worker, or by none
//	GET /why?shard=ID the same of one shard; with several streams, ID is the lease's key
//
// /shards and /healthz make no requests, /leases and /why list the leases, and
// /why the stream's shards. Durations are in seconds. Errors are JSON with the
// field "error".
package consumeradmin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

// Source is a [consumer.Consumer], or what knows the same.
type Source interface {
	WorkerID() string
	Stats() consumer.Stats
	Health(limit time.Duration) consumer.Health
	Lag() []consumer.ShardLag
	Leases(ctx context.Context) ([]consumer.Lease, error)
	Why(ctx context.Context, shard string) (consumer.Why, error)
	WhyAll(ctx context.Context) ([]consumer.Why, error)
}

var _ Source = (*consumer.Consumer)(nil)

// Config holds the optional settings of a [Handler]. The zero Config is valid.
type Config struct {
	// MaxNoProgress is for how long nothing may move in a shard while records
	// wait, see [consumer.Consumer.Health]. Default 5m; at least 10s.
	MaxNoProgress time.Duration

	// RequestTimeout bounds what one request asks of the lease store and the
	// stream. Default 30s; at least 1s.
	RequestTimeout time.Duration
}

// Handler is the [http.Handler]. It is safe for concurrent use.
type Handler struct {
	source Source
	cfg    Config
	mux    *http.ServeMux
}

// New returns a handler for one worker. To mount it below a path, use
// [http.StripPrefix].
func New(source Source, cfg Config) (*Handler, error) {
	cfg.MaxNoProgress = cmp.Or(cfg.MaxNoProgress, 5*time.Minute)
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, 30*time.Second)
	var errs []error
	if source == nil {
		errs = append(errs, errors.New("source must not be nil"))
	}
	if cfg.MaxNoProgress < 10*time.Second {
		errs = append(errs, fmt.Errorf("MaxNoProgress %v is less than 10s", cfg.MaxNoProgress))
	}
	if cfg.RequestTimeout < time.Second {
		errs = append(errs, fmt.Errorf("RequestTimeout %v is less than 1s", cfg.RequestTimeout))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("consumeradmin: config: %w", err)
	}
	h := &Handler{source: source, cfg: cfg, mux: http.NewServeMux()}
	h.handle("/shards", nil, h.shards)
	h.handle("/leases", nil, h.leases)
	h.handle("/why", []string{"shard"}, h.why)
	h.handle("/healthz", nil, nil)
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Sprintf("there is no %s here: ask for /shards, /healthz, /leases or /why", r.URL.Path))
	})
	return h, nil
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// requestError is an error of who asks.
type requestError struct {
	status int
	text   string
}

func (e *requestError) Error() string { return e.text }

// handle answers GET and HEAD of a path with what f returns, as JSON, after a
// look at the query. Without f it is the health check.
func (h *Handler) handle(path string, params []string, f func(context.Context, url.Values) (any, error)) {
	h.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			fail(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s takes GET and HEAD, not %s: it only tells, and changes nothing", path, r.Method))
			return
		}
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			fail(w, http.StatusBadRequest, fmt.Sprintf("the query %q cannot be read: %v", r.URL.RawQuery, err))
			return
		}
		for name, values := range query {
			if !slices.Contains(params, name) {
				fail(w, http.StatusBadRequest, fmt.Sprintf("%s does not know the parameter %q%s", path, name, known(params)))
				return
			}
			if len(values) > 1 {
				fail(w, http.StatusBadRequest, fmt.Sprintf("the parameter %q is given %d times: give it once", name, len(values)))
				return
			}
		}
		if f == nil {
			h.healthz(w)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), h.cfg.RequestTimeout)
		defer cancel()
		v, err := f(ctx, query)
		if bad, ok := errors.AsType[*requestError](err); ok {
			fail(w, bad.status, bad.text)
			return
		}
		if err != nil {
			fail(w, http.StatusBadGateway, err.Error())
			return
		}
		write(w, http.StatusOK, v)
	})
}

func known(params []string) string {
	if len(params) == 0 {
		return ": it takes none"
	}
	return ": it takes " + strings.Join(params, ", ")
}

func fail(w http.ResponseWriter, status int, text string) {
	write(w, status, map[string]string{"error": text})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // whoever asked has gone
}

// healthz answers without a request of its own, so that it cannot be held up.
func (h *Handler) healthz(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	health := h.source.Health(h.cfg.MaxNoProgress)
	text := new(strings.Builder)
	if !health.Running {
		text.WriteString("the consumer does not run\n")
	}
	for _, p := range health.Problems {
		text.WriteString(about(p) + p.Text + "\n")
	}
	if health.OK() {
		text.WriteString("ok\n")
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = io.WriteString(w, text.String()) // whoever asked has gone
}
