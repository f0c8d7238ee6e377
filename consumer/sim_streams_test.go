package consumer_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// TestSimStreamNamesChildren: what hides the children of a shard is a fault, and ends
// with the others. A worker that waits to be told of them would wait for ever.
func TestSimStreamNamesChildren(t *testing.T) {
	for _, tt := range []struct {
		name string
		calm bool
		want int
	}{
		{"among faults", false, 0},
		{"afterwards", true, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSimStream(newSimHistory(), 1)
				s.noChildren = 1000
				s.split(rand.New(rand.NewPCG(1, 0)))
				api := &simAPI{simCaller: &simCaller{gate: new(simGate), faults: new(simFaults), calm: func() bool { return tt.calm }}, streams: []*simStream{s}}
				it, err := api.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{ShardId: &s.shards[0].id, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
				if err != nil {
					t.Fatal(err)
				}
				out, err := api.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator, Limit: aws.Int32(10)})
				if err != nil {
					t.Fatal(err)
				}
				if out.NextShardIterator != nil || len(out.ChildShards) != tt.want {
					t.Errorf("at the end of a shard %d children are named, want %d", len(out.ChildShards), tt.want)
				}
			})
		})
	}
}
