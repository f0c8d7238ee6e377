package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamkit/streamkit/streamd"
)

// noEnv is an empty environment.
func noEnv(string) (string, bool) { return "", false }

func envOf(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

// output is a buffer that may be read while it is written.
type output struct {
	mu    sync.Mutex // guards buf
	buf   bytes.Buffer
	lines chan struct{} // of capacity 1: says that there is more
}

func newOutput() *output { return &output{lines: make(chan struct{}, 1)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.lines <- struct{}{}:
	default:
	}
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// process is the command running in this process.
type process struct {
	t              *testing.T
	stdout, stderr *output
	stop           context.CancelFunc
	code           chan int
}

func startCommand(t *testing.T, env func(string) (string, bool), args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &process{t: t, stdout: newOutput(), stderr: newOutput(), stop: cancel, code: make(chan int, 1)}
	go func() { p.code <- run(ctx, args, env, p.stdout, p.stderr) }()
	t.Cleanup(cancel)
	return p
}

// wait returns the first submatch of re in what the command prints.
func (p *process) wait(re string) string {
	p.t.Helper()
	for {
		if m := regexp.MustCompile(re).FindStringSubmatch(p.stdout.String()); m != nil {
			return m[1]
		}
		select {
		case <-p.stdout.lines:
		case code := <-p.code:
			p.t.Fatalf("exit code %d\n%s", code, p.stderr)
		case <-time.After(time.Minute):
			p.t.Fatalf("%q was not printed:\n%s%s", re, p.stdout, p.stderr)
		}
	}
}

func (p *process) end() int {
	p.stop()
	return <-p.code
}

func TestServe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	p := startCommand(t, envOf(map[string]string{
		"STREAMD_LISTEN": "127.0.0.1:0", "STREAMD_ADMIN": "127.0.0.1:0", "INITIALIZE_STREAMS": "kept:3:eu-west-1",
	}), "--data", dir, "--create", "made:2")
	endpoint := p.wait(`AWS_ENDPOINT_URL_KINESIS=(\S+)`)
	admin := p.wait(`http://(\S+)/healthz`)
	if !strings.Contains(p.stdout.String(), dir) {
		t.Errorf("the data directory is not printed:\n%s", p.stdout)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "Kinesis_20131202.ListStreams")
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); !strings.Contains(string(b), `"StreamNames":["made"]`) {
		t.Errorf("streams of us-east-1: %s", b)
	}

	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"health"}, envOf(map[string]string{"STREAMD_ADMIN": admin}), &out, &errs); code != 0 || out.String() != "ready\n" {
		t.Errorf("health: %d %s%s", code, &out, &errs)
	}
	second := startCommand(t, noEnv, "--data", dir, "--listen", "127.0.0.1:0", "--admin", "off")
	if code := <-second.code; code != 1 || !strings.Contains(second.stderr.String(), "in use by another process") {
		t.Errorf("second server on the directory: %d %s", code, second.stderr)
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.stderr)
	}
	if code := run(t.Context(), []string{"health", "--admin", admin}, noEnv, &out, &errs); code != 1 || !strings.Contains(errs.String(), "is streamd running") {
		t.Errorf("health of a stopped server: %d %s", code, &errs)
	}
}

func TestDamagedDataHasItsExitCode(t *testing.T) {
	dir := t.TempDir()
	p := startCommand(t, noEnv, "--data", dir, "--listen", "127.0.0.1:0", "--admin", "off", "--create", "name-to-be-damaged,other")
	p.wait(`(AWS_REGION)`)
	if code := p.end(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, p.stderr)
	}
	if err := os.RemoveAll(filepath.Join(dir, "snap")); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "journal", "*"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	b, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("name-to-be-damaged"))
	b[at] ^= 1
	if err := os.WriteFile(segments[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	p = startCommand(t, noEnv, "--data", dir, "--listen", "127.0.0.1:0", "--admin", "off")
	if code := <-p.code; code != exitCorrupt || !strings.Contains(p.stderr.String(), segments[0]) {
		t.Errorf("exit code %d, %s", code, p.stderr)
	}
}

// TestSettings checks where the settings of one flag come from, by the error
// that names the value that won.
func TestSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "streamd.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, file string
		env        map[string]string
		args       []string
		want       string
	}{
		{name: "file", file: "fsync: from-file", want: `fsync "from-file"`},
		{name: "environment wins over the file", file: "fsync: from-file", env: map[string]string{"STREAMD_FSYNC": "from-env"}, want: `fsync "from-env"`},
		{name: "command line wins over both", file: "fsync: from-file", env: map[string]string{"STREAMD_FSYNC": "from-env"}, args: []string{"--fsync", "from-flag"}, want: `fsync "from-flag"`},
		{name: "file named by the environment", file: "auth: odd", env: map[string]string{"STREAMD_CONFIG": file}, want: `auth "odd"`},
		{name: "list", file: "create: [a:1, 'b c:2']", want: `stream name "b c"`},
		{name: "hyphens", env: map[string]string{"STREAMD_TRANSITION_DELAY": "-1s"}, want: "transition delay -1s"},
		{name: "unknown key", file: "lisen: x", want: "lisen is not a setting"},
		{name: "not of the type", file: "memory: perhaps", want: `streamd.yaml: memory is "perhaps"`},
		{name: "not YAML", file: "a: [", want: "is not YAML"},
		{name: "a map", file: "create: {a: 1}", want: "create must be a value or a list"},
		{name: "no file", args: []string{"--config", file + "x"}, want: "cannot read the config file"},
		{name: "memory and data", args: []string{"--data", "x"}, want: "exclude each other"},
		{name: "answer memory", args: []string{"--answer-memory", "lots"}, want: `--answer-memory: "lots" is not a number of bytes`},
		{name: "too little answer memory", env: map[string]string{"STREAMD_ANSWER_MEMORY": "1MiB"}, want: "answer memory of 1048576 bytes is less than one answer takes; write at least 16777216"},
		{name: "log level", args: []string{"--log-level", "loud"}, want: `--log-level "loud"`},
		{name: "initial streams", env: map[string]string{"INITIALIZE_STREAMS": "a:b:c"}, want: `INITIALIZE_STREAMS: stream "a:b:c": "b" is not a number`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			write(tt.file)
			args := append([]string{"--memory", "--listen", "127.0.0.1:0", "--admin", "off"}, tt.args...)
			if tt.name == "not of the type" {
				args = args[1:]
			}
			if tt.file != "" && tt.env["STREAMD_CONFIG"] == "" {
				args = append(args, "--config", file)
			}
			var errs bytes.Buffer
			code := run(t.Context(), args, envOf(tt.env), io.Discard, &errs)
			if code != 1 || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("exit code %d, %q lacks %q", code, errs.String(), tt.want)
			}
		})
	}
}

