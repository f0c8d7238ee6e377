package consumer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/internal/blockrec"
)

// Consumer is one worker of an application: it reads its share of a stream's
// shards. It is safe for concurrent use.
type Consumer struct {
	api          API
	ref          streamRef
	store        LeaseStore
	stream       string
	newProcessor func(*Shard) (Processor, error)
	cfg          Config
	log          *slog.Logger
	incarnation  string // tells this process from others of its name

	registration *registration // nil if only polling is asked for
	subscribe    subscribeFunc // likewise

	blocks *blockrec.Decoder
	budget *budget
	writes chan struct{} // capacity MaxLeaseRenewalThreads: writes of leases in flight
	kick   chan struct{} // capacity 1: look at the leases now
	stats  counters

	started  atomic.Bool
	stopping chan struct{} // closed by Run: start nothing new, finish what is begun

	mu   sync.Mutex          // guards held
	held map[string]*holding // nil while being taken

	shards sync.WaitGroup // shard consumers
}

// New returns a Consumer that reads stream, a name or an ARN, for the
// application app, together with all other workers of that application that
// use the same leases. newProcessor is called for each shard that this worker
// comes to read, for several at once; its error makes it be called again later. New makes no
// request; [Consumer.Run] does the work.
func New(api API, leases LeaseStore, app, stream string, newProcessor func(*Shard) (Processor, error), cfg Config) (*Consumer, error) {
	cfg, err := cfg.withDefaults()
	if api == nil || leases == nil || newProcessor == nil {
		err = errors.Join(err, errors.New("client, lease store and processor function must not be nil"))
	}
	if app == "" || stream == "" {
		err = errors.Join(err, errors.New("application and stream must have a name"))
	}
	blocks, blockErr := blockrec.NewDecoder()
	err = errors.Join(err, blockErr)
	fanOut, ok := api.(FanOutAPI)
	if cfg.RetrievalMode != RetrievalPolling && api != nil && !ok {
		err = errors.Join(err, fmt.Errorf("RetrievalMode %v needs a client that implements FanOutAPI, as *kinesis.Client does; %T does not", cfg.RetrievalMode, api))
	}
	if err != nil {
		return nil, fmt.Errorf("consumer: config: %w", err)
	}
	c := &Consumer{
		api: api, ref: newStreamRef(stream), store: leases, stream: stream,
		newProcessor: newProcessor, cfg: cfg,
		log:         cfg.Logger.With(slog.String("app", app), slog.String("stream", stream), slog.String("worker", cfg.WorkerID)),
		incarnation: rand.Text(),
		blocks:      blocks,
		budget:      newBudget(cfg.MaxBufferedBytes),
		writes:      make(chan struct{}, cfg.MaxLeaseRenewalThreads),
		kick:        make(chan struct{}, 1),
		stopping:    make(chan struct{}),
		held:        map[string]*holding{},
	}
	if cfg.RetrievalMode != RetrievalPolling {
		c.registration = newRegistration(fanOut, c.ref, app, &c.cfg, c.log)
		c.subscribe = newSubscribe(fanOut)
	}
	return c, nil
}

func (c *Consumer) me() author { return author{c.cfg.WorkerID, c.incarnation} }

// WorkerID returns the name of this worker in the leases.
func (c *Consumer) WorkerID() string { return c.cfg.WorkerID }

// Run reads until ctx ends, and then stops gracefully: reading ends, batches
// in flight are finished, and each lease is released in the write that stores
// its last checkpoint, so that other workers go on at once. What is not
// finished after Config.ShutdownTimeout is given up: the contexts of the
// processors end, and Run returns an error that wraps [ErrShutdown] when they
// have returned. Run returns nil after a clean stop.
//
// Before that it returns an error only if the stream does not exist or the
// lease store cannot be made ready, which no outage of it is: a store that does
// not answer, or not now, is tried until it does. All other faults are logged,
// counted and outlived. Run can be called once.
func (c *Consumer) Run(ctx context.Context) error {
	if !c.started.CompareAndSwap(false, true) {
		return ErrRunning
	}
	if err := c.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}

	// Work outlives ctx by up to ShutdownTimeout.
	work, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	var registering sync.WaitGroup
	defer registering.Wait()
	if c.registration != nil {
		registering.Go(func() { c.registration.run(ctx) })
	}
	c.assign(ctx, work)

	close(c.stopping)
	timer := time.AfterFunc(c.cfg.ShutdownTimeout, func() { abort(ErrShutdown) })
	defer timer.Stop()
	c.shards.Wait()
	if work.Err() != nil {
		return fmt.Errorf("consumer: gave up records in flight after ShutdownTimeout %v: %w", c.cfg.ShutdownTimeout, ErrShutdown)
	}
	registering.Wait()
	c.deregister(ctx)
	return nil
}

