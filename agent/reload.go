package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// ErrNotRunning is returned by [Agent.Reload] once Run ends.
var ErrNotRunning = errors.New("agent: not running")

// A Reloaded is what [Agent.Reload] has done, by the ids of flows.
type Reloaded struct {
	Added, Removed, Changed, Kept []string

	// NeedRestart are keys whose new values take effect with the next start.
	NeedRestart []string
}

// A runner runs one flow until it is stopped.
type runner struct {
	fl      *flow
	stop    context.CancelFunc
	done    chan struct{} // closed when the flow has ended
	drained bool          // valid once done is closed
}

// start runs a flow until ctx ends or the runner is stopped.
func (a *Agent) start(ctx, sendCtx context.Context, fl *flow) *runner {
	ctx, stop := context.WithCancel(ctx)
	r := &runner{fl: fl, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.drained = a.runFlow(ctx, sendCtx, fl)
	}()
	return r
}

// A reload is a request to the goroutine of Run, which owns the runners.
type reload struct {
	cfg   Config
	open  OpenSink
	reply chan reloadReply // capacity 1: who asked may be gone
}

type reloadReply struct {
	what Reloaded
	err  error
}

// Reload takes over another configuration. Flows that are the same go on untouched;
// the others are stopped as at the end of Run, and go on from their positions with
// their new settings. open makes the sinks of those; all flows are changed if
// Config.Service is. If anything is wrong with config, or a sink cannot be made,
// nothing happens and the error says why. Reload may be called from any goroutine
// while Run runs; before, and with Config.Once, it waits. ctx bounds the wait, not
// the change itself.
func (a *Agent) Reload(ctx context.Context, config *Config, open OpenSink) (Reloaded, error) {
	cfg := *config
	cfg.Flows = slices.Clone(config.Flows)
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return Reloaded{}, err
	}
	r := reload{cfg: cfg, open: open, reply: make(chan reloadReply, 1)}
	select {
	case a.reloads <- r:
	case <-a.ended:
		return Reloaded{}, ErrNotRunning
	case <-ctx.Done():
		return Reloaded{}, ctx.Err()
	}
	select {
	case reply := <-r.reply:
		return reply.what, reply.err
	case <-a.ended:
		return Reloaded{}, ErrNotRunning
	case <-ctx.Done():
		return Reloaded{}, ctx.Err()
	}
}

// reload carries out a request; it runs on the goroutine of Run.
func (a *Agent) reload(ctx, sendCtx context.Context, r reload) (Reloaded, error) {
	var what Reloaded
	old := a.config()
	if r.cfg.CheckpointFile != old.CheckpointFile {
		what.NeedRestart = append(what.NeedRestart, "checkpointFile")
	}
	if r.cfg.MaxMemoryBytes != old.MaxMemoryBytes {
		what.NeedRestart = append(what.NeedRestart, "maxMemoryBytes")
	}
	if r.cfg.CloudWatch != old.CloudWatch {
		what.NeedRestart = append(what.NeedRestart, "cloudwatch")
	}
	next := r.cfg
	next.CheckpointFile, next.MaxMemoryBytes = old.CheckpointFile, old.MaxMemoryBytes
	next.Once, next.Ephemeral, next.Logger, next.FS, next.NewWatcher = old.Once, old.Ephemeral, old.Logger, old.FS, old.NewWatcher
	next.NetworkFS = old.NetworkFS
	for _, p := range next.memoryProblems() {
		return Reloaded{}, fmt.Errorf("agent: %w; the agent must be started anew for that", p)
	}

	running := make(map[string]*runner)
	for _, run := range a.flows() {
		running[run.fl.cfg.ID] = run
	}
	sinks, err := a.openChanged(&next, old, running, r.open)
	if err != nil {
		return Reloaded{}, err
	}

	var stopped []*runner
	for _, fc := range next.Flows {
		run := running[fc.ID]
		delete(running, fc.ID)
		_, changed := sinks[fc.ID]
		switch {
		case run == nil:
			what.Added = append(what.Added, fc.ID)
		case changed:
			what.Changed = append(what.Changed, fc.ID)
			stopped = append(stopped, run)
		default:
			what.Kept = append(what.Kept, fc.ID)
		}
	}
	for _, run := range a.flows() { // in their order
		if running[run.fl.cfg.ID] != nil {
			what.Removed = append(what.Removed, run.fl.cfg.ID)
			stopped = append(stopped, run)
		}
	}
	a.stopAll(stopped)
	a.replace(ctx, sendCtx, next, sinks)
	return what, nil
}