func TestEveryFlagIsASetting(t *testing.T) {
	cmd := newRoot(noEnv)
	for _, m := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(cmd.Flags().FlagUsages(), -1) {
		name := m[1]
		known := name == "config" || name == "help"
		for _, s := range settingNames {
			known = known || s == name
		}
		if !known {
			t.Errorf("--%s is not among the settings", name)
		}
	}
	for _, name := range settingNames {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("setting %s is no flag", name)
		}
	}
}

func TestDataDir(t *testing.T) {
	for _, tt := range []struct {
		name, asked string
		env         map[string]string
		want        string
	}{
		{"asked for", "d", nil, "d"},
		{"XDG", "", map[string]string{"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/streamd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := dataDir(tt.asked, envOf(tt.env))
			if err != nil || got != filepath.FromSlash(tt.want) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), []string{"version"}, noEnv, &out, io.Discard); code != 0 || !strings.HasPrefix(out.String(), fmt.Sprintf("streamd %s go", version)) {
		t.Errorf("%d %s", code, &out)
	}
}

// TestGreetingOfAllAddresses has what is printed to be copied reach the server,
// where no client can call the address it listens on.
func TestGreetingOfAllAddresses(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		t.Run(listen, func(t *testing.T) {
			p := startCommand(t, noEnv, "--memory", "--insecure", "--listen", listen, "--admin", listen)
			endpoint := p.wait(`AWS_ENDPOINT_URL_KINESIS=(\S+)`)
			admin := p.wait(`health: (\S+)/healthz`)
			https := p.wait(`\n(https://\S+)`)
			port := regexp.MustCompile(`^http://127\.0\.0\.1:(\d+)$`).FindStringSubmatch(endpoint)
			if port == nil || https != "https://127.0.0.1:"+port[1] {
				t.Fatalf("endpoints %s and %s, want those of 127.0.0.1", endpoint, https)
			}
			// Where there is IPv6, net takes [::] for 0.0.0.0 as well.
			if want := `# from this machine; it listens on (0\.0\.0\.0|\[::\]):` + port[1] + "\n"; !regexp.MustCompile(want).MatchString(p.stdout.String()) {
				t.Errorf("%q is not printed:\n%s", want, p.stdout)
			}
			for url, status := range map[string]int{endpoint: http.StatusForbidden, admin + "/healthz": http.StatusOK} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != status {
					t.Errorf("%s: %s, want %d", url, resp.Status, status)
				}
			}
			http.DefaultClient.CloseIdleConnections()
			if code := p.end(); code != 0 {
				t.Errorf("exit code %d\n%s", code, p.stderr)
			}
		})
	}
	p := startCommand(t, noEnv, "--memory", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	p.wait(`(healthz)`)
	if code := p.end(); code != 0 || strings.Contains(p.stdout.String(), "listens") || strings.Contains(p.stdout.String(), "listen on") {
		t.Errorf("code %d; what is printed for loopback says more than its URL:\n%s", code, p.stdout)
	}
}

func TestWaitsForDisk(t *testing.T) {
	durable := streamd.Config{DataDir: "data", Fsync: "always"}
	for _, tt := range []struct {
		name string
		cfg  streamd.Config
		env  map[string]string
		want bool
	}{
		{"durable", durable, nil, true},
		{"the user has said", durable, map[string]string{"GOMAXPROCS": "2"}, false},
		{"in memory", streamd.Config{Fsync: "always"}, nil, false},
		{"by an interval", streamd.Config{DataDir: "data", Fsync: "interval:1s"}, nil, false},
		{"off", streamd.Config{DataDir: "data", Fsync: "off"}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := waitsForDisk(tt.cfg, envOf(tt.env)); got != tt.want {
				t.Errorf("waitsForDisk = %v, want %v", got, tt.want)
			}
		})
	}
}
