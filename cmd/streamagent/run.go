package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/agent"
)

func (a *app) runAgent(cmd *cobra.Command, _ []string) error {
	ctx := cmd.Context()
	cfg, warnings, err := agent.LoadConfig(a.config)
	log, logErr := a.logger(cfg)
	if logErr != nil {
		return logErr
	}
	for _, w := range warnings {
		log.Warn("configuration", slog.String("warning", w.String()))
	}
	if err != nil {
		return err
	}
	if err := a.refuseWarnings(warnings); err != nil {
		return err
	}
	cfg.Logger = log
	cfg.Once = a.once
	before, err := fingerprint(a.config)
	if err != nil {
		return err
	}

	svc, err := connect(ctx, cfg, log)
	if err != nil {
		return err
	}
	if err := svc.checkStreams(ctx, cfg.Flows); err != nil {
		return err
	}
	collectOften()
	ag, err := agent.New(cfg, svc.open)
	if err != nil {
		return err
	}
	stop, err := a.serve(ctx, cfg, ag, log)
	if err != nil {
		// Run frees what New has opened.
		ended, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, ag.Run(ended))
	}
	defer stop()

	helpCtx, stopHelpers := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stopHelpers()
	n := newNotifier(log)
	defer n.close()
	if !a.once {
		r := &reloader{app: a, agent: ag, log: log, notify: n, last: before, service: cfg.Service, services: svc}
		helpers.Go(func() { r.run(helpCtx) })
	}
	helpers.Go(func() { n.watchdog(helpCtx, func() { _ = ag.Status() }) })
	if cfg.CloudWatch.Emit {
		emf, err := a.newEMF(ctx, cfg.CloudWatch)
		if err != nil {
			log.Error("no metrics for CloudWatch", slog.Any("err", err))
		} else {
			helpers.Go(func() { emf.run(helpCtx, ag, log) })
		}
	}

	log.Info("started", slog.String("endpoint", svc.where), slog.Int("flows", len(cfg.Flows)),
		slog.String("checkpoints", checkpointFile(cfg)))
	n.ready(len(cfg.Flows))
	context.AfterFunc(ctx, n.stopping)
	err = ag.Run(ctx)
	log.Info("stopped", slog.Bool("drained", err == nil))
	return err
}

// collectOften keeps what is garbage to a third of what is not, where Go would let
// it become as much: nearly all memory is buffers without pointers, so that to look
// for it costs next to nothing. GOGC overrides it.
func collectOften() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(33)
	}
}

func checkpointFile(cfg *agent.Config) string {
	if cfg.CheckpointFile != "" {
		return cfg.CheckpointFile
	}
	return agent.DefaultCheckpointFile
}

// socketPath is where the agent of a configuration is asked about its state: the
// flag's place, or beside its checkpoints, where it may write.
func (a *app) socketPath(cfg *agent.Config) string {
	if a.socket != "" {
		return a.socket
	}
	return filepath.Join(filepath.Dir(checkpointFile(cfg)), "streamagent.sock")
}
