package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// create makes a stream and waits until it is active.
func (p *play) create(ctx context.Context, name string, shards int32) error {
	_, err := p.kinesis().CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: &shards})
	if err != nil {
		return err
	}
	return p.active(ctx, name)
}

func (p *play) active(ctx context.Context, name string) error {
	return eventually(ctx, 20*time.Second, func() error {
		out, err := p.kinesis().DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &name})
		if err != nil {
			return err
		}
		if s := out.StreamDescriptionSummary.StreamStatus; s != types.StreamStatusActive {
			return fmt.Errorf("stream is %s", s)
		}
		return nil
	})
}

func (p *play) shards(ctx context.Context, name string) ([]types.Shard, error) {
	var all []types.Shard
	in := &kinesis.ListShardsInput{StreamName: &name}
	for {
		out, err := p.kinesis().ListShards(ctx, in)
		if err != nil {
			return nil, err
		}
		all = append(all, out.Shards...)
		if out.NextToken == nil {
			return all, nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

// open returns the open shards in the order of their hash keys.
func (p *play) open(ctx context.Context, name string) ([]types.Shard, error) {
	all, err := p.shards(ctx, name)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(s types.Shard) bool { return s.SequenceNumberRange.EndingSequenceNumber != nil })
	slices.SortFunc(all, func(a, b types.Shard) int {
		x, _ := bounds(a)
		y, _ := bounds(b)
		return x.Cmp(y)
	})
	return all, nil
}

// bounds returns the range of a shard's hash keys.
func bounds(s types.Shard) (from, to *big.Int) {
	from, _ = new(big.Int).SetString(*s.HashKeyRange.StartingHashKey, 10)
	to, _ = new(big.Int).SetString(*s.HashKeyRange.EndingHashKey, 10)
	return from, to
}

// A change is one that a stream goes through.
type change func(ctx context.Context, p *play, stream string) error

// split cuts the first open shard into halves.
func split(ctx context.Context, p *play, stream string) error {
	open, err := p.open(ctx, stream)
	if err != nil {
		return err
	}
	from, to := bounds(open[0])
	middle := new(big.Int).Rsh(from.Add(from, to), 1)
	_, err = p.kinesis().SplitShard(ctx, &kinesis.SplitShardInput{
		StreamName: &stream, ShardToSplit: open[0].ShardId, NewStartingHashKey: aws.String(middle.String()),
	})
	return errors.Join(err, p.active(ctx, stream))
}

// merge joins the first two open shards.
func merge(ctx context.Context, p *play, stream string) error {
	open, err := p.open(ctx, stream)
	if err != nil {
		return err
	}
	if len(open) < 2 {
		return fmt.Errorf("only %d shards are open", len(open))
	}
	_, err = p.kinesis().MergeShards(ctx, &kinesis.MergeShardsInput{
		StreamName: &stream, ShardToMerge: open[0].ShardId, AdjacentShardToMerge: open[1].ShardId,
	})
	return errors.Join(err, p.active(ctx, stream))
}

// scale has the stream have n open shards.
func scale(n int32) change {
	return func(ctx context.Context, p *play, stream string) error {
		_, err := p.kinesis().UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{
			StreamName: &stream, TargetShardCount: &n, ScalingType: types.ScalingTypeUniformScaling,
		})
		return errors.Join(err, p.active(ctx, stream))
	}
}

// restart kills the server, and starts it again after a second.
func restart(ctx context.Context, p *play, _ string) error { return p.kill(ctx, time.Second) }

// records reads all of a shard: to its end, or until nothing is behind.
func (p *play) records(ctx context.Context, stream, shard string) ([]types.Record, error) {
	c := p.kinesis()
	it, err := c.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &stream, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		return nil, err
	}
	var all []types.Record
	for next := it.ShardIterator; next != nil; {
		out, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		if err != nil {
			return nil, err
		}
		all = append(all, out.Records...)
		if len(out.Records) == 0 && aws.ToInt64(out.MillisBehindLatest) == 0 {
			break
		}
		next = out.NextShardIterator
	}
	return all, nil
}
