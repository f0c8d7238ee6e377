package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// TestPanic: each shard's processor panics in turn, in each of its methods; it is
// made anew, from what is acknowledged, and the other shards go on.
func TestPanic(t *testing.T) {
	for _, call := range []string{"Initialize TRIM_HORIZON", "ProcessRecords", "ShardEnded"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream, mem := newFakeStream(2, 1), memlease.New()
				var made, panics atomic.Int64
				boom := func(p *puppet, name string) {
					if p.shard.ID == firstShard && name == call && panics.Add(1) <= 5 {
						panic("boom")
					}
				}
				var other atomic.Int64
				w := startFactory(t, stream, &faultyStore{LeaseStore: mem}, func(s *consumer.Shard) (consumer.Processor, error) {
					if s.ID == firstShard {
						made.Add(1)
					}
					return &starter{puppet{shard: s, process: func(_ context.Context, p *puppet, b *consumer.Batch) error {
						if s.ID != firstShard {
							other.Add(int64(len(b.Records)))
						}
						boom(p, "ProcessRecords")
						return nil
					}, ended: func(context.Context, *puppet) error {
						boom(&puppet{shard: s}, "ShardEnded")
						return nil
					}}, boom}, nil
				}, consumer.Config{})
				var put int64
				for i := range 200 {
					if shard, _ := stream.put(fmt.Sprint(i), []byte("x")); shard != firstShard {
						put++
					}
				}
				time.Sleep(time.Second)
				if other.Load() != put {
					t.Errorf("the other shard has read %d of %d records", other.Load(), put)
				}
				stream.split(0)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				st := w.Stats()
				if st.ProcessorPanics != 5 || st.ProcessorRestarts != 5 || st.ProcessorErrors != 5 || made.Load() != 6 {
					t.Errorf("%d panics, %d restarts, %d errors, %d processors", st.ProcessorPanics, st.ProcessorRestarts, st.ProcessorErrors, made.Load())
				}
				if l := leases(t, mem)[firstShard]; l.Checkpoint.SequenceNumber != consumer.ShardEnd || st.BufferedBytes != 0 {
					t.Errorf("checkpoint %v, %d bytes held", l.Checkpoint, st.BufferedBytes)
				}
				w.wait(t)
			})
		})
	}
}

// starter is a puppet whose test hears of Initialize as well.
type starter struct {
	puppet
	called func(*puppet, string)
}

func (s *starter) Initialize(ctx context.Context, at consumer.Checkpoint) error {
	s.called(&s.puppet, "Initialize "+at.String())
	return s.puppet.Initialize(ctx, at)
}

// TestHangThatEnds: a call that takes too long is told so, and another processor
// takes over when it has returned, not before.
func TestHangThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		_, seq := stream.put("k", []byte("x"))
		var cause error
		var running, made, calls atomic.Int64
		start := time.Now()
		var second time.Duration
		w := startFactory(t, stream, &faultyStore{LeaseStore: mem}, func(*consumer.Shard) (consumer.Processor, error) {
			made.Add(1)
			return consumer.ProcessorFunc(func(ctx context.Context, _ *consumer.Batch) error {
				if running.Add(1) > 1 {
					t.Error("two calls at a time")
				}
				defer running.Add(-1)
				if calls.Add(1) == 1 {
					<-ctx.Done()
					cause = context.Cause(ctx)
					time.Sleep(5 * time.Second) // slow to return
					return ctx.Err()
				}
				second = time.Since(start)
				return nil
			}), nil
		}, consumer.Config{ProcessorTimeout: 20 * time.Second})
		time.Sleep(22 * time.Second)
		if st := w.Stats(); !st.Shards[0].Hung || st.ProcessorTimeouts != 1 || st.ProcessorRestarts != 0 {
			t.Errorf("%+v", st)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !errors.Is(cause, consumer.ErrProcessorTimeout) || !errors.Is(cause, consumer.ErrRestart) {
			t.Errorf("cause %v", cause)
		}
		if second < 25*time.Second || second > 26*time.Second {
			t.Errorf("delivered again after %v", second)
		}
		if st := w.Stats(); st.Shards[0].Hung || st.ProcessorRestarts != 1 || made.Load() != 2 || st.Shards[0].Failures != 0 {
			t.Errorf("%d processors, %+v", made.Load(), st)
		}
		w.wait(t)
		if got := leases(t, mem)[firstShard].Checkpoint; got != at(seq, 0) {
			t.Errorf("stored %v", got)
		}
	})
}

