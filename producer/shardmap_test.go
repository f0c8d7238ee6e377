package producer_test

import (
	"testing"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

// TestLookup looks for the ends of each range, in maps of many sizes.
func TestLookup(t *testing.T) {
	for n := 1; n <= 70; n++ {
		ranges := hashkey.Uniform(n)
		for i, r := range ranges {
			for _, k := range []hashkey.Key{r.Start, r.End} {
				if got := producer.Lookup(ranges, k); got != i {
					t.Errorf("of %d ranges, %v is in %d, want %d", n, k, got, i)
				}
			}
		}
	}
	// Ends that differ in their lower half alone.
	low := []hashkey.Range{{End: hashkey.Key{Lo: 4}}, {Start: hashkey.Key{Lo: 5}, End: hashkey.Key{Lo: 9}}, {Start: hashkey.Key{Lo: 10}, End: hashkey.Max}}
	for k, want := range []int{0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2} {
		if got := producer.Lookup(low, hashkey.Key{Lo: uint64(k)}); got != want {
			t.Errorf("%d is in %d, want %d", k, got, want)
		}
	}
}
