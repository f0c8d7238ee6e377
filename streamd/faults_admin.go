package streamd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/faults"
)

// maxFaultsBody bounds the rules of one request.
const maxFaultsBody = 1 << 20

// faultsHandler serves the rules at /faults of the admin address. Pages of other
// sites reach the address by the browser of whoever runs the server, so it takes
// nothing that a page can send without being asked first.
func (s *Server) faultsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", s.listFaults)
	mux.HandleFunc("GET /faults/{id}", s.getFault)
	mux.HandleFunc("POST /faults", s.addFaults)
	mux.HandleFunc("DELETE /faults", s.clearFaults)
	mux.HandleFunc("DELETE /faults/{id}", s.deleteFault)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", "GET, POST, DELETE")
		refuseFault(w, http.StatusMethodNotAllowed, fmt.Sprintf("%.20s %.100s is none of GET, POST and DELETE /faults, GET and DELETE /faults/ID", r.Method, r.URL.Path))
	})
	hostAllowed := func(string) bool { return true }
	if isLoopback(s.AdminAddr()) {
		hostAllowed = s.hostAllowed()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		switch {
		case !hostAllowed(r.Host):
			refuseFault(w, http.StatusForbidden, "the Host header names a host that this server is not known by; call it by 127.0.0.1, or start it with --allow-host")
		case origin != "" && origin != "http://"+r.Host:
			refuseFault(w, http.StatusForbidden, "pages of other origins may not use this; call it from a program, such as streamctl faults")
		case s.faults == nil:
			refuseFault(w, http.StatusNotFound, strings.TrimPrefix(ErrFaultsDisabled.Error(), "streamd: "))
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func (s *Server) listFaults(w http.ResponseWriter, _ *http.Request) {
	answerFaults(w, http.StatusOK, s.faults.List())
}

func (s *Server) getFault(w http.ResponseWriter, r *http.Request) {
	for _, st := range s.faults.List() {
		if st.ID == r.PathValue("id") {
			answerFaults(w, http.StatusOK, st)
			return
		}
	}
	noFault(w, r)
}

// addFaults adds one rule or a list of them, all or none, and answers with
// those.
func (s *Server) addFaults(w http.ResponseWriter, r *http.Request) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		refuseFault(w, http.StatusUnsupportedMediaType, "the rules must come as JSON; send Content-Type: application/json")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFaultsBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		refuseFault(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the rules have more than %d bytes; send fewer at once", maxFaultsBody))
		return
	}
	if err != nil {
		refuseFault(w, http.StatusBadRequest, "the rules did not arrive whole; send them again")
		return
	}
	rules, err := faults.Parse(body)
	var ids []string
	if err == nil {
		ids, err = s.faults.Add(rules...)
	}
	if err != nil {
		refuseFault(w, http.StatusBadRequest, err.Error())
		return
	}
	for i := range rules {
		rules[i].ID = ids[i]
	}
	answerFaults(w, http.StatusCreated, rules)
}

// clearFaults takes all rules away.
func (s *Server) clearFaults(w http.ResponseWriter, _ *http.Request) {
	answerFaults(w, http.StatusOK, map[string]int{"removed": s.faults.Clear()})
}

func (s *Server) deleteFault(w http.ResponseWriter, r *http.Request) {
	if !s.faults.Remove(r.PathValue("id")) {
		noFault(w, r)
		return
	}
	answerFaults(w, http.StatusOK, map[string]int{"removed": 1})
}

func noFault(w http.ResponseWriter, r *http.Request) {
	refuseFault(w, http.StatusNotFound, fmt.Sprintf("there is no rule %.80q; see those there are with GET /faults or streamctl faults list", r.PathValue("id")))
}

func refuseFault(w http.ResponseWriter, status int, text string) {
	answerFaults(w, status, map[string]string{"error": text})
}

func answerFaults(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the client has gone
}
