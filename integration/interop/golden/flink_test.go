package golden_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/streamd/streamdtest"
)

const flinkStream, flinkARN = "orders", "arn:aws:kinesis:us-east-1:000000000000:stream/orders"

// flink follows a stream as the source of Flink's connector does, for one reader:
// an enumerator that finds shards and gives out those whose parents are done, and a
// reader that knows a shard's end by what the server says.
//
// Source: apache/flink-connector-aws, KinesisStreamsSourceEnumerator, SplitTracker,
// KinesisStreamProxy, PollingKinesisShardSplitReader, StreamConsumerRegistrar and
// FanOutKinesisShardSubscription.
type flink struct {
	k         *kinesis.Client
	consumer  string            // ARN; empty: it polls
	splits    map[string]*split // found, and not done
	last      string            // the shard that was found last
	seen      map[string][]int  // by partition key
	completed []string
}

type split struct {
	id       string
	parents  []string
	begin    types.StartingPosition
	at       string // sequence number of the last record
	iterator *string
}

func (s *split) position() types.StartingPosition {
	if s.at == "" {
		return s.begin
	}
	return types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: &s.at}
}

// start is what the enumerator does once. A source that starts at LATEST starts at
// its own time.
func (f *flink) start(ctx context.Context, at *time.Time) error {
	if _, err := f.k.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: aws.String(flinkARN)}); err != nil {
		return err
	}
	filter := &types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}
	begin := types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	if at != nil {
		filter = &types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: at}
		begin = types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp, Timestamp: at}
	}
	return f.list(ctx, filter, begin)
}

// discover is what it does every ten seconds.
func (f *flink) discover(ctx context.Context) error {
	return f.list(ctx, &types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: &f.last},
		types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon})
}

func (f *flink) list(ctx context.Context, filter *types.ShardFilter, begin types.StartingPosition) error {
	in := &kinesis.ListShardsInput{StreamARN: aws.String(flinkARN), ShardFilter: filter}
	for {
		out, err := f.k.ListShards(ctx, in)
		if err != nil {
			return err
		}
		for _, sh := range out.Shards {
			s := &split{id: *sh.ShardId, begin: begin}
			for _, parent := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
				if parent != nil {
					s.parents = append(s.parents, *parent)
				}
			}
			if f.splits[s.id] != nil || slices.Contains(f.completed, s.id) {
				return fmt.Errorf("%s is found again", s.id) // it would be read again
			}
			f.splits[s.id], f.last = s, s.id
		}
		if out.NextToken == nil {
			return nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

// fetch reads once from each shard whose parents are done.
func (f *flink) fetch(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(f.splits)) {
		s := f.splits[id]
		if slices.ContainsFunc(s.parents, func(p string) bool { return f.splits[p] != nil }) {
			continue
		}
		read := f.poll
		if f.consumer != "" {
			read = f.subscribe
		}
		done, err := read(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if done {
			delete(f.splits, id)
			f.completed = append(f.completed, id)
		}
	}
	return nil
}

func (f *flink) poll(ctx context.Context, s *split) (done bool, err error) {
	if s.iterator == nil {
		p := s.position()
		out, err := f.k.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
			StreamARN: aws.String(flinkARN), ShardId: &s.id, ShardIteratorType: p.Type,
			Timestamp: p.Timestamp, StartingSequenceNumber: p.SequenceNumber,
		})
		if err != nil {
			return false, err
		}
		s.iterator = out.ShardIterator
	}
	out, err := f.k.GetRecords(ctx, &kinesis.GetRecordsInput{StreamARN: aws.String(flinkARN), ShardIterator: s.iterator, Limit: aws.Int32(10000)})
	if err != nil {
		return false, err
	}
	s.iterator = out.NextShardIterator
	return out.NextShardIterator == nil, f.take(s, out.Records)
}

// subscribe takes events until one has no records. One without a place to go on at
// is the shard's end.
func (f *flink) subscribe(ctx context.Context, s *split) (done bool, err error) {
	p := s.position()
	// A client's subscriptions share a buffer, smithy-go v1.28.9, whose use races.
	out, err := kinesis.New(f.k.Options()).SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{ConsumerARN: &f.consumer, ShardId: &s.id, StartingPosition: &p})
	if err != nil {
		return false, err
	}
	stream := out.GetStream()
	defer stream.Close()
	for e := range stream.Events() {
		event, ok := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
		if !ok {
			return false, fmt.Errorf("event %T", e)
		}
		if err := f.take(s, event.Value.Records); err != nil {
			return false, err
		}
		if event.Value.ContinuationSequenceNumber == nil {
			return true, nil
		}
		if len(event.Value.Records) == 0 {
			return false, nil
		}
	}
	return false, errors.Join(errors.New("the subscription has ended before its time"), stream.Err())
}

