package kinesiswire_test

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/streamkit/streamkit/internal/kinesiswire"
)

type entries []kinesiswire.Entry

func (es entries) Len() int                      { return len(es) }
func (es entries) Entry(i int) kinesiswire.Entry { return es[i] }

func ptr[T any](v T) *T { return &v }

// TestBytes pins what is sent.
func TestBytes(t *testing.T) {
	es := entries{
		{Data: []byte("hello"), PartitionKey: ptr("k\"\x01é"), ExplicitHashKey: ptr("0")},
		{Data: []byte{}, PartitionKey: ptr("a")},
		{},
	}
	s := kinesiswire.Stream{Name: ptr("orders"), ARN: ptr("arn"), ID: ptr("id"), DryRun: ptr(true)}
	const wantJSON = `{"DryRun":true,"Records":[{"Data":"aGVsbG8=","ExplicitHashKey":"0","PartitionKey":"k\"\u0001é"},` +
		`{"Data":"","PartitionKey":"a"},{}],"StreamARN":"arn","StreamId":"id","StreamName":"orders"}`
	if got := kinesiswire.AppendJSON(nil, s, es); string(got) != wantJSON {
		t.Errorf("JSON\n%s\nwant\n%s", got, wantJSON)
	}
	const wantCBOR = "\xbf\x66DryRun\xf5\x67Records\x9f" +
		"\xbf\x64Data\x45hello\x6fExplicitHashKey\x610\x6cPartitionKey\x65k\"\x01é\xff" +
		"\xbf\x64Data\x40\x6cPartitionKey\x61a\xff\xbf\xff\xff" +
		"\x69StreamARN\x63arn\x68StreamId\x62id\x6aStreamName\x66orders\xff"
	if got := kinesiswire.AppendCBOR(nil, s, es); string(got) != wantCBOR {
		t.Errorf("CBOR\n%q\nwant\n%q", got, wantCBOR)
	}
	if got := kinesiswire.AppendJSON([]byte("x"), kinesiswire.Stream{DryRun: ptr(false)}, entries{}); string(got) != `x{"DryRun":false,"Records":[]}` {
		t.Errorf("empty JSON %s", got)
	}
}

// TestDataOfAllLengths compares base64 with the standard library's, and bounds
// with sizes.
func TestDataOfAllLengths(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 400 {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		es := entries{{Data: data, PartitionKey: ptr(strings.Repeat("\x01", n)), ExplicitHashKey: ptr("1")}}
		s := kinesiswire.Stream{Name: ptr("s"), DryRun: ptr(false)}
		body := kinesiswire.AppendJSON(nil, s, es)
		if want := `"Data":"` + base64.StdEncoding.EncodeToString(data) + `"`; !strings.Contains(string(body), want) {
			t.Fatalf("%d bytes: %s", n, body)
		}
		if size := kinesiswire.JSONSize(s, es); size < len(body) {
			t.Errorf("JSONSize %d, written %d", size, len(body))
		}
		body = kinesiswire.AppendCBOR(nil, s, es)
		if size := kinesiswire.CBORSize(s, es); size < len(body) {
			t.Errorf("CBORSize %d, written %d", size, len(body))
		}
	}
}

// FuzzJSON checks that what is taken is JSON, and that text is UTF-8. What it
// means is compared with the SDK's reader in the producer's tests.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"FailedRecordCount":1,"EncryptionType":"NONE","Records":[{"SequenceNumber":"1","ShardId":"s"},{"ErrorCode":"\ud83d\ude00","ErrorMessage":"\"\\\/\b\f\n\r\té"},null]}`,
		`{"x":{"a":[1,-0.5e+3,true,false,null,"\u00e9"],"b":{}}}`, `[]`, "{\"Records\":[{\"ShardId\":\"\xff\"}]}", `{"FailedRecordCount":-0}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var r kinesiswire.Response
		if r.ParseJSON(body) != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("taken, but no JSON: %q", body)
		}
		checkText(t, &r, body)
	})
}

func checkText(t *testing.T, r *kinesiswire.Response, body []byte) {
	t.Helper()
	total := len(r.EncryptionType)
	for _, res := range r.Records {
		for _, s := range [][]byte{res.ShardID, res.SequenceNumber, res.ErrorCode, res.ErrorMessage} {
			if !utf8.Valid(s) {
				t.Errorf("%q: %q is no UTF-8", body, s)
			}
			total += len(s)
		}
	}
	if total > len(body) {
		t.Errorf("%q: %d bytes of text", body, total)
	}
}

// FuzzCBOR checks that what is taken is well-formed, and that every string is
// in it.
func FuzzCBOR(f *testing.F) {
	f.Add([]byte("\xbf\x71FailedRecordCount\x00\x67Records\x9f\xbf\x67ShardId\x61s\x6eSequenceNumber\x6249\xff\xf6\xff\xff"))
	f.Add([]byte("\xa2\x61x\xc1\x82\x5f\x41a\xff\xfb\x00\x00\x00\x00\x00\x00\x00\x00\x67Records\x81\xa1\x69ErrorCode\x7f\x61e\x61f\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var r kinesiswire.Response
		fault, faultErr := r.ParseCBORFault(body)
		if faultErr == nil && len(fault.Code)+len(fault.Message) > len(body) {
			t.Fatalf("%q: fault %q", body, fault)
		}
		if r.ParseCBOR(body) != nil {
			return
		}
		if err := cbor.Wellformed(body); err != nil && !strings.Contains(err.Error(), "exceed") {
			t.Fatalf("taken, but not well-formed: %x: %v", body, err)
		}
		checkText(t, &r, body)
	})
}

// TestDeepNesting checks that an answer cannot exhaust the stack.
func TestDeepNesting(t *testing.T) {
	var r kinesiswire.Response
	deep := strings.Repeat("[", 1_000_000)
	if err := r.ParseJSON([]byte(`{"x":` + deep)); err == nil {
		t.Error("JSON was taken")
	}
	if err := r.ParseCBOR([]byte("\xbf\x61x" + strings.Repeat("\x9f", 1_000_000))); err == nil {
		t.Error("CBOR was taken")
	}
}

func TestAllocations(t *testing.T) {
	const n = 100
	jsonBody := []byte(`{"FailedRecordCount":0,"Records":[` + strings.TrimSuffix(strings.Repeat(`{"SequenceNumber":"49","ShardId":"s\u0041"},`, n), ",") + `]}`)
	cborBody := []byte("\xbf\x67Records\x9f" + strings.Repeat("\xbf\x67ShardId\x61s\xff", n) + "\xff\xff")
	es := make(entries, n)
	for i := range es {
		es[i] = kinesiswire.Entry{Data: []byte("data"), PartitionKey: ptr("k"), ExplicitHashKey: ptr("1")}
	}
	var r kinesiswire.Response
	var buf []byte
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"ParseJSON", func() {
			if r.ParseJSON(jsonBody) != nil || len(r.Records) != n {
				t.Fatal("not parsed")
			}
		}},
		{"ParseCBOR", func() {
			if r.ParseCBOR(cborBody) != nil || len(r.Records) != n {
				t.Fatal("not parsed")
			}
		}},
		{"AppendJSON", func() { buf = kinesiswire.AppendJSON(buf[:0], kinesiswire.Stream{}, &es) }},
		{"AppendCBOR", func() { buf = kinesiswire.AppendCBOR(buf[:0], kinesiswire.Stream{}, &es) }},
	} {
		tt.f()
		if got := testing.AllocsPerRun(20, tt.f); got != 0 {
			t.Errorf("%s: %v allocations", tt.name, got)
		}
	}
}
