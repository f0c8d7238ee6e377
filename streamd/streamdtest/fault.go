package streamdtest

import (
	"testing"

	"github.com/streamkit/streamkit/streamd"
)

// Fault is a rule by which requests fail.
type Fault = streamd.Fault

// Fault has requests fail by a rule until remove is called, or the server
// stops: the server tries the rules in the order in which they were added. It
// fails the test if the rule cannot be. remove may be called more than once.
func (s *Server) Fault(t testing.TB, f Fault) (remove func()) {
	t.Helper()
	id, err := s.srv.AddFault(f)
	if err != nil {
		t.Fatalf("streamdtest: %v", err)
	}
	return func() { s.srv.RemoveFault(id) }
}

// Faults returns the rules that are there, and how often each was at work.
func (s *Server) Faults() []streamd.FaultStatus { return s.srv.Faults() }
