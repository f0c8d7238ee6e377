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
