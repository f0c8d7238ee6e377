package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/streamkit/streamkit/agent/internal/position"
	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/seglog"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/producer"
)

// ErrNotDrained is returned by [Agent.Run] if records were still on their way when
// it ended. They are read again at the next start.
var ErrNotDrained = errors.New("agent: stopped before all records were acknowledged; they are read again at the next start")

// ErrUnread is returned by [Agent.Run] with [Config.Once] if a directory or a file could
// not be read. The error names it. What could be read is delivered.
var ErrUnread = errors.New("agent: not read")

const (
	persistEvery = time.Second
	expireEvery  = time.Hour
)

// Agent moves the records of files to streams. It is safe for concurrent use.
type Agent struct {
	log   *slog.Logger
	store *position.Store
	path  string  // of the store
	first []*flow // those to begin with
	ran   atomic.Bool
	soon  chan struct{} // capacity 1: a file was discovered, store that

	memory *tail.Budget[producer.UserRecord] // of what all flows have read

	reloads chan reload   // taken by the goroutine of Run
	ended   chan struct{} // closed when Run takes no more of them

	mu          sync.Mutex // guards what follows
	cfg         Config
	runners     []*runner
	reloadErr   error     // why the last other configuration was not taken
	persisted   time.Time // when all positions were last durable
	persistErr  error
	persistFail int // in a row
	failures    uint64
	kill        bool

	persistTime histogram // of what was written
}

// New returns an agent with the positions of its last run; it opens a sink for each
// flow. An error says what to do about it: another agent may have the checkpoint
// file, or it may be damaged. The caller must call Run, which frees everything.
func New(config *Config, open OpenSink) (*Agent, error) {
	cfg := *config
	cfg.Flows = slices.Clone(config.Flows)
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	store, err := position.Memory(), error(nil)
	if !cfg.Ephemeral {
		store, err = position.Open(cfg.FS, cfg.CheckpointFile)
	}
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("agent: the checkpoint file %s is in use by another agent; stop that one, or give this one "+
			"its own \"checkpointFile\": %w", cfg.CheckpointFile, err)
	}
	if errors.Is(err, seglog.ErrCorrupt) {
		return nil, fmt.Errorf("agent: checkpoint file: %w", err)
	}
	if errors.Is(err, syscall.ENOSPC) {
		return nil, fmt.Errorf("agent: cannot make the checkpoint file %s: %w; make room, or set \"checkpointFile\" to a file on another disk",
			cfg.CheckpointFile, err)
	}
	if err != nil {
		return nil, fmt.Errorf("agent: cannot use the checkpoint file %s: %w; set \"checkpointFile\" to a file in a directory "+
			"that this user may write", cfg.CheckpointFile, err)
	}
	a := &Agent{
		cfg: cfg, log: cfg.Logger, store: store, path: cfg.CheckpointFile, soon: make(chan struct{}, 1), persisted: time.Now(),
		reloads: make(chan reload), ended: make(chan struct{}),
	}
	if n := store.Torn(); n > 0 {
		a.log.Warn("cut the torn end of the checkpoint file; some records may be sent twice",
			slog.String("path", cfg.CheckpointFile), slog.Int64("bytes", n))
	}
	a.expire()
	a.memory = tail.NewBudget[producer.UserRecord](cfg.readMemory())
	for _, fc := range cfg.Flows {
		sink, err := open(fc, cfg.sinkMemory())
		if err != nil {
			for _, fl := range a.first {
				_ = fl.sink.Close(context.Background()) // nothing was put
			}
			return nil, errors.Join(fmt.Errorf("agent: flow %s: %w", fc.ID, err), store.Abandon())
		}
		a.first = append(a.first, a.newFlow(fc, &cfg, sink))
	}
	return a, nil
}

func (a *Agent) newFlow(fc FlowConfig, cfg *Config, sink Sink) *flow {
	if cfg.Ephemeral {
		// An agent may run beside it, with files that it has not delivered.
		fc.DeleteDelivered, fc.Protect, fc.DeadLetterFile = false, ProtectNone, ""
	}
	return newFlow(fc, cfg, a.store, sink, a.memory, a.soon)
}

// Run moves records until ctx ends, or with Config.Once until every file is read
// to its end and delivered. It then stops reading, waits up to
// Config.ShutdownTimeout for what is on its way, stores the positions and closes
// the sinks. The error is nil if everything that was read is acknowledged and
// stored, [ErrNotDrained] if not, and with Config.Once [ErrUnread] if something could
// not be read. Run may be called once.
func (a *Agent) Run(ctx context.Context) error {
	if a.ran.Swap(true) {
		return errors.New("agent: Run was called before")
	}
	var background sync.WaitGroup
	persistStop := make(chan struct{})
	background.Go(func() { a.persistLoop(persistStop) })

	drained := a.serve(ctx)
	close(a.ended)
	close(persistStop)
	background.Wait()
	return a.finish(drained)
}

