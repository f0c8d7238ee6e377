package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/streamkit/streamkit/agent"
)

// noSocket is the value of --socket that asks for none.
const noSocket = "none"

// blockedLimit is how long a stream may refuse records, or be silent, before the
// agent is not ready any more.
const blockedLimit = 60 * time.Second

// notReady says why an agent is not ready; empty if it is.
func notReady(s *agent.Status) string {
	for i := range s.Flows {
		switch f := &s.Flows[i]; {
		case f.Blocked > blockedLimit.Seconds():
			return fmt.Sprintf("flow %s is blocked for %.0f seconds: %s", f.ID, f.Blocked, f.LastError)
		case f.Stalled > blockedLimit.Seconds():
			return fmt.Sprintf("flow %s is stalled: its stream has acknowledged nothing for %.0f seconds; the log says what the producer has met",
				f.ID, f.Stalled)
		}
	}
	return ""
}

// serve serves what the agent does on its socket, and on an address if one is
// given, until stop is called.
func (a *app) serve(ctx context.Context, cfg *agent.Config, ag *agent.Agent, log *slog.Logger) (stop func(), err error) {
	var listeners []net.Listener
	closeAll := func() {
		for _, ln := range listeners {
			_ = ln.Close() // nothing was served
		}
	}
	if path := a.socketPath(cfg); path != noSocket {
		ln, err := listenSocket(ctx, path)
		switch {
		case err == nil:
			listeners = append(listeners, ln)
			log.Info("status", slog.String("socket", path))
		case a.socket != "":
			return nil, fmt.Errorf("cannot listen on --socket: %w; name another path, or \"none\"", err)
		default:
			log.Warn("no status socket; name another place with --socket", slog.Any("err", err))
		}
	}
	if a.statusAddr != "" {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", a.statusAddr)
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("cannot listen on --status-addr: %w; name another address", err)
		}
		listeners = append(listeners, ln)
		log.Info("status", slog.String("url", "http://"+ln.Addr().String()+"/status"))
	}
	srv := &http.Server{
		Handler: a.handler(ag), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	var serving sync.WaitGroup
	for _, ln := range listeners {
		serving.Go(func() {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				log.Error("the status server ended", slog.Any("err", err))
			}
		})
	}
	return func() {
		_ = srv.Close() // open requests are of no use any more
		serving.Wait()
	}, nil
}

// listenSocket listens on a unix socket. One that nobody listens on any more is
// what a killed agent has left.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if fi, err := os.Lstat(path); err == nil && fi.Mode()&fs.ModeSocket != 0 {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			_ = conn.Close() // it was only to see whether somebody answers
			return nil, fmt.Errorf("%s is in use by another process", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "unix", path)
}

func (a *app) handler(ag *agent.Agent) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(agent.NewCollector(ag), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, ag.Status()) })
	mux.HandleFunc("GET /checkpoints", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, ag.Checkpoints()) })
	mux.HandleFunc("GET /drained", func(w http.ResponseWriter, r *http.Request) {
		d, err := ag.Delivery(r.URL.Query().Get("path"))
		if err != nil {
			code := http.StatusInternalServerError
			if errors.Is(err, agent.ErrNoFlow) || errors.Is(err, fs.ErrNotExist) {
				code = http.StatusNotFound
			}
			http.Error(w, err.Error(), code)
			return
		}
		writeJSON(w, d)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n") // the client is gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := ag.Status()
		if why := notReady(&s); why != "" {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n") // the client is gone
	})
	if a.pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the client is gone
}
