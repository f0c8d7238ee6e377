package firehose

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose"

	"github.com/streamkit/streamkit/producer"
)

// API is what a [Producer] needs of the Firehose client of aws-sdk-go-v2. An
// implementation must not keep the Data of an input after it returns.
type API interface {
	PutRecordBatch(context.Context, *firehose.PutRecordBatchInput, ...func(*firehose.Options)) (*firehose.PutRecordBatchOutput, error)
}

// nameForm is the form of a delivery stream's name.
//
// Source: Amazon Data Firehose API Reference, PutRecordBatch.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,64}$`)

// A Producer writes user records to one delivery stream. It is safe for
// concurrent use.
type Producer struct {
	api   API
	name  string
	cfg   Config
	log   *slog.Logger
	start time.Time

	own   *producer.Budget // the producer's part of the memory
	stats counters

	mu       sync.Mutex // guards all below
	open     *packed    // takes records; nil if there is none
	queue    []*packed  // full ones and those to be sent again, oldest first
	delayed  []*packed  // wait before they go to the head of queue
	order    order
	flow     flow
	requests int // in flight
	closed   bool
	aborting bool // what would be sent or sent again fails instead

	wake    chan struct{} // holds one signal for run
	closing chan struct{} // closed by Close: Puts that wait for space give up
	once    sync.Once     // guards the start of closing

	cancel context.CancelFunc // ends requests
	wg     sync.WaitGroup     // run, requests, callbacks
	done   chan struct{}      // closed when wg is done
}

