package aggregation_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

var (
	epoch  = time.Unix(1_700_000_000, 0)
	low    = hashkey.Key{Hi: 1}       // in lower
	high   = hashkey.Key{Hi: 1 << 63} // in upper
	splits = hashkey.Uniform(4)
)

// admit is one record that Marks are asked about.
type admit struct {
	key  hashkey.Key
	lane uint64
	n    uint64
	keys hashkey.Range // of the stamp
	want aggregation.Verdict
}

func ask(t *testing.T, m *aggregation.Marks, all []admit) {
	t.Helper()
	for i, a := range all {
		if a.keys == (hashkey.Range{}) {
			a.keys = hashkey.All
		}
		s := &stamp{Producer: id1, Lane: a.lane, Sequence: a.n, Keys: a.keys}
		if got := m.Admit(s, a.key, epoch); got != a.want {
			t.Errorf("record %d, number %d of lane %d at %v: %v, want %v", i, a.n, a.lane, a.key, got, a.want)
		}
	}
}

const (
	live      = aggregation.Live
	duplicate = aggregation.Duplicate
	foreign   = aggregation.Foreign
)

func TestMarksOfOneShard(t *testing.T) {
	for _, tt := range []struct {
		name    string
		shard   hashkey.Range
		records []admit
		marks   int
	}{
		{"copies", hashkey.All, []admit{
			{low, 1, 0, hashkey.All, live},
			{high, 1, 1, hashkey.All, live},
			{low, 1, 0, hashkey.All, duplicate},
			{high, 1, 1, hashkey.All, duplicate},
			{low, 1, 2, hashkey.All, live},
			{low, 1, 0, hashkey.All, duplicate},
			{low, 1, 2, hashkey.All, duplicate},
		}, 1},
		{"out of order", hashkey.All, []admit{
			{low, 1, 4, hashkey.All, live},
			{low, 1, 1, hashkey.All, live},
			{low, 1, 9, hashkey.All, live},
			{low, 1, 6, hashkey.All, live},
			{low, 1, 1, hashkey.All, duplicate},
			{low, 1, 4, hashkey.All, duplicate},
			{low, 1, 6, hashkey.All, duplicate},
			{low, 1, 0, hashkey.All, live},
			{low, 1, 8, hashkey.All, live},
			{low, 1, 7, hashkey.All, live},
			{low, 1, 7, hashkey.All, duplicate},
			{low, 1, 8, hashkey.All, duplicate},
			{low, 1, 0, hashkey.All, duplicate},
			{low, 1, 5, hashkey.All, live},
		}, 1},
		{"more holes than are kept", hashkey.All, []admit{
			{low, 1, 0, hashkey.All, live},
			{low, 1, 2, hashkey.All, live},
			{low, 1, 4, hashkey.All, live},
			{low, 1, 6, hashkey.All, live},
			{low, 1, 8, hashkey.All, live},
			{low, 1, 10, hashkey.All, live},
			{low, 1, 12, hashkey.All, live},
			{low, 1, 14, hashkey.All, live},
			{low, 1, 20, hashkey.All, live},
			{low, 1, 22, hashkey.All, live},
			{low, 1, 1, hashkey.All, duplicate},
			{low, 1, 3, hashkey.All, live},
			{low, 1, 17, hashkey.All, live},
			{low, 1, 18, hashkey.All, live},
			{low, 1, 5, hashkey.All, live},
			{low, 1, 21, hashkey.All, live},
		}, 1},
		{"lanes apart", hashkey.All, []admit{
			{low, 1, 5, hashkey.All, live},
			{low, 2, 5, hashkey.All, live},
			{low, 2, 5, hashkey.All, duplicate},
			{low, 1, 6, hashkey.All, live},
		}, 2},
		{"a record of another shard leaves no mark", lower, []admit{
			{high, 1, 9, hashkey.All, foreign},
			{low, 1, 3, hashkey.All, live},
			{high, 1, 10, hashkey.All, foreign},
			{low, 1, 4, hashkey.All, live},
		}, 1},
		{"two lanes that were one, on a shard that was two", hashkey.All, []admit{
			{low, 1, 20, lower, live},
			{low, 1, 22, lower, live},
			{high, 1, 21, upper, live},
			{high, 1, 22, upper, live},
			{low, 1, 22, lower, duplicate},
			{low, 1, 23, lower, live},
			{high, 1, 23, upper, live},
			{high, 1, 23, upper, duplicate},
		}, 2},
		{"a late copy of before the split", hashkey.All, []admit{
			{low, 1, 20, lower, live},
			{low, 1, 24, lower, live},
			{low, 1, 20, hashkey.All, duplicate},
			{high, 1, 21, hashkey.All, live},
			{high, 1, 21, upper, duplicate},
			{low, 1, 24, lower, duplicate},
			{high, 1, 23, upper, live},
			{low, 1, 25, lower, live},
		}, 2},
		{"narrower and narrower", hashkey.All, []admit{
			{low, 1, 5, hashkey.All, live},
			{low, 1, 6, lower, live},
			{low, 1, 7, splits[0], live},
			{splits[1].Start, 1, 7, splits[1], live},
			{high, 1, 6, splits[2], live},
			{hashkey.Max, 1, 6, splits[3], live},
			{splits[1].Start, 1, 7, splits[1], duplicate},
			{hashkey.Max, 1, 6, splits[3], duplicate},
		}, 2},
		{"a gap in the middle is filled", hashkey.All, []admit{
			{low, 1, 5, splits[0], live},
			{hashkey.Max, 1, 5, splits[3], live},
			{splits[1].Start, 1, 5, hashkey.All, live},
			{high, 1, 5, splits[2], duplicate},
		}, 1},
		{"a stamp that does not hold its record", hashkey.All, []admit{
			{high, 1, 5, lower, live},
			{high, 1, 5, lower, live},
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := aggregation.NewMarks(tt.shard)
			ask(t, m, tt.records)
			if m.Len() != tt.marks {
				t.Errorf("%d marks, want %d", m.Len(), tt.marks)
			}
			again(t, m)
			if m.Keys() != tt.shard {
				t.Errorf("Keys = %v", m.Keys())
			}
		})
	}
}

