package agent_test

import (
	"cmp"
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

// What is too large goes to the file as it was read, up to 1 MiB of a line; what is not
// kept of a longer one is counted.
func TestOversizeDeadLetters(t *testing.T) {
	const most = 1 << 20
	brackets := &transform.Chain{Options: []transform.Option{transform.AddBrackets{}}}
	for _, tt := range []struct {
		name string
		flow agent.FlowConfig
		size int // of the line
		kept int
	}{
		{"within a chunk", agent.FlowConfig{MaxRecordBytes: 1024}, 2000, 2000},
		{"longer than a chunk", agent.FlowConfig{MaxRecordBytes: 1024}, 600_000, 600_000},
		{"the longest that is kept", agent.FlowConfig{MaxRecordBytes: 1024}, most, most},
		{"longer than that", agent.FlowConfig{}, 3 << 20, most},
		{"as long as a record may be", agent.FlowConfig{MaxRecordBytes: 3 << 20}, 3 << 20, 3<<20 - 64},
		{"too large by an option", agent.FlowConfig{MaxRecordBytes: 1024, DataProcessing: brackets}, 1024 - 64, 1024 - 64},
		{"long, and not of the format", agent.FlowConfig{
			MaxRecordBytes: 1024, DataProcessing: syslogChain(t), OnParseError: agent.ParseErrorDeadLetter, OnOversize: agent.OversizeTruncate,
		}, 600_000, 600_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.flow.OnOversize = cmp.Or(tt.flow.OnOversize, agent.OversizeDeadLetter)
			bubble(t, tt.flow, func(w *world) {
				w.cfg.MaxMemoryBytes = 16 << 20
				path := filepath.Join(t.TempDir(), "dead")
				w.cfg.Flows[0].DeadLetterFile = path
				line := strings.Repeat("x", tt.size-1) + "\n"
				w.write("app.log", line)
				w.start()
				w.settle(3 * time.Second)
				w.expect()
				if s := w.status(); s.DeadLetters != 1 || s.LostBytes["oversize"] != uint64(tt.size-tt.kept) || s.BehindBytes != 0 {
					t.Errorf("lost bytes %v, want %d; status %+v", s.LostBytes, tt.size-tt.kept, s)
				}
				w.stopped()
				want := strings.TrimSuffix(line[:tt.kept], "\n") + "\n"
				if got, err := os.ReadFile(path); err != nil || string(got) != want {
					t.Errorf("%d bytes of dead letters, %v, want %d", len(got), err, len(want))
				}
			})
		})
	}
}
