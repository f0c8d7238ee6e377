package aggregation_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/streamkit/streamkit/internal/aggregation"
)

func TestSealAll(t *testing.T) {
	for n := range 11 {
		for _, size := range []int{0, 10, 100, 1000} {
			var builders []*aggregation.Builder
			var dst, want [][]byte
			for i := range n {
				b := new(aggregation.Builder)
				for j := range (i*37)%50 + i%2 {
					b.Add(aggregation.Record{PartitionKey: fmt.Sprint("key-", j%3), Data: bytes.Repeat([]byte{byte(j)}, size)})
				}
				before := bytes.Repeat([]byte("b"), i%3)
				builders, dst, want = append(builders, b), append(dst, before), append(want, b.Seal(before))
			}
			aggregation.SealAll(builders, dst)
			for i := range dst {
				if !bytes.Equal(dst[i], want[i]) {
					t.Errorf("blob %d of %d, records of %d bytes: differs from Seal", i, n, size)
				}
			}
		}
	}
}