func TestUnstampedRecordsPass(t *testing.T) {
	m := aggregation.NewMarks(lower)
	for range 2 {
		if v := m.Admit(nil, low, epoch); v != live {
			t.Errorf("in the range: %v", v)
		}
		if v := m.Admit(nil, high, epoch); v != foreign {
			t.Errorf("outside: %v", v)
		}
	}
	if m.Len() != 0 {
		t.Errorf("%d marks", m.Len())
	}
}

// TestMarksOfAggregatedRecordsOutOfOrder: what an aggregated record leaves out
// is on another shard or given up, however much that is. What comes late lies
// between two of them, and that place is kept.
func TestMarksOfAggregatedRecordsOutOfOrder(t *testing.T) {
	// The odd numbers are those of the lower half, which was divided from the
	// upper while they waited.
	type blob struct {
		from, to uint64 // every second number of these
		keys     hashkey.Range
		want     aggregation.Verdict
	}
	for _, tt := range []struct {
		name  string
		blobs []blob
	}{
		{"the second before the first", []blob{
			{11, 51, lower, live},
			{1, 9, lower, live},
			{11, 51, lower, duplicate},
			{1, 9, lower, duplicate},
			{53, 55, lower, live},
		}},
		{"the third, the second, the first", []blob{
			{81, 121, lower, live},
			{41, 79, lower, live},
			{1, 39, lower, live},
			{1, 39, lower, duplicate},
			{41, 79, lower, duplicate},
			{81, 121, lower, duplicate},
		}},
		{"the first a good deal later", []blob{
			{101, 199, lower, live},
			{201, 299, lower, live},
			{301, 399, lower, live},
			{401, 499, lower, live},
			{501, 599, lower, live},
			{601, 699, lower, live},
			{1, 99, lower, live},
			{101, 199, lower, duplicate},
		}},
		{"a late copy from before it was divided", []blob{
			{81, 121, lower, live},
			{41, 79, lower, live},
			{41, 121, hashkey.All, duplicate},
			{1, 39, lower, live},
		}},
		{"a mark of more than the record tells of", []blob{
			{81, 121, hashkey.All, live},
			{11, 39, splits[0], live}, // of which 20 is not, but of the other quarter
			{20, 20, splits[1], live},
			{20, 20, splits[1], duplicate},
			{11, 39, splits[0], duplicate},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := aggregation.NewMarks(lower)
			for i, b := range tt.blobs {
				var bl aggregation.Builder
				bl.Stamp(stamp{Producer: id1, Lane: 1, Sequence: b.from, Keys: b.keys})
				for n := b.from; n <= b.to; n += 2 {
					bl.TryAddAt(rec("k", "", ""), n, 1<<20)
				}
				key := low
				if b.keys == splits[1] {
					key = splits[1].Start
				}
				got, ok, err := walkStamped(bl.Seal(nil))
				if !ok || err != nil || len(got) != int(b.to-b.from)/2+1 {
					t.Fatalf("WalkStamped = %d records, %v, %v", len(got), ok, err)
				}
				for _, g := range got {
					if v := m.Admit(g.stamp, key, epoch); v != b.want {
						t.Errorf("aggregated record %d, number %d: %v, want %v", i, g.stamp.Sequence, v, b.want)
					}
				}
				again(t, m)
			}
		})
	}
}

