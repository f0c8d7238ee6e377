package consumer_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// BenchmarkDelivery measures the way from an answer of the service to the
// processor, with a service that answers at once. One operation is a record of
// 200 bytes.
func BenchmarkDelivery(b *testing.B) {
	stream := newFakeStream(1, 1)
	data := make([]byte, 200)
	for range b.N {
		stream.put("key", data)
	}
	var n atomic.Int64
	done := make(chan struct{}) // closed when all records have come
	c, err := consumer.New(stream, memlease.New(), "app", "stream", func(*consumer.Shard) (consumer.Processor, error) {
		return consumer.ProcessorFunc(func(_ context.Context, batch *consumer.Batch) error {
			if n.Add(int64(len(batch.Records))) == int64(b.N) {
				close(done)
			}
			return nil
		}), nil
	}, consumer.Config{Logger: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	b.SetBytes(int64(len(data)))
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
