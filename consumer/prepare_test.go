package consumer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// TestPrepare follows the lease through both halves of a checkpoint, and through a
// crash between them.
func TestPrepare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		_, first := stream.put("k", []byte("1"))
		_, second := stream.put("k", []byte("2"))
		_, last := stream.put("k", []byte("3"))
		lease := func() consumer.Lease { return leases(t, mem)[firstShard] }
		step := func(what string, err error, checkpoint consumer.Checkpoint, pending, state string) {
			t.Helper()
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			l := lease()
			if l.Checkpoint != checkpoint || (l.Pending == nil) != (pending == "") || l.Pending != nil && (l.Pending.Checkpoint != at(pending, 0) || string(l.Pending.State) != state) {
				t.Errorf("%s: checkpoint %v, pending %+v", what, l.Checkpoint, l.Pending)
			}
		}
		dying := startFactory(t, stream, &faultyStore{LeaseStore: mem}, puppets(puppet{process: func(ctx context.Context, p *puppet, _ *consumer.Batch) error {
			s, none := p.shard, at(consumer.TrimHorizon, 0)
			if s.Pending() != nil {
				t.Error("something is pending at the start")
			}
			one, err := s.Prepare(ctx, at(first, 0), []byte("one"))
			step("prepare", err, none, first, "one")
			_, err = s.Prepare(ctx, at(second, 0), []byte("two"))
			step("prepare again", err, none, second, "two")
			step("commit of the earlier", one.Commit(ctx), at(first, 0), "", "")
			two, err := s.Prepare(ctx, at(second, 0), nil)
			step("prepare without state", err, at(first, 0), second, "")
			if two.Checkpoint() != at(second, 0) {
				t.Errorf("prepared %v", two.Checkpoint())
			}
			step("another commit", s.CommitTo(ctx, at(second, 0)), at(second, 0), "", "")
			for _, bad := range []consumer.Checkpoint{at(first, 0), at("99999", 0), at(consumer.Latest, 0)} {
				_, err := s.Prepare(ctx, bad, nil)
				if _, ok := errors.AsType[*consumer.CommitRangeError](err); !ok {
					t.Errorf("prepare %v: %v", bad, err)
				}
			}
			_, err = s.Prepare(ctx, consumer.Checkpoint{}, []byte("three"))
			step("prepare all", err, at(second, 0), last, "three")
			return nil
		}}), consumer.Config{ExplicitCheckpoints: true})
		time.Sleep(time.Minute) // renewals leave it
		step("later", nil, at(second, 0), last, "three")
		dying.store.cut.Store(true)
		dying.stop()
		<-dying.done

		seen := false
		w := startFactory(t, stream, &faultyStore{LeaseStore: mem}, puppets(puppet{process: func(ctx context.Context, p *puppet, b *consumer.Batch) error {
			pending := p.shard.Pending()
			if p.start != at(second, 0) || pending == nil || pending.Checkpoint != at(last, 0) || string(pending.State) != "three" || string(b.Records[0].Data) != "3" {
				t.Errorf("start %v, pending %+v, %s", p.start, pending, b.Records[0].Data)
			}
			seen = true
			return p.shard.CommitTo(ctx, pending.Checkpoint)
		}}), consumer.Config{ExplicitCheckpoints: true})
		time.Sleep(20 * time.Second)
		w.wait(t)
		if !seen {
			t.Error("the record has not come again")
		}
		step("the end", nil, at(last, 0), "", "")
	})
}

// TestPrepareThatCannotBe says why, and a failed write is told.
func TestPrepareThatCannotBe(t *testing.T) {
	if _, err := (&consumer.Shard{ID: "x"}).Prepare(t.Context(), consumer.Checkpoint{}, nil); err == nil {
		t.Error("prepared without a consumer")
	}
	if (&consumer.Shard{ID: "x"}).Pending() != nil {
		t.Error("something is pending without a consumer")
	}
	for _, explicit := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			stream, mem := newFakeStream(1, 1), memlease.New()
			_, seq := stream.put("k", []byte("1"))
			store := &failing{LeaseStore: mem}
			again := false // another processor is called, after the restart
			w := startFactory(t, stream, &faultyStore{LeaseStore: store}, puppets(puppet{process: func(ctx context.Context, p *puppet, _ *consumer.Batch) error {
				if again {
					return nil
				}
				again = true
				store.fails = true
				_, err := p.shard.Prepare(ctx, consumer.Checkpoint{}, nil)
				if err == nil || explicit != errors.Is(err, errFake) {
					t.Errorf("explicit %v: %v", explicit, err)
				}
				store.fails = false
				if !explicit {
					return nil
				}
				if _, err := p.shard.Prepare(ctx, consumer.Checkpoint{}, nil); err != nil {
					t.Error(err)
				}
				p.shard.Restart(errFake)
				if _, err := p.shard.Prepare(ctx, consumer.Checkpoint{}, nil); !errors.Is(err, consumer.ErrRestart) {
					t.Errorf("after a restart: %v", err)
				}
				return ctx.Err()
			}}), consumer.Config{ExplicitCheckpoints: explicit, FailoverTime: 2 * time.Second})
			time.Sleep(50 * time.Millisecond)
			w.wait(t)
			if l := leases(t, mem)[firstShard]; explicit && (l.Pending == nil || l.Pending.Checkpoint != at(seq, 0)) {
				t.Errorf("lease %+v", l)
			}
		})
	}
}

// failing is a store whose writes of what is prepared fail while it is told so. Only
// one goroutine writes, while the one that tells it waits.
type failing struct {
	consumer.LeaseStore
	fails bool
}

func (s *failing) Update(ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
	if w.Pending != nil && s.fails {
		return consumer.Lease{}, errFake
	}
	return s.LeaseStore.Update(ctx, l, w)
}
