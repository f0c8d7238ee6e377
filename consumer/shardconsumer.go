package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/backoff"
)

// processorPolicy spaces the calls of a processor that fails, readPolicy those
// of the service.
var (
	processorPolicy = backoff.Policy{Base: 100 * time.Millisecond, Max: 30 * time.Second}
	readPolicy      = backoff.Policy{Base: 200 * time.Millisecond, Max: 10 * time.Second}
)

// outcome is why a shard consumer has ended.
type outcome int

const (
	outcomeLost outcome = iota
	outcomeStopped
	outcomeEnded
)

// shardConsumer reads one shard under one holding. It is the unit per shard; a
// worker has many.
type shardConsumer struct {
	c         *Consumer
	h         *holding
	shard     *Shard // one for each processor, so that only its own can end it
	processor Processor
	failures  streak // of the processor
}

// run consumes the shard until its end, the loss of the lease or the stop of
// the consumer, and leaves the lease accordingly. ctx ends with ErrLeaseLost
// or ErrShutdown as its cause.
func (s *shardConsumer) run(ctx context.Context) {
	stopKeeper := make(chan struct{}) // closed when run takes over the writing
	go s.h.keep(ctx, stopKeeper)

	how, children := s.consume(ctx)
	if how == outcomeEnded && !s.createChildren(ctx, children) {
		how = outcomeStopped
	}
	close(stopKeeper)
	<-s.h.over

	if how == outcomeEnded {
		how = s.end(ctx, children)
	} else if how == outcomeStopped && !leaseLost(ctx) {
		w := s.h.pending()
		w.Release = true
		if err := s.h.finish(ctx, w, 2*s.c.cfg.attemptTimeout()); err != nil {
			s.c.log.Warn("lease not released; others wait until it expires", lease(s.h.key), errAttr(err))
		} else {
			s.c.stats.leasesReleased.Add(1)
			s.c.log.Info("lease released", lease(s.h.key))
		}
	}
	s.h.expiry.Stop()
	s.h.tracker.close()
	if leaseLost(ctx) && how != outcomeEnded {
		s.c.log.Info("lease lost", lease(s.h.key))
		if p, ok := s.processor.(LeaseLoser); ok {
			if err := guard(func() error { p.LeaseLost(); return nil }); err != nil {
				s.c.log.Error("processor failed", lease(s.h.key), slog.String("call", "LeaseLost"), errAttr(err))
			}
		}
	}
}

func leaseLost(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), ErrLeaseLost)
}

// end stores that the shard was read to its end and gives the lease up.
func (s *shardConsumer) end(ctx context.Context, children []child) outcome {
	w := Write{Checkpoint: Checkpoint{SequenceNumber: ShardEnd}, Release: true}
	for _, ch := range children {
		w.Children = append(w.Children, ch.id)
	}
	if leaseLost(ctx) {
		return outcomeLost
	}
	s.h.addMarks(&w)
	if err := s.h.finish(ctx, w, s.c.cfg.trustFor()); err != nil {
		s.c.log.Warn("end of the shard not stored; it will be read again from the checkpoint", lease(s.h.key), errAttr(err))
		s.h.lose()
		return outcomeLost
	}
	s.c.stats.shardsEnded.Add(1)
	s.c.log.Info("shard ended", lease(s.h.key), slog.Any("children", w.Children))
	return outcomeEnded
}

// consume makes a processor and feeds it, and another one after each that asks
// for it.
func (s *shardConsumer) consume(ctx context.Context) (outcome, []child) {
	for tries := 0; ; tries++ {
		start, began := s.h.position(), time.Now()
		life, end := context.WithCancelCause(ctx)
		shard := *s.shard
		shard.done, shard.restart = life.Done(), end
		shard.cause = func() error { return context.Cause(life) }
		s.shard, s.processor = &shard, nil
		s.h.tracker.restart(start)
		how, children := s.live(life, start)
		restart, ok := errors.AsType[*restartError](context.Cause(life))
		end(ErrShutdown)
		if how == outcomeEnded || !ok {
			return how, children
		}
		s.processor = nil // it is to hear no more
		s.h.tracker.restart(start)
		if s.h.position() != start || time.Since(began) > 2*processorPolicy.Max {
			tries = 0 // it got on
		}
		s.c.stats.processorRestarts.Add(1)
		s.c.log.Error("processor is restarted from the last checkpoint", lease(s.h.key), slog.Any("checkpoint", s.h.position()), errAttr(restart.reason))
		if !s.pause(ctx, tries) {
			return s.interrupted(ctx), nil
		}
	}
}

// pause waits before another try of the processor. It reports false if ctx
// ends or the consumer stops.
func (s *shardConsumer) pause(ctx context.Context, tries int) bool {
	timer := time.NewTimer(processorPolicy.Wait(tries, nil))
	defer timer.Stop()
	select {
	case <-timer.C:
		return !s.c.isStopping() && ctx.Err() == nil
	case <-ctx.Done():
	case <-s.c.stopping:
	}
	return false
}

