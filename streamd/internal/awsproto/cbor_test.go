package awsproto_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

// rapid tells the same stories in each run; with -rapid.seed=0 it draws others.
var _ = flag.Set("rapid.seed", "1")

func decodeCBOR(tb testing.TB, body string) (in input, conversion *awserr.Error, ok bool) {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(body, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	conversion, ok = awsproto.CBOR11.Decode(b, inputShape, &in)
	return in, conversion, ok
}

func TestDecodeCBOR(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"empty, definite", "a0", "{}"},
		{"empty, indefinite", "bf ff", "{}"},
		{"tagged as CBOR", "d9d9f7 bf ff", "{}"},
		{"text", "a1 6454657874 63c3a961", `{"Text":"éa"}`},
		{"text in chunks", "a1 6454657874 7f 6161 60 626263 ff", `{"Text":"abc"}`},
		{"key in chunks", "a1 7f 625465 627874 ff 6161", `{"Text":"a"}`},
		{"text that is not UTF-8", "a1 6454657874 62ff61", "{\"Text\":\"\ufffda\"}"},
		{"integer", "bf 614e 07 ff", `{"N":7}`},
		{"wide integer", "bf 614e 1b0000000000000007 ff", `{"N":7}`},
		{"negative", "bf 614e 38ff ff", `{"N":-256}`},
		{"beyond range", "bf 614e 1bffffffffffffffff ff", `{"N":2147483647}`},
		{"below range", "bf 614e 3bffffffffffffffff ff", `{"N":-2147483648}`},
		{"half float, floored", "bf 614e f94380 ff", `{"N":3}`},
		{"float, floored", "bf 614e fac0200000 ff", `{"N":-3}`},
		{"double", "bf 614e fb400e000000000000 ff", `{"N":3}`},
		{"no number", "bf 614e f97e00 ff", `{"N":0}`},
		{"infinite", "bf 614e f97c00 ff", `{"N":2147483647}`},
		{"timestamp", "bf 624174 c1 1b000001754329664a ff", `{"At":1603149588042}`},
		{"timestamp without tag", "bf 624174 1b000001754329664a ff", `{"At":1603149588042}`},
		{"timestamp as double", "bf 624174 c1 fb427754329664a000 ff", `{"At":1603149588042}`},
		{"bytes", "bf 6444617461 4568656c6c6f ff", `{"Data":"hello"}`},
		{"bytes in chunks", "bf 6444617461 5f 42 6865 43 6c6c6f ff ff", `{"Data":"hello"}`},
		{"no chunk", "bf 6444617461 5f ff ff", `{"Data":""}`},
		{"bytes as base64", "bf 6444617461 68 614756736247383d ff", `{"Data":"hello"}`},
		{"true", "bf 63596573 f5 ff", `{"Yes":true}`},
		{"true as text", "bf 63596573 63 796573 ff", `{"Yes":true}`},
		{"null is absent", "bf 6454657874 6161 6454657874 f6 ff", `{}`},
		{"undefined is absent", "bf 614e f7 ff", `{}`},
		{"lists", "bf 644c697374 9f bf 634b6579 6161 ff a0 ff 644b657973 82 6161 f6 ff", `{"List":[{"Key":"a"},{}],"Keys":["a"]}`},
		{"map", "bf 6454616773 a2 6161 6162 6161 6163 ff", `{"Tags":{"a":"c"}}`},
		{"unknown members", "bf 6178 9f a1 01 f4 c0 60 f90000 f8ff ff 6179 5f ff ff", `{}`},
	} {
		in, conversion, ok := decodeCBOR(t, tt.body)
		if got := shown(&in); !ok || conversion != nil || got != tt.want {
			t.Errorf("%s: %s is %s, %v, %v, want %s", tt.name, tt.body, got, conversion, ok, tt.want)
		}
	}
}

