package aggregation_test

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/internal/aggregation"
)

type record = aggregation.Record

func rec(pk, ehk, data string) record {
	return record{PartitionKey: pk, ExplicitHashKey: ehk, Data: []byte(data)}
}

const maxKey = "340282366920938463463374607431768211455"

// golden are blobs that an independent protocol buffer library has written and
// read. C has a tag, which Walk skips and a Builder never writes.
var golden = []struct {
	name, blob string
	records    []record
	readOnly   bool
}{
	{
		name:    "A: two keys",
		blob:    "f3899ac20a01610a01621a0908001a0568656c6c6f1a0a08011a06776f726c64211a0408001a0036788aca63a867f3ec4b8e30f8caa176",
		records: []record{rec("a", "", "hello"), rec("b", "", "world!"), rec("a", "", "")},
	},
	{
		name:    "B: explicit hash keys",
		blob:    "f3899ac20a02706b0a017112013012273334303238323336363932303933383436333436333337343630373433313736383231313435351a09080010001a037878781a07080010011a01791a0508011a017a9db9ea1e91199e9cd5f92ace736a1726",
		records: []record{rec("pk", "0", "xxx"), rec("pk", maxKey, "y"), rec("q", "", "z")},
	},
	{
		name:     "C: a tag",
		blob:     "f3899ac20a016b1a0e08001a02643122060a01731201011a0608001a026432d3198989b6deb98c4e774566be3d55cd",
		records:  []record{rec("k", "", "d1"), rec("k", "", "d2")},
		readOnly: true,
	},
}

func TestGolden(t *testing.T) {
	for _, tt := range golden {
		t.Run(tt.name, func(t *testing.T) {
			blob, err := hex.DecodeString(tt.blob)
			if err != nil {
				t.Fatal(err)
			}
			if !aggregation.IsAggregated(blob) {
				t.Error("IsAggregated = false")
			}
			got, ok, err := walk(blob)
			if !ok || err != nil {
				t.Fatalf("Walk = %v, %v", ok, err)
			}
			diff(t, got, tt.records)
			if tt.readOnly {
				return
			}
			if sealed := build(t, tt.records); !bytes.Equal(sealed, blob) {
				t.Errorf("Seal = %x\nwant   %x", sealed, blob)
			}
		})
	}
}

func TestWalkPassesThrough(t *testing.T) {
	good := build(t, []record{rec("k", "", "data")})
	badSum := bytes.Clone(good)
	badSum[len(badSum)-1] ^= 1
	badMagic := bytes.Clone(good)
	badMagic[0] ^= 1
	for name, blob := range map[string][]byte{
		"nothing":                nil,
		"text":                   []byte("an ordinary record"),
		"magic alone":            []byte(aggregation.Magic),
		"frame without a body":   frame(""),
		"wrong MD5":              badSum,
		"wrong magic":            badMagic,
		"body is no message":     frame("\xff\xff\xff"),
		"length beyond the body": frame("\x0a\x05ab"),
		"record without a key":   frame("\x0a\x01k\x1a\x02\x1a\x00"),
		"record without data":    frame("\x0a\x01k\x1a\x02\x08\x00"),
		"tag without a key":      frame("\x0a\x01k\x1a\x08\x08\x00\x1a\x00\x22\x02\x12\x00"),
		"end of no group":        frame("\x0a\x01k\x0c"),
		"field number 0":         frame("\x02\x00"),
		"cut":                    good[:len(good)-1],
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok, err := walk(blob); ok || err != nil || len(got) > 0 {
				t.Errorf("Walk = %d records, %v, %v, want a pass-through", len(got), ok, err)
			}
		})
	}
}

func TestWalkSkipsUnknownFields(t *testing.T) {
	// Field 100 of the body, a group, the tables last; field 15 and two fixed
	// fields in the record.
	body := "\xa2\x06\x02hi" + "\xa3\x06\x08\x07\xa4\x06" +
		"\x1a\x18\x08\x01\x1a\x02d1\x78\x05\x81\x01" + "12345678" + "\x85\x01" + "1234" + "\x0a\x01a\x0a\x01b"
	got, ok, err := walk(frame(body))
	if !ok || err != nil {
		t.Fatalf("Walk = %v, %v", ok, err)
	}
	diff(t, got, []record{rec("b", "", "d1")})
}