func (f *flink) take(s *split, records []types.Record) error {
	for _, r := range records {
		var n int
		if _, err := fmt.Sscan(string(r.Data), &n); err != nil {
			return err
		}
		f.seen[*r.PartitionKey] = append(f.seen[*r.PartitionKey], n)
		s.at = *r.SequenceNumber
	}
	return nil
}

// savepoint is what is left of a job that is stopped and started again.
func (f *flink) savepoint() {
	for _, s := range f.splits {
		s.iterator = nil
	}
}

// TestFlinkFollowsAStream has Flink's source, as its sources say that it behaves,
// follow a stream that is resharded, and stop and go on twice.
func TestFlinkFollowsAStream(t *testing.T) {
	for _, tt := range []struct {
		name   string
		latest bool // by the connector's own time
		fanout bool
	}{
		{name: "polling from the oldest record"},
		{name: "polling from now", latest: true},
		{name: "fan-out from the oldest record", fanout: true},
		{name: "fan-out from now", latest: true, fanout: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { followAsFlink(t, tt.latest, tt.fanout) })
		})
	}
}

func followAsFlink(t *testing.T, latest, fanout bool) {
	ctx := t.Context()
	srv := streamdtest.New(t)
	srv.CreateStream(t, flinkStream, 2)
	k := srv.Kinesis()
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	const keys = 16
	want := map[string][]int{}
	put := func(from, n int) {
		for i := from; i < from+n; i++ {
			key := fmt.Sprintf("customer %d", i%keys)
			_, err := k.PutRecord(ctx, &kinesis.PutRecordInput{StreamARN: aws.String(flinkARN), PartitionKey: &key, Data: fmt.Append(nil, i)})
			do("put", err)
			want[key] = append(want[key], i)
		}
	}
	put(0, 100)
	f := &flink{k: k, splits: map[string]*split{}, seen: map[string][]int{}}
	var at *time.Time
	if latest {
		time.Sleep(10 * time.Second)
		at, want = aws.Time(time.Now()), map[string][]int{}
	}
	var registered *kinesis.RegisterStreamConsumerOutput
	if fanout {
		var err error
		registered, err = k.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(flinkARN), ConsumerName: aws.String("flink")})
		do("register", err)
		f.consumer = *registered.Consumer.ConsumerARN
	}
	do("start", f.start(ctx, at))
	round := func() {
		t.Helper()
		time.Sleep(10 * time.Second) // also what a subscription needs before the next one
		do("discover", f.discover(ctx))
		do("fetch", f.fetch(ctx))
	}
	changes := []func() error{
		func() error {
			_, err := k.SplitShard(ctx, &kinesis.SplitShardInput{StreamARN: aws.String(flinkARN), ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("1000")})
			return err
		},
		func() error {
			_, err := k.MergeShards(ctx, &kinesis.MergeShardsInput{StreamARN: aws.String(flinkARN), ShardToMerge: aws.String("shardId-000000000003"), AdjacentShardToMerge: aws.String("shardId-000000000001")})
			return err
		},
		func() error {
			_, err := k.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamARN: aws.String(flinkARN), TargetShardCount: aws.Int32(3), ScalingType: types.ScalingTypeUniformScaling})
			return err
		},
	}
	for i, change := range changes {
		put(100+200*i, 100)
		if i > 0 {
			f.savepoint() // and the shards end before it goes on
		}
		do("change", change())
		srv.WaitForStream(ctx, t, flinkStream, types.StreamStatusActive)
		put(200+200*i, 100)
		round()
	}
	all, err := k.ListShards(ctx, &kinesis.ListShardsInput{StreamARN: aws.String(flinkARN)})
	do("list", err)
	var ended []string
	for _, sh := range all.Shards {
		if sh.SequenceNumberRange.EndingSequenceNumber != nil {
			ended = append(ended, *sh.ShardId)
		}
	}
	for range len(all.Shards) { // in each round at least the next generation is read
		round()
	}
	if slices.Sort(f.completed); !slices.Equal(f.completed, ended) {
		t.Errorf("the ends of %v came, those that have ended are %v", f.completed, ended)
	}
	for key, list := range want {
		if !slices.Equal(f.seen[key], list) {
			t.Errorf("%s: records %v came, %v were put", key, f.seen[key], list)
		}
	}
	if fanout {
		_, err := k.DeregisterStreamConsumer(ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: registered.Consumer.ConsumerARN})
		do("deregister", err)
		for n := 0; ; n++ {
			_, err = k.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{StreamARN: aws.String(flinkARN), ConsumerName: aws.String("flink")})
			if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
				break
			}
			if n > 10 {
				t.Fatalf("the consumer stays: %v", err)
			}
			time.Sleep(time.Second)
		}
	}
}
