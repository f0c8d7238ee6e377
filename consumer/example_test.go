package consumer_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// exampleT lets an example use streamdtest, which belongs to a test.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper()                   {}
func (t *exampleT) Context() context.Context  { return context.Background() }
func (t *exampleT) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (t *exampleT) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func (t *exampleT) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

// A printer prints records. It is the whole of what an application writes.
type printer struct {
	stop func()
}

func (p *printer) ProcessRecords(_ context.Context, b *consumer.Batch) error {
	for _, r := range b.Records {
		fmt.Printf("%s: %s\n", r.PartitionKey, r.Data)
	}
	p.stop() // an application runs on
	return nil
}

func Example() {
	// In a program: kinesis.NewFromConfig and dynamodb.NewFromConfig.
	t := new(exampleT)
	defer t.end()
	srv := streamdtest.New(t)
	srv.CreateStream(t, "orders", 1)
	kinesisClient, dynamoClient := srv.Kinesis(), srv.DynamoDB()
	_, err := kinesisClient.PutRecord(context.Background(), &kinesis.PutRecordInput{
		StreamName: aws.String("orders"), PartitionKey: aws.String("customer-7"), Data: []byte("two pears"),
	})
	if err != nil {
		panic(err)
	}

	leases, err := dynamolease.New(dynamoClient, "orders-app", dynamolease.Config{})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	c, err := consumer.New(kinesisClient, leases, "orders-app", "orders",
		func(*consumer.Shard) (consumer.Processor, error) { return &printer{stop}, nil },
		consumer.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	if err := c.Run(ctx); err != nil {
		panic(err)
	}
	// Output: customer-7: two pears
}

// Two streams, read by one worker.
func ExampleNewMultiStream() {
	t := new(exampleT)
	defer t.end()
	srv := streamdtest.New(t)
	for stream, order := range map[string]string{"orders": "two pears", "returns": "one pear"} {
		srv.CreateStream(t, stream, 1)
		_, err := srv.Kinesis().PutRecord(context.Background(), &kinesis.PutRecordInput{
			StreamName: aws.String(stream), PartitionKey: aws.String("customer-7"), Data: []byte(order),
		})
		if err != nil {
			panic(err)
		}
	}
	leases, err := dynamolease.New(srv.DynamoDB(), "shop", dynamolease.Config{})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	var left atomic.Int64
	left.Store(2)
	c, err := consumer.NewMultiStream(srv.Kinesis(), leases, "shop", consumer.Streams("orders", "returns"),
		func(s *consumer.Shard) (consumer.Processor, error) {
			return consumer.ProcessorFunc(func(_ context.Context, b *consumer.Batch) error {
				for _, r := range b.Records {
					fmt.Printf("%s: %s\n", s.Stream, r.Data)
				}
				if left.Add(int64(-len(b.Records))) == 0 {
					stop() // an application runs on
				}
				return nil
			}), nil
		}, consumer.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	if err := c.Run(ctx); err != nil {
		panic(err)
	}
	// Unordered output:
	// orders: two pears
	// returns: one pear
}

// The records of a stream in a loop. An application would have a goroutine for
// each shard, and go on.
func ExampleReader() {
	t := new(exampleT)
	defer t.end()
	srv := streamdtest.New(t)
	srv.CreateStream(t, "orders", 1)
	for _, order := range []string{"two pears", "a melon"} {
		_, err := srv.Kinesis().PutRecord(context.Background(), &kinesis.PutRecordInput{
			StreamName: aws.String("orders"), PartitionKey: aws.String("customer-7"), Data: []byte(order),
		})
		if err != nil {
			panic(err)
		}
	}

	r, err := consumer.NewReader(srv.Kinesis(), memlease.New(), "orders-app", "orders",
		consumer.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	for shard := range r.Shards(ctx) {
		seen := 0
		for rec, err := range shard.Records(ctx) {
			if err != nil {
				panic(err) // the lease is lost; others go on
			}
			fmt.Printf("%s: %s\n", rec.PartitionKey, rec.Data)
			rec.Ack()
			if seen++; seen == 2 {
				stop()
			}
		}
	}
	if err := r.Err(); err != nil {
		panic(err)
	}
	// Output:
	// customer-7: two pears
	// customer-7: a melon
}
