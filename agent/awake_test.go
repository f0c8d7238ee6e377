package agent_test

import (
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
)

// A file that grows again after a rest is looked at from then on as often as any other
// that grows, and so is a file that is new, whenever the next look at resting files is due.
func TestAwakeFile(t *testing.T) {
	bubble(t, agent.FlowConfig{}, func(w *world) {
		w.lines("app.log", 1)
		w.start()
		w.settle(30*time.Second + 370*time.Millisecond)
		found := 100 * time.Millisecond
		if w.watcher == nil {
			found = 11 * time.Second // by the next scan
		}
		for _, name := range []string{"app.log", "app.log.new"} {
			w.lines(name, 1)
			w.settle(found)
			for i := range 20 {
				if got := len(w.data()); got != w.n {
					w.t.Fatalf("%s: %d of %d lines arrived, the last %d of them written each 110 ms", name, got, w.n, i)
				}
				w.lines(name, 1)
				w.settle(110 * time.Millisecond)
			}
			w.settle(30*time.Second + 370*time.Millisecond)
		}
		w.verify(0)
		w.stopped()
	})
}
