package demo_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/demo"
	"github.com/streamkit/streamkit/cmd/streamctl/internal/leases"
)

// The hash space in quarters.
var quarters = []string{
	"0", "85070591730234615865843651857942052864", "170141183460469231731687303715884105728",
	"255211775190703847597530955573826158592", "340282366920938463463374607431768211456",
}

var before = []string{
	"", "85070591730234615865843651857942052863", "170141183460469231731687303715884105727",
	"255211775190703847597530955573826158591", "340282366920938463463374607431768211455",
}

func quarterShard(number string, from, to int, closed bool) types.Shard {
	s := types.Shard{
		ShardId:             aws.String("shardId-00000000000" + number),
		HashKeyRange:        &types.HashKeyRange{StartingHashKey: aws.String(quarters[from]), EndingHashKey: aws.String(before[to])},
		SequenceNumberRange: &types.SequenceNumberRange{},
	}
	if closed {
		s.SequenceNumberRange.EndingSequenceNumber = aws.String("1")
	}
	return s
}

func TestTableOfShards(t *testing.T) {
	shards := []types.Shard{
		quarterShard("0", 0, 2, true), // its lease is gone, its child has one
		quarterShard("1", 2, 3, true), // still being read
		quarterShard("2", 3, 4, true), // its lease says that it is finished
		quarterShard("3", 2, 4, false),
		quarterShard("4", 0, 2, false),
	}
	table := []leases.Lease{
		{Key: "shardId-000000000001", Owner: "worker-2", Checkpoint: "17"},
		{Key: "shardId-000000000002", Owner: "worker-2", Checkpoint: leases.ShardEnd},
		{Key: "shardId-000000000004", Owner: "worker-1", Checkpoint: "18", Parents: []string{"shardId-000000000000"}},
	}
	want := []string{
		"  shard  hash keys                                        state     lease",
		"  4      ████████████████················   0.0 –  50.0 % open      worker-1",
		"  1      ················████████········  50.0 –  75.0 % closed    worker-2",
		"  3      ················████████████████  50.0 – 100.0 % open      -",
		"  and 2 shards closed and read to the end",
	}
	if got := demo.Table(shards, table, false); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := demo.Table(shards, table, true); !slices.Equal(got, []string{"  streamd is down"}) {
		t.Errorf("while the server is down: %q", got)
	}
}

func TestNumber(t *testing.T) {
	for in, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 100000: "100,000"} {
		if got := demo.Number(in); got != want {
			t.Errorf("number(%d) = %s, want %s", in, got, want)
		}
	}
}
