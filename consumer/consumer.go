package consumer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/internal/blockrec"
)

// Consumer is one worker of an application: it reads its share of the shards of a
// stream, or of several. It is safe for concurrent use.
type Consumer struct {
	api          API
	streams      streams
	store        LeaseStore
	app          string
	newProcessor func(*Shard) (Processor, error)
	cfg          Config
	log          *slog.Logger
	incarnation  string // tells this process from others of its name
	listen       func(ctx context.Context, network, address string) (net.Listener, error)
	dial         func(ctx context.Context, network, address string) (net.Conn, error) // nil for that of the net package
	acksOnly     bool                                                                 // commits acknowledge nothing

	fanOut    FanOutAPI     // nil if only polling is asked for
	subscribe subscribeFunc // likewise

	blocks *blockrec.Decoder
	budget *budget
	writes chan struct{} // capacity MaxLeaseRenewalThreads: writes of leases in flight
	slots  chan struct{} // capacity MaxBusyLanes: calls of lanes
	kick   chan struct{} // capacity 1: look at the leases now
	stats  counters
	rules  rules
	awake  *wakefulness

	started  atomic.Bool
	looked   atomic.Pointer[look] // the last look at the leases; nil before Run
	measures atomic.Bool          // leases tell of throughput
	stopping chan struct{}        // closed by Run: start nothing new, finish what is begun

	mu      sync.Mutex               // guards all below
	held    map[string]*holding      // nil while being taken
	left    map[string]time.Time     // until when leases are left to others
	paused  map[string]chan struct{} // of each paused shard, closed when it is resumed
	stopErr error                    // why a processor has stopped the consumer
	stopRun context.CancelFunc       // ends what Run's context is made to; nil before

	shards sync.WaitGroup // shard consumers
}

// New returns a Consumer that reads stream, a name or an ARN, for the
// application app, together with all other workers of that application that
// use the same leases. newProcessor is called for each shard that this worker
// comes to read, for several at once; its error makes it be called again later. New makes no
// request; [Consumer.Run] does the work.
//
// [NewMultiStream] is for an application that reads several streams.
func New(api API, leases LeaseStore, app, stream string, newProcessor func(*Shard) (Processor, error), cfg Config) (*Consumer, error) {
	var faults []error
	if app == "" || stream == "" {
		faults = append(faults, errors.New("application and stream must have a name"))
	}
	if cfg.FormerStreamsWait != 0 {
		faults = append(faults, errors.New("FormerStreamsWait has a meaning with NewMultiStream only; leave it out"))
	}
	c, err := newConsumer(api, leases, app, newProcessor, cfg, faults, slog.String("stream", stream))
	if err != nil {
		return nil, err
	}
	c.streams.only = &source{
		name: stream, ref: newStreamRef(stream), initial: c.cfg.InitialPosition, consumerARN: c.cfg.ConsumerARN, calls: new(calls), listed: true,
	}
	c.register(c.streams.only)
	return c, nil
}

// NewMultiStream returns a Consumer that reads all streams that tracker names, for
// the application app: one worker with one lease store, one share of the shards of all
// streams, one bound on memory. Apart from that it is what New returns, and
// Shard.Stream and Shard.StreamID tell a processor which stream it has.
//
//	c, err := consumer.NewMultiStream(client, leases, "billing", consumer.Streams("orders", "payments"), newProcessor, consumer.Config{})
//
// The tracker is asked again each minute, so streams may come and go while workers
// run. One that comes is read from its initial position. One that goes is read until
// it has not been listed for Config.FormerStreamsWait: then its leases are let go
// and deleted. One that does not exist is waited for. One that was deleted and
// created again is another stream, and begins at its initial position.
//
// The leases are those of a multi-stream application of the official library (2.x
// and 3.x), whose workers may share them by the rules of Config.Mode. They have keys
// of the form account:name:epoch:shardId; where a method of Consumer asks for a
// shard, it wants such a key. Leases of an application that reads one stream, in the
// same store, are left alone.
func NewMultiStream(api MultiStreamAPI, leases LeaseStore, app string, tracker StreamTracker, newProcessor func(*Shard) (Processor, error), cfg Config) (*Consumer, error) {
	var faults []error
	if app == "" {
		faults = append(faults, errors.New("the application must have a name"))
	}
	if tracker == nil {
		faults = append(faults, errors.New("the tracker must not be nil; Streams returns one"))
	}
	if cfg.ConsumerARN != "" {
		faults = append(faults, errors.New("ConsumerARN is a consumer of one stream; give it in StreamConfig"))
	}
	var plain API // a nil MultiStreamAPI is no nil API
	if api != nil {
		plain = api
	}
	c, err := newConsumer(plain, leases, app, newProcessor, cfg, faults)
	if err != nil {
		return nil, err
	}
	c.streams.api, c.streams.tracker = api, tracker
	return c, nil
}

