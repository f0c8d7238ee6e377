package integration_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSpoolSurvivesAKill kills the server under a producer that spools, lets the
// producer go on, and kills that too. Every record that its spool has taken comes
// to the stream when the server is back, each key in its order.
func TestSpoolSurvivesAKill(t *testing.T) {
	needProcesses(t)
	s := startServer(t)
	s.createStream("spooled", 2)
	dir := filepath.Join(t.TempDir(), "spool")
	p := start(t, "spooler", s.env(), "-stream", "spooled", "-dir", dir)
	taken := func() []string {
		lines := strings.Split(p.out.String(), "\n")
		var whole []string
		for _, l := range lines[:len(lines)-1] { // the last may be a part
			if strings.HasPrefix(l, "key-") {
				whole = append(whole, l)
			}
		}
		return whole
	}
	more := func(n int) {
		t.Helper()
		eventually(t, time.Minute, "records spooled", func() error {
			if got := len(taken()); got < n {
				return fmt.Errorf("%d of %d", got, n)
			}
			return nil
		})
	}
	more(1000)
	s.kill()
	more(len(taken()) + 5000)
	p.kill()
	all := taken()
	s.start()

	if err := start(t, "streamctl", s.env(), "spool", "replay", dir).wait(60 * time.Second); err != nil {
		t.Fatalf("streamctl spool replay: %v", err)
	}
	tail := start(t, "streamctl", s.env(), "tail", "spooled", "--from", "trim_horizon", "--until-caught-up")
	if err := tail.wait(60 * time.Second); err != nil {
		t.Fatalf("streamctl tail: %v", err)
	}
	seen := map[string]bool{}
	last := map[string]int{}
	for line := range strings.Lines(tail.out.String()) {
		line = strings.TrimSpace(line)
		var key, n int
		if _, err := fmt.Sscanf(line, "key-%d|%d", &key, &n); err != nil || seen[line] {
			continue // the second time: the crash had it sent again
		}
		seen[line] = true
		if k := fmt.Sprint(key); n <= last[k] && last[k] > 0 {
			t.Fatalf("key %d: record %d comes after %d", key, n, last[k])
		} else {
			last[k] = n
		}
	}
	for _, line := range all {
		if !seen[line] {
			t.Fatalf("record %q was spooled and is not in the stream, which has %d of %d", line, len(seen), len(all))
		}
	}
	t.Logf("%d records spooled, all in the stream", len(all))
}