// live makes the processor and feeds it, from start. ctx is the life of the
// processor; it may end for another one to be made.
func (s *shardConsumer) live(ctx context.Context, start Checkpoint) (outcome, []child) {
	ok := s.persist(ctx, "NewProcessor", func() (err error) {
		s.processor, err = s.c.newProcessor(s.shard)
		return err
	})
	if p, is := s.processor.(Initializer); ok && is {
		ok = s.persist(ctx, "Initialize", func() error { return p.Initialize(ctx, start) })
	}
	if !ok {
		return s.interrupted(ctx), nil
	}

	readCtx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	batches := make(chan *Batch, 1) // one waits while the processor works
	go s.read(readCtx, start, batches)
	ended, children := s.process(ctx, batches)
	stopReading()
	for b := range batches { // closed by read as it returns
		s.c.budget.release(b.bytes)
	}

	if ended && s.settle(ctx) && s.persist(ctx, "ShardEnded", func() error { return s.endShard(ctx) }) {
		return outcomeEnded, children
	}
	if how := s.interrupted(ctx); how == outcomeLost || errors.Is(context.Cause(ctx), ErrRestart) {
		return how, nil
	}
	if p, is := s.processor.(ShutdownRequester); is {
		if err := guard(func() error { return p.ShutdownRequested(ctx) }); err != nil {
			s.failed("ShutdownRequested", err)
		}
	} else {
		s.settle(ctx)
	}
	return s.interrupted(ctx), nil
}

// errUncommitted is a processor's fault: all else is decided here.
var errUncommitted = errors.New("consumer: the shard has ended, and not everything delivered is committed; call Commit in ShardEnded")

// endShard tells the processor that its shard has ended.
func (s *shardConsumer) endShard(ctx context.Context) error {
	if p, is := s.processor.(ShardEnder); is {
		if err := p.ShardEnded(ctx); err != nil {
			return err
		}
	}
	if !s.h.tracker.complete(s.h.stored.Load().Checkpoint) {
		return errUncommitted
	}
	return nil
}

func (s *shardConsumer) interrupted(ctx context.Context) outcome {
	if leaseLost(ctx) {
		return outcomeLost
	}
	return outcomeStopped
}

// process hands batches to the processor, one after the other, until there are
// no more or the consumer stops. It reports whether the shard's last one was
// handled.
func (s *shardConsumer) process(ctx context.Context, batches <-chan *Batch) (ended bool, children []child) {
	t := s.h.tracker
	for {
		var b *Batch
		select {
		case <-s.c.stopping:
			return false, nil
		case <-ctx.Done():
			return false, nil
		case next, ok := <-batches:
			if !ok {
				return false, nil // ctx has ended
			}
			b = next
		}
		if s.c.isStopping() || ctx.Err() != nil {
			s.c.budget.release(b.bytes)
			return false, nil
		}
		t.add(b)
		s.h.behind.Store(int64(b.BehindLatest))
		if len(b.Records) > 0 || s.c.cfg.CallProcessRecordsEvenForEmptyRecordList {
			ok := s.persist(ctx, "ProcessRecords", func() error {
				t.begin(b)
				return s.processor.ProcessRecords(ctx, b)
			})
			if !ok {
				return false, nil
			}
			s.c.stats.batches.Add(1)
		}
		t.finish(b)
		if b.ended {
			return true, b.children
		}
	}
}

// settle waits until all that was delivered is acknowledged. It reports false
// if ctx ended first.
func (s *shardConsumer) settle(ctx context.Context) bool {
	for {
		if _, idle := s.h.tracker.state(); idle {
			return true
		}
		select {
		case <-s.h.tracker.progress:
		case <-ctx.Done():
			return false
		}
	}
}

