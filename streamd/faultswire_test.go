package streamd_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/fxamacker/cbor/v2"

	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// asked returns a request in one of the encodings, of what it is in JSON.
func asked(t *testing.T, target, ctype, body string) request {
	t.Helper()
	q := request{target: target, ctype: ctype, body: body}
	if ctype == inCBOR {
		var in any
		if err := json.Unmarshal([]byte(body), &in); err != nil {
			t.Fatal(err)
		}
		q.body = string(must[[]byte](t)(cbor.Marshal(new(twin).transcode("", in))))
	}
	return q
}

// TestFaultsOnTheWire pins all bytes of what faults answer, in both encodings,
// and of a request that is cut that there are none.
func TestFaultsOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // errors tell the time
		r := newFaultyRig(t, 2)
		it := must[*kinesis.GetShardIteratorOutput](t)(r.client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
			StreamName: &r.stream, ShardId: aws.String("1"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
		}))
		consumer := *r.register("app").ConsumerARN
		const (
			one    = `{"StreamName":"stream","PartitionKey":"k","ExplicitHashKey":"0","Data":"eA=="}`
			many   = `{"StreamName":"stream","Records":[{"PartitionKey":"k","ExplicitHashKey":"0","Data":"eA=="},{"PartitionKey":"k","ExplicitHashKey":"` + upperHalf + `","Data":"eQ=="}]}`
			item   = `{"TableName":"leases","Key":{"k":{"S":"v"}}}`
			tables = "DynamoDB_20120810."
		)
		read := `{"ShardIterator":"` + *it.ShardIterator + `"}`
		subscribe := `{"ConsumerARN":"` + consumer + `","ShardId":"shardId-000000000001","StartingPosition":{"Type":"LATEST"}}`
		var got strings.Builder
		for _, tt := range []struct {
			name         string
			fault        streamdtest.Fault
			target, body string
		}{
			{"throttle, a put", streamdtest.Fault{Kind: streamd.FaultThrottle}, "PutRecord", one},
			{"throttle, puts", streamdtest.Fault{Kind: streamd.FaultThrottle}, "PutRecords", many},
			{"throttle, an iterator", streamdtest.Fault{Kind: streamd.FaultThrottle}, "GetShardIterator", `{"StreamName":"stream","ShardId":"1","ShardIteratorType":"LATEST"}`},
			{"throttle, a read", streamdtest.Fault{Kind: streamd.FaultThrottle}, "GetRecords", read},
			{"throttle, a subscription", streamdtest.Fault{Kind: streamd.FaultThrottle}, "SubscribeToShard", subscribe},
			{"throttle, a stream", streamdtest.Fault{Kind: streamd.FaultThrottle}, "ListShards", `{"StreamName":"stream"}`},
			{"throttle, no stream", streamdtest.Fault{Kind: streamd.FaultThrottle}, "ListStreams", `{}`},
			{"internal", streamdtest.Fault{Kind: streamd.FaultInternal}, "PutRecord", one},
			{"internal, a subscription", streamdtest.Fault{Kind: streamd.FaultInternal}, "SubscribeToShard", subscribe},
			{"unavailable", streamdtest.Fault{Kind: streamd.FaultUnavailable}, "ListStreams", `{}`},
			{"expired iterator", streamdtest.Fault{Kind: streamd.FaultExpiredIterator}, "GetRecords", read},
			{"partial", streamdtest.Fault{Kind: streamd.FaultPartial, Share: 1}, "PutRecords", many},
			{"partial, another error", streamdtest.Fault{Kind: streamd.FaultPartial, Share: 1, Code: "InternalFailure"}, "PutRecords", many},
			{"partial, another message", streamdtest.Fault{Kind: streamd.FaultPartial, Share: 1, Message: "not now \u2014 \"later\""}, "PutRecords", many},
			{"error", streamdtest.Fault{Kind: streamd.FaultError, Code: "KMSThrottlingException", Message: "slow down"}, "PutRecord", one},
			{"error, without message", streamdtest.Fault{Kind: streamd.FaultError, Code: "Teapot", Status: 418}, "ListStreams", `{}`},
			{"cut", streamdtest.Fault{Kind: streamd.FaultCut}, "PutRecord", one},
			{"reply lost", streamdtest.Fault{Kind: streamd.FaultReplyLost}, "PutRecord", one},
			{"throttle, a table", streamdtest.Fault{Kind: streamd.FaultThrottle}, tables + "GetItem", item},
			{"throttle, no table", streamdtest.Fault{Kind: streamd.FaultThrottle}, tables + "ListTables", `{}`},
			{"internal, a table", streamdtest.Fault{Kind: streamd.FaultInternal}, tables + "GetItem", item},
			{"unavailable, a table", streamdtest.Fault{Kind: streamd.FaultUnavailable}, tables + "GetItem", item},
			{"error, a table", streamdtest.Fault{Kind: streamd.FaultError, Code: "ThrottlingException", Message: "slow down"}, tables + "GetItem", item},
		} {
			encodings := []string{inJSON, inCBOR}
			if strings.HasPrefix(tt.target, tables) {
				encodings = []string{"application/x-amz-json-1.0"}
			}
			var said []map[string]any
			for _, ctype := range encodings {
				remove := r.Fault(t, tt.fault)
				resp, err := r.HTTPClient().Do(asked(t, tt.target, ctype, tt.body).build(t, r.Server))
				remove()
				fmt.Fprintf(&got, "== %s, %s\n", tt.name, strings.TrimPrefix(ctype, "application/x-amz-"))
				if cuts := tt.fault.Kind == streamd.FaultCut || tt.fault.Kind == streamd.FaultReplyLost; (err != nil) != cuts {
					t.Fatalf("%s: %v", tt.name, err)
				} else if cuts {
					got.WriteString("no answer\n\n")
					continue
				}
				body := show(t, resp)
				_ = resp.Body.Close() // show has read it
				fmt.Fprintf(&got, "%s\n", body)
				if resp.Header.Get("Content-Type") != ctype {
					t.Errorf("%s: content type %s, want that of the request, %s", tt.name, resp.Header.Get("Content-Type"), ctype)
				}
				said = append(said, answerUnder(t, r, tt.fault, asked(t, tt.target, ctype, tt.body)))
			}
			if len(said) == 2 && fmt.Sprint(said[0]) != fmt.Sprint(said[1]) {
				t.Errorf("%s: %v in JSON, %v in CBOR", tt.name, said[0], said[1])
			}
		}
		goldenText(t, "faultswire.golden", got.String())
	})
}

