package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/agent"
	"github.com/streamkit/streamkit/producer"
)

// describeTimeout bounds the look at each stream before the start.
const describeTimeout = 5 * time.Second

func (a *app) runAgent(cmd *cobra.Command, _ []string) error {
	ctx := cmd.Context()
	log, err := a.logger()
	if err != nil {
		return err
	}
	cfg, warnings, err := agent.LoadConfig(a.config)
	for _, w := range warnings {
		log.Warn("configuration", slog.String("warning", w.String()))
	}
	if err != nil {
		return err
	}
	cfg.Logger = log
	cfg.Once = a.once

	client, where, err := kinesisClient(ctx, cfg)
	if err != nil {
		return err
	}
	if err := checkStreams(ctx, cfg, client, where, log); err != nil {
		return err
	}
	ag, err := agent.New(cfg, func(f agent.FlowConfig, memory int64) (agent.Sink, error) {
		return producer.New(client, f.KinesisStream, producerConfig(f, memory, log))
	})
	if err != nil {
		return err
	}
	if a.statusAddr != "" {
		stop, err := serveStatus(ctx, a.statusAddr, ag, log)
		if err != nil {
			// Run frees what New has opened.
			ended, cancel := context.WithCancel(ctx)
			cancel()
			return errors.Join(err, ag.Run(ended))
		}
		defer stop()
	}
	log.Info("started", slog.String("endpoint", where), slog.Int("flows", len(cfg.Flows)),
		slog.String("checkpoints", checkpointFile(cfg)))
	err = ag.Run(ctx)
	log.Info("stopped", slog.Bool("drained", err == nil))
	return err
}

func checkpointFile(cfg *agent.Config) string {
	if cfg.CheckpointFile != "" {
		return cfg.CheckpointFile
	}
	return agent.DefaultCheckpointFile
}

// producerConfig carries a flow's settings over to its producer.
func producerConfig(f agent.FlowConfig, memory int64, log *slog.Logger) producer.Config {
	const (
		leastRequest = 52224   // the producer's own bound
		leastMemory  = 2 << 20 // two of the largest records
	)
	age := f.MaxBufferAge
	return producer.Config{
		DisableAggregation:    !f.Aggregation,
		RecordMaxBufferedTime: age,
		CollectionMaxCount:    f.MaxBufferSizeRecords,
		CollectionMaxSize:     max(f.MaxBufferSizeBytes, leastRequest),
		MaxBufferedBytes:      max(memory, leastMemory),
		RecordTTL:             -1,               // a record waits in the file for as long as it takes
		OnFailure:             producer.SkipOne, // what the stream refuses takes no other line with it
		Logger:                log,
	}
}

// checkStreams looks whether the streams exist. A service that cannot be reached
// is no reason not to start: the files wait.
func checkStreams(ctx context.Context, cfg *agent.Config, client *kinesis.Client, where string, log *slog.Logger) error {
	var errs []error
	seen := make(map[string]bool)
	for _, f := range cfg.Flows {
		if seen[f.KinesisStream] {
			continue
		}
		seen[f.KinesisStream] = true
		err := describe(ctx, client, f.KinesisStream)
		if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
			errs = append(errs, fmt.Errorf("stream %q does not exist at %s; create it with \"streamctl stream create %s\", "+
				"or correct kinesisStream in the configuration", f.KinesisStream, where, f.KinesisStream))
			continue
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("cannot look at the stream; the files wait until it can be reached",
				slog.String("stream", f.KinesisStream), slog.String("endpoint", where), slog.Any("err", err))
			break // the others would only take as long
		}
	}
	return errors.Join(errs...)
}

func describe(ctx context.Context, client *kinesis.Client, stream string) error {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	_, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(stream)})
	return err
}
