package integration_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// splitFirst splits the open shard with the lowest hash keys in the middle.
func (s *server) splitFirst(ctx context.Context, stream string) error {
	open, err := s.openShards(ctx, stream)
	if err != nil {
		return err
	}
	sh := open[0]
	middle := new(big.Int).Add(decimal(sh.HashKeyRange.StartingHashKey), decimal(sh.HashKeyRange.EndingHashKey))
	middle.Rsh(middle, 1)
	_, err = s.kinesis().SplitShard(ctx, &kinesis.SplitShardInput{
		StreamName: &stream, ShardToSplit: sh.ShardId, NewStartingHashKey: aws.String(middle.String()),
	})
	if err != nil {
		return err
	}
	return s.awaitActive(ctx, stream)
}

// mergeFirst merges the two open shards with the lowest hash keys.
func (s *server) mergeFirst(ctx context.Context, stream string) error {
	open, err := s.openShards(ctx, stream)
	if err != nil {
		return err
	}
	if len(open) < 2 {
		return errors.New("there is only one shard to merge")
	}
	_, err = s.kinesis().MergeShards(ctx, &kinesis.MergeShardsInput{
		StreamName: &stream, ShardToMerge: open[0].ShardId, AdjacentShardToMerge: open[1].ShardId,
	})
	if err != nil {
		return err
	}
	return s.awaitActive(ctx, stream)
}

// scaleTo returns what brings a stream to n open shards.
func (s *server) scaleTo(n int32) func(context.Context, string) error {
	return func(ctx context.Context, stream string) error {
		_, err := s.kinesis().UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{
			StreamName: &stream, TargetShardCount: &n, ScalingType: types.ScalingTypeUniformScaling,
		})
		if err != nil {
			return err
		}
		return s.awaitActive(ctx, stream)
	}
}

func (s *server) awaitActive(ctx context.Context, stream string) error {
	return poll(ctx, 10*time.Second, func() error {
		out, err := s.kinesis().DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
		if err != nil {
			return err
		}
		if got := out.StreamDescriptionSummary.StreamStatus; got != types.StreamStatusActive {
			return fmt.Errorf("stream %s is %s", stream, got)
		}
		return nil
	})
}

// shards lists all shards of a stream, open and closed.
func (s *server) shards(ctx context.Context, stream string) ([]types.Shard, error) {
	var all []types.Shard
	in := &kinesis.ListShardsInput{StreamName: &stream}
	for {
		out, err := s.kinesis().ListShards(ctx, in)
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

// openShards are the shards without an end, in order of their hash ranges.
func (s *server) openShards(ctx context.Context, stream string) ([]types.Shard, error) {
	all, err := s.shards(ctx, stream)
	if err != nil {
		return nil, err
	}
	var open []types.Shard
	for _, sh := range all {
		if sh.SequenceNumberRange.EndingSequenceNumber == nil {
			open = append(open, sh)
		}
	}
	sortByHash(open)
	return open, nil
}
