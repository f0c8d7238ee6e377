package capture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/capture"
)

// message writes a message of an event stream, with headers of text.
func message(payload string, headers ...string) []byte {
	b := make([]byte, 12)
	for i := 0; i < len(headers); i += 2 {
		b = append(append(b, byte(len(headers[i]))), headers[i]...)
		b = append(binary.BigEndian.AppendUint16(append(b, 7), uint16(len(headers[i+1]))), headers[i+1]...)
	}
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-12))
	b = append(b, payload...)
	binary.BigEndian.PutUint32(b, uint32(len(b)+4))
	binary.BigEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[:8]))
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func event(payload, ctype string) []byte {
	return message(payload, ":message-type", "event", ":event-type", "SubscribeToShardEvent", ":content-type", ctype)
}

func TestReadEvent(t *testing.T) {
	for _, tt := range []struct {
		name    string
		message []byte
		want    capture.Event
	}{
		{"the first", message("{}", ":message-type", "event", ":event-type", "initial-response", ":content-type", jsonType), capture.Event{Name: "initial-response"}},
		{"two records", event(`{"Records":[{"Data":"SequenceNumber","SequenceNumber":"1"},{"SequenceNumber":"2"}],"ContinuationSequenceNumber":"3","MillisBehindLatest":0}`, jsonType), capture.Event{Name: "SubscribeToShardEvent", Records: 2, Next: "3"}},
		{"a sign of life", event(`{"Records":[],"ContinuationSequenceNumber":"3"}`, jsonType), capture.Event{Name: "SubscribeToShardEvent", Next: "3"}},
		{"the end of a shard", event(`{"Records":[],"ChildShards":[{"ShardId":"shardId-000000000001","ParentShards":["shardId-000000000000"]}]}`, jsonType), capture.Event{Name: "SubscribeToShardEvent", Last: true}},
		{"a record in CBOR", event(string(unhex(t, "bf 67 5265636f726473 9f bf 6e 53657175656e63654e756d626572 61 31 ff ff ff")), cborType), capture.Event{Name: "SubscribeToShardEvent", Records: 1}},
		{"an exception", message(`{"message":"x"}`, ":message-type", "exception", ":exception-type", "ResourceInUseException", ":content-type", jsonType), capture.Event{Code: "ResourceInUseException"}},
		{"an error", message("", ":message-type", "error", ":error-code", "InternalError", ":error-message", "x"), capture.Event{Code: "InternalError"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Two of them, so that the second is read into the buffer of the first.
			r := bytes.NewReader(append(bytes.Clone(tt.message), tt.message...))
			var buf []byte
			for range 2 {
				var err error
				if buf, err = capture.ReadMessage(r, buf); err != nil || !bytes.Equal(buf, tt.message) {
					t.Fatalf("%x, %v", buf, err)
				}
				if got, err := capture.ReadEvent(buf); err != nil || got != tt.want {
					t.Errorf("%+v, %v; want %+v", got, err, tt.want)
				}
			}
			if _, err := capture.ReadMessage(r, buf); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

func TestReadEventRefuses(t *testing.T) {
	whole := event(`{"Records":[]}`, jsonType)
	change := func(at int) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 1
		return b
	}
	huge := binary.BigEndian.AppendUint32(nil, capture.MaxEvent+1)
	huge = append(huge, 0, 0, 0, 0)
	huge = binary.BigEndian.AppendUint32(huge, crc32.ChecksumIEEE(huge))
	small := append([]byte{0, 0, 0, 15, 0, 0, 0, 0}, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(small[8:], crc32.ChecksumIEEE(small[:8]))
	number := message("", "n", "")
	number[12+2] = 4 // an int32
	binary.BigEndian.PutUint32(number[len(number)-4:], crc32.ChecksumIEEE(number[:len(number)-4]))
	long := message("")
	binary.BigEndian.PutUint32(long[4:], 1)
	binary.BigEndian.PutUint32(long[8:], crc32.ChecksumIEEE(long[:8]))
	binary.BigEndian.PutUint32(long[12:], crc32.ChecksumIEEE(long[:12]))
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"the length", change(3), capture.ErrEvent},
		{"the length of the headers", change(7), capture.ErrEvent},
		{"a header", change(20), capture.ErrEvent},
		{"the payload", change(len(whole) - 6), capture.ErrEvent},
		{"the checksum", change(len(whole) - 1), capture.ErrEvent},
		{"too long", huge, capture.ErrEvent},
		{"too short", small, capture.ErrEvent},
		{"a header that is no text", number, capture.ErrEvent},
		{"headers longer than the message", long, capture.ErrEvent},
		{"no JSON", event("{", jsonType), capture.ErrEvent},
		{"cut in the prelude", whole[:11], io.ErrUnexpectedEOF},
		{"cut behind the prelude", whole[:12], io.ErrUnexpectedEOF},
		{"cut", whole[:len(whole)-1], io.ErrUnexpectedEOF},
	} {
		b, err := capture.ReadMessage(bytes.NewReader(tt.b), nil)
		if err == nil {
			_, err = capture.ReadEvent(b)
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func FuzzReadEvent(f *testing.F) {
	f.Add([]byte(`{"Records":[{"SequenceNumber":"1"}]}`), ":content-type", jsonType)
	f.Add([]byte("\xbf\xff"), ":content-type", cborType)
	f.Add([]byte{}, ":error-code", "X")
	f.Fuzz(func(t *testing.T, payload []byte, name, value string) {
		_, _ = capture.ReadEvent(payload) // as it is, it is hardly ever one
		if len(name) > 255 || len(value) > 1<<15 {
			return
		}
		m := message(string(payload), name, value)
		b, err := capture.ReadMessage(bytes.NewReader(m), nil)
		if err != nil || !bytes.Equal(b, m) {
			t.Fatalf("%v", err)
		}
		e, err := capture.ReadEvent(b)
		if err != nil && !errors.Is(err, capture.ErrEvent) {
			t.Errorf("%v", err)
		}
		if err == nil && name == ":error-code" && e.Code != value {
			t.Errorf("%+v, want code %q", e, value)
		}
	})
}

func TestStreamLines(t *testing.T) {
	opened := capture.Line{At: time.Second, Target: prefix + "SubscribeToShard", ContentType: jsonType, Body: []byte(`{"A":1}`), Status: 200, Stream: 7}
	var seen capture.Subscription
	for _, e := range []capture.Event{
		{Name: "initial-response"}, {Records: 2, Next: "10"}, {Next: "11"}, {Records: 1, Next: "12"}, {Next: "13"}, {Last: true}, {Code: "InternalFailureException"},
	} {
		seen.Add(e)
	}
	file := capture.AppendHeader(nil, time.Unix(1e9, 0))
	for _, l := range []capture.Line{opened, opened.End(2*time.Second, seen)} {
		var err error
		if file, err = capture.AppendLine(file, l); err != nil {
			t.Fatal(err)
		}
	}
	const want = `{"format":"streamd-capture","version":1,"started":"2001-09-09T01:46:40Z"}
{"at_us":1000000,"target":"Kinesis_20131202.SubscribeToShard","type":"application/x-amz-json-1.1","body":{"A":1},"status":200,"stream":7}
{"at_us":2000000,"target":"Kinesis_20131202.SubscribeToShard","type":"application/x-amz-json-1.1","status":200,"code":"InternalFailureException","values":{"ContinuationSequenceNumber":"13"},"stream":7,"ended":{"events":3,"records":3,"last":true}}
`
	if string(file) != want {
		t.Errorf("the file is\n%swant\n%s", file, want)
	}
	r := capture.NewReader(bytes.NewReader(file))
	first, err := r.Next()
	if err != nil || first.Stream != 7 || first.Ended != nil {
		t.Errorf("%+v, %v", first, err)
	}
	second, err := r.Next()
	if err != nil || second.Stream != 7 || second.Ended == nil || *second.Ended != seen {
		t.Errorf("%+v, %v; want %+v", second, err, seen)
	}
}
