package gen

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
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
func subscribe(ctx context.Context, srv *Server, client Client, shards, consumers int, receive func(records int), fail func(error)) (stop func(), err error) {
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
		api := kinesisClient(srv.Endpoint)
		consumer, err := register(ctx, api, arn, fmt.Sprintf("load-%d", i))
		if err != nil {
			stop()
			return nil, served(err)
		}
		if client == Raw {
			body, err := openRaw(ctx, srv.Endpoint, consumer)
			if err != nil {
				stop()
				return nil, err
			}
			reading.Go(func() {
				defer body.Close()
				if err := scanEvents(body, receive); ctx.Err() == nil {
					fail(fmt.Errorf("the subscription has ended: %w", err))
				}
			})
			continue
		}
		stream, err := open(ctx, api, consumer)
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

// register registers a consumer, waits until it can subscribe, and returns its
// ARN.
func register(ctx context.Context, client *kinesis.Client, arn, name string) (consumer string, err error) {
	reg, err := client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(arn), ConsumerName: aws.String(name)})
	if err != nil {
		return "", err
	}
	for status := reg.Consumer.ConsumerStatus; status != types.ConsumerStatusActive; {
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return "", err
		}
		out, err := client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: reg.Consumer.ConsumerARN})
		if err != nil {
			return "", err
		}
		status = out.ConsumerDescription.ConsumerStatus
	}
	return *reg.Consumer.ConsumerARN, nil
}

// firstShard is the shard that subscriptions read.
const firstShard = "shardId-000000000000"

// openRaw subscribes a consumer and returns the events as they come, until ctx
// ends.
func openRaw(ctx context.Context, endpoint, consumer string) (io.ReadCloser, error) {
	body := fmt.Sprintf(`{"ConsumerARN":%q,"ShardId":%q,"StartingPosition":{"Type":"LATEST"}}`, consumer, firstShard)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", typeJSON)
	req.Header.Set("X-Amz-Target", kinesisTarget+"SubscribeToShard")
	req.Header.Set("X-Amz-Date", requestDate)
	req.Header.Set("Authorization", authorization)
	res, err := new(http.Transport).RoundTrip(req) // a connection of its own
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body) // what can be had of it
		return nil, fmt.Errorf("answer %d: %.200s", res.StatusCode, text)
	}
	return res.Body, nil
}

// scanEvents reads the messages of an event stream, and no more of them than
// their lengths and how many records they have.
func scanEvents(r io.Reader, receive func(records int)) error {
	in := bufio.NewReaderSize(r, 256<<10)
	var message []byte
	for {
		prelude, err := in.Peek(4)
		if err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(prelude))
		message = slices.Grow(message[:0], size)[:size]
		if _, err := io.ReadFull(in, message); err != nil {
			return err
		}
		if bytes.Contains(message[:min(size, 200)], []byte("exception")) {
			return fmt.Errorf("%.300q", message)
		}
		if n := bytes.Count(message, []byte(`"PartitionKey"`)); n > 0 {
			receive(n)
		}
	}
}

// open subscribes a consumer.
func open(ctx context.Context, client *kinesis.Client, consumer string) (*kinesis.SubscribeToShardEventStream, error) {
	out, err := client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: aws.String(consumer), ShardId: aws.String(firstShard),
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
	stop, err := subscribe(ctx, srv, SDK, 1, 1, func(int) {
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
	Client      Client // of the subscribers: SDK or Raw
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
	stop, err := subscribe(ctx, srv, f.Client, 1, f.Subscribers, func(n int) { received.Add(int64(n)) }, cancel)
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