// shown writes an input as JSON, with timestamps in milliseconds.
func shown(in *input) string {
	var out []string
	add := func(name string, set bool, v any) {
		if set {
			b, _ := json.Marshal(v) // of strings and numbers
			out = append(out, fmt.Sprintf("%q:%s", name, b))
		}
	}
	add("Text", in.Text.Set, in.Text.V)
	add("N", in.N.Set, in.N.V)
	add("Yes", in.Yes.Set, in.Yes.V)
	add("At", in.At.Set, in.At.V)
	add("Data", in.Data.Set, string(in.Data.V))
	if in.List.Set {
		var items []map[string]string
		for _, e := range in.List.Items {
			item := make(map[string]string)
			if e.Key.Set {
				item["Key"] = e.Key.V
			}
			items = append(items, item)
		}
		add("List", true, items)
	}
	add("Keys", in.Keys.Set, in.Keys.V)
	add("Tags", in.Tags.Set, in.Tags.V)
	return "{" + strings.Join(out, ",") + "}"
}

// TestDecodeCBORSyntax has bodies that are no CBOR, or no structure.
func TestDecodeCBORSyntax(t *testing.T) {
	for _, body := range []string{
		"", "80", "f6", "01", "60", "c1", "a1", "bf", "bf ff 00", "a1 01 01", "a1 4161 01", "a1 6161", "bf 6161 ff", "a1 6161 ff",
		"a1 6454657874 63 6161", "a1 6454657874 7b ffffffffffffffff 61", "a1 6454657874 7f 4161 ff", "a1 6454657874 7f 7f 6161 ff ff", "a1 6454657874 7f 6161",
		"a1 6444617461 5f 6161 ff", "a1 6161 1c", "a1 6161 1f", "a1 6161 df", "a1 6161 f81f", "a1 6161 f8", "a1 614e 1a0000",
		"bb ffffffffffffffff", "a1 644c697374 9b ffffffffffffffff", "a1 644b657973 9b ffffffffffffffff 6161",
		"a1 6178" + strings.Repeat("81", 9) + "00",
		strings.Repeat("a1 6178", 9) + "00",
	} {
		if _, _, ok := decodeCBOR(t, body); ok {
			t.Errorf("%s was accepted", body)
		}
	}
}

func TestDecodeCBORConversions(t *testing.T) {
	const number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber"
	for _, tt := range []struct{ body, want string }{
		{"a1 614e f5", "class java.lang.Boolean can not be converted to an Integer"},
		{"a1 614e 6131", "class java.lang.String can not be converted to an Integer"},
		{"a1 614e 4131", "class java.nio.HeapByteBuffer can not be converted to an Integer"},
		{"a1 614e 80", "Start of list found where not expected"},
		{"a1 614e a0", "Start of structure or map found where not expected."},
		{"a1 6454657874 c1 01", number + " can not be converted to an String"},
		{"a1 6454657874 fa00000000", number + " can not be converted to an String"},
		{"a1 63596573 01", number + " can not be converted to an Boolean"},
		{"a1 624174 6131", "class java.lang.String can not be converted to milliseconds since epoch"},
		{"a1 6444617461 00", number + " can not be converted to a Blob"},
		{"a1 6444617461 63616263", "'abc' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 3"},
		{"a1 644c697374 a0", "Start of structure or map found where not expected."},
		{"a1 644c697374 40", "Expected list or null"},
		{"a1 644c697374 81 00", "Expected null"},
		{"a1 644b657973 81 40", "class java.nio.HeapByteBuffer can not be converted to an String"},
		{"a1 6454616773 80", "Start of list found where not expected"},
		{"a1 6454616773 00", "Expected map or null"},
		{"a1 634f6e65 00", "Expected null"},
		{"a2 614e f5 6454657874 f5", "class java.lang.Boolean can not be converted to an String"},
	} {
		_, conversion, ok := decodeCBOR(t, tt.body)
		if !ok || conversion == nil || conversion.Code != "SerializationException" || conversion.Message != tt.want {
			t.Errorf("%s: %v, ok %v, want %s", tt.body, conversion, ok, tt.want)
		}
	}
}

