package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/producer"
)

var errRefused = errors.New("refused")

// stream is a sink that remembers what it stored, and acknowledges as late and in
// whatever order it is told to.
type stream struct {
	mu      sync.Mutex
	got     []producer.UserRecord
	delay   func() time.Duration // before a batch is stored; nil: none
	refuse  func() bool          // whether to refuse a record; nil: never
	dead    bool                 // the process is gone: no callback reaches it
	flushes int
	hold    bool // keep the acknowledgements
	early   bool // store at once and delay the acknowledgement alone
	drop    bool // with dead: nothing that is on its way is stored any more
	held    []func()
	room    int             // bytes that it takes in a batch; 0: any
	stopped map[string]bool // partition keys with a record that was refused; nil: that stops none
}

// lostWhenDead reports whether what is still on its way is lost: what a killed
// process has not sent.
func (s *stream) lostWhenDead() bool { return s.dead && s.drop }

// keep keeps acknowledgements back from now on.
func (s *stream) keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = true
}

// release gives the acknowledgements that were kept, the last first.
func (s *stream) release() {
	s.mu.Lock()
	s.hold = false
	held := s.held
	s.held = nil
	s.mu.Unlock()
	for _, done := range slices.Backward(held) {
		done()
	}
}

func (s *stream) PutBatch(ctx context.Context, recs []producer.UserRecord, done func(producer.BatchResult)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	size := 0
	for _, r := range recs {
		size += len(r.Data)
	}
	if s.room > 0 && size > s.room {
		return fmt.Errorf("%w: %d bytes", producer.ErrTooLarge, size)
	}
	copied := make([]producer.UserRecord, len(recs))
	for i, r := range recs {
		copied[i] = r
		copied[i].Data = append([]byte(nil), r.Data...)
	}
	var d time.Duration
	s.mu.Lock()
	if s.delay != nil {
		d = s.delay()
	}
	s.mu.Unlock()
	res := producer.BatchResult{Records: len(copied)}
	storeLocked := func() {
		for i, r := range copied {
			if s.stopped[r.PartitionKey] || s.refuse != nil && s.refuse() {
				if s.stopped != nil {
					s.stopped[r.PartitionKey] = true
				}
				res.Failed = append(res.Failed, producer.FailedRecord{Index: i, Err: errRefused})
				continue
			}
			s.got = append(s.got, r)
		}
	}
	if s.early {
		s.mu.Lock()
		storeLocked()
		s.mu.Unlock()
	}
	store := func() {
		s.mu.Lock()
		if !s.early && !s.lostWhenDead() {
			storeLocked()
		}
		dead, hold := s.dead, s.hold
		if hold {
			s.held = append(s.held, func() { done(res) })
		}
		s.mu.Unlock()
		if !dead && !hold {
			done(res)
		}
	}
	if d == 0 {
		store()
	} else {
		time.AfterFunc(d, store)
	}
	return nil
}

// ResumeKey implements [agent.KeyResumer].
func (s *stream) ResumeKey(partitionKey, _ string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.stopped[partitionKey]
	delete(s.stopped, partitionKey)
	return was
}

func (s *stream) Flush(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes++
	return nil
}

func (s *stream) Close(context.Context) error { return nil }

func (s *stream) records() []producer.UserRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]producer.UserRecord(nil), s.got...)
}

// fakeWatcher is a watcher that a test pokes: the real one stops the fake time of a
// bubble.
type fakeWatcher struct{ c chan agent.WatchEvent }

func (w *fakeWatcher) Add(string) error                { return nil }
func (w *fakeWatcher) Remove(string)                   {}
func (w *fakeWatcher) Events() <-chan agent.WatchEvent { return w.c }
func (w *fakeWatcher) Close() error                    { return nil }

// world is a directory with logs, an agent that reads it, and what must arrive.
type world struct {
	t       testing.TB
	dir     string
	cfg     agent.Config
	sink    *stream
	wrap    func(*stream) agent.Sink // makes what a flow opens; nil: the sink itself
	watcher *fakeWatcher             // nil: the agent polls
	deaf    bool                     // the watcher does not see what is done

	a      *agent.Agent
	cancel context.CancelFunc
	done   chan error

	n        int
	want     []string        // lines written, in order
	repeated map[string]int  // lines that are written several times: how often they may arrive more than once
	may      map[string]bool // lines that may be missing
	fs       *listing
	lineAs   func(line string) string // what is written of a line; nil: the line
}

func newWorld(t testing.TB, flow agent.FlowConfig) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), sink: &stream{}, repeated: make(map[string]int), may: make(map[string]bool),
		fs: &listing{FS: vfstest.Lazy{FS: vfs.OS}},
	}
	if flow.FilePattern == "" {
		flow.FilePattern = "app.log*"
	}
	flow.FilePattern = filepath.Join(w.dir, flow.FilePattern)
	flow.KinesisStream = "s"
	flow.StartOfFile = true
	w.cfg = agent.Config{
		Flows: []agent.FlowConfig{flow}, CheckpointFile: filepath.Join(t.TempDir(), "checkpoints"),
		Logger: slog.New(slog.DiscardHandler), NewWatcher: w.newWatcher, FS: w.fs,
	}
	return w
}

func (w *world) newWatcher() (agent.Watcher, error) {
	if w.watcher == nil {
		return nil, errors.New("none")
	}
	return w.watcher, nil
}

