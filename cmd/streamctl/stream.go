package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/spf13/cobra"
)

func (a *app) newStream() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "stream",
		Short: "Create, list, describe, delete and reshard streams",
	})
	cmd.AddCommand(
		a.newStreamCreate(), a.newStreamList(), a.newStreamDescribe(), a.newStreamDelete(),
		a.newStreamSplit(), a.newStreamMerge(), a.newStreamScale(),
	)
	return cmd
}

// streamClient returns a client, and notes the stream for error messages.
func (a *app) streamClient(ctx context.Context, stream string) (*kinesis.Client, error) {
	a.about.Stream = stream
	return a.kinesis(ctx)
}

// waitLimit bounds how long a command waits for a stream to change its state.
const waitLimit = 10 * time.Minute

// waitActive returns when the stream is no longer being changed.
func (a *app) waitActive(ctx context.Context, k *kinesis.Client, stream string) (*types.StreamDescriptionSummary, error) {
	var last *types.StreamDescriptionSummary
	err := a.poll(ctx, func() (bool, error) {
		out, err := k.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(stream)})
		if err != nil {
			return false, err
		}
		last = out.StreamDescriptionSummary
		return last.StreamStatus == types.StreamStatusActive, nil
	})
	if errors.Is(err, errWaited) {
		return nil, fmt.Errorf("stream %q is still %s after %v: look again with \"streamctl stream describe %s\"", stream, last.StreamStatus, waitLimit, stream)
	}
	return last, err
}

// waitGone returns when the stream does not exist any more.
func (a *app) waitGone(ctx context.Context, k *kinesis.Client, stream string) error {
	err := a.poll(ctx, func() (bool, error) {
		_, err := k.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(stream)})
		if _, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
			return true, nil
		}
		return false, err
	})
	if errors.Is(err, errWaited) {
		return fmt.Errorf("stream %q is still there after %v: look again with \"streamctl stream list\"", stream, waitLimit)
	}
	return err
}

var errWaited = errors.New("waited too long")

// poll calls done until it reports true or an error: often on this machine,
// where changes take milliseconds, and once a second elsewhere.
func (a *app) poll(ctx context.Context, done func() (bool, error)) error {
	pause := time.Second
	if a.about.Where.Loopback() {
		pause = 20 * time.Millisecond
	}
	deadline := time.Now().Add(waitLimit)
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errWaited
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