// runFlow runs one flow to its end and reports whether it is drained.
func (a *Agent) runFlow(ctx, sendCtx context.Context, fl *flow) bool {
	sendCtx, cancel := context.WithCancel(sendCtx)
	defer cancel()
	cfg := a.config()
	if w, err := cfg.NewWatcher(); err != nil {
		fl.log.Warn("no file events; polling", slog.Any("err", err))
	} else {
		fl.watcher = w
	}
	var helpers sync.WaitGroup
	fl.startOptions(sendCtx, &helpers)
	helpers.Go(func() { fl.sender(sendCtx) })
	helpers.Go(func() { fl.flusher(sendCtx) })
	fl.run(ctx)

	// With Once the wait for a slow stream is the work itself.
	drainCtx := ctx
	closeTimeout := time.Second
	if ctx.Err() != nil {
		timeout := a.config().ShutdownTimeout
		if fl.cfg.SkipDrain {
			timeout, closeTimeout = 0, 0
		}
		var done context.CancelFunc
		drainCtx, done = context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer done()
	}
	drained := !a.killed() && fl.drain(drainCtx)
	if !drained && drainCtx == ctx && !a.killed() {
		var done context.CancelFunc
		drainCtx, done = context.WithTimeout(context.WithoutCancel(ctx), a.config().ShutdownTimeout)
		defer done()
		drained = fl.drain(drainCtx)
	}
	cancel()
	helpers.Wait()
	if a.killed() {
		return false
	}
	closeCtx, done := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer done()
	if err := fl.sink.Close(closeCtx); err != nil && drained {
		fl.log.Warn("cannot close the producer", slog.Any("err", err))
	}
	return drained
}

// persistLoop stores the positions once a second and reports, until stop is closed.
func (a *Agent) persistLoop(stop <-chan struct{}) {
	tick := time.NewTicker(persistEvery)
	defer tick.Stop()
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	status := time.NewTimer(a.config().StatusPeriod)
	defer status.Stop()
	soon := a.soon
	again := time.NewTimer(persistEvery)
	defer again.Stop()
	for {
		select {
		case <-status.C:
			a.logStatus()
			status.Reset(a.config().StatusPeriod)
		case <-tick.C:
			a.persist()
		case <-soon:
			// What is known of a file lets it be found again under another name. A
			// pause bounds the number of writes when many files come at once.
			a.persist()
			soon = nil
			again.Reset(persistEvery / 10)
		case <-again.C:
			soon = a.soon
		case <-expire.C:
			a.expire()
		case <-stop:
			return
		}
	}
}

// expire forgets the positions of finished files that have been gone for long. Those of
// files that are there are needed: without them they would be read again by a next start.
func (a *Agent) expire() {
	cfg := a.config()
	a.store.Expire(cfg.CheckpointTimeToLive, func(e position.Entry) bool {
		fi, err := cfg.FS.Stat(e.Path)
		if err != nil {
			return !errors.Is(err, fs.ErrNotExist) // it may be there
		}
		return tail.IDOf(e.Path, fi) == e.ID
	})
}

// logStatus writes a line for each flow.
func (a *Agent) logStatus() {
	for _, r := range a.flows() {
		fl := r.fl
		s := fl.status()
		lost := uint64(0)
		for _, n := range s.LostBytes {
			lost += n
		}
		fl.log.Info("status", slog.String("state", s.State), slog.Int("files", len(s.Files)),
			slog.Uint64("read_bytes", s.ReadBytes), slog.Uint64("records", s.Records), slog.Uint64("acked", s.AckedRecords),
			slog.Uint64("filtered", s.FilteredRecords), slog.Int64("behind_bytes", s.BehindBytes),
			slog.Uint64("lost_bytes", lost), slog.Int64("memory_bytes", s.MemoryBytes))
	}
}

