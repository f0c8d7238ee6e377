package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// Options say what the demo does.
type Options struct {
	Files []string  // the input; none: the history of this repository
	Size  int64     // bytes to write, at least
	Keep  bool      // leave everything running
	Shard int       // shards at the start
	Out   io.Writer // takes the report

	// StallLimit is how long nothing may move before the demo fails.
	StallLimit time.Duration
}

// Defaults of the options.
const (
	DefaultSize   = 64e6
	DefaultShards = 4
	DefaultStall  = 60 * time.Second
)

// ErrVerdict means that the demo ran to its end and the verdict is bad. It was
// printed.
var ErrVerdict = errors.New("the verdict is bad")

// files is how many files are written at the same time.
const files = 4

// demo is one run.
type demo struct {
	opts   Options
	dir    string
	screen *Screen
	c      *cluster
	replay *Replayer
	prog   *Progress // belongs to the watching goroutine
	audit  Audit
	seen   observed

	read     atomic.Uint64 // different lines that came back
	repeats  atomic.Uint64
	advanced chan struct{} // capacity 1: wakes the writer after read has grown
	started  time.Time
	finished atomic.Bool // the writer has written all
}

// Run is the demo, from an empty directory to the verdict.
func Run(ctx context.Context, opts Options) (err error) {
	// A second ctrl-C must not end us before the children are stopped, which
	// takes a bounded time.
	again := make(chan os.Signal, 1) // one signal is enough to be held; none is read
	signal.Notify(again, os.Interrupt)
	defer signal.Stop(again)

	dir, err := os.MkdirTemp("", "streamctl-demo-")
	if err != nil {
		return err
	}
	d := &demo{opts: opts, dir: dir, screen: NewScreen(opts.Out), advanced: make(chan struct{}, 1)}
	defer func() {
		d.screen.Clear()
		switch {
		case errors.Is(err, ErrVerdict): // what is kept, and where, was said before the verdict
		case err == nil && opts.Keep:
		case err == nil, ctx.Err() != nil, d.c == nil || d.c.server == nil:
			_ = os.RemoveAll(dir) // in the temporary directory: nothing depends on it
		default:
			d.sayKept()
		}
	}()
	return d.run(ctx)
}

func (d *demo) run(ctx context.Context) (err error) {
	input, err := d.input(ctx)
	if err != nil {
		return err
	}
	if d.c, err = newCluster(d.dir, d.opts.Shard, d.opts.Keep); err != nil {
		return err
	}
	if err := d.c.clients(ctx); err != nil {
		return err
	}
	left := false // running, on purpose
	defer func() {
		if !left {
			err = errors.Join(err, d.c.stop())
		}
	}()
	d.screen.Say("Input: %s, %s, replayed until %s are written.", input.Name, megabytes(input.Bytes), megabytes(d.opts.Size))
	if err := d.c.startServer(ctx); err != nil {
		return err
	}
	if err := d.c.createStream(ctx); err != nil {
		return err
	}
	d.screen.Event("streamd listens at %s; stream %q has %s", d.c.endpoint, Stream, plural(d.opts.Shard, "shard"))
	for i := range d.c.workers {
		if err := d.c.startWorker(i); err != nil {
			return err
		}
	}
	if err := d.c.startAgent(); err != nil {
		return err
	}
	if err := d.c.startService(); err != nil {
		return err
	}
	d.screen.Event("started streamagent, a logging service, %s and %s", workerName(0), workerName(1))

	d.prog = NewProgress(d.c.receipts())
	d.replay = &Replayer{
		Input: input, Size: d.opts.Size, Dir: d.c.logs(), Files: files,
		Rotate: max(64<<10, min(4<<20, d.opts.Size/(3*files))), Service: d.c.service.stdin, Wait: d.holdBack,
	}
	d.started = time.Now()
	broken := d.drive(ctx)
	if ctx.Err() != nil {
		return errors.New("interrupted; everything was stopped")
	}
	took := time.Since(d.started)
	d.screen.Clear()
	if broken != nil && !errors.As(broken, new(*stallError)) {
		return broken
	}
	if !d.opts.Keep || broken != nil {
		// The verdict covers what a stopping worker still received.
		if err := d.c.stop(); err != nil {
			d.screen.Say("%v", err)
		}
	}
	paths, err := d.prog.Paths()
	if err != nil {
		return err
	}
	v, err := JudgeFiles(d.replay.Ledger(), paths)
	if err != nil {
		return err
	}
	if broken != nil {
		d.screen.Say("%v", broken)
	}
	if broken != nil || !v.Good() {
		d.sayKept()
	}
	left = d.opts.Keep && broken == nil
	d.report(v, took, left)
	if broken != nil || !v.Good() {
		return ErrVerdict
	}
	return nil
}

