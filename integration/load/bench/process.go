package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/streamkit/streamkit/integration/load/gen"
)

// startLimit is how long a server may take until it prints its address.
const startLimit = 60 * time.Second

var endpointLine = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// launch starts a server that prints its endpoint, on a port that it takes
// itself: so the answers are those of this process and no other. It ends with
// ctx at the latest.
func launch(ctx context.Context, name string, args ...string) (*gen.Server, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return terminate(cmd) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Env = cleanEnv()
	var stderr tail
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s := &gen.Server{Launch: time.Now()}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	endpoint := make(chan string, 1) // sent once
	done := make(chan struct{})      // closed when the process has been waited for
	var waitErr error                // read after done
	go func() {
		defer close(done)
		lines := bufio.NewScanner(stdout)
		for found := false; lines.Scan(); {
			if at := endpointLine.FindString(lines.Text()); at != "" && !found {
				found = true
				endpoint <- at
			}
		}
		waitErr = cmd.Wait()
	}()
	// Once stopped, it stays so: later calls, of a clean-up, return the same.
	var once sync.Once
	var stopErr error
	s.Stop = func(kill bool) error {
		once.Do(func() {
			if kill {
				_ = cmd.Process.Kill() // the only error is that it has ended
				<-done
				return
			}
			_ = terminate(cmd)
			<-done
			if waitErr != nil && ctx.Err() == nil {
				stopErr = fmt.Errorf("%s has ended with %w: %s", name, waitErr, stderr.String())
			}
		})
		return stopErr
	}
	pid := cmd.Process.Pid
	s.Usage = func() (gen.Usage, error) { return usage(pid) }
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case s.Endpoint = <-endpoint:
		return s, nil
	case <-done:
		return nil, fmt.Errorf("%s has not started: %w: %s", name, waitErr, stderr.String())
	case <-limit.C:
		_ = s.Stop(true)
		return nil, fmt.Errorf("%s has not printed its address after %v", name, startLimit)
	}
}

// engine runs a program that prints its result as JSON, to its end.
func engine(ctx context.Context, name string, args ...string) (r gen.Result, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return terminate(cmd) }
	cmd.WaitDelay = 20 * time.Second
	var stderr tail
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("%s has ended with %w: %s", name, err, stderr.String())
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("%s has printed %.300q: %w", name, out, err)
	}
	return r, nil
}

// terminate asks the process to end, or kills it where that cannot be asked.
func terminate(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return cmd.Process.Kill()
	}
	return nil
}

// cleanEnv is the environment without settings of ours.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "STREAMD_") && !strings.HasPrefix(kv, "INITIALIZE_STREAMS=") {
			env = append(env, kv)
		}
	}
	return env
}

// tail keeps the end of what a process wrote.
type tail struct {
	mu  sync.Mutex // guards buf
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	const keep = 2000
	t.buf = t.buf[max(0, len(t.buf)-keep):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}

// SelfUsage returns what this process has used.
func SelfUsage() (gen.Usage, error) { return usage(os.Getpid()) }

// usage reads what a process has used from /proc. On systems without it there
// is nothing to read, and nothing is shown.
func usage(pid int) (gen.Usage, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat("/proc/self/stat"); err != nil {
			return gen.Usage{}, nil
		}
	}
	if err != nil {
		return gen.Usage{}, err
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return gen.Usage{}, err
	}
	return parseUsage(stat, status)
}

// tick is the unit of times in /proc on all systems that Go runs on.
const tick = 10 * time.Millisecond

func parseUsage(stat, status []byte) (gen.Usage, error) {
	var u gen.Usage
	// The second field is the program's name, which may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const user, system = 11, 12 // fields 14 and 15, counted after the name
	if len(fields) <= system {
		return u, errors.New("a stat file of /proc is cut short")
	}
	for _, f := range fields[user : system+1] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return u, fmt.Errorf("a stat file of /proc: %w", err)
		}
		u.CPU += time.Duration(n) * tick
	}
	for line := range bytes.Lines(status) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		into := map[string]*int64{"VmRSS": &u.RSS, "VmHWM": &u.Peak}[string(key)]
		if into == nil {
			continue
		}
		n, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
		if err != nil {
			return u, fmt.Errorf("a status file of /proc: %w", err)
		}
		*into = n << 10
	}
	return u, nil
}
