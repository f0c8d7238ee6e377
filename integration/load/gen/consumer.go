package gen

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// Consumer stores records of 200 bytes, and then reads the stream from its
// beginning to its end through the consumer library with its default settings,
// over and over: each time as another application, with leases in memory.
type Consumer struct {
	Records int // to store before
}

// Run implements [Load]. It counts the records that processors were given.
func (l Consumer) Run(ctx context.Context, env *Env) (Result, error) {
	srv, err := env.Start(ctx)
	if err != nil {
		return Result{}, err
	}
	if _, err := createStream(ctx, srv.Endpoint, env.Shards); err != nil {
		return Result{}, err
	}
	if err := fill(ctx, srv.Endpoint, l.Records); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var count atomic.Int64
	done := make(chan struct{}) // closed when nothing reads any more
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := l.catchUp(ctx, srv.Endpoint, &count); err != nil {
				cancel(err)
			}
		}
	}()
	var read int64
	r, err := measure(ctx, env, srv, func(bool) { read = count.Load() - read }, func() bool { return count.Load() > 0 })
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(nil)
	<-done
	if err != nil {
		return Result{}, err
	}
	r.Count = read
	r.Bytes = r.Count * (filled + KeySize)
	return r, nil
}

// catchUp reads all records once.
func (l Consumer) catchUp(ctx context.Context, endpoint string, count *atomic.Int64) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var read atomic.Int64
	process := func(_ context.Context, b *consumer.Batch) error {
		n := int64(len(b.Records))
		count.Add(n)
		if read.Add(n) >= int64(l.Records) {
			stop()
		}
		return nil
	}
	c, err := consumer.New(kinesisClient(endpoint), memlease.New(), "load", streamName, func(*consumer.Shard) (consumer.Processor, error) {
		return consumer.ProcessorFunc(process), nil
	}, consumer.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return c.Run(ctx)
}
