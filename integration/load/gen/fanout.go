package gen

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// subscribe registers consumers and subscribes each to the first shard, from
// the tip. Every event that has records is given to receive, serially for each
// consumer. stop ends the subscriptions and waits for them.
func subscribe(ctx context.Context, srv *Server, shards, consumers int, receive func(records int), fail func(error)) (stop func(), err error) {
	arn, err := createStream(ctx, srv.Endpoint, shards)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	stop = func() {
		cancel()
		reading.Wait()
	}
	for i := range consumers {
		// A client of its own: subscriptions of one client share what decodes
		// their events, without a lock (aws-sdk-go-v2 kinesis v1.56.13).
		stream, err := open(ctx, kinesisClient(srv.Endpoint), arn, fmt.Sprintf("load-%d", i))
		if err != nil {
			stop()
			return nil, served(err)
		}
		reading.Go(func() {
			defer stream.Close()
			for event := range stream.Events() {
				if e, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent); ok && len(e.Value.Records) > 0 {
					receive(len(e.Value.Records))
				}
			}
			if ctx.Err() == nil { // five minutes are longer than any load
				fail(fmt.Errorf("the subscription has ended: %w", stream.Err()))
			}
		})
		context.AfterFunc(ctx, func() { _ = stream.Close() })
	}
	return stop, nil
}

// open registers a consumer and subscribes it.
func open(ctx context.Context, client *kinesis.Client, arn, name string) (*kinesis.SubscribeToShardEventStream, error) {
	reg, err := client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(arn), ConsumerName: aws.String(name)})
	if err != nil {
		return nil, err
	}
	for status := reg.Consumer.ConsumerStatus; status != types.ConsumerStatusActive; {
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
		out, err := client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: reg.Consumer.ConsumerARN})
		if err != nil {
			return nil, err
		}
		status = out.ConsumerDescription.ConsumerStatus
	}
	out, err := client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: reg.Consumer.ConsumerARN, ShardId: aws.String("shardId-000000000000"),
		StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeLatest},
	})
	if err != nil {
		return nil, err
	}
	return out.GetStream(), nil
}

// Delay puts one record at a time and waits for it to come back through a
// subscription. Its percentiles are of the time between.
type Delay struct {
	Pause time.Duration // after each record
}

// Run implements [Load].
func (d Delay) Run(ctx context.Context, env *Env) (Result, error) {
	srv, err := env.Start(ctx)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	came := make(chan time.Time, 1) // one record is under way at a time
	stop, err := subscribe(ctx, srv, 1, 1, func(int) {
		select {
		case came <- time.Now():
		case <-ctx.Done():
		}
	}, cancel)
	if err != nil {
		return Result{}, err
	}
	defer stop()
	puts, done, err := Puts{Client: Raw, Callers: 1, Batch: 1, Size: 200}.calls(ctx, srv.Endpoint)
	defer done()
	if err != nil {
		return Result{}, err
	}
	var delays []time.Duration
	one := func(ctx context.Context) (int, error) {
		begin := time.Now()
		if _, err := puts[0](ctx); err != nil {
			return 0, err
		}
		limit := time.NewTimer(10 * time.Second)
		defer limit.Stop()
		select {
		case at := <-came:
			delays = append(delays, at.Sub(begin))
		case <-limit.C:
			return 0, fmt.Errorf("a record has not come after 10s")
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		return 1, wait(ctx, d.Pause)
	}
	r, err := drive(ctx, env, srv, []call{one})
	delays = delays[min(len(delays)/5, len(delays)):] // the warm-up is a fifth of the whole
	r.P50, r.P99 = Percentile(delays, 50), Percentile(delays, 99)
	return r, err
}

// FanOut puts records of 200 bytes into one shard as fast as one caller can,
// and counts what all subscribers together receive.
type FanOut struct {
	Subscribers int
}

// Run implements [Load].
func (f FanOut) Run(ctx context.Context, env *Env) (Result, error) {
	srv, err := env.Start(ctx)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var received atomic.Int64
	stop, err := subscribe(ctx, srv, 1, f.Subscribers, func(n int) { received.Add(int64(n)) }, cancel)
	if err != nil {
		return Result{}, err
	}
	defer stop()
	puts, done, err := Puts{Client: Raw, Callers: 1, Batch: maxBatch, Size: 200}.calls(ctx, srv.Endpoint)
	defer done()
	if err != nil {
		return Result{}, err
	}
	var putting sync.WaitGroup
	var over atomic.Bool
	putting.Go(func() {
		for !over.Load() {
			if _, err := puts[0](ctx); err != nil {
				cancel(err)
				return
			}
		}
	})
	var before, after int64
	r, err := measure(ctx, env, srv, func(on bool) {
		if on {
			before = received.Load()
		} else {
			after = received.Load()
		}
	}, func() bool { return received.Load() > before })
	over.Store(true)
	putting.Wait()
	r.Count = after - before
	return r, err
}
