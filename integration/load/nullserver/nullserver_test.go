package nullserver_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/fxamacker/cbor/v2"

	"github.com/streamkit/streamkit/integration/load/nullserver"
	"github.com/streamkit/streamkit/internal/sdkhttp"
	"github.com/streamkit/streamkit/internal/seqno"
)

var creds = credentials.NewStaticCredentialsProvider("a", "b", "")

func serve(t *testing.T, c nullserver.Config) (*kinesis.Client, string) {
	t.Helper()
	srv := httptest.NewServer(nullserver.New(c))
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	return kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(srv.URL), Retryer: aws.NopRetryer{},
		HTTPClient: sdkhttp.Client(), Credentials: creds,
	}), srv.URL
}

func entries(n int) []types.PutRecordsRequestEntry {
	out := make([]types.PutRecordsRequestEntry, n)
	for i := range out {
		// Keys and data that look like what is counted.
		out[i] = types.PutRecordsRequestEntry{PartitionKey: aws.String(`"PartitionKey":`), Data: []byte(`"PartitionKey":`)}
	}
	return out
}

func TestPuts(t *testing.T) {
	c, _ := serve(t, nullserver.Config{Shards: 3})
	last := ""
	for _, n := range []int{1, 2, 499, 500} {
		out, err := c.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: aws.String("s"), Records: entries(n)})
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		shards := make(map[string]bool)
		for _, r := range out.Records {
			if !seqno.Valid(*r.SequenceNumber) || len(*r.SequenceNumber) != seqno.Digits {
				t.Errorf("sequence number %q", *r.SequenceNumber)
			}
			seen[*r.SequenceNumber], shards[*r.ShardId] = true, true
		}
		if len(seen) != n || len(out.Records) != n || len(shards) != min(n, 3) || aws.ToInt32(out.FailedRecordCount) != 0 {
			t.Errorf("PutRecords of %d: %d entries, %d numbers, %d shards", n, len(out.Records), len(seen), len(shards))
		}
		if first := *out.Records[0].SequenceNumber; first == last {
			t.Errorf("the same numbers twice in a row: %s", first)
		} else {
			last = first
		}
	}
	one, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("d")})
	if err != nil || !seqno.Valid(*one.SequenceNumber) || !strings.HasPrefix(*one.ShardId, "shardId-00000000000") {
		t.Errorf("PutRecord: %+v, %v", one, err)
	}
}

// TestPutsOfAllSizes counts records whose names come at every place of the windows
// in which they are looked for.
func TestPutsOfAllSizes(t *testing.T) {
	c, _ := serve(t, nullserver.Config{})
	for size := 600; size < 1700; size += 3 {
		in := &kinesis.PutRecordsInput{StreamName: aws.String("s"), Records: entries(3)}
		for i := range in.Records {
			in.Records[i].Data = bytes.Repeat([]byte{'d'}, size*(i+1))
		}
		out, err := c.PutRecords(t.Context(), in)
		if err != nil || len(out.Records) != 3 {
			t.Fatalf("%d bytes: %+v, %v", size, out, err)
		}
	}
}

