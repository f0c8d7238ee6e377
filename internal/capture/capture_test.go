package capture_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/capture"
)

const (
	jsonType = "application/x-amz-json-1.1"
	cborType = "application/x-amz-cbor-1.1"
	prefix   = "Kinesis_20131202."
)

// unhex reads CBOR written in hexadecimal, with spaces where they help.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, op, ctype string
		status          int
		body            string // hexadecimal if it is CBOR
		want            capture.Answer
	}{
		{
			name: "put", op: "PutRecord", ctype: jsonType, status: 200,
			body: `{"ShardId":"shardId-000000000000","SequenceNumber":"49"}`,
			want: capture.Answer{Values: map[string]string{"SequenceNumber": "49"}},
		},
		{
			name: "put in CBOR", op: "PutRecord", ctype: cborType, status: 200,
			body: "bf 67 53686172644964 61 73 6e 53657175656e63654e756d626572 62 3439 ff",
			want: capture.Answer{Values: map[string]string{"SequenceNumber": "49"}},
		},
		{
			name: "puts, one refused", op: "PutRecords", ctype: jsonType, status: 200,
			body: `{"FailedRecordCount":1,"Records":[{"SequenceNumber":"1"},{"ErrorCode":"InternalFailure","ErrorMessage":"x"}]}`,
			want: capture.Answer{Failed: 1, Values: map[string]string{"Records.0.SequenceNumber": "1"}},
		},
		{
			name: "read", op: "GetRecords", ctype: jsonType, status: 200,
			body: `{"Records":[{"SequenceNumber":"1","Data":"aa"}],"NextShardIterator":"i"}`,
			want: capture.Answer{Values: map[string]string{"NextShardIterator": "i"}},
		},
		{
			name: "shards", op: "ListShards", ctype: jsonType + "; charset=utf-8", status: 200,
			body: `{"Shards":[{"SequenceNumberRange":{"StartingSequenceNumber":"1"}}],"NextToken":"t"}`,
			want: capture.Answer{Values: map[string]string{"Shards.0.SequenceNumberRange.StartingSequenceNumber": "1", "NextToken": "t"}},
		},
		{
			name: "error", op: "GetRecords", ctype: jsonType, status: 400,
			body: `{"__type":"com.amazon#ExpiredIteratorException","message":"SequenceNumber"}`,
			want: capture.Answer{Code: "ExpiredIteratorException"},
		},
		{
			name: "table", op: "CreateTable", ctype: "application/x-amz-json-1.0", status: 200,
			body: `{"TableDescription":{"TableArn":"arn:t","Item":{"leaseARN":{"S":"x"}}}}`,
			want: capture.Answer{Values: map[string]string{"TableDescription.TableArn": "arn:t"}},
		},
		{name: "empty", op: "DeleteStream", ctype: jsonType, status: 200},
		{name: "another type", op: "ListStreams", ctype: "text/html", status: 502, body: "<html>"},
		{name: "cut off", op: "ListStreams", ctype: jsonType, status: 200, body: `{"NextToken":"a"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := []byte(tt.body)
			if tt.ctype == cborType {
				body = unhex(t, tt.body)
			}
			got := capture.ReadAnswer(prefix+tt.op, tt.ctype, tt.status, body)
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestMapping(t *testing.T) {
	// {"ShardIterator": "old", "Limit": 1} and {"ShardIterator": "a new one…"}
	inCBOR := unhex(t, "bf 6d 53686172644974657261746f72 63 6f6c64 65 4c696d6974 01 ff")
	long := strings.Repeat("n", 300)
	outCBOR := append(append(unhex(t, "bf 6d 53686172644974657261746f72 79 012c"), long...), unhex(t, "65 4c696d6974 01 ff")...)
	for _, tt := range []struct {
		name, ctype string
		body, to    string
		want        string
	}{
		{"iterator", jsonType, `{ "ShardIterator" : "old", "Limit":1}`, "new", `{ "ShardIterator" : "new", "Limit":1}`},
		{"iterator in CBOR", cborType, string(inCBOR), long, string(outCBOR)},
		{"quoted", jsonType, `{"NextToken":"old"}`, `a"b`, `{"NextToken":"a\"b"}`},
		{"written otherwise", jsonType, `{"NextToken":"\u006fld"}`, "new", `{"NextToken":"new"}`},
		{"number to begin at", jsonType, `{"StartingSequenceNumber":"old","X":"old"}`, "new", `{"StartingSequenceNumber":"new","X":"old"}`},
		{"number for ordering", jsonType, `{"SequenceNumberForOrdering":"old"}`, "new", `{"SequenceNumberForOrdering":"new"}`},
		{"nested", jsonType, `{"StartingPosition":{"SequenceNumber":"old"},"ConsumerARN":"old"}`, "new", `{"StartingPosition":{"SequenceNumber":"new"},"ConsumerARN":"new"}`},
		{"table", "application/x-amz-json-1.0", `{"TableName":"old","Item":{"TableName":{"S":"old"}}}`, "new", `{"TableName":"new","Item":{"TableName":{"S":"old"}}}`},
		{"data is not touched", jsonType, `{"Data":"old","PartitionKey":"old"}`, "new", `{"Data":"old","PartitionKey":"old"}`},
		{"unknown", jsonType, `{"NextToken":"other"}`, "new", `{"NextToken":"other"}`},
		{"not well-formed", jsonType, `{"NextToken":"old"`, "new", `{"NextToken":"old"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m capture.Mapping
			l := capture.Line{ContentType: tt.ctype, Body: []byte(tt.body)}
			m.Need(l)
			m.Learn(capture.Answer{Values: map[string]string{"A": "old", "B": "gone"}}, capture.Answer{Values: map[string]string{"A": tt.to}})
			if got := string(m.Rewrite(l)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestFile(t *testing.T) {
	lines := []capture.Line{
		{
			At: 1500 * time.Microsecond, Target: prefix + "PutRecord", ContentType: jsonType,
			Body: []byte(`{"Data":"PDw+Jg==","X":"<&>"}`), Status: 200,
			Answer: capture.Answer{Values: map[string]string{"SequenceNumber": "49"}},
		},
		{
			At: time.Second, Target: prefix + "PutRecords", ContentType: cborType,
			Body: []byte{0xbf, 0xff}, Status: 200, Answer: capture.Answer{Failed: 3},
		},
		{At: time.Second, Target: prefix + "ListStreams", ContentType: jsonType, Body: []byte("{"), Status: 400, Answer: capture.Answer{Code: "SerializationException"}},
		{At: time.Second, Target: prefix + "ListStreams", ContentType: jsonType, Body: []byte{'"', 0xff, '"'}, Status: 400},
	}
	var file []byte
	for range 2 { // a second run is appended
		file = capture.AppendHeader(file, time.Unix(1e9, 0))
		for _, l := range lines {
			var err error
			if file, err = capture.AppendLine(file, l); err != nil {
				t.Fatal(err)
			}
		}
	}
	const begin = `{"format":"streamd-capture","version":1,"started":"2001-09-09T01:46:40Z"}
{"at_us":1500,"target":"Kinesis_20131202.PutRecord","type":"application/x-amz-json-1.1","body":{"Data":"PDw+Jg==","X":"<&>"},"status":200,"values":{"SequenceNumber":"49"}}
{"at_us":1000000,"target":"Kinesis_20131202.PutRecords","type":"application/x-amz-cbor-1.1","base64":"v/8=","status":200,"failed":3}
`
	if !strings.HasPrefix(string(file), begin) {
		t.Errorf("the file is\n%swant it to begin with\n%s", file, begin)
	}
	r := capture.NewReader(bytes.NewReader(file))
	for run := range 2 {
		for i, want := range lines {
			got, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			want.At += time.Duration(run) * time.Second // when the first has ended
			if !reflect.DeepEqual(got, want) {
				t.Errorf("run %d, line %d: %+v, want %+v", run, i, got, want)
			}
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want the end", err)
	}
}

func TestReaderRefuses(t *testing.T) {
	const head = `{"format":"streamd-capture","version":1,"started":"2001-09-09T01:46:40Z"}` + "\n"
	for _, tt := range []struct {
		name, file string
		damaged    int // the line, 0 if the file as a whole is refused
		want       string
	}{
		{"something else", "hello\n", 0, "not its header"},
		{"another JSON", `{"format":"x"}` + "\n", 0, "not its header"},
		{"later version", `{"format":"streamd-capture","version":2}` + "\n", 0, "it has version 2, and this program reads 1"},
		{"later version in the middle", head + `{"format":"streamd-capture","version":2}` + "\n", 0, "version 2"},
		{"torn", head + `{"at_us":1,"tar`, 2, "line 2"},
		{"nothing in it", head + "\n{}\n", 3, "target, status or time"},
		{"time before the begin", head + `{"at_us":-1,"target":"a.b","status":200}` + "\n", 2, "time"},
		{"too long", head + strings.Repeat(" ", capture.MaxLine+1), 0, "longer than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := capture.NewReader(strings.NewReader(tt.file))
			_, err := r.Next()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			d, ok := errors.AsType[*capture.DamagedError](err)
			if ok != (tt.damaged > 0) || ok && d.Line != tt.damaged {
				t.Errorf("error %#v", err)
			}
			if !ok && !errors.Is(err, capture.ErrFormat) {
				t.Errorf("error %v is not ErrFormat", err)
			}
		})
	}
	if _, err := capture.NewReader(strings.NewReader("")).Next(); !errors.Is(err, io.EOF) {
		t.Errorf("an empty file: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	head := string(capture.AppendHeader(nil, time.Unix(1e9, 0)))
	f.Add([]byte(head + `{"at_us":1,"target":"Kinesis_20131202.PutRecord","type":"application/x-amz-json-1.1","body":{"a":1},"status":200}` + "\n"))
	f.Add([]byte(head + `{"at_us":1,"target":"K.P","type":"application/x-amz-cbor-1.1","base64":"v/8=","status":200,"values":{"a":"b"}}`))
	f.Add([]byte(head + head + "\n\n{}\n"))
	f.Add([]byte("{\"format\":"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r := capture.NewReader(bytes.NewReader(file))
		for range 1000 {
			l, err := r.Next()
			if _, damaged := errors.AsType[*capture.DamagedError](err); damaged {
				continue
			}
			if err != nil {
				return
			}
			// What was read is written so that it is read the same.
			again, err := capture.AppendLine(capture.AppendHeader(nil, time.Time{}), l)
			if err != nil {
				t.Fatal(err)
			}
			second, err := capture.NewReader(bytes.NewReader(again)).Next()
			if err != nil {
				t.Fatalf("%v: %s", err, again)
			}
			if second.At != l.At || second.Target != l.Target || second.Status != l.Status || !maps.Equal(second.Values, l.Values) {
				t.Errorf("%+v, then %+v", l, second)
			}
		}
	})
}

// FuzzRewrite puts one name for another, and that back.
func FuzzRewrite(f *testing.F) {
	f.Add(false, []byte(`{"NextToken":"a","Records":[{"SequenceNumber":"\u0061"}]}`))
	f.Add(false, []byte(`[{"XARN":"a"}, 1e400, null, {}]`))
	f.Add(true, []byte("\xbf\x69NextToken\x61a\xff"))
	f.Add(true, []byte("\xa1\x69NextToken\x7f\x61a\xff"))
	f.Add(true, []byte("\xa1\x64XARN\xc1\x82\x61a\x1b\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, inCBOR bool, body []byte) {
		ctype := jsonType
		if inCBOR {
			ctype = cborType
		}
		there := swap(t, ctype, body, "a", "another name")
		back := swap(t, ctype, there, "another name", "a")
		again := swap(t, ctype, back, "a", "another name")
		if !bytes.Equal(there, again) {
			t.Errorf("%q became %q, %q and %q", body, there, back, again)
		}
	})
}

func swap(t *testing.T, ctype string, body []byte, from, to string) []byte {
	t.Helper()
	var m capture.Mapping
	l := capture.Line{ContentType: ctype, Body: body}
	m.Need(l)
	m.Learn(capture.Answer{Values: map[string]string{"v": from}}, capture.Answer{Values: map[string]string{"v": to}})
	return m.Rewrite(l)
}
