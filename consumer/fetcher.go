package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// fetcher brings the records of one shard, in order. It belongs to one
// goroutine.
type fetcher interface {
	// fetch waits until the shard is due and returns what it brings, which may
	// be nothing. The page's bytes are charged to the budget; the caller
	// returns them. After an error the caller waits and calls again, unless it
	// is a *handledError.
	fetch(ctx context.Context) (page, error)

	// close frees what fetch holds. It is the last call.
	close()
}

// page is what one fetch brings.
type page struct {
	records  []types.Record
	behind   time.Duration
	bytes    int64  // charged to the budget
	next     string // a number behind records and before all that follow; "" if not known
	ended    bool   // the shard is closed and this is the rest of it
	children []types.ChildShard
}

// bytesOf returns what records take of the budget.
func bytesOf(records []types.Record) (n int64) {
	for i := range records {
		n += recordOverhead + int64(len(records[i].Data)) + int64(len(aws.ToString(records[i].PartitionKey)))
	}
	return n
}

// place is where a shard is read on, whatever reads it.
type place struct {
	start     Checkpoint // where to begin, unless received is set
	startTime time.Time  // for AT_TIMESTAMP
	received  string     // number of the last record received, or one behind it

	// since is when reading began from LATEST; onLatest is told once. What reads
	// later begins there, because another LATEST would skip what came in
	// between.
	since    time.Time
	onLatest func(time.Time)
}

// position is a place in a request.
type position struct {
	kind   types.ShardIteratorType
	number *string
	at     *time.Time
}

// position returns where to read on.
func (p *place) position() position {
	switch {
	case p.received != "":
		return position{kind: types.ShardIteratorTypeAfterSequenceNumber, number: &p.received}
	case !p.start.IsSentinel():
		// At, not after: the checkpoint may lie inside an aggregated record.
		return position{kind: types.ShardIteratorTypeAtSequenceNumber, number: &p.start.SequenceNumber}
	case p.start.SequenceNumber == Latest && p.since.IsZero():
		return position{kind: types.ShardIteratorTypeLatest}
	case p.start.SequenceNumber == Latest:
		return position{kind: types.ShardIteratorTypeAtTimestamp, at: &p.since}
	case p.start.SequenceNumber == AtTimestamp && !p.startTime.IsZero():
		return position{kind: types.ShardIteratorTypeAtTimestamp, at: &p.startTime}
	}
	return position{kind: types.ShardIteratorTypeTrimHorizon}
}

// granted notes that the service has given a position that was asked for at the
// given time.
func (p *place) granted(pos position, asked time.Time) {
	if pos.kind == types.ShardIteratorTypeLatest {
		p.since = asked.Truncate(time.Millisecond)
		p.onLatest(p.since)
	}
}

// errShardGone means that the stream no longer has the shard.
var errShardGone = errors.New("consumer: the stream has no such shard")

// firstEstimate is the memory reserved for a shard's first response: the most
// that the service sends.
const firstEstimate = 10 << 20

// fetchStats is what fetchers count.
type fetchStats struct {
	reads, empty, failed, throttled, iteratorsExpired atomic.Int64

	subscriptions, subscriptionsInUse, subscriptionsLost atomic.Int64
	silent, fellBack, events, emptyEvents                atomic.Int64
}

// poller fetches with GetRecords.
type poller struct {
	api     API
	ref     streamRef
	shard   string
	limit   int32
	timeout time.Duration
	memory  *share
	stats   *fetchStats

	place *place

	iterator  *string
	pace      pace
	due       time.Time
	estimate  int64 // bytes of the next response
	perRecord int64 // bytes of a record of the last one that had any; 0 before
}

