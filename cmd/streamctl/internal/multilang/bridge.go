package multilang

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

// Config says what a bridge runs. Settings of a properties file become one, see
// [Settings].
type Config struct {
	// Command is the program and its arguments, started once for each shard.
	Command []string

	// Timeout bounds the wait for each message of a child that is handling a
	// request. 0 means no bound.
	Timeout time.Duration

	// Grace is how long a child may finish what it does after its lease is
	// lost, and how long it may take to exit. Default 10s.
	Grace time.Duration

	// KCL1 ends children with the request "shutdown" of the KCL 1.x instead of
	// leaseLost and shardEnded.
	KCL1 bool

	// Consumer is how the stream is read. ExplicitCheckpoints is set by
	// [New], and its Logger is used for children as well.
	Consumer consumer.Config
}

// Bridge reads a stream with child processes. It is safe for concurrent use.
type Bridge struct {
	b bridge
	c *consumer.Consumer
}

// bridge is what its processors share.
type bridge struct {
	start   func(context.Context) (*proc, error)
	timeout time.Duration
	grace   time.Duration
	kcl1    bool
	log     *slog.Logger
	counts  counters

	children sync.WaitGroup // those who watch or end a child
}

// counters are what [Stats] is made of.
type counters struct {
	children, records             atomic.Int64
	checkpoints, checkpointErrors atomic.Int64
	timeouts, floods, strayLines  atomic.Int64
}

// Stats is what a [Bridge] has done since it was made. Counts only grow.
type Stats struct {
	Consumer consumer.Stats // ProcessorRestarts are the children replaced

	Children         int64 // processes started
	Records          int64 // records in requests that children have answered
	Checkpoints      int64 // checkpoints that children asked for
	CheckpointErrors int64 // of these, answered with an error
	Timeouts         int64 // children killed because they did not answer in time
	Floods           int64 // children killed for a line without end
	StrayLines       int64 // lines on standard output that were no messages
}

// New returns a Bridge that reads stream for the application app. New starts
// nothing; [Bridge.Run] does the work.
func New(api consumer.API, leases consumer.LeaseStore, app, stream string, cfg Config) (*Bridge, error) {
	if len(cfg.Command) == 0 {
		return nil, errors.New("multilang: there is no command to run; name it with executableName")
	}
	command := cfg.Command
	return newBridge(api, leases, app, stream, cfg, func(ctx context.Context) (*proc, error) { return startProcess(ctx, command) })
}

func newBridge(api consumer.API, leases consumer.LeaseStore, app, stream string, cfg Config, start func(context.Context) (*proc, error)) (*Bridge, error) {
	log := cfg.Consumer.Logger
	if log == nil {
		log = slog.Default()
	}
	br := &Bridge{b: bridge{
		start: start, timeout: cfg.Timeout, grace: cmp.Or(cfg.Grace, 10*time.Second), kcl1: cfg.KCL1, log: log,
	}}
	cfg.Consumer.ExplicitCheckpoints = true
	c, err := consumer.New(api, leases, app, stream, func(s *consumer.Shard) (consumer.Processor, error) {
		return &processor{b: &br.b, shard: s, log: br.b.log.With(slog.String("shard", s.ID))}, nil
	}, cfg.Consumer)
	if err != nil {
		return nil, fmt.Errorf("multilang: %w", err)
	}
	br.c = c
	return br, nil
}

// Run reads until ctx ends, and then stops as [consumer.Consumer.Run] does:
// each child is asked for a last checkpoint, its lease is released, and it has
// time to exit. No child is left when Run returns.
func (br *Bridge) Run(ctx context.Context) error {
	err := br.c.Run(ctx)
	br.b.children.Wait()
	return err
}

// Stats returns the present counts.
func (br *Bridge) Stats() Stats {
	n := &br.b.counts
	return Stats{
		Consumer: br.c.Stats(),
		Children: n.children.Load(), Records: n.records.Load(),
		Checkpoints: n.checkpoints.Load(), CheckpointErrors: n.checkpointErrors.Load(),
		Timeouts: n.timeouts.Load(), Floods: n.floods.Load(), StrayLines: n.strayLines.Load(),
	}
}
