package replay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/cmd/streamctl/internal/replay"
	"github.com/streamkit/streamkit/internal/capture"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// fanOut is a run with subscriptions and a table: a consumer that reads a shard to
// its end, in two subscriptions, and notes how far it is.
func fanOut(t *testing.T, srv *streamdtest.Server) {
	t.Helper()
	ctx := t.Context()
	k := srv.Kinesis(func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
	db := srv.DynamoDB(func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	srv.CreateStream(t, "orders", 1)
	about, err := k.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("orders")})
	must(err)
	app, err := k.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: about.StreamDescriptionSummary.StreamARN, ConsumerName: aws.String("app")})
	must(err)
	made, err := db.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: aws.String("leases"), BillingMode: dbtypes.BillingModePayPerRequest,
		AttributeDefinitions: []dbtypes.AttributeDefinition{{AttributeName: aws.String("k"), AttributeType: dbtypes.ScalarAttributeTypeS}},
		KeySchema:            []dbtypes.KeySchemaElement{{AttributeName: aws.String("k"), KeyType: dbtypes.KeyTypeHash}},
	})
	must(err)
	note := func(n int) error {
		_, err := db.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: made.TableDescription.TableArn, ConditionExpression: aws.String("attribute_not_exists(k) OR n < :n"),
			Item:                      map[string]dbtypes.AttributeValue{"k": &dbtypes.AttributeValueMemberS{Value: "lease"}, "n": &dbtypes.AttributeValueMemberN{Value: fmt.Sprint(n)}},
			ExpressionAttributeValues: map[string]dbtypes.AttributeValue{":n": &dbtypes.AttributeValueMemberN{Value: fmt.Sprint(n)}},
		})
		return err
	}
	put := func(i int) {
		t.Helper()
		_, err := k.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: fmt.Append(nil, i)})
		must(err)
	}
	// read returns the number to go on from, empty at the end of the shard.
	read := func(from *types.StartingPosition, records int, between func()) string {
		t.Helper()
		sub, err := k.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{ConsumerARN: app.Consumer.ConsumerARN, ShardId: aws.String("shardId-000000000000"), StartingPosition: from})
		must(err)
		defer func() { _ = sub.GetStream().Close() }()
		between()
		next := ""
		for got := 0; got < records || records < 0; {
			e, ok := <-sub.GetStream().Events()
			if !ok {
				must(sub.GetStream().Err())
				break
			}
			event := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
			got, next = got+len(event.Records), aws.ToString(event.ContinuationSequenceNumber)
		}
		return next
	}
	next := read(&types.StartingPosition{Type: types.ShardIteratorTypeLatest}, 3, func() {
		for i := range 3 {
			put(i)
		}
	})
	must(note(3))
	put(3)
	time.Sleep(6 * time.Second) // in the bubble: a client waits so long
	_, err = k.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: aws.String("orders"), ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("85070591730234615865843651857942052864")})
	must(err)
	if next = read(&types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: &next}, -1, func() {}); next != "" {
		t.Fatal("the shard has not ended")
	}
	must(note(4))
	if err := note(4); err == nil {
		t.Fatal("a condition that does not hold was taken")
	}
}

// capturedFanOut returns the capture of such a run.
func capturedFanOut(t *testing.T) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "requests.ndjson")
	srv := streamdtest.New(t, capturing(file))
	fanOut(t, srv)
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// signedFor returns a Sender for the server, as another account.
func signedFor(t *testing.T, srv *streamdtest.Server) replay.Sender {
	t.Helper()
	other := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "123456789012", SecretAccessKey: "secret"}, nil
	})
	to, err := replay.NewSigned(t.Context(),
		srv.Kinesis(func(o *kinesis.Options) { o.Credentials = other }), srv.DynamoDB(func(o *dynamodb.Options) { o.Credentials = other }))
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestReplayOfSubscriptionsAndTables(t *testing.T) {
	for _, tt := range []struct {
		name          string
		speed         float64
		withoutTables bool
		skipped       int
	}{
		{"with the pauses", 1, false, 0},
		{"without pauses", 0, false, 0},
		{"without tables", 0, true, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				text := capturedFanOut(t)
				second := streamdtest.New(t)
				to := signedFor(t, second)
				report, err := replay.Run(t.Context(), bytes.NewReader(text), to, replay.Options{
					Speed: tt.speed, WithoutTables: tt.withoutTables,
					Differ: func(d replay.Difference) { t.Errorf("differs: %+v", d) },
				})
				if err != nil {
					t.Fatal(err)
				}
				// Without the header and the ends of two subscriptions.
				if want := bytes.Count(text, []byte("\n")) - 3 - tt.skipped; report != (replay.Report{Sent: want, Skipped: tt.skipped}) {
					t.Errorf("%+v, want %d sent", report, want)
				}
			})
		})
	}
}

