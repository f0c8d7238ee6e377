package integration_test

import (
	"math/big"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// splitFirst splits the open shard with the lowest hash keys in the middle.
func splitFirst(t *testing.T, s *server, stream string) {
	t.Helper()
	sh := s.openShards(stream)[0]
	middle := new(big.Int).Add(decimal(sh.HashKeyRange.StartingHashKey), decimal(sh.HashKeyRange.EndingHashKey))
	middle.Rsh(middle, 1)
	_, err := s.kinesis().SplitShard(t.Context(), &kinesis.SplitShardInput{
		StreamName: &stream, ShardToSplit: sh.ShardId, NewStartingHashKey: aws.String(middle.String()),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.awaitActive(stream)
}

// mergeFirst merges the two open shards with the lowest hash keys.
func mergeFirst(t *testing.T, s *server, stream string) {
	t.Helper()
	open := s.openShards(stream)
	_, err := s.kinesis().MergeShards(t.Context(), &kinesis.MergeShardsInput{
		StreamName: &stream, ShardToMerge: open[0].ShardId, AdjacentShardToMerge: open[1].ShardId,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.awaitActive(stream)
}
