package producer

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
)

// ErrNoDryRun is returned by Ping if the server does not know of DryRun. It has
// stored a record without data then, and Ping sends no other.
var ErrNoDryRun = errors.New("producer: server knows no DryRun")

// codeDryRun says that a request would have succeeded.
//
// Source: Amazon Kinesis API Reference, PutRecords, DryRun.
const codeDryRun = "DryRunOperationException"

// Ping checks that a record could be stored now: that the stream exists and is
// ready, and that permissions and the stream's key allow it. It asks the server to
// make all checks of a request with one record, and to store nothing (DryRun),
// waits RequestTimeout at most, and retries nothing. It says nothing of the shards'
// room.
//
// A server that does not know DryRun stores the record, which has no data and the
// partition key "a". Ping returns [ErrNoDryRun] then, once and from then on.
func (p *Producer) Ping(ctx context.Context) error {
	switch {
	case p.closed.Load():
		return ErrClosed
	case p.noDryRun.Load():
		return ErrNoDryRun
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.RequestTimeout)
	defer cancel()
	_, err := p.api.PutRecords(ctx, &kinesis.PutRecordsInput{
		StreamName: p.streamName,
		StreamARN:  p.streamARN,
		DryRun:     aws.Bool(true),
		Records:    []types.PutRecordsRequestEntry{{Data: []byte{}, PartitionKey: aws.String(outerKey)}},
	}, noSDKRetry)
	if err == nil {
		p.noDryRun.Store(true)
		return ErrNoDryRun
	}
	if e, ok := errors.AsType[smithy.APIError](err); ok && e.ErrorCode() == codeDryRun {
		return nil
	}
	return fmt.Errorf("producer: ping stream %q: %w", p.stream, err)
}
