package agent_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
)

// storedAfter is how long after their acknowledgement lines may be sent again because of a
// kill: the agent stores its positions that often.
const storedAfter = time.Second

// A ledger remembers what flows have sent, what was acknowledged, and hence what may be
// sent again.
type ledger struct {
	mu     sync.Mutex // guards what follows, and the lives
	lives  []*life    // of flows that have not ended, the oldest first
	acked  map[string]bool
	stored map[string]time.Time // lines that no position may be before any more, and since when
	again  []string             // lines that were sent again and might not be
}

// A life is that of one flow, from its start to its end, as its sink sees it.
type life struct {
	agent.Sink
	ledger *ledger
	faults *faults
	began  time.Time
	puts   map[string][][]string // by partition key, and with it by file, the batches in their order
	lines  map[string]fate       // that were put
}

type fate struct {
	acked   time.Time // zero: it is not
	refused bool      // it is to be put again
}

// open begins the life of a flow that has opened a sink.
func (g *ledger) open(sink *stream, faults *faults) agent.Sink {
	l := &life{Sink: sink, ledger: g, faults: faults, began: time.Now(), puts: make(map[string][][]string), lines: make(map[string]fate)}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lives = append(g.lives, l)
	return l
}

func (l *life) PutBatch(ctx context.Context, recs []producer.UserRecord, done func(producer.BatchResult)) error {
	lines := make([]string, len(recs))
	for i, r := range recs {
		lines[i] = string(r.Data)
	}
	if err := l.faults.call(ctx); err != nil {
		return err
	}
	l.put(recs[0].PartitionKey, lines)
	return l.Sink.PutBatch(ctx, recs, func(res producer.BatchResult) {
		l.faults.process.later(func() {
			l.result(lines, res)
			done(res)
		})
	})
}

// ResumeKey implements [agent.KeyResumer].
func (l *life) ResumeKey(partitionKey, explicitHashKey string) bool {
	return l.Sink.(agent.KeyResumer).ResumeKey(partitionKey, explicitHashKey)
}

func (l *life) put(key string, lines []string) {
	g := l.ledger
	g.mu.Lock()
	defer g.mu.Unlock()
	first := false
	for _, line := range lines {
		f, ok := l.lines[line]
		if ok && !f.refused {
			g.again = append(g.again, line)
		}
		first = first || !ok
		f.refused = false
		l.lines[line] = f
	}
	if first {
		l.puts[key] = append(l.puts[key], lines)
	}
}

func (l *life) result(lines []string, res producer.BatchResult) {
	g := l.ledger
	g.mu.Lock()
	defer g.mu.Unlock()
	failed := make(map[int]bool, len(res.Failed))
	for _, f := range res.Failed {
		failed[f.Index] = true
	}
	for i, line := range lines {
		if failed[i] {
			l.lines[line] = fate{refused: true}
			continue
		}
		l.lines[line] = fate{acked: time.Now()}
		g.acked[line] = true
	}
}

// slept notes that no agent has done anything for a time: it does not count.
func (g *ledger) slept(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for line, at := range g.stored {
		if !at.IsZero() {
			g.stored[line] = at.Add(d)
		}
	}
	for _, l := range g.lives {
		l.began = l.began.Add(d)
		for line, f := range l.lines {
			if !f.acked.IsZero() {
				f.acked = f.acked.Add(d)
				l.lines[line] = f
			}
		}
	}
}

// ended notes the end of the oldest flow. All that it has sent is acknowledged if it is
// drained. contents are those of the files.
func (g *ledger) ended(contents [][]string, drained bool) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endLocked(contents, func(acked time.Time) bool { return drained || acked.Before(now) })
}

// stopped is ended for an agent that has stored its positions.
func (g *ledger) stopped(contents [][]string, drained bool) {
	g.ended(contents, drained)
	g.mu.Lock()
	defer g.mu.Unlock()
	for line := range g.stored {
		g.stored[line] = time.Time{}
	}
}

// killed is ended for an agent that was killed.
func (g *ledger) killed(contents [][]string) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	recent := func(at time.Time) bool { return now.Sub(at) <= storedAfter }
	g.endLocked(contents, func(acked time.Time) bool { return !recent(acked) })
	maps.DeleteFunc(g.stored, func(_ string, at time.Time) bool { return recent(at) })
}

// endLocked settles what the oldest flow has sent. passed says whether the position has
// passed a line of which, and of all before it in its file, the last was acknowledged at
// a time. It has not before that.
func (g *ledger) endLocked(contents [][]string, passed func(acked time.Time) bool) {
	l := g.lives[0]
	g.lives = g.lives[1:]
	for line := range l.lines {
		if _, ok := g.stored[line]; ok {
			g.again = append(g.again, line)
		}
	}
	for _, batches := range l.puts {
		var last time.Time
		for _, lines := range batches {
			whole := true
			for _, line := range lines {
				at := l.lines[line].acked
				whole = whole && !at.IsZero()
				if at.After(last) {
					last = at
				}
			}
			if !whole || !passed(last) {
				break
			}
			for _, line := range lines {
				g.stored[line] = last
			}
		}
	}
	// A flow that has sent a line and not those before it in the file began behind them.
	for _, lines := range contents {
		sent := false
		for _, line := range slices.Backward(lines) {
			if _, ok := l.lines[line]; ok {
				sent = true
			} else if _, ok := g.stored[line]; sent && !ok && g.acked[line] {
				g.stored[line] = l.began
			}
		}
	}
}

// unacknowledged returns those of the lines that no sink has acknowledged.
func (g *ledger) unacknowledged(lines []string) (left []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, line := range lines {
		if !g.acked[line] {
			left = append(left, line)
		}
	}
	return left
}

// sentAgain returns the lines that were sent again and might not be, in order.
func (g *ledger) sentAgain() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(slices.Values(g.again))
}
