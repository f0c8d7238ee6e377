package producer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/aws/smithy-go/transport/http/protocol/rpcv2"
	"github.com/fxamacker/cbor/v2"

	"github.com/streamkit/streamkit/producer"
)

// exchange is an HTTP client that keeps what it is sent and answers what it is
// told.
type exchange struct {
	header http.Header
	path   string
	body   []byte

	status      int // 0 means 200
	contentType string
	answer      []byte
}

func (x *exchange) Do(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if int64(len(body)) != req.ContentLength {
		return nil, fmt.Errorf("body of %d bytes, Content-Length %d", len(body), req.ContentLength)
	}
	x.header, x.path, x.body = req.Header, req.URL.Path, body
	status := x.status
	if status == 0 {
		status = http.StatusOK
	}
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {x.contentType}},
		ContentLength: int64(len(x.answer)),
		Body:          io.NopCloser(bytes.NewReader(x.answer)),
	}, nil
}

func (x *exchange) client(opts ...func(*kinesis.Options)) *kinesis.Client {
	return kinesis.New(kinesis.Options{
		Region:       "eu-west-1",
		BaseEndpoint: aws.String("http://kinesis.test"),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, nil
		}),
		HTTPClient: x,
	}, opts...)
}

// rpcv2CBOR makes a client speak the SDK's own CBOR, whose bodies are the same.
func rpcv2CBOR(o *kinesis.Options) { o.Protocol = rpcv2.NewCBOR(schemas.Kinesis_20131202) }

// randomInput returns an input that may have any member, and any text.
func randomInput(r *rand.Rand) *kinesis.PutRecordsInput {
	alphabet := []rune("a\"\\/\b\f\n\r\t\x00\x1f\x7f<&>é\u2028\U0001F600\uFFFD")
	text := func() *string {
		switch r.IntN(5) {
		case 0:
			return nil
		case 1:
			return aws.String("")
		case 2:
			return aws.String(strings.Repeat("k", r.IntN(400)))
		}
		var s []rune
		for range r.IntN(12) {
			s = append(s, alphabet[r.IntN(len(alphabet))])
		}
		return aws.String(string(s))
	}
	name := func() *string { // as endpoint rules demand of ARNs
		if s := text(); s != nil {
			return aws.String("stream-" + *s)
		}
		return nil
	}
	in := &kinesis.PutRecordsInput{StreamName: name(), Records: []types.PutRecordsRequestEntry{}}
	if r.IntN(2) == 0 {
		in.StreamARN = aws.String("arn:aws:kinesis:eu-west-1:123456789012:stream/" + fmt.Sprint(r.IntN(100)))
	}
	if r.IntN(4) == 0 {
		in.DryRun = aws.Bool(r.IntN(2) == 0)
	}
	for range r.IntN(6) {
		e := types.PutRecordsRequestEntry{ExplicitHashKey: text(), PartitionKey: aws.String(aws.ToString(text()))}
		e.Data = make([]byte, []int{0, r.IntN(30), r.IntN(300), r.IntN(20_000)}[r.IntN(4)])
		for i := range e.Data {
			e.Data[i] = byte(r.Uint32())
		}
		in.Records = append(in.Records, e)
	}
	return in
}

