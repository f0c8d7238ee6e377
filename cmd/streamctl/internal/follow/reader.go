package follow

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/consumer/deaggregate"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// reader reads one shard to its end.
type reader struct {
	f    *follower
	id   string
	keys hashkey.Range // that the shard takes
	from types.ShardIteratorType
	last string // sequence number of the last record read; empty if none

	scratch []deaggregate.Record // reused

	// The last partition key that was hashed: neighbours often share it.
	memo    string
	memoKey hashkey.Key
}

// aggregateKey is the partition key of aggregated records whose writer puts
// user records that are out of range again: the KPL and our producer.
const aggregateKey = "a"

// run sends events until the shard has ended, ctx is done, or an error is
// final.
func (r *reader) run(ctx context.Context) {
	var (
		iterator string
		failing  time.Time // since when; zero while all is well
		pause    = minPause
	)
	for ctx.Err() == nil {
		e, next, err := r.read(ctx, iterator)
		if err == nil {
			failing, pause = time.Time{}, minPause
			iterator = next
			if !r.send(ctx, e) || e.ended {
				return
			}
			if len(e.records) == 0 && e.caughtUp {
				sleep(ctx, r.f.cfg.Poll)
			}
			continue
		}
		// Iterators live for five minutes; a new one goes on where this was.
		iterator = ""
		if _, expired := errors.AsType[*types.ExpiredIteratorException](err); expired {
			continue
		}
		now := time.Now()
		if failing.IsZero() {
			failing = now
			if r.f.cfg.Warn != nil && !final(err) && ctx.Err() == nil {
				r.f.cfg.Warn(r.id, err)
			}
		}
		if final(err) || now.Sub(failing) >= r.f.cfg.GiveUp {
			r.send(ctx, event{id: r.id, err: err})
			return
		}
		sleep(ctx, pause)
		pause = min(2*pause, maxPause)
	}
}

// minPause and maxPause bound the pauses between the tries of a failing read.
const (
	minPause = 200 * time.Millisecond
	maxPause = 5 * time.Second
)

// read makes one GetRecords call, after the call for an iterator if it has
// none.
func (r *reader) read(ctx context.Context, iterator string) (e event, next string, err error) {
	api := r.f.api
	if iterator == "" {
		in := &kinesis.GetShardIteratorInput{StreamName: aws.String(r.f.stream), ShardId: aws.String(r.id), ShardIteratorType: r.from}
		switch {
		case r.last != "":
			in.ShardIteratorType = types.ShardIteratorTypeAfterSequenceNumber
			in.StartingSequenceNumber = aws.String(r.last)
		case r.from == types.ShardIteratorTypeAtTimestamp:
			in.Timestamp = aws.Time(r.f.cfg.Timestamp)
		}
		out, err := api.GetShardIterator(ctx, in)
		if err != nil {
			return e, "", err
		}
		iterator = aws.ToString(out.ShardIterator)
	}
	out, err := api.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String(iterator)})
	if err != nil {
		return e, "", err
	}
	next = aws.ToString(out.NextShardIterator)
	e = event{
		id: r.id, ended: next == "", children: out.ChildShards,
		caughtUp: aws.ToInt64(out.MillisBehindLatest) == 0,
	}
	if n := len(out.Records); n > 0 {
		r.last = aws.ToString(out.Records[n-1].SequenceNumber)
		e.records = make([]Record, 0, n)
		for i := range out.Records {
			e.records = r.expand(e.records, &out.Records[i])
		}
	}
	return e, next, nil
}

// expand appends the user records of a Kinesis record.
func (r *reader) expand(dst []Record, k *types.Record) []Record {
	rec := Record{
		ShardID: r.id, SequenceNumber: aws.ToString(k.SequenceNumber), PartitionKey: aws.ToString(k.PartitionKey),
		Arrival: aws.ToTime(k.ApproximateArrivalTimestamp), Data: k.Data,
	}
	if r.f.cfg.Raw {
		return append(dst, rec)
	}
	// What cannot be taken apart comes back as it is: a viewer must not hide it.
	r.scratch = deaggregate.Append(r.scratch[:0], rec.PartitionKey, k.Data)
	for _, u := range r.scratch {
		sub := rec
		sub.SubSequenceNumber, sub.Aggregated = int(u.SubSequenceNumber), u.Aggregated
		sub.PartitionKey, sub.ExplicitHashKey, sub.Data = u.PartitionKey, u.ExplicitHashKey, u.Data
		sub.OutOfRange = u.Aggregated && !r.keys.Contains(r.hash(&u))
		if sub.OutOfRange && rec.PartitionKey == aggregateKey && !r.f.cfg.KeepAll {
			continue
		}
		dst = append(dst, sub)
	}
	return dst
}

func (r *reader) hash(u *deaggregate.Record) hashkey.Key {
	if u.ExplicitHashKey != "" {
		if k, err := hashkey.Parse(u.ExplicitHashKey); err == nil {
			return k
		}
	}
	if u.PartitionKey != r.memo || r.memo == "" {
		r.memo, r.memoKey = u.PartitionKey, hashkey.Of(u.PartitionKey)
	}
	return r.memoKey
}

func (r *reader) send(ctx context.Context, e event) bool {
	select {
	case r.f.events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

// final reports whether another try cannot help: the service has understood
// the request and refuses it. Being too fast is no such answer.
func final(err error) bool {
	if _, ok := errors.AsType[*types.ProvisionedThroughputExceededException](err); ok {
		return false
	}
	if _, ok := errors.AsType[*types.LimitExceededException](err); ok {
		return false
	}
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorFault() == smithy.FaultClient
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
