package aggregation_test

import (
	"runtime"
	"testing"

	"github.com/streamkit/streamkit/internal/aggregation"
)

// A builder that fills up to a limit takes no more memory than that.
func TestTryAddGrowsToTheLimit(t *testing.T) {
	const limit = 100_000
	r := aggregation.Record{PartitionKey: "a", Data: make([]byte, 200)}
	fill := func() (b aggregation.Builder) {
		for b.TryAdd(&r, limit) {
		}
		return b
	}
	if b := fill(); b.Size() < limit-300 {
		t.Fatalf("it holds %d bytes, want nearly %d", b.Size(), limit)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const n = 20
	for range n {
		_ = fill()
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / n; got > 5*limit/2 {
		t.Errorf("%d bytes are allocated to fill %d", got, limit)
	}
}
