package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/demo"
	"github.com/streamkit/streamkit/logappender"
	"github.com/streamkit/streamkit/producer"
)

// newDemoLogger is the logging service of the demo: a program that logs with
// zap, into a stream.
func (a *app) newDemoLogger() *cobra.Command {
	var (
		stream, stats string
		stay          bool
	)
	cmd := &cobra.Command{
		Use:    "demo-logger",
		Hidden: true,
		Args:   exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demoLogger(cmd.Context(), stream, stats, stay)
		},
	}
	f := cmd.Flags()
	f.StringVar(&stream, "stream", "", "stream that takes the log")
	f.StringVar(&stats, "stats", "", "file for the appender's counters")
	f.BoolVar(&stay, "stay", false, "go on after the end of the input")
	return cmd
}

func (a *app) demoLogger(ctx context.Context, stream, stats string, stay bool) error {
	k, err := a.kinesis(ctx)
	if err != nil {
		return err
	}
	// The producer's own log goes to standard error, not into the stream.
	prod, err := producer.New(k, stream, producer.Config{
		RecordTTL: -1, // a log must arrive, however long the server is away
		OnFailure: producer.SkipOne,
		Logger:    slog.New(slog.NewTextHandler(a.err, nil)),
	})
	if err != nil {
		return err
	}
	app, err := logappender.New(prod, logappender.Config{
		PartitionKey: logappender.FixedKey("logging-service"),
		// This program would rather wait than lose a line.
		Overflow: logappender.Block, BlockTimeout: time.Hour,
		ErrorOutput: a.err,
	})
	if err != nil {
		return err
	}
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	service := &demo.Service{
		In: a.in, Stay: stay, StatsPath: stats,
		Log: zap.New(app.Core(zapcore.InfoLevel, encoder)),
		Stats: func() demo.ServiceStats {
			s := app.Stats()
			return demo.ServiceStats{Accepted: s.Accepted.Total(), Delivered: s.Delivered.Total(), Dropped: s.DroppedTotal()}
		},
	}
	err = service.Run(ctx)
	closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, app.Close(closeCtx), prod.Close(closeCtx))
}
