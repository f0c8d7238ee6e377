// Command agentbench runs an agent over files that it writes, and prints what that
// took as JSON. loadbench starts it, so that time and memory are the agent's alone.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/integration/load/bench"
	"github.com/streamkit/streamkit/integration/load/gen"
	"github.com/streamkit/streamkit/producer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "agentbench: %v\n", err)
		os.Exit(1)
	}
}

// A job is what the flags say.
type job struct {
	dir, format, endpoint, stream, by string

	files       int
	shards      int
	bytes, pace int64
	idle        bool
	restart     bool
	outage      bool
	duration    time.Duration

	down atomic.Bool // the server refuses all

	lines int64 // in all files
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var j job
	flags := flag.NewFlagSet("agentbench", flag.ContinueOnError)
	flags.StringVar(&j.dir, "dir", "", "where the files are written")
	flags.StringVar(&j.format, "format", "raw", "of the lines: raw, multiline, combined")
	flags.StringVar(&j.endpoint, "endpoint", "", "of the server; empty for none, each batch is acknowledged at once")
	flags.StringVar(&j.stream, "stream", "", "that takes the records")
	flags.IntVar(&j.files, "files", 1, "number of files")
	flags.Int64Var(&j.bytes, "bytes", 64<<20, "in all files together")
	flags.Int64Var(&j.pace, "pace", 0, "bytes a second that are written meanwhile")
	flags.BoolVar(&j.idle, "idle", false, "watch the files once they are read")
	flags.StringVar(&j.by, "by", "", "what reads them: cat(1), tail for the library nxadm/tail, or hand for the first of them alone, "+
		"with nothing that an agent does besides; empty for the agent")
	flags.BoolVar(&j.outage, "outage", false, "the server refuses all while they are written at the pace; measure what follows")
	flags.BoolVar(&j.restart, "restart", false, "measure the start of an agent that knows the files")
	flags.IntVar(&j.shards, "shards", 4, "of the stream, for -by hand")
	flags.DurationVar(&j.duration, "duration", 3*time.Second, "how long to measure")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := j.write(); err != nil {
		return err
	}
	debug.SetGCPercent(33) // as streamagent does
	var (
		r   gen.Result
		err error
	)
	switch {
	case j.by == "cat":
		r, err = j.again(ctx, j.runCat)
	case j.by == "tail":
		r, err = j.again(ctx, j.runTail)
	case j.by == "hand":
		r, err = j.again(ctx, j.runHand)
	case j.by != "":
		return fmt.Errorf("-by %s: cat, tail and hand are known", j.by)
	case j.restart:
		r, err = j.start(ctx)
	case j.idle || j.pace > 0:
		r, err = j.watch(ctx)
	default:
		r, err = j.again(ctx, j.runOnce)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(r)
}

// again does once until the time is over, after one time to warm up.
func (j *job) again(ctx context.Context, once func(context.Context) error) (r gen.Result, err error) {
	if err := once(ctx); err != nil {
		return r, err
	}
	before, err := bench.SelfUsage()
	if err != nil {
		return r, err
	}
	begin := time.Now()
	for r.Elapsed < j.duration {
		if err := once(ctx); err != nil {
			return r, err
		}
		r.Elapsed = time.Since(begin)
		r.Count += j.lines
		r.Bytes += j.bytes
	}
	return finish(r, before)
}

func finish(r gen.Result, before gen.Usage) (gen.Result, error) {
	after, err := bench.SelfUsage()
	r.CPU, r.RSS, r.Peak = after.CPU-before.CPU, after.RSS, after.Peak
	return r, err
}

func (j *job) runCat(ctx context.Context) error {
	names, err := filepath.Glob(filepath.Join(j.dir, "*.log"))
	if err != nil {
		return err
	}
	return exec.CommandContext(ctx, "cat", names...).Run()
}

// runTail runs tailbench, of another module, which loadbench has built beside this program.
func (j *job) runTail(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(j.dir, "*.log"))
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(filepath.Dir(program), "tailbench"), names...).Output()
	if err == nil && string(out) != fmt.Sprintln(j.lines) {
		err = fmt.Errorf("%q lines were read, there are %d", out, j.lines)
	}
	return err
}