// TestHangThatDoesNotEnd: the lease is let go, another worker reads on, and this
// one takes no part in the shard until the call has returned.
func TestHangThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		stream.limit = 1
		_, first := stream.put("k", []byte("good"))
		stream.put("k", []byte("stuck"))
		let := make(chan struct{}) // closed to end the hang
		var calls, lost atomic.Int64
		stuck := startFactory(t, stream, &faultyStore{LeaseStore: mem}, puppets(puppet{
			process: func(_ context.Context, _ *puppet, b *consumer.Batch) error {
				calls.Add(1)
				if string(b.Records[0].Data) == "stuck" && calls.Load() == 2 {
					<-let
					b.Ack(0)
				}
				return nil
			},
			lost: func(*puppet) { lost.Add(1) },
		}), consumer.Config{WorkerID: "stuck", ProcessorTimeout: 10 * time.Second})
		time.Sleep(20*time.Second + time.Millisecond)
		if l := leases(t, mem)[firstShard]; l.Owner != "" || l.Checkpoint != at(first, 0) {
			t.Errorf("lease %+v", l)
		}
		time.Sleep(time.Minute)
		if l := leases(t, mem)[firstShard]; l.Owner != "" {
			t.Errorf("the stuck worker has taken it again: %+v", l)
		}
		if st := stuck.Stats(); len(st.Shards) != 1 || !st.Shards[0].Hung || st.LeasesReleased != 1 || st.LeasesLost+st.LeasesExpired != 0 {
			t.Errorf("%+v", st)
		}
		var got []string
		other := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
			for _, r := range b.Records {
				got = append(got, string(r.Data))
			}
			return nil
		}, consumer.Config{WorkerID: "other"})
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if !slices.Equal(got, []string{"stuck"}) {
			t.Errorf("the other worker got %q", got)
		}
		if st := stuck.Stats(); st.LeasesLost+st.LeasesExpired != 0 {
			t.Errorf("a lease that was let go is lost as well: %+v", st)
		}
		other.wait(t)
		close(let)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if l := leases(t, mem)[firstShard]; l.Owner != "stuck" {
			t.Errorf("not taken after the call had returned: %+v", l)
		}
		if st := stuck.Stats(); st.Shards[0].Hung || lost.Load() != 0 {
			t.Errorf("%+v, told %d times of the loss", st.Shards, lost.Load())
		}
		stuck.wait(t)
	})
}

// TestNoTimeoutByDefault: a call may take as long as it does.
func TestNoTimeoutByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		_, seq := stream.put("k", []byte("x"))
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(ctx context.Context, _ *consumer.Batch) error {
			select {
			case <-time.After(50 * time.Minute):
			case <-ctx.Done():
				t.Error(context.Cause(ctx))
			}
			return nil
		}, consumer.Config{})
		time.Sleep(time.Hour)
		w.wait(t)
		if got := leases(t, mem)[firstShard].Checkpoint; got != at(seq, 0) {
			t.Errorf("stored %v", got)
		}
	})
}

// panicking is a client that panics now and then.
type panicking struct {
	*fakeStream
	n atomic.Int64
}

func (p *panicking) GetRecords(ctx context.Context, in *kinesis.GetRecordsInput, o ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error) {
	if p.n.Add(1)%3 == 0 {
		panic("fake: a fault of the client")
	}
	return p.fakeStream.GetRecords(ctx, in, o...)
}

// TestReaderThatDies: it is begun anew, and nothing is skipped, nor any memory
// kept for what it had in hand.
func TestReaderThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(2, 1), memlease.New()
		stream.limit = 7
		h := newHistory(stream)
		h.store = mem
		for i := range 500 {
			h.produce(i, 20)
		}
		w := startWorker(t, &panicking{fakeStream: stream}, &faultyStore{LeaseStore: mem, history: h}, h.process, consumer.Config{})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		st := w.Stats()
		if st.ReaderPanics < 10 || st.ProcessorRestarts != st.ReaderPanics || st.BufferedBytes != 0 {
			t.Errorf("%d panics, %d restarts, %d bytes held", st.ReaderPanics, st.ProcessorRestarts, st.BufferedBytes)
		}
		w.wait(t)
		if h.missing() != 0 || h.duplicates() != 0 {
			t.Errorf("%d records missing, %d twice", h.missing(), h.duplicates())
		}
		for _, p := range h.problems {
			t.Error(p)
		}
	})
}

// TestMaxUnacked: with as many records unacknowledged nothing more is delivered,
// and the lease stays.
func TestMaxUnacked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		stream.limit = 10
		for range 100 {
			stream.put("k", []byte("x"))
		}
		var got []consumer.Record
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
			b.Detach()
			got = append(got, b.Records...)
			return nil
		}, consumer.Config{MaxUnacked: 25})
		acked := 0
		for i, step := range []struct{ ack, delivered int }{{0, 30}, {5, 30}, {1, 40}, {0, 40}, {20, 60}, {30, 90}, {34, 100}} {
			for range step.ack {
				got[acked].Ack()
				got[acked].Ack() // says nothing new
				acked++
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(got) != step.delivered {
				t.Errorf("step %d: %d records delivered, want %d", i, len(got), step.delivered)
			}
			if n := w.Stats().Shards[0].Unacked; n != len(got)-acked {
				t.Errorf("step %d: %d unacknowledged, want %d", i, n, len(got)-acked)
			}
		}
		if l := leases(t, mem)[firstShard]; l.Owner != w.WorkerID() || w.Stats().LeasesTakenFree != 1 {
			t.Errorf("the lease has not stayed: %+v", l)
		}
		for _, r := range got {
			r.Ack()
		}
		w.wait(t)
	})
}
