package consumer_test

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/internal/aggregation"
)

// BenchmarkDelivery measures the way from an answer of the service to the
// processor, with a service that answers at once. One operation is a user record of
// 200 bytes: alone, in aggregates of 100, and alone with lanes, for 64 keys.
func BenchmarkDelivery(b *testing.B) {
	data := make([]byte, 200)
	blob := func() []byte {
		var a aggregation.Builder
		for range 100 {
			a.Add(aggregation.Record{PartitionKey: "key", Data: data})
		}
		return a.Seal(nil)
	}()
	for name, bm := range map[string]struct {
		data []byte
		each int // user records
		cfg  consumer.Config
	}{
		"plain":      {data: data, each: 1},
		"aggregated": {data: blob, each: 100},
		"lanes":      {data: data, each: 1, cfg: consumer.Config{KeyConcurrency: 8}},
	} {
		b.Run(name, func(b *testing.B) {
			stream := newFakeStream(1, 1)
			stream.limit = min(10000, 10<<20/len(bm.data)) // what the service sends at most
			n := int64(0)
			for ; n < int64(b.N); n += int64(bm.each) {
				stream.put("key-"+strconv.FormatInt(n%64, 10), bm.data)
			}
			deliver(b, stream, n, bm.cfg)
		})
	}
}

// deliver reads n user records.
func deliver(b *testing.B, stream *fakeStream, n int64, cfg consumer.Config) {
	b.Helper()
	var got atomic.Int64
	done := make(chan struct{}) // closed when all records have come
	cfg.Logger = slog.New(slog.DiscardHandler)
	c, err := consumer.New(stream, memlease.New(), "app", "stream", func(*consumer.Shard) (consumer.Processor, error) {
		return consumer.ProcessorFunc(func(_ context.Context, batch *consumer.Batch) error {
			if got.Add(int64(len(batch.Records))) == n {
				close(done)
			}
			return nil
		}), nil
	}, cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	b.SetBytes(200)
	b.ReportAllocs()
	b.ResetTimer()
	finished := make(chan error, 1) // its sender must not wait
	go func() { finished <- c.Run(ctx) }()
	<-done
	b.StopTimer()
	stop()
	if err := <-finished; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkShards is BenchmarkDelivery's plain form with more shards. One operation is
// a record.
func BenchmarkShards(b *testing.B) {
	for _, shards := range []int{1, 64, 512} {
		b.Run(strconv.Itoa(shards), func(b *testing.B) {
			stream := newFakeStream(shards, 1)
			data := make([]byte, 200)
			for i := range b.N {
				stream.putLocked(stream.shards[i%shards].rng.Start, "key", data)
			}
			deliver(b, stream, int64(b.N), consumer.Config{})
		})
	}
}

// BenchmarkIdle reports what a worker's shards take that nothing is put into, in heap
// and stacks.
func BenchmarkIdle(b *testing.B) {
	const shards = 512
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // pools are emptied by the second
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for b.Loop() {
		stream, before := newFakeStream(shards, 1), used()
		c, err := consumer.New(stream, memlease.New(), "app", "stream", func(*consumer.Shard) (consumer.Processor, error) {
			return consumer.ProcessorFunc(func(context.Context, *consumer.Batch) error { return nil }), nil
		}, consumer.Config{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(b.Context())
		finished := make(chan error, 1) // its sender must not wait
		go func() { finished <- c.Run(ctx) }()
		for st := c.Stats(); len(st.Shards) < shards || st.Reads < 2*shards; st = c.Stats() {
			time.Sleep(10 * time.Millisecond)
		}
		b.ReportMetric(float64(used()-before)/shards, "B/shard")
		stop()
		if err := <-finished; err != nil {
			b.Fatal(err)
		}
	}
}
