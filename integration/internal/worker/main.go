// Worker is one worker of a fleet, for the tests: it appends every record that
// it is given to a file, as a line of JSON, before it acknowledges it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
)

// Line is what is written for a record.
type Line struct {
	Shard, Sequence string
	Sub             int64
	Key, Data       string
	At              int64 // when it was written, in nanoseconds since 1970
}

var modes = map[string]consumer.Mode{"auto": consumer.ModeAuto, "kcl2": consumer.ModeKCL2, "kcl3": consumer.ModeKCL3, "native": consumer.ModeNative}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	app := flag.String("app", "", "application, and lease table")
	stream := flag.String("stream", "", "stream")
	id := flag.String("id", "", "worker id")
	out := flag.String("out", "", "file that lines are appended to")
	failover := flag.Duration("failover", 10*time.Second, "Config.FailoverTime")
	modeName := flag.String("mode", "auto", "Config.Mode")
	peer := flag.String("peer", "", "Config.PeerAddr")
	flag.Parse()
	mode, ok := modes[*modeName]
	if !ok {
		return fmt.Errorf("mode %q is unknown: use one of %v", *modeName, slices.Sorted(maps.Keys(modes)))
	}

	f, err := os.OpenFile(*out, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	awsConfig, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	leases, err := dynamolease.New(dynamodb.NewFromConfig(awsConfig), *app, dynamolease.Config{})
	if err != nil {
		return err
	}
	newProcessor := func(*consumer.Shard) (consumer.Processor, error) { return &processor{f}, nil }
	client := kinesis.NewFromConfig(awsConfig, func(o *kinesis.Options) { o.HTTPClient = consumer.HTTPClient() })
	c, err := consumer.New(client, leases, *app, *stream, newProcessor, consumer.Config{
		WorkerID:     *id,
		FailoverTime: *failover,
		Mode:         mode,
		PeerAddr:     *peer,
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		return err
	}
	return c.Run(ctx)
}

// processor writes the records of a shard.
type processor struct{ f *os.File }

// ProcessRecords writes a batch in one call, so that lines of several shards do
// not mix.
func (p *processor) ProcessRecords(_ context.Context, b *consumer.Batch) error {
	var lines []byte
	at := time.Now().UnixNano()
	for i := range b.Records {
		r := &b.Records[i]
		line, err := json.Marshal(Line{b.Shard.ID, r.SequenceNumber, r.SubSequenceNumber, r.PartitionKey, string(r.Data), at})
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	_, err := p.f.Write(lines)
	return err
}
