package aggregation_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

type stamp = aggregation.Stamp

var (
	id1   = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	lower = hashkey.Uniform(2)[0]
	upper = hashkey.Uniform(2)[1]
)

// stampedRecord is a record with its stamp, nil if it has none.
type stampedRecord struct {
	record
	stamp *stamp
}

func walkStamped(blob []byte) (got []stampedRecord, ok bool, err error) {
	ok, err = aggregation.WalkStamped(blob, func(_ int, u record, s *stamp) bool {
		if s != nil {
			c := *s
			s = &c
		}
		got = append(got, stampedRecord{u, s})
		return true
	})
	return got, ok, err
}

// TestStampGolden pins the bytes of stamps. The records of a blob have the
// numbers given.
func TestStampGolden(t *testing.T) {
	for _, tt := range []struct {
		name, blob string
		stamp      stamp
		records    []record
		numbers    []uint64
	}{
		{
			name:    "one record",
			stamp:   stamp{Producer: id1, Lane: 3, Sequence: 500, Keys: hashkey.All},
			records: []record{rec("a", "", "hello")},
			numbers: []uint64{500},
			blob: "f3899ac2" + "0a0161" + "1a09" + "0800" + "1a0568656c6c6f" +
				"a2060f" + "0a080102030405060708" + "1003" + "18f403" + "c05dbe6c9567bf3cf4ce638e9a5c5d7a",
		},
		{
			name:    "records left out, after a split",
			stamp:   stamp{Producer: id1, Lane: 1, Sequence: 7, Keys: lower},
			records: []record{rec("a", "", "x"), rec("a", "", "y"), rec("b", "", "")},
			numbers: []uint64{7, 8, 209},
			blob: "f3899ac2" + "0a0161" + "0a0162" + "1a05" + "0800" + "1a0178" + "1a05" + "0800" + "1a0179" + "1a07" + "0801" + "1a00" + "78c801" +
				"a20630" + "0a080102030405060708" + "1001" + "1807" + "2220" + "00000000000000000000000000000000" + "7fffffffffffffffffffffffffffffff" + "2c9281231ef002958b007c1c3ffebe12",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b aggregation.Builder
			b.Stamp(tt.stamp)
			for i, u := range tt.records {
				if !b.TryAddAt(u, tt.numbers[i], 1000) {
					t.Fatalf("record %d refused", i)
				}
			}
			blob := b.Seal(nil)
			if got := hex.EncodeToString(blob); got != tt.blob || len(blob) != b.Size() {
				t.Errorf("Seal = %s, Size %d\nwant   %s", got, b.Size(), tt.blob)
			}
			got, ok, err := walkStamped(blob)
			if !ok || err != nil || len(got) != len(tt.records) {
				t.Fatalf("WalkStamped = %d records, %v, %v", len(got), ok, err)
			}
			for i, g := range got {
				want := tt.stamp
				want.Sequence, want.Offset = tt.numbers[i], tt.numbers[i]-tt.numbers[0]
				if g.stamp == nil || *g.stamp != want {
					t.Errorf("record %d: stamp %+v, want %+v", i, g.stamp, want)
				}
			}
			// A reader of another make reads the records and skips the rest.
			others, ok, broken := oracle(schema(t), blob[4:len(blob)-16])
			if !ok || broken {
				t.Error("the protocol buffer library cannot read it")
			}
			diff(t, others, tt.records)
		})
	}
}

// TestNoStamp: what is not a stamp of ours is somebody else's field, and the
// records are as good as ever.
func TestNoStamp(t *testing.T) {
	const good = "\x0a\x0801234567\x10\x01\x18\x02"
	for name, field := range map[string]string{
		"empty":             "",
		"text":              "hi",
		"cut":               good[:len(good)-1],
		"no producer":       "\x10\x01\x18\x02",
		"short producer":    "\x0a\x070123456\x10\x01\x18\x02",
		"long producer":     "\x0a\x09012345678\x10\x01\x18\x02",
		"no lane":           "\x0a\x0801234567\x18\x02",
		"no sequence":       "\x0a\x0801234567\x10\x01",
		"short range":       good + "\x22\x01x",
		"range upside down": good + "\x22\x20" + string(bytes.Repeat([]byte{9}, 16)) + string(bytes.Repeat([]byte{8}, 16)),
		"last number":       "\x0a\x0801234567\x10\x01\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	} {
		t.Run(name, func(t *testing.T) {
			body := "\x0a\x01k\x1a\x05\x08\x00\x1a\x01x" + "\xa2\x06" + string(rune(len(field))) + field
			got, ok, err := walkStamped(frame(body))
			if !ok || err != nil || len(got) != 1 || string(got[0].Data) != "x" {
				t.Fatalf("WalkStamped = %v, %v, %v", got, ok, err)
			}
			if got[0].stamp != nil {
				t.Errorf("stamp %+v", got[0].stamp)
			}
		})
	}
}

