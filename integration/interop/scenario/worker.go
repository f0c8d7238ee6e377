package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
)

// modes are the values of MODE.
var modes = map[string]consumer.Mode{
	"auto": consumer.ModeAuto, "kcl2": consumer.ModeKCL2, "kcl3": consumer.ModeKCL3,
}

// Work runs one worker of this module's consumer, with the settings that the
// programs in Java have (see java/kcl), until stdin ends. It is a program of
// its own, so that it can be killed; exit ends it.
func Work(ctx context.Context, env func(string) string, stdin io.Reader, log io.Writer, exit func(int)) error {
	mode, ok := modes[env("MODE")]
	if !ok {
		return fmt.Errorf("MODE is %q", env("MODE"))
	}
	failover, err := strconv.Atoi(env("FAILOVER_MS"))
	if err != nil {
		return fmt.Errorf("FAILOVER_MS: %w", err)
	}
	halt, err := strconv.ParseInt(env("HALT_AT_SUB"), 10, 64)
	if err != nil {
		return fmt.Errorf("HALT_AT_SUB: %w", err)
	}
	var stable time.Duration
	if seconds := env("STABLE_SECONDS"); seconds != "" {
		if stable, err = time.ParseDuration(seconds + "s"); err != nil {
			return fmt.Errorf("STABLE_SECONDS: %w", err)
		}
	}
	file, err := os.Create(env("OUT"))
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // each write was checked
	cfg := aws.Config{
		Region: env("AWS_REGION"), HTTPClient: consumer.HTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider(env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"), ""),
	}
	streams := kinesis.NewFromConfig(cfg, func(o *kinesis.Options) { o.BaseEndpoint = aws.String(env("STREAMD_PLAIN")) })
	tables := dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) { o.BaseEndpoint = aws.String(env("TABLES_PLAIN")) })
	leases, err := dynamolease.New(tables, env("APP"), dynamolease.Config{})
	if err != nil {
		return err
	}
	w := &worker{name: env("WORKER"), halt: halt, exit: exit, out: file}
	c, err := consumer.New(streams, leases, env("APP"), env("STREAM"), func(s *consumer.Shard) (consumer.Processor, error) {
		return &witness{w: w, shard: s}, nil
	}, consumer.Config{
		WorkerID: w.name, Mode: mode, UpgradeWait: stable, FailoverTime: time.Duration(failover) * time.Millisecond,
		CheckpointInterval: time.Second, ShutdownTimeout: 10 * time.Second, ExplicitCheckpoints: halt >= 0,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // whoever started this holds it open
		stop()
	}()
	if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// worker writes what its processors see.
type worker struct {
	name string
	halt int64 // end the process in the middle of an aggregate, behind this record of it; below 0: never
	exit func(int)

	mu  sync.Mutex // guards out
	out io.Writer
}

// write writes events, at once: what is acknowledged behind them must not be
// lost with the process.
func (w *worker) write(events ...event) error {
	var b bytes.Buffer
	now := time.Now().UnixMicro()
	for _, e := range events {
		e.Micros, e.Worker = now, w.name
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.out.Write(b.Bytes())
	return err
}

// witness is the processor of a shard.
type witness struct {
	w     *worker
	shard *consumer.Shard
}

var (
	_ consumer.Initializer       = (*witness)(nil)
	_ consumer.LeaseLoser        = (*witness)(nil)
	_ consumer.ShardEnder        = (*witness)(nil)
	_ consumer.ShutdownRequester = (*witness)(nil)
)

func (n *witness) Initialize(context.Context, consumer.Checkpoint) error {
	return n.w.write(event{Event: "begin", Shard: n.shard.ID})
}

func (n *witness) ProcessRecords(ctx context.Context, b *consumer.Batch) error {
	events := make([]event, 0, len(b.Records))
	for i := range b.Records {
		r := &b.Records[i]
		events = append(events, event{
			Event: "record", Shard: n.shard.ID, Key: r.PartitionKey, Seq: r.SequenceNumber, Sub: r.SubSequenceNumber, Data: r.Data,
		})
		if n.w.halt < 0 || !r.Aggregated || r.SubSequenceNumber != n.w.halt {
			continue
		}
		if err := n.shard.CommitTo(ctx, r.Checkpoint()); err != nil {
			return err
		}
		if err := n.w.write(append(events, event{Event: "halted", Shard: n.shard.ID})...); err != nil {
			return err
		}
		n.w.exit(0)
	}
	if err := n.w.write(events...); err != nil {
		return err
	}
	if n.w.halt >= 0 {
		return n.shard.Commit(ctx)
	}
	return nil
}

func (n *witness) LeaseLost() {
	_ = n.w.write(event{Event: "lost", Shard: n.shard.ID}) // without it the check of duplicates fails
}

func (n *witness) ShardEnded(context.Context) error {
	return n.w.write(event{Event: "ended", Shard: n.shard.ID})
}

func (n *witness) ShutdownRequested(context.Context) error {
	return n.w.write(event{Event: "requested", Shard: n.shard.ID})
}