// TestMarksThroughReshards: what children know.
func TestMarksThroughReshards(t *testing.T) {
	parent := aggregation.NewMarks(hashkey.All)
	ask(t, parent, []admit{{low, 1, 0, hashkey.All, live}, {low, 1, 5, hashkey.All, live}})
	left, right := aggregation.NewMarks(lower, parent), aggregation.NewMarks(upper, parent)
	ask(t, left, []admit{
		{low, 1, 5, hashkey.All, duplicate},
		{low, 1, 9, lower, live},
	})
	// The slower half: a merge that took the greater mark would drop it.
	ask(t, right, []admit{{high, 1, 6, upper, live}})
	merged := aggregation.NewMarks(hashkey.All, left, right)
	if merged.Len() != 2 {
		t.Errorf("%d marks after the merge, want 2", merged.Len())
	}
	ask(t, merged, []admit{
		{low, 1, 9, lower, duplicate},
		{high, 1, 6, upper, duplicate},
		{high, 1, 7, upper, live},
		{high, 1, 8, upper, live},
		{high, 1, 9, upper, live},
		{low, 1, 8, lower, live},
		{low, 1, 7, lower, live},
		{low, 1, 6, lower, live},
	})
	if merged.Len() != 1 {
		t.Errorf("%d marks where both halves are equal, want 1", merged.Len())
	}
	ask(t, parent, []admit{{low, 1, 6, hashkey.All, live}})
	ask(t, left, []admit{{low, 1, 10, lower, live}})
	clone := merged.Clone()
	ask(t, clone, []admit{{low, 1, 10, hashkey.All, live}})
	ask(t, merged, []admit{{low, 1, 10, hashkey.All, live}})
}

func TestMarksAge(t *testing.T) {
	m := aggregation.NewMarks(hashkey.All)
	at := func(lane, n uint64, d time.Duration) aggregation.Verdict {
		return m.Admit(&stamp{Producer: id1, Lane: lane, Sequence: n, Keys: hashkey.All}, low, epoch.Add(d))
	}
	at(1, 5, 0)
	at(2, 5, 0)
	// A copy is a stamp, too: lane 2 is heard of for longer.
	at(2, 5, 24*time.Hour)
	at(3, 5, aggregation.MarkLife)
	if v := at(1, 5, aggregation.MarkLife); v != duplicate {
		t.Errorf("before its time: %v", v)
	}
	at(3, 6, 2*aggregation.MarkLife+time.Second)
	if m.Len() != 1 {
		t.Errorf("%d marks left, want 1", m.Len())
	}
	// A record from before, as a replay has them, ages nothing.
	if v := at(4, 1, 0); v != live || m.Len() != 2 {
		t.Errorf("%v, %d marks", v, m.Len())
	}
	if got, err := m.AppendBinary(nil); err != nil || m.Len() != 1 {
		t.Errorf("%d marks stored, in %x, %v", m.Len(), got, err)
	}
}