// persist makes the positions durable. A failure stops nothing: it costs
// duplicates after a crash, and a stop would cost the delivery.
func (a *Agent) persist() {
	start := time.Now()
	flows := a.flows()
	rounds := make([]uint64, len(flows))
	for i, r := range flows {
		r.fl.checkpoint()
		rounds[i] = r.fl.round.Load()
	}
	changed, writing := a.store.Changed(), time.Now()
	err := a.store.Persist()
	if changed && err == nil {
		a.persistTime.observe(time.Since(writing))
	}
	if err == nil {
		for i, r := range flows {
			r.fl.stored(rounds[i])
		}
	}
	a.mu.Lock()
	failed := a.persistFail
	if a.persistErr = err; err != nil {
		a.persistFail++
		a.failures++
	} else {
		a.persistFail, a.persisted = 0, start
	}
	a.mu.Unlock()
	switch {
	case err != nil && failed == 0:
		a.log.Error("cannot store the positions; delivery goes on, a crash now would repeat records",
			slog.String("path", a.path), slog.Any("err", err))
	case err == nil && failed > 0:
		a.log.Info("the positions are stored again", slog.Int("failures", failed))
	}
}

func (a *Agent) finish(drained []bool) error {
	if a.killed() {
		return errors.Join(ErrNotDrained, a.store.Abandon())
	}
	var errs []error
	for _, ok := range drained {
		if !ok {
			errs = append(errs, ErrNotDrained)
			break
		}
	}
	for _, r := range a.flows() {
		errs = append(errs, r.fl.unread())
	}
	a.persist()
	a.mu.Lock()
	if a.persistErr != nil {
		errs = append(errs, fmt.Errorf("agent: store the positions in %s: %w", a.path, a.persistErr))
	}
	a.mu.Unlock()
	// What could be stored is; Close would only repeat the error.
	errs = append(errs, a.store.Abandon())
	return errors.Join(errs...)
}

func (a *Agent) killed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.kill
}

// Status returns the state of every flow and file.
func (a *Agent) Status() Status {
	var s Status
	for _, r := range a.flows() {
		s.Flows = append(s.Flows, r.fl.status())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reloadErr != nil {
		s.ConfigError = a.reloadErr.Error()
	}
	s.CheckpointAge = time.Since(a.persisted).Seconds()
	s.CheckpointFailures, s.CheckpointPersist = a.failures, a.persistTime.snapshot()
	if a.persistErr != nil {
		s.CheckpointError = a.persistErr.Error()
	}
	return s
}

// validate returns all that is wrong with the configuration, joined.
func (c *Config) validate() error {
	var errs []error
	if len(c.Flows) == 0 {
		errs = append(errs, errors.New("agent: no flows; add one with filePattern and kinesisStream"))
	}
	ids := make(map[string]bool)
	for i := range c.Flows {
		f := &c.Flows[i]
		for _, p := range f.validate() {
			errs = append(errs, fmt.Errorf("agent: flow %d: %w", i, p))
		}
		if ids[f.ID] {
			errs = append(errs, fmt.Errorf("agent: flow %d: a second flow %s; two flows need different streams or patterns", i, f.ID))
		}
		ids[f.ID] = true
	}
	for _, p := range append(c.problems(), c.memoryProblems()...) {
		errs = append(errs, fmt.Errorf("agent: %w", p))
	}
	return errors.Join(errs...)
}

func (c *Config) problems() (errs []problem) {
	errs = inRange(errs, "shutdownTimeoutMillis", c.ShutdownTimeout, time.Millisecond, 24*time.Hour)
	errs = inRange(errs, "checkpointTimeToLiveDays", c.CheckpointTimeToLive, 24*time.Hour, 36500*24*time.Hour)
	errs = inRange(errs, "log.statusReportingPeriodSeconds", c.StatusPeriod, time.Second, 24*time.Hour)
	errs = inRange(errs, "maxMemoryBytes", c.MaxMemoryBytes, 4<<20, 1<<40)
	if filepath.Base(c.CheckpointFile) == "." || c.CheckpointFile[len(c.CheckpointFile)-1] == filepath.Separator {
		errs = append(errs, problem{"checkpointFile", "names a directory; name a file in it"})
	}
	errs = inRange(errs, "cloudwatch.metricsBufferTimeMillis", c.CloudWatch.Period, time.Second, time.Hour)
	if s := &c.Service; s.SocketTimeout != 0 {
		errs = inRange(errs, "socketTimeoutMillis", s.SocketTimeout, 100*time.Millisecond, 10*time.Minute)
	}
	if s := &c.Service; s.ConnectionTimeout != 0 {
		errs = inRange(errs, "connectionTimeoutMillis", s.ConnectionTimeout, 100*time.Millisecond, 10*time.Minute)
	}
	if s := &c.Service; (s.AccessKeyID == "") != (s.SecretAccessKey == "") {
		errs = append(errs, problem{"awsAccessKeyId", "awsAccessKeyId and awsSecretAccessKey belong together; give both or none"})
	}
	return errs
}
