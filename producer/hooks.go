package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// A Hook is told what happens inside a producer, for tracing, metrics or logs. It
// implements one or more of [PutHook], [BatchHook], [RequestHook], [RetryHook],
// [ThrottleHook], [ShardMapHook], [StreamErrorHook], [RegressionHook] and [DoneHook].
//
// Hooks are called where the work is done, at the same time from several
// goroutines, never under a lock. What is given to them is theirs to read during
// the call only. They should be quick, and must not block on the producer. A panic
// of a hook is recovered, counted in Stats.CallbackPanics, and logged.
type Hook any

// PutHook is a [Hook] that follows each user record.
type PutHook interface {
	// OnPut is called for each record given to Put, TryPut, PutSync or PutBatch,
	// before it waits for memory. TryPut gives context.Background(). The func
	// that it returns, which may be nil, is called once with the record's fate,
	// before the callback given to Put; if Put returns an error, with that.
	OnPut(ctx context.Context, r UserRecord) func(Result)
}

// BatchHook is a [Hook] that sees Kinesis records as they are made.
type BatchHook interface {
	// OnBatchSealed is called when the bytes of a Kinesis record are final.
	OnBatchSealed(BatchInfo)
}

// BatchInfo describes a Kinesis record.
type BatchInfo struct {
	Stream      string        // as given to New
	ShardID     string        // for which it is meant
	UserRecords int           // that it holds
	Bytes       int           // of its data
	Aggregated  bool          // in the format of aggregated records
	Age         time.Duration // since its oldest user record was put
}

// RequestHook is a [Hook] that follows each PutRecords request.
type RequestHook interface {
	// OnRequest is called before a request is sent. The context that it returns,
	// nil for the same, is the request's: a client with instrumentation finds in
	// it what the hook has put there. The func, which may be nil, is called with
	// the outcome; until then the hook may keep the info.
	OnRequest(ctx context.Context, r RequestInfo) (context.Context, func(RequestResult))
}

// RequestInfo describes a PutRecords request.
type RequestInfo struct {
	Stream  string // as given to New
	Entries []EntryInfo
}

// EntryInfo describes a Kinesis record in a request.
type EntryInfo struct {
	ShardID     string        // for which it is meant
	UserRecords int           // that it holds
	Bytes       int           // of its data
	Attempt     int           // 1 for the first request with it
	Waited      time.Duration // since its oldest user record was put, or the attempt before ended
}

// RequestResult is the outcome of a PutRecords request.
type RequestResult struct {
	Duration time.Duration
	Err      error         // of the request as a whole; then there are no Entries
	Entries  []EntryResult // in the order of RequestInfo.Entries
}

// EntryResult is the outcome for one Kinesis record of a request.
type EntryResult struct {
	ShardID        string // that stored it; empty if it was not stored
	SequenceNumber string
	ErrorCode      string // empty if it was stored
	ErrorMessage   string
}

// RetryHook is a [Hook] that sees what is sent again.
type RetryHook interface {
	// OnRetry is called when a Kinesis record was not stored and goes back to the
	// head of its shard's queue, for another reason than throttling. What is sent
	// again because of a reshard shows in requests only.
	OnRetry(RetryInfo)
}

// ThrottleHook is a [Hook] that sees what shards have no room for.
type ThrottleHook interface {
	// OnThrottle is called when a Kinesis record was refused because its shard,
	// or the account, takes no more for now. It is sent again.
	OnThrottle(RetryInfo)
}

// RetryInfo describes a Kinesis record that is sent again.
type RetryInfo struct {
	Stream      string // as given to New
	ShardID     string // for which it is meant
	UserRecords int    // that it holds
	Attempts    int    // requests that carried it so far
	Err         error  // of the last one
}

// ShardMapHook is a [Hook] that sees reshards.
type ShardMapHook interface {
	// OnShardMap is called when the producer goes over to other shards. old is
	// empty for the first.
	OnShardMap(old, new []ShardInfo)
}

// ShardInfo is a shard of the producer's map.
type ShardInfo struct {
	ShardID                        string
	StartingHashKey, EndingHashKey string // decimal; both belong to the range
}

// StreamErrorHook is a [Hook] that sees when somebody must act.
type StreamErrorHook interface {
	// OnStreamError is called once when the stream begins to refuse all requests of a
	// kind, as it does without permission, without its key, or when it is not there,
	// and once more when it takes them again. Records are kept meanwhile, until
	// RecordTTL.
	OnStreamError(StreamErrorInfo)
}