// New returns a running Producer that writes to the delivery stream of the given
// name through api. The caller must Close it. New itself makes no request: a
// delivery stream that does not exist shows in the log and in the results of the
// records.
func New(api API, deliveryStream string, cfg Config) (*Producer, error) {
	cfg, err := cfg.withDefaults()
	if !nameForm.MatchString(deliveryStream) {
		err = errors.Join(fmt.Errorf("delivery stream %q is no name: 1 to 64 letters, digits, and _.-; the API takes no ARN", deliveryStream), err)
	}
	if err != nil {
		return nil, fmt.Errorf("firehose: config: %w", err)
	}
	p := &Producer{
		api:     api,
		name:    deliveryStream,
		cfg:     cfg,
		log:     cfg.Logger,
		start:   time.Now(),
		own:     producer.NewBudget(cfg.MaxBufferedBytes),
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.wg.Go(func() { p.run(ctx) })
	return p, nil
}

// now returns the time since the producer's start, which never goes back.
func (p *Producer) now() int64 { return int64(time.Since(p.start)) }

// Put accepts a record for delivery and returns. It blocks while
// MaxBufferedBytes are taken, until ctx ends; ctx has no bearing on the delivery,
// which RecordTTL bounds. The record's data is copied; its keys are ignored.
//
// If Put returns nil, done is called once with the record's fate; done may be nil.
// The result's SequenceNumber is the RecordId that Firehose gave. Calls for the
// records of one Firehose record come one after another, others at the same time.
// done must not block on this producer: there TryPut is the way. If Put returns an
// error, done is not called. The error is ctx's, [producer.ErrClosed], or wraps
// [producer.ErrTooLarge].
func (p *Producer) Put(ctx context.Context, r producer.UserRecord, done func(producer.Result)) error {
	return p.put(ctx, r, done, false)
}

func (p *Producer) put(ctx context.Context, r producer.UserRecord, done func(producer.Result), urgent bool) error {
	delimiter, cost, err := p.measure(r.Data)
	if err != nil {
		return err
	}
	if err := p.acquire(ctx, cost); err != nil {
		return err
	}
	return p.accept(r.Data, delimiter, cost, meta{done: done, tag: r.Tag}, urgent)
}

// TryPut is Put without waiting: it returns [producer.ErrBufferFull] while
// MaxBufferedBytes are taken or other Puts wait for them.
func (p *Producer) TryPut(r producer.UserRecord, done func(producer.Result)) error {
	delimiter, cost, err := p.measure(r.Data)
	if err != nil {
		return err
	}
	if !p.tryAcquire(cost) {
		select {
		case <-p.closing:
			return producer.ErrClosed
		default:
			return producer.ErrBufferFull
		}
	}
	return p.accept(r.Data, delimiter, cost, meta{done: done, tag: r.Tag}, false)
}

// PutSync puts a record, without waiting for others to share its Firehose record,
// and waits for its fate. The error is Put's or the result's. If ctx ends while
// the record is under way, PutSync returns ctx's error and the record may yet be
// stored.
func (p *Producer) PutSync(ctx context.Context, r producer.UserRecord) (producer.Result, error) {
	// Capacity 1: the caller may be gone when the result comes.
	fate := make(chan producer.Result, 1)
	if err := p.put(ctx, r, func(r producer.Result) { fate <- r }, true); err != nil {
		return producer.Result{}, err
	}
	select {
	case res := <-fate:
		return res, res.Err
	case <-ctx.Done():
		return producer.Result{}, ctx.Err()
	}
}

// PutBatch accepts all of rs for delivery, or none: it waits for the space of all
// together. If it returns nil, done is called once, when the last of them is
// finished; done may be nil. All else is as with Put; the error also wraps
// [producer.ErrTooLarge] if the batch can never fit into MaxBufferedBytes. The
// slice and the data may be reused when PutBatch returns.
func (p *Producer) PutBatch(ctx context.Context, rs []producer.UserRecord, done func(producer.BatchResult)) error {
	var cost int64
	for i := range rs {
		_, c, err := p.measure(rs[i].Data)
		if err != nil {
			return fmt.Errorf("record %d of the batch: %w", i, err)
		}
		cost += c
	}
	if cost > p.own.Size() {
		return fmt.Errorf("%w: batch of %d bytes, MaxBufferedBytes is %d", producer.ErrTooLarge, cost, p.own.Size())
	}
	if err := p.acquire(ctx, cost); err != nil {
		return err
	}
	var g *group
	if done != nil {
		g = &group{done: done, n: len(rs)}
		g.pending.Store(int64(len(rs)))
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.release(cost)
		return producer.ErrClosed
	}
	ready := false
	for i := range rs {
		delimiter, _, _ := p.measure(rs[i].Data)
		ready = p.appendLocked(rs[i].Data, delimiter, meta{group: g, index: i}) || ready
	}
	p.mu.Unlock()
	if ready {
		p.wakeUp()
	}
	if len(rs) == 0 && done != nil {
		done(producer.BatchResult{})
	}
	return nil
}

// measure returns what follows a record, and what it takes of the budget.
func (p *Producer) measure(data []byte) (delimiter string, cost int64, err error) {
	delimiter = p.cfg.Delimiter
	if d := len(data) - len(delimiter); d >= 0 && string(data[d:]) == delimiter {
		delimiter = ""
	}
	n := len(data) + len(delimiter)
	if n > maxRecord {
		return "", 0, fmt.Errorf("%w: record of %d bytes with its delimiter, Firehose takes %d", producer.ErrTooLarge, n, maxRecord)
	}
	return delimiter, int64(n + recordOverhead), nil
}

func (p *Producer) tryAcquire(cost int64) bool {
	if !p.own.TryAcquire(cost) {
		return false
	}
	if p.cfg.Budget == nil || p.cfg.Budget.TryAcquire(cost) {
		return true
	}
	p.own.Release(cost)
	return false
}

// acquire takes a record's cost from the budget and waits for it if need be.
func (p *Producer) acquire(ctx context.Context, cost int64) error {
	if p.tryAcquire(cost) {
		return nil
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		select {
		case <-p.closing:
			cancel()
		case <-wait.Done():
		}
	})
	err := p.own.Acquire(wait, cost)
	if err == nil && p.cfg.Budget != nil {
		if err = p.cfg.Budget.Acquire(wait, cost); err != nil {
			p.own.Release(cost)
		}
	}
	if err != nil && ctx.Err() == nil {
		return producer.ErrClosed
	}
	return err
}

