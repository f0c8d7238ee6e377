package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/streamkit/streamkit/agent"
)

// emfWriter writes metrics for CloudWatch once in a while.
type emfWriter struct {
	emf    *agent.EMF
	out    io.Writer
	file   *os.File // what is to be closed; nil if out is not ours
	period time.Duration
}

func (a *app) newEMF(ctx context.Context, cfg agent.CloudWatch) (*emfWriter, error) {
	w := &emfWriter{out: a.out, period: cfg.Period}
	if w.period == 0 {
		w.period = 30 * time.Second
	}
	if cfg.File != "" {
		f, err := os.OpenFile(cfg.File, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("cloudwatch.metricsFile: %w; name a file that this user may write", err)
		}
		w.out, w.file = f, f
	}
	instance := ""
	if cfg.TagInstance {
		instance = instanceID(ctx)
	}
	w.emf = agent.NewEMF(cfg, instance)
	return w, nil
}

// instanceID is the id of the EC2 instance, or the host's name elsewhere.
func instanceID(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	out, err := imds.New(imds.Options{}).GetMetadata(ctx, &imds.GetMetadataInput{Path: "instance-id"})
	if err == nil {
		b, readErr := io.ReadAll(io.LimitReader(out.Content, 256))
		_ = out.Content.Close() // read or given up
		if readErr == nil && len(b) > 0 {
			return string(b)
		}
	}
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// run writes until ctx ends, and then once more.
func (w *emfWriter) run(ctx context.Context, ag *agent.Agent, log *slog.Logger) {
	tick := time.NewTicker(w.period)
	defer tick.Stop()
	for {
		over := false
		select {
		case <-tick.C:
		case <-ctx.Done():
			over = true
		}
		if _, err := w.out.Write(w.emf.Append(nil, ag.Status(), time.Now())); err != nil {
			log.Warn("cannot write metrics for CloudWatch", slog.Any("err", err))
		}
		if over {
			break
		}
	}
	if w.file != nil {
		if err := w.file.Close(); err != nil {
			log.Warn("cannot close the file of metrics", slog.Any("err", err))
		}
	}
}
