package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// collector notes what comes for the first time, by key.
type collector struct {
	mu   sync.Mutex // guards seen and all
	seen map[string][]string
	all  map[string]bool
}

func (c *collector) process(_ context.Context, b *consumer.Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen, c.all = map[string][]string{}, map[string]bool{}
	}
	for _, r := range b.Records {
		if c.all[string(r.Data)] {
			continue // a lease that was stolen begins at its checkpoint
		}
		c.all[string(r.Data)] = true
		c.seen[r.PartitionKey] = append(c.seen[r.PartitionKey], string(r.Data))
	}
	return nil
}

func (c *collector) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, s := range c.seen {
		n += len(s)
	}
	return n
}

func run(t *testing.T, c *consumer.Consumer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1) // its sender must not wait
	go func() { done <- c.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// TestAgainstServer reads from the server with leases in its tables: two
// workers, aggregated records, a split and a merge, a stop of either.
func TestAgainstServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 2)
		api := srv.Kinesis()
		var got collector
		start := func(id string) (*consumer.Consumer, func()) {
			store, err := dynamolease.New(srv.DynamoDB(), "orders-app", dynamolease.Config{})
			if err != nil {
				t.Fatal(err)
			}
			c, err := consumer.New(api, store, "orders-app", "orders", func(*consumer.Shard) (consumer.Processor, error) {
				return consumer.ProcessorFunc(got.process), nil
			}, consumer.Config{WorkerID: id, Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			return c, run(t, c)
		}
		n := 0
		put := func(count int) {
			t.Helper()
			for range count {
				key := fmt.Sprint("key-", n%10)
				data := fmt.Appendf(nil, "%05d", n)
				if n%3 == 0 {
					var b aggregation.Builder
					b.Add(aggregation.Record{PartitionKey: key, Data: data})
					data = b.Seal(nil)
				}
				// The same key outside, so that the shard is that of the user record.
				if _, err := api.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: &key, Data: data}); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
		put(100)
		_, stopA := start("a")
		time.Sleep(time.Second)
		put(50)
		b, stopB := start("b")
		time.Sleep(5 * time.Second)
		if got.count() != 150 || len(b.Stats().Shards) != 1 {
			t.Errorf("%d user records read, b holds %d leases; want 150 and 1", got.count(), len(b.Stats().Shards))
		}
		if _, err := api.SplitShard(t.Context(), &kinesis.SplitShardInput{
			StreamName: aws.String("orders"), ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("85070591730234615865843651857942052864"),
		}); err != nil {
			t.Fatal(err)
		}
		put(100)
		if _, err := api.MergeShards(t.Context(), &kinesis.MergeShardsInput{
			StreamName: aws.String("orders"), ShardToMerge: aws.String("shardId-000000000003"), AdjacentShardToMerge: aws.String("shardId-000000000001"),
		}); err != nil {
			t.Fatal(err)
		}
		put(100)
		begun := time.Now()
		for got.count() < 350 && time.Since(begun) < time.Minute {
			time.Sleep(50 * time.Millisecond)
		}
		if d := time.Since(begun); d > 3*time.Second {
			t.Errorf("the children were read after %v", d)
		}
		stopA()
		put(50)
		time.Sleep(4 * time.Second)
		stopB()
		if got.count() != n {
			t.Errorf("%d user records read, %d put", got.count(), n)
		}
		for key, seen := range got.seen {
			for i, data := range seen {
				if i > 0 && data <= seen[i-1] {
					t.Errorf("key %s: %s after %s", key, data, seen[i-1])
				}
			}
		}
	})
}

func TestUnknownStreamIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		store, err := dynamolease.New(srv.DynamoDB(), "app", dynamolease.Config{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := consumer.New(srv.Kinesis(), store, "app", "nowhere", func(*consumer.Shard) (consumer.Processor, error) {
			return nil, nil
		}, consumer.Config{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), `stream "nowhere" does not exist; create it`) {
			t.Errorf("Run: %v", err)
		}
		if err := c.Run(t.Context()); !errors.Is(err, consumer.ErrRunning) {
			t.Errorf("second Run: %v", err)
		}
	})
}

// TestLatestSurvivesFailover: a worker that starts at the newest record and
// dies before it has read one leaves the place where it started.
func TestLatestSurvivesFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 1)
		api := srv.Kinesis()
		put := func(data string) {
			t.Helper()
			if _, err := api.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: []byte(data)}); err != nil {
				t.Fatal(err)
			}
		}
		put("before")
		time.Sleep(time.Second)
		store, err := dynamolease.New(srv.DynamoDB(), "app", dynamolease.Config{})
		if err != nil {
			t.Fatal(err)
		}
		start := func(id string, s consumer.LeaseStore, got *collector) func() {
			c, err := consumer.New(api, s, "app", "orders", func(*consumer.Shard) (consumer.Processor, error) {
				return consumer.ProcessorFunc(got.process), nil
			}, consumer.Config{WorkerID: id, Logger: quiet(), InitialPosition: consumer.Position{Latest: true}})
			if err != nil {
				t.Fatal(err)
			}
			return run(t, c)
		}
		var first, second collector
		cut := &faultyStore{LeaseStore: store}
		stopA := start("a", cut, &first)
		time.Sleep(2 * time.Second)
		cut.cut.Store(true)
		time.Sleep(10 * time.Second) // a no longer reads
		put("after")
		stopB := start("b", store, &second)
		time.Sleep(20 * time.Second)
		cut.cut.Store(false)
		stopA()
		stopB()
		if first.count() != 0 || fmt.Sprint(second.seen) != "map[k:[after]]" {
			t.Errorf("a read %v, b read %v; want b to read what came after a had started", first.seen, second.seen)
		}
	})
}

// TestExpiredIterator lets the server's clock run while the worker waits.
func TestExpiredIterator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 1)
		api := srv.Kinesis()
		put := func(data string) {
			t.Helper()
			if _, err := api.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: []byte(data)}); err != nil {
				t.Fatal(err)
			}
		}
		store, err := dynamolease.New(srv.DynamoDB(), "app", dynamolease.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var got collector
		c, err := consumer.New(api, store, "app", "orders", func(*consumer.Shard) (consumer.Processor, error) {
			return consumer.ProcessorFunc(got.process), nil
		}, consumer.Config{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, c)
		put("1")
		time.Sleep(2 * time.Second)
		srv.Advance(10 * time.Minute)
		put("2")
		time.Sleep(2 * time.Second)
		stop()
		if fmt.Sprint(got.seen) != "map[k:[1 2]]" || c.Stats().ExpiredIterators == 0 {
			t.Errorf("read %v, %d iterators expired", got.seen, c.Stats().ExpiredIterators)
		}
	})
}
