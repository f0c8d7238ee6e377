package producer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// maxPartitionKey is in characters.
//
// Source: Amazon Kinesis API Reference, PutRecordsRequestEntry.
const maxPartitionKey = 256

// API is what a [Producer] needs of *kinesis.Client. An implementation must not
// keep the Data of a PutRecords input after it returns.
type API interface {
	PutRecords(context.Context, *kinesis.PutRecordsInput, ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error)
	ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error)
}

// A Producer writes user records to one stream. It is safe for concurrent use.
type Producer struct {
	api    API
	putter putter
	// recordPutter is set if records are sent one by one, by PutRecord.
	recordPutter RecordPutter
	stream       string // as given to New
	streamName   *string
	streamARN    *string
	cfg          Config
	log          *slog.Logger
	rand         *rand.Rand // jitter and balance; safe for concurrent use
	start        time.Time
	sizes        sizer
	packer       *packer // nil without compression
	maxRecord    int     // bytes of data and partition key of a user record

	id        [8]byte       // in stamps
	laneCount atomic.Uint64 // lanes that there ever were

	hooks   hooks
	extra   bool // an Encoder or a PutHook stands before every Put
	hashes  *hashCache
	stopped *stoppedKeys // nil unless a failure stops its key
	tracker tracker
	batches batchPool
	shards  atomic.Pointer[shardMap]
	sticky  atomic.Pointer[lane] // takes the records without a key; nil: choose one
	gate    gate
	spool   *spooler // nil if there is none
	stats   counters
	// unexplained counts sets of records in a row that were stored elsewhere
	// than a complete map said.
	unexplained atomic.Int32

	distribution distribution
	autoShards   atomic.Int64          // of a stream that distributes records itself; else 0
	unfit        atomic.Pointer[error] // why the stream can take nothing, ever; nil: it can

	troubles, listTroubles troubles

	notesMu sync.Mutex // guards notes
	notes   []*lane    // for the collector to look at

	wake    chan struct{} // holds one signal for the collector
	refresh chan struct{} // holds one signal for the resharder: look at the shards
	idle    chan struct{} // holds one signal for the resharder: a fenced lane is still

	flushing atomic.Int32 // Flush and Close calls that cut the linger
	aborting atomic.Bool  // what would be sent or sent again fails instead
	closed   atomic.Bool
	noDryRun atomic.Bool   // a Ping was stored
	closing  chan struct{} // closed by Close: Puts that wait for space give up
	once     sync.Once     // guards the start of closing

	cancel context.CancelFunc // ends requests and the resharder
	wg     sync.WaitGroup     // collector, resharder, requests, callbacks
	done   chan struct{}      // closed when wg is done

	// Every Put writes to the budget, so nothing that it only reads shares a line
	// of the processor's caches with it.
	_       [64]byte
	budget  budget
	blocked atomic.Int64  // Puts that wait
	waits   atomic.Uint64 // Puts that have waited, or do
	_       [64]byte
}

// Logger returns the logger that the producer uses: whoever sends a log through the
// producer must not have its own log come back to it.
func (p *Producer) Logger() *slog.Logger { return p.log }

