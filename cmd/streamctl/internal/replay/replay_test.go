package replay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/fxamacker/cbor/v2"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/replay"
	"github.com/streamkit/streamkit/internal/capture"
	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// secrets are words that must not be in a capture.
var secrets = []string{"AKIDEXAMPLE", "Signature", "Credential", "session-of-the-client"}

func capturing(file string) streamdtest.Option {
	return streamdtest.Config(func(c *streamd.Config) { c.Capture = file })
}

// postCBOR sends a request as the Java SDKs do, and returns what is answered.
func postCBOR(t *testing.T, srv *streamdtest.Server, op string, in map[string]any) map[string]any {
	t.Helper()
	body, err := cbor.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.Endpoint(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
	req.Header.Set("Content-Type", "application/x-amz-cbor-1.1")
	req.Header.Set("X-Amz-Security-Token", "session-of-the-client")
	resp, err := srv.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]any)
	if resp.StatusCode != http.StatusOK || cbor.Unmarshal(answer, &out) != nil {
		t.Fatalf("%s: %d %q", op, resp.StatusCode, answer)
	}
	return out
}

// work is a run worth capturing: puts, reshards, reads with checkpoints, errors.
// It returns how many records its read loop has seen.
func work(t *testing.T, srv *streamdtest.Server) (read int) {
	t.Helper()
	ctx := t.Context()
	client := srv.Kinesis()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	stream := aws.String("orders")
	srv.CreateStream(t, *stream, 2)
	about, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: stream})
	must(err)
	arn := about.StreamDescriptionSummary.StreamARN
	puts := func(round string) {
		in := &kinesis.PutRecordsInput{StreamARN: arn}
		for i := range 20 {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{
				PartitionKey: aws.String(fmt.Sprint(i)), Data: fmt.Appendf(nil, "%s %d", round, i),
			})
		}
		_, err := client.PutRecords(ctx, in)
		must(err)
	}
	puts("first")
	_, err = client.SplitShard(ctx, &kinesis.SplitShardInput{
		StreamName: stream, ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("85070591730234615865843651857942052864"),
	})
	must(err)
	puts("after the split")
	_, err = client.MergeShards(ctx, &kinesis.MergeShardsInput{
		StreamName: stream, ShardToMerge: aws.String("shardId-000000000002"), AdjacentShardToMerge: aws.String("shardId-000000000003"),
	})
	must(err)
	last, err := client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: stream, PartitionKey: aws.String("k"), Data: []byte("one")})
	must(err)
	_, err = client.PutRecord(ctx, &kinesis.PutRecordInput{
		StreamName: stream, PartitionKey: aws.String("k"), Data: []byte("two"), SequenceNumberForOrdering: last.SequenceNumber,
	})
	must(err)

	// The same in CBOR: a put, and a read behind it.
	third := postCBOR(t, srv, "PutRecord", map[string]any{"StreamName": "orders", "PartitionKey": "k", "Data": []byte{0, 1, 2}})
	it := postCBOR(t, srv, "GetShardIterator", map[string]any{
		"StreamName": "orders", "ShardId": third["ShardId"], "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": third["SequenceNumber"],
	})
	got := postCBOR(t, srv, "GetRecords", map[string]any{"ShardIterator": it["ShardIterator"]})
	if n := len(got["Records"].([]any)); n != 1 {
		t.Fatalf("%d records in CBOR", n)
	}

	// A page at a time, as a reader with a token does.
	for in := (&kinesis.ListShardsInput{StreamName: stream, MaxResults: aws.Int32(2)}); ; {
		page, err := client.ListShards(ctx, in)
		must(err)
		for _, shard := range page.Shards {
			it, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
				StreamName: stream, ShardId: shard.ShardId, ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber,
				StartingSequenceNumber: shard.SequenceNumberRange.StartingSequenceNumber,
			})
			must(err)
			for next := it.ShardIterator; next != nil; {
				out, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(7)})
				must(err)
				read += len(out.Records)
				if next = out.NextShardIterator; len(out.Records) == 0 && aws.ToInt64(out.MillisBehindLatest) == 0 {
					break
				}
			}
		}
		if page.NextToken == nil {
			break
		}
		in = &kinesis.ListShardsInput{NextToken: page.NextToken, MaxResults: aws.Int32(2)}
	}
	// What is refused is captured as well.
	if _, err := client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String("none")}); err == nil {
		t.Fatal("a stream is there that nobody made")
	}
	return read
}

// contents are the records of a stream without what differs between runs.
func contents(t *testing.T, srv *streamdtest.Server) []string {
	t.Helper()
	var all []string
	for _, r := range srv.Records(t, "orders") {
		all = append(all, *r.PartitionKey+": "+string(r.Data))
	}
	return all
}

