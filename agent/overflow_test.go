package agent_test

import (
	"context"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
)

// told is a sink that tells of each record.
type told chan string

func (c told) PutBatch(_ context.Context, recs []producer.UserRecord, done func(producer.BatchResult)) error {
	for i := range recs {
		c <- string(recs[i].Data)
	}
	done(producer.BatchResult{Records: len(recs)})
	return nil
}

func (c told) Flush(context.Context) error { return nil }
func (c told) Close(context.Context) error { return nil }

// deafWatcher is a watcher of which no directory is watched: all events are lost.
type deafWatcher struct{ agent.Watcher }

func (deafWatcher) Add(string) error { return nil }
func (deafWatcher) Remove(string)    {}

// The operating system's watcher says that events were lost, outside a bubble: what they
// would have told is found long before the next scan is due, and they are counted.
func TestOverflowOfTheSystem(t *testing.T) {
	w := newWorld(t, agent.FlowConfig{ScanInterval: time.Hour})
	system, err := agent.NewFSWatcher()
	w.check(err)
	w.cfg.NewWatcher = func() (agent.Watcher, error) { return deafWatcher{system}, nil }
	arrived := make(told, 1)
	wait := func(want string) {
		t.Helper()
		select {
		case got := <-arrived:
			if got != want {
				t.Errorf("arrived %q, want %q", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q did not arrive", want)
		}
	}
	w.write("app.log", "one\n")
	w.into(arrived)
	wait("one\n")
	w.write("app.log.1", "two\n")
	agent.Overflow(system)
	wait("two\n")
	if s := w.status(); s.WatchOverflows != 1 || s.PolledDirs != 0 {
		t.Errorf("%d overflows, %d polled directories; want 1 and 0", s.WatchOverflows, s.PolledDirs)
	}
	w.stopped()
}
