//go:build !race

// The race detector empties pools at random, so allocations are counted without.

package deaggregate_test

import (
	"testing"

	"github.com/streamkit/streamkit/consumer/deaggregate"
)

func TestAppendAllocates(t *testing.T) {
	blob := aggregate(100)
	dst := make([]deaggregate.Record, 0, 100)
	if n := testing.AllocsPerRun(100, func() { dst = deaggregate.Append(dst[:0], "a", blob) }); n > 1 {
		t.Errorf("%v allocations an aggregate, want at most 1", n)
	}
}

func TestAppendAllAllocates(t *testing.T) {
	in := make([]deaggregate.KinesisRecord, 40)
	for i := range in {
		in[i] = deaggregate.KinesisRecord{PartitionKey: "a", Data: aggregate(100)}
	}
	dst, ends := make([]deaggregate.Record, 0, 4000), make([]int, 0, 40)
	if n := testing.AllocsPerRun(100, func() { dst, ends = deaggregate.AppendAll(dst[:0], ends[:0], in) }); n > 40 {
		t.Errorf("%v allocations for 40 aggregates, want at most 1 for each", n)
	}
}
