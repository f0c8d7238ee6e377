package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// buffer is a bytes.Buffer for many writers.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// setUp writes a configuration for one flow and returns its path and the
// directory of the logs.
func setUp(t *testing.T, endpoint, more string) (config, logs string) {
	t.Helper()
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	dir := t.TempDir()
	logs = filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	config = filepath.Join(dir, "agent.json")
	text := fmt.Sprintf(`{"kinesis.endpoint": %q, "checkpointFile": %q, %s "flows": [{"filePattern": %q, "kinesisStream": "s",
		"initialPosition": "START_OF_FILE", "maxBufferAgeMillis": 10}]}`,
		endpoint, filepath.Join(dir, "state", "checkpoints"), more, filepath.Join(logs, "*.log"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config, logs
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func stored(t *testing.T, srv *streamdtest.Server) []string {
	t.Helper()
	var got []string
	for _, r := range srv.Records(t, "s") {
		got = append(got, string(r.Data))
	}
	return got
}

func TestRunOnce(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	config, logs := setUp(t, srv.Endpoint(), "")
	write(t, filepath.Join(logs, "a.log"), "one\ntwo\nthree")
	for range 2 { // the second run finds nothing to do
		var errOut buffer
		if code := run(t.Context(), []string{"run", "--once", "-c", config}, io.Discard, &errOut); code != exitOK {
			t.Fatalf("exit code %d:\n%s", code, errOut.String())
		}
		if got := stored(t, srv); len(got) != 3 {
			t.Errorf("stored %q, want three records", got)
		}
	}
}

// The endpoint may come from the environment, as with the AWS tools, and the
// command needs no subcommand.
func TestRunUntilSignal(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.CreateStream(t, "s", 1)
	config, logs := setUp(t, "", "")
	t.Setenv("AWS_ENDPOINT_URL_KINESIS", srv.Endpoint())
	write(t, filepath.Join(logs, "a.log"), "one\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	addr := freeAddr(t)
	var errOut buffer
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"-c", config, "--status-addr", addr}, io.Discard, &errOut) }()
	waitFor(t, "http://"+addr+"/status", `"ackedRecords": 1,`)
	waitFor(t, "http://"+addr+"/metrics", `streamagent_records_total{flow="kinesis:s:`+filepath.Join(logs, "*.log")+`",result="sent"} 1`)

	var second buffer
	if c := run(t.Context(), []string{"-c", config}, io.Discard, &second); c != exitError || !strings.Contains(second.String(), "is in use by another agent; stop that one") {
		t.Errorf("a second agent: exit code %d, %s", c, second.String())
	}
	cancel()
	if c := <-code; c != exitOK {
		t.Errorf("exit code %d:\n%s", c, errOut.String())
	}
	if got := stored(t, srv); len(got) != 1 {
		t.Errorf("stored %q, want one record", got)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// waitFor asks url until the answer contains want.
func waitFor(t *testing.T, url, want string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	var last string
	for {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s never answered %q; last was\n%s", url, want, last)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			last = err.Error()
			continue
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if last = string(b); err == nil && strings.Contains(last, want) {
			return
		}
	}
}

// A stream that refuses everything must not keep a stopped agent; the exit code
// tells.
func TestNotDrained(t *testing.T) {
	config, logs := setUp(t, "http://"+freeAddr(t), `"shutdownTimeoutMillis": 100,`)
	write(t, filepath.Join(logs, "a.log"), "one\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	addr := freeAddr(t)
	var errOut buffer
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"-c", config, "--status-addr", addr}, io.Discard, &errOut) }()
	waitFor(t, "http://"+addr+"/status", `"records": 1,`)
	cancel()
	if c := <-code; c != exitNotDrained {
		t.Errorf("exit code %d, want %d:\n%s", c, exitNotDrained, errOut.String())
	}
}

// Whatever is wrong is one clear sentence with what to do next.
func TestBadInput(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	for _, tt := range []struct {
		name string
		args func(t *testing.T) []string
		want string
	}{
		{"no file", func(t *testing.T) []string { t.Helper(); return []string{"-c", filepath.Join(t.TempDir(), "none")} }, "there is no configuration file"},
		{"broken file", func(t *testing.T) []string {
			t.Helper()
			path := filepath.Join(t.TempDir(), "agent.json")
			write(t, path, "{\"flows\": [}")
			return []string{"validate", "-c", path}
		}, "agent.json:1:12: no JSON: a value is missing before this bracket or brace"},
		{"unknown stream", func(t *testing.T) []string {
			t.Helper()
			config, _ := setUp(t, srv.Endpoint(), "")
			return []string{"-c", config}
		}, `stream "s" does not exist at ` + srv.Endpoint() + "; create it with"},
		{"no region", func(t *testing.T) []string {
			t.Helper()
			config, _ := setUp(t, "", "")
			return []string{"-c", config}
		}, "no AWS region is configured; set kinesis.region"},
		{"bad endpoint", func(t *testing.T) []string {
			t.Helper()
			config, _ := setUp(t, "ftp://x", "")
			return []string{"-c", config}
		}, "is not a URL: write it like"},
		{"status address in use", func(t *testing.T) []string {
			t.Helper()
			srv := streamdtest.New(t, streamdtest.Listen())
			srv.CreateStream(t, "s", 1)
			config, _ := setUp(t, srv.Endpoint(), "")
			return []string{"-c", config, "--status-addr", strings.TrimPrefix(srv.Endpoint(), "http://")}
		}, "cannot listen on --status-addr"},
		{"damaged checkpoints", func(t *testing.T) []string {
			t.Helper()
			srv := streamdtest.New(t, streamdtest.Listen())
			srv.CreateStream(t, "s", 1)
			config, _ := setUp(t, srv.Endpoint(), "")
			path := filepath.Join(filepath.Dir(config), "state", "checkpoints")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, path, "this is a text of more than thirty-two bytes")
			return []string{"-c", config}
		}, "restore it from a backup, or move it away"},
		{"log level", func(t *testing.T) []string { t.Helper(); return []string{"--log-level", "loud"} }, "none of debug, info, warn, error"},
		{"argument", func(t *testing.T) []string { t.Helper(); return []string{"start"} }, `unknown command "start"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var errOut buffer
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if code := run(ctx, tt.args(t), io.Discard, &errOut); code != exitError {
				t.Errorf("exit code %d, want %d", code, exitError)
			}
			if got := errOut.String(); !strings.Contains(got, "streamagent: ") || !strings.Contains(got, tt.want) || strings.Contains(got, "goroutine") {
				t.Errorf("output %q, want %q", got, tt.want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	config, logs := setUp(t, "http://127.0.0.1:1", `"log.file": "/x",`)
	write(t, filepath.Join(logs, "a.log"), "")
	write(t, filepath.Join(logs, "a.log.gz"), "")
	var out buffer
	if code := run(t.Context(), []string{"validate", "-c", config}, &out, io.Discard); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{"warning: ", "log.file: no effect: the log goes to the standard error output", "*.log -> stream s: 1 file\n", "is valid: 1 flows"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output %q, want %q", out.String(), want)
		}
	}
	// It touches nothing: an agent may run meanwhile.
	if _, err := vfs.OS.Stat(filepath.Join(filepath.Dir(config), "state")); err == nil {
		t.Error("validate made the directory of the checkpoints")
	}
}

func TestVersion(t *testing.T) {
	var out buffer
	if code := run(t.Context(), []string{"version"}, &out, io.Discard); code != exitOK || !strings.HasPrefix(out.String(), "streamagent ") {
		t.Errorf("exit code %d, output %q", code, out.String())
	}
}
