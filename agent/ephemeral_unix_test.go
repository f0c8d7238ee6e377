//go:build unix

package agent_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
)

// A trial changes nothing that an agent relies on: delivered files stay, so do the
// second names that an agent has made, and no record goes to the dead letter file.
func TestEphemeralLeavesNoTrace(t *testing.T) {
	flow := protecting()
	flow.FilePattern, flow.DeleteDelivered = "app.log*", true
	flow.OnOversize, flow.MaxRecordBytes = agent.OversizeDeadLetter, 1024
	bubble(t, flow, func(w *world) {
		dead := filepath.Join(t.TempDir(), "dead")
		w.cfg.Flows[0].DeadLetterFile = dead
		w.lines("app.log", 10)
		w.start()
		w.settle(5 * time.Second)
		w.stopped()
		kept := w.protected()
		if len(kept) != 1 {
			t.Fatalf("second names: %q, want one", kept)
		}
		before, err := os.Stat(kept[0])
		w.check(err)
		w.remove("app.log") // the second name is all there is now

		w.cfg.Ephemeral = true
		w.lines("app.log", 10)
		w.write("app.log", strings.Repeat("x", 2000)+"\n")
		w.start()
		w.settle(5 * time.Second)
		w.rename("app.log", "app.log.1")
		w.lines("app.log", 10)
		w.settle(time.Minute)
		w.stopped()
		w.verify(0) // it has read everything that has a name
		if again := w.protected(); !slices.Equal(again, kept) {
			t.Errorf("second names after the trial: %q, want %q", again, kept)
		} else if after, err := os.Stat(kept[0]); err != nil || !os.SameFile(before, after) {
			t.Errorf("the second name is of another file after the trial (%v)", err)
		}
		if _, err := os.Stat(w.path("app.log.1")); err != nil {
			t.Errorf("the trial has taken a rotated file: %v", err)
		}
		if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the trial has written to the dead letter file (%v)", err)
		}
	})
}