// TestWalkDataLengths: lengths of data in one, two and three bytes, and in three
// where two would do; and one that says more than there is.
func TestWalkDataLengths(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 129, 16383, 16384, 20000} {
		var b aggregation.Builder
		data := bytes.Repeat([]byte{byte(n)}, n)
		b.Add(aggregation.Record{PartitionKey: "k", Data: data})
		got := -1
		ok, err := aggregation.Walk(b.Seal(nil), func(_ int, r aggregation.Record) bool {
			if got = len(r.Data); !bytes.Equal(r.Data, data) || cap(r.Data) != n {
				t.Errorf("%d bytes came out as %d others, with room for %d", n, len(r.Data), cap(r.Data))
			}
			return true
		})
		if !ok || err != nil || got != n {
			t.Errorf("%d bytes: %v, %v, got %d", n, ok, err, got)
		}
	}
	for _, tt := range []struct {
		name string
		rest int // bytes behind a length of 133
		want bool
	}{{"long length", 133, true}, {"too little", 130, false}} {
		record := append([]byte{0x08, 0, 0x1a, 0x85, 0x81, 0}, make([]byte, tt.rest)...)
		body := append([]byte{0x0a, 1, 'k', 0x1a, byte(len(record)&0x7f | 0x80), byte(len(record) >> 7)}, record...)
		sum := md5.Sum(body)
		blob := append(append([]byte(aggregation.Magic), body...), sum[:]...)
		n := -1
		ok, err := aggregation.Walk(blob, func(_ int, r aggregation.Record) bool { n = len(r.Data); return true })
		if ok != tt.want || err != nil || ok && n != 133 {
			t.Errorf("%s: %v, %v, %d bytes", tt.name, ok, err, n)
		}
	}
}

func TestWalkReportsBrokenIndex(t *testing.T) {
	for name, last := range map[string]string{
		"partition key":     "\x1a\x04\x08\x01\x1a\x00",
		"explicit hash key": "\x1a\x06\x08\x00\x10\x00\x1a\x00",
	} {
		t.Run(name, func(t *testing.T) {
			got, ok, err := walk(frame("\x0a\x01k" + "\x1a\x05\x08\x00\x1a\x01x" + last))
			if !ok || !errors.Is(err, aggregation.ErrIndex) {
				t.Fatalf("Walk = %v, %v, want ErrIndex", ok, err)
			}
			diff(t, got, []record{rec("k", "", "x")})
		})
	}
}

func TestWalkStops(t *testing.T) {
	blob := build(t, []record{rec("a", "", "1"), rec("b", "", "2"), rec("c", "", "3")})
	calls := 0
	ok, err := aggregation.Walk(blob, func(i int, _ record) bool {
		calls++
		return i < 1
	})
	if !ok || err != nil || calls != 2 {
		t.Errorf("Walk = %v, %v after %d calls, want 2", ok, err, calls)
	}
}

// TestBuilderRandom compares the size formula with what Seal writes, and reads
// everything back, with one Builder reused throughout.
func TestBuilderRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(*modelFrom, 0))
	var b aggregation.Builder
	for range 300 {
		b.Reset()
		var want []record
		limit := 1 + r.IntN(100_000)
		keys := 1 + r.IntN(400)
		for range r.IntN(1000) {
			u := randomRecord(r, keys)
			size := b.SizeWith(u)
			before := b.Size()
			if !b.TryAdd(&u, limit) {
				if size <= limit {
					t.Fatalf("TryAdd refused a record that makes %d of %d bytes", size, limit)
				}
				if b.Size() != before {
					t.Fatalf("a refused record changed the size from %d to %d", before, b.Size())
				}
				continue
			}
			want = append(want, u)
			if size > limit || b.Size() != size || b.Len() != len(want) {
				t.Fatalf("size %d, announced %d, limit %d, %d records", b.Size(), size, limit, b.Len())
			}
		}
		blob := b.Seal([]byte("prefix"))[len("prefix"):]
		if len(blob) != b.Size() {
			t.Fatalf("sealed %d bytes, Size = %d", len(blob), b.Size())
		}
		var own []record
		b.Walk(func(i int, u record) bool {
			if i != len(own) {
				t.Fatalf("record %d walked as %d", len(own), i)
			}
			own = append(own, u)
			return true
		})
		diff(t, own, want)
		if len(want) == 0 {
			continue
		}
		got, ok, err := walk(blob)
		if !ok || err != nil {
			t.Fatalf("Walk = %v, %v", ok, err)
		}
		diff(t, got, want)
	}
}

