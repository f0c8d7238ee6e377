package deaggregate_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/streamkit/streamkit/consumer/deaggregate"
	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

func aggregate(n int) []byte {
	var b aggregation.Builder
	for i := range n {
		r := aggregation.Record{PartitionKey: fmt.Sprintf("key-%d", i%7), Data: fmt.Appendf(nil, "data-%d", i)}
		if i%3 == 0 {
			r.ExplicitHashKey = fmt.Sprint(i)
		}
		b.Add(r)
	}
	return b.Seal(nil)
}

func TestAppend(t *testing.T) {
	blob := aggregate(20)
	got := deaggregate.Append(nil, "a", blob)
	if len(got) != 20 || !deaggregate.IsAggregated(blob) {
		t.Fatalf("%d user records, want 20", len(got))
	}
	for i, r := range got {
		hash := ""
		if i%3 == 0 {
			hash = fmt.Sprint(i)
		}
		if r.PartitionKey != fmt.Sprintf("key-%d", i%7) || string(r.Data) != fmt.Sprintf("data-%d", i) || r.ExplicitHashKey != hash ||
			r.SubSequenceNumber != int64(i) || !r.Aggregated {
			t.Errorf("user record %d is %+v", i, r)
		}
	}
}

func TestOtherRecordsPassAsTheyAre(t *testing.T) {
	broken := aggregate(3)
	broken[10] ^= 1
	for name, data := range map[string][]byte{"plain": []byte("hello"), "empty": {}, "broken": broken} {
		got := slices.Collect(deaggregate.Records("key", data))
		if len(got) != 1 || got[0].PartitionKey != "key" || string(got[0].Data) != string(data) || got[0].Aggregated {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestInRange(t *testing.T) {
	half := hashkey.Uniform(2)
	r := deaggregate.Record{PartitionKey: "k", ExplicitHashKey: half[1].Start.String()}
	for i, want := range []bool{false, true} {
		if got, err := r.InRange(half[i].Start.String(), half[i].End.String()); got != want || err != nil {
			t.Errorf("in half %d: %v, %v", i, got, err)
		}
	}
	if _, err := r.InRange("0", "x"); err == nil {
		t.Error("no error for a range that is none")
	}
	if _, err := (deaggregate.Record{ExplicitHashKey: "-1"}).InRange("0", "1"); err == nil {
		t.Error("no error for an explicit hash key that is none")
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("a", aggregate(3))
	f.Add("a", []byte("\xf3\x89\x9a\xc2"))
	f.Add("key", []byte("plain"))
	f.Fuzz(func(t *testing.T, key string, data []byte) {
		got := deaggregate.Append(nil, key, data)
		for i, r := range got {
			if r.Aggregated && r.SubSequenceNumber != int64(i) {
				t.Errorf("user record %d has sub-sequence number %d", i, r.SubSequenceNumber)
			}
			if !r.Aggregated && (len(got) != 1 || r.PartitionKey != key || string(r.Data) != string(data)) {
				t.Errorf("a record that is not aggregated came out as %+v", got)
			}
		}
	})
}

func ExampleRecords() {
	var record struct {
		PartitionKey string
		Data         []byte
	}
	record.PartitionKey, record.Data = "a", aggregate(2) // as Lambda gets it
	for user := range deaggregate.Records(record.PartitionKey, record.Data) {
		fmt.Println(user.PartitionKey, string(user.Data))
	}
	// Output:
	// key-0 data-0
	// key-1 data-1
}
