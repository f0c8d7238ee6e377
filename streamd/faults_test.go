package streamd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// newFaultyRig returns a rig whose client does not retry.
func newFaultyRig(t *testing.T, shards int) *rig {
	t.Helper()
	r := newRig(t, shards)
	r.client = r.Kinesis(func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
	return r
}

func (r *rig) putOne(data string) error {
	_, err := r.client.PutRecord(r.t.Context(), &kinesis.PutRecordInput{StreamName: &r.stream, PartitionKey: aws.String("k"), ExplicitHashKey: aws.String("0"), Data: []byte(data)})
	return err
}

// status returns the HTTP status of an answer, 0 if there was none.
func status(err error) int {
	if e, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return e.HTTPStatusCode()
	}
	return 0
}

// inEachBed runs a test over HTTP/1.1, in a bubble, and over HTTP/2, which needs
// a socket.
func inEachBed(t *testing.T, do func(t *testing.T, r *rig)) {
	t.Helper()
	t.Run("HTTP/1.1", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { do(t, newFaultyRig(t, 2)) })
	})
	t.Run("HTTP/2", func(t *testing.T) {
		r := newRig(t, 2, streamdtest.Listen())
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		transport := &http.Transport{Protocols: protocols}
		t.Cleanup(transport.CloseIdleConnections)
		r.client = r.Kinesis(func(o *kinesis.Options) {
			o.Retryer = aws.NopRetryer{}
			o.HTTPClient = &http.Client{Transport: transport}
		})
		do(t, r)
	})
}

