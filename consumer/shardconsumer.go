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
	failures  streak // of calls but those of ProcessRecords
	lane      lane   // used without lanes
	lanes     *lanes // nil unless Config.KeyConcurrency asks for more than one
	readErr   error  // that the reader has died of; set before it closes its channel
}

// callProcess is the name of the call that matters in log lines.
const callProcess = "ProcessRecords"

// run consumes the shard until its end, the loss of the lease or the stop of
// the consumer, and leaves the lease accordingly. ctx ends with ErrLeaseLost
// or ErrShutdown as its cause.
func (s *shardConsumer) run(ctx context.Context) {
	stopKeeper := make(chan struct{}) // closed when run takes over the writing
	go s.h.keep(ctx, stopKeeper)
	s.lane.s = s
	if n := s.c.cfg.KeyConcurrency; n > 1 {
		s.lanes = newLanes(s, n)
	}
	s.hook("OnAssigned", func() {
		if f := s.c.cfg.OnAssigned; f != nil {
			f(s.shard)
		}
	})

	shard := s.shard
	how, children := s.consume(ctx)
	if how != outcomeLost {
		s.hook("OnRevoking", func() {
			if f := s.c.cfg.OnRevoking; f != nil {
				f(ctx, shard)
			}
		})
	}
	if how == outcomeEnded && !s.createChildren(ctx, children) {
		how = outcomeStopped
	}
	close(stopKeeper)
	<-s.h.over

	if how == outcomeEnded {
		how = s.end(ctx, children)
	} else if how == outcomeStopped && !leaseLost(ctx) {
		s.h.release(ctx)
	}
	s.h.ended.Store(true)
	s.h.expiry.Stop()
	if s.h.isStopping() && s.h.grace != nil {
		s.h.grace.Stop()
	}
	s.h.tracker.close()
	if leaseLost(ctx) && how != outcomeEnded {
		s.c.log.Info("lease lost", lease(s.h.key))
		if p, ok := s.processor.(LeaseLoser); ok {
			s.hook("LeaseLost", p.LeaseLost)
		}
		s.hook("OnLost", func() {
			if f := s.c.cfg.OnLost; f != nil {
				f(shard)
			}
		})
	}
}

