package integration_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
	"github.com/streamkit/streamkit/producer"
)

// TestReshardUnderLoad splits and merges shards, one by one and by their number,
// while a producer writes and a consumer reads. The records of each key must arrive in the order in which they
// were put. An aggregated record that met the reshard is sent again, so some
// arrive twice; a record that comes again must not be a new one out of turn.
func TestReshardUnderLoad(t *testing.T) {
	const (
		stream  = "reshard"
		keys    = 200
		batches = 8 // a reshard in each but the last
		perKey  = 60
	)
	needProcesses(t)
	s := startServer(t)
	s.createStream(stream, 2)

	got := &arrivals{seen: map[string]bool{}, byKey: map[string][]int{}}
	leases, err := dynamolease.New(s.dynamodb(), "reshard-app", dynamolease.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := consumer.New(s.kinesis(), leases, "reshard-app", stream, got.processor, consumer.Config{
		FailoverTime: failover, IdleTimeBetweenReads: 100 * time.Millisecond, Logger: testLogger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	// Capacity 1: the test may have failed and gone when Run returns.
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the consumer ends with %v", err)
		}
	})

	p, err := producer.New(s.kinesis(), stream, producer.Config{Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("the producer closes with %v", err)
		}
	})
	var reshards sync.WaitGroup
	changes := []func(context.Context, string) error{
		s.splitFirst, s.mergeFirst, s.scaleTo(3), s.scaleTo(5), s.scaleTo(2), s.splitFirst, s.mergeFirst,
	}
	for batch := range batches {
		for n := batch * perKey; n < (batch+1)*perKey; n++ {
			for k := range keys {
				r := producer.UserRecord{PartitionKey: fmt.Sprintf("key-%d", k), Data: []byte(strconv.Itoa(n))}
				err := p.Put(t.Context(), r, func(res producer.Result) {
					if res.Err != nil {
						t.Errorf("put: %v", res.Err)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if n == batch*perKey+perKey/4 && batch < batches-1 { // goes on while records are put
				reshards.Wait()
				reshards.Go(func() {
					if err := changes[batch](t.Context(), stream); err != nil {
						t.Error(err)
					}
				})
			}
			pause(t.Context(), 2*time.Millisecond)
		}
	}
	reshards.Wait()
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}

	const total = keys * perKey * batches
	eventually(t, 60*time.Second, "all records read", func() error {
		if n := got.count(); n < total {
			return fmt.Errorf("%d of %d", n, total)
		}
		return nil
	})
	got.mu.Lock()
	defer got.mu.Unlock()
	again := 0
	for key, numbers := range got.byKey {
		next := 0
		for i, n := range numbers {
			switch {
			case n == next:
				next++
			case n < next:
				again++
			default:
				t.Fatalf("%s: after record %d came %d: %v", key, next-1, n, numbers[max(0, i-20):i+1])
			}
		}
		if next != perKey*batches {
			t.Errorf("%s: %d records, want %d", key, next, perKey*batches)
		}
	}
	if len(got.byKey) != keys {
		t.Errorf("%d keys, want %d", len(got.byKey), keys)
	}
	shards, err := s.shards(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	// Two splits and two merges by themselves. To three shards are two splits and
	// a merge, from three to five four and two, and from five to two one and four.
	if len(shards) != 2+2*(2+2+4+1)+2+1+2+4 {
		t.Errorf("%d shards, want 2, 18 from splits and 9 from merges", len(shards))
	}
	st := p.Stats()
	t.Logf("%d records of %d keys through %d shards, %d of them twice; stored on another shard than predicted: %d; sequence regressions: %d",
		total, keys, len(shards), again, st.WrongShard, st.SequenceRegressions)
}

// arrivals notes in which order the records of each key come.
type arrivals struct {
	mu    sync.Mutex      // guards all below
	seen  map[string]bool // key and number
	byKey map[string][]int
}

func (a *arrivals) processor(*consumer.Shard) (consumer.Processor, error) {
	return consumer.ProcessorFunc(func(_ context.Context, b *consumer.Batch) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		for i := range b.Records {
			r := &b.Records[i]
			n, err := strconv.Atoi(string(r.Data))
			if err != nil {
				return err
			}
			a.seen[r.PartitionKey+"/"+string(r.Data)] = true
			a.byKey[r.PartitionKey] = append(a.byKey[r.PartitionKey], n)
		}
		return nil
	}), nil
}

// count is the number of different records.
func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}