func newConsumer(api API, leases LeaseStore, app string, newProcessor func(*Shard) (Processor, error), cfg Config, faults []error, attrs ...any) (*Consumer, error) {
	cfg, err := cfg.withDefaults()
	err = errors.Join(append([]error{err}, faults...)...)
	if api == nil || leases == nil || newProcessor == nil {
		err = errors.Join(err, errors.New("client, lease store and processor function must not be nil"))
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
		api: api, store: leases, app: app,
		newProcessor: newProcessor, cfg: cfg,
		log:         cfg.Logger.With(slog.String("app", app)).With(attrs...).With(slog.String("worker", cfg.WorkerID)),
		incarnation: rand.Text(),
		awake:       newWakefulness(cfg.FailoverTime),
		listen:      new(net.ListenConfig).Listen,
		blocks:      blocks,
		budget:      newBudget(cfg.MaxBufferedBytes),
		writes:      make(chan struct{}, cfg.MaxLeaseRenewalThreads),
		slots:       make(chan struct{}, cfg.MaxBusyLanes),
		paused:      map[string]chan struct{}{},
		kick:        make(chan struct{}, 1),
		stopping:    make(chan struct{}),
		held:        map[string]*holding{},
		left:        map[string]time.Time{},
	}
	c.streams = streams{
		c: c, wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		known: map[string]*source{}, identities: map[string]identified{},
	}
	if c.rules, err = newRules(c); err != nil {
		return nil, fmt.Errorf("consumer: config: %w", err)
	}
	if cfg.RetrievalMode != RetrievalPolling {
		c.fanOut, c.subscribe = fanOut, newSubscribe(fanOut)
	}
	return c, nil
}

// follows returns the rules that are followed now.
func (c *Consumer) follows() rules {
	if a, ok := c.rules.(*auto); ok {
		return a.current.Load().rules
	}
	return c.rules
}

// register prepares the registration as a consumer of a stream, if there is to be one.
func (c *Consumer) register(src *source) {
	if c.fanOut != nil {
		src.registration = newRegistration(c.fanOut, src, c.app, &c.cfg, c.logOf(src))
	}
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
// Before that it returns an error only if the stream does not exist, the list of
// streams is of no use or the lease store cannot be made ready, which no outage of it is: a store that does
// not answer, or not now, is tried until it does. All other faults are logged,
// counted and outlived. Run can be called once.
func (c *Consumer) Run(ctx context.Context) error {
	if !c.started.CompareAndSwap(false, true) {
		return ErrRunning
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.stopRun = cancel
	c.mu.Unlock()
	c.looked.Store(&look{at: time.Now()})
	c.wake() // the first look
	if err := c.prepare(ctx); err != nil {
		c.rules.leave(ctx)
		if ctx.Err() != nil {
			return nil
		}
		return err
	}

	// Work outlives ctx by up to ShutdownTimeout.
	work, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)
	var watching sync.WaitGroup
	defer watching.Wait()
	watch, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	defer unwatch()
	watching.Go(func() { c.watchSleep(watch) })
	var registering sync.WaitGroup
	defer registering.Wait()
	if only := c.streams.only; only == nil {
		registering.Go(func() { c.streams.attend(ctx) })
	} else if only.registration != nil {
		registering.Go(func() { only.registration.run(ctx) })
	}
	defer c.rules.leave(ctx)
	c.rules.attend(ctx, work)

	c.stopHoldings()
	timer := time.AfterFunc(c.cfg.ShutdownTimeout, func() { abort(ErrShutdown) })
	defer timer.Stop()
	c.shards.Wait()
	c.mu.Lock()
	err := c.stopErr
	c.mu.Unlock()
	if work.Err() != nil {
		return errors.Join(err, fmt.Errorf("consumer: gave up records in flight after ShutdownTimeout %v: %w", c.cfg.ShutdownTimeout, ErrShutdown))
	}
	registering.Wait()
	c.deregister(ctx)
	return err
}

// stopHoldings has all leases let go in order, those included that are being
// taken.
func (c *Consumer) stopHoldings() {
	close(c.stopping)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range byKey(c.held) {
		if h != nil {
			h.stop(ErrShutdown)
		}
	}
}

// halt stops the consumer as the end of Run's context does, and has Run return
// the first err that it is called with.
func (c *Consumer) halt(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopErr == nil {
		c.stopErr = err
		c.log.Error("a processor stops the consumer", errAttr(err))
	}
	c.stopRun()
}

// deregister ends the registrations as a consumer of streams, if that is asked for,
// of those of which no other worker has a lease.
func (c *Consumer) deregister(ctx context.Context) {
	if !c.cfg.OwnRegistration {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.KinesisRequestTimeout)
	defer cancel()
	leases, err := c.store.List(ctx)
	others := map[string]bool{}
	for _, l := range leases {
		if stream, _ := SplitLeaseKey(l.Key); l.Owner != "" && l.Owner != c.cfg.WorkerID {
			others[stream] = true
		}
	}
	for _, src := range c.streams.withRegistrations() {
		fault := err
		if others[src.id.String()] || src.registration == nil {
			continue
		}
		if fault == nil {
			fault = src.registration.deregister(ctx)
		}
		if fault != nil {
			c.logOf(src).Warn("still registered as a consumer of the stream; deregister it if it is not to be paid for", errAttr(fault))
		}
	}
}

// prepare makes the store ready and creates the first leases.
func (c *Consumer) prepare(ctx context.Context) error {
	var failures streak
	for {
		err := c.store.Prepare(ctx)
		if p, ok := c.rules.(preparer); ok && err == nil {
			err = p.prepare(ctx)
		}
		if err == nil {
			break
		}
		if final, ok := errors.AsType[*listenError](err); ok {
			return fmt.Errorf("consumer: %w", final)
		}
		if ctx.Err() != nil || !passing(err) {
			return fmt.Errorf("consumer: prepare the lease store: %w", err)
		}
		c.stats.prepareErrors.Add(1)
		if failures.fail() {
			c.log.Warn("lease store not ready; trying again", errAttr(err))
		}
		if err := sleep(ctx, readPolicy.Wait(failures.n, chance)); err != nil {
			return err
		}
	}
	if n := failures.ok(); n > 0 {
		c.log.Info("lease store ready", slog.Int("failed", n))
	}
	if c.streams.only == nil {
		return c.streams.prepare(ctx)
	}
	for {
		err := c.sync(ctx, c.streams.only)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case classify(err) == faultNotFound:
			return fmt.Errorf("consumer: stream %q does not exist; create it, or check name, region and endpoint: %w", c.streams.only.name, err)
		}
		if failures.fail() {
			c.log.Warn("shards and leases not yet in step; trying again", errAttr(err))
		}
		if err := sleep(ctx, readPolicy.Wait(failures.n, chance)); err != nil {
			return err
		}
	}
}

