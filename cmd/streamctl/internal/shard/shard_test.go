package shard_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/shard"
)

var _ shard.Lister = (*kinesis.Client)(nil)

const (
	half = "170141183460469231731687303715884105728" // 2^127
	last = "340282366920938463463374607431768211455" // 2^128-1
)

func withRange(lo, hi string) types.Shard {
	return types.Shard{
		ShardId:      aws.String("shardId-000000000000"),
		HashKeyRange: &types.HashKeyRange{StartingHashKey: aws.String(lo), EndingHashKey: aws.String(hi)},
	}
}

func TestMiddle(t *testing.T) {
	for _, tt := range []struct {
		name, lo, hi, want string
		err                error
	}{
		{name: "all", lo: "0", hi: last, want: half},
		{name: "upper half", lo: half, hi: last, want: "255211775190703847597530955573826158592"},
		{name: "two keys", lo: "6", hi: "7", want: "7"},
		{name: "three keys", lo: "6", hi: "8", want: "7"},
		{name: "one key", lo: "7", hi: "7", err: shard.ErrIndivisible},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := shard.Middle(withRange(tt.lo, tt.hi))
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Middle = %q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
	if _, err := shard.Middle(withRange("x", "y")); err == nil || errors.Is(err, shard.ErrIndivisible) {
		t.Errorf("Middle of nonsense = %v, want another error", err)
	}
}

func TestPercent(t *testing.T) {
	from, to, err := shard.Percent(withRange(half, last))
	if err != nil || from != 50 || to != 100 {
		t.Errorf("Percent = %v, %v, %v; want 50, 100", from, to, err)
	}
}

func TestAdjacent(t *testing.T) {
	a, b := withRange("0", "9"), withRange("10", "19")
	if !shard.Adjacent(a, b) || shard.Adjacent(b, a) || shard.Adjacent(a, withRange("11", "12")) {
		t.Error("Adjacent is wrong")
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"3": "shardId-000000000003", "000000000003": "shardId-000000000003", "": "",
		"shardId-000000000003": "shardId-000000000003", "1234567890123": "1234567890123", "x": "x",
	} {
		if got := shard.ID(in); got != want {
			t.Errorf("ID(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"shardId-000000000000": "0", "shardId-000000000120": "120", "other": "other"} {
		if got := shard.Short(in); got != want {
			t.Errorf("Short(%q) = %q, want %q", in, got, want)
		}
	}
}

type pages [][]string

func (p pages) ListShards(_ context.Context, in *kinesis.ListShardsInput, _ ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	n := 0
	if in.NextToken != nil {
		if in.StreamName != nil {
			return nil, errors.New("both a token and a name")
		}
		n = int((*in.NextToken)[0] - '0')
	}
	out := &kinesis.ListShardsOutput{}
	for _, id := range p[n] {
		out.Shards = append(out.Shards, types.Shard{ShardId: aws.String(id)})
	}
	if n+1 < len(p) {
		out.NextToken = aws.String(string(rune('0' + n + 1)))
	}
	return out, nil
}

func TestListReadsAllPages(t *testing.T) {
	got, err := shard.List(t.Context(), pages{{"a", "b"}, {}, {"c"}}, "s")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range got {
		ids = append(ids, *s.ShardId)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(ids, want) {
		t.Errorf("List = %v, want %v", ids, want)
	}
}
