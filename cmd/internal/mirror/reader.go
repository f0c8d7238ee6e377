package mirror

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// A reader reads one shard of the source. It knows where it is; one goroutine
// uses it at a time.
type reader struct {
	s     *stream
	id    string
	start shardState
	began time.Time // of the stream
	from  time.Time // with start timestamp
	kind  Start
	fresh bool // the stream is mirrored for the first time
	open  bool // the shard was open when it was found; one that was not has an end

	iterator string
	last     string // number of the last record read; empty if none
	// covered is until when the shard was read: all that arrived before was seen.
	// It is a time of this machine's clock, made of how far the source says that
	// an answer is behind: clocks are not compared. Zero if it is not known.
	covered time.Time
}

// readResult is what one read gave.
type readResult struct {
	items    []item
	ended    bool
	tip      bool // read as far as it is to be read
	idle     bool // there is no more for now
	children []types.ChildShard
	behind   time.Duration
	covered  time.Time
	err      error
	stopped  bool // err comes from the end of the context
}

// read makes one GetRecords call, after a call for an iterator if it has none.
// What the items take of the memory is theirs afterwards.
func (r *reader) read(ctx context.Context, place *placer) (res readResult) {
	m := r.s.m
	if err := m.memory.take(ctx, readReserve); err != nil {
		return readResult{err: err, stopped: true}
	}
	used := int64(0)
	defer func() { m.memory.give(readReserve - used) }()
	var out *kinesis.GetRecordsOutput
	began := time.Now()
	err := m.call(ctx, func(ctx context.Context) (err error) {
		if r.iterator == "" {
			if r.iterator, err = r.find(ctx); err != nil {
				return err
			}
		}
		began = time.Now()
		out, err = m.from.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String(r.iterator)}, once)
		return err
	})
	if err != nil {
		if k := classify(err); k == expired || k == unsure {
			r.iterator = ""
		}
		return readResult{err: err, stopped: ctx.Err() != nil}
	}
	if len(out.Records) > 0 || out.NextShardIterator == nil {
		if err := r.checkGap(ctx, began, out); err != nil {
			r.iterator = "" // the same is read again
			return readResult{err: err, stopped: ctx.Err() != nil}
		}
	}
	r.iterator = aws.ToString(out.NextShardIterator)
	res.ended, res.children = r.iterator == "", out.ChildShards
	res.behind = time.Duration(aws.ToInt64(out.MillisBehindLatest)) * time.Millisecond
	res.items = make([]item, 0, len(out.Records))
	for i := range out.Records {
		it := place.item(&out.Records[i])
		used += it.cost()
		res.items = append(res.items, it)
	}
	upTo := began.Add(-res.behind)
	if n := len(res.items); n > 0 {
		r.last = res.items[n-1].seq
		if res.ended {
			upTo = res.items[n-1].arrival
		}
	}
	// The time of the end of a shard is not known; its children may have records
	// since then.
	if !res.ended || len(res.items) > 0 {
		r.covered = later(r.covered, upTo)
	}
	res.covered = r.covered
	res.idle = !res.ended && len(res.items) == 0 && res.behind == 0
	res.tip = !m.cfg.Follow && r.open && !upTo.Before(r.s.began)
	return res
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// find asks for an iterator behind what was read.
func (r *reader) find(ctx context.Context) (string, error) {
	in := &kinesis.GetShardIteratorInput{StreamName: aws.String(r.s.name), ShardId: aws.String(r.id)}
	switch {
	case r.last != "":
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, aws.String(r.last)
	case !r.start.Late:
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	case r.kind == Timestamp:
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAtTimestamp, aws.Time(r.from)
	case r.fresh && r.covered.IsZero():
		in.ShardIteratorType = types.ShardIteratorTypeLatest
	default: // the newest record of now is not that of the beginning
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAtTimestamp, aws.Time(r.began)
	}
	out, err := r.s.m.from.GetShardIterator(ctx, in, once)
	if err != nil {
		_, refused := errors.AsType[*types.InvalidArgumentException](err)
		if in.Timestamp != nil && refused && time.Since(*in.Timestamp) < time.Minute {
			return "", errAhead // this machine's clock is before the source's
		}
		return "", err
	}
	return aws.ToString(out.ShardIterator), nil
}

// errAhead is no final error: time goes on.
var errAhead = errors.New("the source says that the time to start from is still to come")

// checkGap tells if records that nobody has read may have left the source before
// the answer out. If the last record that was read is still there, none has.
func (r *reader) checkGap(ctx context.Context, began time.Time, out *kinesis.GetRecordsOutput) error {
	overdue := func() bool {
		keeps := time.Duration(r.s.retention.Load())
		return !r.covered.IsZero() && keeps > 0 && began.Sub(r.covered) > keeps
	}
	if !overdue() {
		return nil
	}
	m := r.s.m
	if _, err := r.s.describeSource(ctx, m.giveUp()); err != nil {
		return err
	}
	if !overdue() {
		return nil // it was raised meanwhile
	}
	if r.last != "" {
		there, err := r.there(ctx)
		if err != nil || there {
			return err
		}
	}
	attrs := []any{slog.String("behind", r.last), slog.Time("read_until", r.covered.UTC())}
	if len(out.Records) > 0 {
		attrs = append(attrs, slog.String("next", aws.ToString(out.Records[0].SequenceNumber)),
			slog.Time("next_arrived", aws.ToTime(out.Records[0].ApproximateArrivalTimestamp).UTC()))
	}
	r.s.gap(r.id, "what arrived in between has left by retention before it was read; how many records, if any, cannot be known", attrs...)
	return nil
}

// there reports whether the last record that was read can still be read.
func (r *reader) there(ctx context.Context) (bool, error) {
	m := r.s.m
	var out *kinesis.GetRecordsOutput
	err := m.retry(ctx, m.giveUp(), func(ctx context.Context) error {
		it, err := m.from.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
			StreamName: aws.String(r.s.name), ShardId: aws.String(r.id),
			ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: aws.String(r.last),
		}, once)
		if err != nil {
			return err
		}
		out, err = m.from.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator, Limit: aws.Int32(1)}, once)
		return err
	})
	if err != nil {
		return false, err
	}
	return len(out.Records) > 0 && aws.ToString(out.Records[0].SequenceNumber) == r.last, nil
}
