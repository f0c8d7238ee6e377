package integration_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// TestBadInput gives the programs what users give them on a bad day. Each must
// end with a code other than 0 and one sentence that says what is wrong and
// what to do next.
func TestBadInput(t *testing.T) {
	needProcesses(t)
	running := startServer(t)
	running.createStream("there", 1)
	dead := "http://" + freeAddr(t)

	streamd := func(args ...string) []string { return append([]string{"streamd"}, args...) }
	onFreePorts := func(args ...string) []string {
		return streamd(append([]string{"--listen", freeAddr(t), "--admin", freeAddr(t)}, args...)...)
	}
	agent := func(config string) []string {
		path := filepath.Join(t.TempDir(), "agent.json")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"streamagent", "-c", path}
	}
	goodFlow := fmt.Sprintf(`{"filePattern": %q, "kinesisStream": "there"}`, filepath.Join(t.TempDir(), "*.log"))

	type row struct {
		name  string
		args  []string
		env   []string // default: the running server's
		stdin string
		wants []string // in the sentence
	}
	rows := []row{
		{
			name:  "port in use",
			args:  streamd("--listen", usedAddr(t), "--admin", freeAddr(t), "--memory"),
			wants: []string{"in use", "--listen"},
		},
		{
			name:  "admin port in use",
			args:  streamd("--listen", freeAddr(t), "--admin", usedAddr(t), "--memory"),
			wants: []string{"in use", "--admin"},
		},
		{
			name:  "data directory locked",
			args:  onFreePorts("--data", running.dataDir),
			wants: []string{running.dataDir, "another process", "--data"},
		},
		{
			name:  "data directory below a file",
			args:  onFreePorts("--data", filepath.Join(regularFile(t), "data")),
			wants: []string{"data directory", "--data"},
		},
		{
			name:  "corrupt journal",
			args:  onFreePorts("--data", corruptData(t)),
			wants: []string{"damaged", ".ring", "restore"},
		},
		{
			name:  "no sense in a flag",
			args:  onFreePorts("--fsync", "sometimes", "--memory"),
			wants: []string{"fsync", "sometimes", "always"},
		},
		{
			name:  "open to the network",
			args:  streamd("--listen", "0.0.0.0:0", "--admin", freeAddr(t), "--memory"),
			wants: []string{"--insecure"},
		},

		{
			name:  "describe an unknown stream",
			args:  []string{"streamctl", "stream", "describe", "nowhere"},
			wants: []string{`"nowhere" does not exist`, "streamctl stream create"},
		},
		{
			name:  "put into an unknown stream",
			args:  []string{"streamctl", "put", "nowhere"},
			stdin: "line\n",
			wants: []string{`"nowhere" does not exist`, "streamctl stream create"},
		},
		{
			name:  "check of nothing",
			args:  streamd("check", "--data", filepath.Join(t.TempDir(), "none")),
			wants: []string{"there is no data directory", "--data"},
		},
		{
			name:  "check of another directory",
			args:  streamd("check", "--data", t.TempDir()),
			wants: []string{"no data directory of streamd", "--data"},
		},
		{
			name:  "check of a directory in use",
			args:  streamd("check", "--data", running.dataDir),
			wants: []string{"in use", "stop it first", "streamd snapshot"},
		},
		{
			name:  "dump of nothing in particular",
			args:  streamd("dump", "--data", running.dataDir),
			wants: []string{"records, journal or state"},
		},
		{
			name:  "snapshot of no server",
			args:  streamd("snapshot", "--admin", freeAddr(t), "--out", filepath.Join(t.TempDir(), "s.tar")),
			wants: []string{"no answer", "--admin"},
		},
		{
			name:  "restore of what is no snapshot",
			args:  streamd("restore", "--in", "-", "--data", filepath.Join(t.TempDir(), "d")),
			stdin: "records, but no snapshot",
			wants: []string{"no snapshot that streamd has written"},
		},
		{
			name:  "restore over a directory",
			args:  streamd("restore", "--in", "-", "--data", running.dataDir),
			wants: []string{"is not empty", "does not exist yet"},
		},
		{
			name:  "tail an unknown stream",
			args:  []string{"streamctl", "tail", "nowhere"},
			wants: []string{`"nowhere" does not exist`},
		},
		{
			name:  "put a file that does not exist",
			args:  []string{"streamctl", "put", "there", "/no/such/file"},
			wants: []string{"/no/such/file", "does not exist"},
		},
		{
			name:  "demo of a file that does not exist",
			args:  []string{"streamctl", "demo", "/no/such/file"},
			wants: []string{"/no/such/file", "does not exist"},
		},
		{
			name:  "no server",
			args:  []string{"streamctl", "stream", "list"},
			env:   []string{"AWS_ENDPOINT_URL=" + dead},
			wants: []string{dead, "start the server"},
		},
		{
			name:  "endpoint without a scheme",
			args:  []string{"streamctl", "--endpoint", "127.0.0.1:4567", "stream", "list"},
			wants: []string{"http://127.0.0.1:4567"},
		},
		{
			name:  "no region for AWS",
			args:  []string{"streamctl", "stream", "list"},
			env:   []string{},
			wants: []string{"region", "--region"},
		},

		{
			name:  "agent.json does not exist",
			args:  []string{"streamagent", "-c", "/no/such/agent.json"},
			wants: []string{"/no/such/agent.json"},
		},
		{
			name:  "agent.json is cut off",
			args:  agent(`{"flows": [` + goodFlow),
			wants: []string{"agent.json"},
		},
		{
			name:  "agent.json without flows",
			args:  agent(`{}`),
			wants: []string{"flows"},
		},
		{
			name:  "agent.json with a flow to nowhere",
			args:  agent(`{"flows": [{"filePattern": "/var/log/app/*.log"}]}`),
			wants: []string{"kinesisStream"},
		},
		{
			name: "checkpoints in a place that takes no file",
			args: agent(fmt.Sprintf(`{"flows": [%s], "checkpointFile": %q}`,
				goodFlow, filepath.Join(regularFile(t), "checkpoints"))),
			wants: []string{"checkpointFile"},
		},
	}
	if runtime.GOOS == "linux" {
		// Not even root makes a directory there.
		rows = append(rows, row{
			name:  "data directory not writable",
			args:  onFreePorts("--data", "/sys/streamd-test"),
			wants: []string{"/sys/streamd-test", "--data"},
		})
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			if tt.env == nil {
				tt.env = running.env()
			}
			out, code := runToEnd(t, tt.args, tt.env, tt.stdin)
			if code <= 0 {
				t.Errorf("exit code %d, want one that says failure", code)
			}
			if strings.Contains(out, "goroutine ") || strings.Contains(out, "panic") {
				t.Errorf("a stack trace is no sentence:\n%s", out)
			}
			sentence := lastLine(out)
			if !strings.HasPrefix(sentence, tt.args[0]+": ") {
				t.Errorf("the last line does not begin with the program's name:\n%s", out)
			}
			for _, want := range tt.wants {
				if !strings.Contains(sentence, want) {
					t.Errorf("%q is not in: %s", want, sentence)
				}
			}
		})
	}
}

