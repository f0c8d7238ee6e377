package agent_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

var _ agent.Sink = (*producer.Producer)(nil)

// TestIntoServer runs agent, producer and server together, with a rotation and a
// kill on the way.
func TestIntoServer(t *testing.T) {
	for name, aggregate := range map[string]bool{"aggregated": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := streamdtest.New(t)
				srv.CreateStream(t, "s", 4)
				w := newWorld(t, agent.FlowConfig{PartitionKey: agent.KeyFile, Aggregation: aggregate})
				w.watcher = &fakeWatcher{c: make(chan agent.WatchEvent, 1)}
				start := func() {
					t.Helper()
					a, err := agent.New(&w.cfg, func(f agent.FlowConfig, _ int64) (agent.Sink, error) {
						return producer.New(srv.Kinesis(), f.KinesisStream, producer.Config{
							DisableAggregation: !f.Aggregation, RecordTTL: -1, Logger: slog.New(slog.DiscardHandler),
						})
					})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithCancel(t.Context())
					w.a, w.cancel, w.done = a, cancel, make(chan error, 1)
					go func() { w.done <- a.Run(ctx) }()
				}
				w.lines("app.log", 2000)
				start()
				w.settle(3 * time.Second)
				w.rename("app.log", "app.log.1")
				w.lines("app.log", 3000)
				w.settle(3 * time.Second)
				w.stopped()
				w.lines("app.log", 100)
				start()
				w.settle(20 * time.Second)
				for _, r := range srv.Records(t, "s") {
					ok, err := aggregation.Walk(r.Data, func(_ int, u aggregation.Record) bool {
						w.sink.got = append(w.sink.got, producer.UserRecord{PartitionKey: u.PartitionKey, Data: append([]byte(nil), u.Data...)})
						return true
					})
					if err != nil {
						t.Fatal(err)
					}
					if !ok {
						w.sink.got = append(w.sink.got, producer.UserRecord{PartitionKey: *r.PartitionKey, Data: r.Data})
					}
				}
				w.verify(0)
				w.verifyOrder()
				w.stopped()
			})
		})
	}
}

// The file events of the operating system, outside a bubble: they come in real
// time.
func TestFSWatcher(t *testing.T) {
	dir := t.TempDir()
	w, err := agent.NewFSWatcher()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a")
	wait := func(what string, ok func(agent.WatchEvent) bool) {
		t.Helper()
		timeout := time.After(time.Minute)
		for {
			select {
			case ev := <-w.Events():
				if ok(ev) {
					return
				}
			case <-timeout:
				t.Fatalf("no event for %s", what)
			}
		}
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	wait("a new file", func(ev agent.WatchEvent) bool { return ev.Names })
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	wait("a write", func(ev agent.WatchEvent) bool { return len(ev.Written) == 1 && ev.Written[0] == path })
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	wait("a rename", func(ev agent.WatchEvent) bool { return ev.Names })
	if err := os.Remove(path + ".1"); err != nil { // an event that nobody takes
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