// start begins to consume the shard of a lease that was taken by a write sent
// at the given time.
func (c *Consumer) start(work context.Context, l Lease, sent time.Time) {
	ctx, cancel := context.WithCancelCause(work)
	src := c.streams.of(l.Key)
	memory := c.budget.share()
	h := &holding{
		c: c, key: l.Key, source: src, token: l.Counter, memory: memory,
		tracker:   newTracker(memory.release, c.cfg.ExplicitCheckpoints, c.acksOnly || c.cfg.KeyConcurrency > 1),
		end:       cancel,
		lose:      func() { cancel(ErrLeaseLost) },
		poke:      make(chan struct{}, 1),
		over:      make(chan struct{}),
		stopping:  make(chan struct{}),
		gone:      make(chan struct{}),
		abandoned: make(chan struct{}, 1),
		committed: time.Now(),
		meter:     meter{since: time.Now()},
	}
	h.expiry = time.AfterFunc(time.Hour, h.expire)
	h.adopt(l, sent)
	h.progress.set()
	c.mu.Lock()
	c.held[l.Key] = h
	c.mu.Unlock()
	if c.isStopping() { // stopHoldings may have missed it
		h.stop(ErrShutdown)
	}

	c.shards.Go(func() {
		defer cancel(nil)
		s := &shardConsumer{c: c, h: h, shard: &Shard{
			Stream: src.name, StreamID: src.id, ID: h.shardID(), ParentIDs: shardIDs(l.Parents),
			StartingHashKey: l.StartingHashKey, EndingHashKey: l.EndingHashKey, h: h,
		}}
		s.run(ctx)
		c.rules.parts(*h.stored.Load())
		c.mu.Lock()
		delete(c.held, l.Key)
		c.mu.Unlock()
		close(h.gone)
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

// lookNow makes the rules look at the leases without waiting.
func (c *Consumer) lookNow() {
	select {
	case c.kick <- struct{}{}:
	default: // it will
	}
}

// Attributes of log lines.

func lease(key string) slog.Attr { return slog.String("lease", key) }

func errAttr(err error) slog.Attr { return slog.String("err", err.Error()) }
