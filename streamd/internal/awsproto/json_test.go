package awsproto_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

type element struct {
	Key  shape.String
	Data shape.Blob
}

type input struct {
	Text shape.String
	N    shape.Int
	Yes  shape.Bool
	At   shape.Time
	Data shape.Blob
	List shape.List[element]
	One  shape.Opt[element]
	Any  shape.Present
	Keys shape.Strings
	Tags shape.Map
}

var elementShape = shape.Struct{
	shape.Of("Key", func(in *element) *shape.String { return &in.Key }, shape.Length(1, 8).Req()),
	shape.Of("Data", func(in *element) *shape.Blob { return &in.Data }, shape.Length(0, 6)),
}

var inputShape = shape.Struct{
	shape.Of("Text", func(in *input) *shape.String { return &in.Text }, shape.Rules{}),
	shape.Of("N", func(in *input) *shape.Int { return &in.N }, shape.Rules{}),
	shape.Of("Yes", func(in *input) *shape.Bool { return &in.Yes }, shape.Rules{}),
	shape.Of("At", func(in *input) *shape.Time { return &in.At }, shape.Rules{}),
	shape.Of("Data", func(in *input) *shape.Blob { return &in.Data }, shape.Rules{}),
	shape.Of("List", func(in *input) *shape.List[element] { return &in.List }, shape.Length(1, 3)).With(elementShape),
	shape.Of("One", func(in *input) *shape.Opt[element] { return &in.One }, shape.Rules{}).With(elementShape),
	shape.Of("Any", func(in *input) *shape.Present { return &in.Any }, shape.Rules{}),
	shape.Of("Keys", func(in *input) *shape.Strings { return &in.Keys }, shape.Length(1, 3).EachOf(shape.Length(1, 8))),
	shape.Of("Tags", func(in *input) *shape.Map { return &in.Tags }, shape.Length(1, 2).Mapping(shape.Length(1, 4), shape.Length(0, 5))),
}

func decode(body string) (in input, conversion *awserr.Error, ok bool) {
	conversion, ok = awsproto.JSON11.Decode([]byte(body), inputShape, &in)
	return in, conversion, ok
}

func TestDecode(t *testing.T) {
	in, conversion, ok := decode(` { "Text":"a\u00e9\ud83d\ude00\/\n" , "N":-7,"Yes":true,"At":1603149588.042,
		"Data":"aGVsbG8=","List":[{"Key":"k1","Data":""},{"Data":"\/\/8=","Key":"k2"}],"One":{"Key":"x"},
		"Any":{"deep":[1,{"er":null}]},"Keys":[ "a" ,null,"b\u00e9"],"Tags":{"k\u0031" : "v1","k2":null,"k3":"","k1":"again"},"Unknown":[{"a":1e5}], "N":3.9 } `)
	if !ok || conversion != nil {
		t.Fatalf("conversion %v, ok %v", conversion, ok)
	}
	for _, c := range []struct{ what, got, want string }{
		{"Text", in.Text.V, "aé😀/\n"},
		{"N, the last one, floored", fmt.Sprint(in.N.V), "3"},
		{"Yes", fmt.Sprint(in.Yes.V), "true"},
		{"At", fmt.Sprint(in.At.V), "1603149588042"},
		{"Data", string(in.Data.V), "hello"},
		{"List", fmt.Sprintf("%v", in.List.Items), "[{{k1 true} {[] true}} {{k2 true} {[255 255] true}}]"},
		{"One", in.One.V.Key.V, "x"},
		{"Any", fmt.Sprint(in.Any.Set), "true"},
		{"Keys", fmt.Sprintf("%q", in.Keys.V), `["a" "bé"]`},
		{"Tags", fmt.Sprint(in.Tags.V), "map[k1:again k3:]"},
	} {
		if c.got != c.want {
			t.Errorf("%s = %q, want %q", c.what, c.got, c.want)
		}
	}
}