func (w *world) start() {
	w.t.Helper()
	a, err := agent.New(&w.cfg, w.opener())
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	w.a, w.cancel, w.done = a, cancel, make(chan error, 1)
	go func() { w.done <- a.Run(ctx) }()
}

// opener gives flows the sink of now.
func (w *world) opener() agent.OpenSink {
	sink := w.sink
	return func(agent.FlowConfig, int64) (agent.Sink, error) {
		if w.wrap != nil {
			return w.wrap(sink), nil
		}
		return sink, nil
	}
}

// stop stops the agent gracefully and returns what Run returned.
func (w *world) stop() error {
	w.cancel()
	err := <-w.done
	w.cancel = nil
	return err
}

// kill ends the agent without any goodbye; what was on its way to the stream may
// still be stored.
func (w *world) kill() {
	w.sink.mu.Lock()
	w.sink.dead = true
	w.sink.mu.Unlock()
	w.a.Kill(w.cancel)
	if err := <-w.done; !errors.Is(err, agent.ErrNotDrained) {
		w.t.Errorf("Run of a killed agent: %v", err)
	}
	w.cancel = nil
	old := w.sink
	old.mu.Lock()
	w.sink = &stream{got: slices.Clone(old.got), delay: old.delay, refuse: old.refuse, early: old.early, drop: old.drop}
	if old.stopped != nil {
		w.sink.stopped = make(map[string]bool)
	}
	old.mu.Unlock()
}

// changed tells the watcher that names changed.
func (w *world) changed() { w.tell(agent.WatchEvent{Names: true}) }

// tell adds an event to those that nobody has taken.
func (w *world) tell(ev agent.WatchEvent) {
	if w.watcher == nil || w.deaf {
		return
	}
	select {
	case old := <-w.watcher.c:
		ev.Names = ev.Names || old.Names
		ev.Written = append(old.Written, ev.Written...)
	default:
	}
	w.watcher.c <- ev // the test alone sends
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// write appends text as it is.
func (w *world) write(name, text string) {
	w.t.Helper()
	_, missing := os.Stat(w.path(name))
	f, err := os.OpenFile(w.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	w.check(err)
	_, err = f.WriteString(text)
	w.check(errors.Join(err, f.Close()))
	if missing != nil {
		w.changed()
	} else {
		w.tell(agent.WatchEvent{Written: []string{w.path(name)}})
	}
}

// lines appends n lines to a file, which must all arrive.
func (w *world) lines(name string, n int) {
	w.t.Helper()
	var b strings.Builder
	for range n {
		line := w.line()
		w.want = append(w.want, line)
		if w.lineAs != nil {
			line = w.lineAs(line)
		}
		b.WriteString(line)
	}
	w.write(name, b.String())
}

func (w *world) line() string {
	w.n++
	return fmt.Sprintf("line %06d %s\n", w.n, strings.Repeat("x", w.n*7919%150))
}

func (w *world) rename(from, to string) {
	w.t.Helper()
	w.check(os.Rename(w.path(from), w.path(to)))
	w.changed()
}

func (w *world) remove(name string) {
	w.t.Helper()
	w.check(os.Remove(w.path(name)))
	w.changed()
}

func (w *world) copyFile(from, to string) {
	w.t.Helper()
	b, err := os.ReadFile(w.path(from))
	w.check(err)
	w.check(os.WriteFile(w.path(to), b, 0o600))
	w.changed()
}

func (w *world) truncate(name string) {
	w.t.Helper()
	w.check(os.Truncate(w.path(name), 0))
}

// settle lets the agent do everything that is due within d.
func (w *world) settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// verify checks that every line arrived, as often as it was written, nothing else
// did, and how many arrived more often.
func (w *world) verify(maxDuplicates int) {
	w.t.Helper()
	written, arrived := make(map[string]int), make(map[string]int)
	for _, line := range w.want {
		written[line] = 1
	}
	for line, n := range w.repeated {
		written[line] += n
	}
	duplicates := 0
	for _, r := range w.sink.records() {
		line := string(r.Data)
		if arrived[line]++; written[line] == 0 {
			w.t.Errorf("arrived, but was never written: %.100q", line)
		} else if arrived[line] > written[line] {
			if duplicates++; duplicates == maxDuplicates+1 {
				w.t.Errorf("arrived again: %.30q", line)
			}
		}
	}
	missing := 0
	for line, n := range written {
		if arrived[line] < n && !w.may[line] {
			if missing++; missing <= 5 {
				w.t.Errorf("arrived %d times, was written %d times: %.30q", arrived[line], n, line)
			}
		}
	}
	if missing > 0 {
		w.t.Errorf("%d of %d lines never arrived; status %+v", missing, len(written), w.status())
	}
	if duplicates > maxDuplicates {
		w.t.Errorf("%d lines arrived again, at most %d may", duplicates, maxDuplicates)
	}
}

func (w *world) status() agent.FlowStatus { return w.a.Status().Flows[0] }

// bubble runs f in fake time, once with file events and once without.
func bubble(t *testing.T, flow agent.FlowConfig, f func(w *world)) {
	t.Helper()
	for _, events := range []bool{true, false} {
		name := "polling"
		if events {
			name = "events"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, flow)
				if events {
					w.watcher = &fakeWatcher{c: make(chan agent.WatchEvent, 1)}
				}
				f(w)
			})
		})
	}
}