// answerUnder sends a request under a fault and returns its answer, as the decoder of
// somebody else reads it.
func answerUnder(t *testing.T, r *rig, f streamdtest.Fault, q request) map[string]any {
	t.Helper()
	defer r.Fault(t, f)()
	resp := must[response](t)(answerOf(r.Server, q.build(t, r.Server)))
	var out map[string]any
	if q.ctype != inCBOR {
		if err := json.Unmarshal(resp.body, &out); err != nil {
			t.Fatal(err)
		}
	} else if err := cbor.Unmarshal(resp.body, &out); err != nil {
		t.Fatal(err)
	}
	out["status"] = resp.status
	return plainMaps(out).(map[string]any)
}

// plainMaps turns the maps of CBOR into those of JSON.
func plainMaps(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plainMaps(v[k])
		}
	case map[any]any:
		out := make(map[string]any)
		for k, e := range v {
			out[k.(string)] = plainMaps(e)
		}
		return out
	case []any:
		for i := range v {
			v[i] = plainMaps(v[i])
		}
	case float64:
		return uint64(v)
	}
	return v
}

// TestFaultsOfPutsInCBOR has puts in CBOR fail, and looks at what is stored.
func TestFaultsOfPutsInCBOR(t *testing.T) {
	const (
		throttled = "ProvisionedThroughputExceededException"
		left      = `{"PartitionKey":"k","ExplicitHashKey":"0","Data":"eA=="}`
		right     = `{"PartitionKey":"k","ExplicitHashKey":"` + upperHalf + `","Data":"eQ=="}`
	)
	for _, tt := range []struct {
		name   string
		fault  streamdtest.Fault
		status int    // 0: the connection is cut
		codes  string // of the four records; - is none
		stored int
	}{
		{"none", streamdtest.Fault{Kind: streamd.FaultError, Code: "A", Operation: "PutRecord"}, 200, "- - - -", 4},
		{"a shard", streamdtest.Fault{Kind: streamd.FaultPartial, Share: 1, Shard: "1"}, 200, "- " + throttled + " - " + throttled, 2},
		{"half of a shard", streamdtest.Fault{Kind: streamd.FaultPartial, Share: 0.5, Shard: "0", Code: "InternalFailure", Seed: 1}, 200, "", 3},
		{"all", streamdtest.Fault{Kind: streamd.FaultThrottle}, 400, "", 0},
		{"internal", streamdtest.Fault{Kind: streamd.FaultInternal}, 500, "", 0},
		{"cut", streamdtest.Fault{Kind: streamd.FaultCut}, 0, "", 0},
		{"reply lost", streamdtest.Fault{Kind: streamd.FaultReplyLost}, 0, "", 4},
		{"late", streamdtest.Fault{Kind: streamd.FaultLatency, Latency: time.Minute}, 200, "- - - -", 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFaultyRig(t, 2)
				remove := r.Fault(t, tt.fault)
				began := time.Now()
				q := asked(t, "PutRecords", inCBOR, `{"StreamName":"stream","Records":[`+strings.Join([]string{left, right, left, right}, ",")+`]}`)
				resp, err := answerOf(r.Server, q.build(t, r.Server))
				if took := time.Since(began); took != tt.fault.Latency {
					t.Errorf("took %v, want %v", took, tt.fault.Latency)
				}
				if resp.status != tt.status || (err != nil) != (tt.status == 0) {
					t.Fatalf("status %d, %v; want %d", resp.status, err, tt.status)
				}
				if resp.status == http.StatusOK {
					var out struct {
						FailedRecordCount int
						Records           []struct{ ErrorCode, SequenceNumber string }
					}
					if err := cbor.Unmarshal(resp.body, &out); err != nil {
						t.Fatal(err)
					}
					codes := make(map[string]int)
					var list []string
					for i, rec := range out.Records {
						if (rec.ErrorCode == "") == (rec.SequenceNumber == "") {
							t.Errorf("record %d has code %q and number %q, want one of them", i, rec.ErrorCode, rec.SequenceNumber)
						}
						if rec.ErrorCode == "" {
							rec.ErrorCode = "-"
						}
						codes[rec.ErrorCode]++
						list = append(list, rec.ErrorCode)
					}
					if out.FailedRecordCount != 4-tt.stored || codes["-"] != tt.stored {
						t.Errorf("%d failed; %v", out.FailedRecordCount, codes)
					}
					if got := strings.Join(list, " "); tt.codes != "" && got != tt.codes {
						t.Errorf("codes %s, want %s", got, tt.codes)
					}
					if tt.fault.Code == "InternalFailure" && !maps.Equal(codes, map[string]int{"-": 3, "InternalFailure": 1}) {
						t.Errorf("codes %v", codes)
					}
				}
				remove()
				if got := len(r.Records(t, r.stream)); got != tt.stored {
					t.Errorf("%d records stored, want %d", got, tt.stored)
				}
			})
		})
	}
}

