package producer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/kinesiswire"
	"github.com/streamkit/streamkit/producer"
)

// drain is an HTTP client that reads what it is sent and answers at once.
type drain struct {
	contentType string
	answer      []byte
	buf         []byte
}

func (s *drain) Do(req *http.Request) (*http.Response, error) {
	for {
		if _, err := req.Body.Read(s.buf); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {s.contentType}},
		ContentLength: int64(len(s.answer)), Body: io.NopCloser(bytes.NewReader(s.answer)),
	}, nil
}

// BenchmarkRequest is a whole PutRecords call but for the network: with 4
// aggregated records of the default size, and with 500 records of 1000 bytes.
// "sdk" is the SDK's own serializer, "floor" what no serializer can do without:
// the encoding and the hash for the signature.
func BenchmarkRequest(b *testing.B) {
	for _, load := range []struct {
		name     string
		n, bytes int
	}{{"4x51200B", 4, 51200}, {"500x1000B", 500, 1000}} {
		in := &kinesis.PutRecordsInput{StreamName: aws.String("stream")}
		for range load.n {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{
				Data: bytes.Repeat([]byte("data"), load.bytes/4), PartitionKey: aws.String("a"),
				ExplicitHashKey: aws.String("170141183460469231731687303715884105728"),
			})
		}
		jsonAnswer := `{"FailedRecordCount":0,"Records":[` + strings.TrimSuffix(strings.Repeat(`{"SequenceNumber":"49600000000000000000000000000000000000000000000000000001","ShardId":"shardId-000000000000"},`, load.n), ",") + "]}"
		cborAnswer := "\xbf\x71FailedRecordCount\x00\x67Records\x9f" + strings.Repeat("\xbf\x6eSequenceNumber\x78\x3849600000000000000000000000000000000000000000000000000001\x67ShardId\x74shardId-000000000000\xff", load.n) + "\xff\xff"
		for _, way := range []struct {
			name, contentType, answer string
			call                      func(context.Context, *kinesis.Client) (*kinesis.PutRecordsOutput, error)
			opts                      []func(*kinesis.Options)
		}{
			{"json/sdk", typeJSON, jsonAnswer, func(ctx context.Context, c *kinesis.Client) (*kinesis.PutRecordsOutput, error) {
				return producer.PlainCall(ctx, c, in)
			}, nil},
			{"json/own", typeJSON, jsonAnswer, func(ctx context.Context, c *kinesis.Client) (*kinesis.PutRecordsOutput, error) {
				return producer.PutOnWire(ctx, c, in, false)
			}, nil},
			{"cbor/sdk", typeCBOR, cborAnswer, func(ctx context.Context, c *kinesis.Client) (*kinesis.PutRecordsOutput, error) {
				return producer.PlainCall(ctx, c, in)
			}, []func(*kinesis.Options){rpcv2CBOR}},
			{"cbor/own", typeCBOR, cborAnswer, func(ctx context.Context, c *kinesis.Client) (*kinesis.PutRecordsOutput, error) {
				return producer.PutOnWire(ctx, c, in, true)
			}, nil},
		} {
			b.Run(load.name+"/"+way.name, func(b *testing.B) {
				client := (&exchange{}).client(append(way.opts, func(o *kinesis.Options) {
					o.HTTPClient = &drain{contentType: way.contentType, answer: []byte(way.answer), buf: make([]byte, 64<<10)}
				})...)
				b.ReportAllocs()
				b.SetBytes(int64(load.n * load.bytes))
				for b.Loop() {
					out, err := way.call(b.Context(), client)
					if err != nil || len(out.Records) != load.n {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(load.name+"/json/floor", func(b *testing.B) { floor(b, in, kinesiswire.AppendJSON) })
		b.Run(load.name+"/cbor/floor", func(b *testing.B) { floor(b, in, kinesiswire.AppendCBOR) })
	}
}

func floor(b *testing.B, in *kinesis.PutRecordsInput, encode func([]byte, kinesiswire.Stream, kinesiswire.Entries) []byte) {
	var buf []byte
	size := 0
	for i := range in.Records {
		size += len(in.Records[i].Data)
	}
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		buf = encode(buf[:0], kinesiswire.Stream{Name: in.StreamName}, benchEntries(in.Records))
		sum := sha256.Sum256(buf)
		if sum == ([sha256.Size]byte{}) {
			b.Fatal("no hash")
		}
	}
}

type benchEntries []types.PutRecordsRequestEntry

func (es benchEntries) Len() int { return len(es) }

func (es benchEntries) Entry(i int) kinesiswire.Entry {
	return kinesiswire.Entry{Data: es[i].Data, PartitionKey: es[i].PartitionKey, ExplicitHashKey: es[i].ExplicitHashKey}
}
