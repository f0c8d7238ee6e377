package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/agent/internal/transform"
)

func syslogChain(t *testing.T) *transform.Chain {
	t.Helper()
	log, err := transform.NewLogToJSON("SYSLOG", "", nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return &transform.Chain{Options: []transform.Option{log}}
}

// What does not fit goes to the file, once, and is on the disk before the position
// behind it is stored.
func TestDeadLetters(t *testing.T) {
	flow := agent.FlowConfig{OnParseError: agent.ParseErrorDeadLetter, DataProcessing: syslogChain(t)}
	bubble(t, flow, func(w *world) {
		dir := filepath.Join(t.TempDir(), "later")
		path := filepath.Join(dir, "dead")
		w.cfg.Flows[0].DeadLetterFile = path
		w.write("app.log", "bad 1\nMar 12 12:00:08 h p: m\nbad 2")
		w.start()
		w.settle(3 * time.Second) // there is no directory for the file
		w.kill()
		w.check(os.Mkdir(dir, 0o700))
		w.start()
		w.settle(3 * time.Second)
		w.kill() // after the positions are stored
		w.write("app.log", "!\n")
		w.start()
		w.settle(3 * time.Second)
		w.stopped()
		got, err := os.ReadFile(path)
		w.check(err)
		if want := "bad 1\nbad 2!\n"; string(got) != want {
			t.Errorf("dead letters %q, want %q", got, want)
		}
		if n := len(w.data()); n != 2 { // the first kill was before anything was stored
			t.Errorf("%d records arrived, want one twice", n)
		}
		if s := w.status(); s.DeadLetters != 1 || s.LostBytes["unparsed"] != 0 || s.BehindBytes != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestOversizeDeadLetters(t *testing.T) {
	bubble(t, agent.FlowConfig{OnOversize: agent.OversizeDeadLetter, MaxRecordBytes: 1024}, func(w *world) {
		path := filepath.Join(t.TempDir(), "dead")
		w.cfg.Flows[0].DeadLetterFile = path
		line := strings.Repeat("x", 2000) + "\n"
		w.write("app.log", "a\n"+line+"b\n")
		w.start()
		w.settle(3 * time.Second)
		w.expect("a\n", "b\n")
		w.stopped()
		if got, err := os.ReadFile(path); err != nil || string(got) != line {
			t.Errorf("%d bytes of dead letters, %v, want %d", len(got), err, len(line))
		}
	})
}
