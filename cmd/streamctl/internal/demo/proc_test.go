package demo_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/demo"
)

// TestMain lets the test program be the child of its own tests.
func TestMain(m *testing.M) {
	switch os.Getenv("DEMO_TEST_CHILD") {
	case "fail":
		fmt.Fprintln(os.Stderr, "first words")
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(3)
	case "wait":
		fmt.Println("ready")
		select {}
	}
	os.Exit(m.Run())
}

func child(t *testing.T, what, log string) *demo.Proc {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := demo.Start("child", self, nil, append(os.Environ(), "DEMO_TEST_CHILD="+what), log)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProcessThatEndsByItself(t *testing.T) {
	p := child(t, "fail", filepath.Join(t.TempDir(), "log"))
	<-p.Done()
	if !p.Died() || p.Running() {
		t.Errorf("Died %v, Running %v", p.Died(), p.Running())
	}
	if got, want := p.EndedError().Error(), "child ended by itself (exit status 3): last words"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if err := p.Stop(time.Minute); err != nil {
		t.Errorf("Stop after the end: %v", err)
	}
}

func TestProcessesThatWeEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*demo.Proc) error
	}{
		{"kill", func(p *demo.Proc) error { p.Kill(); return nil }},
		{"stop", func(p *demo.Proc) error { return p.Stop(time.Minute) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			for range 2 { // a second start continues the log
				p := child(t, "wait", log)
				if !p.Running() || p.Died() {
					t.Errorf("Running %v, Died %v", p.Running(), p.Died())
				}
				if err := tt.end(p); err != nil {
					t.Fatal(err)
				}
				if p.Running() || p.Died() {
					t.Errorf("after the end: Running %v, Died %v", p.Running(), p.Died())
				}
			}
		})
	}
}

func TestChildEnv(t *testing.T) {
	t.Setenv("AWS_PROFILE", "mine")
	t.Setenv("AWS_ENDPOINT_URL_KINESIS", "http://elsewhere")
	t.Setenv("STREAMD_FSYNC", "off")
	t.Setenv("OTHER", "kept")
	env := strings.Join(demo.ChildEnv("http://127.0.0.1:1"), "\n")
	for _, gone := range []string{"mine", "elsewhere", "STREAMD_"} {
		if strings.Contains(env, gone) {
			t.Errorf("the child sees %s", gone)
		}
	}
	r := bufio.NewScanner(strings.NewReader(env))
	seen := map[string]bool{}
	for r.Scan() {
		seen[r.Text()] = true
	}
	for _, want := range []string{"OTHER=kept", "AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_REGION=us-east-1"} {
		if !seen[want] {
			t.Errorf("the child does not see %s", want)
		}
	}
}
