package consumer_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

var leaseCycles = flag.Int("lease-cycles", 2000, "how many leases TestLeasesTakenAndLost takes and loses in each mode other than ModeKCL2, which always does 10,000")

// TestLeasesTakenAndLost: with records in hand each time, and in every way of delivery
// and every mode, nothing is left behind: no goroutine, no memory, no bytes of the
// budget.
func TestLeasesTakenAndLost(t *testing.T) {
	t.Run("kcl2", func(t *testing.T) { takeAndLose(t, consumer.ModeKCL2, 10_000, 2*time.Second) })
	// A leader assigns only now and then, and a native worker asks for its leases only
	// when it has renewed its row.
	t.Run("kcl3", func(t *testing.T) { takeAndLose(t, consumer.ModeKCL3, *leaseCycles, 10*time.Second) })
	t.Run("native", func(t *testing.T) { takeAndLose(t, consumer.ModeNative, *leaseCycles, 10*time.Second) })
}

func takeAndLose(t *testing.T, mode consumer.Mode, cycles int, each time.Duration) {
	t.Helper()
	const shards = 100
	rounds := cycles / shards
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(shards, 1), memlease.New()
		for i := range 5 * shards {
			stream.put(fmt.Sprint(i), []byte("x"))
		}
		var taken, lost atomic.Int64
		c, err := consumer.New(stream, mem, "app", "stream", func(s *consumer.Shard) (consumer.Processor, error) {
			n := taken.Add(1)
			return &puppet{
				shard: s,
				process: func(ctx context.Context, _ *puppet, b *consumer.Batch) error {
					switch n % 3 {
					case 0: // in the call as the lease is lost
						<-ctx.Done()
						return ctx.Err()
					case 1: // failing, between two calls
						return errFake
					}
					b.Detach() // in flight
					return nil
				},
				lost: func(*puppet) { lost.Add(1) },
			}, nil
		}, consumer.Config{
			Mode: mode, FailoverTime: time.Second, IdleTimeBetweenReads: time.Minute, ShutdownTimeout: time.Second, KeyConcurrency: 2, ProcessorTimeout: time.Hour,
			OnLost: func(*consumer.Shard) {}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1) // the result of Run, for whoever comes
		go func() { ran <- c.Run(ctx) }()
		time.Sleep(each)
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		var before uint64
		var goroutines int
		for round := range rounds {
			for key, l := range leases(t, mem) {
				got, err := mem.Take(t.Context(), l, "other", "i")
				if err != nil {
					t.Fatalf("round %d, %s: %v", round, key, err)
				}
				if _, err := mem.Update(t.Context(), got, consumer.Write{Release: true}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(each)
			synctest.Wait()
			if round == rounds/5 {
				before, goroutines = heap(), runtime.NumGoroutine()
			}
		}
		if n := runtime.NumGoroutine(); n > goroutines+10 {
			t.Errorf("%d goroutines after %d rounds, %d after %d", n, rounds, goroutines, rounds/5)
		}
		// A lease may leave 32 bytes behind, and all of them 256 KB.
		if after, most := heap(), uint64(256<<10+32*(rounds-rounds/5)*shards); after > before+most {
			t.Errorf("%d bytes of heap after %d rounds, %d after %d", after, rounds, before, rounds/5)
		}
		if n := taken.Load(); n < int64(shards*rounds) || lost.Load() != n-shards {
			t.Errorf("%d leases taken, %d lost", n, lost.Load())
		}
		stop()
		if err := <-ran; !errors.Is(err, consumer.ErrShutdown) { // there are records in hand
			t.Errorf("Run: %v", err)
		}
		if st := c.Stats(); st.BufferedBytes != 0 {
			t.Errorf("%d bytes of the budget left behind", st.BufferedBytes)
		}
	})
}
