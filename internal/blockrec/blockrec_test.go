package blockrec_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/blockrec"
	"github.com/streamkit/streamkit/internal/hashkey"
)

var codecs = []blockrec.Codec{blockrec.None, blockrec.Zstd, blockrec.S2}

func encoder(t testing.TB, c blockrec.Codec) *blockrec.Encoder {
	t.Helper()
	e, err := blockrec.NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func decoder(t testing.TB) *blockrec.Decoder {
	t.Helper()
	d, err := blockrec.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// body returns the AggregatedRecord message of n records and, beside it, what
// they are.
func body(n int) (raw []byte, records []aggregation.Record) {
	var b aggregation.Builder
	for i := range n {
		r := aggregation.Record{PartitionKey: fmt.Sprint("key-", i%3), Data: fmt.Appendf(nil, "data of record %d, data of record %d", i, i)}
		if i%4 == 1 {
			r.ExplicitHashKey = fmt.Sprint(i)
		}
		b.Add(r)
		records = append(records, r)
	}
	return b.AppendBody(nil), records
}

// golden are blocks of the records (a, "hello"), (a, "world"). The payloads
// that are compressed are written by hand: a writer may compress better, and a
// reader must take these for ever.
const goldenBody = "0a0161" + "1a09" + "0800" + "1a0568656c6c6f" + "1a09" + "0800" + "1a05776f726c64"

var golden = []struct {
	name, block string
	codec       blockrec.Codec
}{
	{"none", "b55a4b01" + "00" + "02" + "19" + "723b30c2" + goldenBody, blockrec.None},
	// A single segment of 25 bytes, in one raw block, the last.
	{"zstd", "b55a4b01" + "01" + "02" + "19" + "eb870556" + "28b52ffd" + "20" + "19" + "c90000" + goldenBody, blockrec.Zstd},
	// Length 25, one literal of 25 bytes.
	{"s2", "b55a4b01" + "02" + "02" + "19" + "e9807929" + "19" + "60" + goldenBody, blockrec.S2},
}

// TestReferenceLibrary opens a block whose payload is from the command line
// tool of the Zstandard project: eight records (a, "hello").
func TestReferenceLibrary(t *testing.T) {
	block, err := hex.DecodeString("b55a4b0101085bce424ef128b52ffd205bad0000700a01611a0908001a0568656c6c6f01006ab42801")
	if err != nil {
		t.Fatal(err)
	}
	want := "0a0161" + strings.Repeat("1a09"+"0800"+"1a0568656c6c6f", 8)
	raw, count, ok, err := decoder(t).Open(nil, block, blockrec.MaxRaw)
	if !ok || err != nil || count != 8 || hex.EncodeToString(raw) != want {
		t.Errorf("Open = %x, %d, %v, %v", raw, count, ok, err)
	}
}

func TestGolden(t *testing.T) {
	for _, tt := range golden {
		t.Run(tt.name, func(t *testing.T) {
			block, err := hex.DecodeString(tt.block)
			if err != nil {
				t.Fatal(err)
			}
			if want := seal(block); !bytes.Equal(block, want) {
				t.Errorf("the vector's checksum should be %x", want[7:11])
			}
			raw, count, ok, err := decoder(t).Open(nil, block, blockrec.MaxRaw)
			if !ok || err != nil || count != 2 || hex.EncodeToString(raw) != goldenBody || !blockrec.IsBlock(block) {
				t.Errorf("Open = %x, %d, %v, %v", raw, count, ok, err)
			}
			if tt.codec.String() != tt.name {
				t.Errorf("codec %v", tt.codec)
			}
			if tt.codec == blockrec.Zstd {
				return // its writer chooses among many forms
			}
			if got := encoder(t, tt.codec).Append(nil, 2, raw); !bytes.Equal(got, block) {
				t.Errorf("Append = %x\nwant     %x", got, block)
			}
		})
	}
}

// seal puts the checksum right of a block with count and raw length of one
// byte each.
func seal(block []byte) []byte { return sealAt(block, 7) }

func sealAt(block []byte, at int) []byte {
	block = bytes.Clone(block)
	sum := crc32.Checksum(append(bytes.Clone(block[4:at]), block[at+4:]...), crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(block[at:], sum)
	return block
}

func TestRoundTrip(t *testing.T) {
	d := decoder(t)
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			e := encoder(t, c)
			for _, n := range []int{1, 2, 100, 5000} {
				raw, _ := body(n)
				block := e.Append([]byte("before"), n, raw)
				if string(block[:6]) != "before" {
					t.Fatal("what was there is gone")
				}
				block = block[6:]
				if c != blockrec.None && n >= 100 && len(block) > len(raw)*2/5 {
					t.Errorf("%d bytes of %d", len(block), len(raw))
				}
				got, count, ok, err := d.Open([]byte("before"), block, len(raw))
				if !ok || err != nil || count != n || string(got) != "before"+string(raw) {
					t.Errorf("Open = %d bytes, %d, %v, %v", len(got), count, ok, err)
				}
				if _, _, ok, err := d.Open(nil, block, len(raw)-1); !ok || !errors.Is(err, blockrec.ErrBlock) {
					t.Errorf("beyond the limit: %v, %v", ok, err)
				}
			}
		})
	}
	if _, err := blockrec.NewEncoder(7); err == nil {
		t.Error("an encoder for a codec that there is not")
	}
}