func TestReplay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "requests.ndjson")
	first := streamdtest.New(t, capturing(file))
	read := work(t, first)
	want := contents(t, first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if len(want) != 43 || read != len(want) {
		t.Fatalf("%d records, of which %d were read: this run is not worth replaying", len(want), read)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%q is in the capture", secret)
		}
	}

	// Another account: its ARNs differ as well.
	second := streamdtest.New(t)
	other := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "123456789012", SecretAccessKey: "secret"}, nil
	})
	client := second.Kinesis(func(o *kinesis.Options) { o.Credentials = other })
	tables := second.DynamoDB(func(o *dynamodb.Options) { o.Credentials = other })
	to, err := replay.NewSigned(t.Context(), client, tables)
	if err != nil {
		t.Fatal(err)
	}
	report, err := replay.Run(t.Context(), bytes.NewReader(text), to, replay.Options{Differ: func(d replay.Difference) {
		t.Errorf("differs: %+v", d)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(text, []byte("\n")) - 1; report.Sent != lines || report.Differences+report.Damaged+report.Skipped != 0 {
		t.Errorf("%+v of %d lines", report, lines)
	}
	var got []string
	page, err := client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range page.Shards {
		it, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
			StreamName: aws.String("orders"), ShardId: shard.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Records {
			got = append(got, *r.PartitionKey+": "+string(r.Data))
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the second server has\n%q\nwant\n%q", got, want)
	}

	// Once more on the same server: now the stream is there already.
	var differences []replay.Difference
	report, err = replay.Run(t.Context(), bytes.NewReader(text), to, replay.Options{Differ: func(d replay.Difference) {
		differences = append(differences, d)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(differences) == 0 || report.Differences != len(differences) || differences[0] != (replay.Difference{
		Line: 2, Operation: "CreateStream", Captured: "200", Replayed: "400 ResourceInUseException",
	}) {
		t.Errorf("%+v, %+v", report, differences)
	}
}

// sender notes when it is asked, and gives the same answer to all.
type sender struct {
	began  time.Time
	at     []time.Duration
	answer replay.Answer
	err    error
}

func (s *sender) Send(context.Context, capture.Line, []byte) (replay.Answer, error) {
	s.at = append(s.at, time.Since(s.began))
	return s.answer, s.err
}

func fileOf(t *testing.T, lines ...capture.Line) io.ReadSeeker {
	t.Helper()
	file := capture.AppendHeader(nil, time.Now())
	for _, l := range lines {
		var err error
		if file, err = capture.AppendLine(file, l); err != nil {
			t.Fatal(err)
		}
	}
	return bytes.NewReader(file)
}

func lineAt(at time.Duration, op string) capture.Line {
	return capture.Line{At: at, Target: "Kinesis_20131202." + op, ContentType: "application/x-amz-json-1.1", Body: []byte("{}"), Status: 200}
}

func TestSpeed(t *testing.T) {
	for _, tt := range []struct {
		speed float64
		want  []time.Duration
	}{
		{0, []time.Duration{0, 0, 0}},
		{1, []time.Duration{time.Second, time.Second, 10 * time.Second}},
		{2, []time.Duration{time.Second / 2, time.Second / 2, 5 * time.Second}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &sender{began: time.Now(), answer: replay.Answer{Status: 200}}
			// The second line arrived earlier, and was answered later.
			file := fileOf(t, lineAt(time.Second, "A"), lineAt(time.Second/2, "B"), lineAt(10*time.Second, "C"))
			report, err := replay.Run(t.Context(), file, s, replay.Options{Speed: tt.speed})
			if err != nil || report != (replay.Report{Sent: 3}) {
				t.Errorf("%+v, %v", report, err)
			}
			if !reflect.DeepEqual(s.at, tt.want) {
				t.Errorf("speed %v: sent at %v, want %v", tt.speed, s.at, tt.want)
			}
		})
	}
}

func TestDifferences(t *testing.T) {
	put := lineAt(0, "PutRecords")
	refused := put
	refused.Failed = 1
	failed := put
	failed.Status, failed.Code = 400, "ValidationException"
	answer := func(status int, body string) replay.Answer {
		return replay.Answer{Status: status, ContentType: "application/x-amz-json-1.1", Body: []byte(body)}
	}
	for _, tt := range []struct {
		name   string
		line   capture.Line
		answer replay.Answer
		want   string // empty if there is none
	}{
		{"same", put, answer(200, `{"Records":[{"SequenceNumber":"1"}]}`), ""},
		{"same error", failed, answer(400, `{"__type":"ValidationException"}`), ""},
		{"other error", failed, answer(400, `{"__type":"x#InvalidArgumentException"}`), "400 InvalidArgumentException"},
		{"other status", put, answer(500, ``), "500"},
		{"same refusals", refused, answer(200, `{"Records":[{"ErrorCode":"InternalFailure"}]}`), ""},
		{"more refusals", refused, answer(200, `{"Records":[{"ErrorCode":"a"},{"ErrorCode":"a"}]}`), "200, 2 records refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got string
			_, err := replay.Run(t.Context(), fileOf(t, tt.line), &sender{answer: tt.answer}, replay.Options{
				Differ: func(d replay.Difference) { got = d.Replayed },
			})
			if err != nil || got != tt.want {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestRunEnds(t *testing.T) {
	broken := errors.New("connection refused")
	report, err := replay.Run(t.Context(), fileOf(t, lineAt(0, "A")), &sender{err: broken}, replay.Options{})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "line 2, A") || report.Sent != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := replay.Run(ctx, fileOf(t, lineAt(time.Hour, "A")), &sender{}, replay.Options{Speed: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := replay.Run(t.Context(), strings.NewReader("hello\n"), &sender{}, replay.Options{}); !errors.Is(err, capture.ErrFormat) {
		t.Errorf("error %v", err)
	}
}
