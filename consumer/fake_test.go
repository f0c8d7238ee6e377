package consumer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// fakeStream is one stream in memory, with faults. It keeps to what the
// service promises: iterators that expire, LATEST fixed when it is asked for,
// children named at the end of a closed shard.
type fakeStream struct {
	mu     sync.Mutex // guards all below
	rng    *rand.Rand
	shards []*fakeShard
	seq    int64

	iteratorLife time.Duration
	limit        int     // records of one answer
	failRate     float64 // share of calls that fail
	throttleRate float64
	hideChildren bool // leave ChildShards out
	lists        int
	reads        int
}

type fakeShard struct {
	id      string
	parents []string
	rng     hashkey.Range
	first   int64
	last    int64 // 0 while open
	created time.Time
	closed  time.Time
	records []types.Record
}

func newFakeStream(shards int, seed uint64) *fakeStream {
	f := &fakeStream{rng: rand.New(rand.NewPCG(seed, 7)), iteratorLife: 5 * time.Minute, limit: 10000, seq: 1000}
	for _, r := range hashkey.Uniform(shards) {
		f.addLocked(r)
	}
	return f
}

func (f *fakeStream) addLocked(r hashkey.Range, parents ...*fakeShard) *fakeShard {
	f.seq++
	s := &fakeShard{id: fmt.Sprintf("shardId-%012d", len(f.shards)), rng: r, first: f.seq, created: time.Now()}
	for _, p := range parents {
		s.parents = append(s.parents, p.id)
		p.last, p.closed = f.seq, time.Now()
	}
	f.shards = append(f.shards, s)
	return s
}

// put stores a record and returns its shard and sequence number.
func (f *fakeStream) put(key string, data []byte) (string, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.putLocked(hashkey.Of(key), key, data)
}

func (f *fakeStream) putLocked(hash hashkey.Key, key string, data []byte) (string, string) {
	for _, s := range f.shards {
		if s.last == 0 && s.rng.Contains(hash) {
			f.seq++
			seq := strconv.FormatInt(f.seq, 10)
			s.records = append(s.records, types.Record{
				Data: data, PartitionKey: &key, SequenceNumber: &seq, ApproximateArrivalTimestamp: aws.Time(time.Now()),
			})
			return s.id, seq
		}
	}
	panic("no open shard for " + key)
}

// split splits an open shard in the middle; it reports false if it is closed.
func (f *fakeStream) split(i int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shards[i]
	if s.last != 0 {
		return false
	}
	mid := hashkey.Key{Hi: s.rng.Start.Hi + (s.rng.End.Hi-s.rng.Start.Hi)/2}
	if !s.rng.Start.Less(mid) {
		return false
	}
	f.addLocked(hashkey.Range{Start: s.rng.Start, End: mid.Sub(1)}, s)
	f.addLocked(hashkey.Range{Start: mid, End: s.rng.End}, s)
	return true
}

func (f *fakeStream) faultLocked(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch r := f.rng.Float64(); {
	case r < f.failRate:
		return fmt.Errorf("fake: connection reset")
	case r < f.failRate+f.throttleRate:
		return &types.ProvisionedThroughputExceededException{Message: aws.String("Rate exceeded")}
	}
	return nil
}