// A node is a value that can be written in both encodings.
type node struct {
	kind    byte // by first letter: null, true, false, integer, string, blob, list, map
	n       int64
	text    string
	members []string
	values  []node
	open    bool // written without a length, or in chunks
	wide    int  // bytes of an integer beyond those it needs
	tagged  bool
}

func (v node) appendJSON(dst []byte, seconds bool) []byte {
	switch v.kind {
	case 'n':
		return append(dst, "null"...)
	case 't', 'f':
		return strconv.AppendBool(dst, v.kind == 't')
	case 'i':
		if seconds {
			return fmt.Appendf(dst, "%de-3", v.n)
		}
		return strconv.AppendInt(dst, v.n, 10)
	case 's':
		b, _ := json.Marshal(v.text) // of a string
		return append(dst, b...)
	case 'b':
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), []byte(v.text)), '"')
	}
	dst = append(dst, map[byte]byte{'l': '[', 'm': '{'}[v.kind])
	for i, e := range v.values {
		if i > 0 {
			dst = append(dst, ',')
		}
		if v.kind == 'm' {
			dst = append(node{kind: 's', text: v.members[i]}.appendJSON(dst, false), ':')
		}
		dst = e.appendJSON(dst, v.kind == 'm' && v.members[i] == "At")
	}
	return append(dst, map[byte]byte{'l': ']', 'm': '}'}[v.kind])
}

