package aggregation_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/streamkit/streamkit/internal/aggregation"
)

// sized returns an aggregated record of about n bytes.
func sized(n int) []byte {
	var b aggregation.Builder
	b.Add(aggregation.Record{PartitionKey: "k", Data: bytes.Repeat([]byte{7}, max(n-40, 0))})
	return b.Seal(nil)
}

// TestFramed compares with IsAggregated, for blobs of all kinds and sizes, whole and
// damaged, in groups of any length.
func TestFramed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		blobs := make([][]byte, rng.IntN(12))
		for i := range blobs {
			b := sized(rng.IntN(4000))
			switch rng.IntN(6) {
			case 0:
				b = b[:rng.IntN(len(b))]
			case 1:
				b[rng.IntN(len(b))] ^= 1
			case 2:
				b = nil
			}
			blobs[i] = b
		}
		ok := make([]bool, len(blobs))
		for i := range ok {
			ok[i] = rng.IntN(2) == 0 // what was there does not count
		}
		aggregation.Framed(ok, blobs)
		for i, b := range blobs {
			if want := aggregation.IsAggregated(b); ok[i] != want {
				t.Fatalf("blob %d of %d, %d bytes: %v, want %v", i, len(blobs), len(b), ok[i], want)
			}
			if !ok[i] {
				continue
			}
			var n, m int
			_, _ = aggregation.Walk(b, func(int, aggregation.Record) bool { n++; return true })
			if ok, err := aggregation.WalkFramed(b, func(int, aggregation.Record) bool { m++; return true }); !ok || err != nil || n != m {
				t.Fatalf("walked over %d records, framed over %d: %v, %v", n, m, ok, err)
			}
		}
	}
}

func BenchmarkFramed(b *testing.B) {
	for _, size := range []int{500, 1000, 2000, 50000} {
		blobs := make([][]byte, 32)
		for i := range blobs {
			blobs[i] = sized(size)
		}
		ok := make([]bool, len(blobs))
		b.Run(fmt.Sprintf("together/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size * len(blobs)))
			for b.Loop() {
				aggregation.Framed(ok, blobs)
			}
		})
		b.Run(fmt.Sprintf("alone/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size * len(blobs)))
			for b.Loop() {
				for i := range blobs {
					ok[i] = aggregation.IsAggregated(blobs[i])
				}
			}
		})
	}
}
