package aggregation_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/streamkit/streamkit/internal/aggregation"
)

func TestSealPair(t *testing.T) {
	build := func(n, size int) *aggregation.Builder {
		var b aggregation.Builder
		for i := range n {
			b.Add(aggregation.Record{PartitionKey: fmt.Sprint("key-", i%3), Data: bytes.Repeat([]byte{byte(i)}, size)})
		}
		return &b
	}
	for _, tt := range []struct{ na, nb, size int }{{1, 1, 0}, {2, 5, 10}, {100, 3, 100}, {50, 50, 1000}, {0, 2, 64}} {
		a, b := build(tt.na, tt.size), build(tt.nb, tt.size)
		x, y := aggregation.SealPair(a, b, []byte("before"), nil)
		if want := a.Seal([]byte("before")); !bytes.Equal(x, want) {
			t.Errorf("%+v: the first differs from Seal", tt)
		}
		if want := b.Seal(nil); !bytes.Equal(y, want) {
			t.Errorf("%+v: the second differs from Seal", tt)
		}
	}
}