func appendHead(dst []byte, major byte, n uint64, wide int) []byte {
	size := 0
	for size < 4 && (size == 0 && n >= 24 || size > 0 && size < 4 && n>>(8<<(size-1)) > 0) {
		size++
	}
	switch size = min(size+wide, 4); size {
	case 0:
		return append(dst, major<<5|byte(n))
	case 1:
		return append(dst, major<<5|24, byte(n))
	case 2:
		return binary.BigEndian.AppendUint16(append(dst, major<<5|25), uint16(n))
	case 3:
		return binary.BigEndian.AppendUint32(append(dst, major<<5|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major<<5|27), n)
}

func (v node) appendCBOR(dst []byte) []byte {
	if v.tagged {
		dst = append(dst, 0xc1)
	}
	switch v.kind {
	case 'n':
		return append(dst, 0xf6)
	case 't':
		return append(dst, 0xf5)
	case 'f':
		return append(dst, 0xf4)
	case 'i':
		if v.n < 0 {
			return appendHead(dst, 1, uint64(-1-v.n), v.wide)
		}
		return appendHead(dst, 0, uint64(v.n), v.wide)
	case 's', 'b':
		major := map[byte]byte{'s': 3, 'b': 2}[v.kind]
		if !v.open {
			return append(appendHead(dst, major, uint64(len(v.text)), v.wide), v.text...)
		}
		dst = append(dst, major<<5|31)
		for chunk := range strings.SplitAfterSeq(v.text, "a") {
			dst = append(appendHead(dst, major, uint64(len(chunk)), v.wide), chunk...)
		}
		return append(dst, 0xff)
	}
	major := map[byte]byte{'l': 4, 'm': 5}[v.kind]
	if v.open {
		dst = append(dst, major<<5|31)
	} else {
		dst = appendHead(dst, major, uint64(len(v.values)), v.wide)
	}
	for i, e := range v.values {
		if v.kind == 'm' {
			dst = node{kind: 's', text: v.members[i], open: v.open, wide: v.wide}.appendCBOR(dst)
		}
		dst = e.appendCBOR(dst)
	}
	if v.open {
		dst = append(dst, 0xff)
	}
	return dst
}

// drawNode draws a value for a member of the given kind, or of another.
func drawNode(t *rapid.T, member string, depth int) node {
	kinds := "ntfiis" // of anything
	if depth < 9 {
		kinds += "lm"
	}
	if fits := map[string]string{"Text": "s", "N": "i", "Yes": "tf", "At": "i", "Data": "bs", "List": "l", "One": "m", "Keys": "l", "Tags": "m", "Key": "s", "": "m"}[member]; fits != "" && rapid.IntRange(0, 9).Draw(t, "fits") > 0 {
		kinds = fits
	}
	v := node{
		kind: kinds[rapid.IntRange(0, len(kinds)-1).Draw(t, "kind")],
		open: rapid.Bool().Draw(t, "open"), wide: rapid.IntRange(0, 4).Draw(t, "wide"), tagged: rapid.IntRange(0, 9).Draw(t, "tagged") == 0,
	}
	switch v.kind {
	case 'i':
		v.n = rapid.OneOf(rapid.Int64Range(-300, 300), rapid.Int64Range(-1<<40, 1<<40)).Draw(t, "n")
	case 's':
		v.text = rapid.SampledFrom([]string{"", "a", "yes", "aGVsbG8=", "aé\"\\\n", "aaa?", strings.Repeat("baa", 30)}).Draw(t, "text")
	case 'b':
		v.text = string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes"))
	case 'l':
		for range rapid.IntRange(0, 4).Draw(t, "len") {
			inner := map[string]string{"List": "", "Keys": "Text"}[member]
			if _, known := map[string]bool{"List": true, "Keys": true}[member]; !known {
				inner = "?"
			}
			v.values = append(v.values, drawNode(t, inner, depth+1))
		}
	case 'm':
		for range rapid.IntRange(0, 5).Draw(t, "len") {
			var name string
			switch {
			case depth == 1:
				name = rapid.SampledFrom([]string{"Text", "N", "Yes", "At", "Data", "List", "One", "Any", "Keys", "Tags", "Other", ""}).Draw(t, "name")
			case member == "Tags":
				name = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
			default:
				name = rapid.SampledFrom([]string{"Key", "Data", "z"}).Draw(t, "name")
			}
			inner := name
			if member == "Tags" && depth > 1 {
				inner = "Text"
			} else if name == "" {
				inner = "?"
			}
			v.members = append(v.members, name)
			v.values = append(v.values, drawNode(t, inner, depth+1))
		}
	}
	return v
}

// TestJSONAndCBORAreTheSame writes values in both encodings, and expects the
// same input, or the same complaint.
func TestJSONAndCBORAreTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawNode(t, "", 1)
		asJSON, asCBOR := v.appendJSON(nil, false), v.appendCBOR(nil)
		what := fmt.Sprintf("%s and %x", asJSON, asCBOR)
		if err := cbor.Wellformed(asCBOR); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var a, b input
		errA, okA := awsproto.JSON11.Decode(asJSON, inputShape, &a)
		errB, okB := awsproto.CBOR11.Decode(asCBOR, inputShape, &b)
		if okA != okB || !reflect.DeepEqual(errA, errB) {
			t.Fatalf("%s: %v %v, but %v %v", what, okA, errA, okB, errB)
		}
		if okA && !reflect.DeepEqual(a, b) {
			t.Fatalf("%s: %+v, but %+v", what, a, b)
		}
		if okA && errA == nil {
			if invalidA, invalidB := shape.Validate(inputShape, &a), shape.Validate(inputShape, &b); !reflect.DeepEqual(invalidA, invalidB) {
				t.Fatalf("%s: %v, but %v", what, invalidA, invalidB)
			}
		}
	})
}

// FuzzDecodeCBOR compares with another decoder: what is accepted is
// well-formed, and what that one reads as a structure of text keys is accepted.
func FuzzDecodeCBOR(f *testing.F) {
	for _, s := range []string{
		"bf6a53747265616d4e616d656173671853ff", "a0", "bf6454657874637f6161ffff", "a16444617461440001ff02", "bf644c6973749fbf634b65796161ffa0ffff",
		"a1624174c1fb427754329664a000", "bf6454616773a2616161626161f6ff", "a1614e3bffffffffffffffff", "a161787f6161ff", "d9d9f7bfff",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	wellformed, err := cbor.DecOptions{MaxNestedLevels: 65535}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		original := bytes.Clone(body)
		var in input
		_, ok := awsproto.CBOR11.Decode(body, inputShape, &in)
		if ok {
			if err := wellformed.Wellformed(original); err != nil {
				t.Fatalf("%x was accepted: %v", original, err)
			}
			return
		}
		var want any
		if err := cbor.Unmarshal(original, &want); err == nil && textKeys(want) && depthOf(want) <= 8 {
			if _, isMap := want.(map[any]any); isMap {
				t.Fatalf("%x was refused", original)
			}
		}
	})
}

