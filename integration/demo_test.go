package integration_test

import (
	"os/exec"
	"regexp"
	"testing"
	"time"
)

// TestDemo runs the demo on a small input, and holds its last line to the form
// that the README and other programs rely on.
func TestDemo(t *testing.T) {
	needProcesses(t)
	cmd := exec.CommandContext(t.Context(), bin(t, "streamctl"), "demo", "--size", "6MB")
	cmd.Env = cleanEnv()
	cmd.Dir = t.TempDir() // no git history here: the built-in text
	ownGroup(cmd)
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return killGroup(cmd) }
	began := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("the demo ends with %v\n%s", err, out.String())
	}
	verdict := lastLine(out.String())
	m := regexp.MustCompile(`^verdict: ([0-9]+) in, ([0-9]+) out, 0 lost, [0-9]+ duplicated, order kept$`).FindStringSubmatch(verdict)
	if m == nil || m[1] != m[2] || m[1] == "0" {
		t.Fatalf("the last line is %q\n%s", verdict, out.String())
	}
	t.Logf("%s, in %v", verdict, time.Since(began).Round(time.Millisecond))
}
