package consumer_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

var leaseCycles = flag.Int("lease-cycles", 2000, "how many leases TestLeasesTakenAndLost takes and loses in each mode, and of several streams; of one under ModeKCL2 it is always 10,000")

// TestLeasesTakenAndLost: with records in hand each time, and in every way of delivery
// and every mode, nothing is left behind: no goroutine, no memory, no bytes of the
// budget.
func TestLeasesTakenAndLost(t *testing.T) {
	t.Run("kcl2", func(t *testing.T) { takeAndLose(t, consumer.ModeKCL2, 1, 10_000, 2*time.Second) })
	// A leader assigns only now and then, and a native worker asks for its leases only
	// when it has renewed its row.
	t.Run("kcl3", func(t *testing.T) { takeAndLose(t, consumer.ModeKCL3, 1, *leaseCycles, 10*time.Second) })
	t.Run("native", func(t *testing.T) { takeAndLose(t, consumer.ModeNative, 1, *leaseCycles, 10*time.Second) })
	t.Run("kcl2, of several streams", func(t *testing.T) { takeAndLose(t, consumer.ModeKCL2, 4, *leaseCycles, 2*time.Second) })
	t.Run("kcl3, of several streams", func(t *testing.T) { takeAndLose(t, consumer.ModeKCL3, 4, *leaseCycles, 10*time.Second) })
	t.Run("native, of several streams", func(t *testing.T) { takeAndLose(t, consumer.ModeNative, 4, *leaseCycles, 10*time.Second) })
}

// manyStreams is several streams, by name.
type manyStreams map[string]*fakeStream

func (m manyStreams) ListShards(ctx context.Context, in *kinesis.ListShardsInput, o ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	return m[*in.StreamName].ListShards(ctx, in, o...)
}

func (m manyStreams) DescribeStreamSummary(context.Context, *kinesis.DescribeStreamSummaryInput, ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error) {
	return nil, errFake // who they are is given
}

func (m manyStreams) GetShardIterator(ctx context.Context, in *kinesis.GetShardIteratorInput, o ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error) {
	out, err := m[*in.StreamName].GetShardIterator(ctx, in, o...)
	if err == nil {
		*out.ShardIterator = *in.StreamName + "/" + *out.ShardIterator
	}
	return out, err
}

func (m manyStreams) GetRecords(ctx context.Context, in *kinesis.GetRecordsInput, o ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error) {
	name, it, _ := strings.Cut(*in.ShardIterator, "/")
	one := *in
	one.ShardIterator = &it
	out, err := m[name].GetRecords(ctx, &one, o...)
	if err == nil && out.NextShardIterator != nil {
		*out.NextShardIterator = name + "/" + *out.NextShardIterator
	}
	return out, err
}

func takeAndLose(t *testing.T, mode consumer.Mode, streams, cycles int, each time.Duration) {
	t.Helper()
	const shards = 100
	rounds := cycles / shards
	synctest.Test(t, func(t *testing.T) {
		mem, all := memlease.New(), manyStreams{}
		var list []consumer.StreamConfig
		for i := range streams {
			stream := newFakeStream(shards/streams, 1)
			for i := range 5 * shards {
				stream.put(fmt.Sprint(i), []byte("x"))
			}
			name := fmt.Sprintf("stream%d", i)
			all[name] = stream
			list = append(list, consumer.StreamConfig{Stream: name, ID: consumer.StreamID{Account: "000000000000", Name: name, Epoch: 1}})
		}
		var taken, lost atomic.Int64
		newProcessor := func(s *consumer.Shard) (consumer.Processor, error) {
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
		}
		cfg := consumer.Config{
			Mode: mode, FailoverTime: time.Second, IdleTimeBetweenReads: time.Minute, ShutdownTimeout: time.Second, KeyConcurrency: 2, ProcessorTimeout: time.Hour,
			OnLost: func(*consumer.Shard) {}, Logger: slog.New(slog.DiscardHandler),
		}
		c, err := consumer.New(all, mem, "app", list[0].Stream, newProcessor, cfg)
		if streams > 1 {
			c, err = consumer.NewMultiStream(all, mem, "app", func(context.Context) ([]consumer.StreamConfig, error) { return list, nil }, newProcessor, cfg)
		}
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
		// The least of some rounds: a third of the leases may be about to call their
		// processors again.
		early, late := math.MaxInt, math.MaxInt
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
				before = heap()
			}
			if n := runtime.NumGoroutine(); round <= rounds/5 {
				early = min(early, n)
			} else if round >= rounds-1-rounds/5 {
				late = min(late, n)
			}
		}
		if late > early+20 {
			t.Errorf("%d goroutines in the last rounds of %d, %d in the first", late, rounds, early)
		}
		// A lease may leave 32 bytes behind, and all of them 256 KB.
		if after, most := heap(), uint64(256<<10+32*(rounds-rounds/5)*shards); after > before+most {
			t.Errorf("%d bytes of heap after %d rounds, %d after %d", after, rounds, before, rounds/5)
		}
		if n := taken.Load(); n < int64(shards*rounds) || lost.Load() != n-shards {
			t.Errorf("%d leases taken, %d lost", n, lost.Load())
		}
		if n := c.Stats().LeasesLost; n != int64(shards*rounds) {
			t.Errorf("%d leases counted as lost, want %d", n, shards*rounds)
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
