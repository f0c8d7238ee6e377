package multilang

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxLine is the longest line of standard output that is read; messages
	// have some hundred bytes.
	maxLine = 1 << 20

	// maxLogLine is where a line is cut for the log.
	maxLogLine = 8 << 10

	// drainTime is how long the pipes of a process that has ended are read on:
	// a process that it has left behind may hold them open.
	drainTime = 2 * time.Second
)

var (
	errTimeout = errors.New("multilang: the child process did not answer in time")
	errFlood   = fmt.Errorf("multilang: the child process wrote a line of more than %d bytes to its standard output", maxLine)
)

// proc is a process as the bridge sees it.
type proc struct {
	pid            int
	stdin          io.WriteCloser
	stdout, stderr io.ReadCloser
	wait           func() error // called once; returns when the process has ended
	kill           func()       // with all it has started
}

// child is a process that speaks the protocol. Calls are made one at a time.
type child struct {
	proc    *proc
	log     *slog.Logger
	timeout time.Duration // for each message of the child; 0: none
	counts  *counters

	out      chan []byte   // capacity 1: a line to be written
	wrote    chan error    // capacity 1: how that went
	messages chan message  // closed at the end of the standard output
	abandon  chan struct{} // closed when nobody will take messages any more
	gone     chan struct{} // closed when the process has ended and its pipes are closed

	killing sync.Once
	flooded atomic.Bool
	exit    error // how it ended; set before gone is closed
}

func newChild(p *proc, log *slog.Logger, timeout time.Duration, counts *counters) *child {
	c := &child{
		proc: p, log: log.With(slog.Int("pid", p.pid)), timeout: timeout, counts: counts,
		out: make(chan []byte, 1), wrote: make(chan error, 1), messages: make(chan message),
		abandon: make(chan struct{}), gone: make(chan struct{}),
	}
	var pipes sync.WaitGroup
	pipes.Go(c.readStdout)
	pipes.Go(c.readStderr)
	drained := make(chan struct{})
	go func() {
		pipes.Wait()
		close(drained)
	}()
	var writer sync.WaitGroup
	writer.Go(c.write)
	go func() { // owns what ends
		err := p.wait()
		timer := time.NewTimer(drainTime)
		select {
		case <-drained:
		case <-timer.C:
		}
		timer.Stop()
		close(c.abandon)
		_ = p.stdin.Close()
		_ = p.stdout.Close()
		_ = p.stderr.Close()
		<-drained
		writer.Wait()
		c.exit = err
		close(c.gone)
	}()
	return c
}

// kill ends the process at once.
func (c *child) kill() { c.killing.Do(c.proc.kill) }

// write writes lines until the process is gone.
func (c *child) write() {
	for {
		select {
		case line := <-c.out:
			_, err := c.proc.stdin.Write(line)
			c.wrote <- err
			if err != nil {
				return
			}
		case <-c.abandon:
			return
		}
	}
}

// readStdout finds the messages among the lines of the child, and logs the
// others.
func (c *child) readStdout() {
	defer close(c.messages)
	r := bufio.NewReaderSize(c.proc.stdout, 64<<10)
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			c.flooded.Store(true)
			c.counts.floods.Add(1)
			c.kill()
			return
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		}
		if m, bad := decode(line); bad == nil {
			select {
			case c.messages <- m:
			case <-c.abandon:
				return
			}
		} else {
			c.stray(line)
		}
		if err != nil {
			return
		}
		line = line[:0]
	}
}

// stray logs a line of standard output that is no message.
func (c *child) stray(line []byte) {
	if text := trim(line); text != "" {
		c.counts.strayLines.Add(1)
		c.log.Info("child wrote to standard output", slog.String("line", text))
	}
}

// readStderr logs what the child complains of.
func (c *child) readStderr() {
	r := bufio.NewReaderSize(c.proc.stderr, maxLogLine)
	for {
		line, err := r.ReadSlice('\n')
		if text := trim(line); text != "" {
			c.log.Info("child wrote to standard error", slog.String("line", text))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// trim makes a line fit for the log.
func trim(line []byte) string {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	if len(line) > maxLogLine {
		return string(line[:maxLogLine]) + "…"
	}
	return string(line)
}

// call sends a request and waits for the status that ends it. checkpoint stores
// one that the child asks for and returns the name of the error, if any. After
// an error the child is of no use any more.
func (c *child) call(ctx context.Context, action string, line []byte, checkpoint func(*message) string) error {
	var late <-chan time.Time // nil without a limit
	var timer *time.Timer
	if c.timeout > 0 {
		timer = time.NewTimer(c.timeout)
		defer timer.Stop()
		late = timer.C
	}
	c.out <- line
	writing := true
	var pending *message // came while writing, and waits for the end of that
	for {
		in := c.messages
		if pending != nil {
			in = nil
		}
		select {
		case err := <-c.wrote:
			writing = false
			if err != nil {
				return c.died(err)
			}
		case m, ok := <-in:
			if !ok {
				return c.died(nil)
			}
			if m.kind == kindStatus && m.responseFor != action {
				return fmt.Errorf("multilang: the child process answered %q where %q was asked", m.responseFor, action)
			}
			pending = &m
		case <-late:
			c.counts.timeouts.Add(1)
			return fmt.Errorf("%w: %q, timeoutInSeconds = %v", errTimeout, action, c.timeout.Seconds())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if writing || pending == nil {
			continue
		}
		m := pending
		pending = nil
		switch m.kind {
		case kindStatus:
			return nil
		case kindCheckpoint:
			answer, err := encodeAnswer(m, checkpoint(m))
			if err != nil {
				return err
			}
			c.out <- answer
			writing = true
			if timer != nil {
				timer.Reset(c.timeout)
			}
		case kindOther:
			c.log.Warn("child sent a message that is not for it to send", slog.String("action", m.action))
		}
	}
}

// died says how the child ended that has closed its standard output, or does
// not read its standard input. It waits until the process is gone.
func (c *child) died(cause error) error {
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-c.gone:
	case <-timer.C:
		c.kill()
		<-c.gone
	}
	return errors.Join(c.ended(), cause)
}

// ended says how the process that is gone has ended.
func (c *child) ended() error {
	switch {
	case c.flooded.Load():
		return errFlood
	case c.exit == nil:
		return errors.New("multilang: the child process exited by itself, with 0")
	}
	return fmt.Errorf("multilang: the child process ended: %w", c.exit)
}

// retire ends a child that is idle: it is told what the last request says, if
// any, and that there is no more; what it has not done after grace is over.
func (c *child) retire(ctx context.Context, action string, last []byte, grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if last != nil {
		if err := c.call(ctx, action, last, func(*message) string { return nameInvalidState }); err != nil {
			c.log.Warn("child did not take its leave", slog.String("action", action), slog.String("err", err.Error()))
			c.kill()
		}
	}
	_ = c.proc.stdin.Close()
	select {
	case <-c.gone:
	case <-ctx.Done():
		c.log.Warn("child did not exit at the end of its input; it is killed", slog.Duration("after", grace))
		c.kill()
		<-c.gone
	}
	if c.exit != nil {
		c.log.Info("child ended", slog.String("err", c.exit.Error()))
	}
}