func TestFaultsOfAnswers(t *testing.T) {
	list := func(r *rig) error {
		_, err := r.client.ListShards(r.t.Context(), &kinesis.ListShardsInput{StreamName: &r.stream})
		return err
	}
	put := func(r *rig) error { return r.putOne("x") }
	many := func(r *rig) error {
		_, err := r.client.PutRecords(r.t.Context(), &kinesis.PutRecordsInput{StreamName: &r.stream, Records: []types.PutRecordsRequestEntry{{PartitionKey: aws.String("k"), Data: []byte("x")}}})
		return err
	}
	read := func(r *rig) error {
		it, err := r.client.GetShardIterator(r.t.Context(), &kinesis.GetShardIteratorInput{StreamName: &r.stream, ShardId: aws.String("1"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if err == nil {
			_, err = r.client.GetRecords(r.t.Context(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
		}
		return err
	}
	for _, tt := range []struct {
		name   string
		fault  streamdtest.Fault
		do     func(*rig) error
		status int
		want   string // the end of the error
	}{
		{"throttled put", streamdtest.Fault{Kind: streamd.FaultThrottle}, put, 400, "ProvisionedThroughputExceededException: Rate exceeded for shard shardId-000000000000 in stream stream under account 000000000000."},
		{"throttled batch", streamdtest.Fault{Kind: streamd.FaultThrottle, Operation: "PutRecords"}, many, 400, "ProvisionedThroughputExceededException: Rate exceeded for shard shardId-000000000000 in stream stream under account 000000000000."},
		{"throttled iterator", streamdtest.Fault{Kind: streamd.FaultThrottle, Operation: "GetShard*"}, read, 400, "ProvisionedThroughputExceededException: Rate exceeded for shard shardId-000000000001 in stream stream under account 000000000000."},
		{"throttled read", streamdtest.Fault{Kind: streamd.FaultThrottle, Operation: "GetRecords"}, read, 400, "ProvisionedThroughputExceededException: Rate exceeded for Shard - 000000000000/stream/shardId-000000000001"},
		{"throttled list", streamdtest.Fault{Kind: streamd.FaultThrottle, Service: "kinesis"}, list, 400, "LimitExceededException: Rate exceeded for stream stream under account 000000000000."},
		{"internal", streamdtest.Fault{Kind: streamd.FaultInternal}, put, 500, "InternalFailure: Internal service failure."},
		{"unavailable", streamdtest.Fault{Kind: streamd.FaultUnavailable}, list, 503, "ServiceUnavailable: Service is unavailable."},
		{"expired iterator", streamdtest.Fault{Kind: streamd.FaultExpiredIterator, Shard: "shardId-000000000001"}, read, 400, "which is further in the future than the tolerated delay of 300000 milliseconds."},
		{"an error of one's own", streamdtest.Fault{Kind: streamd.FaultError, Code: "KMSThrottlingException", Message: "slow down"}, put, 400, "KMSThrottlingException: slow down"},
		{"one with a status", streamdtest.Fault{Kind: streamd.FaultError, Code: "Teapot", Status: 418}, list, 418, "Teapot: UnknownError"},
		{"another stream", streamdtest.Fault{Kind: streamd.FaultInternal, Stream: "streams*"}, put, 0, ""},
		{"another shard", streamdtest.Fault{Kind: streamd.FaultInternal, Shard: "1"}, put, 0, ""},
		{"another operation", streamdtest.Fault{Kind: streamd.FaultInternal, Operation: "PutRecords"}, put, 0, ""},
		{"another service", streamdtest.Fault{Kind: streamd.FaultInternal, Service: "dynamodb"}, put, 0, ""},
		{"a consumer", streamdtest.Fault{Kind: streamd.FaultInternal, Consumer: "*"}, put, 0, ""},
		{"no subscription", streamdtest.Fault{Kind: streamd.FaultFanOutCut, Events: 1}, read, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inEachBed(t, func(t *testing.T, r *rig) {
				remove := r.Fault(t, tt.fault)
				err := tt.do(r)
				if (err == nil) != (tt.want == "") || err != nil && !strings.HasSuffix(err.Error(), tt.want) || status(err) != tt.status {
					t.Errorf("status %d, %v", status(err), err)
				}
				if got := r.Faults(); len(got) != 1 || (got[0].Injected == 1) != (tt.want != "") || got[0].ID != "fault-1" {
					t.Errorf("counts %+v", got)
				}
				remove()
				remove()
				if err := tt.do(r); err != nil || len(r.Faults()) != 0 {
					t.Errorf("after the rule was removed: %v", err)
				}
			})
		})
	}
}

func TestFaultsCutConnections(t *testing.T) {
	for _, tt := range []struct {
		kind   string
		stored int
	}{{streamd.FaultCut, 0}, {streamd.FaultReplyLost, 1}} {
		t.Run(tt.kind, func(t *testing.T) {
			inEachBed(t, func(t *testing.T, r *rig) {
				remove := r.Fault(t, streamdtest.Fault{Kind: tt.kind, Operation: "PutRecord"})
				err := r.putOne("x")
				if err == nil || code(err) != "" || status(err) != 0 {
					t.Errorf("the client saw %v, code %s, want a broken connection", err, code(err))
				}
				if got := len(r.Records(t, r.stream)); got != tt.stored {
					t.Errorf("%d records stored, want %d", got, tt.stored)
				}
				remove()
				if err := r.putOne("y"); err != nil {
					t.Errorf("after the rule was removed: %v", err)
				}
				if got := len(r.Records(t, r.stream)); got != tt.stored+1 {
					t.Errorf("%d records stored at the end, want %d", got, tt.stored+1)
				}
			})
		})
	}
}

// Others on the same connection of HTTP/2 do not suffer from a stream that is
// cut.
func TestFaultsCutOneStreamOfHTTP2(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.Fault(t, streamdtest.Fault{Kind: streamd.FaultCut, Operation: "ListStreams", Every: 2})
	dials := 0
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials++
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	defer transport.CloseIdleConnections()
	client := srv.Kinesis(func(o *kinesis.Options) {
		o.Retryer, o.HTTPClient = aws.NopRetryer{}, &http.Client{Transport: transport}
	})
	for i := range 6 {
		if _, err := client.ListStreams(t.Context(), &kinesis.ListStreamsInput{}); (err == nil) != (i%2 == 0) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if dials != 1 {
		t.Errorf("%d connections, want 1", dials)
	}
}

func TestFaultOfLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFaultyRig(t, 1)
		took := func() time.Duration {
			began := time.Now()
			if err := r.putOne("x"); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		r.Fault(t, streamdtest.Fault{Kind: streamd.FaultLatency, Latency: 300 * time.Millisecond, First: 2})
		if got := took(); got != 300*time.Millisecond {
			t.Errorf("took %v", got)
		}
		r.Fault(t, streamdtest.Fault{Kind: streamd.FaultLatency, Latency: time.Second, Max: 1})
		if got := took(); got != 1300*time.Millisecond {
			t.Errorf("two latencies took %v", got)
		}
		if got := took(); got != 0 {
			t.Errorf("afterwards took %v", got)
		}
		r.Fault(t, streamdtest.Fault{Kind: streamd.FaultLatency, Latency: time.Second, LatencyMax: 3 * time.Second})
		seen := make(map[time.Duration]bool)
		for range 10 {
			got := took()
			if seen[got] = true; got < time.Second || got > 3*time.Second {
				t.Errorf("took %v", got)
			}
		}
		if len(seen) < 5 {
			t.Errorf("only %d different times", len(seen))
		}
		// A client that does not wait is gone before anything is done.
		before := len(r.Records(t, r.stream))
		r.Fault(t, streamdtest.Fault{ID: "slow", Kind: streamd.FaultLatency, Operation: "PutRecord", Latency: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := r.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &r.stream, PartitionKey: aws.String("k"), Data: []byte("late")})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		if got := len(r.Records(t, r.stream)); got != before {
			t.Errorf("%d records, want %d", got, before)
		}
	})
}

func TestFaultOfSomeRecords(t *testing.T) {
	for _, tt := range []struct {
		name        string
		fault       streamdtest.Fault
		left, right int // how many of 10 in each shard fail
		code, text  string
	}{
		{"three in ten", streamdtest.Fault{Share: 0.3}, -1, -1, "ProvisionedThroughputExceededException", "in stream stream under account 000000000000."},
		{"all of a shard", streamdtest.Fault{Share: 1, Shard: "1"}, 0, 10, "ProvisionedThroughputExceededException", "Rate exceeded for shard shardId-000000000001 in stream stream under account 000000000000."},
		{"half of a shard", streamdtest.Fault{Share: 0.5, Shard: "shardId-000000000000", Code: "InternalFailure"}, 5, 0, "InternalFailure", "Internal service failure."},
		{"with a message", streamdtest.Fault{Share: 1, Message: "no"}, 10, 10, "ProvisionedThroughputExceededException", "no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inEachBed(t, func(t *testing.T, r *rig) {
				tt.fault.Kind = streamd.FaultPartial
				r.Fault(t, tt.fault)
				in := &kinesis.PutRecordsInput{StreamName: &r.stream}
				for i := range 20 {
					key := []string{"0", upperHalf}[i%2]
					in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), ExplicitHashKey: &key, Data: fmt.Append(nil, i)})
				}
				out := must[*kinesis.PutRecordsOutput](t)(r.client.PutRecords(t.Context(), in))
				var failed [2]int
				want := make(map[string]bool)
				for i, rec := range out.Records {
					if rec.ErrorCode == nil {
						want[fmt.Sprint(i)] = true
						continue
					}
					failed[i%2]++
					if *rec.ErrorCode != tt.code || !strings.HasSuffix(*rec.ErrorMessage, tt.text) || rec.SequenceNumber != nil {
						t.Errorf("record %d: %s: %s", i, *rec.ErrorCode, *rec.ErrorMessage)
					}
				}
				if tt.left < 0 && failed[0]+failed[1] != 6 || tt.left >= 0 && failed != [2]int{tt.left, tt.right} || int(*out.FailedRecordCount) != failed[0]+failed[1] {
					t.Errorf("%v failed, FailedRecordCount %d", failed, *out.FailedRecordCount)
				}
				got := r.Records(t, r.stream)
				for _, rec := range got {
					if !want[string(rec.Data)] {
						t.Errorf("record %s is stored, and was said to have failed", rec.Data)
					}
				}
				if len(got) != len(want) {
					t.Errorf("%d records stored, want %d", len(got), len(want))
				}
				// PutRecord is none of it.
				if err := r.putOne("x"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestFaultsFireByTheirTriggers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault streamdtest.Fault
		want  string // of 12 calls, x those that fail
	}{
		{"always", streamdtest.Fault{}, "xxxxxxxxxxxx"},
		{"every third", streamdtest.Fault{Every: 3}, "..x..x..x..x"},
		{"the first two", streamdtest.Fault{First: 2}, "xx.........."},
		{"at most two of every third", streamdtest.Fault{Every: 3, Max: 2}, "..x..x......"},
		{"in a window", streamdtest.Fault{After: 3 * time.Second, For: 4 * time.Second}, "...xxxx....."},
		{"every second from then on", streamdtest.Fault{After: 3 * time.Second, Every: 2}, "....x.x.x.x."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFaultyRig(t, 1)
				tt.fault.Kind = streamd.FaultInternal
				r.Fault(t, tt.fault)
				if got := r.pattern(12); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// pattern makes calls, a second of the server's clock apart, and returns which
// failed.
func (r *rig) pattern(calls int) string {
	var b strings.Builder
	for range calls {
		mark := byte('.')
		if r.putOne("x") != nil {
			mark = 'x'
		}
		b.WriteByte(mark)
		r.Advance(time.Second)
	}
	return b.String()
}

func TestFaultsAreTheSameUnderASeed(t *testing.T) {
	run := func(t *testing.T, f streamdtest.Fault) (got string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := newFaultyRig(t, 1)
			f.Kind, f.Probability = streamd.FaultInternal, 0.3
			r.Fault(t, f)
			got = r.pattern(200)
		})
		return got
	}
	first := run(t, streamdtest.Fault{Seed: 7})
	if again := run(t, streamdtest.Fault{Seed: 7}); again != first {
		t.Errorf("two runs differ:\n%s\n%s", first, again)
	}
	if other := run(t, streamdtest.Fault{Seed: 8}); other == first {
		t.Error("another seed, the same faults")
	}
	if n := strings.Count(first, "x"); n < 40 || n > 80 {
		t.Errorf("%d of 200 calls failed, want about 60", n)
	}
	byID := run(t, streamdtest.Fault{ID: "a"})
	if again, other := run(t, streamdtest.Fault{ID: "a"}), run(t, streamdtest.Fault{ID: "b"}); byID != again || byID == other {
		t.Error("without a seed, the id does not decide")
	}
}

func TestFirstFaultThatFiresWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFaultyRig(t, 1)
		r.Fault(t, streamdtest.Fault{Kind: streamd.FaultThrottle, Every: 2})
		r.Fault(t, streamdtest.Fault{Kind: streamd.FaultInternal})
		var got []string
		for range 4 {
			got = append(got, code(r.putOne("x")))
		}
		const throttle, internal = "ProvisionedThroughputExceededException", "InternalFailure"
		if want := []string{internal, throttle, internal, throttle}; !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
		list := r.Faults()
		if list[0].Matched != 4 || list[0].Injected != 2 || list[1].Matched != 2 || list[1].Injected != 2 {
			t.Errorf("counts %+v", list)
		}
	})
}