// TestReplayFindsWhatSubscriptionsLack puts less into the second server.
func TestReplayFindsWhatSubscriptionsLack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := capturedFanOut(t)
		second := streamdtest.New(t)
		// The answers to puts are lost to the server: each is another operation.
		text = bytes.Replace(text, []byte(`"target":"Kinesis_20131202.PutRecord"`), []byte(`"target":"Kinesis_20131202.GoneRecord"`), 1)
		var got []replay.Difference
		began := time.Now()
		_, err := replay.Run(t.Context(), bytes.NewReader(text), signedFor(t, second), replay.Options{Wait: time.Minute, Differ: func(d replay.Difference) {
			d.Line = 0
			got = append(got, d)
		}})
		want := []replay.Difference{
			{Operation: "GoneRecord", Captured: "200", Replayed: "400 UnknownOperationException"},
			{Operation: "SubscribeToShard", Captured: "3 records", Replayed: "2 records"},
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, %+v; want %+v", err, got, want)
		}
		if took := time.Since(began); took < time.Minute || took > 2*time.Minute {
			t.Errorf("took %v, want the wait for one subscription", took)
		}
	})
}

// frames writes messages of an event stream.
func frames(t *testing.T, list ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, payload := range list {
		m := eventstream.Message{Payload: []byte(payload)}
		if payload == "" { // an exception
			m.Headers.Set(":message-type", eventstream.StringValue("exception"))
			m.Headers.Set(":exception-type", eventstream.StringValue("ResourceInUseException"))
		} else {
			m.Headers.Set(":event-type", eventstream.StringValue("SubscribeToShardEvent"))
			m.Headers.Set(":content-type", eventstream.StringValue("application/x-amz-json-1.1"))
		}
		if err := eventstream.NewEncoder().Encode(&b, m); err != nil {
			t.Fatal(err)
		}
	}
	return append([]byte{}, b.Bytes()...) // not nil
}

// subscriber answers with streams of events, one after the other. A nil one is
// refused as too early.
type subscriber struct {
	streams [][]byte
	open    int
}

type stream struct {
	io.Reader
	open *int
}

func (s stream) Close() error {
	*s.open--
	return nil
}

func (s *subscriber) Send(_ context.Context, l capture.Line, _ []byte) (replay.Answer, error) {
	if l.Operation() != "SubscribeToShard" {
		return replay.Answer{Status: 200}, nil
	}
	next := s.streams[0]
	s.streams = s.streams[1:]
	if next == nil {
		return replay.Answer{Status: 400, ContentType: "application/x-amz-json-1.1", Body: []byte(`{"__type":"ResourceInUseException"}`)}, nil
	}
	s.open++
	return replay.Answer{Status: 200, ContentType: capture.TypeEvents, Events: stream{bytes.NewReader(next), &s.open}}, nil
}

