package streamd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/fxamacker/cbor/v2"
)

const (
	inJSON = "application/x-amz-json-1.1"
	inCBOR = "application/x-amz-cbor-1.1"
)

// message is one of an event stream, as any reader of the format sees it.
type message struct {
	kind, name, ctype string // headers of the message
	payload           any    // *plainEvent, or what was decoded
}

// plainRecord and plainEvent are what an event has in either encoding. Times are
// in milliseconds.
type plainRecord struct {
	Data           []byte
	PartitionKey   string
	SequenceNumber string
	EncryptionType string
	Arrived        int64
}

type plainEvent struct {
	Records                    []plainRecord
	ContinuationSequenceNumber string
	MillisBehindLatest         int64
	ChildShards                []plainChild
}

type plainChild struct {
	ShardID      string `json:"ShardId"`
	ParentShards []string
	HashKeyRange struct{ StartingHashKey, EndingHashKey string }
}

// wireEvent is an event whose times are as its encoding writes them. Both
// decoders refuse members that it lacks.
type wireEvent[T any] struct {
	Records []struct {
		Data                        []byte
		PartitionKey                string
		SequenceNumber              string
		EncryptionType              string
		ApproximateArrivalTimestamp T
	}
	ContinuationSequenceNumber string
	MillisBehindLatest         int64
	ChildShards                []plainChild
}

func plain[T any](w *wireEvent[T], millis func(T) int64) *plainEvent {
	e := &plainEvent{nil, w.ContinuationSequenceNumber, w.MillisBehindLatest, w.ChildShards}
	for _, r := range w.Records {
		e.Records = append(e.Records, plainRecord{r.Data, r.PartitionKey, r.SequenceNumber, r.EncryptionType, millis(r.ApproximateArrivalTimestamp)})
	}
	return e
}

// rawStream reads an event stream with no client but the decoder of the format.
type rawStream struct {
	t     *testing.T
	ctype string
	resp  *http.Response
	d     *eventstream.Decoder
}