// sayKept tells where to look after a failure.
func (d *demo) sayKept() {
	d.screen.Say("All files are kept in %s, the logs of the processes in %s", d.dir, d.c.processLogs())
}

func (d *demo) input(ctx context.Context) (Input, error) {
	if len(d.opts.Files) > 0 {
		return FilesInput(d.opts.Files)
	}
	return HistoryInput(ctx, d.dir, d.opts.Size)
}

// holdBack lets the writer be ahead of the readers by a twelfth of the whole.
func (d *demo) holdBack(ctx context.Context, written uint64) error {
	window := uint64(5000)
	if b := d.replay.Bytes(); b > 0 {
		whole := uint64(float64(written) / float64(b) * float64(d.opts.Size))
		window = max(window, whole/12)
	}
	for written > d.read.Load()+window {
		select {
		case <-d.advanced:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// fraction is the share of all lines that came back, as far as it can be known
// before the last line is written.
func (d *demo) fraction() float64 {
	written, bytes := d.replay.Written(), d.replay.Bytes()
	if written == 0 {
		return 0
	}
	share := 1.0
	if !d.finished.Load() {
		share = min(1, float64(bytes)/float64(d.opts.Size))
	}
	return min(1, float64(d.read.Load())/float64(written)*share)
}

// report prints the outcome. Its last line is the verdict.
func (d *demo) report(v Verdict, took time.Duration, left bool) {
	s := d.screen
	row := func(name, format string, args ...any) { s.Say("  %-14s %s", name, fmt.Sprintf(format, args...)) }
	s.Say("")
	row("lines in", "%s, in %d files and one service's log; %s", number(v.In), len(d.replay.Ledger().files)-1, megabytes(d.replay.Bytes()))
	row("lines out", "%s", number(v.Out))
	lost := number(v.Lost)
	if len(v.LostLines) > 0 {
		lost += ", first (file:line): " + strings.Join(v.LostLines, ", ")
	}
	row("lost", "%s", lost)
	row("duplicated", "%s: %s stored twice, %s delivered twice", number(v.Duplicated), number(v.StoredTwice), number(v.DeliveredTwice))
	if v.Corrupted+v.Foreign > 0 {
		row("damaged", "%s with other content than written, %s that nobody wrote", number(v.Corrupted), number(v.Foreign))
	}
	if v.Disordered > 0 {
		row("order", "broken %s times; first: %s", number(v.Disordered), v.Disorder)
	} else {
		row("order", "kept in every file")
	}
	users, kinesis := d.audit.userRecords.Load(), d.audit.records.Load()
	row("aggregation", "%s records of %s became %s Kinesis records of %s", number(users), megabytes(d.audit.userBytes.Load()), number(kinesis), megabytes(d.audit.bytes.Load()))
	row("time", "%.1f s, %.1f MB/s, on %s", took.Seconds(), float64(d.replay.Bytes())/1e6/took.Seconds(), plural(runtime.NumCPU(), "core"))
	if left {
		d.tryNext()
	}
	s.Say("")
	s.Say("%s", v)
}

// tryNext prints commands to copy.
func (d *demo) tryNext() {
	s, ctl := d.screen, d.c.self
	s.Say("")
	s.Say("Everything is left running. Try:")
	s.Say("  export AWS_ENDPOINT_URL=%s", d.c.endpoint)
	s.Say("  %s stream describe %s", ctl, Stream)
	s.Say("  %s tail %s   # the logging service says something every second", ctl, Stream)
	s.Say("  %s lease list %s --stream %s", ctl, App, Stream)
	s.Say("  echo hello >> %s/app-hand.log", d.c.logs())
	s.Say("  curl http://%s/metrics", d.c.admin)
	var pids []string
	for _, p := range d.c.processes() {
		if p.Running() {
			pids = append(pids, fmt.Sprint(p.PID()))
		}
	}
	s.Say("and in the end:")
	s.Say("  kill %s && rm -r %s", strings.Join(pids, " "), d.dir)
}
