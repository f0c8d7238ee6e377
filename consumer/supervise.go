package consumer

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// ErrProcessorTimeout is why a processor was given up whose call took longer than
// Config.ProcessorTimeout: the context of the call ends with a cause that wraps
// it, and [ErrRestart].
var ErrProcessorTimeout = errors.New("consumer: the processor has not returned within Config.ProcessorTimeout")

// errNotDelivered means that a batch was not handed to the processor, because
// there was no time left.
var errNotDelivered = errors.New("consumer: not delivered")

// deliver hands a batch to the processor, once it is admitted.
func (s *shardConsumer) deliver(ctx context.Context, b *Batch) error {
	if !s.admitted(ctx, b.of) {
		return errNotDelivered
	}
	if s.lanes != nil {
		defer func() { <-s.c.slots }()
	}
	s.h.tracker.begin(b)
	began := time.Now()
	err := s.call(callProcess, func() error { return s.processor.ProcessRecords(ctx, b) })
	took := time.Since(began)
	s.h.count(b, took, err)
	s.c.stats.processorTime.Add(int64(took))
	return err
}

// admitted waits until the processor may be called with records of p: with lanes the
// worker has a slot, which the call then holds, peers do not keep it from working, the
// lease is trusted, and all the while nobody has paused the shard. It reports false if
// there is no time left.
func (s *shardConsumer) admitted(ctx context.Context, p *portion) bool {
	for {
		if !s.resumed(ctx, s.h.stopping) {
			return false
		}
		if s.lanes != nil {
			select {
			case s.c.slots <- struct{}{}:
			case <-ctx.Done():
				return false
			}
		}
		n, ok := s.c.follows().(*native)
		over := ok && !n.peers.wait(ctx, s.h.stopping)
		s.c.wake()
		if !time.Now().Before(s.h.trustedUntil()) {
			s.h.expire() // the timer is late
		}
		over = over || ctx.Err() != nil
		if !over && s.c.gate(s.h.key) == nil {
			if s.lanes == nil || s.lanes.enter(p) {
				return true
			}
			over = true
		}
		if s.lanes != nil {
			<-s.c.slots
		}
		if over {
			return false
		}
	}
}

// resumed waits until the shard is not paused. It reports false if stop is closed or
// ctx ends first.
func (s *shardConsumer) resumed(ctx context.Context, stop <-chan struct{}) bool {
	for resumed := s.c.gate(s.h.key); resumed != nil; resumed = s.c.gate(s.h.key) {
		select {
		case <-resumed:
		case <-stop:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// call makes one call of the processor and turns a panic into an error. One that
// takes too long has its context ended, so that it returns and another processor
// is made; its error, if it returns one, wraps ErrProcessorTimeout. If it still
// does not return, the lease is let go: a goroutine cannot be ended from outside,
// and two processors of one shard must not work at the same time here.
func (s *shardConsumer) call(name string, f func() error) error {
	limit := s.c.cfg.ProcessorTimeout
	if limit == 0 {
		return s.counted(guard(f))
	}
	end, h := s.shard.restart, s.h // those of this processor
	watch := time.AfterFunc(limit, func() {
		h.hung.Add(1)
		s.c.stats.processorTimeouts.Add(1)
		s.c.log.Error("processor has not returned in time; its context ends, for another to be made", lease(h.key), slog.String("call", name))
		end(&restartError{ErrProcessorTimeout})
	})
	giveUp := time.AfterFunc(limit+min(limit, processorPolicy.Max), func() {
		s.c.log.Error("processor does not return; its lease is let go, and not taken by this worker before it does", lease(h.key), slog.String("call", name))
		h.abandon()
	})
	err := s.counted(guard(f))
	giveUp.Stop()
	if !watch.Stop() {
		h.hung.Add(-1)
		if err != nil {
			err = errors.Join(ErrProcessorTimeout, err)
		}
	}
	return err
}

// counted counts panics.
func (s *shardConsumer) counted(err error) error {
	if _, ok := errors.AsType[*panicError](err); ok {
		s.c.stats.processorPanics.Add(1)
	}
	return err
}

// restartBy gives the present processor up for another.
func (s *shardConsumer) restartBy(err error) {
	s.shard.restart(&restartError{err})
}

// superviseReader reads, and closes out. A panic, of a client or under it, is
// found by process, once it has handled what was read before: then it ends the
// processor's life, so that both begin anew from what is acknowledged.
func (s *shardConsumer) superviseReader(ctx context.Context, start Checkpoint, out chan<- *portion) {
	defer close(out)
	s.readErr = guard(func() error {
		s.read(ctx, start, out)
		return nil
	})
	if s.readErr != nil {
		s.c.stats.readerPanics.Add(1)
	}
}
