package producer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// TestAgainstStreamd puts through the real client into a real server while a
// shard is split and two are merged, and reads everything back in order.
func TestAgainstStreamd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "stream", 2)
		client := srv.Kinesis()
		p := start(t, client, producer.Config{AggregationMaxSize: 2000})
		if err := p.Ping(t.Context()); err != nil {
			t.Errorf("Ping: %v", err)
		}

		const perKey, keyCount = 300, 20
		var mu sync.Mutex
		reported := map[string]int{}
		var callers sync.WaitGroup
		for c := range 4 {
			callers.Go(func() {
				for n := range perKey {
					for k := range keyCount {
						if k%4 != c {
							continue
						}
						data := payload(fmt.Sprint("key-", k), n+1)
						put(t, p, record(fmt.Sprint("key-", k), data), func(r producer.Result) {
							mu.Lock()
							defer mu.Unlock()
							reported[data]++
							if r.Err != nil {
								t.Errorf("record %q: %v", data, r.Err)
							}
						})
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		reshard(t, client)
		callers.Wait()
		closeNow(t, p)

		last := map[string]int{}
		seen := map[string]bool{}
		for _, r := range srv.Records(t, "stream") {
			take := func(data string) {
				key, n := parsePayload(data)
				if seen[data] {
					return // resent as a whole
				}
				seen[data] = true
				if n != last[key]+1 {
					t.Errorf("key %s: record %d after %d", key, n, last[key])
				}
				last[key] = n
			}
			ok, err := aggregation.Walk(r.Data, func(_ int, u aggregation.Record) bool {
				take(string(u.Data))
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				take(string(r.Data))
			}
		}
		if len(seen) != perKey*keyCount || len(reported) != perKey*keyCount {
			t.Errorf("%d records in the stream, %d reported, want %d", len(seen), len(reported), perKey*keyCount)
		}
		s := p.Stats()
		if s.Shards != 2 || s.WrongShard == 0 || s.SequenceRegressions != 0 {
			t.Errorf("Stats: %+v", s)
		}
	})
}

// reshard splits the first of two shards, waits, and merges the last two.
func reshard(t *testing.T, client *kinesis.Client) {
	t.Helper()
	ctx := t.Context()
	active := func() {
		t.Helper()
		w := kinesis.NewStreamExistsWaiter(client, func(o *kinesis.StreamExistsWaiterOptions) {
			o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
		})
		if err := w.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String("stream")}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(500 * time.Millisecond)
	_, err := client.SplitShard(ctx, &kinesis.SplitShardInput{
		StreamName:         aws.String("stream"),
		ShardToSplit:       aws.String("shardId-000000000000"),
		NewStartingHashKey: aws.String("85070591730234615865843651857942052864"),
	})
	if err != nil {
		t.Fatal(err)
	}
	active()
	time.Sleep(500 * time.Millisecond)
	_, err = client.MergeShards(ctx, &kinesis.MergeShardsInput{
		StreamName:           aws.String("stream"),
		ShardToMerge:         aws.String("shardId-000000000003"),
		AdjacentShardToMerge: aws.String("shardId-000000000001"),
	})
	if err != nil {
		t.Fatal(err)
	}
	active()
}

func ExampleProducer() {
	// In a program: client := kinesis.NewFromConfig(awsConfig, …) with
	// o.HTTPClient = producer.HTTPClient().
	var t exampleT
	defer t.end()
	srv := streamdtest.New(&t)
	srv.CreateStream(&t, "orders", 2)
	client := srv.Kinesis()

	p, err := producer.New(client, "orders", producer.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	done := func(r producer.Result) {
		if r.Err != nil {
			fmt.Println("lost:", r.Tag, r.Err)
		}
	}
	ctx := context.Background()
	for i := range 1000 {
		r := producer.UserRecord{
			PartitionKey: fmt.Sprint("customer-", i%10),
			Data:         fmt.Appendf(nil, `{"order": %d}`, i),
			Tag:          i,
		}
		if err := p.Put(ctx, r, done); err != nil { // waits while the buffer is full
			fmt.Println(err)
			return
		}
	}
	if err := p.Close(ctx); err != nil { // sends what is left
		fmt.Println(err)
		return
	}
	s := p.Stats()
	fmt.Println(s.UserRecordsPut, "records stored, fewer Kinesis records:", s.KinesisRecordsPut < 100)
	// Output: 1000 records stored, fewer Kinesis records: true
}
