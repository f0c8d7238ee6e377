package spool

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// The bytes of docs/formats.md.
func TestBlockGolden(t *testing.T) {
	b := make([]byte, blockHeader)
	for _, e := range []Entry{
		{Data: []byte("any")},
		{PartitionKey: "a", Hash: hashkey.Of("a"), Data: []byte("keyed")},
		{PartitionKey: "k", Hash: hashkey.Max, Explicit: true},
	} {
		n := len(b)
		if b = appendEntry(b, &e); len(b)-n != e.size() {
			t.Errorf("%+v has %d bytes, size says %d", e, len(b)-n, e.size())
		}
	}
	h := header{count: 3, first: 258, time: 1_700_000_000_000, epoch: 5}
	h.put(b)
	const want = "01000000" + "03000000" + "0201000000000000" + "0068e5cf8b010000" + "0500000000000000" +
		"05" + "00" + "00" + "616e79" +
		"18" + "01" + "0cc175b9c0f1b6a831c399e269772661" + "0161" + "6b65796564" +
		"13" + "02" + "ffffffffffffffffffffffffffffffff" + "016b"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("block:\n%s\nwant:\n%s", got, want)
	}
	if got, err := check(b); err != nil || got != h {
		t.Errorf("check: %+v, %v", got, err)
	}
	// With an extension, that of the log appender.
	e := Entry{PartitionKey: "a", Hash: hashkey.Of("a"), Data: []byte("xxx"), Extension: []byte{1, 2, 3, 0}}
	const ext = "1b" + "81" + "0cc175b9c0f1b6a831c399e269772661" + "04" + "01020300" + "0161" + "787878"
	b = appendEntry(nil, &e)
	if got := hex.EncodeToString(b); got != ext || len(b) != e.size() {
		t.Errorf("with an extension:\n%s, %d bytes, size says %d\nwant:\n%s", got, len(b), e.size(), ext)
	}
	if got, rest, err := parseEntry(b); err != nil || !reflect.DeepEqual(got, e) || len(rest) != 0 {
		t.Errorf("with an extension: %+v, %v", got, err)
	}
}

func TestAckGolden(t *testing.T) {
	g := &segment{first: 300, salt: 0x0102030405060708}
	for i := range uint64(70) {
		g.acks.set(i)
	}
	g.acks.set(72)
	g.acks.set(130)
	const want = "01" + "0807060504030201" + "ac02" + "46" + "3f01000000000000" + "0400000000000000"
	b := appendAck(nil, g)
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("acknowledgement:\n%s\nwant:\n%s", got, want)
	}
	ended := *g
	ended.ended = 200
	const wantEnded = "02" + "0807060504030201" + "ac02" + "c801" + "46" + "3f01000000000000" + "0400000000000000"
	if got := hex.EncodeToString(appendAck(nil, &ended)); got != wantEnded {
		t.Errorf("acknowledgement of a segment that has ended:\n%s\nwant:\n%s", got, wantEnded)
	}
	if a, err := parseAck(appendAck(nil, &ended)); err != nil || a.ended != 200 || a.done != 72 {
		t.Errorf("parsed: %+v, %v", a, err)
	}
	a, err := parseAck(b)
	if err != nil || a.ended != 0 || a.first != 300 || a.salt != g.salt || a.low != 70 || a.done != 72 || !a.has(72) || a.has(71) || !a.has(130) {
		t.Errorf("parsed: %+v, %v", a, err)
	}
	a.clip(100)
	if a.done != 71 || a.has(130) || !a.has(72) {
		t.Errorf("clipped: %+v", a)
	}
}

func TestIdentityRefuses(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"orders", "orders", true},
		{"orders", "", true},
		{"orders", "arn:aws:kinesis:eu-west-1:1:stream/orders", true},
		{"orders", "others", false},
		{"arn:aws:kinesis:eu-west-1:1:stream/orders", "arn:aws:kinesis:eu-west-1:2:stream/orders", false},
	} {
		if got := sameStream(tt.a, tt.b); got != tt.same {
			t.Errorf("sameStream(%q, %q) = %v", tt.a, tt.b, got)
		}
	}
}

// TestBitmap compares the set with a map, numbers coming nearly in order.
func TestBitmap(t *testing.T) {
	var b bitmap
	model := map[uint64]bool{}
	at := uint64(1)
	for range 40_000 {
		at = at*6364136223846793005 + 1442695040888963407
		i := uint64(len(model)) + at>>33%500
		if b.set(i) == model[i] {
			t.Fatalf("set(%d) of a number that is there: %v", i, model[i])
		}
		model[i] = true
	}
	low := uint64(0)
	for model[low] {
		low++
	}
	if b.low != low || b.done != uint64(len(model)) {
		t.Errorf("low %d, done %d, want %d, %d", b.low, b.done, low, len(model))
	}
	var c bitmap
	if err := c.load(b.append(nil)); err != nil || c.low != b.low || c.done != b.done {
		t.Errorf("loaded: low %d, done %d, %v", c.low, c.done, err)
	}
	for i := range low + 2000 {
		if b.has(i) != model[i] || c.has(i) != model[i] {
			t.Fatalf("has(%d): %v and loaded %v, want %v", i, b.has(i), c.has(i), model[i])
		}
	}
	if len(b.words) > 2000 {
		t.Errorf("%d words for a window of a few hundred", len(b.words))
	}
}

// FuzzBlock checks that no bytes make the reader panic, and that what it
// accepts it would write in the same way, but for extensions.
func FuzzBlock(f *testing.F) {
	b := appendEntry(make([]byte, blockHeader), &Entry{PartitionKey: "a", Hash: hashkey.Of("a"), Data: []byte("keyed")})
	b = appendEntry(b, &Entry{Data: []byte(strings.Repeat("x", 200))})
	h := header{count: 2, first: 7, time: 1, epoch: 2}
	h.put(b)
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add([]byte{1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := check(b)
		if err != nil {
			if !errors.Is(err, errBlock) {
				t.Errorf("check: %v", err)
			}
			return
		}
		body := b[blockHeader:]
		for range h.count {
			before := body
			var e Entry
			if e, body, err = parseEntry(body); err != nil {
				t.Fatalf("check has accepted it: %v", err)
			}
			var again Entry
			if again, _, err = parseEntry(appendEntry(nil, &e)); err != nil || again.PartitionKey != e.PartitionKey || again.Explicit != e.Explicit || !bytes.Equal(again.Data, e.Data) {
				t.Errorf("%x becomes %+v, then %+v, %v", before[:len(before)-len(body)], e, again, err)
			}
		}
	})
}

// FuzzAck does the same for acknowledgements.
func FuzzAck(f *testing.F) {
	g := &segment{first: 3}
	g.acks.set(0)
	g.acks.set(100)
	f.Add(appendAck(nil, g))
	f.Add([]byte{1})
	g.ended = 200
	f.Add(appendAck(nil, g))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAck(b)
		if err != nil {
			return
		}
		again, err := parseAck(appendAck(nil, &segment{first: a.first, salt: a.salt, ended: a.ended, acks: a.bitmap}))
		if err != nil || again.ended != a.ended || again.low != a.low || again.done != a.done || again.salt != a.salt || again.first != a.first {
			t.Errorf("%x becomes %+v, then %+v, %v", b, a, again, err)
		}
		if n := missingOf(a.bitmap, 3, a.ended); n > a.ended {
			t.Errorf("%d of %d are missing", n, a.ended)
		}
		if a.low > 0 && !a.has(a.low-1) || a.has(a.low) {
			t.Errorf("low is %d", a.low)
		}
	})
}