// TestRequestsAreTheSDKs compares requests with those of the SDK's serializers
// in both encodings: the same members with the same values, and in JSON the
// same headers too.
func TestRequestsAreTheSDKs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cbor   bool
		theirs []func(*kinesis.Options)
		decode func([]byte, any) error
	}{
		{name: "json", decode: json.Unmarshal},
		{name: "cbor", cbor: true, theirs: []func(*kinesis.Options){rpcv2CBOR}, decode: cbor.Unmarshal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seed := *simFrom
			r := rand.New(rand.NewPCG(seed, 0))
			for range 150 {
				in := randomInput(r)
				var theirs, ours exchange
				ours.answer, theirs.answer = []byte("{}"), []byte("{}")
				if tt.cbor {
					ours.contentType = "application/x-amz-cbor-1.1"
					ours.answer, theirs.answer = []byte{0xa0}, []byte{0xa0}
				}
				_, theirErr := producer.PlainCall(t.Context(), theirs.client(tt.theirs...), in)
				_, ourErr := producer.PutOnWire(t.Context(), ours.client(), in, tt.cbor)
				if theirErr != nil || ourErr != nil {
					t.Fatalf("seed %d: theirs %v, ours %v", seed, theirErr, ourErr)
				}
				var want, got any
				if err := tt.decode(theirs.body, &want); err != nil {
					t.Fatalf("seed %d: theirs: %v", seed, err)
				}
				if err := tt.decode(ours.body, &got); err != nil {
					t.Fatalf("seed %d: ours: %v: %.200q", seed, err, ours.body)
				}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d: requests differ:\n%.500q\n%.500q", seed, ours.body, theirs.body)
				}
				if tt.cbor {
					if ct := ours.header.Get("Content-Type"); ct != "application/x-amz-cbor-1.1" || ours.path != "/" {
						t.Fatalf("Content-Type %q, path %q", ct, ours.path)
					}
					continue
				}
				// The bytes too, but for members whose text JSON can write in
				// several ways, so the signature covers the same headers.
				for _, h := range []http.Header{ours.header, theirs.header} {
					for _, varies := range []string{"Authorization", "X-Amz-Date", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "User-Agent", "Content-Length"} {
						h.Del(varies)
					}
				}
				if !reflect.DeepEqual(ours.header, theirs.header) {
					t.Fatalf("headers differ:\n%v\n%v", ours.header, theirs.header)
				}
			}
		})
	}
}

// outcome is what a caller sees of an answer.
type outcome struct {
	out *kinesis.PutRecordsOutput
	err error
}

func answerOf(ctx context.Context, x *exchange, opts []func(*kinesis.Options), call func(context.Context, *kinesis.Client) (*kinesis.PutRecordsOutput, error)) outcome {
	out, err := call(ctx, x.client(opts...))
	if out != nil {
		out.ResultMetadata = middleware.Metadata{}
	}
	return outcome{out, err}
}

var oneRecord = &kinesis.PutRecordsInput{
	StreamName: aws.String("stream"),
	Records:    []types.PutRecordsRequestEntry{{Data: []byte("d"), PartitionKey: aws.String("k")}},
}

// compareAnswers checks that an answer reads as with the SDK.
func compareAnswers(t *testing.T, status int, ourType string, body []byte, cbor bool) {
	t.Helper()
	ours := exchange{status: status, contentType: ourType, answer: body}
	theirs := exchange{status: status, contentType: ourType, answer: body}
	var opts []func(*kinesis.Options)
	if cbor {
		opts = append(opts, rpcv2CBOR)
	}
	want := answerOf(t.Context(), &theirs, opts, func(ctx context.Context, c *kinesis.Client) (*kinesis.PutRecordsOutput, error) {
		return producer.PlainCall(ctx, c, oneRecord)
	})
	got := answerOf(t.Context(), &ours, nil, func(ctx context.Context, c *kinesis.Client) (*kinesis.PutRecordsOutput, error) {
		return producer.PutOnWire(ctx, c, oneRecord, cbor)
	})
	if cbor && got.err != nil && status == http.StatusOK {
		return // ours is stricter: nothing was understood that was not there
	}
	if !reflect.DeepEqual(got.out, want.out) {
		a, _ := json.Marshal(got.out)
		b, _ := json.Marshal(want.out)
		t.Errorf("answer %q:\nours   %s\ntheirs %s", body, a, b)
	}
	if fmt.Sprint(got.err) != fmt.Sprint(want.err) {
		t.Errorf("answer %q:\nours   %v\ntheirs %v", body, got.err, want.err)
	}
}