// TestMarksEvict: however many producers there are, the marks fit their
// place, and it is the oldest that go.
func TestMarksEvict(t *testing.T) {
	m := aggregation.NewMarks(splits[1])
	const lanes = 5000
	r := rand.New(rand.NewPCG(1, 1))
	sequence := func(i int) uint64 { return uint64(i) * 12345 }
	record := func(i int) *stamp {
		return &stamp{Producer: [8]byte{byte(i >> 8), byte(i), 1}, Lane: 1, Sequence: sequence(i), Keys: hashkey.All}
	}
	for i := range lanes {
		m.Admit(record(i), splits[1].Start, epoch.Add(time.Duration(i)*time.Second))
	}
	b, err := m.AppendBinary([]byte("prefix"))
	if err != nil || len(b) > aggregation.MaxMarksSize+6 || len(b) < aggregation.MaxMarksSize*9/10 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	kept := m.Len()
	if m.Evicted() != lanes-uint64(kept) {
		t.Errorf("%d marks kept of %d, %d evicted", kept, lanes, m.Evicted())
	}
	t.Logf("%d lanes in %d bytes", kept, len(b)-6)
	stored, err := aggregation.ParseMarks(b[6:])
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		i := r.IntN(lanes)
		want := live
		if i >= lanes-kept {
			want = duplicate
		}
		if v := stored.Clone().Admit(record(i), splits[1].Start, epoch); v != want {
			t.Fatalf("lane %d of %d: %v, want %v", i, lanes, v, want)
		}
	}
	if stored.Evicted() != m.Evicted() {
		t.Errorf("%d evicted are known after all, want %d", stored.Evicted(), m.Evicted())
	}
}

// TestMarksOfOneLaneAreBounded: a lane whose stamps name ever other ranges is
// forgotten, and the others stay.
func TestMarksOfOneLaneAreBounded(t *testing.T) {
	m := aggregation.NewMarks(hashkey.All)
	ask(t, m, []admit{{low, 2, 5, hashkey.All, live}})
	for i := range uint64(10_000) {
		k := hashkey.Key{Hi: i << 40}
		ask(t, m, []admit{{k, 1, i, hashkey.Range{Start: k, End: k}, live}})
		if m.Len() > 300 {
			t.Fatalf("%d marks", m.Len())
		}
	}
	if m.Evicted() == 0 {
		t.Error("none was counted as forgotten")
	}
	ask(t, m, []admit{{low, 2, 5, hashkey.All, duplicate}})
	again(t, m)
}

// TestMarksGolden pins the bytes of stored marks.
func TestMarksGolden(t *testing.T) {
	m := aggregation.NewMarks(lower)
	ask(t, m, []admit{{low, 3, 300, hashkey.All, live}, {low, 5, 9, splits[0], live}, {splits[1].Start, 5, 4, splits[1], live}, {splits[1].Start, 5, 7, splits[1], live}, {splits[1].Start, 5, 8, splits[1], live}})
	m.Admit(&stamp{Producer: [8]byte{9}, Lane: 1, Keys: hashkey.All}, low, epoch.Add(time.Minute))
	want := strings.Join([]string{
		"01", "00000000000000000000000000000000", "7fffffffffffffffffffffffffffffff",
		"bce2cfaa06", "00", "03",
		"03", "0102030405060708", "03", "3c", "07" + "ac02" + "00ab02",
		"04", "01", "3c", "05" + "3fffffffffffffffffffffffffffffff" + "09" + "0008", "0a" + "40000000000000000000000000000000" + "08" + "0101" + "0003",
		"03", "0900000000000000", "01", "00", "03" + "00",
		"954d9074",
	}, "")
	got, err := m.AppendBinary(nil)
	if err != nil || hex.EncodeToString(got) != want {
		t.Errorf("AppendBinary = %x, %v\nwant           %s", got, err, want)
	}
	again(t, m)
}

