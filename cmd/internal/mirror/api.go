package mirror

import (
	"context"
	"errors"
	"net"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
)

// Source is what a Mirror calls to read; *kinesis.Client has it.
type Source interface {
	DescribeStreamSummary(context.Context, *kinesis.DescribeStreamSummaryInput, ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error)
	ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error)
	GetShardIterator(context.Context, *kinesis.GetShardIteratorInput, ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error)
	GetRecords(context.Context, *kinesis.GetRecordsInput, ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error)
}

// Target is what a Mirror calls to write; *kinesis.Client has it. All but the
// first three are called with Create only.
type Target interface {
	DescribeStreamSummary(context.Context, *kinesis.DescribeStreamSummaryInput, ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error)
	ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error)
	PutRecords(context.Context, *kinesis.PutRecordsInput, ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error)
	CreateStream(context.Context, *kinesis.CreateStreamInput, ...func(*kinesis.Options)) (*kinesis.CreateStreamOutput, error)
	IncreaseStreamRetentionPeriod(context.Context, *kinesis.IncreaseStreamRetentionPeriodInput, ...func(*kinesis.Options)) (*kinesis.IncreaseStreamRetentionPeriodOutput, error)
	SplitShard(context.Context, *kinesis.SplitShardInput, ...func(*kinesis.Options)) (*kinesis.SplitShardOutput, error)
	MergeShards(context.Context, *kinesis.MergeShardsInput, ...func(*kinesis.Options)) (*kinesis.MergeShardsOutput, error)
}

// once has the SDK send a request once: its own retries would resend what may
// have been stored without a word of it.
func once(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} }

// kind says what an error of a call means.
type kind int

const (
	unsure    kind = iota // it may have been carried out, and another try can help
	unsent                // it was not, and another try can help
	throttled             // it was not: too much was asked for
	expired               // the iterator is too old
	gone                  // the stream or the shard is not there
	final                 // another try cannot help
)

// codes says what the errors of services mean by their code. Faults of the
// client that are not here are final, those of the server unsure.
var codes = map[string]kind{
	"ProvisionedThroughputExceededException": throttled,
	"LimitExceededException":                 throttled,
	"KMSThrottlingException":                 throttled,
	"ThrottlingException":                    throttled,
	"Throttling":                             throttled,
	"RequestLimitExceeded":                   throttled,
	"TooManyRequestsException":               throttled,
	"ExpiredIteratorException":               expired,
	"ResourceNotFoundException":              gone,
	// A stream that changes is left alone until it is done.
	"ResourceInUseException": unsent,
	"RequestTimeout":         unsent,
	// Keys that are renewed while the mirror runs.
	"ExpiredTokenException": unsent,
}

// classify returns the kind of an error that is not nil.
func classify(err error) kind {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		if k, known := codes[e.ErrorCode()]; known {
			return k
		}
		if e.ErrorFault() == smithy.FaultClient || clientStatus(err) {
			return final
		}
		return unsure
	}
	if _, ok := errors.AsType[*smithy.InvalidParamsError](err); ok {
		return final
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return unsent
	}
	return unsure
}

// clientStatus reports whether err has an HTTP status of the 400s: the SDK gives
// errors that it does not know no fault.
func clientStatus(err error) bool {
	r, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err)
	return ok && r.HTTPStatusCode() >= 400 && r.HTTPStatusCode() < 500
}

// lister is what sources and targets have in common.
type lister interface {
	ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error)
}

// listShards returns all shards of a stream that the service knows.
func listShards(ctx context.Context, api lister, stream string) ([]types.Shard, error) {
	var shards []types.Shard
	in := &kinesis.ListShardsInput{StreamName: aws.String(stream)}
	for {
		out, err := api.ListShards(ctx, in, once)
		if err != nil {
			return nil, err
		}
		shards = append(shards, out.Shards...)
		if aws.ToString(out.NextToken) == "" {
			return shards, nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}