// TestBuilderKeepsFirstSeenOrder checks the table order, and that a key is
// stored once.
func TestBuilderKeepsFirstSeenOrder(t *testing.T) {
	var b aggregation.Builder
	var want string
	for i := range 1000 {
		key := fmt.Sprintf("key-%03d", (i*7)%100)
		if i < 100 {
			want += "\x0a\x07" + key
		}
		b.Add(rec(key, "", ""))
	}
	blob := b.Seal(nil)
	if got := string(blob[4 : 4+len(want)]); got != want {
		t.Errorf("key table = %q", got)
	}
	if n := strings.Count(string(blob), "key-"); n != 100 {
		t.Errorf("%d keys stored, want 100", n)
	}
}

func TestNoAllocation(t *testing.T) {
	records := make([]record, 200)
	for i := range records {
		records[i] = rec(fmt.Sprint("key ", i%50), "", strings.Repeat("x", 100))
		if i%3 == 0 {
			records[i].ExplicitHashKey = fmt.Sprint(i % 7)
		}
	}
	var b aggregation.Builder
	var blob []byte
	fill := func() {
		b.Reset()
		for _, u := range records {
			if b.SizeWith(u) < 1<<20 {
				b.Add(u)
			}
		}
		blob = b.Seal(blob[:0])
	}
	fill()
	if n := testing.AllocsPerRun(20, fill); n != 0 {
		t.Errorf("filling a used Builder allocates %v times", n)
	}
	bytesRead := 0
	read := func() {
		if !aggregation.IsAggregated(blob) {
			t.Fatal("not an aggregated record")
		}
		_, err := aggregation.Walk(blob, func(_ int, u record) bool {
			bytesRead += len(u.Data)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	read()
	if raceEnabled {
		return // the race detector makes sync.Pool drop at random
	}
	if n := testing.AllocsPerRun(20, read); n != 0 {
		t.Errorf("Walk allocates %v times", n)
	}
}

func walk(blob []byte) (got []record, ok bool, err error) {
	ok, err = aggregation.Walk(blob, func(_ int, u record) bool {
		got = append(got, u)
		return true
	})
	return got, ok, err
}

func build(t testing.TB, records []record) []byte {
	t.Helper()
	var b aggregation.Builder
	for _, u := range records {
		b.Add(u)
	}
	return b.Seal(nil)
}

func checksummed(body []byte) []byte {
	sum := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
	return binary.LittleEndian.AppendUint32(bytes.Clone(body), sum)
}

func frame(body string) []byte {
	sum := md5.Sum([]byte(body))
	return []byte(aggregation.Magic + body + string(sum[:]))
}

func randomRecord(r *rand.Rand, keys int) record {
	u := record{PartitionKey: fmt.Sprint("k", r.IntN(keys)), Data: make([]byte, r.IntN(300)>>r.IntN(9))}
	if r.IntN(50) == 0 {
		u.Data = make([]byte, r.IntN(40_000))
	}
	if r.IntN(20) == 0 {
		u.PartitionKey = strings.Repeat(u.PartitionKey, 1+r.IntN(60))
	}
	if r.IntN(3) == 0 {
		u.ExplicitHashKey = fmt.Sprint(r.IntN(keys))
	}
	for i := range u.Data {
		u.Data[i] = byte(r.Uint32())
	}
	return u
}

func diff(t *testing.T, got, want []record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if g.PartitionKey != w.PartitionKey || g.ExplicitHashKey != w.ExplicitHashKey || !bytes.Equal(g.Data, w.Data) {
			t.Fatalf("record %d = %+v, want %+v", i, g, w)
		}
	}
}