func TestDecodeNullIsAbsent(t *testing.T) {
	in, conversion, ok := decode(`{"Text":"x","Text":null,"N":null,"Data":null,"List":[{}],"List":null,"One":{},"One":null,"Any":null,"Keys":["a"],"Keys":null,"Tags":{"a":"b"},"Tags":null}`)
	if !ok || conversion != nil {
		t.Fatalf("conversion %v, ok %v", conversion, ok)
	}
	if in.Text.Set || in.N.Set || in.Data.Set || in.List.Set || in.List.Kept() > 0 || in.One.Set || in.Any.Set || in.Keys.Set || in.Tags.Set {
		t.Errorf("a null is present: %+v", in)
	}
}

func TestDecodeListBeyondItsLimitOnlyCounts(t *testing.T) {
	in, _, ok := decode(`{"List":[` + strings.Repeat(`{"Key":"k"},`, 99) + `{"Key":"k"}]}`)
	if !ok || in.List.Kept() != 3 || in.List.Counted() != 100 {
		t.Errorf("kept %d, counted %d, ok %v", in.List.Kept(), in.List.Counted(), ok)
	}
}

func TestDecodeSyntax(t *testing.T) {
	for _, body := range []string{
		``, ` `, `[]`, `"x"`, `{`, `{}x`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":+1}`,
		`{"a":tru}`, `{"a":"` + "\n" + `"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\`, `{'a':1}`, `{"Text":"x}`, `{"Data":"AAAA`, "{\"Data\":\"AA\nAA\"}", "{\"Data\":\"AAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAA&\"}",
		`{"a":[1,]}`, `{"a":[1 2]}`, `{"List":[{},]}`, `{"List":[`, `{"a":1 "b":2}`,
		`{"Keys":["a",]}`, `{"Keys":["a" "b"]}`, `{"Keys":["a"`, `{"Tags":{"a":"b",}}`, `{"Tags":{"a"}}`, `{"Tags":{"a":"b"`, `{"Tags":{1:"b"}}`,
		strings.Repeat(`{"a":`, 9) + `1` + strings.Repeat(`}`, 9),
		`{"a":` + strings.Repeat(`[`, 100000),
	} {
		if _, _, ok := decode(body); ok {
			t.Errorf("%.40q was accepted", body)
		}
	}
}

func TestDecodeConversions(t *testing.T) {
	const number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber"
	for _, tt := range []struct{ body, want string }{
		{`{"N":true}`, "class java.lang.Boolean can not be converted to an Integer"},
		{`{"N":"1"}`, "class java.lang.String can not be converted to an Integer"},
		{`{"N":[]}`, "Start of list found where not expected"},
		{`{"N":{}}`, "Start of structure or map found where not expected."},
		{`{"Text":false}`, "class java.lang.Boolean can not be converted to an String"},
		{`{"Text":34}`, number + " can not be converted to an String"},
		{`{"Yes":1}`, number + " can not be converted to an Boolean"},
		{`{"Yes":"maybe"}`, "'MAYBE' can not be converted to an Boolean"},
		{`{"At":"now"}`, "class java.lang.String can not be converted to milliseconds since epoch"},
		{`{"At":true}`, "class java.lang.Boolean can not be converted to milliseconds since epoch"},
		{`{"Data":1}`, number + " can not be converted to a Blob"},
		{`{"Data":true}`, "class java.lang.Boolean can not be converted to a Blob"},
		{`{"Data":"abc"}`, "'abc' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 3"},
		{`{"Data":"ab&d"}`, "'ab&d' can not be converted to a Blob: Invalid Base64 character: '&'"},
		{`{"Data":"AAAABBBBCCCCDDDDEEEE&&&&FFFF"}`, "'AAAABBBBCCCCDDDDEEEE&&&&FFFF' can not be converted to a Blob: Invalid Base64 character: '&'"},
		{`{"Data":"AAAABBBBCCCCDDDDEEE=FFFF"}`, "'AAAABBBBCCCCDDDDEEE=FFFF' can not be converted to a Blob: Invalid Base64 character: '='"},
		{`{"Data":"A\nAAB"}`, "'A\nAAB' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 5"},
		{`{"Data":"AA\nA"}`, "'AA\nA' can not be converted to a Blob: Invalid Base64 character: '\n'"},
		{`{"Data":"=+/="}`, "'=+/=' can not be converted to a Blob: Invalid Base64 character: '='"},
		{`{"Data":"+/+="}`, "'+/+=' can not be converted to a Blob: Invalid last non-pad Base64 character dectected"},
		{`{"Data":"AAAABBBBCCCCDDDDEB=="}`, "'AAAABBBBCCCCDDDDEB==' can not be converted to a Blob: Invalid last non-pad Base64 character dectected"},
		{`{"List":1}`, "Expected list or null"},
		{`{"Keys":"x"}`, "Expected list or null"},
		{`{"Keys":{}}`, "Start of structure or map found where not expected."},
		{`{"Keys":[true]}`, "class java.lang.Boolean can not be converted to an String"},
		{`{"Keys":[[]]}`, "Start of list found where not expected"},
		{`{"Tags":"x"}`, "Expected map or null"},
		{`{"Tags":[]}`, "Start of list found where not expected"},
		{`{"Tags":{"a":1}}`, "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String"},
		{`{"Tags":{"a":{}}}`, "Start of structure or map found where not expected."},
		{`{"List":"x"}`, "Expected list or null"},
		{`{"List":{}}`, "Start of structure or map found where not expected."},
		{`{"List":[1]}`, "Expected null"},
		{`{"List":[[]]}`, "Start of list found where not expected"},
		{`{"One":1}`, "Expected null"},
		{`{"One":[]}`, "Start of list found where not expected"},
		{`{"One":{"Key":1}}`, number + " can not be converted to an String"},
		{`{"One":[],"N":"x","Text":1}`, number + " can not be converted to an String"}, // in the order of the table
		{`{"List":[{"Key":"a"},{"Data":1,"Key":true},{"Key":2}]}`, "class java.lang.Boolean can not be converted to an String"},
	} {
		_, conversion, ok := decode(tt.body)
		switch {
		case !ok:
			t.Errorf("%s: a syntax error", tt.body)
		case conversion == nil:
			t.Errorf("%s: no error", tt.body)
		case conversion.Message != tt.want || conversion.Code != "SerializationException":
			t.Errorf("%s:\n got %s\nwant %s", tt.body, conversion, tt.want)
		}
	}
}

func TestDecodeNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "12": 12, "-12": -12, "1.99": 1, "-1.5": -2, "1e3": 1000, "2147483647": math.MaxInt32,
		"2147483648": math.MaxInt32, "99999999999999999999": math.MaxInt32, "-99999999999": math.MinInt32, "1e999": math.MaxInt32,
	} {
		if in, _, ok := decode(`{"N":` + text + `}`); !ok || in.N.V != want {
			t.Errorf("%s = %d, want %d", text, in.N.V, want)
		}
	}
	for text, want := range map[string]shape.Millis{"1.7e9": 1700000000000, "1700000000.1239": 1700000000124, "0": 0, "1e999": 1 << 53} {
		if in, _, ok := decode(`{"At":` + text + `}`); !ok || in.At.V != want {
			t.Errorf("%s = %d, want %d", text, in.At.V, want)
		}
	}
}

// FuzzDecode compares with encoding/json: what it takes for an object is taken,
// and gives the same values; nothing else is.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"Text":"a\u00e9\ud800x\udc00","N":1.5e3,"Yes":"yes"}`, `{"Data":"aGVsbG8=","Data":"AA=="}`, "{\"Text\":\"\xff\xc3\"}",
		`{"List":[{"Key":"a","Data":"AAAA"},null,{}],"One":{"Data":null}}`, `{"Any":[[[]]],"x":{"y":{}}}`, `{"At":1603149588.042,"N":-0}`,
		`{"Data":"\u0041\/8="}`, `{"Data":"AAAAAAAAAAA&"}`, `{"Data":"AAAAAAAAAAAAAAA=\n"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		original := bytes.Clone(body)
		var in input
		conversion, ok := awsproto.JSON11.Decode(body, inputShape, &in)
		var want map[string]any
		d := json.NewDecoder(bytes.NewReader(original))
		d.UseNumber()
		isObject := json.Valid(original) && d.Decode(&want) == nil && want != nil
		if ok && !isObject {
			t.Fatalf("%q was accepted", original)
		}
		if !ok {
			if isObject && depth(want) <= 8 {
				t.Fatalf("%q was refused", original)
			}
			return
		}
		o := oracle{}
		o.members(inputShape, &in, want)
		// Of a member given twice the first value does not count here, but may
		// be complained of.
		if (conversion != nil) != o.mismatch && (o.mismatch || !hasDuplicates(original, want)) {
			t.Fatalf("%q: conversion error %v, want one: %v", original, conversion, o.mismatch)
		}
		if conversion == nil && o.diff != "" {
			t.Fatalf("%q: %s", original, o.diff)
		}
	})
}

// hasDuplicates reports whether an object in body, of which v was read, has a
// member twice.
func hasDuplicates(body []byte, v any) bool {
	colons := 0
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		before := d.InputOffset()
		if _, err := d.Token(); err != nil {
			return colons > members(v)
		}
		// A value that is a member's stands behind a colon.
		if bytes.ContainsRune(body[before:d.InputOffset()], ':') && bytes.HasPrefix(bytes.TrimLeft(body[before:], " \t\r\n"), []byte(":")) {
			colons++
		}
	}
}

func members(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			n += 1 + members(e)
		}
	case []any:
		for _, e := range v {
			n += members(e)
		}
	}
	return n
}

func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	default:
		return 0
	}
	return deepest + 1
}

// oracle compares an input with what encoding/json has read.
type oracle struct {
	mismatch bool
	diff     string
}

func (o *oracle) equal(name string, got, want any) {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		o.diff = fmt.Sprintf("%s = %#v, want %#v", name, got, want)
	}
}

func (o *oracle) members(s shape.Struct, in any, want map[string]any) {
	for i := range s {
		m := &s[i]
		v := want[m.Name]
		switch f := m.Field(in).(type) {
		case *shape.String:
			text, ok := v.(string)
			o.scalar(m.Name, v, ok, f.Set, f.V, text)
		case *shape.Blob:
			text, ok := v.(string)
			b, err := base64.StdEncoding.Strict().DecodeString(text)
			ok = ok && err == nil && !strings.ContainsAny(text, "\r\n")
			o.scalar(m.Name, v, ok, f.Set, f.V, b)
		case *shape.Int:
			number, ok := v.(json.Number)
			x, _ := number.Float64()
			o.scalar(m.Name, v, ok, f.Set, f.V, int64(max(math.MinInt32, min(math.Floor(x), math.MaxInt32))))
		case *shape.Time:
			number, ok := v.(json.Number)
			x, _ := number.Float64()
			o.scalar(m.Name, v, ok, f.Set, f.V, shape.Millis(math.Round(max(-1<<53, min(x*1000, 1<<53)))))
		case *shape.Bool:
			b, ok := v.(bool)
			if text, isText := v.(string); isText {
				words := map[string]bool{"true": true, "1": true, "yes": true, "false": false, "0": false, "no": false}
				b, ok = words[strings.ToLower(text)]
			}
			o.scalar(m.Name, v, ok, f.Set, f.V, b)
		case *shape.Present:
			o.equal(m.Name+" present", f.Set, v != nil)
		case *shape.Strings:
			list, ok := v.([]any)
			var want []string
			for _, e := range list {
				text, ok := e.(string)
				if o.mismatch = o.mismatch || e != nil && !ok; ok {
					want = append(want, text)
				}
			}
			o.scalar(m.Name, v, ok, f.Set, f.V, want)
		case *shape.Map:
			object, ok := v.(map[string]any)
			want := make(map[string]string)
			for key, e := range object {
				text, ok := e.(string)
				if o.mismatch = o.mismatch || e != nil && !ok; ok {
					want[key] = text
				}
			}
			o.scalar(m.Name, v, ok, f.Set, f.V, want)
		case shape.Lister:
			list, ok := v.([]any)
			o.scalar(m.Name, v, ok, f.Present(), f.Counted(), len(list))
			for j, e := range list {
				inner, ok := e.(map[string]any)
				switch {
				case e != nil && !ok:
					o.mismatch = true
				case j < f.Kept():
					o.members(m.Elem, f.At(j), inner)
				default: // dropped, but not unseen
					o.members(m.Elem, new(element), inner)
					o.diff = ""
				}
			}
		case shape.Nested:
			inner, ok := v.(map[string]any)
			o.scalar(m.Name, v, ok, f.Get() != nil, 0, 0)
			if ok {
				if got := f.Get(); got != nil {
					o.members(m.Elem, got, inner)
				}
			}
		}
	}
}

func (o *oracle) scalar(name string, v any, fits, set bool, got, want any) {
	switch {
	case v == nil:
		o.equal(name+" present", set, false)
	case !fits:
		o.mismatch = true
	default:
		o.equal(name+" present", set, true)
		o.equal(name, got, want)
	}
}

// everything is an output with a member of each kind.
type everything struct{ text string }

func (everything) Size() int { return 0 }

func (o everything) Encode(e shape.Encoder) {
	e.String("Text", o.text)
	e.Int("N", -7)
	e.Bool("Yes", true)
	e.Time("At", time.UnixMilli(1700000000003))
	e.Blob("Data", []byte("hello"))
	e.Begin("One")
	e.End()
	e.BeginList("List")
	e.BeginElem()
	e.ShardID("ShardId", 1234567)
	e.ShardID("Zero", 0)
	e.End()
	e.BeginElem()
	e.End()
	e.EndList()
	e.BeginList("Names")
	e.String("", "a")
	e.String("", "b")
	e.EndList()
	e.Sequence("Number", seqno.Number{Create: 1700000000, Shard: 3, Index: 1, Time: 1700000005})
	e.HashKey("Hash", hashkey.Max)
}

func TestEncode(t *testing.T) {
	got := string(awsproto.JSON11.AppendOutput(nil, everything{"q\"\\/\n\x01é"}))
	want := `{"Text":"q\"\\/\n\u0001é","N":-7,"Yes":true,"At":1700000000.003,"Data":"aGVsbG8=","One":{},` +
		`"List":[{"ShardId":"shardId-000001234567","Zero":"shardId-000000000000"},{}],"Names":["a","b"],` +
		`"Number":"49646437577175378652512468275251745506222989733565300786","Hash":"340282366920938463463374607431768211455"}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzEncodeString(f *testing.F) {
	for _, s := range []string{"", "a\"\\", "\x00\x1f\x7f", "\xff\xfe", "é\u2028\ufffd", "😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got struct{ Text string }
		if err := json.Unmarshal(awsproto.JSON11.AppendOutput(nil, everything{s}), &got); err != nil {
			t.Fatal(err)
		}
		if want := string([]rune(s)); got.Text != want {
			t.Errorf("%q was written as %q", want, got.Text)
		}
	})
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	body := []byte(`{"List":[{"Data":"aGVsbG8=","Key":"k1"},{"Data":"aGVsbG8=","Key":"k2"}],"Text":"stream"}`)
	work := make([]byte, len(body))
	in := new(input)
	in.List.Items = make([]element, 0, 3)
	if n := testing.AllocsPerRun(100, func() {
		copy(work, body)
		if conversion, ok := awsproto.JSON11.Decode(work, inputShape, in); conversion != nil || !ok {
			t.Fatal(conversion, ok)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	const records = 500
	body := []byte(`{"List":[`)
	for i := range records {
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"Data":"%s","Key":"key-%012d"}`, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(i)}, 200)), i)
	}
	body = append(body, "]}"...)
	list := shape.Struct{shape.Of("List", func(in *input) *shape.List[element] { return &in.List }, shape.Length(1, records)).With(elementShape)}
	work := make([]byte, len(body))
	var in input
	b.ReportAllocs()
	for b.Loop() {
		copy(work, body)
		if conversion, ok := awsproto.JSON11.Decode(work, list, &in); conversion != nil || !ok {
			b.Fatal(conversion, ok)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}
