package consumer_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/internal/aggregation"
)

// puppet is a processor whose test decides what it does.
type puppet struct {
	shard    *consumer.Shard
	start    consumer.Checkpoint
	process  func(context.Context, *puppet, *consumer.Batch) error
	ended    func(context.Context, *puppet) error
	shutdown func(context.Context, *puppet) error
	lost     func(*puppet)
}

func (p *puppet) Initialize(_ context.Context, at consumer.Checkpoint) error {
	p.start = at
	return nil
}

func (p *puppet) ProcessRecords(ctx context.Context, b *consumer.Batch) error {
	return p.process(ctx, p, b)
}

func (p *puppet) ShardEnded(ctx context.Context) error {
	if p.ended == nil {
		return p.shard.Commit(ctx)
	}
	return p.ended(ctx, p)
}

func (p *puppet) ShutdownRequested(ctx context.Context) error {
	if p.shutdown == nil {
		return nil
	}
	return p.shutdown(ctx, p)
}

func (p *puppet) LeaseLost() {
	if p.lost != nil {
		p.lost(p)
	}
}

// puppets makes a copy of p for every shard.
func puppets(p puppet) func(*consumer.Shard) (consumer.Processor, error) {
	return func(s *consumer.Shard) (consumer.Processor, error) {
		one := p
		one.shard = s
		return &one, nil
	}
}

const firstShard = "shardId-000000000000"

func at(seq string, sub int64) consumer.Checkpoint {
	return consumer.Checkpoint{SequenceNumber: seq, SubSequenceNumber: sub}
}

// aggregate is an aggregated record of n user records.
func aggregate(n int) []byte {
	var b aggregation.Builder
	for i := range n {
		b.Add(aggregation.Record{PartitionKey: "k", Data: strconv.AppendInt(nil, int64(i), 10)})
	}
	return b.Seal(nil)
}

// TestCommits follows what is stored while a processor commits in all ways, in
// both modes of acknowledging.
func TestCommits(t *testing.T) {
	for _, explicit := range []bool{true, false} {
		t.Run("explicit "+strconv.FormatBool(explicit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream, mem := newFakeStream(1, 1), memlease.New()
				_, first := stream.put("k", []byte("first"))
				_, agg := stream.put("a", aggregate(4))
				_, last := stream.put("k", []byte("last"))
				var calls atomic.Int64
				process := func(ctx context.Context, p *puppet, b *consumer.Batch) error {
					if calls.Add(1) > 1 {
						return nil
					}
					if !explicit {
						b.Detach() // so that the return acknowledges nothing
					}
					for _, step := range []struct {
						at     consumer.Checkpoint
						stored consumer.Checkpoint
						bad    bool
					}{
						{at: at(last, 1), stored: at(consumer.TrimHorizon, 0), bad: true},
						{at: at(first, 0), stored: at(first, 0)},
						{at: at(first, 0), stored: at(first, 0)},
						{at: at(agg, 2), stored: at(agg, 2)},
						{at: at(agg, 1), stored: at(agg, 2), bad: true},
						{at: at(first, 0), stored: at(agg, 2), bad: true},
						{at: at("99999", 0), stored: at(agg, 2), bad: true},
						{at: at(consumer.ShardEnd, 0), stored: at(agg, 2), bad: true},
						{at: at(agg, 3), stored: at(agg, 3)},
						{at: consumer.Checkpoint{}, stored: at(last, 0)},
					} {
						err := p.shard.CommitTo(ctx, step.at)
						if _, bad := errors.AsType[*consumer.CommitRangeError](err); bad != step.bad || err != nil && !bad {
							t.Errorf("CommitTo(%v): %v", step.at, err)
						}
						if got := leases(t, mem)[firstShard].Checkpoint; got != step.stored {
							t.Errorf("after CommitTo(%v) %v is stored, want %v", step.at, got, step.stored)
						}
					}
					writes := leases(t, mem)[firstShard].Counter
					if err := p.shard.Commit(ctx); err != nil || leases(t, mem)[firstShard].Counter != writes {
						t.Errorf("a commit of nothing new: %v, and it wrote", err)
					}
					return nil
				}
				w := startFactory(t, stream, &faultyStore{LeaseStore: mem}, puppets(puppet{process: process}), consumer.Config{ExplicitCheckpoints: explicit})
				time.Sleep(5 * time.Second)
				if n := w.Stats().BufferedBytes; n != 0 || calls.Load() != 1 {
					t.Errorf("%d bytes held after %d calls", n, calls.Load())
				}
				w.wait(t)
			})
		})
	}
}

