//go:build !race

// The race detector empties pools at random, so allocations are counted without.

package consumer

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
)

func TestDecodeAllocatesByTheBatch(t *testing.T) {
	var stats decodeStats
	d := newDecoder(shardOf(hashkey.Uniform(2)[0]), Checkpoint{}, RangeAuto, &stats)
	in := make([]types.Record, 1000)
	data := blob(hashkey.Key{}, hashkey.Key{}, hashkey.Key{})
	for i := range in {
		in[i] = kinesisRecord(1000+i, "x", []byte("plain"))
		if i%2 == 0 {
			in[i].Data = data
		}
	}
	d.batch(in, "")
	n := testing.AllocsPerRun(20, func() {
		d.last = Checkpoint{}
		if b := d.batch(in, ""); len(b.records) != 2000 {
			t.Fatalf("%d user records", len(b.records))
		}
	})
	if n > 5 {
		t.Errorf("%v allocations for a batch of 2000 user records, want at most 5", n)
	}
}
