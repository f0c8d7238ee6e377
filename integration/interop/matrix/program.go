package matrix

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// A Program runs. One goroutine may call CloseInput while another waits.
type Program struct {
	Log string // file of all that it prints

	cmd   *exec.Cmd
	input io.Closer
	out   output
	log   *os.File
}

// Start starts a program with the settings of the session and more. It ends with
// ctx at the latest; whoever starts it must Wait.
func (s *Session) Start(ctx context.Context, name string, command, env []string) (*Program, error) {
	r := s.runner
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	p := &Program{Log: log.Name(), log: log, cmd: r.process(ctx, r.expand(command))}
	p.cmd.Stdout, p.cmd.Stderr = io.MultiWriter(&p.out, log), log
	p.cmd.Env = append(programEnv(), s.env()...)
	p.cmd.Env = append(p.cmd.Env, r.expand(env)...)
	if p.input, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return p, nil
}

// CloseInput ends the program's standard input, by which many know that they
// shall stop.
func (p *Program) CloseInput() {
	_ = p.input.Close() // the only error is that the program has ended
}

// Wait waits until the program has ended, with whatever it started.
func (p *Program) Wait(ctx context.Context) error {
	err := because(ctx, p.cmd.Wait())
	sweep(p.cmd)
	return errors.Join(err, p.log.Close())
}

// Output is what it has printed to its standard output so far.
func (p *Program) Output() []byte { return p.out.Bytes() }

func (p *Program) tail() string {
	said, _ := os.ReadFile(p.Log) // what can be had of it
	return strings.TrimSpace(lastBytes(said, 1500))
}

// output is what a process prints. It is safe for concurrent use.
type output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) Bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.buf.Bytes())
}

// programEnv is cleanEnv without proxies: everything is on this machine.
func programEnv() []string {
	var env []string
	for _, kv := range cleanEnv() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			env = append(env, kv)
		}
	}
	return env
}