func TestStampedBuilder(t *testing.T) {
	s := stamp{Producer: id1, Lane: 2, Sequence: 10, Keys: upper}
	var b aggregation.Builder
	if b.TryAddAt(rec("k", "", ""), 10, 1000) {
		t.Error("a Builder without a stamp took a numbered record")
	}
	b.Stamp(s)
	b.Add(rec("k", "", "a"))
	if !b.TryAdd(new(rec("k", "", "b")), 1000) || b.TryAddAt(rec("k", "", "c"), 11, 1000) || !b.TryAddAt(rec("k", "", "c"), 15, 1000) {
		t.Error("the records after the first were not taken as they should")
	}
	if b.TryAddAt(rec("k", "", "d"), 99, b.Size()+8) || !b.TryAddAt(rec("k", "", "d"), 99, b.Size()+10) {
		t.Errorf("the limit is not exact")
	}
	var numbers []uint64
	b.WalkStamped(func(_ int, _ record, n uint64) bool {
		numbers = append(numbers, n)
		return true
	})
	if len(numbers) != 4 || numbers[0] != 10 || numbers[1] != 11 || numbers[2] != 15 || numbers[3] != 99 {
		t.Errorf("numbers %v", numbers)
	}
	if got, ok := b.Stamped(); !ok || got != s {
		t.Errorf("Stamped = %+v, %v", got, ok)
	}
	// The message inside a frame of its own, told where its numbers begin.
	for _, start := range []*stamp{nil, {Producer: id1, Lane: 9, Sequence: 100, Keys: hashkey.All, Offset: 7}} {
		i := 0
		ok, err := aggregation.WalkBody(b.AppendBody(nil), start, func(_ int, _ record, s *stamp) bool {
			switch {
			case (s == nil) != (start == nil):
				t.Errorf("stamp %v for %v", s, start)
			case s != nil && (s.Lane != 9 || s.Sequence != 90+numbers[i] || s.Offset != 7+numbers[i]-numbers[0]):
				t.Errorf("record %d: stamp %+v", i, s)
			}
			i++
			return true
		})
		if !ok || err != nil || i != 4 {
			t.Errorf("WalkBody = %d records, %v, %v", i, ok, err)
		}
	}
	b.Reset()
	if _, ok := b.Stamped(); ok || b.Size() != aggregation.Overhead {
		t.Errorf("after Reset a stamp is left; size %d", b.Size())
	}
}

// TestMaxStamped: a single record never adds more than the constant.
func TestMaxStamped(t *testing.T) {
	var b aggregation.Builder
	b.Stamp(stamp{Lane: ^uint64(0), Sequence: 1, Keys: upper})
	u := record{PartitionKey: string(make([]byte, 3000)), ExplicitHashKey: maxKey, Data: make([]byte, 10<<20)}
	if !b.TryAddAt(u, ^uint64(0)-1, 1<<30) {
		t.Fatal("refused")
	}
	if n := b.Size() - len(u.PartitionKey) - len(u.Data); n > aggregation.MaxStamped || n < aggregation.MaxStamped-20 {
		t.Errorf("%d bytes around the record, MaxStamped is %d", n, aggregation.MaxStamped)
	}
}

// stampOracle finds the stamp in what the protocol buffer library does not
// know of a body.
func stampOracle(body []byte) (s stamp, ok bool) {
	s.Keys = hashkey.All
	var producer, keys []byte
	var hasProducer, hasLane, hasSequence, hasKeys bool
	for len(body) > 0 {
		num, typ, n := protowire.ConsumeTag(body)
		val := protowire.ConsumeFieldValue(num, typ, body[n:])
		if num == 100 && typ == protowire.BytesType {
			message, _ := protowire.ConsumeBytes(body[n:])
			for len(message) > 0 {
				num, typ, n := protowire.ConsumeTag(message)
				if n < 0 {
					return s, false
				}
				val := protowire.ConsumeFieldValue(num, typ, message[n:])
				if val < 0 {
					return s, false
				}
				switch {
				case num == 1 && typ == protowire.BytesType:
					producer, _ = protowire.ConsumeBytes(message[n:])
					hasProducer = true
					if len(producer) != 8 {
						return s, false
					}
				case num == 2 && typ == protowire.VarintType:
					s.Lane, _ = protowire.ConsumeVarint(message[n:])
					hasLane = true
				case num == 3 && typ == protowire.VarintType:
					s.Sequence, _ = protowire.ConsumeVarint(message[n:])
					hasSequence = true
				case num == 4 && typ == protowire.BytesType:
					keys, _ = protowire.ConsumeBytes(message[n:])
					hasKeys = true
					if len(keys) != 32 || bytes.Compare(keys[:16], keys[16:]) > 0 {
						return s, false
					}
				}
				message = message[n+val:]
			}
		}
		body = body[n+val:]
	}
	if hasKeys {
		s.Keys = hashkey.Range{Start: hashkey.FromBytes([16]byte(keys[:16])), End: hashkey.FromBytes([16]byte(keys[16:]))}
	}
	copy(s.Producer[:], producer)
	return s, hasProducer && hasLane && hasSequence
}