func (f *fakeStream) shardLocked(id string) *fakeShard {
	for _, s := range f.shards {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (f *fakeStream) ListShards(ctx context.Context, in *kinesis.ListShardsInput, _ ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	if err := f.faultLocked(ctx); err != nil {
		return nil, err
	}
	out := new(kinesis.ListShardsOutput)
	for _, s := range f.shards {
		if in.ShardFilter != nil {
			switch in.ShardFilter.Type {
			case types.ShardFilterTypeAtLatest:
				if s.last != 0 {
					continue
				}
			case types.ShardFilterTypeAtTrimHorizon:
				if len(s.parents) > 0 {
					continue
				}
			case types.ShardFilterTypeAtTimestamp:
				at := *in.ShardFilter.Timestamp
				if s.created.After(at) || s.last != 0 && !s.closed.After(at) {
					continue
				}
			default:
				panic(in.ShardFilter.Type)
			}
		}
		sh := types.Shard{
			ShardId:             &s.id,
			HashKeyRange:        &types.HashKeyRange{StartingHashKey: aws.String(s.rng.Start.String()), EndingHashKey: aws.String(s.rng.End.String())},
			SequenceNumberRange: &types.SequenceNumberRange{StartingSequenceNumber: aws.String(strconv.FormatInt(s.first, 10))},
		}
		if s.last != 0 {
			sh.SequenceNumberRange.EndingSequenceNumber = aws.String(strconv.FormatInt(s.last, 10))
		}
		if len(s.parents) > 0 {
			sh.ParentShardId = &s.parents[0]
		}
		if len(s.parents) > 1 {
			sh.AdjacentParentShardId = &s.parents[1]
		}
		out.Shards = append(out.Shards, sh)
	}
	return out, nil
}

// An iterator is "shard|index of the next record|time of issue in ns".
func iterator(shard string, next int) *string {
	return aws.String(fmt.Sprintf("%s|%d|%d", shard, next, time.Now().UnixNano()))
}

func (f *fakeStream) GetShardIterator(ctx context.Context, in *kinesis.GetShardIteratorInput, _ ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.faultLocked(ctx); err != nil {
		return nil, err
	}
	s := f.shardLocked(*in.ShardId)
	if s == nil {
		return nil, &types.ResourceNotFoundException{Message: aws.String("no such shard")}
	}
	next := 0
	find := func(ok func(r types.Record) bool) {
		for next = 0; next < len(s.records) && !ok(s.records[next]); next++ {
		}
	}
	num := func(s *string) int64 { n, _ := strconv.ParseInt(*s, 10, 64); return n }
	switch in.ShardIteratorType {
	case types.ShardIteratorTypeTrimHorizon:
	case types.ShardIteratorTypeLatest:
		next = len(s.records)
	case types.ShardIteratorTypeAtSequenceNumber:
		find(func(r types.Record) bool { return num(r.SequenceNumber) >= num(in.StartingSequenceNumber) })
	case types.ShardIteratorTypeAfterSequenceNumber:
		find(func(r types.Record) bool { return num(r.SequenceNumber) > num(in.StartingSequenceNumber) })
	case types.ShardIteratorTypeAtTimestamp:
		find(func(r types.Record) bool { return !r.ApproximateArrivalTimestamp.Before(*in.Timestamp) })
	}
	return &kinesis.GetShardIteratorOutput{ShardIterator: iterator(s.id, next)}, nil
}

func (f *fakeStream) GetRecords(ctx context.Context, in *kinesis.GetRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if err := f.faultLocked(ctx); err != nil {
		return nil, err
	}
	parts := strings.Split(*in.ShardIterator, "|")
	next, _ := strconv.Atoi(parts[1])
	issued, _ := strconv.ParseInt(parts[2], 10, 64)
	if time.Since(time.Unix(0, issued)) > f.iteratorLife {
		return nil, &types.ExpiredIteratorException{Message: aws.String("Iterator expired")}
	}
	s := f.shardLocked(parts[0])
	end := min(next+min(f.limit, int(*in.Limit)), len(s.records))
	out := &kinesis.GetRecordsOutput{MillisBehindLatest: aws.Int64(0), Records: append([]types.Record(nil), s.records[next:end]...)}
	if end < len(s.records) {
		out.MillisBehindLatest = aws.Int64(1000)
	}
	if s.last == 0 || end < len(s.records) {
		out.NextShardIterator = iterator(s.id, end)
		return out, nil
	}
	for _, c := range f.shards {
		for _, p := range c.parents {
			if p == s.id && !f.hideChildren {
				out.ChildShards = append(out.ChildShards, types.ChildShard{
					ShardId: &c.id, ParentShards: c.parents,
					HashKeyRange: &types.HashKeyRange{StartingHashKey: aws.String(c.rng.Start.String()), EndingHashKey: aws.String(c.rng.End.String())},
				})
			}
		}
	}
	return out, nil
}
