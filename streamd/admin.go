package streamd

import (
	"fmt"
	"io"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"strings"
	"time"
)

// adminHandler serves those who run the server.
func (s *Server) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics.handler())
	mux.HandleFunc("GET /healthz", healthy)
	mux.HandleFunc("GET /healthcheck", healthy) // where other emulators have it
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("POST "+snapshotPath, s.snapshot)
	faults := s.faultsHandler()
	mux.Handle("/faults", faults)
	mux.Handle("/faults/", faults)
	if ca := s.CACertificate(); ca != nil {
		mux.HandleFunc("GET /ca.pem", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-pem-file")
			_, _ = w.Write(ca) // the client has gone
		})
	}
	if s.set.Pprof {
		mux.HandleFunc("GET /debug/pprof/{profile}", profile)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") != "" || r.Method == http.MethodPost && r.URL.Path == "/" {
			s.strayed(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// strayed answers a request of an AWS client that came to the wrong port.
func (s *Server) strayed(w http.ResponseWriter, r *http.Request) {
	ctype := r.Header.Get("Content-Type")
	if !strings.HasPrefix(ctype, "application/x-amz-json-") {
		ctype = "application/x-amz-json-1.1"
	}
	w.Header().Set("Content-Type", ctype)
	w.WriteHeader(http.StatusBadRequest)
	_, _ = fmt.Fprintf(w, `{"__type":"UnknownOperationException","message":"This is the admin port of streamd. The AWS APIs are at %s: set the client's endpoint to it."}`, s.Endpoint())
}

func healthy(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "ok\n")
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case s.store.Err() != nil:
		http.Error(w, "the journal has failed: see the server's log, and restart it", http.StatusServiceUnavailable)
	case !s.serving.Load():
		http.Error(w, "starting or shutting down", http.StatusServiceUnavailable)
	case s.store.Waiting() >= slowDisk:
		http.Error(w, fmt.Sprintf("the disk of the data directory has taken no write for %v", s.store.Waiting().Round(time.Second)), http.StatusServiceUnavailable)
	default:
		_, _ = io.WriteString(w, "ready\n")
	}
}

// slowDisk is how long a write may wait before the server says that it is not
// ready.
const slowDisk = 10 * time.Second

// maxProfile bounds how long one request profiles.
const maxProfile = time.Minute

// profile writes a runtime profile. net/http/pprof is not used because it adds
// itself to the default mux of every program that links it.
func profile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("profile")
	w.Header().Set("Content-Type", "application/octet-stream")
	switch name {
	case "profile", "trace":
		start, stop := pprof.StartCPUProfile, pprof.StopCPUProfile
		if name == "trace" {
			start, stop = trace.Start, trace.Stop
		}
		seconds, err := strconv.ParseFloat(r.FormValue("seconds"), 64)
		if err != nil || seconds <= 0 {
			seconds = 5
		}
		if err := start(w); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		defer stop()
		select {
		case <-time.After(min(time.Duration(seconds*float64(time.Second)), maxProfile)):
		case <-r.Context().Done():
		}
	default:
		p := pprof.Lookup(name)
		if p == nil {
			http.NotFound(w, r)
			return
		}
		debug, _ := strconv.Atoi(r.FormValue("debug"))
		_ = p.WriteTo(w, debug) // the client has gone
	}
}