// block frames a payload, with a checksum that fits.
func block(codec byte, count, raw uint64, payload []byte) []byte {
	b := append([]byte(blockrec.Magic), codec)
	b = binary.AppendUvarint(b, count)
	b = binary.AppendUvarint(b, raw)
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	return sealAt(append(b, payload...), at)
}

func TestOpenRefuses(t *testing.T) {
	raw, _ := body(3)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	stream := func(opts ...zstd.EOption) []byte {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, opts...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil { // before the size is known
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	zeros := make([]byte, 64<<20)
	size := uint64(len(raw))
	frame := z.EncodeAll(raw, nil)
	for name, b := range map[string][]byte{
		"a codec to come":              block(3, 3, size, raw),
		"too large":                    block(0, 3, blockrec.MaxRaw+1, make([]byte, blockrec.MaxRaw+1)),
		"announces too much":           block(1, 3, 1<<60, frame),
		"no records":                   block(0, 0, size, raw),
		"more records than bytes":      block(0, size, size, raw),
		"none, short":                  block(0, 3, size+1, raw),
		"none, long":                   block(0, 3, size-1, raw),
		"zstd, other size":             block(1, 3, size+1, frame),
		"zstd, no size":                block(1, 3, size, stream()),
		"zstd, two frames":             block(1, 3, size, append(bytes.Clone(frame), frame...)),
		"zstd, skippable":              block(1, 3, size, []byte("\x50\x2a\x4d\x18\x04\x00\x00\x00abcd")),
		"zstd, nothing":                block(1, 3, size, nil),
		"zstd, text":                   block(1, 3, size, []byte("neither here nor there")),
		"zstd, lies of its size":       block(1, 3, 25, append([]byte("\x28\xb5\x2f\xfd\x20\x19"), z.EncodeAll(zeros, nil)[9:]...)),
		"zstd, cut":                    block(1, 3, size, frame[:len(frame)-5]),
		"s2, other size":               block(2, 3, size+1, s2.Encode(nil, raw)),
		"s2, more than it says":        block(2, 3, 30, append([]byte{30}, s2.Encode(nil, zeros)[4:]...)),
		"s2, nothing":                  block(2, 3, size, nil),
		"s2, size beyond all measure":  block(2, 3, size, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
		"s2, a copy from before begin": block(2, 3, 8, []byte("\x08\x15\x10")),
	} {
		t.Run(name, func(t *testing.T) {
			out, _, ok, err := decoder(t).Open([]byte("x"), b, 1<<40)
			if !ok || !errors.Is(err, blockrec.ErrBlock) || string(out) != "x" {
				t.Errorf("Open = %d bytes, %v, %v", len(out), ok, err)
			}
		})
	}
}

// TestNoBlock: other data passes through, however much it looks like a block.
func TestNoBlock(t *testing.T) {
	good := encoder(t, blockrec.None).Append(nil, 1, []byte(strings.Repeat("x", 10)))
	flip := bytes.Clone(good)
	flip[len(flip)-1] ^= 1
	codec := bytes.Clone(good)
	codec[4] = 1
	for name, data := range map[string][]byte{
		"nothing": nil, "text": []byte("text"), "magic alone": []byte(blockrec.Magic), "cut": good[:len(good)-1],
		"flipped": flip, "other codec": codec, "header alone": good[:7], "count without end": []byte(blockrec.Magic + "\x00\xff\xff"),
		"size beyond 64 bits": []byte(blockrec.Magic + "\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f....."),
	} {
		if _, _, ok, err := decoder(t).Open(nil, data, blockrec.MaxRaw); ok || err != nil || blockrec.IsBlock(data) {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

// got is a record as a Reader hands it over.
type got struct {
	blockrec.Index
	aggregation.Record
	stamp *aggregation.Stamp
}

func walk(t testing.TB, blob []byte) (all []got, ok bool, err error) {
	t.Helper()
	ok, err = blockrec.NewReader(decoder(t)).Walk(blob, func(i blockrec.Index, r aggregation.Record, s *aggregation.Stamp) bool {
		if s != nil {
			c := *s
			s = &c
		}
		all = append(all, got{i, r, s})
		return true
	})
	return all, ok, err
}

// TestReader: records in and out of blocks come in order, each with its own
// keys and its own number.
func TestReader(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			e := encoder(t, c)
			var inner aggregation.Builder
			inner.Stamp(aggregation.Stamp{Lane: 77, Sequence: 11}) // of which only the gaps come through
			inner.TryAddAt(aggregation.Record{PartitionKey: "x", Data: []byte("b0")}, 11, 1<<20)
			inner.TryAddAt(aggregation.Record{PartitionKey: "y", ExplicitHashKey: "5", Data: []byte("b1")}, 14, 1<<20)
			raw := inner.AppendBody(nil)
			var b aggregation.Builder
			want := aggregation.Stamp{Producer: [8]byte{1}, Lane: 3, Sequence: 10, Keys: hashkey.All}
			b.Stamp(want)
			b.TryAddAt(aggregation.Record{PartitionKey: "k", Data: []byte("a")}, 10, 1<<20)
			b.TryAddAt(aggregation.Record{PartitionKey: "a", ExplicitHashKey: "9", Data: e.Append(nil, 2, raw)}, 11, 1<<20)
			b.TryAddAt(aggregation.Record{PartitionKey: "a", ExplicitHashKey: "9", Data: e.Append(nil, 2, raw)}, 15, 1<<20)
			b.TryAddAt(aggregation.Record{PartitionKey: "k", Data: []byte("c")}, 19, 1<<20)
			all, ok, err := walk(t, b.Seal(nil))
			if !ok || err != nil || len(all) != 6 {
				t.Fatalf("Walk = %d records, %v, %v", len(all), ok, err)
			}
			for i, w := range []struct {
				user, block int
				key, ehk    string
				data        string
				number      uint64
			}{
				{0, -1, "k", "", "a", 10},
				{1, 0, "x", "", "b0", 11},
				{1, 1, "y", "5", "b1", 14},
				{2, 0, "x", "", "b0", 15},
				{2, 1, "y", "5", "b1", 18},
				{3, -1, "k", "", "c", 19},
			} {
				g := all[i]
				want.Sequence, want.Offset = w.number, w.number-10
				if g.User != w.user || g.Block != w.block || g.PartitionKey != w.key || g.ExplicitHashKey != w.ehk || string(g.Data) != w.data || g.stamp == nil || *g.stamp != want {
					t.Errorf("record %d = %+v, stamp %+v, want %+v", i, g, g.stamp, w)
				}
			}
		})
	}
}

func TestReaderPassesThrough(t *testing.T) {
	raw, records := body(2)
	block := encoder(t, blockrec.Zstd).Append(nil, 2, raw)
	if all, ok, err := walk(t, block); ok || err != nil || len(all) > 0 {
		t.Errorf("a block as a Kinesis record of its own: %d records, %v, %v", len(all), ok, err)
	}
	flip := bytes.Clone(block)
	flip[len(flip)-1] ^= 1
	var b aggregation.Builder
	b.Add(aggregation.Record{PartitionKey: "k", Data: flip})
	b.Add(records[0])
	all, ok, err := walk(t, b.Seal(nil))
	if !ok || err != nil || len(all) != 2 || !bytes.Equal(all[0].Data, flip) || all[0].stamp != nil || all[0].Block != -1 {
		t.Errorf("Walk = %+v, %v, %v", all, ok, err)
	}
}

func TestReaderErrors(t *testing.T) {
	e := encoder(t, blockrec.None)
	raw, _ := body(3)
	half := make([]byte, 0, 6<<20)
	var large aggregation.Builder
	large.Add(aggregation.Record{PartitionKey: "k", Data: make([]byte, 6<<20-100)})
	half = large.AppendBody(half)
	for name, data := range map[string][]byte{
		"fewer records":   e.Append(nil, 4, raw),
		"more records":    e.Append(nil, 2, raw),
		"no message":      e.Append(nil, 1, []byte("no message at all")),
		"broken index":    e.Append(nil, 1, []byte("\x1a\x05\x08\x07\x1a\x01x")),
		"unknown codec":   block(9, 1, 10, make([]byte, 10)),
		"too much in two": e.Append(nil, 1, half),
	} {
		t.Run(name, func(t *testing.T) {
			var b aggregation.Builder
			b.Add(aggregation.Record{PartitionKey: "k", Data: []byte("before")})
			if name == "too much in two" {
				b.Add(aggregation.Record{PartitionKey: "k", Data: data})
			}
			b.Add(aggregation.Record{PartitionKey: "k", Data: data})
			b.Add(aggregation.Record{PartitionKey: "k", Data: []byte("after")})
			all, ok, err := walk(t, b.Seal(nil))
			if !ok || !errors.Is(err, blockrec.ErrBlock) || len(all) == 0 || string(all[0].Data) != "before" || string(all[len(all)-1].Data) == "after" {
				t.Errorf("Walk = %d records, %v, %v", len(all), ok, err)
			}
		})
	}
	var b aggregation.Builder
	b.Add(aggregation.Record{PartitionKey: "k", Data: e.Append(nil, 3, raw)})
	b.Add(aggregation.Record{PartitionKey: "k"})
	for stop := range 3 {
		n := 0
		ok, err := blockrec.NewReader(decoder(t)).Walk(b.Seal(nil), func(blockrec.Index, aggregation.Record, *aggregation.Stamp) bool {
			n++
			return n <= stop
		})
		if !ok || err != nil || n != stop+1 {
			t.Errorf("stopped after %d: %d calls, %v, %v", stop, n, ok, err)
		}
	}
}

// FuzzOpen opens arbitrary payloads, under a checksum that fits.
func FuzzOpen(f *testing.F) {
	for _, g := range golden {
		b, err := hex.DecodeString(g.block)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[4], uint64(2), uint64(25), b[11:])
	}
	raw, _ := body(50)
	for _, c := range codecs {
		b := encoder(f, c).Append(nil, 50, raw)
		at := 4 + 1 + 1 + len(binary.AppendUvarint(nil, uint64(len(raw)))) + 4
		f.Add(byte(c), uint64(50), uint64(len(raw)), b[at:])
	}
	d := decoder(f)
	f.Fuzz(func(t *testing.T, codec byte, count, size uint64, payload []byte) {
		b := block(codec, count, size, payload)
		raw, n, ok, err := d.Open(nil, b, blockrec.MaxRaw)
		if !ok {
			t.Fatal("not taken for a block")
		}
		if err != nil {
			if !errors.Is(err, blockrec.ErrBlock) || len(raw) > 0 {
				t.Fatalf("%d bytes, %v", len(raw), err)
			}
			return
		}
		if uint64(n) != count || uint64(len(raw)) != size || size > blockrec.MaxRaw || cap(raw) > 2*blockrec.MaxRaw {
			t.Fatalf("%d records, %d of %d bytes, of %d set aside", n, len(raw), size, cap(raw))
		}
		var bl aggregation.Builder
		bl.Add(aggregation.Record{PartitionKey: "k", Data: b})
		all, ok, err := walk(t, bl.Seal(nil))
		if !ok || err == nil && len(all) != n || len(all) > n {
			t.Fatalf("Walk = %d of %d records, %v, %v", len(all), n, ok, err)
		}
	})
}

// FuzzData reads arbitrary data as a user record.
func FuzzData(f *testing.F) {
	for _, g := range golden {
		b, err := hex.DecodeString(g.block)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	d := decoder(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		raw, _, ok, err := d.Open(nil, data, 1000)
		if ok != blockrec.IsBlock(data) || len(raw) > 1000 || !ok && (err != nil || len(raw) > 0) {
			t.Fatalf("%d bytes, %v, %v", len(raw), ok, err)
		}
	})
}

// TestReadersShareADecoder under the race detector.
func TestReadersShareADecoder(t *testing.T) {
	d, e := decoder(t), encoder(t, blockrec.Zstd)
	done := make(chan error)
	for i := range 8 {
		go func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			reader := blockrec.NewReader(d)
			for range 20 {
				n := 1 + r.IntN(200)
				raw, want := body(n)
				var b aggregation.Builder
				b.Add(aggregation.Record{PartitionKey: "k", Data: e.Append(nil, n, raw)})
				j := 0
				_, err := reader.Walk(b.Seal(nil), func(i blockrec.Index, rec aggregation.Record, _ *aggregation.Stamp) bool {
					same := i.Block == j && bytes.Equal(rec.Data, want[j].Data) && rec.PartitionKey == want[j].PartitionKey
					j++
					return same
				})
				if err != nil || j != n {
					done <- fmt.Errorf("%d of %d records, %w", j, n, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
