//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// command runs a command line and returns its exit code and what it printed.
func command(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e buffer
	code = run(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

// running starts an agent that ends with the test, or by the function returned.
func running(t *testing.T, args ...string) (stop func() int, errOut *buffer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	errOut = &buffer{}
	code := make(chan int, 1)
	go func() { code <- run(ctx, args, io.Discard, errOut) }()
	stop = sync.OnceValue(func() int {
		cancel()
		return <-code
	})
	t.Cleanup(func() { stop() })
	return stop, errOut
}

// eventually tries until want holds.
func eventually(t *testing.T, what string, want func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !want() {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
		pause(t.Context(), 10*time.Millisecond)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// What a running agent is asked through its socket, and what is known without it.
func TestOperations(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	config, logs := setUp(t, srv.Endpoint(), "")
	log := filepath.Join(logs, "a.log")
	write(t, log, "one\ntwo\n")

	if code, _, errOut := command(t, "status", "-c", config); code != exitError || !strings.Contains(errOut, "no agent answers on") {
		t.Errorf("status without an agent: %d %s", code, errOut)
	}
	if code, _, errOut := command(t, "drained", "-c", config, log); code != exitError || !strings.Contains(errOut, "checkpoint file") {
		t.Errorf("drained before the first start: %d %s", code, errOut)
	}

	stop, logged := running(t, "-c", config)
	eventually(t, "an answer", func() bool {
		code, _, _ := command(t, "status", "-c", config)
		return code == exitOK
	})
	if code, _, errOut := command(t, "drained", "--wait", "20s", "-c", config, filepath.Join(logs, "*.log")); code != exitOK {
		t.Fatalf("drained: %d %s\n%s", code, errOut, logged.String())
	}
	if got := stored(t, srv); len(got) != 2 {
		t.Errorf("drained, and stored %q", got)
	}
	// A line that is not finished is not delivered.
	appendTo(t, log, "thr")
	if code, _, errOut := command(t, "drained", "-c", config, log); code != exitPending || !strings.Contains(errOut, "3 of 11 bytes are not delivered by flow kinesis:s:") {
		t.Errorf("drained with half a line: %d %s", code, errOut)
	}
	if code, _, errOut := command(t, "drained", "-c", config, config); code != exitError || !strings.Contains(errOut, "no flow reads this file") {
		t.Errorf("drained of a file of nobody: %d %s", code, errOut)
	}
	if code, _, errOut := command(t, "drained", "-c", config, filepath.Join(logs, "none*")); code != exitError || !strings.Contains(errOut, "no file matches") {
		t.Errorf("drained of nothing: %d %s", code, errOut)
	}
	code, out, errOut := command(t, "status", "-c", config)
	if code != exitOK || !strings.Contains(out, "running") || !strings.Contains(out, "8 of ") || !strings.Contains(out, "2 sent") {
		t.Errorf("status: %d %s %s", code, out, errOut)
	}
	code, out, _ = command(t, "status", "--json", "-c", config)
	if code != exitOK || !json.Valid([]byte(out)) || !strings.Contains(out, `"destination": "KinesisStream:s"`) {
		t.Errorf("status --json: %d %s", code, out)
	}
	code, out, _ = command(t, "checkpoints", "list", "-c", config)
	if code != exitOK || !strings.Contains(out, "a.log  8") || !strings.Contains(out, "live") {
		t.Errorf("checkpoints list: %d %s", code, out)
	}
	if code, _, errOut := command(t, "checkpoints", "reset", "--all", "-c", config); code != exitError || !strings.Contains(errOut, "in use by an agent; stop it first") {
		t.Errorf("checkpoints reset beside an agent: %d %s", code, errOut)
	}
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, logged.String())
	}

	// The same questions to the checkpoint file.
	if code, _, _ := command(t, "drained", "-c", config, log); code != exitPending {
		t.Errorf("drained after the end: %d, want %d", code, exitPending)
	}
	code, out, _ = command(t, "checkpoints", "list", "--json", "-c", config)
	if code != exitOK || !strings.Contains(out, `"offset":8,`) {
		t.Errorf("checkpoints list --json: %d %s", code, out)
	}
	if code, _, errOut := command(t, "checkpoints", "reset", "-c", config); code != exitError || !strings.Contains(errOut, "name files, a flow with --flow, or --all") {
		t.Errorf("checkpoints reset of nothing: %d %s", code, errOut)
	}
	if code, _, errOut := command(t, "checkpoints", "reset", "-c", config, "/none"); code != exitError || !strings.Contains(errOut, "no position is like that") {
		t.Errorf("checkpoints reset of another: %d %s", code, errOut)
	}
	if code, out, errOut := command(t, "checkpoints", "reset", "-c", config, log); code != exitOK || !strings.Contains(out, "1 positions are forgotten") {
		t.Errorf("checkpoints reset: %d %s%s", code, out, errOut)
	}
	if code, _, _ := command(t, "drained", "-c", config, log); code != exitPending {
		t.Errorf("drained after a reset: %d, want %d", code, exitPending)
	}
}

func TestDryRun(t *testing.T) {
	config, logs := setUp(t, "http://127.0.0.1:1", "")
	write(t, filepath.Join(logs, "a.log"), "one <&>\n\xff\n")
	code, out, errOut := command(t, "dry-run", "-c", config)
	flow := fmt.Sprintf(`"flow":"kinesis:s:%s","stream":"s",`, filepath.Join(logs, "*.log"))
	if want := "{" + flow + `"data":"one <&>\n"}` + "\n{" + flow + `"dataBase64":"/wo="}` + "\n"; code != exitOK || out != want {
		t.Errorf("exit code %d, %s, output\n%s, want\n%s", code, errOut, out, want)
	}
	code, out, _ = command(t, "dry-run", "-n", "1", "--follow", "-c", config)
	if code != exitOK || strings.Count(out, "\n") != 1 {
		t.Errorf("with a limit: %d %s", code, out)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(config), "state")); err == nil {
		t.Error("something was saved")
	}
}

func TestConvertCommand(t *testing.T) {
	config, _ := setUp(t, "http://127.0.0.1:1", "")
	yaml := filepath.Join(filepath.Dir(config), "agent.yaml")
	if code, _, errOut := command(t, "convert", "-o", yaml, config); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	code, out, errOut := command(t, "validate", "--strict", "-c", yaml)
	if code != exitError || !strings.Contains(errOut, "--strict lets none pass") { // checkpoints under /tmp
		t.Errorf("validate --strict: %d %s%s", code, out, errOut)
	}
	if code, out, errOut = command(t, "validate", "-c", yaml); code != exitOK || !strings.Contains(out, "is valid: 1 flows") {
		t.Errorf("validate: %d %s%s", code, out, errOut)
	}
	if code, _, errOut := command(t, "convert", "-o", yaml, config); code != exitError || !strings.Contains(errOut, "name a new file") {
		t.Errorf("convert onto a file: %d %s", code, errOut)
	}
}

func TestValidateOnline(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	config, _ := setUp(t, srv.Endpoint(), "")
	if code, _, errOut := command(t, "validate", "--online", "-c", config); code != exitError || !strings.Contains(errOut, `stream "s" does not exist`) {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	nowhere, _ := setUp(t, "http://127.0.0.1:1", "")
	if code, _, errOut := command(t, "validate", "--online", "-c", nowhere); code != exitError || !strings.Contains(errOut, `cannot look at stream "s"`) {
		t.Errorf("without a server: exit code %d: %s", code, errOut)
	}
	srv.CreateStream(t, "s", 1)
	if code, _, errOut := command(t, "validate", "--online", "-c", config); code != exitOK {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

// A changed file, and a signal, make the agent take over the configuration; a bad
// one it refuses and goes on. The service manager hears of all that.
func TestReloadCommand(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	config, logs := setUp(t, srv.Endpoint(), "")
	manager := listenNotify(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	write(t, filepath.Join(logs, "a.log"), "one\n")
	stop, logged := running(t, "-c", config, "--reload-interval", "10ms", "--log-format", "json")
	eventually(t, "one record", func() bool { return len(stored(t, srv)) == 1 })
	eventually(t, "READY and WATCHDOG", func() bool { return manager.has("READY=1\nSTATUS=1 flows") && manager.has("WATCHDOG=1") })

	// A second flow comes in a drop-in file.
	more := filepath.Join(filepath.Dir(config), "more")
	drop := filepath.Join(filepath.Dir(config), "agent.d")
	for _, dir := range []string{more, drop} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(more, "b.txt"), "two\n")
	write(t, filepath.Join(drop, "b.json"), fmt.Sprintf(`{"flows": [{"filePattern": %q, "kinesisStream": "s", "initialPosition": "START_OF_FILE",
		"maxBufferAgeMillis": 10}]}`, filepath.Join(more, "*.txt")))
	eventually(t, "the record of the second flow", func() bool { return len(stored(t, srv)) == 2 })
	eventually(t, "RELOADING and READY", func() bool {
		return manager.has("RELOADING=1\nMONOTONIC_USEC=") && manager.has("READY=1\nSTATUS=2 flows")
	})

	for _, bad := range []struct{ text, want string }{
		{`{"flows": [`, "no JSON"},
		{`{"flows": [{"filePattern": "/none/*", "kinesisStream": "missing"}]}`, "does not exist"},
	} {
		write(t, filepath.Join(drop, "b.json"), bad.text)
		eventually(t, bad.want, func() bool {
			code, out, _ := command(t, "status", "-c", config, "--socket", filepath.Join(filepath.Dir(config), "state", "streamagent.sock"))
			return code == exitOK && strings.Contains(out, "was not taken") && strings.Contains(out, bad.want) || strings.Contains(logged.String(), bad.want)
		})
	}
	appendTo(t, filepath.Join(logs, "a.log"), "three\n")
	appendTo(t, filepath.Join(more, "b.txt"), "four\n")
	eventually(t, "records by the old configuration", func() bool { return len(stored(t, srv)) == 4 })

	// The signal repeats the refusal, and then takes what is right again.
	if err := os.Remove(filepath.Join(drop, "b.json")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one flow", func() bool {
		_, out, _ := command(t, "status", "-c", config)
		return !strings.Contains(out, "b.txt") && !strings.Contains(out, "was not taken") && strings.Contains(out, "a.log")
	})
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, logged.String())
	}
	eventually(t, "STOPPING", func() bool { return manager.has("STOPPING=1") }) // it reads when it may
}

// notifySocket is what a service manager listens on.
type notifySocket struct {
	mu   sync.Mutex
	text string
}

func (n *notifySocket) has(s string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Contains(n.text, s)
}

func listenNotify(t *testing.T) *notifySocket {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	n := &notifySocket{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			k, err := conn.Read(buf)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.text += string(buf[:k]) + "\n\n"
			n.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close() // ends the reader
		<-done
	})
	return n
}