func (j *job) runHand(ctx context.Context) error {
	n, err := gen.ReadByHand(ctx, j.endpoint, filepath.Join(j.dir, name(0)), j.shards)
	if err == nil && n != j.lines {
		err = fmt.Errorf("%d lines were read, there are %d", n, j.lines)
	}
	return err
}

// runOnce reads all files from their start to their end, until all is acknowledged.
func (j *job) runOnce(ctx context.Context) error {
	cfg, err := j.config()
	if err != nil {
		return err
	}
	cfg.Once = true
	if err := os.RemoveAll(cfg.CheckpointFile); err != nil {
		return err
	}
	a, err := agent.New(cfg, j.open)
	if err != nil {
		return err
	}
	if err := a.Run(ctx); err != nil {
		return err
	}
	if s := a.Status().Flows[0]; s.ReadBytes != uint64(j.bytes) {
		return fmt.Errorf("%d bytes were read, there are %d", s.ReadBytes, j.bytes)
	}
	return nil
}

// start measures how long an agent that has read the files before takes until it has
// the line that was written since.
func (j *job) start(ctx context.Context) (r gen.Result, err error) {
	if err := j.runOnce(ctx); err != nil {
		return r, err
	}
	f, err := os.OpenFile(filepath.Join(j.dir, name(j.files/2)), os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return r, err
	}
	_, err = f.Write(line(j.format))
	if err = errors.Join(err, f.Close()); err != nil {
		return r, err
	}
	before, err := bench.SelfUsage()
	if err != nil {
		return r, err
	}
	begin := time.Now()
	cfg, err := j.config()
	if err != nil {
		return r, err
	}
	got := make(first, 1) // there is one line
	a, err := agent.New(cfg, func(agent.FlowConfig, int64) (agent.Sink, error) { return got, nil })
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1) // sent once
	go func() { done <- a.Run(ctx) }()
	select {
	case n := <-got:
		if r.StartTime = time.Since(begin); n != 1 {
			err = fmt.Errorf("%d lines were read again", n-1)
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	cancel()
	if err = errors.Join(err, <-done); err != nil {
		return r, err
	}
	return finish(r, before)
}

// resting is the time after which an agent looks at files more seldom that do not grow.
const resting = 11 * time.Second

// watch measures an agent that has read all there was, while nothing is written, or
// as much a second as the pace says.
func (j *job) watch(ctx context.Context) (r gen.Result, err error) {
	cfg, err := j.config()
	if err != nil {
		return r, err
	}
	a, err := agent.New(cfg, j.open)
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1) // sent once
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-done)
	}()
	if err := until(ctx, a, uint64(j.bytes)); err != nil {
		return r, err
	}
	if j.idle {
		select {
		case <-time.After(resting):
		case <-ctx.Done():
			return r, ctx.Err()
		}
	}
	before, err := bench.SelfUsage()
	if err != nil {
		return r, err
	}
	begin := time.Now()
	j.down.Store(j.outage)
	written, err := j.writeOn(ctx)
	if err != nil {
		return r, err
	}
	if j.outage {
		j.down.Store(false)
		begin = time.Now()
		if before, err = bench.SelfUsage(); err != nil {
			return r, err
		}
	}
	if err := until(ctx, a, uint64(j.bytes+written)); err != nil {
		return r, err
	}
	for reason, n := range a.Status().Flows[0].LostBytes {
		if n > 0 {
			return r, fmt.Errorf("%d bytes were lost: %s", n, reason)
		}
	}
	r.Elapsed, r.Bytes, r.Count = time.Since(begin), written, written/int64(len(line(j.format)))
	if r, err = finish(r, before); j.outage {
		r.RSS = r.Peak
	}
	return r, err
}