func (r *rig) subscribeRaw(ctype, consumer, start string) *rawStream {
	r.t.Helper()
	body := map[string]any{"ConsumerARN": consumer, "ShardId": shardID(0), "StartingPosition": map[string]any{"Type": start}}
	encode := json.Marshal
	if ctype == inCBOR {
		encode = cbor.Marshal
	}
	b := must[[]byte](r.t)(encode(body))
	resp := request{target: "SubscribeToShard", ctype: ctype, body: string(b)}.send(r.t, r.Server)
	r.t.Cleanup(func() { _ = resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "application/vnd.amazon.eventstream" {
		r.t.Fatalf("status %d, content type %q", resp.StatusCode, got)
	}
	s := &rawStream{r.t, ctype, resp, eventstream.NewDecoder()}
	if first := s.next(); first.kind != "event" || first.name != "initial-response" || first.ctype != ctype {
		r.t.Fatalf("first message %+v", first)
	}
	return s
}

// next returns the next message, and its zero value at the end.
func (s *rawStream) next() (m message) {
	s.t.Helper()
	got, err := s.d.Decode(s.resp.Body, nil)
	if errors.Is(err, io.EOF) {
		return m
	} else if err != nil {
		s.t.Fatal(err)
	}
	text := func(name string) string {
		if v := got.Headers.Get(name); v != nil {
			return v.String()
		}
		return ""
	}
	m.kind, m.ctype = text(":message-type"), text(":content-type")
	if m.name = text(":event-type"); m.name != "SubscribeToShardEvent" {
		if m.kind == "exception" {
			m.name = text(":exception-type")
		}
		var v map[string]any
		if s.ctype == inCBOR {
			err = cbor.Unmarshal(got.Payload, &v)
		} else {
			err = json.Unmarshal(got.Payload, &v)
		}
		if m.payload = v; err != nil {
			s.t.Fatalf("%s: %v in %q", m.name, err, got.Payload)
		}
		return m
	}
	if s.ctype == inJSON {
		var w wireEvent[float64]
		d := json.NewDecoder(bytes.NewReader(got.Payload))
		d.DisallowUnknownFields()
		if err := d.Decode(&w); err != nil {
			s.t.Fatalf("%v in %s", err, got.Payload)
		}
		m.payload = plain(&w, func(seconds float64) int64 { return int64(math.Round(seconds * 1000)) })
		return m
	}
	strict := must[cbor.DecMode](s.t)(cbor.DecOptions{ExtraReturnErrors: cbor.ExtraDecErrorUnknownField}.DecMode())
	var w wireEvent[cbor.RawTag]
	if err := strict.Unmarshal(got.Payload, &w); err != nil {
		s.t.Fatalf("%v in %x", err, got.Payload)
	}
	m.payload = plain(&w, func(tag cbor.RawTag) (millis int64) {
		// Tag 1 and an integer: SDKs for Java refuse a float here.
		if err := cbor.Unmarshal(tag.Content, &millis); err != nil || tag.Number != 1 || tag.Content[0]>>5 != 0 {
			s.t.Errorf("time %+v, error %v", tag, err)
		}
		return millis
	})
	return m
}

// TestSubscribeInBothEncodings reads the same shard in CBOR and in JSON at the
// same moments: records, silence, the end of the shard and an error.
func TestSubscribeInBothEncodings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		c, d := r.register("c"), r.register("d")
		r.put(0, "a")
		time.Sleep(123 * time.Millisecond)
		r.put(0, string([]byte{0, 0xff, '"', '\n'}))
		plain, packed := r.subscribeRaw(inJSON, *c.ConsumerARN, "TRIM_HORIZON"), r.subscribeRaw(inCBOR, *d.ConsumerARN, "TRIM_HORIZON")
		records, last := 0, &plainEvent{}
		same := func(what string) {
			t.Helper()
			want, got := plain.next(), packed.next()
			if want.ctype != inJSON || got.ctype != inCBOR || want.kind != "event" || got.kind != "event" {
				t.Fatalf("%s: %+v and %+v", what, want, got)
			}
			if last = got.payload.(*plainEvent); !reflect.DeepEqual(last, want.payload) {
				t.Errorf("%s: CBOR %+v\nJSON %+v", what, last, want.payload)
			}
			records += len(last.Records)
		}
		same("what was there")
		if records != 2 || last.Records[1].Arrived != time.Now().UnixMilli() || !bytes.Equal(last.Records[1].Data, []byte{0, 0xff, '"', '\n'}) {
			t.Errorf("what was there: %+v", last)
		}
		for range 3 {
			same("heartbeat")
		}
		r.put(0, "b")
		same("live")
		r.split(0)
		same("end of the shard")
		if records != 3 || len(last.ChildShards) != 2 || last.ContinuationSequenceNumber != "" {
			t.Errorf("%d records, last event %+v", records, last)
		}
		for _, s := range []*rawStream{plain, packed} {
			if m := s.next(); m.kind != "" {
				t.Errorf("%s: %+v behind the end", s.ctype, m)
			}
		}
	})
}

// TestSubscriptionErrorsInBothEncodings ends subscriptions with an exception.
func TestSubscriptionErrorsInBothEncodings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		for i, ctype := range []string{inJSON, inCBOR} {
			c := r.register([]string{"c", "d"}[i])
			s := r.subscribeRaw(ctype, *c.ConsumerARN, "LATEST")
			must[*kinesis.DeregisterStreamConsumerOutput](t)(r.client.DeregisterStreamConsumer(t.Context(), &kinesis.DeregisterStreamConsumerInput{ConsumerARN: c.ConsumerARN}))
			want := map[string]any{"message": "Consumer " + *c.ConsumerName + ", account 000000000000 not found."}
			if m := s.next(); m.kind != "exception" || m.name != "ResourceNotFoundException" || m.ctype != ctype || !reflect.DeepEqual(m.payload, want) {
				t.Errorf("%s: %+v", ctype, m)
			}
			if m := s.next(); m.kind != "" {
				t.Errorf("%s: %+v behind the end", ctype, m)
			}
		}
	})
}