// fetch implements fetcher.
func (p *poller) fetch(ctx context.Context) (page, error) {
	if err := sleepUntil(ctx, p.due); err != nil {
		return page{}, err
	}
	if p.iterator == nil {
		if err := p.renew(ctx); err != nil {
			return page{}, err
		}
	}
	reserved, lean, err := p.memory.acquire(ctx, p.estimate)
	if err != nil {
		return page{}, err
	}
	defer func() { p.memory.release(reserved) }() // of a read that failed, be it by a panic
	limit := p.limit
	if lean {
		limit = p.fit(reserved)
	}
	out, err := p.read(ctx, limit)
	if err != nil {
		return page{}, err
	}
	pg := page{
		records:  out.Records,
		behind:   time.Duration(aws.ToInt64(out.MillisBehindLatest)) * time.Millisecond,
		ended:    out.NextShardIterator == nil,
		children: out.ChildShards,
		bytes:    bytesOf(out.Records),
	}
	p.memory.charge(pg.bytes - reserved)
	reserved = 0
	// A response is seldom much larger than the last one; one that is exceeds
	// the bound by the difference, once.
	p.estimate = min(max(pg.bytes*5/4, 64<<10), firstEstimate)
	p.iterator = out.NextShardIterator
	if n := len(out.Records); n > 0 {
		p.place.received = aws.ToString(out.Records[n-1].SequenceNumber)
		p.perRecord = pg.bytes / int64(n)
	} else {
		p.stats.empty.Add(1)
	}
	p.due = p.pace.success(time.Now(), len(out.Records), pg.behind)
	return pg, nil
}

// fit returns how many records to ask for if they should take no more than n bytes.
func (p *poller) fit(n int64) int32 {
	if p.perRecord == 0 {
		return 1 // which tells what they take
	}
	return int32(max(1, min(int64(p.limit), n/p.perRecord)))
}

func (p *poller) read(ctx context.Context, limit int32) (*kinesis.GetRecordsOutput, error) {
	callCtx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	p.pace.read(time.Now())
	p.stats.reads.Add(1)
	out, err := p.api.GetRecords(callCtx, &kinesis.GetRecordsInput{
		ShardIterator: p.iterator, Limit: &limit, StreamARN: p.ref.arn,
	}, noRetries)
	if err != nil {
		return nil, p.failed(ctx, fmt.Errorf("read shard %q: %w", p.shard, err))
	}
	return out, nil
}

// renew gets an iterator behind what was received.
func (p *poller) renew(ctx context.Context) error {
	pos := p.place.position()
	in := &kinesis.GetShardIteratorInput{
		StreamName: p.ref.name, StreamARN: p.ref.arn, ShardId: &p.shard,
		ShardIteratorType: pos.kind, StartingSequenceNumber: pos.number, Timestamp: pos.at,
	}
	callCtx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	asked := time.Now()
	out, err := p.api.GetShardIterator(callCtx, in, noRetries)
	if err != nil {
		return p.failed(ctx, fmt.Errorf("get an iterator for shard %q: %w", p.shard, err))
	}
	p.iterator = out.ShardIterator
	p.place.granted(pos, asked)
	return nil
}

// close implements fetcher.
func (p *poller) close() {}

// failed notes a failed call and prepares the next. A *handledError needs
// neither a log line nor a wait of the caller.
func (p *poller) failed(ctx context.Context, err error) error {
	if stopped(ctx) {
		return ctx.Err()
	}
	switch classify(err) {
	case faultThrottled:
		p.stats.throttled.Add(1)
		p.due = p.pace.throttled(time.Now())
		return &handledError{err}
	case faultExpired:
		p.stats.iteratorsExpired.Add(1)
		p.iterator = nil
		return &handledError{err}
	case faultInvalid:
		p.iterator = nil
	case faultNotFound:
		p.iterator = nil
		return fmt.Errorf("%w: %w", errShardGone, err)
	case faultTransient:
	}
	p.stats.failed.Add(1)
	return err
}

// handledError marks a failure that the fetcher has answered by itself, as with
// its pace or with a new iterator.
type handledError struct{ err error }

func (e *handledError) Error() string { return e.err.Error() }
func (e *handledError) Unwrap() error { return e.err }

// sleepUntil waits for t or the end of ctx.
func sleepUntil(ctx context.Context, t time.Time) error {
	return sleep(ctx, time.Until(t))
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