// TestExplicitCheckpoints: nothing is stored that the processor has not
// committed, no memory is held for it, and the shard does not end before.
func TestExplicitCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		stream.limit = 1
		var seqs []string
		for i := range 5 {
			_, seq := stream.put("k", make([]byte, 1000*(i+1)))
			seqs = append(seqs, seq)
		}
		var got []string
		var ends, refused atomic.Int64
		w := startFactory(t, stream, &faultyStore{LeaseStore: mem}, puppets(puppet{
			process: func(_ context.Context, _ *puppet, b *consumer.Batch) error {
				b.Ack(0) // says nothing here
				got = append(got, b.Records[0].SequenceNumber)
				return nil
			},
			ended: func(ctx context.Context, p *puppet) error {
				if p.shard.ID != firstShard {
					return nil
				}
				if ends.Add(1) < 3 {
					refused.Add(1)
					return nil // without a commit
				}
				return p.shard.Commit(ctx)
			},
		}), consumer.Config{ExplicitCheckpoints: true})
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if !slices.Equal(got, seqs) {
			t.Errorf("delivered %q, want %q", got, seqs)
		}
		if l := leases(t, mem)[firstShard]; l.Checkpoint.SequenceNumber != consumer.TrimHorizon || w.Stats().BufferedBytes != 0 {
			t.Errorf("checkpoint %v, %d bytes held", l.Checkpoint, w.Stats().BufferedBytes)
		}
		stream.split(0)
		time.Sleep(20 * time.Second)
		if l := leases(t, mem)[firstShard]; ends.Load() != 3 || refused.Load() != 2 || l.Checkpoint.SequenceNumber != consumer.ShardEnd {
			t.Errorf("told %d times of the end, checkpoint %v", ends.Load(), l.Checkpoint)
		}
		w.wait(t)
	})
}

// throttled is a store whose writes fail as long as it is told.
type throttled struct {
	consumer.LeaseStore
	fails atomic.Int64
}

var errThrottled = errors.New("fake: too fast")

func (s *throttled) Update(ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
	if w.Checkpoint.SequenceNumber != "" && s.fails.Add(-1) >= 0 {
		return consumer.Lease{}, errThrottled
	}
	return s.LeaseStore.Update(ctx, l, w)
}

// TestCommitThatFails: it says so, and the next one, or the worker by itself,
// stores the checkpoint.
func TestCommitThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		stream.limit = 1
		store := &throttled{LeaseStore: mem}
		_, seq1 := stream.put("k", []byte("1"))
		_, seq2 := stream.put("k", []byte("2"))
		store.fails.Store(2)
		w := startFactory(t, stream, &faultyStore{LeaseStore: store}, puppets(puppet{
			process: func(ctx context.Context, p *puppet, b *consumer.Batch) error {
				if b.Records[0].SequenceNumber == seq2 {
					store.fails.Store(1)
					if err := p.shard.Commit(ctx); !errors.Is(err, errThrottled) {
						t.Errorf("commit: %v", err)
					}
					return nil // the worker goes on trying
				}
				for range 2 {
					if err := p.shard.Commit(ctx); !errors.Is(err, errThrottled) {
						t.Errorf("commit: %v", err)
					}
				}
				if err := p.shard.Commit(ctx); err != nil || leases(t, mem)[firstShard].Checkpoint != at(seq1, 0) {
					t.Errorf("third commit: %v, stored %v", err, leases(t, mem)[firstShard].Checkpoint)
				}
				return nil
			},
		}), consumer.Config{ExplicitCheckpoints: true})
		time.Sleep(10 * time.Second)
		if got := leases(t, mem)[firstShard].Checkpoint; got != at(seq2, 0) {
			t.Errorf("stored %v", got)
		}
		w.wait(t)
	})
}

// TestCommitWithoutLease: a commit that waits ends when the lease is lost, and
// later ones fail at once.
func TestCommitWithoutLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		_, seq := stream.put("k", []byte("1"))
		var before, after error
		lost := false
		w := startFactory(t, stream, &faultyStore{LeaseStore: mem}, puppets(puppet{
			process: func(_ context.Context, p *puppet, _ *consumer.Batch) error {
				l := leases(t, mem)[firstShard]
				if l.Owner == "other" {
					return nil
				}
				if _, err := mem.Take(t.Context(), l, "other", "i"); err != nil {
					t.Error(err)
				}
				before = p.shard.Commit(t.Context())
				return nil
			},
			lost: func(p *puppet) {
				lost = true
				after = p.shard.Commit(t.Context())
			},
		}), consumer.Config{ExplicitCheckpoints: true})
		time.Sleep(time.Second)
		synctest.Wait()
		if !lost || !errors.Is(before, consumer.ErrLeaseLost) || !errors.Is(after, consumer.ErrLeaseLost) {
			t.Errorf("lost %v: %v, %v", lost, before, after)
		}
		if got := leases(t, mem)[firstShard].Checkpoint; got == at(seq, 0) {
			t.Error("the commit was stored in another's lease")
		}
		w.wait(t)
	})
}

