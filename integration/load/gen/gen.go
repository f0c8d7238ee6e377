// Package gen puts load on a server that speaks Kinesis and DynamoDB, through
// the AWS SDK or with prepared requests over plain connections, and says what
// the server gave.
//
// A [Load] is a value: what to do, with how many callers. It runs against what
// an [Env] starts, which may be a server of any make.
package gen

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNotServed is wrapped by the error of a load that needs an operation which
// the server does not know.
var ErrNotServed = errors.New("not served")

// A Load is something to do to a server, to a part of one or to the machine.
type Load interface {
	// Run starts what it needs, through env, and returns what it measured.
	Run(ctx context.Context, env *Env) (Result, error)
}

// An Env is where a load runs.
type Env struct {
	// Duration is how long to measure, after a fourth of it to warm up.
	Duration time.Duration
	// Shards is the number of shards of the stream that loads create.
	Shards int
	// Start starts the server, on the data that the one before it has left.
	Start func(ctx context.Context, args ...string) (*Server, error)
	// Engine runs a measurement of a part of streamd, in a process of its own
	// that keeps its data in Dir.
	Engine func(ctx context.Context, args ...string) (Result, error)
	// Agent runs the agent over files in Dir, in a process of its own.
	Agent func(ctx context.Context, args ...string) (Result, error)
	// Dir is empty at first, and on the disk that is measured.
	Dir string
}

// A Server is running.
type Server struct {
	Endpoint string
	// Launch is when it was told to start.
	Launch time.Time
	// Usage reads what the process has used. Nil if that is not known.
	Usage func() (Usage, error)
	// Stop ends the server and waits for it; kill gives it no time.
	Stop func(kill bool) error
}

// Usage is what a process has used so far.
type Usage struct {
	CPU  time.Duration // user and system
	RSS  int64         // bytes now
	Peak int64         // bytes at the most
}

func (s *Server) usage() (Usage, error) {
	if s.Usage == nil {
		return Usage{}, nil
	}
	return s.Usage()
}

// Result is what a load measured. What it does not measure is zero.
type Result struct {
	Count     int64         `json:"count"` // records, or calls where there are no records
	Bytes     int64         `json:"bytes"` // of records' keys and data, or of files
	Elapsed   time.Duration `json:"elapsed_ns"`
	CPU       time.Duration `json:"cpu_ns"` // of the server, in that time
	RSS       int64         `json:"rss_bytes"`
	Peak      int64         `json:"peak_rss_bytes"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	StartTime time.Duration `json:"start_ns"` // from launch to the first answer
	// Overhead is the bytes that a record takes in the stream beyond its data, and
	// Optimum the least that its format allows.
	Overhead float64 `json:"overhead_bytes,omitempty"`
	Optimum  float64 `json:"optimum_bytes,omitempty"`
}

// Rate returns records a second.
func (r Result) Rate() float64 {
	if r.Elapsed == 0 {
		return 0
	}
	return float64(r.Count) / r.Elapsed.Seconds()
}

// ByteRate returns bytes a second.
func (r Result) ByteRate() float64 {
	if r.Elapsed == 0 {
		return 0
	}
	return float64(r.Bytes) / r.Elapsed.Seconds()
}

// CPUEach returns the server's CPU time for a record.
func (r Result) CPUEach() time.Duration {
	if r.Count == 0 {
		return 0
	}
	return time.Duration(float64(r.CPU) / float64(r.Count))
}

// Busy returns the share of one CPU that the server kept busy.
func (r Result) Busy() float64 {
	if r.Elapsed == 0 {
		return 0
	}
	return r.CPU.Seconds() / r.Elapsed.Seconds()
}

// Percentile returns the smallest of values that at least p percent of them do
// not exceed (nearest rank), and 0 of none. It sorts values.
func Percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	rank := (len(values)*p + 99) / 100
	return values[max(rank, 1)-1]
}

// A call is one request of a caller; it returns how many records it moved.
type call func(ctx context.Context) (int, error)

// drive lets callers call until the time is over, and counts what ends in the
// measured part of it.
func drive(ctx context.Context, env *Env, srv *Server, calls []call) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		measuring, over atomic.Bool
		count           atomic.Int64
		callers         sync.WaitGroup
		times           = make([][]time.Duration, len(calls)) // each of one caller until Wait
	)
	for i, do := range calls {
		callers.Go(func() {
			for !over.Load() {
				begin := time.Now()
				n, err := do(ctx)
				if err != nil {
					cancel(err)
					return
				}
				if measuring.Load() {
					count.Add(int64(n))
					times[i] = append(times[i], time.Since(begin))
				}
			}
		})
	}
	r, err := measure(ctx, env, srv, func(on bool) { measuring.Store(on) }, func() bool { return count.Load() > 0 })
	over.Store(true)
	callers.Wait()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return Result{}, err
	}
	r.Count = count.Load()
	all := slices.Concat(times...)
	r.P50, r.P99 = Percentile(all, 50), Percentile(all, 99)
	return r, nil
}

// measure waits for the warm-up and the measured time, and returns what the
// server used in the latter, at whose borders it calls mark. The time goes on
// until enough is true: a rate of nothing at all would say nothing.
func measure(ctx context.Context, env *Env, srv *Server, mark func(on bool), enough func() bool) (Result, error) {
	if err := wait(ctx, env.Duration/4); err != nil {
		return Result{}, err
	}
	before, err := srv.usage()
	if err != nil {
		return Result{}, err
	}
	begin := time.Now()
	mark(true)
	err = wait(ctx, env.Duration)
	for err == nil && !enough() {
		err = wait(ctx, 5*time.Millisecond)
	}
	mark(false)
	r := Result{Elapsed: time.Since(begin)}
	if err != nil {
		return Result{}, err
	}
	after, err := srv.usage()
	r.CPU, r.RSS, r.Peak = after.CPU-before.CPU, after.RSS, after.Peak
	return r, err
}

// wait returns the cause of the context's end if that comes first.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