// again stores m, reads it, and stores that: the bytes must be the same.
func again(t *testing.T, m *aggregation.Marks) {
	t.Helper()
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := aggregation.ParseMarks(b)
	if err != nil {
		t.Fatalf("ParseMarks(%x): %v", b, err)
	}
	c, err := p.AppendBinary(nil)
	if err != nil || !bytes.Equal(b, c) || p.Len() != m.Len() {
		t.Errorf("stored again: %x, %v\nfirst:        %x", c, err, b)
	}
}

func TestParseMarksRefuses(t *testing.T) {
	m := aggregation.NewMarks(hashkey.All)
	ask(t, m, []admit{{low, 1, 5, hashkey.All, live}})
	good, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	version := bytes.Clone(good)
	version[0] = 2
	flip := bytes.Clone(good)
	flip[40] ^= 1
	for name, b := range map[string][]byte{
		"nothing": nil, "a version to come": version, "a flipped bit": flip,
		"cut": good[:len(good)-1], "too long": make([]byte, aggregation.MaxMarksSize+1), "only a version": good[:1],
	} {
		if _, err := aggregation.ParseMarks(b); !errors.Is(err, aggregation.ErrMarks) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzMarks reads arbitrary bytes, under a checksum that fits: what is
// accepted is what would be written.
func FuzzMarks(f *testing.F) {
	m := aggregation.NewMarks(lower)
	m.Admit(&stamp{Producer: id1, Lane: 3, Sequence: 300, Keys: hashkey.All}, low, epoch)
	m.Admit(&stamp{Producer: id1, Lane: 5, Sequence: 300, Keys: splits[0]}, low, epoch)
	m.Admit(&stamp{Lane: 5, Sequence: 1, Keys: splits[0]}, low, epoch)
	b, err := m.AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:len(b)-4])
	empty, err := aggregation.NewMarks(hashkey.All).AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(empty[:len(empty)-4])
	f.Fuzz(func(t *testing.T, body []byte) {
		b := checksummed(body)
		m, err := aggregation.ParseMarks(b)
		if err != nil {
			return
		}
		got, err := m.AppendBinary(nil)
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("read  %x\nwrote %x, %v", b, got, err)
		}
		k := m.Keys()
		s := &stamp{Producer: id1, Lane: 3, Sequence: 400, Keys: hashkey.All}
		if m.Admit(s, k.Start, epoch) == live && m.Admit(s, k.Start, epoch) != duplicate {
			t.Fatal("a copy came through")
		}
		aggregation.NewMarks(hashkey.All, m, aggregation.NewMarks(lower, m))
	})
}

func TestAdmitAllocatesNothing(t *testing.T) {
	m := aggregation.NewMarks(lower)
	s := &stamp{Producer: id1, Lane: 1, Keys: hashkey.All}
	other := &stamp{Producer: id1, Lane: 2, Keys: hashkey.All}
	m.Admit(s, low, epoch)
	m.Admit(other, low, epoch)
	if n := testing.AllocsPerRun(100, func() {
		s.Sequence++
		other.Sequence++
		m.Admit(s, low, epoch)
		m.Admit(other, low, epoch)
		m.Admit(other, low, epoch)
	}); n != 0 {
		t.Errorf("Admit allocates %v times", n)
	}
}

func BenchmarkAdmit(b *testing.B) {
	m := aggregation.NewMarks(lower)
	s := &stamp{Producer: id1, Lane: 1, Keys: hashkey.All}
	b.ReportAllocs()
	for b.Loop() {
		s.Sequence++
		m.Admit(s, low, epoch)
	}
}
