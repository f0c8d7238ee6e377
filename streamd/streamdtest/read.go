package streamdtest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// reader reads a stream from its oldest record on, and again from where it came
// to.
type reader struct {
	client *kinesis.Client
	stream string
	shards []*cursor
}

// cursor is how far a reader has come in one shard.
type cursor struct {
	shard   string
	next    *string // iterator; nil: none yet, or it has expired
	done    bool    // the shard is closed, and read to its end
	records []types.Record
}

// advance reads what has come, shard by shard. Shards that are new are read as
// well.
func (r *reader) advance(ctx context.Context) error {
	if err := r.discover(ctx); err != nil {
		return err
	}
	for _, c := range r.shards {
		if c.done {
			continue
		}
		err := r.read(ctx, c)
		if _, expired := errors.AsType[*types.ExpiredIteratorException](err); expired {
			c.next = nil // the test has moved the clock
			err = r.read(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("read %s of stream %s: %w", c.shard, r.stream, err)
		}
	}
	return nil
}

// discover finds the shards that are not known yet. They come in the order of
// their ids, so that parents are before their children.
func (r *reader) discover(ctx context.Context) error {
	in := &kinesis.ListShardsInput{StreamName: &r.stream}
	if n := len(r.shards); n > 0 {
		in.ExclusiveStartShardId = &r.shards[n-1].shard
	}
	for {
		out, err := r.client.ListShards(ctx, in)
		if err != nil {
			return fmt.Errorf("list the shards of stream %s: %w", r.stream, err)
		}
		for _, shard := range out.Shards {
			r.shards = append(r.shards, &cursor{shard: aws.ToString(shard.ShardId)})
		}
		if out.NextToken == nil {
			return nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

func (r *reader) read(ctx context.Context, c *cursor) error {
	if c.next == nil {
		in := &kinesis.GetShardIteratorInput{
			StreamName: &r.stream, ShardId: &c.shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
		}
		if n := len(c.records); n > 0 {
			in.ShardIteratorType = types.ShardIteratorTypeAfterSequenceNumber
			in.StartingSequenceNumber = c.records[n-1].SequenceNumber
		}
		out, err := r.client.GetShardIterator(ctx, in)
		if err != nil {
			return err
		}
		c.next = out.ShardIterator
	}
	for {
		out, err := r.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: c.next})
		if err != nil {
			return err
		}
		c.records = append(c.records, out.Records...)
		c.next, c.done = out.NextShardIterator, out.NextShardIterator == nil
		if c.done || aws.ToInt64(out.MillisBehindLatest) == 0 {
			return nil
		}
	}
}

// records returns what was read, shard by shard.
func (r *reader) records() []types.Record {
	var all []types.Record
	for _, c := range r.shards {
		all = append(all, c.records...)
	}
	return all
}

// describe says what was read, for the message of a test that fails.
func (r *reader) describe() string {
	parts := make([]string, len(r.shards))
	n := 0
	for i, c := range r.shards {
		n += len(c.records)
		parts[i] = fmt.Sprintf("%d in %s", len(c.records), c.shard)
	}
	if len(parts) == 0 {
		return "no shard was read"
	}
	return fmt.Sprintf("it has %d (%s)", n, strings.Join(parts, ", "))
}