// Metrics for CloudWatch are lines of their format, and add up.
func TestCloudWatchLines(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	file := filepath.Join(t.TempDir(), "metrics")
	config, logs := setUp(t, srv.Endpoint(), fmt.Sprintf(`"cloudwatch.emitMetrics": true, "cloudwatch.metricsFile": %q,`, file))
	write(t, filepath.Join(logs, "a.log"), "one\ntwo\n")
	if code, _, errOut := command(t, "--once", "-c", config); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		Meta struct {
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
				Metrics    []struct{ Name, Unit string }
			}
		} `json:"_aws"`
		Destination                       string
		BytesSent, RecordsSent            int
		RecordSendAttempts, ServiceErrors int
	}
	if err := json.Unmarshal(b, &line); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	if line.Destination != "KinesisStream:s" || line.BytesSent != 8 || line.RecordsSent != 2 || line.RecordSendAttempts != 2 ||
		line.Meta.CloudWatchMetrics[0].Namespace != "AWSKinesisAgent" || len(line.Meta.CloudWatchMetrics[0].Metrics) != 6 {
		t.Errorf("metrics %s", b)
	}
}

// Positions of the official agent: one that fits, and those that do not.
func TestImport(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	config, logs := setUp(t, srv.Endpoint(), "")
	log, old := filepath.Join(logs, "a.log"), filepath.Join(logs, "old.log")
	write(t, log, "one\ntwo\n")
	write(t, old, "long delivered\n")
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(log, &st); err != nil {
		t.Fatal(err)
	}
	flow := "kinesis:s:" + filepath.Join(logs, "*.log")
	id := fmt.Sprintf("(dev=%x,ino=%d)", st.Dev, st.Ino)
	row := func(flow, path, id string, offset int) string {
		b, err := json.Marshal(map[string]any{"flow": flow, "path": path, "fileId": id, "offset": offset, "size": 8, "lastModifiedTime": 0})
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	rows := filepath.Join(t.TempDir(), "rows")
	write(t, rows, row(flow, log+".1", id, 4)+row("kinesis:other:/x", log, id, 4)+row(flow, log, "(dev=1,ino=1)", 4)+row(flow, log, id, 9))
	code, out, errOut := command(t, "checkpoints", "import", "-c", config, rows)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	for _, want := range []string{
		"imported  " + flow + " " + log + ".1 at 4", "no flow of the configuration has this id", "no file in its directory is the one",
		"the file has 8 bytes, less than the offset", "imported  " + flow + " " + old + " at 15", "2 imported, 3 refused",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output\n%s, want %q", out, want)
		}
	}
	if code, out, _ := command(t, "checkpoints", "import", "-c", config, rows); code != exitOK || !strings.Contains(out, "has a checkpoint already") {
		t.Errorf("a second import: %d %s", code, out)
	}
	if code, _, errOut := command(t, "checkpoints", "import", "-c", config, config); code != exitError || !strings.Contains(errOut, "is not what export or javaimport prints") {
		t.Errorf("import of something else: %d %s", code, errOut)
	}
	if code, _, errOut := command(t, "--once", "-c", config); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	if got := stored(t, srv); len(got) != 1 || got[0] != "two\n" {
		t.Errorf("stored %q, want what was not delivered", got)
	}
}

