package runs

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// FuzzFooter reads footers of any kind; what is taken is the same when it has
// been written again.
func FuzzFooter(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 5))
	var extents []Extent
	at := int64(headerSize)
	for i := range 5 {
		e := Extent{
			Key: Key{Stream: uint64(i/2 + 1), Shard: uint32(i)}, First: uint64(i*10 + 1), Last: uint64(i*10 + 9),
			MinArrival: int64(i), MaxArrival: int64(i + 5), Records: 9, Bytes: 500, offset: at, length: 600 + r.Int64N(1e6),
		}
		e.marks = []mark{{e.First, at, e.MinArrival}, {e.First + 3, at + 500, e.MinArrival + 2}}
		at += e.length
		extents = append(extents, e)
	}
	f.Add(appendFooter(nil, extents), at)
	f.Add([]byte{0}, int64(headerSize))
	f.Fuzz(func(t *testing.T, b []byte, limit int64) {
		extents, ok := parseFooter(b, limit)
		if !ok {
			return
		}
		again, ok := parseFooter(appendFooter(nil, extents), limit)
		if !ok || !reflect.DeepEqual(again, extents) {
			t.Fatalf("read as %+v, and once written again as %+v, %v", extents, again, ok)
		}
	})
}