// openChanged opens the sinks of the flows that are new or changed. After an error
// none is left open.
func (a *Agent) openChanged(next *Config, old Config, running map[string]*runner, open OpenSink) (map[string]Sink, error) {
	sinks := make(map[string]Sink)
	for _, fc := range next.Flows {
		if run := running[fc.ID]; run != nil && next.Service == old.Service && sameFlow(&run.fl.cfg, &fc) {
			continue
		}
		sink, err := open(fc, next.sinkMemory())
		if err != nil {
			for _, s := range sinks {
				_ = s.Close(context.Background()) // nothing was put
			}
			return nil, fmt.Errorf("agent: flow %s: %w", fc.ID, err)
		}
		sinks[fc.ID] = sink
	}
	return sinks, nil
}

// sameFlow reports whether two flows are the same text in their configurations.
func sameFlow(a, b *FlowConfig) bool { return a.definition != "" && a.definition == b.definition }

// stopAll stops flows and hands their positions to the store.
func (a *Agent) stopAll(runners []*runner) {
	for _, r := range runners {
		r.stop()
	}
	for _, r := range runners {
		<-r.done
		r.fl.checkpoint()
		r.fl.release()
		if !r.drained {
			r.fl.log.Warn("the flow was stopped with records on their way; they are read again if it goes on")
		}
	}
}

// replace makes next the configuration and starts the flows that have a sink.
func (a *Agent) replace(ctx, sendCtx context.Context, next Config, sinks map[string]Sink) {
	kept := make(map[string]*runner)
	for _, r := range a.flows() {
		kept[r.fl.cfg.ID] = r
	}
	var runners []*runner
	for _, fc := range next.Flows {
		if sink, ok := sinks[fc.ID]; ok {
			runners = append(runners, a.start(ctx, sendCtx, a.newFlow(fc, &next, sink)))
		} else {
			runners = append(runners, kept[fc.ID])
		}
	}
	a.mu.Lock()
	a.cfg, a.runners = next, runners
	a.mu.Unlock()
}

// flows returns the runners of now.
func (a *Agent) flows() []*runner {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.runners
}

func (a *Agent) config() Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cfg
}

// serve runs the flows until ctx ends, or with Config.Once until they have ended
// by themselves, and reports for each whether it is drained.
func (a *Agent) serve(ctx context.Context) (drained []bool) {
	sendCtx, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	var runners []*runner
	for _, fl := range a.first {
		runners = append(runners, a.start(ctx, sendCtx, fl))
	}
	a.mu.Lock()
	a.runners = runners
	a.mu.Unlock()
	for !a.config().Once && ctx.Err() == nil { // with Once the flows end by themselves
		select {
		case <-ctx.Done():
		case r := <-a.reloads:
			what, err := a.reload(ctx, sendCtx, r)
			r.reply <- reloadReply{what, err}
		}
	}
	for _, r := range a.flows() {
		<-r.done
		drained = append(drained, r.drained)
		r.stop()
	}
	return drained
}

// ReloadFailed notes that another configuration could not even be read, for
// [Agent.Status]; nil notes that it could.
func (a *Agent) ReloadFailed(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reloadErr = err
	if err != nil {
		a.log.Error("the new configuration is not taken; the agent goes on with the old one", slog.Any("err", err))
	}
}