// Records that a fault refuses do not count for the limits, and the others do.
func TestFaultsBeforeLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLimitedRig(t, 2, "write-records=10")
		r.Fault(t, streamdtest.Fault{Kind: streamd.FaultPartial, Share: 1, Shard: "0", Max: 1})
		r.expectTaken("while the fault is there", "0", 10, 0)
		r.expectTaken("afterwards", "0", 20, 10)
	})
}

func TestFaultsOfTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		db := srv.DynamoDB(func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
		_, err := db.CreateTable(t.Context(), &dynamodb.CreateTableInput{
			TableName: aws.String("leases"), BillingMode: ddbtypes.BillingModePayPerRequest,
			AttributeDefinitions: []ddbtypes.AttributeDefinition{{AttributeName: aws.String("k"), AttributeType: ddbtypes.ScalarAttributeTypeS}},
			KeySchema:            []ddbtypes.KeySchemaElement{{AttributeName: aws.String("k"), KeyType: ddbtypes.KeyTypeHash}},
		})
		if err != nil {
			t.Fatal(err)
		}
		put := func(table, key string) error {
			_, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: map[string]ddbtypes.AttributeValue{"k": &ddbtypes.AttributeValueMemberS{Value: key}}})
			return err
		}
		count := func() int {
			out, err := db.Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("leases")})
			if err != nil {
				t.Fatal(err)
			}
			return len(out.Items)
		}
		for _, tt := range []struct {
			fault  streamdtest.Fault
			status int
			code   string
			stored int
		}{
			{streamdtest.Fault{Kind: streamd.FaultThrottle, Stream: "lea*"}, 400, "ProvisionedThroughputExceededException", 0},
			{streamdtest.Fault{Kind: streamd.FaultInternal, Operation: "PutItem"}, 500, "InternalServerError", 0},
			{streamdtest.Fault{Kind: streamd.FaultUnavailable, Service: "dynamodb"}, 503, "ServiceUnavailable", 0},
			{streamdtest.Fault{Kind: streamd.FaultError, Code: "ThrottlingException"}, 400, "ThrottlingException", 0},
			{streamdtest.Fault{Kind: streamd.FaultCut}, 0, "", 0},
			{streamdtest.Fault{Kind: streamd.FaultReplyLost}, 0, "", 1},
		} {
			remove := srv.Fault(t, tt.fault)
			err := put("leases", tt.fault.Kind)
			remove()
			if err == nil || code(err) != tt.code || status(err) != tt.status {
				t.Errorf("%s: status %d, code %s, %v", tt.fault.Kind, status(err), code(err), err)
			}
			if got := count(); got != tt.stored {
				t.Errorf("%s: %d items", tt.fault.Kind, got)
			}
		}
		srv.Fault(t, streamdtest.Fault{Kind: streamd.FaultThrottle, Operation: "*Table*"})
		if _, err := db.ListTables(t.Context(), &dynamodb.ListTablesInput{}); code(err) != "LimitExceededException" {
			t.Errorf("ListTables: %v", err)
		}
		if err := put("leases", "fine"); err != nil {
			t.Error(err)
		}
	})
}

