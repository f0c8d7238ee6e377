package api_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// serve returns a function that sends a JSON request to the operations over a
// store in memory, and returns the answer.
func serve(t *testing.T, cfg api.Config) func(op, body string) string {
	t.Helper()
	s, err := store.Open(store.Options{Clock: new(clock.Clock), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	h := awsproto.NewHandler(awsproto.Config{
		Operations: api.New(s, cfg).Operations(),
		Observe:    func(awsproto.Exchange) {},
		Logger:     slog.New(slog.DiscardHandler),
	})
	return func(op, body string) string {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Body.String()
	}
}

var iteratorText = regexp.MustCompile(`"ShardIterator":"([^"]+)"`)

func TestAroundIsToldWhatARequestIsAbout(t *testing.T) {
	var got []api.Call
	refuse := ""
	call := serve(t, api.Config{Around: []api.Around{
		func(ctx context.Context, c api.Call, do func(context.Context) (shape.Output, error)) (shape.Output, error) {
			got = append(got, c)
			if c.Operation == refuse {
				return nil, awserr.New("LimitExceededException", "no")
			}
			return do(ctx)
		},
		func(ctx context.Context, _ api.Call, do func(context.Context) (shape.Output, error)) (shape.Output, error) {
			return do(ctx)
		},
	}})
	call("CreateStream", `{"StreamName":"s","ShardCount":2}`)
	const arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
	iterator := iteratorText.FindStringSubmatch(call("GetShardIterator", `{"StreamName":"s","ShardId":"shardId-000000000001","ShardIteratorType":"LATEST"}`))[1]
	call("CreateStream", `{"StreamName":"od","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`)
	create := func(stream string) string {
		return `{"ChannelName":"c","ServiceExecutionRoleARN":"arn:aws:iam::000000000000:role/r","StreamConfigurationList":[{"StreamARN":"` + strings.TrimSuffix(arn, "s") + stream + `","RecordConfiguration":{"RecordFormatType":"JSON"}}],` +
			`"S3DestinationConfiguration":{"StorageConfiguration":{"BucketARN":"arn:aws:s3:::bucket","ExpectedBucketOwner":"000000000000","CompressionType":"NONE"}}}`
	}
	channel := regexp.MustCompile(`"ChannelARN":"([^"]+)"`).FindStringSubmatch(call("CreateChannel", create("od")))[1]
	for _, tt := range []struct {
		op, body, stream string
		shard            int
	}{
		{"CreateChannel", create("none"), "none", state.NoShard},
		{"DescribeChannel", `{"ChannelARN":"` + channel + `"}`, "od", state.NoShard},
		{"UpdateChannel", `{"ChannelARN":"` + channel + `"}`, "od", state.NoShard},
		{"DeleteChannel", `{"ChannelARN":"` + channel + `x"}`, "", state.NoShard},
		{"DeleteChannel", `{"ChannelARN":"` + channel + `"}`, "od", state.NoShard},
		{"ListChannels", `{}`, "", state.NoShard},
		{"PutResourcePolicy", `{"ResourceARN":"` + arn + `/consumer/c:1","Policy":"{}"}`, "s", state.NoShard},
		{"RegisterStreamConsumer", `{"StreamARN":"` + arn + `","ConsumerName":"c"}`, "s", state.NoShard},
		{"DescribeStreamConsumer", `{"StreamARN":"` + arn + `","ConsumerName":"c"}`, "s", state.NoShard},
		{"DescribeStreamConsumer", `{"ConsumerARN":"` + arn + `/consumer/c:1"}`, "s", state.NoShard},
		{"DescribeStreamConsumer", `{}`, "", state.NoShard},
		{"ListStreamConsumers", `{"StreamARN":"` + arn + `"}`, "s", state.NoShard},
		{"SubscribeToShard", `{"ConsumerARN":"` + arn + `/consumer/c:1","ShardId":"shardId-000000000001","StartingPosition":{"Type":"LATEST"}}`, "s", 1},
		{"DeregisterStreamConsumer", `{"ConsumerARN":"` + arn + `/consumer/c:1"}`, "s", state.NoShard},
		{"UpdateStreamWarmThroughput", `{"StreamName":"s","WarmThroughputMiBps":1}`, "s", state.NoShard},
		{"PutRecord", `{"StreamName":"s","Data":"","PartitionKey":"k"}`, "s", 1},
		{"PutRecords", `{"StreamName":"none","Records":[{"Data":"","PartitionKey":"k"}]}`, "none", state.NoShard},
		{"GetShardIterator", `{"StreamARN":"` + arn + `","ShardId":"0","ShardIteratorType":"LATEST"}`, "s", 0},
		{"GetRecords", `{"ShardIterator":"` + iterator + `"}`, "s", 1},
		{"GetRecords", `{"ShardIterator":"bad"}`, "", state.NoShard},
		{"ListShards", `{"StreamName":"s"}`, "s", state.NoShard},
		{"ListTagsForResource", `{"ResourceARN":"` + arn + `"}`, "s", state.NoShard},
		{"SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-000000000001","NewStartingHashKey":"1"}`, "s", 1},
		{"MergeShards", `{"StreamName":"s","ShardToMerge":"0","AdjacentShardToMerge":"9"}`, "s", 0},
		{"UpdateMaxRecordSize", `{"StreamARN":"` + arn + `","MaxRecordSizeInKiB":2048}`, "s", state.NoShard},
		{"CreateStream", `{"StreamName":"other","ShardCount":1}`, "other", state.NoShard},
		{"ListStreams", `{}`, "", state.NoShard},
	} {
		got = got[:0]
		call(tt.op, tt.body)
		if len(got) != 1 || got[0].Operation != tt.op || got[0].Stream.Name != tt.stream || got[0].Shard != tt.shard {
			t.Errorf("%s %s: %+v", tt.op, tt.body, got)
		}
		if tt.stream != "" && got[0].Stream.ARN() != strings.TrimSuffix(arn, "s")+tt.stream {
			t.Errorf("%s %s: stream %s", tt.op, tt.body, got[0].Stream.ARN())
		}
	}
	refuse = "ListStreams"
	if answer := call("ListStreams", `{}`); answer != `{"__type":"LimitExceededException","message":"no"}` {
		t.Error(answer)
	}
}

func TestAdmitRefusesSingleRecords(t *testing.T) {
	admitted := 0
	call := serve(t, api.Config{Admit: func(_ context.Context, s *state.Stream, records []api.Incoming) (refused int) {
		for i := range records {
			r := &records[i]
			if r.Size > 5 {
				r.Refused = awserr.New("ProvisionedThroughputExceededException", "%s %d", s.Shards[r.Shard].ID(), r.Size)
				refused++
			}
		}
		admitted += len(records) - refused
		return refused
	}})
	call("CreateStream", `{"StreamName":"s","ShardCount":2}`)
	const small, large = `{"Data":"YWE=","PartitionKey":"k"}`, `{"Data":"YWFhYWE=","PartitionKey":"k"}`
	number := regexp.MustCompile(`"\d{56}"`)
	const stored = `{"SequenceNumber":N,"ShardId":"shardId-000000000001"}`
	const refused = `{"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"shardId-000000000001 6"}`
	for _, tt := range []struct{ records, want string }{
		{small + "," + small, `{"FailedRecordCount":0,"Records":[` + stored + "," + stored + `]}`},
		{small + "," + large + "," + small, `{"FailedRecordCount":1,"Records":[` + stored + "," + refused + "," + stored + `]}`},
		{large + "," + small, `{"FailedRecordCount":1,"Records":[` + refused + "," + stored + `]}`},
		{large + "," + large, `{"FailedRecordCount":2,"Records":[` + refused + "," + refused + `]}`},
	} {
		got := call("PutRecords", `{"StreamName":"s","Records":[`+tt.records+`]}`)
		if got = number.ReplaceAllString(got, "N"); got != tt.want {
			t.Errorf("PutRecords %s\n got %s\nwant %s", tt.records, got, tt.want)
		}
	}
	want := `{"__type":"ProvisionedThroughputExceededException","message":"shardId-000000000001 6"}`
	if got := call("PutRecord", `{"StreamName":"s","Data":"YWFhYWE=","PartitionKey":"k"}`); got != want {
		t.Error(got)
	}
	iterator := iteratorText.FindStringSubmatch(call("GetShardIterator", `{"StreamName":"s","ShardId":"1","ShardIteratorType":"TRIM_HORIZON"}`))[1]
	records := call("GetRecords", `{"ShardIterator":"`+iterator+`"}`)
	if n := strings.Count(records, "SequenceNumber"); n != admitted || admitted != 5 {
		t.Errorf("%d records stored, %d admitted; want 5: %s", n, admitted, records)
	}
}
