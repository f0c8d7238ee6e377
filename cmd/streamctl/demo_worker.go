package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/demo"
	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
)

// newDemoWorker is a consumer worker of the demo, which keeps receipts of what
// it is given.
func (a *app) newDemoWorker() *cobra.Command {
	var (
		stream, application, id, receipts string
		failover                          time.Duration
	)
	cmd := &cobra.Command{
		Use:    "demo-worker",
		Hidden: true,
		Args:   exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demoWorker(cmd.Context(), stream, application, receipts, consumer.Config{
				WorkerID:             id,
				FailoverTime:         failover,
				IdleTimeBetweenReads: 250 * time.Millisecond,
				// Small batches and frequent checkpoints, so that a kill leaves little
				// to be delivered again. A record of the agent holds a thousand lines.
				MaxRecords:         20,
				CheckpointInterval: 200 * time.Millisecond,
				Logger:             slog.New(slog.NewTextHandler(a.err, nil)),
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&stream, "stream", "", "stream to read")
	f.StringVar(&application, "app", "", "application, and name of the lease table")
	f.StringVar(&id, "id", "", "name of the worker")
	f.StringVar(&receipts, "receipts", "", "new file for the receipts")
	f.DurationVar(&failover, "failover", 3*time.Second, "how long a lease stays with a dead worker")
	return cmd
}

func (a *app) demoWorker(ctx context.Context, stream, application, receipts string, cfg consumer.Config) error {
	k, err := a.kinesis(ctx)
	if err != nil {
		return err
	}
	db, err := a.dynamodb(ctx)
	if err != nil {
		return err
	}
	store, err := dynamolease.New(db, application, dynamolease.Config{})
	if err != nil {
		return err
	}
	log, err := demo.CreateLog(receipts)
	if err != nil {
		return err
	}
	c, err := consumer.New(k, store, application, stream, func(*consumer.Shard) (consumer.Processor, error) {
		return &receiver{log: log}, nil
	}, cfg)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	return errors.Join(c.Run(ctx), log.Close())
}

// receiver writes the receipts of one shard.
type receiver struct {
	log   *demo.Log
	frame demo.Frame
}

// ProcessRecords implements [consumer.Processor]. Its nil acknowledges the
// batch, so the receipts are written before.
func (r *receiver) ProcessRecords(_ context.Context, b *consumer.Batch) error {
	r.frame.Reset(b.Shard.ID)
	for i := range b.Records {
		rec := &b.Records[i]
		d, _ := demo.ParseRecord(rec.Data) // what is no line counts as foreign
		d.Sub = uint32(rec.SubSequenceNumber)
		r.frame.Add(rec.SequenceNumber, d)
	}
	return r.log.Append(&r.frame)
}