// TestRoutedPuts checks that records with an explicit hash key go to its shard,
// in both encodings, with numbers that grow.
func TestRoutedPuts(t *testing.T) {
	_, endpoint := serve(t, nullserver.Config{Shards: 4})
	for _, tt := range []struct {
		contentType string
		body        string
		shards      []string
	}{
		{"application/x-amz-json-1.1", `{"Records":[{"Data":"YQ==","ExplicitHashKey":"0","PartitionKey":"a"},{"Data":"YQ==","ExplicitHashKey":"340282366920938463463374607431768211455","PartitionKey":"a"}],"StreamName":"s"}`, []string{"shardId-000000000000", "shardId-000000000003"}},
		{"application/x-amz-cbor-1.1", "\xbf\x67Records\x9f\xbf\x64Data\x41a\x6fExplicitHashKey\x78\x2685070591730234615865843651857942052864\x6cPartitionKey\x61a\xff\xbf\x64Data\x41a\x6fExplicitHashKey\x611\x6cPartitionKey\x61a\xff\xff\xff", []string{"shardId-000000000001", "shardId-000000000000"}},
		// One without: the canned answer, with shards in turn.
		{"application/x-amz-json-1.1", `{"Records":[{"Data":"YQ==","ExplicitHashKey":"340282366920938463463374607431768211455","PartitionKey":"a"},{"Data":"YQ==","PartitionKey":"a"}],"StreamName":"s"}`, []string{"shardId-000000000000", "shardId-000000000001"}},
	} {
		last := ""
		for range 3 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", tt.contentType)
			req.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecords")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil || resp.Body.Close() != nil {
				t.Fatal(err)
			}
			var answer struct {
				Records []struct {
					SequenceNumber string
					ShardID        string `json:"ShardId"`
				}
			}
			decode := json.Unmarshal
			if strings.Contains(tt.contentType, "cbor") {
				decode = cbor.Unmarshal
			}
			if err := decode(b, &answer); err != nil {
				t.Fatal(err)
			}
			var shards []string
			for _, r := range answer.Records {
				shards = append(shards, r.ShardID)
			}
			if !slices.Equal(shards, tt.shards) {
				t.Errorf("%s: shards %v, want %v", tt.contentType, shards, tt.shards)
			}
			if len(answer.Records) > 0 {
				if seq := answer.Records[0].SequenceNumber; seqno.Compare(seq, last) <= 0 && shards[0] != "shardId-000000000000" {
					t.Errorf("number %s after %s", seq, last)
				} else {
					last = seq
				}
			}
		}
	}
}

func TestReads(t *testing.T) {
	c, _ := serve(t, nullserver.Config{Shards: 4, PageRecords: 3, RecordBytes: 200})
	ctx := t.Context()
	it, err := c.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: aws.String("s"), ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil || *it.ShardIterator == "" {
		t.Fatalf("GetShardIterator: %v", err)
	}
	page, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Records) != 3 || len(page.Records[2].Data) != 200 || page.NextShardIterator == nil || *page.MillisBehindLatest == 0 {
		t.Errorf("GetRecords: %d records, %+v", len(page.Records), page)
	}
	list, err := c.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String("s")})
	if err != nil || len(list.Shards) != 4 || *list.Shards[3].HashKeyRange.EndingHashKey != "340282366920938463463374607431768211455" {
		t.Errorf("ListShards: %+v, %v", list, err)
	}
	sum, err := c.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("s")})
	if err != nil || *sum.StreamDescriptionSummary.OpenShardCount != 4 || sum.StreamDescriptionSummary.StreamStatus != types.StreamStatusActive {
		t.Errorf("DescribeStreamSummary: %+v, %v", sum, err)
	}
	if _, err := c.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("s"), ShardCount: aws.Int32(1)}); err != nil {
		t.Errorf("CreateStream: %v", err)
	}
	if out, err := c.ListStreams(ctx, &kinesis.ListStreamsInput{}); err != nil || len(out.StreamNames) != 1 {
		t.Errorf("ListStreams: %+v, %v", out, err)
	}
	if _, err := c.DescribeLimits(ctx, &kinesis.DescribeLimitsInput{}); err == nil || !strings.Contains(err.Error(), "UnknownOperationException") {
		t.Errorf("DescribeLimits: %v", err)
	}
}