// persist calls f until it returns nil. It reports false if it gave up,
// because ctx ended or the consumer stops.
func (s *shardConsumer) persist(ctx context.Context, call string, f func() error) bool {
	for try := 0; ctx.Err() == nil; try++ {
		err := guard(f)
		if err == nil {
			if n := s.failures.ok(); n > 0 {
				s.c.log.Info("processor succeeds again", lease(s.h.key), slog.String("call", call), slog.Int("failed", n))
			}
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.failed(call, err)
		if !s.pause(ctx, try) {
			return false
		}
	}
	return false
}

func (s *shardConsumer) failed(call string, err error) {
	s.c.stats.processorErrors.Add(1)
	if s.failures.fail() {
		s.c.log.Error("processor failed; the same will be tried again", lease(s.h.key), slog.String("call", call), errAttr(err))
	}
}

// read fetches and decodes until the shard's end or the end of ctx, and closes
// out.
func (s *shardConsumer) read(ctx context.Context, start Checkpoint, out chan<- *Batch) {
	defer close(out)
	fetch := s.c.newFetcher(s.h, start)
	defer fetch.close()
	dec := newDecoder(s.shard, start, s.c.cfg.RangePolicy, &s.c.stats.decode)
	dec.blocks, dec.hook = s.c.blocks, s.c.cfg.Decoder
	if !s.startMarks(ctx, dec, start) {
		return
	}
	var failures streak
	for {
		pg, err := fetch.fetch(ctx)
		b := &Batch{Shard: s.shard}
		switch {
		case ctx.Err() != nil:
			s.c.budget.release(pg.bytes)
			return
		case err == nil:
			if n := failures.ok(); n > 0 {
				s.c.log.Info("reads succeed again", lease(s.h.key), slog.Int("failed", n))
			}
			b = dec.batch(pg.records, pg.next)
			s.c.budget.charge(dec.expanded)
			b.bytes, b.BehindLatest = pg.bytes+dec.expanded, pg.behind
			if t := s.h.trail.Load(); t != nil {
				acked, _ := s.h.tracker.state()
				t.add(dec.met, acked)
			}
		case errors.Is(err, errShardGone):
			pg.ended = true // if the listing of shards agrees
		}
		if pg.ended {
			b.children, b.ended, err = s.findChildren(ctx, pg.children)
		}
		if err != nil {
			if _, ok := errors.AsType[*handledError](err); !ok {
				if failures.fail() && ctx.Err() == nil {
					s.c.log.Warn("read failed; trying again", lease(s.h.key), errAttr(err))
				}
				if sleep(ctx, readPolicy.Wait(failures.n, nil)) != nil {
					s.c.budget.release(b.bytes)
					return
				}
			}
		}
		if b.bytes == 0 && !b.ended && pg.next == "" && (err != nil || !s.c.cfg.CallProcessRecordsEvenForEmptyRecordList) {
			s.h.behind.Store(int64(pg.behind))
			continue
		}
		select {
		case out <- b:
		case <-ctx.Done():
			s.c.budget.release(b.bytes)
			return
		}
		if b.ended {
			return
		}
	}
}

// findChildren returns the children of the shard, whose end was reached. The
// service names them; where it does not, or does so badly, the listing of the
// stream's shards decides. ended is false if by that the shard is open.
func (s *shardConsumer) findChildren(ctx context.Context, named []types.ChildShard) (children []child, ended bool, err error) {
	for _, n := range named {
		if aws.ToString(n.ShardId) == "" || len(n.ParentShards) == 0 || n.HashKeyRange == nil {
			children = nil
			break
		}
		children = append(children, child{
			id: *n.ShardId, parents: n.ParentShards,
			start: aws.ToString(n.HashKeyRange.StartingHashKey), end: aws.ToString(n.HashKeyRange.EndingHashKey),
		})
	}
	if len(children) > 0 {
		return children, true, nil
	}
	shards, err := s.c.listShards(ctx, nil)
	if err != nil {
		return nil, false, fmt.Errorf("find the children of shard %q: %w", s.h.key, err)
	}
	known := false
	for _, sh := range shards {
		known = known || sh.id == s.h.key
		if slices.Contains(sh.parents, s.h.key) {
			children = append(children, child{id: sh.id, parents: sh.parents, start: sh.start, end: sh.end})
		}
	}
	if known && len(children) == 0 {
		return nil, false, fmt.Errorf("consumer: shard %q is said to have ended, but the stream lists no child of it", s.h.key)
	}
	return children, true, nil
}

// createChildren creates the children's leases, without owner. It reports
// false if the consumer stops or the lease is lost first.
//
// It comes before the parent's lease is marked as ended, so that at no time
// the lease table lacks a range of hash keys.
func (s *shardConsumer) createChildren(ctx context.Context, children []child) bool {
	var failures streak
	for {
		err := s.tryCreateChildren(ctx, children)
		if err == nil {
			return true
		}
		if failures.fail() && ctx.Err() == nil {
			s.c.log.Warn("leases of child shards not created; trying again", lease(s.h.key), errAttr(err))
		}
		if s.c.isStopping() || sleep(ctx, readPolicy.Wait(failures.n, nil)) != nil {
			return false
		}
	}
}

func (s *shardConsumer) tryCreateChildren(ctx context.Context, children []child) error {
	for _, ch := range children {
		if _, there, err := s.c.getLease(ctx, ch.id); err != nil || there {
			if err != nil {
				return fmt.Errorf("look at lease %q: %w", ch.id, err)
			}
			continue
		}
		for _, p := range ch.parents {
			if _, there, err := s.c.getLease(ctx, p); err != nil {
				return fmt.Errorf("look at lease %q: %w", p, err)
			} else if there {
				continue
			}
			if err := s.c.syncAncestors(ctx, ch.id); err != nil {
				return err
			}
			break
		}
		err := s.c.create(ctx, []Lease{{
			Key: ch.id, Checkpoint: Checkpoint{SequenceNumber: TrimHorizon}, Parents: ch.parents,
			StartingHashKey: ch.start, EndingHashKey: ch.end,
		}})
		if err != nil {
			return err
		}
	}
	return nil
}
