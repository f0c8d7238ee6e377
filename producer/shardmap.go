package producer

import (
	"context"
	"math/bits"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// shardMap assigns hash keys to lanes. It is immutable, and its lanes cover
// the hash space exactly once, in order.
type shardMap struct {
	lanes []*lane
	ends  []hashkey.Key // of the lanes' ranges
}

func newShardMap(lanes []*lane) *shardMap {
	m := &shardMap{lanes: lanes, ends: make([]hashkey.Key, len(lanes))}
	for i, l := range lanes {
		m.ends[i] = l.keys.End
	}
	return m
}

// lookup returns the lane of a hash key. The halves that it takes are counted and not
// jumped to: hash keys are random, and a processor that guesses where to go on is
// wrong half of the time.
func (m *shardMap) lookup(k hashkey.Key) *lane {
	ends, low := m.ends, 0
	for n := len(ends); n > 1; {
		half := n / 2
		end := &ends[low+half-1]
		_, less := bits.Sub64(end.Lo, k.Lo, 0)
		_, less = bits.Sub64(end.Hi, k.Hi, less)
		low += half & -int(less) // on, if the end is less than k
		n -= half
	}
	return m.lanes[low]
}

// shard is an open shard of the stream.
type shard struct {
	id   string
	keys hashkey.Range
	auto bool // no shard: a part of the records of a stream that chooses shards itself
}

// listShards asks for the open shards and returns them in the order of their
// ranges. The error is errMap if they are no complete map, as can be while a
// reshard is under way.
func (p *Producer) listShards(ctx context.Context) ([]shard, error) {
	var shards []shard
	in := &kinesis.ListShardsInput{
		StreamName:  p.streamName,
		StreamARN:   p.streamARN,
		ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest},
	}
	for {
		out, err := p.listPage(ctx, in)
		if err != nil {
			return nil, err
		}
		for i := range out.Shards {
			s := &out.Shards[i]
			if r := s.SequenceNumberRange; r != nil && r.EndingSequenceNumber != nil {
				continue // closed; a server that knows no filter lists it
			}
			if s.HashKeyRange == nil {
				return nil, errMap
			}
			start, err := hashkey.Parse(aws.ToString(s.HashKeyRange.StartingHashKey))
			if err != nil {
				return nil, err
			}
			end, err := hashkey.Parse(aws.ToString(s.HashKeyRange.EndingHashKey))
			if err != nil {
				return nil, err
			}
			shards = append(shards, shard{id: aws.ToString(s.ShardId), keys: hashkey.Range{Start: start, End: end}})
		}
		if aws.ToString(out.NextToken) == "" {
			break
		}
		// The token stands for the stream and the filter, and the API refuses
		// them beside it.
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
	slices.SortFunc(shards, func(a, b shard) int { return a.keys.Start.Compare(b.keys.Start) })
	if !complete(shards) {
		return nil, errMap
	}
	return shards, nil
}

func (p *Producer) listPage(ctx context.Context, in *kinesis.ListShardsInput) (*kinesis.ListShardsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.RequestTimeout)
	defer cancel()
	return p.api.ListShards(ctx, in, noSDKRetry)
}

// complete reports whether sorted shards cover the hash space exactly once.
func complete(shards []shard) bool {
	if len(shards) == 0 || shards[0].keys.Start != (hashkey.Key{}) {
		return false
	}
	for i := 1; i < len(shards); i++ {
		if !shards[i-1].keys.Precedes(shards[i].keys) {
			return false
		}
	}
	return shards[len(shards)-1].keys.End == hashkey.Max
}
