package consumer

import (
	"context"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/sdkhttp"
)

// API is what a [Consumer] calls of Kinesis. [kinesis.Client] has it.
type API interface {
	ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error)
	GetShardIterator(context.Context, *kinesis.GetShardIteratorInput, ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error)
	GetRecords(context.Context, *kinesis.GetRecordsInput, ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error)
}

// HTTPClient returns an HTTP client with a connection pool of its own, to be
// given to the clients that a [Consumer] and its lease store use:
//
//	client := kinesis.NewFromConfig(awsConfig, func(o *kinesis.Options) {
//		o.HTTPClient = consumer.HTTPClient()
//	})
//
// The SDK's default client also works, but against a fast server it now and
// then loses a connection in the middle of a large answer: the SDK closes a
// request's body when the answer's headers arrive, and net/http takes what it
// then reads from that body for a failed write.
func HTTPClient() *http.Client { return sdkhttp.Client() }

// noRetries turns the SDK's retries off, for calls that are retried here: by
// the shard's pace, with every refusal counted.
func noRetries(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} }

// streamRef names the stream in a request, by its name or its ARN.
type streamRef struct{ name, arn *string }

func newStreamRef(stream string) streamRef {
	if strings.HasPrefix(stream, "arn:") {
		return streamRef{arn: &stream}
	}
	return streamRef{name: &stream}
}
