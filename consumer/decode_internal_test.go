package consumer

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

var testTime = time.UnixMilli(1_700_000_000_000)

func kinesisRecord(seq int, key string, data []byte) types.Record {
	s := fmt.Sprint(seq)
	return types.Record{SequenceNumber: &s, PartitionKey: &key, Data: data, ApproximateArrivalTimestamp: &testTime}
}

// blob aggregates user records under the given explicit hash keys.
func blob(hashes ...hashkey.Key) []byte {
	var b aggregation.Builder
	for i, h := range hashes {
		b.Add(aggregation.Record{PartitionKey: fmt.Sprint("k", i), ExplicitHashKey: h.String(), Data: fmt.Appendf(nil, "u%d", i)})
	}
	return b.Seal(nil)
}

func shardOf(r hashkey.Range) *Shard {
	return &Shard{ID: "s", StartingHashKey: r.Start.String(), EndingHashKey: r.End.String()}
}

func TestRangePolicies(t *testing.T) {
	half := hashkey.Uniform(2)
	in, out := half[0].End, half[1].Start
	for _, tt := range []struct {
		name   string
		policy RangePolicy
		outer  string
		want   string
		sub    int64
	}{
		{"auto, key a", RangeAuto, "a", "u0 u2 ", 3},
		{"auto, other key", RangeAuto, "b", "u0 u1! u2 u3! ", 3},
		{"keep", RangeKeepAll, "a", "u0 u1! u2 u3! ", 3},
		{"drop record", RangeDropRecord, "b", "u0 u2 ", 3},
		{"drop aggregate", RangeDropAggregate, "b", "", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stats decodeStats
			d := newDecoder(shardOf(half[0]), Checkpoint{SequenceNumber: TrimHorizon}, tt.policy, &stats)
			b := d.batch([]types.Record{kinesisRecord(5, tt.outer, blob(in, out, in, out))}, "")
			got := ""
			for _, r := range b.records {
				got += string(r.Data)
				if r.OutOfRange {
					got += "!"
				}
				got += " "
			}
			if got != tt.want {
				t.Errorf("delivered %q, want %q", got, tt.want)
			}
			// The checkpoint passes what was dropped, or it would be read again.
			if want := (Checkpoint{"5", tt.sub}); b.end != want {
				t.Errorf("end %v, want %v", b.end, want)
			}
			dropped, kept := stats.outOfRangeDropped.Load(), stats.outOfRangeKept.Load()
			if n := int64(4 - len(b.records)); tt.policy != RangeDropAggregate && (dropped != n || kept != 2-n) {
				t.Errorf("counted %d dropped and %d kept", dropped, kept)
			}
			if tt.policy == RangeDropAggregate && stats.aggregatesDropped.Load() != 1 {
				t.Error("the dropped aggregate is not counted")
			}
		})
	}
}

func TestResumeInsideAnAggregate(t *testing.T) {
	var stats decodeStats
	d := newDecoder(&Shard{ID: "s"}, Checkpoint{"5", 1}, RangeAuto, &stats)
	b := d.batch([]types.Record{
		kinesisRecord(4, "x", []byte("old")),
		kinesisRecord(5, "a", blob(hashkey.Key{}, hashkey.Key{}, hashkey.Key{}, hashkey.Key{})),
		kinesisRecord(6, "x", []byte("plain")),
		kinesisRecord(6, "x", []byte("plain")),
	}, "")
	var got []string
	for _, r := range b.records {
		got = append(got, fmt.Sprint(string(r.Data), " ", r.Checkpoint()))
	}
	if want := "[u2 5/2 u3 5/3 plain 6]"; fmt.Sprint(got) != want {
		t.Errorf("delivered %v, want %v", got, want)
	}
	// A whole record that was acknowledged is not delivered again.
	d = newDecoder(&Shard{ID: "s"}, Checkpoint{"6", 0}, RangeAuto, &stats)
	if b := d.batch([]types.Record{kinesisRecord(6, "x", []byte("plain"))}, ""); len(b.records) != 0 || b.end != (Checkpoint{"6", 0}) {
		t.Errorf("delivered %d, end %v", len(b.records), b.end)
	}
}

func TestCheckpointOrder(t *testing.T) {
	order := []Checkpoint{{}, {AtTimestamp, 0}, {TrimHorizon, 0}, {Latest, 0}, {"9", 0}, {"9", 3}, {"10", 0}, {"10", 1}, {ShardEnd, 0}}
	for i, a := range order {
		for j, b := range order {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%v.Compare(%v) = %d, want %d", a, b, got, want)
			}
		}
	}
	for _, bad := range []Checkpoint{{}, {"x", 0}, {"1x", 0}, {Latest, 1}, {"1", -1}, {"-1", 0}} {
		if bad.Validate() == nil {
			t.Errorf("%q/%d is valid", bad.SequenceNumber, bad.SubSequenceNumber)
		}
	}
	for _, good := range order[1:] {
		if err := good.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// TestContinuationMovesTheEnd: what a subscription says of its place counts as
// read, unless it lies before a record that is.
func TestContinuationMovesTheEnd(t *testing.T) {
	var stats decodeStats
	d := newDecoder(&Shard{ID: "s"}, Checkpoint{"5", 1}, RangeAuto, &stats)
	for _, tt := range []struct {
		name string
		in   []types.Record
		next string
		want Checkpoint
		n    int
	}{
		{"empty, ahead", nil, "7", Checkpoint{"7", 0}, 0},
		{"empty, the same", nil, "7", Checkpoint{"7", 0}, 0},
		{"record, that of the record", []types.Record{kinesisRecord(9, "a", blob(hashkey.Key{}, hashkey.Key{}))}, "9", Checkpoint{"9", 1}, 2},
		{"record, behind it", []types.Record{kinesisRecord(10, "x", []byte("plain"))}, "12", Checkpoint{"12", 0}, 1},
		{"none", nil, "", Checkpoint{"12", 0}, 0},
		{"record that was read", []types.Record{kinesisRecord(10, "x", []byte("plain"))}, "", Checkpoint{"12", 0}, 0},
	} {
		if b := d.batch(tt.in, tt.next); b.end != tt.want || len(b.records) != tt.n {
			t.Errorf("%s: %d records, end %v; want %d, %v", tt.name, len(b.records), b.end, tt.n, tt.want)
		}
	}
}