func TestFaultsNeedToBeEnabled(t *testing.T) {
	rules := []streamd.Fault{{Kind: streamd.FaultCut}}
	if _, err := streamd.New(streamd.Config{Faults: rules}); err == nil || !strings.Contains(err.Error(), "say --enable-faults (STREAMD_ENABLE_FAULTS=true) as well") {
		t.Errorf("rules without leave: %v", err)
	}
	if _, err := streamd.New(streamd.Config{EnableFaults: true, Faults: append(rules, streamd.Fault{Kind: "explode"})}); err == nil || !strings.Contains(err.Error(), `rule 2: kind "explode" is unknown; write one of throttle, internal,`) {
		t.Errorf("a bad rule: %v", err)
	}
	srv, err := streamd.New(streamd.Config{Listen: "127.0.0.1:0", Admin: streamd.AdminOff, TLS: streamd.TLSOff})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = srv.Close() }()
	if _, err := srv.AddFault(rules[0]); !errors.Is(err, streamd.ErrFaultsDisabled) {
		t.Errorf("AddFault: %v", err)
	}
	if srv.RemoveFault("fault-1") || len(srv.Faults()) != 0 {
		t.Error("there are faults")
	}
}

// The connection of a request that was cut is closed without a byte, also over
// TLS.
func TestFaultCutsWithoutAByte(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	srv.Fault(t, streamdtest.Fault{Kind: streamd.FaultCut})
	addr := strings.TrimPrefix(srv.HTTPSEndpoint(), "https://")
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: srv.CertPool(), ServerName: "localhost"}}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: 2\r\n\r\n{}")
	if b, err := io.ReadAll(conn); len(b) != 0 {
		t.Errorf("got %q, %v", b, err)
	}
}
