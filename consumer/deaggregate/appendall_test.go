package deaggregate_test

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/streamkit/streamkit/consumer/deaggregate"
)

// TestAppendAll gives what Append gives of each record alone.
func TestAppendAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		in := make([]deaggregate.KinesisRecord, rng.IntN(70))
		for i := range in {
			in[i] = deaggregate.KinesisRecord{PartitionKey: "a", Data: aggregate(1 + rng.IntN(200))}
			switch rng.IntN(5) {
			case 0:
				in[i].Data = []byte("plain")
			case 1:
				in[i].Data[rng.IntN(len(in[i].Data))] ^= 1
			}
		}
		got, ends := deaggregate.AppendAll(nil, nil, in)
		if len(ends) != len(in) {
			t.Fatalf("%d ends of %d records", len(ends), len(in))
		}
		from := 0
		for i, r := range in {
			if want := deaggregate.Append(nil, r.PartitionKey, r.Data); !reflect.DeepEqual(got[from:ends[i]], want) {
				t.Fatalf("record %d of %d: %d user records, want %d", i, len(in), ends[i]-from, len(want))
			}
			from = ends[i]
		}
		if from != len(got) {
			t.Fatalf("%d user records more", len(got)-from)
		}
	}
}