// deregister ends the registration as a consumer of the stream if that is asked
// for and no other worker has a lease.
func (c *Consumer) deregister(ctx context.Context) {
	if c.registration == nil || !c.cfg.OwnRegistration {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.KinesisRequestTimeout)
	defer cancel()
	leases, err := c.store.List(ctx)
	if err == nil && slices.ContainsFunc(leases, func(l Lease) bool { return l.Owner != "" && l.Owner != c.cfg.WorkerID }) {
		return
	}
	if err == nil {
		err = c.registration.deregister(ctx)
	}
	if err != nil {
		c.log.Warn("still registered as a consumer of the stream; deregister it if it is not to be paid for", errAttr(err))
	}
}

// prepare makes the store ready and creates the first leases.
func (c *Consumer) prepare(ctx context.Context) error {
	var failures streak
	for {
		err := c.store.Prepare(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil || !passing(err) {
			return fmt.Errorf("consumer: prepare the lease store: %w", err)
		}
		c.stats.prepareErrors.Add(1)
		if failures.fail() {
			c.log.Warn("lease store not ready; trying again", errAttr(err))
		}
		if err := sleep(ctx, readPolicy.Wait(failures.n, nil)); err != nil {
			return err
		}
	}
	if n := failures.ok(); n > 0 {
		c.log.Info("lease store ready", slog.Int("failed", n))
	}
	for {
		err := c.sync(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case classify(err) == faultNotFound:
			return fmt.Errorf("consumer: stream %q does not exist; create it, or check name, region and endpoint: %w", c.stream, err)
		}
		if failures.fail() {
			c.log.Warn("shards and leases not yet in step; trying again", errAttr(err))
		}
		if err := sleep(ctx, readPolicy.Wait(failures.n, nil)); err != nil {
			return err
		}
	}
}

// start begins to consume the shard of a lease that was taken by a write sent
// at the given time.
func (c *Consumer) start(work context.Context, l Lease, sent time.Time) {
	ctx, cancel := context.WithCancelCause(work)
	h := &holding{
		c: c, key: l.Key,
		tracker:   newTracker(c.budget.release, c.cfg.ExplicitCheckpoints),
		lose:      func() { cancel(ErrLeaseLost) },
		poke:      make(chan struct{}, 1),
		over:      make(chan struct{}),
		committed: time.Now(),
	}
	h.expiry = time.AfterFunc(time.Until(sent.Add(c.cfg.trustFor())), func() {
		c.stats.leasesExpired.Add(1)
		h.lose()
	})
	h.adopt(l, sent)
	c.mu.Lock()
	c.held[l.Key] = h
	c.mu.Unlock()

	c.shards.Go(func() {
		defer cancel(nil)
		s := &shardConsumer{c: c, h: h, shard: &Shard{
			Stream: c.stream, ID: l.Key, ParentIDs: l.Parents,
			StartingHashKey: l.StartingHashKey, EndingHashKey: l.EndingHashKey, h: h,
		}}
		s.run(ctx)
		c.mu.Lock()
		delete(c.held, l.Key)
		c.mu.Unlock()
		if stored := h.stored.Load(); stored.ended() {
			c.takeChildren(work, stored.Children)
		}
		c.lookNow()
	})
}

// isStopping reports whether Run's context has ended.
func (c *Consumer) isStopping() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

// lookNow makes the assigner look at the leases without waiting.
func (c *Consumer) lookNow() {
	select {
	case c.kick <- struct{}{}:
	default: // it will
	}
}

// Attributes of log lines.

func lease(key string) slog.Attr { return slog.String("lease", key) }

func errAttr(err error) slog.Attr { return slog.String("err", err.Error()) }
