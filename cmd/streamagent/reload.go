package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/streamkit/streamkit/agent"
)

// A reloader takes over the configuration when it changes, or when a signal asks
// for it.
type reloader struct {
	app      *app
	agent    *agent.Agent
	log      *slog.Logger
	notify   *notifier
	last     [sha256.Size]byte // of the configuration that was last tried
	service  agent.Service
	services *services
}

func (r *reloader) run(ctx context.Context) {
	hup := make(chan os.Signal, 1) // one that waits stands for those after it
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	var look <-chan time.Time
	if r.app.reloadInterval > 0 {
		tick := time.NewTicker(r.app.reloadInterval)
		defer tick.Stop()
		look = tick.C
	}
	seen := r.last
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			now, err := fingerprint(r.app.config)
			if err == nil {
				r.last, seen = now, now
			}
			r.reload(ctx)
		case <-look:
			now, err := fingerprint(r.app.config)
			if err != nil || now == r.last {
				continue // while a file is being replaced there may be none
			}
			if now != seen {
				seen = now // it may still be written
				continue
			}
			r.last = now
			r.reload(ctx)
		}
	}
}

// reload loads the configuration and hands it to the agent.
func (r *reloader) reload(ctx context.Context) {
	r.notify.reloading()
	err := r.take(ctx)
	if ctx.Err() != nil {
		return
	}
	r.agent.ReloadFailed(err)
	r.notify.ready(len(r.agent.Status().Flows))
}

func (r *reloader) take(ctx context.Context) error {
	cfg, warnings, err := agent.LoadConfig(r.app.config)
	for _, w := range warnings {
		r.log.Warn("configuration", slog.String("warning", w.String()))
	}
	if err != nil {
		return err
	}
	if err := r.app.refuseWarnings(warnings); err != nil {
		return err
	}
	svc, err := connect(ctx, cfg, r.log)
	if err != nil {
		return err
	}
	if err := svc.checkStreams(ctx, cfg.Flows); err != nil {
		return err
	}
	what, err := r.agent.Reload(ctx, cfg, svc.open)
	if err != nil {
		return err
	}
	r.services = svc
	if r.app.logLevel == "" {
		r.app.setLevel(cfg)
	}
	r.log.Info("the configuration is taken over", slog.Int("added", len(what.Added)), slog.Int("changed", len(what.Changed)),
		slog.Int("removed", len(what.Removed)), slog.Int("kept", len(what.Kept)))
	if len(what.NeedRestart) > 0 {
		r.log.Warn("some changes take effect with the next start", slog.String("keys", strings.Join(what.NeedRestart, ", ")))
	}
	return nil
}

// fingerprint tells the files of a configuration from what they were.
func fingerprint(path string) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	add := func(path string) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		own := sha256.Sum256(append([]byte(path+"\x00"), b...))
		h.Write(own[:])
		return nil
	}
	if err := add(path); err != nil {
		return sum, err
	}
	dir := agent.DropInDir(path)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return sum, err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			if err := add(filepath.Join(dir, e.Name())); err != nil {
				return sum, err
			}
		}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
