package gen

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/internal/sdkhttp"
)

const (
	region     = "us-east-1"
	streamName = "load"
)

var creds = credentials.NewStaticCredentialsProvider("load", "load", "")

func kinesisClient(endpoint string) *kinesis.Client {
	return kinesis.New(kinesis.Options{
		Region: region, BaseEndpoint: aws.String(endpoint), Credentials: creds,
		HTTPClient: sdkhttp.Client(), Retryer: aws.NopRetryer{},
	})
}

func dynamoClient(endpoint string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region: region, BaseEndpoint: aws.String(endpoint), Credentials: creds,
		HTTPClient: sdkhttp.Client(), Retryer: aws.NopRetryer{},
	})
}

// served turns the error of an operation that the server does not know into
// ErrNotServed.
func served(err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "UnknownOperationException" {
		return ErrNotServed
	}
	return err
}

// createStream makes the stream of the load and returns its ARN once it is
// active. It may exist, if it has as many shards.
func createStream(ctx context.Context, endpoint string, shards int) (string, error) {
	c := kinesisClient(endpoint)
	_, err := c.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String(streamName), ShardCount: aws.Int32(int32(shards))})
	if _, exists := errors.AsType[*types.ResourceInUseException](err); err != nil && !exists {
		return "", err
	}
	for {
		out, err := c.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(streamName)})
		if err != nil {
			return "", err
		}
		if d := out.StreamDescriptionSummary; d.StreamStatus == types.StreamStatusActive {
			return *d.StreamARN, nil
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return "", err
		}
	}
}