// writeOn appends lines at the job's pace, or waits, until the time is over.
func (j *job) writeOn(ctx context.Context) (written int64, err error) {
	f, err := os.OpenFile(filepath.Join(j.dir, name(0)), os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	pause := 20 * time.Millisecond
	if j.pace == 0 {
		pause = j.duration // who wakes to write nothing is measured, too
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	text := line(j.format)
	var block []byte
	for begin := time.Now(); time.Since(begin) < j.duration; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return written, ctx.Err()
		}
		due := int64(float64(j.pace)*time.Since(begin).Seconds()) - written
		block = block[:0]
		for int64(len(block)) < due {
			block = append(block, text...)
		}
		n, err := f.Write(block)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// until waits until everything is acknowledged.
func until(ctx context.Context, a *agent.Agent, read uint64) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		// There is no flow yet if Run has only begun.
		if flows := a.Status().Flows; len(flows) > 0 && flows[0].ReadBytes >= read && flows[0].BehindBytes == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// config is read from an agent.json, as that of a user.
func (j *job) config() (*agent.Config, error) {
	flow := map[string]any{
		"filePattern": filepath.Join(j.dir, "*.log"), "kinesisStream": "load", "initialPosition": "START_OF_FILE",
		"aggregation": true, "maxBufferAgeMillis": 1000,
	}
	switch j.format {
	case "multiline":
		flow["multiLineStartPattern"] = `\[`
		flow["dataProcessingOptions"] = []any{map[string]any{"optionName": "SINGLELINE"}}
	case "combined":
		flow["dataProcessingOptions"] = []any{map[string]any{"optionName": "LOGTOJSON", "logFormat": "COMBINEDAPACHELOG"}}
	}
	b, err := json.Marshal(map[string]any{"checkpointFile": filepath.Join(j.dir, "checkpoints"), "flows": []any{flow}})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(j.dir, "agent.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return nil, err
	}
	cfg, _, err := agent.LoadConfig(path)
	if err != nil {
		return nil, err
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	return cfg, nil
}

func (j *job) open(f agent.FlowConfig, memory int64) (agent.Sink, error) {
	if j.endpoint == "" {
		return null{}, nil
	}
	client := kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(j.endpoint), HTTPClient: gate{producer.HTTPClient(), &j.down},
		Credentials: credentials.NewStaticCredentialsProvider("load", "load", ""),
	})
	return producer.New(client, j.stream, producer.Config{
		DisableAggregation: !f.Aggregation, RecordMaxBufferedTime: f.MaxBufferAge, MaxBufferedBytes: memory, RecordTTL: -1,
		OnFailure: producer.SkipOne, Encoding: producer.EncodingAuto, Logger: slog.New(slog.DiscardHandler),
	})
}

// A gate passes requests on unless the server is down.
type gate struct {
	kinesis.HTTPClient
	down *atomic.Bool
}

func (g gate) Do(r *http.Request) (*http.Response, error) {
	if g.down.Load() {
		return nil, syscall.ECONNREFUSED
	}
	return g.HTTPClient.Do(r)
}

// first tells how many records there are in what comes first.
type first chan int

func (f first) PutBatch(_ context.Context, r []producer.UserRecord, done func(producer.BatchResult)) error {
	select {
	case f <- len(r):
	default: // nobody waits for more
	}
	done(producer.BatchResult{Records: len(r)})
	return nil
}
func (first) Flush(context.Context) error { return nil }
func (first) Close(context.Context) error { return nil }

// null acknowledges at once.
type null struct{}

func (null) PutBatch(_ context.Context, r []producer.UserRecord, done func(producer.BatchResult)) error {
	done(producer.BatchResult{Records: len(r)})
	return nil
}
func (null) Flush(context.Context) error { return nil }
func (null) Close(context.Context) error { return nil }
