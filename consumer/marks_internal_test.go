package consumer

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// stampedStream returns Kinesis records of one shard: stamped aggregates of
// three lanes, in their lanes' orders, and copies of earlier ones among them.
func stampedStream(rng *rand.Rand, n int) []types.Record {
	var (
		out  []types.Record
		next [3]uint64
	)
	for i := range n {
		if len(out) > 0 && rng.IntN(3) == 0 {
			r := kinesisRecord(1000+i, "a", out[rng.IntN(len(out))].Data)
			out = append(out, r)
			continue
		}
		lane := rng.IntN(len(next))
		var b aggregation.Builder
		b.Stamp(aggregation.Stamp{Producer: [8]byte{1}, Lane: uint64(lane), Sequence: next[lane], Keys: hashkey.All})
		for range 1 + rng.IntN(5) {
			b.Add(aggregation.Record{PartitionKey: fmt.Sprint("key-", rng.IntN(9)), Data: fmt.Appendf(nil, "%d-%d", lane, next[lane])})
			next[lane]++
		}
		out = append(out, kinesisRecord(1000+i, "a", b.Seal(nil)))
	}
	return out
}

func markedDecoder(start Checkpoint, m *aggregation.Marks) *decoder {
	d := newDecoder(shardOf(hashkey.All), start, RangeAuto, new(decodeStats))
	d.marks = m
	return d
}

// TestMarksFitTheirCheckpoint stops reading at every place of a stream and goes
// on with the marks stored for it: what comes is what would have come.
func TestMarksFitTheirCheckpoint(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		in := stampedStream(rng, 40)
		var want []string
		var places []Checkpoint
		whole := markedDecoder(Checkpoint{SequenceNumber: TrimHorizon}, aggregation.NewMarks(hashkey.All))
		for _, r := range whole.batch(in, "").records {
			want = append(want, fmt.Sprint(string(r.Data), " ", r.Checkpoint()))
			places = append(places, r.Checkpoint())
		}
		seen := map[string]bool{}
		for _, w := range want {
			data, _, _ := bytes.Cut([]byte(w), []byte(" "))
			if seen[string(data)] {
				t.Fatalf("seed %d: %s twice", seed, data)
			}
			seen[string(data)] = true
		}
		for i, at := range places {
			// The reader is at the end when the checkpoint is stored, in batches
			// that end anywhere, and the trail has followed some way.
			tr := newTrail(aggregation.NewMarks(hashkey.All))
			d := markedDecoder(Checkpoint{SequenceNumber: TrimHorizon}, aggregation.NewMarks(hashkey.All))
			for rest := in; len(rest) > 0; {
				n := min(1+rng.IntN(10), len(rest))
				d.batch(rest[:n], "")
				tr.add(d.met, places[rng.IntN(i+1)])
				rest = rest[n:]
			}
			stored, _ := tr.encode(at)
			m, back, err := parseMarks(stored)
			if err != nil || back != at {
				t.Fatalf("seed %d: marks of %v read as those of %v, %v", seed, at, back, err)
			}
			from := slices.IndexFunc(in, func(r types.Record) bool { return *r.SequenceNumber == at.SequenceNumber })
			var got []string
			for _, r := range markedDecoder(at, m).batch(in[from:], "").records {
				got = append(got, fmt.Sprint(string(r.Data), " ", r.Checkpoint()))
			}
			if !slices.Equal(got, want[i+1:]) {
				t.Fatalf("seed %d: from %v\ngot  %v\nwant %v", seed, at, got, want[i+1:])
			}
		}
	}
}

// TestMarksOfAnotherPlace: marks that know more than the checkpoint are not used.
func TestMarksOfAnotherPlace(t *testing.T) {
	m := aggregation.NewMarks(hashkey.All)
	m.Admit(&aggregation.Stamp{Sequence: 7, Keys: hashkey.All}, hashkey.Key{}, time.Unix(1, 0))
	half := hashkey.Uniform(2)[0]
	at := Checkpoint{"100", 2}
	stored, _ := newTrail(m).encode(at)
	ended, _ := newTrail(m).encode(Checkpoint{SequenceNumber: ShardEnd})
	c := &Consumer{log: slog.New(slog.DiscardHandler)}
	for _, tt := range []struct {
		name   string
		stored []byte
		start  Checkpoint
		keys   hashkey.Range
		want   int
	}{
		{"of the place", stored, at, hashkey.All, 1},
		{"of an earlier place", stored, Checkpoint{"101", 0}, hashkey.All, 1},
		{"of a later place", stored, Checkpoint{"100", 1}, hashkey.All, 0},
		{"set back to the beginning", stored, Checkpoint{SequenceNumber: TrimHorizon}, hashkey.All, 0},
		{"of the end", ended, at, hashkey.All, 0},
		{"of another range", stored, at, half, 0},
		{"damaged", append(slices.Clone(stored[:len(stored)-1]), stored[len(stored)-1]^1), at, hashkey.All, 0},
		{"none", nil, at, hashkey.All, 0},
	} {
		got, err := c.marksAt(context.Background(), Lease{Key: "s", Marks: tt.stored}, tt.start, tt.keys)
		if err != nil || got.Len() != tt.want || got.Keys() != tt.keys {
			t.Errorf("%s: %d marks, %v; want %d", tt.name, got.Len(), err, tt.want)
		}
	}
}

// TestMarksAreBounded: those of too many producers make room, and are counted.
func TestMarksAreBounded(t *testing.T) {
	tr := newTrail(aggregation.NewMarks(hashkey.All))
	for i := range 20000 {
		s := aggregation.Stamp{Producer: [8]byte{byte(i), byte(i >> 8)}, Sequence: uint64(i), Keys: hashkey.All}
		tr.add([]met{{"5", s, hashkey.Key{}, time.Unix(int64(i), 0)}}, Checkpoint{})
	}
	stored, evicted := tr.encode(Checkpoint{"6", 0})
	if len(stored) > aggregation.MaxMarksSize+64 || evicted < 15000 {
		t.Errorf("%d bytes, %d made room", len(stored), evicted)
	}
	if _, more := tr.encode(Checkpoint{"7", 0}); more != 0 {
		t.Errorf("%d counted twice", more)
	}
}

func FuzzParseMarks(f *testing.F) {
	m := aggregation.NewMarks(hashkey.All)
	m.Admit(&aggregation.Stamp{Sequence: 7, Keys: hashkey.All}, hashkey.Key{}, time.Unix(1, 0))
	for _, at := range []Checkpoint{{"100", 2}, {ShardEnd, 0}} {
		stored, _ := newTrail(m).encode(at)
		f.Add(stored)
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, stored []byte) {
		m, at, err := parseMarks(stored)
		if err != nil {
			return
		}
		again, _ := newTrail(m).encode(at)
		if _, back, err := parseMarks(again); err != nil || back != at {
			t.Errorf("%x read as marks of %v, written again read as %v, %v", stored, at, back, err)
		}
	})
}