// textKeys reports whether all maps in v, which may be where members are, have
// keys of text.
func textKeys(v any) bool {
	switch v := v.(type) {
	case map[any]any:
		for k, e := range v {
			if _, ok := k.(string); !ok || !textKeys(e) {
				return false
			}
		}
	case []any:
		for _, e := range v {
			if !textKeys(e) {
				return false
			}
		}
	case cbor.Tag:
		return textKeys(v.Content)
	}
	return true
}

func depthOf(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[any]any:
		for _, e := range v {
			deepest = max(deepest, depthOf(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, depthOf(e))
		}
	case cbor.Tag:
		return depthOf(v.Content)
	default:
		return 0
	}
	return deepest + 1
}

func TestEncodeCBOR(t *testing.T) {
	got := awsproto.CBOR11.AppendOutput(nil, everything{"q\"\xffé"})
	var v struct {
		Text   string
		N      int
		Yes    bool
		At     cbor.RawMessage
		Data   []byte
		One    map[string]any
		List   []map[string]string
		Names  []string
		Number string
		Hash   string
	}
	if err := cbor.Unmarshal(got, &v); err != nil {
		t.Fatalf("%x: %v", got, err)
	}
	if v.Text != "q\"\ufffdé" || v.N != -7 || !v.Yes || string(v.Data) != "hello" || v.One == nil ||
		fmt.Sprint(v.List) != "[map[ShardId:shardId-000001234567 Zero:shardId-000000000000] map[]]" || fmt.Sprint(v.Names) != "[a b]" ||
		v.Number != "49646437577175378652512468275251745506222989733565300786" || v.Hash != "340282366920938463463374607431768211455" {
		t.Errorf("%x is %+v", got, v)
	}
	if at := hex.EncodeToString(v.At); at != "c11b0000018bcfe56803" {
		t.Errorf("timestamp %s", at)
	}
	for _, part := range []string{"bf6454657874", "634f6e65bfff", "644c6973749fbf", "bfffff654e616d65739f61616162ff", "64446174614568656c6c6f"} {
		if !strings.Contains(hex.EncodeToString(got), part) {
			t.Errorf("%x has no %s", got, part)
		}
	}
}

func TestEncodeCBORNumbers(t *testing.T) {
	for _, n := range []int64{0, 23, 24, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64, -1, -24, -25, -256, -257, math.MinInt64} {
		got := awsproto.CBOR11.AppendOutput(nil, number(n))
		want, err := cbor.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		if want = append(append([]byte("\xbf\x61N"), want...), 0xff); !bytes.Equal(got, want) {
			t.Errorf("%d is %x, want %x", n, got, want)
		}
	}
}

type number int64

func (number) Size() int                { return 0 }
func (n number) Encode(e shape.Encoder) { e.Int("N", int64(n)) }

func TestDecodeCBORDoesNotAllocate(t *testing.T) {
	v := node{kind: 'm', open: true, members: []string{"Text", "N", "Data", "List"}, values: []node{
		{kind: 's', text: "some text", open: true},
		{kind: 'i', n: 1 << 30},
		{kind: 'b', text: "hello"},
		{kind: 'l', open: true, values: []node{{kind: 'm', members: []string{"Key", "Data"}, values: []node{{kind: 's', text: "k"}, {kind: 'b', text: "d"}}}}},
	}}
	original := v.appendCBOR(nil)
	body := make([]byte, len(original))
	var in input
	in.List.Items = make([]element, 0, 3)
	allocs := testing.AllocsPerRun(100, func() {
		copy(body, original)
		if conversion, ok := awsproto.CBOR11.Decode(body, inputShape, &in); conversion != nil || !ok {
			t.Fatal(conversion, ok)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}
