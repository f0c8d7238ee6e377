package agent_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
)

// While a stream takes nothing for ten minutes, by refusing or by silence, and a file
// is written to and rotated, the agent holds no more than its part of the memory,
// keeps what is rotated open, and catches up without a line too few or too many.
func TestStreamDownForTenMinutes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		silent bool
	}{{"refuses", false}, {"silent", true}} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, agent.FlowConfig{RotateWait: time.Second}, func(w *world) {
				w.cfg.MaxMemoryBytes = 4 << 20
				var down atomic.Bool
				w.sink.refuse = func() bool { return down.Load() && !tt.silent }
				w.start()
				w.lines("app.log", 100)
				w.settle(time.Second)

				w.sink.mu.Lock()
				down.Store(true)
				w.sink.hold = tt.silent
				w.sink.mu.Unlock()
				acked := w.status().AckedRecords
				high := int64(0)
				for i := range 60 {
					w.lines("app.log", 400)
					if i%12 == 6 {
						w.rename("app.log", fmt.Sprint("app.log.", i))
					}
					w.settle(10 * time.Second)
					high = max(high, w.status().MemoryBytes)
				}
				s := w.status()
				// One that refuses is given nothing new, so that it needs less.
				limit := w.cfg.MaxMemoryBytes / 8 * 3
				if high > limit || tt.silent && (high < limit/2 || s.MemoryStalls == 0) {
					t.Errorf("%d bytes were in use and reading stopped %d times, %d bytes may be", high, s.MemoryStalls, limit)
				}
				if s.AckedRecords != acked || s.BehindBytes == 0 {
					t.Errorf("while the stream is down: %+v", s)
				}
				if !tt.silent && (s.State != "blocked" || s.ConsecutiveErrors > 300) {
					t.Errorf("state %s after %d attempts, want it blocked and the attempts few", s.State, s.ConsecutiveErrors)
				}

				if tt.silent && (s.State != "stalled" || s.Stalled < 500 || s.Backpressure < 300) {
					t.Errorf("state %s for %v seconds, reading waited for %v, want it stalled for most of the time", s.State, s.Stalled, s.Backpressure)
				}

				w.sink.mu.Lock()
				down.Store(false)
				w.sink.mu.Unlock()
				w.sink.release()
				w.settle(30 * time.Second)
				w.verify(0)
				if s := w.status(); s.State != "running" || s.Stalled != 0 || s.BehindBytes != 0 || lostBytes(s) != 0 || s.OpenFiles > 2 {
					t.Errorf("afterwards: %+v", s)
				}
				w.stopped()
			})
		})
	}
}