// Positions are shown, set, and carried over as text.
func TestCheckpoints(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	config, logs := setUp(t, srv.Endpoint(), "")
	log := filepath.Join(logs, "a.log")
	write(t, log, "one\ntwo\nthr")
	want := func(code int, text string, args ...string) {
		t.Helper()
		got, out, errOut := command(t, append(args, "-c", config)...)
		if got != code || !strings.Contains(out+errOut, text) {
			t.Errorf("%q: exit code %d, want %d; output %s%s, want %q", args, got, code, out, errOut, text)
		}
	}
	want(exitError, "there is no checkpoint file", "checkpoints", "show", log)
	want(exitError, "takes two arguments, the file and the offset", "checkpoints", "set", log)
	want(exitError, `neither a number of bytes nor "start" or "end"`, "checkpoints", "set", log, "x")
	want(exitError, "no line of "+log+" begins at 5; the one with this byte begins at 4", "checkpoints", "set", log, "5")
	want(exitError, "offset 12 is behind the end of "+log+", which has 11 bytes", "checkpoints", "set", log, "12")
	want(exitError, "no flow reads this file", "checkpoints", "set", config, "0")
	want(exitError, `no flow of the configuration has the id "x"`, "checkpoints", "set", "--flow", "x", log, "0")
	want(exitError, "no such file", "checkpoints", "set", "--flow", "kinesis:s:"+filepath.Join(logs, "*.log"), log+"x", "0")

	want(exitOK, "is at 8 of 11 bytes", "checkpoints", "set", log, "end")
	want(exitOK, "is at 0 of 11 bytes", "checkpoints", "set", log, "start")
	want(exitOK, "is at 4 of 11 bytes", "checkpoints", "set", log, "4")
	want(exitOK, "this is the file", "checkpoints", "show", log)
	want(exitOK, "4 of 11", "checkpoints", "show", log)
	want(exitError, "there is no position of "+config, "checkpoints", "show", config)

	code, rows, _ := command(t, "checkpoints", "export", "-c", config)
	if code != exitOK || strings.Count(rows, "\n") != 1 || !strings.Contains(rows, `"offset":4,"exported":true`) {
		t.Fatalf("export: %d %s", code, rows)
	}
	file := filepath.Join(t.TempDir(), "rows")
	write(t, file, rows)
	want(exitOK, "has a checkpoint already", "checkpoints", "import", file)
	want(exitOK, "1 positions are forgotten", "checkpoints", "reset", "--all")
	want(exitOK, "1 imported, 0 refused", "checkpoints", "import", file)

	want(exitOK, "", "run", "--once")
	if got := stored(t, srv); len(got) != 2 || got[0] != "two\n" || got[1] != "thr" {
		t.Errorf("stored %q, want what is behind the position", got)
	}
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	want(exitOK, "it has the name "+log+".1 now", "checkpoints", "show", log+".1")
	write(t, log, "other\n")
	want(exitOK, "another file has the name now", "checkpoints", "show", log)
}