// TestFaultCutsSubscriptionsInCBOR ends subscriptions of who speaks CBOR.
func TestFaultCutsSubscriptionsInCBOR(t *testing.T) {
	for _, reset := range []bool{false, true} {
		t.Run(fmt.Sprintf("reset %t", reset), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFaultyRig(t, 1)
				consumer := *r.register("app").ConsumerARN
				for i := range 3 {
					if err := r.putOne(fmt.Sprint(i)); err != nil {
						t.Fatal(err)
					}
				}
				r.Fault(t, streamdtest.Fault{Kind: streamd.FaultFanOutCut, Events: 1, Reset: reset, Max: 1})
				s := r.subscribeRaw(inCBOR, consumer, "TRIM_HORIZON")
				if e := s.next(); e.name != "SubscribeToShardEvent" || len(e.payload.(*plainEvent).Records) != 3 {
					t.Fatalf("first event %+v", e)
				}
				_, err := s.d.Decode(s.resp.Body, nil)
				if end := err != nil && err.Error() == "EOF"; err == nil || end == reset {
					t.Errorf("after one event: %v; reset %t", err, reset)
				}
				r.Advance(10 * time.Second) // after which the same subscription is let in again
				if e := r.subscribeRaw(inCBOR, consumer, "TRIM_HORIZON").next(); len(e.payload.(*plainEvent).Records) != 3 {
					t.Errorf("without the fault: %+v", e)
				}
			})
		})
	}
}