// runToEnd runs a binary of ours and returns all it printed, and its exit code.
func runToEnd(t *testing.T, args, env []string, stdin string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin(t, args[0]), args[1:]...)
	cmd.Env = append(cleanEnv(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // then the code is -1
	defer timer.Stop()
	err := cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(exit, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func lastLine(s string) string {
	s = strings.TrimSuffix(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// usedAddr returns a loopback address that something listens on until the end
// of the test.
func usedAddr(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

func regularFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("no directory\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// corruptData returns a data directory whose journal has one wrong byte, with
// whole frames behind it: what no crash leaves.
func corruptData(t *testing.T) string {
	t.Helper()
	s := startServer(t)
	s.createStream("s", 1)
	const mark = "the record that will be damaged"
	for _, data := range []string{"before", mark, "behind"} {
		_, err := s.kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{
			StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte(data),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.kill() // not stopped: it would write a snapshot that makes the record's frame history
	segments, err := filepath.Glob(filepath.Join(s.dataDir, "journal", "*.ring"))
	if err != nil || len(segments) == 0 {
		t.Fatal("no segments", err)
	}
	for _, name := range segments {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.Index(string(b), mark); i >= 0 {
			b[i] ^= 1
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return s.dataDir
		}
	}
	t.Fatal("the record is in no segment")
	return ""
}
