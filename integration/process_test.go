package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a running binary of ours. The test that started it kills it at
// its end at the latest, and shows its output if the test failed.
type process struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed once the process has been waited for
	err  error         // of Wait; read after done
}

// start runs a binary of ours with args and the additional environment env.
func start(t *testing.T, name string, env []string, args ...string) *process {
	t.Helper()
	return startUnder(t, nil, name, env, args...)
}

// startUnder runs it with a command in front, which ends by becoming what it is
// given.
func startUnder(t *testing.T, front []string, name string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, done: make(chan struct{})}
	// No context: the process must outlive a test's own, to be stopped in order
	// by a cleanup.
	line := slices.Concat(front, []string{bin(t, name)}, args)
	p.cmd = exec.Command(line[0], line[1:]...) //nolint:noctx // killed by the cleanup below
	p.cmd.Env = append(cleanEnv(), env...)
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of %s %v:\n%s", name, args, p.out.String())
		}
	})
	return p
}

// kill ends the process with SIGKILL and waits for it. It may have ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // the only error is that it has ended
	<-p.done
}

// stop asks the process to end and returns how it did.
func (p *process) stop() error {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("stop %s: %v", p.name, err)
	}
	return p.wait(30 * time.Second)
}

// wait returns the process's error once it has ended by itself.
func (p *process) wait(limit time.Duration) error {
	p.t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-timer.C:
		p.t.Fatalf("%s is still running after %v", p.name, limit)
		return nil
	}
}

// ended reports whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// output collects what a process prints. It is safe for concurrent use.
type output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// testLogger shows a library's log with the test's own.
func testLogger(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// cleanEnv is the environment without what would point a client of AWS, or a
// server of ours, somewhere else than the test says.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !hasAnyPrefix(kv, "AWS_", "STREAMD_", "STREAMCTL_", "STREAMAGENT_", "INITIALIZE_STREAMS") {
			env = append(env, kv)
		}
	}
	// An absent file is an empty one: the developer's own profiles stay out.
	return append(env, "AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent", "AWS_EC2_METADATA_DISABLED=true")
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if len(s) >= len(p) && s[:len(p)] == p {
			return true
		}
	}
	return false
}

// eventually polls cond until it returns nil, and fails the test with its last
// error at the limit.
func eventually(t testing.TB, limit time.Duration, what string, cond func() error) {
	t.Helper()
	if err := poll(t.Context(), limit, cond); err != nil {
		t.Fatalf("%s: not after %v: %v", what, limit, err)
	}
}

// errGiveUp, wrapped, makes poll return at once.
var errGiveUp = errors.New("no use waiting")

func poll(ctx context.Context, limit time.Duration, cond func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil || errors.Is(err, errGiveUp) {
			return err
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return err
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// freeAddr returns a loopback address that nothing listened on a moment ago. It is
// below the ports that systems give to outgoing connections: one of those could
// take it before the server does.
func freeAddr(t testing.TB) string {
	t.Helper()
	var lc net.ListenConfig
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 15_000+rand.IntN(15_000))
		if ln, err := lc.Listen(t.Context(), "tcp", addr); err == nil {
			_ = ln.Close() // nobody has connected
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// httpOK returns nil if url answers 200.
func httpOK(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}
