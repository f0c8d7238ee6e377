package agent_test

import (
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/internal/vfs"
)

// A flow of which every position is forgotten starts as for the first time, by
// initialPosition; one that has others left reads the files from their beginning.
func TestResetCheckpoints(t *testing.T) {
	for _, tt := range []struct {
		name      string
		all       bool
		n, repeat int
	}{
		{"all", true, 2, 0},
		{"one of two", false, 1, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, agent.FlowConfig{}, func(w *world) {
				w.cfg.Flows[0].StartOfFile = false
				w.start()
				w.settle(time.Second)
				w.lines("app.log", 10)
				w.lines("app.log.1", 10)
				w.settle(15 * time.Second)
				w.stopped()
				n, err := agent.ResetCheckpoints(vfs.OS, w.cfg.CheckpointFile, func(c agent.Checkpoint) bool {
					return tt.all || c.Path == w.path("app.log")
				})
				if err != nil || n != tt.n {
					t.Errorf("%d positions are forgotten, %v; want %d", n, err, tt.n)
				}
				w.start()
				w.settle(15 * time.Second)
				w.lines("app.log", 10)
				w.settle(15 * time.Second)
				w.stopped()
				w.verify(tt.repeat)
				if got, want := len(w.sink.records()), 30+tt.repeat; got != want {
					t.Errorf("%d records arrived, want %d", got, want)
				}
			})
		})
	}
}
