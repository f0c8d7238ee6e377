package integration_test

import (
	"crypto/md5"
	"math/big"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/logcheck"
)

// A history is what clients saw of a stream. Package logcheck holds it against
// what a stream promises; what is here puts the SDK's types into its words.
type history struct {
	*logcheck.Recorder
}

func newHistory() *history { return &history{logcheck.NewRecorder()} }

// check returns the promises that the history shows broken, given the shards of
// the stream and all that is in them in the end.
func (h *history) check(shards []types.Shard, final map[string][]types.Record) []logcheck.Violation {
	described := make([]logcheck.Shard, len(shards))
	for i, sh := range shards {
		described[i] = describeShard(sh)
	}
	records := make(map[string][]logcheck.Record, len(final))
	for id, rs := range final {
		records[id] = logRecords(rs)
	}
	return h.History(described, records).Check()
}

func describeShard(sh types.Shard) logcheck.Shard {
	d := logcheck.Shard{
		ID: aws.ToString(sh.ShardId), From: hashKey(sh.HashKeyRange.StartingHashKey), To: hashKey(sh.HashKeyRange.EndingHashKey),
		Starting: aws.ToString(sh.SequenceNumberRange.StartingSequenceNumber),
		Ending:   aws.ToString(sh.SequenceNumberRange.EndingSequenceNumber),
	}
	for _, p := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
		if p != nil {
			d.Parents = append(d.Parents, *p)
		}
	}
	return d
}

func logRecords(records []types.Record) []logcheck.Record {
	var all []logcheck.Record
	for _, r := range records {
		all = append(all, logcheck.Record{Value: string(r.Data), Seq: aws.ToString(r.SequenceNumber), Arrival: *r.ApproximateArrivalTimestamp})
	}
	return all
}

func hashOf(partitionKey string) logcheck.Hash { return md5.Sum([]byte(partitionKey)) }

func hashKey(s *string) logcheck.Hash {
	var h logcheck.Hash
	decimal(s).FillBytes(h[:])
	return h
}

func decimal(s *string) *big.Int {
	n, ok := new(big.Int).SetString(aws.ToString(s), 10)
	if !ok {
		return new(big.Int)
	}
	return n
}

func sortByHash(shards []types.Shard) {
	slices.SortFunc(shards, func(a, b types.Shard) int {
		return decimal(a.HashKeyRange.StartingHashKey).Cmp(decimal(b.HashKeyRange.StartingHashKey))
	})
}