// New returns a running Producer that writes to stream, a name or an ARN,
// through api. The caller must Close it. New itself makes no request: a stream
// that does not exist shows in the log and in the results of the records.
func New(api API, stream string, cfg Config) (*Producer, error) {
	cfg, err := cfg.withDefaults()
	packer, packErr := newPacker(cfg.Compression)
	err = errors.Join(err, packErr)
	told, hookErr := sortHooks(cfg.Hooks)
	err = errors.Join(err, hookErr)
	if stream == "" {
		err = errors.Join(errors.New("stream is empty"), err)
	}
	if err != nil {
		return nil, fmt.Errorf("producer: config: %w", err)
	}
	p := &Producer{
		api:     api,
		putter:  newPutter(api, &cfg, stream),
		stream:  stream,
		cfg:     cfg,
		log:     cfg.Logger,
		rand:    rand.New(cfg.source),
		start:   time.Now(),
		sizes:   newSizer(&cfg),
		packer:  packer,
		hooks:   told,
		extra:   cfg.Encoder != nil || len(told.put) > 0,
		hashes:  newHashCache(),
		wake:    make(chan struct{}, 1),
		refresh: make(chan struct{}, 1),
		idle:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	if strings.HasPrefix(stream, "arn:") {
		p.streamARN = aws.String(stream)
	} else {
		p.streamName = aws.String(stream)
	}
	if cfg.Order == Strict {
		putter, ok := api.(RecordPutter)
		if !ok {
			return nil, errors.New("producer: config: Order is Strict, and the API has no PutRecord")
		}
		p.recordPutter = putter
	}
	p.troubles.what, p.listTroubles.what = "PutRecords", "ListShards"
	p.budget.max = cfg.MaxBufferedBytes
	if cfg.Budget != nil {
		p.budget.shared = &cfg.Budget.pool
	}
	if p.failing() != nil && cfg.OnFailure == StopKeyed {
		p.stopped = &stoppedKeys{keys: make(keySet)}
	}
	p.batches.tracker = &p.tracker
	p.batches.overhead = recordOverhead
	if cfg.DisableAggregation {
		p.batches.overhead = aloneOverhead
	}
	p.gate.maxConnections, p.gate.maxBytes = cfg.MaxConnections, p.budget.max/inflightPart
	p.maxRecord = cfg.MaxUserRecordSize
	if cfg.DuplicateStamps {
		p.maxRecord -= stampRoom
		binary.BigEndian.PutUint64(p.id[:], p.rand.Uint64())
	}
	waiting := p.newLane(shard{keys: hashkey.All})
	waiting.fenced = true
	p.shards.Store(newShardMap([]*lane{waiting}))
	if cfg.Spool.enabled() {
		if p.spool, err = openSpool(&cfg, stream); err != nil {
			return nil, err
		}
	}

	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.wg.Go(func() { p.run(ctx) })
	p.wg.Go(func() { p.reshard(ctx) })
	if p.spool != nil {
		p.wg.Go(p.readSpool)
	}
	return p, nil
}

// now returns the time since the producer's start, which never goes back.
func (p *Producer) now() int64 { return int64(time.Since(p.start)) }

// Put accepts a record for delivery and returns. It blocks while
// MaxBufferedBytes are taken, until ctx ends; ctx has no bearing on the
// delivery, which RecordTTL bounds. The record's data is copied.
//
// If Put returns nil, done is called once with the record's fate; done may be
// nil. Calls for the records of one shard come one after another, those of one
// partition key in the order of their Puts. done should be quick, as its shard
// waits for it, and must not block on this producer: there TryPut is the way.
// If Put returns an error, done is not called. The error is ctx's, [ErrClosed],
// or wraps [ErrTooLarge] or [ErrInvalidKey].
func (p *Producer) Put(ctx context.Context, r UserRecord, done func(Result)) error {
	if p.extra {
		return p.putExtra(ctx, r, done, putWaits)
	}
	return p.put(ctx, &r, done, false)
}

// TryPut is Put without waiting: it returns [ErrBufferFull] while
// MaxBufferedBytes are taken or other Puts wait for them.
func (p *Producer) TryPut(r UserRecord, done func(Result)) error {
	if p.extra {
		return p.putExtra(context.Background(), r, done, putTries)
	}
	return p.tryPut(&r, done)
}

func (p *Producer) tryPut(r *UserRecord, done func(Result)) error {
	rec := asRecord(r)
	hash, err := p.examine(r, &rec)
	if err != nil {
		return err
	}
	cost := recordCost(&rec, p.batches.overhead)
	c := call{done: done, tag: r.Tag}
	if p.spool != nil && p.spills(cost) {
		return p.spoolOne(context.Background(), &rec, keyless(r), c, false, false)
	}
	if p.spool == nil && !p.budget.tryAcquire(cost) {
		if p.closed.Load() {
			p.wakeUp() // some may have been taken in the same moment, and given back
			return ErrClosed
		}
		return ErrBufferFull
	}
	return p.accept(r, &rec, hash, cost, c, false)
}

// PutSync puts a record, without waiting for others to share its Kinesis
// record, and waits for its fate. The error is Put's or the result's. If ctx
// ends while the record is under way, PutSync returns ctx's error and the
// record may yet be stored.
func (p *Producer) PutSync(ctx context.Context, r UserRecord) (Result, error) {
	// Capacity 1: the caller may be gone when the result comes.
	fate := make(chan Result, 1)
	if err := p.putUrgent(ctx, r, func(r Result) { fate <- r }); err != nil {
		return Result{}, err
	}
	select {
	case res := <-fate:
		return res, res.Err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// putUrgent is Put of a record that must not wait for others.
func (p *Producer) putUrgent(ctx context.Context, r UserRecord, done func(Result)) error {
	if p.extra {
		return p.putExtra(ctx, r, done, putHurries)
	}
	return p.put(ctx, &r, done, true)
}

// put is Put of a record as it is.
func (p *Producer) put(ctx context.Context, r *UserRecord, done func(Result), urgent bool) error {
	rec := asRecord(r)
	hash, err := p.examine(r, &rec)
	if err != nil {
		return err
	}
	cost := recordCost(&rec, p.batches.overhead)
	c := call{done: done, tag: r.Tag}
	if p.spool == nil {
		if err := p.acquire(ctx, cost); err != nil {
			return err
		}
	} else if p.spills(cost) {
		return p.spoolOne(ctx, &rec, keyless(r), c, urgent, true)
	}
	return p.accept(r, &rec, hash, cost, c, urgent)
}

// PutBatch accepts all of rs for delivery, or none: it waits for the space of
// all together. If it returns nil, done is called once, when the last of them
// is finished; done may be nil. All else is as with Put; the error also wraps
// [ErrTooLarge] if the batch can never fit into MaxBufferedBytes. The slice
// and the data may be reused when PutBatch returns.
func (p *Producer) PutBatch(ctx context.Context, rs []UserRecord, done func(BatchResult)) error {
	if p.extra {
		return p.putBatchExtra(ctx, rs, done)
	}
	return p.putBatch(ctx, rs, done, nil)
}

// putBatch is PutBatch of records as they are. each, if not nil, has a func, or
// nil, to be called with the fate of each record.
func (p *Producer) putBatch(ctx context.Context, rs []UserRecord, done func(BatchResult), each []func(Result)) error {
	var cost int64
	for i := range rs {
		rec := asRecord(&rs[i])
		if err := p.check(&rs[i], &rec); err != nil {
			return fmt.Errorf("record %d of the batch: %w", i, err)
		}
		cost += recordCost(&rec, p.batches.overhead)
	}
	if cost > p.budget.max {
		return fmt.Errorf("%w: batch of %d bytes, MaxBufferedBytes is %d", ErrTooLarge, cost, p.budget.max)
	}
	var g *group
	if done != nil {
		g = &group{done: done, n: len(rs)}
		g.pending.Store(int64(len(rs)))
	}
	if p.spool == nil {
		if err := p.acquire(ctx, cost); err != nil {
			return err
		}
	} else if len(rs) > 0 && p.spills(cost) {
		if each != nil {
			return p.spoolEach(ctx, rs, g, each)
		}
		return p.spoolBatch(ctx, rs, g)
	}
	if err := p.ended(); err != nil {
		p.refuse(cost)
		return err
	}
	if len(rs) == 0 {
		if done != nil {
			done(BatchResult{})
		}
		return nil
	}
	born := p.now()
	for i := 0; i < len(rs); i++ {
		x := arrival{group: g, born: born, index: int32(i)}
		if each == nil && keyless(&rs[i]) {
			i += p.appendRun(rs[i:], &x) - 1
			continue
		}
		rec := asRecord(&rs[i])
		if each != nil && each[i] != nil {
			x.group, x.call = nil, call{done: p.both(each[i], g, i), tag: rs[i].Tag}
		}
		if !keyless(&rs[i]) {
			x.hash = p.hash(&rec)
		}
		p.append(&rs[i], &rec, &x, false)
	}
	return nil
}

// asRecord returns r as it is stored. The API demands a partition key, so a
// record without one gets a constant; whether it is keyless shows in the
// missing explicit hash key, which its lane will add.
func asRecord(r *UserRecord) aggregation.Record {
	rec := aggregation.Record{PartitionKey: r.PartitionKey, ExplicitHashKey: r.ExplicitHashKey, Data: r.Data}
	if rec.PartitionKey == "" {
		rec.PartitionKey = outerKey
	}
	return rec
}

func keyless(r *UserRecord) bool { return r.PartitionKey == "" && r.ExplicitHashKey == "" }

// check says what is wrong with rec, which is r as it would be stored.
func (p *Producer) check(r *UserRecord, rec *aggregation.Record) error {
	if err := p.checkSize(rec); err != nil || keyless(r) {
		return err
	}
	return checkKeys(rec)
}

func (p *Producer) checkSize(r *aggregation.Record) error {
	if n := len(r.Data) + len(r.PartitionKey); n > p.maxRecord {
		return fmt.Errorf("%w: record of %d bytes, %d are allowed", ErrTooLarge, n, p.maxRecord)
	}
	return nil
}

func checkKeys(r *aggregation.Record) error {
	if !utf8.ValidString(r.PartitionKey) ||
		len(r.PartitionKey) > maxPartitionKey && utf8.RuneCountInString(r.PartitionKey) > maxPartitionKey {
		return fmt.Errorf("%w: partition key is no UTF-8 text of at most %d characters", ErrInvalidKey, maxPartitionKey)
	}
	if r.ExplicitHashKey != "" {
		if _, err := hashkey.Parse(r.ExplicitHashKey); err != nil {
			// Not the parser's error: it quotes the key.
			return fmt.Errorf("%w: explicit hash key is no decimal integer in [0, 2^128)", ErrInvalidKey)
		}
	}
	return nil
}

// examine is check and hash in one. A
// partition key whose hash key is remembered has been checked before.
func (p *Producer) examine(r *UserRecord, rec *aggregation.Record) (hash hashkey.Key, err error) {
	if err := p.checkSize(rec); err != nil {
		return hash, err
	}
	if rec.ExplicitHashKey == "" && r.PartitionKey != "" {
		var known bool
		if hash, rec.KeyHash, known = p.hashes.find(rec.PartitionKey); known {
			return hash, nil
		}
	}
	if err := checkKeys(rec); err != nil || keyless(r) {
		return hash, err
	}
	return p.hash(rec), nil
}

// hash returns the hash key of a checked record that has a key, and remembers it.
func (p *Producer) hash(r *aggregation.Record) (k hashkey.Key) {
	if r.ExplicitHashKey == "" {
		k, r.KeyHash = p.hashes.of(r.PartitionKey)
		return k
	}
	k, err := hashkey.Parse(r.ExplicitHashKey)
	if err != nil {
		panic("producer: explicit hash key was not checked")
	}
	return k
}

// accept hands a record to its lane. Its cost has been taken from the budget:
// Close first marks the producer as closed and then waits until the budget is
// free, so a record is either refused here or waited for there.
func (p *Producer) accept(r *UserRecord, rec *aggregation.Record, hash hashkey.Key, cost int64, c call, urgent bool) error {
	if err := p.ended(); err != nil {
		p.refuse(cost)
		return err
	}
	p.append(r, rec, &arrival{hash: hash, born: p.now(), call: c}, urgent)
	return nil
}

// ended returns why no record is taken any more, or nil.
func (p *Producer) ended() error {
	if p.closed.Load() {
		return ErrClosed
	}
	if err := p.unfit.Load(); err != nil {
		return *err
	}
	return nil
}

// acquire takes a record's cost from the budget and waits for it if need be.
func (p *Producer) acquire(ctx context.Context, cost int64) error {
	if p.budget.tryAcquire(cost) {
		return nil
	}
	p.block()
	defer p.unblock()
	p.wakeUp() // what gathers need not wait for more
	err := p.budget.acquire(ctx, cost, p.closing)
	if err != nil {
		p.wakeUp() // it may have been given in the same moment, and given back
	}
	return err
}

// added follows up on the addition of a record.
func (p *Producer) added(l *lane, a added) {
	// A record that was accepted just before an Abort may come to a fenced
	// lane after the collector has emptied it, and no resharder will wake it.
	if a.awake || p.aborting.Load() || p.unfit.Load() != nil {
		p.note(l)
	}
}

// refuse gives back what a record that came too late has taken.
func (p *Producer) refuse(cost int64) {
	p.release(cost)
	p.wakeUp() // the collector may wait for this to end
}

// append adds rec, which is r as it is stored, to its lane. x.hash is that of its
// key, if it has one.
func (p *Producer) append(r *UserRecord, rec *aggregation.Record, x *arrival, urgent bool) {
	if keyless(r) {
		p.appendKeyless(rec, x, urgent)
		return
	}
	p.appendKeyed(rec, x, urgent, nil)
}

// appendKeyed adds a record to the lane of its hash key, x.hash.
func (p *Producer) appendKeyed(rec *aggregation.Record, x *arrival, urgent bool, from *origin) {
	for {
		l := p.shards.Load().lookup(x.hash)
		a := l.add(p, rec, x, urgent, from)
		if !a.ok {
			continue // a new map was published before the lane went
		}
		p.added(l, a)
		return
	}
}

// Flush cuts the waiting for fuller Kinesis records and returns when all
// records that were accepted before the call are finished and their callbacks
// have returned, or ctx ends. It returns [ErrClosed] after Close.
func (p *Producer) Flush(ctx context.Context) error {
	if p.closed.Load() {
		return ErrClosed
	}
	p.flushing.Add(1)
	defer p.flushing.Add(-1)
	if p.spool != nil {
		p.noteAll() // what is in memory makes room for what is on disk
		if err := p.spool.store.WaitHanded(ctx); err != nil {
			return err
		}
	}
	gen := p.tracker.advance()
	p.noteAll()
	return p.tracker.wait(ctx, gen)
}

// Close refuses new records, sends what was accepted, waits for the callbacks,
// and frees everything. If ctx ends first, it interrupts the requests in
// flight, fails what is left with [ErrClosed], and returns an [*UnsentError]; with
// a spool it leaves that there, and the error is [ErrSpooled].
// No goroutine of the producer is left when Close returns. It may be called
// more than once.
func (p *Producer) Close(ctx context.Context) error {
	p.beginClose()
	select {
	case <-p.done:
		return p.unsent(nil)
	case <-ctx.Done():
	}
	p.aborting.Store(true)
	if p.spool != nil {
		p.spool.leave()
	}
	p.cancel()
	p.noteAll()
	<-p.done
	return p.unsent(ctx.Err())
}

// Abort is Close without sending more: what is not in flight fails with
// [ErrClosed] at once, and what is in flight has one answer to wait for.
func (p *Producer) Abort(ctx context.Context) error {
	p.aborting.Store(true)
	p.beginClose()
	if p.spool != nil {
		p.spool.leave()
	}
	p.noteAll()
	return p.Close(ctx)
}

func (p *Producer) beginClose() {
	p.once.Do(func() {
		p.closed.Store(true)
		close(p.closing)
		if p.spool != nil {
			p.spool.seal()
		}
		p.flushing.Add(1)
		p.noteAll()
		go func() {
			p.wg.Wait()
			if p.spool != nil {
				p.saveRest()
				p.closeSpool()
			}
			close(p.done)
		}()
	})
}

func (p *Producer) unsent(cause error) error {
	e := &UnsentError{Records: p.stats.unsentRecords.Load(), Bytes: p.stats.unsentBytes.Load(), Err: cause}
	if p.spool != nil {
		e.Spooled = p.spool.store.Stats().Records
		e.Err = errors.Join(e.Err, p.spool.closeErr)
	}
	if e.Records == 0 && e.Spooled == 0 {
		if p.spool != nil {
			return p.spool.closeErr
		}
		return nil
	}
	return e
}