var jsonAnswers = []string{
	`{"FailedRecordCount":0,"Records":[{"SequenceNumber":"49","ShardId":"shardId-000000000000"}]}`,
	`{ "EncryptionType" : "KMS", "FailedRecordCount":1, "Records" : [ {"ErrorCode":"InternalFailure","ErrorMessage":"Internal \"S\u00e9rvice\" \ud83d\ude00 é"} , {"SequenceNumber":"1","ShardId":"s","New":{"a":[1,-2.5e3,true,false,null,"x"]}} ] }` + "\n",
	`{"Records":[]}`, `{"Records":null,"FailedRecordCount":null,"EncryptionType":null}`, `{"Records":[null,{}]}`,
	`{}`, ``, `null`, `[]`, `"x"`, `{"Records":{}}`, `{"Records":[1]}`, `{"Records":[{"ShardId":1}]}`,
	`{"FailedRecordCount":"1"}`, `{"FailedRecordCount":1.5}`, `{"FailedRecordCount":1e2}`, `{"FailedRecordCount":-1}`, `{"FailedRecordCount":99999999999}`, `{"FailedRecordCount":01}`,
	`{"Records":[{"ShardId":"a","ShardId":"b"}]}`, `{"Records":[{}],"Records":[{"ShardId":"b"}]}`,
	`{"Records":[{"ShardId":null}]}`, `{"Records":[{"ShardId":""}]}`, `{"records":[{}]}`,
	`{"Records":[{"ShardId":"\ud83d"}]}`, `{"Records":[{"ShardId":"\x"}]}`, "{\"Records\":[{\"ShardId\":\"\xff\"}]}", "{\"Records\":[{\"ShardId\":\"\n\"}]}",
	`{"Records":[{}]} x`, `{"Records":[{},]}`, `{"Records":[{}`, `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	`{"FailedRecordCount":1,"FailedRecordCount":null,"EncryptionType":"a","EncryptionType":null,"Records":[{"ShardId":"a","ShardId":null}],"Records":null}`,
	`{"Records":[{"ShardId":"a","ShardId":null}]}`,
	`{"\u0052ecords":[{"Shard\u0049d":"x"}]}`,
}

var faults = []string{
	`{"__type":"ProvisionedThroughputExceededException","message":"slow"}`,
	`{"__type":"com.amazonaws.kinesis#ResourceNotFoundException","message":"Stream x not found"}`,
	`{"__type":"SomethingNew","Message":"new"}`, `{"message":"no type"}`, `<html>`, ``,
}

func TestAnswersAreTheSDKs(t *testing.T) {
	for _, body := range jsonAnswers {
		compareAnswers(t, http.StatusOK, "application/x-amz-json-1.1", []byte(body), false)
	}
	for _, body := range faults {
		for _, status := range []int{400, 413, 415, 500, 503} {
			compareAnswers(t, status, "application/x-amz-json-1.1", []byte(body), false)
		}
	}
}

func TestCBORAnswersAreTheSDKs(t *testing.T) {
	encode := func(v any) []byte {
		b, err := cbor.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const jackson = "application/x-amz-cbor-1.1"
	for _, body := range [][]byte{
		encode(map[string]any{"FailedRecordCount": 1, "EncryptionType": "NONE", "Records": []any{
			map[string]any{"SequenceNumber": "49", "ShardId": "shardId-000000000000"},
			map[string]any{"ErrorCode": "InternalFailure", "ErrorMessage": strings.Repeat("é", 300)},
			map[string]any{},
			nil,
		}}),
		encode(map[string]any{"Other": []any{1, -1, 1.5, true, []byte("x"), map[string]any{"a": nil}}, "Records": []any{}}),
		encode(map[string]any{"FailedRecordCount": -1}), encode(map[string]any{"FailedRecordCount": int64(1 << 40)}),
		encode(map[string]any{"Records": 1}), encode([]any{}),
		{},
		{0xbf},
		{0xbf, 0xff},
		{0xbf, 0x9f},
		{0xa0, 0xa0},
		// Strings in pieces, lists without a length.
		[]byte("\xbf\x67Records\x9f\xbf\x67ShardId\x7f\x61s\x60\x61h\xff\xff\xff\xff"),
	} {
		compareAnswers(t, http.StatusOK, jackson, body, true)
	}
	for _, fault := range []map[string]any{
		{"__type": "ProvisionedThroughputExceededException", "message": "slow"},
		{"__type": "com.amazonaws.kinesis#ResourceNotFoundException", "message": "Stream \"x\" not found"},
		{"__type": "SomethingNew", "message": "new"},
	} {
		for _, status := range []int{400, 500} {
			compareAnswers(t, status, jackson, encode(fault), true)
		}
	}
	// An error that cannot be read is an error with its status.
	x := exchange{status: 503, contentType: jackson, answer: []byte("\xff")}
	_, err := producer.PutOnWire(t.Context(), x.client(), oneRecord, true)
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("error %v, want one with the status", err)
	}
}

func FuzzAnswerJSON(f *testing.F) {
	for _, body := range jsonAnswers {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		compareAnswers(t, http.StatusOK, "application/x-amz-json-1.1", body, false)
	})
}

func FuzzAnswerCBOR(f *testing.F) {
	f.Add([]byte("\xbf\x71FailedRecordCount\x00\x67Records\x9f\xbf\x67ShardId\x61s\x6eSequenceNumber\x6249\xff\xff\xff"))
	f.Add([]byte("\xa1\x67Records\x81\xa2\x69ErrorCode\x61e\x6cErrorMessage\x7f\x61s\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		compareAnswers(t, http.StatusOK, "application/x-amz-cbor-1.1", body, true)
	})
}

// TestUsersProtocolIsKept checks that a client with a protocol of its own
// speaks that.
func TestUsersProtocolIsKept(t *testing.T) {
	x := exchange{answer: []byte{0xa0}}
	if _, err := producer.PutOnWire(t.Context(), x.client(rpcv2CBOR), oneRecord, true); err != nil {
		t.Fatal(err)
	}
	if got := x.header.Get("Smithy-Protocol"); got != "rpc-v2-cbor" {
		t.Errorf("Smithy-Protocol %q", got)
	}
}

// slowReader is an HTTP client that reads the body after it has answered.
type slowReader struct {
	body io.Reader
	got  []byte
}

func (s *slowReader) Do(req *http.Request) (*http.Response, error) {
	half := make([]byte, req.ContentLength/2)
	if _, err := io.ReadFull(req.Body, half); err != nil {
		return nil, err
	}
	s.got, s.body = half, req.Body
	return nil, errors.New("connection reset")
}

// TestBodyIsReusedSafely lets a transport go on to read after the call has
// ended, while other requests use the memory: it must get nothing of them.
func TestBodyIsReusedSafely(t *testing.T) {
	request := func(fill string) *kinesis.PutRecordsInput {
		return &kinesis.PutRecordsInput{
			StreamName: aws.String("stream"),
			Records:    []types.PutRecordsRequestEntry{{Data: bytes.Repeat([]byte(fill), 100_000), PartitionKey: aws.String("k")}},
		}
	}
	var slow slowReader
	// The SDK cuts the body off by itself; a middleware that kept the stream
	// would not be.
	var stream io.Reader
	client := (&exchange{}).client(func(o *kinesis.Options) {
		o.HTTPClient = &slow
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Finalize.Add(keepStream(&stream), middleware.After)
		})
	})
	if _, err := producer.PutOnWire(t.Context(), client, request("a"), true); err == nil {
		t.Fatal("no error")
	}
	x := exchange{answer: []byte("{}")}
	for range 10 {
		if _, err := producer.PutOnWire(t.Context(), x.client(), request("b"), true); err != nil {
			t.Fatal(err)
		}
		for name, r := range map[string]io.Reader{"body": slow.body, "stream": stream} {
			rest, err := io.ReadAll(r)
			if err != nil || len(rest) > 0 {
				t.Fatalf("%s: %d bytes after the call, %v", name, len(rest), err)
			}
		}
	}
	if bytes.Contains(slow.got, []byte("b")) && bytes.Count(slow.got, []byte("a")) < 40_000 {
		t.Error("the first request was written over")
	}
}