func TestSubscriptions(t *testing.T) {
	const (
		two  = `{"Records":[{"SequenceNumber":"1"},{"SequenceNumber":"2"}]}`
		one  = `{"Records":[{"SequenceNumber":"3"}]}`
		life = `{"Records":[],"ContinuationSequenceNumber":"4"}`
		last = `{"Records":[],"ChildShards":[{"ShardId":"a"}]}`
	)
	opened := lineAt(0, "SubscribeToShard")
	opened.Stream = 1
	unknown := lineAt(0, "SubscribeToShard")
	refused := unknown
	refused.Status, refused.Code = 400, "ResourceNotFoundException"
	end := func(s capture.Subscription) capture.Line { return opened.End(0, s) }
	three := end(capture.Subscription{Events: 2, Records: 3})
	for _, tt := range []struct {
		name    string
		lines   []capture.Line
		streams [][]byte
		want    string // how it differs; empty if it does not
		took    time.Duration
	}{
		{"the same", []capture.Line{opened, three}, [][]byte{frames(t, two, life, one)}, "", 0},
		{"in other events", []capture.Line{opened, three}, [][]byte{frames(t, one, one, one)}, "", 0},
		{"more in the last", []capture.Line{opened, three}, [][]byte{frames(t, two, two)}, "", 0},
		{"more than asked for", []capture.Line{opened, three}, [][]byte{frames(t, two, one, last)}, "", 0},
		{"fewer", []capture.Line{opened, three}, [][]byte{frames(t, two, life)}, "2 records", 0},
		{"none", []capture.Line{opened, three}, [][]byte{frames(t)}, "0 records", 0},
		{"torn", []capture.Line{opened, three}, [][]byte{frames(t, two, one)[:len(frames(t, two, one))-1]}, "2 records, the connection was lost", 0},
		{"the end of the shard", []capture.Line{opened, end(capture.Subscription{Records: 3, Last: true})}, [][]byte{frames(t, two, one, last)}, "", 0},
		{"no end of the shard", []capture.Line{opened, end(capture.Subscription{Records: 3, Last: true})}, [][]byte{frames(t, two, one)}, "3 records", 0},
		{"an exception", []capture.Line{opened, end(capture.Subscription{Records: 2, Code: "ResourceInUseException"})}, [][]byte{frames(t, two, "")}, "", 0},
		{"no exception", []capture.Line{opened, end(capture.Subscription{Records: 2, Code: "ResourceInUseException"})}, [][]byte{frames(t, two)}, "2 records", 0},
		{"an exception that was none", []capture.Line{opened, three}, [][]byte{frames(t, two, "")}, "2 records, ResourceInUseException", 0},
		{"too early at first", []capture.Line{opened, three}, [][]byte{nil, nil, frames(t, two, one)}, "", 2 * time.Second},
		{"too early for good", []capture.Line{opened, three}, make([][]byte, 7), "400 ResourceInUseException", 6 * time.Second},
		{"refused before", []capture.Line{refused}, [][]byte{frames(t, two)}, "200", 0},
		{"not followed", []capture.Line{unknown}, [][]byte{frames(t, two)}, "", 0},
		{"without its end", []capture.Line{opened}, [][]byte{frames(t, two)}, "", 0},
		{"the same number in two runs", []capture.Line{opened, opened, three}, [][]byte{frames(t), frames(t, two, one)}, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &subscriber{streams: tt.streams}
				got := ""
				began := time.Now()
				report, err := replay.Run(t.Context(), fileOf(t, tt.lines...), s, replay.Options{Differ: func(d replay.Difference) { got = d.Replayed }})
				if err != nil || got != tt.want || (report.Differences == 1) != (tt.want != "") {
					t.Errorf("%q, %+v, %v; want %q", got, report, err, tt.want)
				}
				if s.open != 0 || len(s.streams) != 0 {
					t.Errorf("%d streams are open, %d were not asked for", s.open, len(s.streams))
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

// TestWaitForRecords has a server that sends nothing and does not end.
func TestWaitForRecords(t *testing.T) {
	opened := lineAt(0, "SubscribeToShard")
	opened.Stream = 1
	lines := []capture.Line{opened, opened.End(0, capture.Subscription{Records: 1}), lineAt(0, "A")}
	silent := func() senderFunc {
		return func(_ context.Context, l capture.Line, _ []byte) (replay.Answer, error) {
			if l.Stream == 0 {
				return replay.Answer{Status: 200}, nil
			}
			r, _ := io.Pipe()
			return replay.Answer{Status: 200, ContentType: capture.TypeEvents, Events: r}, nil
		}
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		report, err := replay.Run(t.Context(), fileOf(t, lines...), silent(), replay.Options{})
		if err != nil || report != (replay.Report{Sent: 2, Differences: 1}) || time.Since(began) != 10*time.Second {
			t.Errorf("%+v, %v after %v", report, err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := replay.Run(ctx, fileOf(t, lines...), silent(), replay.Options{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

type senderFunc func(context.Context, capture.Line, []byte) (replay.Answer, error)

func (f senderFunc) Send(ctx context.Context, l capture.Line, body []byte) (replay.Answer, error) {
	return f(ctx, l, body)
}