// FuzzStamp reads arbitrary bodies and compares the stamp with the one that is
// found by the protocol buffer library.
func FuzzStamp(f *testing.F) {
	f.Add([]byte("\x0a\x01k\x1a\x05\x08\x00\x1a\x01x\xa2\x06\x0e\x0a\x0801234567\x10\x01\x18\x02"))
	f.Add([]byte("\x0a\x01k\x1a\x08\x08\x00\x1a\x01x\x78\xc8\x01\xa2\x06\x30\x0a\x0801234567\x10\x01\x18\x02\x22\x20" + string(make([]byte, 32))))
	f.Add([]byte("\xa2\x06\x0a\x0a\x0801234567\xa2\x06\x04\x10\x01\x18\x02\x0a\x01k\x1a\x05\x08\x00\x1a\x01x\x1a\x05\x08\x00\x1a\x01x"))
	md := schema(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) == 0 || proto.Unmarshal(body, dynamicpb.NewMessage(md)) != nil {
			return // FuzzWalk's
		}
		got, ok, _ := walkStamped(frame(string(body)))
		if !ok {
			t.Fatal("not read")
		}
		want, stamped := stampOracle(body)
		for i, g := range got {
			if g.stamp == nil {
				if stamped && i == 0 && want.Sequence < 1<<62 {
					// Only a number out of all proportion takes it away; a gap
					// can do that, too.
					if gap := gapOf(t, body); gap < 1<<62 {
						t.Fatalf("record %d has no stamp, want %+v", i, want)
					}
				}
				continue
			}
			if i == 0 {
				want.Offset = gapOf(t, body)
				want.Sequence += want.Offset
			}
			if !stamped || i == 0 && *g.stamp != want || i > 0 && got[i-1].stamp.Sequence >= g.stamp.Sequence {
				t.Fatalf("record %d: stamp %+v, want %+v, %v", i, g.stamp, want, stamped)
			}
		}
	})
}

// gapOf returns the gap of the first record in a body that parses.
func gapOf(t *testing.T, body []byte) (gap uint64) {
	t.Helper()
	for len(body) > 0 {
		num, typ, n := protowire.ConsumeTag(body)
		val := protowire.ConsumeFieldValue(num, typ, body[n:])
		if num == 3 && typ == protowire.BytesType {
			inner, _ := protowire.ConsumeBytes(body[n:])
			for len(inner) > 0 {
				num, typ, n := protowire.ConsumeTag(inner)
				val := protowire.ConsumeFieldValue(num, typ, inner[n:])
				if num == 15 && typ == protowire.VarintType {
					gap, _ = protowire.ConsumeVarint(inner[n:])
				}
				inner = inner[n+val:]
			}
			return gap
		}
		body = body[n+val:]
	}
	return 0
}

// TestStampedBuilderRandom compares sizes and numbers, and shows the blobs to
// the protocol buffer library, which would write the same bytes.
func TestStampedBuilderRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(*modelFrom, 0))
	md := schema(t)
	var b aggregation.Builder
	for range 200 {
		b.Reset()
		s := stamp{Producer: id1, Lane: r.Uint64() >> r.IntN(64), Sequence: r.Uint64() >> (1 + r.IntN(63)), Keys: hashkey.All}
		if r.IntN(2) == 0 {
			s.Keys = upper
		}
		b.Stamp(s)
		var want []record
		var numbers []uint64
		next := s.Sequence
		limit := 100 + r.IntN(5000)
		for range 100 {
			u := randomRecord(r, 5)
			at := next
			if r.IntN(4) == 0 {
				at += r.Uint64() >> (2 + r.IntN(62))
			}
			before := b.Size()
			if !b.TryAddAt(u, at, limit) {
				if b.Size() != before {
					t.Fatal("a refused record changed the size")
				}
				continue
			}
			want, numbers, next = append(want, u), append(numbers, at), at+1
		}
		blob := b.Seal(nil)
		if len(blob) != b.Size() || len(want) > 0 && len(blob) > limit {
			t.Fatalf("%d bytes, Size %d, limit %d", len(blob), b.Size(), limit)
		}
		if len(want) == 0 {
			continue
		}
		got, ok, err := walkStamped(blob)
		if !ok || err != nil || len(got) != len(want) {
			t.Fatalf("WalkStamped = %d of %d, %v, %v", len(got), len(want), ok, err)
		}
		for i, g := range got {
			if g.stamp == nil || g.stamp.Sequence != numbers[i] || g.stamp.Lane != s.Lane || g.stamp.Keys != s.Keys {
				t.Fatalf("record %d: stamp %+v, want number %d of %+v", i, g.stamp, numbers[i], s)
			}
		}
		body := blob[4 : len(blob)-16]
		others, ok, broken := oracle(md, body)
		if !ok || broken {
			t.Fatal("the protocol buffer library cannot read it")
		}
		diff(t, others, want)
		m := dynamicpb.NewMessage(md)
		if err := proto.Unmarshal(body, m); err != nil {
			t.Fatal(err)
		}
		again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, body) {
			t.Fatalf("the protocol buffer library writes\n%x, the Builder\n%x", again, body)
		}
	}
}
