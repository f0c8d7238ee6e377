package consumer

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// FanOutAPI is what a [Consumer] calls of Kinesis besides [API] where
// Config.RetrievalMode asks for fan-out. [kinesis.Client] has it.
//
// Each subscription is opened with a client of its own, made of the options of
// the one that was given: the event streams of one client share a decoder that
// is not safe for concurrent use (service/kinesis v1.56.13). So where the client
// is wrapped, in a type that embeds it, SubscribeToShard of the wrapper is not
// called; [Subscriber] is how a wrapper takes part.
type FanOutAPI interface {
	DescribeStreamSummary(context.Context, *kinesis.DescribeStreamSummaryInput, ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error)
	DescribeStreamConsumer(context.Context, *kinesis.DescribeStreamConsumerInput, ...func(*kinesis.Options)) (*kinesis.DescribeStreamConsumerOutput, error)
	RegisterStreamConsumer(context.Context, *kinesis.RegisterStreamConsumerInput, ...func(*kinesis.Options)) (*kinesis.RegisterStreamConsumerOutput, error)
	DeregisterStreamConsumer(context.Context, *kinesis.DeregisterStreamConsumerInput, ...func(*kinesis.Options)) (*kinesis.DeregisterStreamConsumerOutput, error)
	SubscribeToShard(context.Context, *kinesis.SubscribeToShardInput, ...func(*kinesis.Options)) (*kinesis.SubscribeToShardOutput, error)
}

// Subscriber is an optional part of [FanOutAPI], called instead of its
// SubscribeToShard. Fakes need it: they cannot put an event stream into a
// SubscribeToShardOutput, but make one with
// [kinesis.NewSubscribeToShardEventStream].
type Subscriber interface {
	// Subscribe subscribes to a shard. The end of ctx ends the subscription. It
	// is called for several shards at once.
	Subscribe(ctx context.Context, in *kinesis.SubscribeToShardInput) (*kinesis.SubscribeToShardEventStream, error)
}

// subscribeFunc opens a subscription that lasts as long as its context.
type subscribeFunc func(context.Context, *kinesis.SubscribeToShardInput) (*kinesis.SubscribeToShardEventStream, error)

// newSubscribe returns how subscriptions are opened with api.
func newSubscribe(api FanOutAPI) subscribeFunc {
	if s, ok := api.(Subscriber); ok {
		return s.Subscribe
	}
	return func(ctx context.Context, in *kinesis.SubscribeToShardInput) (*kinesis.SubscribeToShardEventStream, error) {
		client := api
		if c, ok := api.(interface{ Options() kinesis.Options }); ok {
			client = kinesis.New(c.Options())
		}
		out, err := client.SubscribeToShard(ctx, in, noRetries)
		if err != nil {
			return nil, err
		}
		stream := out.GetStream()
		if stream == nil {
			return nil, errors.New("consumer: the client's SubscribeToShard returned no event stream; let it implement Subscriber")
		}
		return stream, nil
	}
}
