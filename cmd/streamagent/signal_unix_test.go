//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// asCommand is the variable with which the test's binary is the command itself.
const asCommand = "STREAMAGENT_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main() // exits
	}
	os.Exit(m.Run())
}

// deaf listens on loopback, takes connections, and never says a word.
func deaf(t *testing.T) (endpoint string) {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		conns   []net.Conn
		serving sync.WaitGroup
	)
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
		}
	})
	t.Cleanup(func() {
		_ = ln.Close() // ends the loop
		serving.Wait()
		for _, c := range conns {
			_ = c.Close() // nothing is expected of it
		}
	})
	return "http://" + ln.Addr().String()
}

// The first SIGTERM lets the agent deliver what it has read for as long as
// shutdownTimeoutMillis says; the second ends it at once. What was on its way is
// read again.
func TestSecondSignal(t *testing.T) {
	config, logs := setUp(t, deaf(t), `"shutdownTimeoutMillis": 600000,`)
	write(t, filepath.Join(logs, "a.log"), "one\ntwo\n")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out buffer
	cmd := exec.CommandContext(t.Context(), exe, "run", "-c", config)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	eventually(t, "two records on their way", func() bool {
		_, text, _ := command(t, "status", "--json", "-c", config)
		return strings.Contains(text, `"records": 2,`)
	})
	signal := func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
	}
	signal()
	pause(t.Context(), 300*time.Millisecond)
	if code, _, errOut := command(t, "status", "-c", config); code != exitOK {
		t.Errorf("after one signal it does not answer any more: %s\n%s", errOut, out.String())
	}
	var end error
	eventually(t, "the end", func() bool {
		signal()
		select {
		case end = <-ended:
			return true
		case <-time.After(50 * time.Millisecond):
			return false
		}
	})
	ee, ok := errors.AsType[*exec.ExitError](end)
	if !ok || !ee.Sys().(syscall.WaitStatus).Signaled() {
		t.Errorf("ended with %v, want by the signal\n%s", end, out.String())
	}

	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(strings.TrimPrefix(string(text), `{"kinesis.endpoint": "`), `"`)
	write(t, config, strings.Replace(string(text), before, srv.Endpoint(), 1))
	if code, _, errOut := command(t, "run", "--once", "-c", config); code != exitOK || len(stored(t, srv)) != 2 {
		t.Errorf("the next start: exit code %d, stored %q\n%s", code, stored(t, srv), errOut)
	}
}

// With --socket a running agent can be asked though its configuration cannot be
// read any more, which is when one most wants to know.
func TestAskWithoutConfiguration(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	config, logs := setUp(t, srv.Endpoint(), "")
	log := filepath.Join(logs, "a.log")
	write(t, log, "one\n")
	socket := filepath.Join(filepath.Dir(config), "state", "streamagent.sock")
	stop, logged := running(t, "-c", config, "--reload-interval", "1h")
	eventually(t, "an answer", func() bool {
		code, _, _ := command(t, "status", "-c", config)
		return code == exitOK
	})
	write(t, config, `{"flows": [`)
	for _, args := range [][]string{
		{"status"}, {"status", "--json"}, {"drained", "--wait", "20s", log}, {"checkpoints", "list"},
	} {
		code, _, errOut := command(t, append(args, "-c", config, "--socket", socket)...)
		if code != exitOK {
			t.Errorf("%q: exit code %d, %s\n%s", args, code, errOut, logged.String())
		}
		if code, _, errOut := command(t, append(args, "-c", config)...); code != exitError || !strings.Contains(errOut, "no JSON") {
			t.Errorf("%q without --socket: exit code %d, %s", args, code, errOut)
		}
	}
	stop()
	for _, args := range [][]string{{"status"}, {"drained", log}, {"checkpoints", "list"}} {
		code, _, errOut := command(t, append(args, "-c", config, "--socket", socket)...)
		if code != exitError || !strings.Contains(errOut, "no agent answers") {
			t.Errorf("%q of nobody: exit code %d, %s", args, code, errOut)
		}
		if args[0] != "status" && !strings.Contains(errOut, "no JSON") {
			t.Errorf("%q of nobody does not say what is wrong with the configuration: %s", args, errOut)
		}
	}
}

func TestNotReady(t *testing.T) {
	for _, tt := range []struct {
		name string
		flow agent.FlowStatus
		want string
	}{
		{"running", agent.FlowStatus{ID: "f", OldestUnacked: 3600}, ""},
		{"blocked for a moment", agent.FlowStatus{ID: "f", Blocked: 59, LastError: "no"}, ""},
		{"blocked", agent.FlowStatus{ID: "f", Blocked: 61, LastError: "no"}, "flow f is blocked for 61 seconds: no"},
		{"stalled for a moment", agent.FlowStatus{ID: "f", Stalled: 40}, ""},
		{"stalled", agent.FlowStatus{ID: "f", Stalled: 90}, "flow f is stalled"},
	} {
		s := agent.Status{Flows: []agent.FlowStatus{{ID: "other"}, tt.flow}}
		if got := notReady(&s); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