// StreamErrorInfo describes the refusal of all requests, or its end.
type StreamErrorInfo struct {
	Stream    string // as given to New
	Operation string // PutRecords or ListShards
	Err       error  // of the first request that was refused; nil if they succeed again
	Failed    int    // requests that had failed when they succeed again, for whatever reason; else 0
}

// RegressionHook is a [Hook] that sees when an order was not kept.
type RegressionHook interface {
	// OnSequenceRegression is called for what Stats.SequenceRegressions counts: a
	// Kinesis record was stored before one of its shard that was acknowledged earlier.
	OnSequenceRegression(RegressionInfo)
}

// RegressionInfo describes a Kinesis record that was stored out of order.
type RegressionInfo struct {
	Stream         string // as given to New
	ShardID        string // that stored it
	SequenceNumber string
	After          string // sequence number, no less, of the one acknowledged earlier
	UserRecords    int    // that it holds
}

// DoneHook is a [Hook] that sees the fate of user records, Kinesis record by
// Kinesis record.
type DoneHook interface {
	// OnDone is called when the user records of a Kinesis record are stored, or
	// given up, before their callbacks.
	OnDone(DoneInfo)
}

// DoneInfo is the fate of user records that share a Kinesis record, or would
// have.
type DoneInfo struct {
	Stream         string // as given to New
	ShardID        string // that stored them, or for which they were meant
	SequenceNumber string // empty if they were given up
	UserRecords    int
	DataBytes      int           // of the user records, without keys
	Age            time.Duration // since the oldest of them was put
	Attempts       int           // most requests that carried one of them
	Err            error         // nil once stored
}

// hooks are those of a producer, by what they implement.
type hooks struct {
	put      []PutHook
	batch    []BatchHook
	request  []RequestHook
	retry    []RetryHook
	throttle []ThrottleHook
	shardMap []ShardMapHook
	errors   []StreamErrorHook
	regress  []RegressionHook
	done     []DoneHook
}

// register adds h to the list of its kind, if it is of that kind.
func register[H any](list *[]H, h Hook) bool {
	k, ok := h.(H)
	if ok {
		*list = append(*list, k)
	}
	return ok
}

// sortHooks sorts hooks by what they implement. The error names those that
// implement nothing.
func sortHooks(all []Hook) (h hooks, err error) {
	for i, one := range all {
		known := slices.Contains([]bool{
			register(&h.put, one), register(&h.batch, one), register(&h.request, one), register(&h.retry, one),
			register(&h.throttle, one), register(&h.shardMap, one), register(&h.errors, one), register(&h.regress, one),
			register(&h.done, one),
		}, true)
		if !known {
			err = errors.Join(err, fmt.Errorf("hook %d of Hooks is a %T, which implements none of the interfaces that Hook names", i, one))
		}
	}
	return h, err
}

// onPut tells the hooks of a record and returns what they want to be called with
// its fate, or nil.
func (p *Producer) onPut(ctx context.Context, r *UserRecord) func(Result) {
	if len(p.hooks.put) == 0 {
		return nil
	}
	var all []func(Result)
	for _, h := range p.hooks.put {
		p.guard(func() {
			if f := h.OnPut(ctx, *r); f != nil {
				all = append(all, f)
			}
		})
	}
	if len(all) == 0 {
		return nil
	}
	return func(res Result) {
		for _, f := range all {
			p.invoke(f, &res)
		}
	}
}

// onSealed tells the hooks of a batch that is new to the wire.
func (p *Producer) onSealed(it *item) {
	b := it.batch
	info := BatchInfo{
		Stream: p.stream, ShardID: it.lane.shardID, UserRecords: len(b.meta), Bytes: len(b.data),
		Aggregated: b.aggregated, Age: time.Duration(p.now() - b.oldest),
	}
	for _, h := range p.hooks.batch {
		p.guard(func() { h.OnBatchSealed(info) })
	}
}

// onRequest returns the context to send a request in, and the hooks that want to
// know the outcome.
func (p *Producer) onRequest(ctx context.Context, items []*item, begin int64) (context.Context, []func(RequestResult)) {
	info := RequestInfo{Stream: p.stream, Entries: make([]EntryInfo, len(items))}
	for i, it := range items {
		b := it.batch
		info.Entries[i] = EntryInfo{
			ShardID: it.lane.shardID, UserRecords: len(b.meta), Bytes: len(b.data),
			Attempt: int(b.attempts), Waited: time.Duration(begin - max(b.oldest, b.ended)),
		}
	}
	var told []func(RequestResult)
	for _, h := range p.hooks.request {
		own, f := p.askRequest(ctx, h, info)
		if own != nil {
			ctx = own //nolint:fatcontext // each hook adds to it once
		}
		if f != nil {
			told = append(told, f)
		}
	}
	return ctx, told
}

