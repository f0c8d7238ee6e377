package agent_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
)

// stopping is a sink whose keys are stopped by a failure. The test gives the results.
type stopping struct {
	*stream

	mu   sync.Mutex
	puts []stoppingPut
	log  []string // what was put and resumed, in order
}

type stoppingPut struct {
	first string
	n     int
	done  func(producer.BatchResult)
}

func (s *stopping) PutBatch(_ context.Context, recs []producer.UserRecord, done func(producer.BatchResult)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := strings.Join(strings.Fields(string(recs[0].Data))[:2], " ")
	s.puts = append(s.puts, stoppingPut{first: first, n: len(recs), done: done})
	s.log = append(s.log, "put "+first)
	return nil
}

func (s *stopping) ResumeKey(partitionKey, explicitHashKey string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf("resume %d %q", len(partitionKey), explicitHashKey))
	return true
}

// tell gives the result of the oldest put of the span that begins with a line: the
// records from good on have failed.
func (s *stopping) tell(t testing.TB, line, good int) {
	t.Helper()
	first := fmt.Sprintf("line %06d", line)
	s.mu.Lock()
	i := slices.IndexFunc(s.puts, func(p stoppingPut) bool { return p.first == first })
	if i < 0 {
		s.mu.Unlock()
		t.Fatalf("%q has not been put; log: %q", first, s.log)
	}
	p := s.puts[i]
	s.puts = slices.Delete(s.puts, i, i+1)
	s.mu.Unlock()
	res := producer.BatchResult{Records: p.n}
	for i := good; i < p.n; i++ {
		res.Failed = append(res.Failed, producer.FailedRecord{Index: i, Err: errRefused})
	}
	p.done(res)
}

// expect checks what the sink has been told since the last time.
func (s *stopping) expect(t testing.TB, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.log, want) {
		t.Errorf("the sink was told %q, want %q", s.log, want)
	}
	s.log = nil
}

// With order, what failed is not sent again, and its key not resumed, before all spans
// of the file that the sink has have come back: one of them would come after what was
// behind it. Those of another file do not matter.
func TestFailedSpansOfAFileGoInOrder(t *testing.T) {
	bubble(t, agent.FlowConfig{Ordering: agent.OrderingFile}, func(w *world) {
		sink := &stopping{stream: w.sink}
		w.wrap = func(*stream) agent.Sink { return sink }
		w.start()
		for range 3 { // spans that begin with the lines 1, 101 and 201
			w.lines("app.log", 100)
			w.settle(time.Minute)
		}
		sink.expect(w.t, "put line 000001", "put line 000101", "put line 000201")

		sink.tell(w.t, 1, 40)
		w.settle(time.Minute)
		w.lines("app.log", 100) // 301
		w.settle(time.Minute)
		sink.tell(w.t, 201, 0)
		w.settle(time.Minute)
		sink.expect(w.t)

		sink.tell(w.t, 101, 0)
		w.settle(time.Minute)
		sink.expect(w.t, `resume 16 ""`, "put line 000041", "put line 000101", "put line 000201", "put line 000301")

		// Once more; the first of another file is behind, as nothing new goes while
		// something is to be sent again.
		sink.tell(w.t, 41, 0)
		w.settle(time.Minute)
		sink.tell(w.t, 101, 0)
		sink.tell(w.t, 301, 0)
		sink.tell(w.t, 201, 0)
		w.lines("app.log.1", 100) // 401
		w.settle(time.Minute)
		sink.expect(w.t, `resume 16 ""`, "put line 000041", "put line 000101", "put line 000201", "put line 000301", "put line 000401")
		for _, line := range []int{401, 41, 101, 201, 301} {
			sink.tell(w.t, line, 100)
		}
		w.settle(time.Minute)
		if s := w.status(); s.AckedRecords != 500 || s.BehindBytes != 0 {
			w.t.Errorf("status %+v", s)
		}
		w.check(w.stop())
		sink.expect(w.t)
	})
}
