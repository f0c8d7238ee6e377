//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// findLogrotate returns the path of the real logrotate. Where it is not installed the
// test is skipped, or fails if CI or LOGROTATE_REQUIRE is set.
func findLogrotate(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"logrotate", "/usr/sbin/logrotate", "/sbin/logrotate"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" || os.Getenv("LOGROTATE_REQUIRE") != "" {
		t.Fatal("logrotate is not installed; install the package logrotate")
	}
	t.Skip("skipped: logrotate is not installed; install the package logrotate")
	return ""
}

// The recipe of the package, run by the real logrotate: it rotates and compresses
// what is delivered, leaves a log alone while the file before is not, and goes on once
// it is. Every line arrives once.
func TestLogrotateRecipe(t *testing.T) {
	logrotate := findLogrotate(t)
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	config, logs := setUp(t, srv.Endpoint(), "")
	log := filepath.Join(logs, "a.log")
	recipe, err := os.ReadFile(filepath.Join("..", "..", "packaging", "logrotate.conf"))
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := string(recipe)
	for _, r := range []struct{ from, to string }{
		{"/var/log/app/*.log", filepath.Join(logs, "*.log")},
		{"streamagent drained", asCommand + "=1 " + exe + " drained"},
		{"/etc/streamagent/agent.yaml", config},
		{"--wait 30s", "--wait 10ms"},
	} {
		if !strings.Contains(text, r.from) {
			t.Fatalf("the recipe has no %q:\n%s", r.from, recipe)
		}
		text = strings.Replace(text, r.from, r.to, 1)
	}
	conf := filepath.Join(t.TempDir(), "conf")
	write(t, conf, text)
	rotate := func() (string, error) {
		out, err := exec.CommandContext(t.Context(), logrotate, "--force", "--state", conf+".state", conf).CombinedOutput()
		return string(out), err
	}
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(logs, name))
		return err == nil
	}
	arrived := func(n int) {
		t.Helper()
		eventually(t, "so many records", func() bool { return len(stored(t, srv)) == n })
		eventually(t, "all delivered", func() bool {
			code, _, _ := command(t, "drained", "-c", config, log)
			return code == exitOK
		})
	}

	stop, logged := running(t, "-c", config)
	appendTo(t, log, "one\n")
	arrived(1)
	if out, err := rotate(); err != nil || !there("a.log.1") {
		t.Fatalf("the first rotation: %v\n%s", err, out)
	}
	appendTo(t, log, "two\n")
	arrived(2)
	if out, err := rotate(); err != nil || !there("a.log.1") || !there("a.log.2.gz") {
		t.Fatalf("the second rotation: %v\n%s", err, out)
	}
	appendTo(t, log, "three\n")
	arrived(3)
	if code := stop(); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, logged.String())
	}

	// Nobody reads what comes now. The file before is delivered, so this one is rotated.
	appendTo(t, log, "four\n")
	if out, err := rotate(); err != nil || !there("a.log.3.gz") {
		t.Fatalf("the third rotation: %v\n%s", err, out)
	}
	appendTo(t, log, "five\n")
	out, err := rotate()
	if err == nil || there("a.log.2") || !there("a.log.1") || !strings.Contains(out, "5 of 11 bytes are not delivered") {
		t.Errorf("rotated over what is not delivered: %v\n%s", err, out)
	}
	if b, err := os.ReadFile(log); err != nil || string(b) != "five\n" {
		t.Errorf("the log was not left alone: %q, %v", b, err)
	}

	stop, logged = running(t, "-c", config)
	arrived(5)
	eventually(t, "the fourth rotation", func() bool {
		out, err = rotate()
		return err == nil && there("a.log.4.gz")
	})
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, logged.String())
	}
	if got := strings.Join(stored(t, srv), ""); len(got) != len("one\ntwo\nthree\nfour\nfive\n") {
		t.Errorf("stored %q", got)
	}
}
