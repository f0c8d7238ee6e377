package integration_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var killRounds = flag.Int("kill-rounds", 5, "how often TestAgentKilled kills the agent")

// TestAgentKilled kills the agent again and again while the file that it tails
// is written and rotated. Every line must arrive. Lines may arrive twice: what
// was sent and not yet noted as acknowledged is sent again.
func TestAgentKilled(t *testing.T) {
	for _, tt := range []struct {
		name        string
		aggregation bool
		perRound    int // lines
	}{
		{"plain records", false, 1500},
		{"aggregated records", true, 6000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const (
				stream    = "lines"
				perFile   = 1100
				perMoment = 50
			)
			needProcesses(t)
			s := startServer(t)
			s.createStream(stream, 2)
			dir := t.TempDir()
			config := writeAgentConfig(t, s, dir, stream, tt.aggregation)
			agent := start(t, "streamagent", s.env(), "-c", config)

			r := chance(0)
			w := &rotatingWriter{t: t, path: filepath.Join(dir, "app.log"), perFile: perFile}
			for range *killRounds {
				killAt := w.lines + tt.perRound/4 + r.IntN(tt.perRound/2)
				for end := w.lines + tt.perRound; w.lines < end; {
					for range perMoment {
						w.writeLine()
					}
					pause(t.Context(), 5*time.Millisecond)
					if killAt > 0 && w.lines > killAt {
						agent.kill()
						killAt = 0
					}
				}
				agent = start(t, "streamagent", s.env(), "-c", config)
			}

			w.close()

			seen := make([]int, w.lines)
			eventually(t, 60*time.Second, "all lines in the stream", func() error {
				if agent.ended() {
					return fmt.Errorf("%w: the agent ended: %w", errGiveUp, agent.err)
				}
				clear(seen)
				for _, record := range s.readUserRecords(stream) {
					line := strings.TrimSuffix(string(record), "\n")
					number, _, _ := strings.Cut(line, " ")
					n, err := strconv.Atoi(number)
					if err != nil || n >= len(seen) || line != testLine(n) {
						return fmt.Errorf("%w: a line that nobody wrote: %q", errGiveUp, line)
					}
					seen[n]++
				}
				missing, first := 0, -1
				for n, times := range seen {
					if times == 0 {
						if missing++; first < 0 {
							first = n
						}
					}
				}
				if missing > 0 {
					return fmt.Errorf("%d of %d lines are missing, the first is %d", missing, len(seen), first)
				}
				return nil
			})
			again := 0
			for _, times := range seen {
				again += times - 1
			}
			t.Logf("%d lines in %d files, %d kills, %d lines delivered again", w.lines, w.files+1, *killRounds, again)
			if err := agent.stop(); err != nil {
				t.Errorf("the agent stops with %v", err)
			}
		})
	}
}

func writeAgentConfig(t *testing.T, s *server, dir, stream string, aggregation bool) string {
	t.Helper()
	config, err := json.MarshalIndent(map[string]any{
		"kinesis.endpoint": s.url(),
		"kinesis.region":   "us-east-1",
		"checkpointFile":   filepath.Join(t.TempDir(), "checkpoints"),
		"flows": []map[string]any{{
			"filePattern":                            filepath.Join(dir, "app.log*"),
			"kinesisStream":                          stream,
			"initialPosition":                        "START_OF_FILE",
			"maxBufferAgeMillis":                     1000,
			"maxTimeBetweenFileTrackerRefreshMillis": 1000,
			"aggregation":                            aggregation,
		}},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "agent.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// testLine is line n of the tailed file, with a length that varies.
func testLine(n int) string { return fmt.Sprintf("%08d %s", n, strings.Repeat("x", n*7919%180)) }

// A rotatingWriter writes numbered lines to a file that it renames and starts
// anew every so often, as logrotate does with "create".
type rotatingWriter struct {
	t       *testing.T
	path    string
	perFile int

	lines, files int
	f            *os.File
	buf          *bufio.Writer
}

// writeLine writes the next line and returns how long it is.
func (w *rotatingWriter) writeLine() int {
	w.t.Helper()
	if w.f != nil && w.lines%w.perFile == 0 {
		w.close()
		w.files++
		if err := os.Rename(w.path, fmt.Sprintf("%s.%d", w.path, w.files)); err != nil {
			w.t.Fatal(err)
		}
	}
	if w.f == nil {
		f, err := os.Create(w.path)
		if err != nil {
			w.t.Fatal(err)
		}
		w.f, w.buf = f, bufio.NewWriterSize(f, 777) // lines are written in pieces
	}
	n, _ := w.buf.WriteString(testLine(w.lines) + "\n") // close reports it
	w.lines++
	return n
}

// flush writes what waits to be written.
func (w *rotatingWriter) flush() {
	w.t.Helper()
	if w.f == nil {
		return
	}
	if err := w.buf.Flush(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *rotatingWriter) close() {
	if w.f == nil {
		return
	}
	if err := w.buf.Flush(); err != nil {
		w.t.Error(err)
	}
	if err := w.f.Close(); err != nil {
		w.t.Error(err)
	}
	w.f = nil
}