func (p *Producer) release(cost int64) {
	p.own.Release(cost)
	if p.cfg.Budget != nil {
		p.cfg.Budget.Release(cost)
	}
}

// accept takes a record whose cost has been taken from the budget.
func (p *Producer) accept(data []byte, delimiter string, cost int64, m meta, urgent bool) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.release(cost)
		return producer.ErrClosed
	}
	ready := p.appendLocked(data, delimiter, m)
	if urgent {
		p.sealLocked()
		ready = true
	}
	p.mu.Unlock()
	if ready {
		p.wakeUp()
	}
	return nil
}

// appendLocked adds a record to the open one. It reports whether run must look:
// something is full, or has begun to wait.
func (p *Producer) appendLocked(data []byte, delimiter string, m meta) (look bool) {
	if p.open != nil && len(p.open.data)+len(data)+len(delimiter) > p.cfg.AggregationMaxSize {
		p.sealLocked()
		look = true
	}
	if p.open == nil {
		p.open = blank(p.now())
		p.open.seq = p.order.begin()
		look = true
	}
	p.open.add(data, delimiter, m)
	p.stats.received.Add(1)
	if len(p.open.meta) >= p.cfg.AggregationMaxCount || len(p.open.data) >= p.cfg.AggregationMaxSize {
		p.sealLocked()
		look = true
	}
	return look
}

func (p *Producer) sealLocked() {
	if p.open != nil {
		p.queue = append(p.queue, p.open)
		p.open = nil
	}
}

func (p *Producer) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default: // it will wake anyway
	}
}

// Flush sends what waits for company and returns when all records that were
// accepted before the call are finished and their callbacks have returned, or ctx
// ends. It returns [producer.ErrClosed] after Close.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return producer.ErrClosed
	}
	p.sealLocked()
	finished := p.order.wait()
	p.mu.Unlock()
	p.wakeUp()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close refuses new records, sends what was accepted, waits for the callbacks, and
// frees everything. If ctx ends first, it interrupts the requests in flight, fails
// what is left with [producer.ErrClosed], and returns a [*producer.UnsentError].
// No goroutine of the producer is left when Close returns. It may be called more
// than once.
func (p *Producer) Close(ctx context.Context) error {
	p.beginClose(false)
	select {
	case <-p.done:
		return p.unsent(nil)
	case <-ctx.Done():
	}
	p.beginClose(true)
	p.cancel()
	<-p.done
	return p.unsent(ctx.Err())
}

// Abort is Close without sending more: what is not in flight fails with
// [producer.ErrClosed] at once, and what is in flight has one answer to wait for.
func (p *Producer) Abort(ctx context.Context) error {
	p.beginClose(true)
	return p.Close(ctx)
}

func (p *Producer) beginClose(abort bool) {
	p.mu.Lock()
	p.closed = true
	p.aborting = p.aborting || abort
	p.sealLocked()
	p.mu.Unlock()
	p.once.Do(func() {
		close(p.closing)
		go func() {
			p.wg.Wait()
			p.cancel()
			close(p.done)
		}()
	})
	p.wakeUp()
}

func (p *Producer) unsent(cause error) error {
	n := p.stats.unsentRecords.Load()
	if n == 0 {
		return nil
	}
	return &producer.UnsentError{Records: n, Bytes: p.stats.unsentBytes.Load(), Err: cause}
}

// counters is what Stats is read from.
type counters struct {
	received, put, failed, expired atomic.Uint64
	recordsPut, bytesPut, retries  atomic.Uint64
	requests, requestNanos, panics atomic.Uint64
	unsentRecords, unsentBytes     atomic.Int64

	mu    sync.Mutex // guards codes
	codes map[string]uint64
}
