package producer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// Order says in which order records are stored.
type Order int

const (
	// PerKey stores the records of one partition key in the order in which they
	// were put. See the package comment for what loosens it.
	PerKey Order = iota

	// Unordered stores records in any order: a shard may have several
	// aggregated records in flight, and a record that failed holds up nothing.
	Unordered

	// Strict is PerKey, and each Kinesis record is sent by itself, with the
	// sequence number of the shard's last one, so that the service orders them
	// even if an attempt that was given up arrives late. It takes a round trip
	// for each Kinesis record of a shard, and an [API] that is a [RecordPutter].
	Strict
)

// FailurePolicy says what a record that failed means for later ones.
type FailurePolicy int

const (
	// FailKeyed fails, with a record, all later ones of its partition key that
	// are buffered, with [ErrEarlierFailed]: what is stored of a key has no gap
	// that a record put before the failure was known would hide. What is only
	// in the spool at that moment is not among them. With Unordered it is SkipOne.
	FailKeyed FailurePolicy = iota

	// SkipOne fails a record alone. Later ones of its key go on.
	SkipOne

	// StopKeyed is FailKeyed, and what is put of the key after the failure fails with
	// [ErrEarlierFailed] as well, until [Producer.ResumeKey]. So no record is stored
	// that was put behind one that failed, even by a caller who had not heard of the
	// failure yet, or whose Put waited for memory. It is for callers who put again
	// what failed: those who do not must resume keys, too, as stopped ones take
	// memory. What a spool holds of a stopped key fails when it is read. With
	// Unordered it is SkipOne.
	StopKeyed
)

// RecordPutter is what an [API] must have besides for [Strict], as
// *kinesis.Client does.
type RecordPutter interface {
	PutRecord(context.Context, *kinesis.PutRecordInput, ...func(*kinesis.Options)) (*kinesis.PutRecordOutput, error)
}

// putRecord sends the one Kinesis record of a request by itself, after the last
// one of its shard, and answers as PutRecords does.
func (p *Producer) putRecord(ctx context.Context, it *item, e *types.PutRecordsRequestEntry) (*kinesis.PutRecordsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.RequestTimeout)
	defer cancel()
	in := &kinesis.PutRecordInput{
		StreamName: p.streamName, StreamARN: p.streamARN,
		Data: e.Data, PartitionKey: e.PartitionKey, ExplicitHashKey: e.ExplicitHashKey,
	}
	after := it.lane.lastOf(it.lane.shardID)
	if after != "" {
		in.SequenceNumberForOrdering = &after
	}
	out, err := p.recordPutter.PutRecord(ctx, in, noSDKRetry)
	if err != nil {
		if apiErr, ok := errors.AsType[smithy.APIError](err); ok && after != "" && apiErr.ErrorCode() == codeInvalidArgument {
			// The number may be of a stream that was deleted since.
			it.lane.forget()
			return nil, fmt.Errorf("put after a sequence number: %w", errOrdering)
		}
		return nil, err
	}
	return &kinesis.PutRecordsOutput{Records: []types.PutRecordsResultEntry{{
		ShardId: aws.String(aws.ToString(out.ShardId)), SequenceNumber: aws.String(aws.ToString(out.SequenceNumber)),
	}}}, nil
}

// ResumeKey lets the records of a key go on that was stopped by a failure under
// [StopKeyed]: those put after the call. It reports whether the key was stopped. Who
// puts records again calls it when all that were put of the key have been reported.
// explicitHashKey is that of the records; empty if they have none.
func (p *Producer) ResumeKey(partitionKey, explicitHashKey string) bool {
	if p.stopped == nil {
		return false
	}
	r := UserRecord{PartitionKey: partitionKey, ExplicitHashKey: explicitHashKey}
	rec := asRecord(&r)
	if keyless(&r) || checkKeys(&rec) != nil {
		return false // there are no such records
	}
	return p.stopped.remove(keyOfRecord{hash: p.hash(&rec), name: rec.PartitionKey})
}

// stoppedKeys is the keys of which nothing is taken.
type stoppedKeys struct {
	n atomic.Int64 // keys, so that a Put need not lock while there are none

	mu   sync.Mutex // guards keys; taken with that of a lane held
	keys keySet
}

// add stops keys.
func (s *stoppedKeys) add(keys keySet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.keys, keys)
	s.n.Store(int64(len(s.keys)))
}

func (s *stoppedKeys) has(k keyOfRecord) bool {
	if s.n.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.keys[k]
	return ok
}

// remove resumes a key and reports whether it was stopped.
func (s *stoppedKeys) remove(k keyOfRecord) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.keys[k]
	delete(s.keys, k)
	s.n.Store(int64(len(s.keys)))
	return ok
}

// keySet is the keys of records that failed.
type keySet map[keyOfRecord]struct{}

type keyOfRecord struct {
	hash hashkey.Key
	name string
}

// failing returns an empty set if later records of a key fail with one that
// failed, else nil.
func (p *Producer) failing() keySet {
	if p.cfg.OnFailure == SkipOne || p.cfg.Order == Unordered {
		return nil
	}
	return make(keySet)
}

// add adds the keys of a batch of a lane.
func (s keySet) add(l *lane, b *batch) {
	b.builder.Walk(func(i int, r aggregation.Record) bool {
		if r.ExplicitHashKey != l.sharedEHK { // a record without a key comes before none
			k := keyOfRecord{hash: b.meta[i].hash, name: r.PartitionKey}
			if _, ok := s[k]; !ok {
				k.name = string(append([]byte(nil), r.PartitionKey...))
				s[k] = struct{}{}
			}
		}
		return true
	})
}

// of says which records of a batch of a lane have a key of the set; nil if none
// has.
func (s keySet) of(l *lane, b *batch) (hit []bool) {
	if len(s) == 0 {
		return nil
	}
	b.builder.Walk(func(i int, r aggregation.Record) bool {
		if r.ExplicitHashKey == l.sharedEHK {
			return true
		}
		if _, ok := s[keyOfRecord{hash: b.meta[i].hash, name: r.PartitionKey}]; ok {
			if hit == nil {
				hit = make([]bool, len(b.meta))
			}
			hit[i] = true
		}
		return true
	})
	return hit
}

// cutFollowers takes the records whose key is in keys out of a batch of a lane.
// Either result is nil if it would be empty.
func (p *Producer) cutFollowers(l *lane, keys keySet, b *batch) (hit, rest *batch) {
	is := keys.of(l, b)
	if is == nil {
		return nil, b
	}
	return p.batches.split(b, func(i int, _ *meta) bool { return is[i] })
}

// failFollowers takes out of a busy lane what is queued of keys, and stops them under
// StopKeyed: in one, so that a record is put before both or after.
func (p *Producer) failFollowers(l *lane, keys keySet) (items []item) {
	if len(keys) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.stopped != nil {
		p.stopped.add(keys)
	}
	kept := l.sealed[:0]
	for _, b := range l.sealed {
		hit, rest := p.cutFollowers(l, keys, b)
		if hit != nil {
			items = append(items, item{lane: l, batch: hit, verdict: failed, err: ErrEarlierFailed})
		}
		if rest != nil {
			kept = append(kept, rest)
		}
	}
	clear(l.sealed[len(kept):])
	l.sealed = kept
	if l.open != nil {
		hit, rest := p.cutFollowers(l, keys, l.open)
		if hit != nil {
			items = append(items, item{lane: l, batch: hit, verdict: failed, err: ErrEarlierFailed})
		}
		l.open = rest
	}
	return items
}
