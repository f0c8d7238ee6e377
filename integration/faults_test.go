package integration_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// badDay are the faults of both services, whose chances seed decides. Those of
// the tables begin once the workers have: a worker that cannot prepare its table
// says so and ends.
func badDay(seed uint64) []streamd.Fault {
	day := []streamd.Fault{
		{Kind: streamd.FaultThrottle, Service: "kinesis", Operation: "*Record*", Probability: 0.2},
		{Kind: streamd.FaultReplyLost, Operation: "PutRecords", Probability: 0.05},
		{Kind: streamd.FaultInternal, Service: "kinesis", Probability: 0.05},
		{Kind: streamd.FaultUnavailable, Service: "kinesis", Probability: 0.02},
		{Kind: streamd.FaultCut, Service: "kinesis", Probability: 0.05},
		{Kind: streamd.FaultExpiredIterator, Probability: 0.05},
		{Kind: streamd.FaultLatency, Latency: time.Millisecond, LatencyMax: 100 * time.Millisecond, Probability: 0.2},
		{Kind: streamd.FaultPartial, Share: 0.3, Probability: 0.1},
		{Kind: streamd.FaultPartial, Share: 0.5, Code: "InternalFailure", Shard: "0", Probability: 0.1},
		{Kind: streamd.FaultInternal, Service: "dynamodb", Probability: 0.15, After: time.Second},
		{Kind: streamd.FaultReplyLost, Service: "dynamodb", Operation: "*Item", Probability: 0.15, After: time.Second},
		{Kind: streamd.FaultCut, Service: "dynamodb", Probability: 0.15, After: time.Second},
	}
	for i := range day {
		day[i].Seed = seed*100 + uint64(i)
	}
	return day
}

// keptOrder notes what a consumer is given for the first time.
type keptOrder struct {
	mu    sync.Mutex // guards what follows
	seen  map[string]bool
	last  map[string]int
	wrong []string
}

func (k *keptOrder) process(_ context.Context, b *consumer.Batch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range b.Records {
		data := string(r.Data)
		if k.seen[data] {
			continue // put again after a lost reply, or read again after a lost lease
		}
		k.seen[data] = true
		var key string
		var n int
		if _, err := fmt.Sscanf(data, "%s %d", &key, &n); err != nil || key != r.PartitionKey {
			k.wrong = append(k.wrong, fmt.Sprintf("record %q with the key %s", data, r.PartitionKey))
			continue
		}
		if want := k.last[key] + 1; n != want {
			k.wrong = append(k.wrong, fmt.Sprintf("%s: %d where %d is next", key, n, want))
		}
		k.last[key] = n
	}
	return nil
}

func (k *keptOrder) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.seen)
}

// TestNothingIsLostOnABadDay puts through the producer and reads with two
// workers while requests of all kinds fail: every record comes, and those of a
// key in their order.
func TestNothingIsLostOnABadDay(t *testing.T) {
	fired := make([]int64, len(badDay(0)))
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { badDayOf(t, seed, fired) })
		})
	}
	for i, n := range fired {
		if n == 0 {
			t.Errorf("fault %d, %s, never fired", i, badDay(0)[i].Kind)
		}
	}
}

// badDayOf adds to fired how often each fault has fired.
func badDayOf(t *testing.T, seed uint64, fired []int64) {
	t.Helper()
	srv := streamdtest.New(t)
	srv.CreateStream(t, "orders", 3)
	var removes []func()
	for _, f := range badDay(seed) {
		removes = append(removes, srv.Fault(t, f))
	}
	quiet := slog.New(slog.DiscardHandler)

	got := &keptOrder{seen: make(map[string]bool), last: make(map[string]int)}
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	for _, id := range []string{"a", "b"} {
		store, err := dynamolease.New(srv.DynamoDB(), "app", dynamolease.Config{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := consumer.New(srv.Kinesis(), store, "app", "orders", func(*consumer.Shard) (consumer.Processor, error) {
			return consumer.ProcessorFunc(got.process), nil
		}, consumer.Config{WorkerID: id, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		workers.Go(func() {
			if err := c.Run(ctx); err != nil {
				t.Errorf("worker %s: %v", id, err)
			}
		})
	}

	const keys, perKey = 20, 100
	// Small aggregates make many records, so that single ones can fail.
	p, err := producer.New(srv.Kinesis(), "orders", producer.Config{RecordTTL: -1, AggregationMaxSize: 200, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	reported, resent := 0, 0
	for n := range perKey {
		for k := range keys {
			key := fmt.Sprintf("key-%d", k)
			err := p.Put(t.Context(), producer.UserRecord{PartitionKey: key, Data: fmt.Appendf(nil, "%s %d", key, n+1)}, func(r producer.Result) {
				mu.Lock()
				defer mu.Unlock()
				if reported++; r.Attempts > 1 {
					resent++
				}
				if r.Err != nil {
					t.Errorf("%s %d: %v", key, n+1, r.Err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if reported != keys*perKey {
		t.Errorf("%d results, want %d", reported, keys*perKey)
	}
	for begun := time.Now(); got.count() < keys*perKey && time.Since(begun) < 10*time.Minute; {
		time.Sleep(time.Second)
	}
	if got.count() != keys*perKey {
		t.Errorf("%d of %d records were read", got.count(), keys*perKey)
	}
	if got.wrong != nil {
		t.Errorf("order: %q", got.wrong)
	}
	for i, st := range srv.Faults() {
		fired[i] += st.Injected
	}
	if resent == 0 {
		t.Error("no record was sent twice")
	}
	for _, remove := range removes {
		remove()
	}
	cancel()
	workers.Wait()
}
