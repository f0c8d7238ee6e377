// Package shard answers simple questions about the shards of a stream.
package shard

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// Lister is the call that List makes.
type Lister interface {
	ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error)
}

// ErrIndivisible means that a shard has only one hash key.
var ErrIndivisible = errors.New("it has one hash key only")

// List returns all shards of a stream that the service still knows, closed
// ones too, in the order of their ids.
func List(ctx context.Context, api Lister, stream string) ([]types.Shard, error) {
	var shards []types.Shard
	in := &kinesis.ListShardsInput{StreamName: aws.String(stream)}
	for {
		out, err := api.ListShards(ctx, in)
		if err != nil {
			return nil, err
		}
		shards = append(shards, out.Shards...)
		if aws.ToString(out.NextToken) == "" {
			return shards, nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

// Open reports whether a shard still takes records.
func Open(s types.Shard) bool {
	return s.SequenceNumberRange == nil || s.SequenceNumberRange.EndingSequenceNumber == nil
}

// Parents returns the ids of the shards that s continues: none, one after a
// split, two after a merge.
func Parents(s types.Shard) []string {
	var ids []string
	for _, p := range []*string{s.ParentShardId, s.AdjacentParentShardId} {
		if aws.ToString(p) != "" {
			ids = append(ids, *p)
		}
	}
	return ids
}

// ID completes the number of a shard to its id. Anything else is returned as
// it is.
func ID(text string) string {
	if text != "" && len(text) <= 12 && strings.Trim(text, "0123456789") == "" {
		return "shardId-" + strings.Repeat("0", 12-len(text)) + text
	}
	return text
}

// Short is the inverse of ID: the number of a shard, without zeros before it.
func Short(id string) string {
	number, ok := strings.CutPrefix(id, "shardId-")
	if !ok {
		return id
	}
	if number = strings.TrimLeft(number, "0"); number == "" {
		return "0"
	}
	return number
}

// Range returns the first and the last hash key of a shard.
func Range(s types.Shard) (first, last *big.Int, err error) {
	if s.HashKeyRange == nil {
		return nil, nil, fmt.Errorf("shard %s has no hash key range", aws.ToString(s.ShardId))
	}
	lo, ok1 := new(big.Int).SetString(aws.ToString(s.HashKeyRange.StartingHashKey), 10)
	hi, ok2 := new(big.Int).SetString(aws.ToString(s.HashKeyRange.EndingHashKey), 10)
	if !ok1 || !ok2 {
		return nil, nil, fmt.Errorf("shard %s has a hash key range that is not made of numbers", aws.ToString(s.ShardId))
	}
	return lo, hi, nil
}

// Middle returns the hash key at which the upper half of a shard starts. The
// error is [ErrIndivisible] if there are no halves.
func Middle(s types.Shard) (string, error) {
	lo, hi, err := Range(s)
	if err != nil {
		return "", err
	}
	if lo.Cmp(hi) >= 0 {
		return "", ErrIndivisible
	}
	mid := new(big.Int).Add(lo, hi)
	mid.Add(mid, big.NewInt(1))
	return mid.Rsh(mid, 1).String(), nil
}

// Percent returns where in the hash space a shard starts and ends, in percent.
func Percent(s types.Shard) (from, to float64, err error) {
	lo, hi, err := Range(s)
	if err != nil {
		return 0, 0, err
	}
	space := new(big.Int).Lsh(big.NewInt(1), 128)
	percent := func(k *big.Int) float64 {
		f, _ := new(big.Rat).SetFrac(new(big.Int).Mul(k, big.NewInt(100)), space).Float64()
		return f
	}
	return percent(lo), percent(new(big.Int).Add(hi, big.NewInt(1))), nil
}

// Adjacent reports whether b starts right after the end of a.
func Adjacent(a, b types.Shard) bool {
	_, last, err1 := Range(a)
	first, _, err2 := Range(b)
	if err1 != nil || err2 != nil {
		return false
	}
	return new(big.Int).Add(last, big.NewInt(1)).Cmp(first) == 0
}
