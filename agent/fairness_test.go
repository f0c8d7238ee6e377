package agent_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
)

// slowSink takes a while for each batch and counts the bytes of each file, whose records
// begin with its name.
type slowSink struct {
	after time.Duration

	mu    sync.Mutex // guards what follows
	bytes map[string]int
	total int
}

const nameLen = len("f0000 ")

func newSlowSink(after time.Duration) *slowSink {
	return &slowSink{after: after, bytes: make(map[string]int)}
}

func (s *slowSink) PutBatch(_ context.Context, recs []producer.UserRecord, done func(producer.BatchResult)) error {
	time.AfterFunc(s.after, func() {
		s.mu.Lock()
		for i := range recs {
			s.bytes[string(recs[i].Data[:nameLen])] += len(recs[i].Data)
			s.total += len(recs[i].Data)
		}
		s.mu.Unlock()
		done(producer.BatchResult{Records: len(recs)})
	})
	return nil
}

func (s *slowSink) Flush(context.Context) error { return nil }
func (s *slowSink) Close(context.Context) error { return nil }

func (s *slowSink) delivered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

func (s *slowSink) of(file int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes[fileName(file)]
}

func fileName(i int) string { return fmt.Sprintf("f%04d ", i) }

// backlog appends so many lines of a size to a file.
func (w *world) backlog(file, lines, size int) {
	w.t.Helper()
	name := fileName(file)
	line := name + strings.Repeat("x", size-len(name)-1) + "\n"
	f, err := os.OpenFile(w.path("app.log."+strings.TrimSpace(name)), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	w.check(err)
	for lines > 0 { // not all in memory
		n := min(lines, 1<<20/size)
		_, err = f.WriteString(strings.Repeat(line, n))
		w.check(err)
		lines -= n
	}
	w.check(f.Close())
}

// into starts the agent with a sink.
func (w *world) into(sink agent.Sink) {
	w.t.Helper()
	a, err := agent.New(&w.cfg, func(agent.FlowConfig, int64) (agent.Sink, error) { return sink, nil })
	w.check(err)
	ctx, cancel := context.WithCancel(w.t.Context())
	w.a, w.cancel, w.done = a, cancel, make(chan error, 1)
	go func() { w.done <- a.Run(ctx) }()
}

// until lets time go on until ok holds.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for range 10_000 {
		if ok() {
			return
		}
		w.settle(10 * time.Millisecond)
	}
	w.t.Fatalf("not in 100 s: %s; status %+v", what, w.status())
}

// A hundred equal backlogs, and a sink that takes less than there is: when half of it is
// delivered, no file has less than half of its part.
func TestEqualBacklogsAreEquallyServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const files, lines, size = 100, 1500, 1024 // 1.5 MB each
		w := newWorld(t, agent.FlowConfig{})
		w.cfg.MaxMemoryBytes = 4 << 20
		for i := range files {
			w.backlog(i, lines, size)
		}
		sink := newSlowSink(50 * time.Millisecond)
		w.into(sink)
		const all = files * lines * size
		w.until("half of it", func() bool { return sink.delivered() >= all/2 })
		total := sink.delivered()
		if total > all*6/10 {
			t.Fatalf("%d of %d bytes are delivered, too many to tell", total, all)
		}
		if s := w.status(); s.MemoryStalls == 0 {
			t.Error("reading never waited for memory")
		}
		least := all
		for i := range files {
			least = min(least, sink.of(i))
		}
		if mean := total / files; least < mean/2 {
			t.Errorf("the slowest file has %d bytes delivered, the mean is %d", least, mean)
		}
		w.until("all of it", func() bool { return sink.delivered() == all })
		w.stopped()
	})
}

// One file has a backlog that takes long, and 999 others have a few lines, at the start
// and again later: those do not wait until the long one is through.
func TestSmallFilesBesideAHugeOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const files, huge, size, small = 1000, 96 << 20, 1024, 3
		w := newWorld(t, agent.FlowConfig{})
		w.cfg.MaxMemoryBytes = 4 << 20
		w.backlog(0, huge/size, size) // the first by name, too
		others := func(lines int) {
			for i := 1; i < files; i++ {
				w.backlog(i, lines, 100)
			}
		}
		others(small)
		sink := newSlowSink(50 * time.Millisecond)
		w.into(sink)
		served := func(lines int) func() bool {
			return func() bool {
				for i := 1; i < files; i++ {
					if sink.of(i) < lines*100 {
						return false
					}
				}
				return true
			}
		}
		// What is held at a time, twice, is what the huge one may get before the others.
		limit := int(2 * w.cfg.MaxMemoryBytes)
		w.until("the small ones", served(small))
		if n := sink.of(0); n > limit {
			t.Errorf("the huge file has %d bytes delivered before the others are, at most %d may be", n, limit)
		}
		for more := 1; more <= 3; more++ {
			w.settle(200 * time.Millisecond)
			before := sink.of(0)
			others(1)
			w.until("what was added to the small ones", served(small+more))
			if n := sink.of(0) - before; n > limit {
				t.Errorf("the huge file got %d bytes before what was added to the others, at most %d may be", n, limit)
			}
		}
		if n := sink.of(0); n == huge {
			t.Error("the huge file is through, too early to tell")
		}
		w.until("all of it", func() bool { return sink.of(0) == huge })
		w.stopped()
	})
}
