package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// Proc is a child process. Its output goes to a log file, which later starts
// under the same name continue.
type Proc struct {
	Name string
	Log  string // path

	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed when the process has ended and err is set
	err   error
	asked atomic.Bool // to end, by us
}

// command says how to start a process.
type command struct {
	name  string
	path  string
	args  []string
	env   []string
	log   string
	stdin bool // keep a pipe to its standard input
}

// start starts a process. The caller stops it.
func start(c command) (*Proc, error) {
	log, err := os.OpenFile(c.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor
	// Not bound to a context: a context would kill, and we want to ask first.
	cmd := exec.Command(c.path, c.args...) //nolint:noctx // stopped through Stop, Kill and Wait
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, log, log
	ownGroup(cmd)
	p := &Proc{Name: c.name, Log: c.log, cmd: cmd, done: make(chan struct{})}
	if c.stdin {
		if p.stdin, err = cmd.StdinPipe(); err != nil {
			return nil, err
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID returns the process id.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Running reports whether the process has not ended.
func (p *Proc) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// died reports whether the process has ended although nobody asked it to.
func (p *Proc) died() bool { return !p.Running() && !p.asked.Load() }

// Kill ends the process with SIGKILL, which it cannot see coming, and waits.
func (p *Proc) Kill() {
	p.asked.Store(true)
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// Stop asks the process to end, and kills it if it has not after a while.
func (p *Proc) Stop(patience time.Duration) error {
	p.asked.Store(true)
	if p.stdin != nil {
		_ = p.stdin.Close()
	}
	if err := p.cmd.Process.Signal(terminate); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.Kill()
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		p.Kill()
		return fmt.Errorf("%s did not stop within %v and was killed", p.Name, patience)
	}
}

// tailOfLog returns the last lines that the process has written.
func (p *Proc) tailOfLog(n int) []string {
	data, err := os.ReadFile(p.Log)
	if err != nil {
		return nil
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-n):]
}

// endedError describes a process that ended although nobody asked it to.
func (p *Proc) endedError() error {
	msg := fmt.Sprintf("%s ended by itself", p.Name)
	if p.err != nil {
		msg += fmt.Sprintf(" (%v)", p.err)
	}
	if tail := p.tailOfLog(1); len(tail) > 0 {
		msg += ": " + tail[0]
	}
	return errors.New(msg)
}

// Beside returns the path of a program that lies where this one does.
func Beside(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", err
	}
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not beside streamctl, in %s: run \"make build\" and start bin/streamctl", name, filepath.Dir(self))
	}
	return path, nil
}

// childEnv is the environment of a child: ours, without the AWS settings that
// would lead it elsewhere, and with those of the demo.
func childEnv(endpoint string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "AWS_") && !strings.HasPrefix(kv, "STREAMD_") {
			env = append(env, kv)
		}
	}
	return append(env,
		"AWS_ENDPOINT_URL="+endpoint, "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=demo", "AWS_SECRET_ACCESS_KEY=demo", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
	)
}