// TestShardMadeByHand: users' tests make Shards of their own.
func TestShardMadeByHand(t *testing.T) {
	s := &consumer.Shard{ID: "shard"}
	s.Restart(errFake)
	if err := s.Commit(t.Context()); err == nil {
		t.Error("a commit without consumer succeeded")
	}
}

// TestRestart: the new processor reads on from what is acknowledged, the old
// one hears nothing more, the pauses grow, and another shard goes on.
func TestRestart(t *testing.T) {
	for _, explicit := range []bool{true, false} {
		t.Run("explicit "+strconv.FormatBool(explicit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream, mem := newFakeStream(1, 1), memlease.New()
				stream.limit = 1
				var seqs []string
				for range 4 {
					_, seq := stream.put("k", []byte("x"))
					seqs = append(seqs, seq)
				}
				var mu sync.Mutex // guards made, got and times
				var made []*puppet
				var got []string
				var times []time.Time
				var healthy atomic.Bool
				w := startFactory(t, stream, &faultyStore{LeaseStore: mem}, func(s *consumer.Shard) (consumer.Processor, error) {
					p := &puppet{shard: s}
					mu.Lock()
					defer mu.Unlock()
					made = append(made, p)
					times = append(times, time.Now())
					p.process = func(ctx context.Context, p *puppet, b *consumer.Batch) error {
						seq := b.Records[0].SequenceNumber
						mu.Lock()
						if p != made[len(made)-1] {
							t.Error("a processor was called that was given up")
						}
						got = append(got, seq)
						mu.Unlock()
						if seq == seqs[0] {
							return p.shard.Commit(ctx)
						}
						if seq == seqs[2] && !healthy.Load() {
							p.shard.Restart(errFake)
							if !errors.Is(context.Cause(ctx), consumer.ErrRestart) || !strings.Contains(context.Cause(ctx).Error(), errFake.Error()) {
								t.Errorf("the context ends with %v", context.Cause(ctx))
							}
							if err := p.shard.Commit(ctx); !errors.Is(err, consumer.ErrRestart) {
								t.Errorf("a commit afterwards: %v", err)
							}
							return errFake
						}
						return nil
					}
					return p, nil
				}, consumer.Config{ExplicitCheckpoints: explicit})
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				mu.Lock()
				n, oldest := len(made), made[0]
				if st := w.Stats(); n < 8 || int(st.ProcessorRestarts) < n-1 || st.BufferedBytes != 0 {
					t.Errorf("%d processors, %d restarts, %d bytes", n, st.ProcessorRestarts, st.BufferedBytes)
				}
				// 0.1 s, 0.2 s, … 30 s, less a random part: the first ones come soon.
				if n > 60 || times[3].Sub(times[0]) > time.Second {
					t.Errorf("%d processors in 5 minutes, the first at %v", n, times[:4])
				}
				start := seqs[0]
				if !explicit {
					start = seqs[1]
				}
				for _, p := range made[1:] {
					if p.start != at(start, 0) {
						t.Errorf("a new processor starts at %v, want %v", p.start, start)
					}
				}
				mu.Unlock()
				oldest.shard.Restart(errors.New("late")) // of one given up
				healthy.Store(true)
				time.Sleep(time.Minute)
				restarts := w.Stats().ProcessorRestarts
				oldest.shard.Restart(errors.New("late"))
				time.Sleep(time.Minute)
				mu.Lock()
				newest := made[len(made)-1]
				if w.Stats().ProcessorRestarts != restarts || got[len(got)-1] != seqs[3] {
					t.Errorf("restarts %d, then %d; last delivered %v", restarts, w.Stats().ProcessorRestarts, got[len(got)-1])
				}
				mu.Unlock()
				// One that is idle can be restarted as well.
				newest.shard.Restart(errFake)
				time.Sleep(time.Minute)
				if w.Stats().ProcessorRestarts != restarts+1 {
					t.Error("an idle processor was not restarted")
				}
				w.wait(t)
			})
		})
	}
}

// TestEmptyReads: a processor that wants to is called when nothing comes.
func TestEmptyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		var empty, full atomic.Int64
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
			if len(b.Records) == 0 {
				empty.Add(1)
			} else {
				full.Add(1)
			}
			return nil
		}, consumer.Config{CallProcessRecordsEvenForEmptyRecordList: true})
		time.Sleep(time.Minute)
		_, seq := stream.put("k", []byte("x"))
		time.Sleep(time.Minute)
		if n := empty.Load(); n < 60 || n > 1000 || full.Load() != 1 {
			t.Errorf("%d empty calls and %d others in two minutes", n, full.Load())
		}
		w.wait(t)
		if got := leases(t, mem)[firstShard].Checkpoint; got != at(seq, 0) {
			t.Errorf("stored %v", got)
		}
	})
}