func (p *Producer) askRequest(ctx context.Context, h RequestHook, info RequestInfo) (_ context.Context, told func(RequestResult)) {
	defer p.recoverPanic()
	return h.OnRequest(ctx, info)
}

// observe follows up on a request: it tells the hooks, and writes the history.
func (p *Producer) observe(items []*item, begin int64, out *kinesis.PutRecordsOutput, err error, done []func(RequestResult)) {
	now := p.now()
	for i, it := range items {
		it.batch.ended = now
		if p.cfg.AttemptHistory {
			it.batch.history = append(it.batch.history, p.attempt(begin, now, i, out, err))
		}
	}
	if len(done) == 0 {
		return
	}
	res := RequestResult{Duration: time.Duration(now - begin), Err: err}
	if err == nil {
		res.Entries = make([]EntryResult, len(items))
		for i := range items {
			e := &out.Records[i]
			res.Entries[i] = EntryResult{
				ShardID: aws.ToString(e.ShardId), SequenceNumber: aws.ToString(e.SequenceNumber),
				ErrorCode: aws.ToString(e.ErrorCode), ErrorMessage: aws.ToString(e.ErrorMessage),
			}
		}
	}
	for _, f := range done {
		p.guard(func() { f(res) })
	}
}

// onBack tells the hooks of an item that goes back to its lane.
func (p *Producer) onBack(it *item) {
	if len(p.hooks.retry) == 0 && len(p.hooks.throttle) == 0 {
		return
	}
	info := RetryInfo{Stream: p.stream, ShardID: it.lane.shardID, UserRecords: len(it.batch.meta), Attempts: int(it.batch.attempts), Err: it.err}
	if it.verdict == throttled {
		for _, h := range p.hooks.throttle {
			p.guard(func() { h.OnThrottle(info) })
		}
		return
	}
	for _, h := range p.hooks.retry {
		p.guard(func() { h.OnRetry(info) })
	}
}

// onShardMap tells the hooks of a new map.
func (p *Producer) onShardMap(old []*lane, shards []shard) {
	if len(p.hooks.shardMap) == 0 {
		return
	}
	var before, after []ShardInfo
	for _, l := range old {
		if l.shardID != "" {
			before = append(before, ShardInfo{l.shardID, l.keys.Start.String(), l.keys.End.String()})
		}
	}
	for _, s := range shards {
		after = append(after, ShardInfo{s.id, s.keys.Start.String(), s.keys.End.String()})
	}
	for _, h := range p.hooks.shardMap {
		p.guard(func() { h.OnShardMap(before, after) })
	}
}

// onStreamError tells the hooks that requests are refused, or no longer.
func (p *Producer) onStreamError(info StreamErrorInfo) {
	for _, h := range p.hooks.errors {
		p.guard(func() { h.OnStreamError(info) })
	}
}

// onRegression tells the hooks of an item that was stored before another one, whose
// number is after.
func (p *Producer) onRegression(it *item, after string) {
	info := RegressionInfo{Stream: p.stream, ShardID: it.shardID, SequenceNumber: it.seq, After: after, UserRecords: len(it.batch.meta)}
	for _, h := range p.hooks.regress {
		p.guard(func() { h.OnSequenceRegression(info) })
	}
}

// onDone tells the hooks of a finished batch.
func (p *Producer) onDone(it *item) {
	b := it.batch
	info := DoneInfo{Stream: p.stream, ShardID: it.lane.shardID, UserRecords: len(b.meta), DataBytes: b.dataBytes(), Age: time.Duration(p.now() - b.oldest)}
	if it.verdict == stored {
		info.ShardID, info.SequenceNumber = it.shardID, it.seq
	} else {
		info.Err = it.err
	}
	info.Attempts = int(b.attempts)
	for i := range b.rares {
		info.Attempts = max(info.Attempts, int(b.rares[i].attempts+b.attempts))
	}
	for _, h := range p.hooks.done {
		p.guard(func() { h.OnDone(info) })
	}
}