// hook calls f, which has nothing to answer. A panic is logged.
func (s *shardConsumer) hook(call string, f func()) {
	if err := guard(func() error { f(); return nil }); err != nil {
		s.c.log.Error("processor failed", lease(s.h.key), slog.String("call", call), errAttr(err))
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
		s.h.prepared.Store(nil)
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
	timer := time.NewTimer(processorPolicy.Wait(tries, chance))
	defer timer.Stop()
	select {
	case <-timer.C:
		return !s.h.isStopping() && ctx.Err() == nil
	case <-ctx.Done():
	case <-s.h.stopping:
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
	portions := make(chan *portion, 1) // one waits while the processor works
	go s.superviseReader(readCtx, start, portions)
	ended, children := s.process(ctx, portions)
	stopReading()
	for p := range portions { // closed as read returns
		s.h.memory.release(p.bytes)
	}

	if ended && s.h.tracker.settle(ctx) && s.persist(ctx, "ShardEnded", func() error { return s.endShard(ctx) }) {
		return outcomeEnded, children
	}
	if how := s.interrupted(ctx); how == outcomeLost || errors.Is(context.Cause(ctx), ErrRestart) {
		return how, nil
	}
	if p, is := s.processor.(ShutdownRequester); is {
		if err := s.call("ShutdownRequested", func() error { return p.ShutdownRequested(ctx) }); err != nil {
			s.failed("ShutdownRequested", err)
		}
	} else {
		s.h.tracker.settle(ctx)
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

// process hands what is read to the processor, in order, until there is no more
// or the lease is to be given up. It reports whether the shard's last portion was
// handled.
func (s *shardConsumer) process(ctx context.Context, portions <-chan *portion) (ended bool, children []child) {
	t := s.h.tracker
	if s.lanes != nil {
		s.lanes.begin()
		defer func() { ended = s.lanes.wait() && ended }()
	}
	for {
		if !t.room(ctx, s.h.stopping, s.c.cfg.MaxUnacked) {
			return false, nil
		}
		var p *portion
		select {
		case <-s.h.stopping:
			return false, nil
		case <-ctx.Done():
			return false, nil
		case next, ok := <-portions:
			if !ok {
				if s.readErr != nil {
					s.restartBy(s.readErr)
				}
				return false, nil // ctx has ended
			}
			p = next
		}
		if s.h.isStopping() || ctx.Err() != nil {
			s.h.memory.release(p.bytes)
			return false, nil
		}
		t.add(p)
		s.h.meter.bytes.Add(p.bytes)
		s.h.behind.Store(int64(p.behind))
		b := p.whole(s.shard)
		if len(b.Records) == 0 && !s.c.cfg.CallProcessRecordsEvenForEmptyRecordList {
			if t.finish(b) {
				s.h.progress.set()
			}
		} else if s.lanes != nil {
			s.lanes.dispatch(ctx, s.shard, p)
		} else if !s.lane.handle(ctx, b) {
			return false, nil
		}
		if p.ended {
			return true, p.children
		}
	}
}

// persist calls f until it returns nil. It reports false if it gave up,
// because ctx ended or the lease is to be given up.
func (s *shardConsumer) persist(ctx context.Context, call string, f func() error) bool {
	for try := 0; ctx.Err() == nil; try++ {
		err := s.call(call, f)
		if err == nil {
			if n := s.failures.ok(); n > 0 {
				s.h.recovered(n)
				s.c.log.Info("processor succeeds again", lease(s.h.key), slog.String("call", call), slog.Int("failed", n))
			}
			return true
		}
		if stoppedBy(ctx, err) {
			return false
		}
		s.failed(call, err)
		if fatal(err) {
			s.restartBy(err)
		}
		if !s.pause(ctx, try) {
			return false
		}
	}
	return false
}

func (s *shardConsumer) failed(call string, err error) {
	s.c.stats.processorErrors.Add(1)
	s.h.failed()
	if s.failures.fail() {
		s.c.log.Error("processor failed; the same will be tried again", lease(s.h.key), slog.String("call", call), errAttr(err))
	}
}

// read fetches and decodes until the shard's end or the end of ctx.
func (s *shardConsumer) read(ctx context.Context, start Checkpoint, out chan<- *portion) {
	fetch := s.c.newFetcher(s.h, start)
	defer fetch.close()
	dec := newDecoder(s.shard, start, s.c.cfg.RangePolicy, &s.c.stats.decode)
	dec.blocks, dec.hook = s.c.blocks, s.c.cfg.Decoder
	if !s.startMarks(ctx, dec, start) {
		return
	}
	var held int64 // charged to the budget, for what was not handed on
	defer func() { s.h.memory.release(held) }()
	var failures streak
	for {
		if !s.resumed(ctx, nil) { // memory is for shards whose records are wanted
			return
		}
		pg, err := fetch.fetch(ctx)
		held = pg.bytes
		p := new(portion)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			s.h.answered.set()
			s.h.unreadable.Store(false)
			if n := failures.ok(); n > 0 {
				s.c.log.Info("reads succeed again", lease(s.h.key), slog.Int("failed", n))
			}
			p = dec.batch(pg.records, pg.next)
			s.h.memory.charge(dec.expanded)
			held += dec.expanded
			p.bytes, p.behind = held, pg.behind
			if t := s.h.trail.Load(); t != nil {
				acked, _ := s.h.tracker.state()
				t.add(dec.met, acked)
			}
		case errors.Is(err, errShardGone):
			pg.ended = true // if the listing of shards agrees
		}
		if pg.ended {
			p.children, p.ended, err = s.findChildren(ctx, pg.children)
		}
		if err != nil {
			if _, ok := errors.AsType[*handledError](err); !ok {
				s.h.unreadable.Store(true)
				s.c.streams.doubt(s.h.source)
				if failures.fail() && ctx.Err() == nil {
					s.c.log.Warn("read failed; trying again", lease(s.h.key), errAttr(err))
				}
				if sleep(ctx, readPolicy.Wait(failures.n, chance)) != nil {
					return
				}
			}
		}
		if p.bytes == 0 && !p.ended && pg.next == "" && (err != nil || !s.c.cfg.CallProcessRecordsEvenForEmptyRecordList) {
			s.h.behind.Store(int64(pg.behind))
			if _, idle := s.h.tracker.state(); idle && err == nil {
				s.h.progress.set() // there is nothing to move
			}
			continue
		}
		select {
		case out <- p:
			held = 0
		case <-ctx.Done():
			return
		}
		if p.ended {
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
			id: s.h.source.key(*n.ShardId), parents: s.h.source.keys(n.ParentShards),
			start: aws.ToString(n.HashKeyRange.StartingHashKey), end: aws.ToString(n.HashKeyRange.EndingHashKey),
		})
	}
	if len(children) > 0 {
		return children, true, nil
	}
	shards, err := s.c.listShards(ctx, s.h.source, nil)
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

// createChildren creates the children's leases. It reports
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
		if s.h.isStopping() || sleep(ctx, readPolicy.Wait(failures.n, chance)) != nil {
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
		ready := true
		for _, p := range ch.parents {
			parent, there, err := s.c.getLease(ctx, p)
			if err != nil {
				return fmt.Errorf("look at lease %q: %w", p, err)
			}
			if there {
				ready = ready && (p == s.h.key || parent.ended())
				continue
			}
			ready = false
			if err := s.c.syncAncestors(ctx, s.h.source, ch.id); err != nil {
				return err
			}
			break
		}
		err := s.c.create(ctx, []Lease{s.c.rules.child(Lease{
			Key: ch.id, Checkpoint: Checkpoint{SequenceNumber: TrimHorizon}, Parents: ch.parents,
			StartingHashKey: ch.start, EndingHashKey: ch.end,
		}, ready)})
		if err != nil {
			return err
		}
	}
	return nil
}