func TestSubscribe(t *testing.T) {
	c, _ := serve(t, nullserver.Config{PageRecords: 7, RecordBytes: 10})
	ctx := t.Context()
	reg, err := c.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/load"), ConsumerName: aws.String("c")})
	if err != nil || reg.Consumer.ConsumerStatus != types.ConsumerStatusActive {
		t.Fatalf("RegisterStreamConsumer: %+v, %v", reg, err)
	}
	next := func(kind types.ShardIteratorType, before func()) *types.SubscribeToShardEvent {
		t.Helper()
		// A client of its own: see gen.subscribe.
		c := kinesis.New(c.Options())
		out, err := c.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
			ConsumerARN: reg.Consumer.ConsumerARN, ShardId: aws.String("shardId-000000000000"),
			StartingPosition: &types.StartingPosition{Type: kind},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer out.GetStream().Close()
		before()
		e, ok := (<-out.GetStream().Events()).(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
		if !ok {
			t.Fatalf("no event: %v", out.GetStream().Err())
		}
		return &e.Value
	}
	if e := next(types.ShardIteratorTypeTrimHorizon, func() {}); len(e.Records) != 7 || !seqno.Valid(*e.ContinuationSequenceNumber) {
		t.Errorf("from the beginning: %d records", len(e.Records))
	}
	e := next(types.ShardIteratorTypeLatest, func() {
		if _, err := c.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: aws.String("s"), Records: entries(1)}); err != nil {
			t.Error(err)
		}
	})
	if len(e.Records) != 1 || len(e.Records[0].Data) != 10 {
		t.Errorf("from the tip: %d records", len(e.Records))
	}
}

func TestTables(t *testing.T) {
	_, url := serve(t, nullserver.Config{})
	c := dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: aws.String(url), Retryer: aws.NopRetryer{}, Credentials: creds})
	key := map[string]dtypes.AttributeValue{"leaseKey": &dtypes.AttributeValueMemberS{Value: "k"}}
	if _, err := c.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: aws.String("leases"), Key: key}); err != nil {
		t.Errorf("UpdateItem: %v", err)
	}
	got, err := c.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("leases"), Key: key})
	if err != nil || len(got.Item) != 4 {
		t.Errorf("GetItem: %v, %v", got, err)
	}
	table, err := c.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String("leases")})
	if err != nil || table.Table.TableStatus != dtypes.TableStatusActive {
		t.Errorf("DescribeTable: %v, %v", table, err)
	}
	if _, err := c.ListTables(t.Context(), &dynamodb.ListTablesInput{}); err == nil {
		t.Error("ListTables: answered")
	}
}

// TestCBOR asks in CBOR, which the SDK for Go does not speak.
func TestCBOR(t *testing.T) {
	_, url := serve(t, nullserver.Config{Shards: 2, PageRecords: 2, RecordBytes: 5})
	record := map[string]any{"PartitionKey": "k", "Data": []byte("data")}
	for _, tt := range []struct {
		op     string
		in     any
		status int
		check  func(map[string]any) bool
	}{
		{"PutRecords", map[string]any{"Records": []any{record, record, record}}, 200, func(m map[string]any) bool {
			r := m["Records"].([]any)
			return len(r) == 3 && seqno.Valid(r[2].(map[any]any)["SequenceNumber"].(string)) && m["FailedRecordCount"] == uint64(0)
		}},
		{"PutRecord", record, 200, func(m map[string]any) bool { return seqno.Valid(m["SequenceNumber"].(string)) }},
		{"GetRecords", map[string]any{}, 200, func(m map[string]any) bool {
			r := m["Records"].([]any)
			// Tag 1 means seconds to everybody but AWS, whose milliseconds are read as such here.
			at := r[0].(map[any]any)["ApproximateArrivalTimestamp"].(time.Time)
			return len(r) == 2 && string(r[1].(map[any]any)["Data"].([]byte)) == "abcde" && at.Unix() == 1767225600000
		}},
		{"ListShards", map[string]any{}, 200, func(m map[string]any) bool { return len(m["Shards"].([]any)) == 2 }},
		{"Nothing", map[string]any{}, 400, func(m map[string]any) bool { return m["__type"] == "UnknownOperationException" }},
	} {
		t.Run(tt.op, func(t *testing.T) {
			body, err := cbor.Marshal(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-amz-cbor-1.1")
			req.Header.Set("X-Amz-Target", "Kinesis_20131202."+tt.op)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			var m map[string]any
			if err := cbor.Unmarshal(answer, &m); err != nil {
				t.Fatalf("%v: %x", err, answer)
			}
			if resp.StatusCode != tt.status || resp.Header.Get("Content-Type") != "application/x-amz-cbor-1.1" || !tt.check(m) {
				t.Errorf("%d %v: %v", resp.StatusCode, resp.Header, m)
			}
		})
	}
}
