package consumer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
)

// Reader is a [Consumer] for those who would rather ask for records than be called
// with them:
//
//	for shard := range r.Shards(ctx) {
//		go func() {
//			for rec, err := range shard.Records(ctx) {
//				…
//				rec.Ack()
//			}
//		}()
//	}
//	return r.Err()
//
// It is an adapter: all that is said of processors holds. A loop is a processor
// whose batches are detached.
type Reader struct {
	c      *Consumer
	shards chan *ShardReader // to the loop over Shards

	mu  sync.Mutex // guards err
	err error
}

// NewReader returns a Reader. Its arguments are those of [New]. Config.ExplicitCheckpoints
// is refused, as records are acknowledged one by one; Config.ProcessorTimeout is how
// long a batch may wait for the loop to come to it.
func NewReader(api API, leases LeaseStore, app, stream string, cfg Config) (*Reader, error) {
	return newReader(cfg, func(newProcessor func(*Shard) (Processor, error)) (*Consumer, error) {
		return New(api, leases, app, stream, newProcessor, cfg)
	})
}

// NewMultiStreamReader returns a Reader of several streams. Its arguments are those
// of [NewMultiStream], with the exceptions of [NewReader].
func NewMultiStreamReader(api MultiStreamAPI, leases LeaseStore, app string, tracker StreamTracker, cfg Config) (*Reader, error) {
	return newReader(cfg, func(newProcessor func(*Shard) (Processor, error)) (*Consumer, error) {
		return NewMultiStream(api, leases, app, tracker, newProcessor, cfg)
	})
}

func newReader(cfg Config, newConsumer func(func(*Shard) (Processor, error)) (*Consumer, error)) (*Reader, error) {
	if cfg.ExplicitCheckpoints {
		return nil, errors.New("consumer: config: ExplicitCheckpoints cannot go with a Reader, whose records are acknowledged by Record.Ack; leave it out")
	}
	r := &Reader{shards: make(chan *ShardReader)}
	c, err := newConsumer(r.newProcessor)
	if err != nil {
		return nil, err
	}
	c.acksOnly = true
	r.c = c
	return r, nil
}

// Consumer returns what the Reader adapts, for its Stats, Pause and the like. Its
// Run must not be called.
func (r *Reader) Consumer() *Consumer { return r.c }

// Shards runs the consumer while the loop over it runs, and yields each shard that
// the worker comes to read; one that it has lost and taken again, or whose reading
// is begun anew, comes again. The loop ends after ctx has ended, or Run would have
// returned; its end, and that of ctx, are the graceful stop of [Consumer.Run], which
// waits for the loops over Records to end and for what they have acknowledged.
// Shards can be called once.
func (r *Reader) Shards(ctx context.Context) iter.Seq[*ShardReader] {
	return func(yield func(*ShardReader) bool) {
		ctx, stop := context.WithCancel(ctx)
		done := make(chan struct{}) // closed when Run has returned
		go func() {
			defer close(done)
			err := r.c.Run(ctx)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.err = errors.Join(r.err, err)
		}()
		defer func() {
			stop()
			<-done
		}()
		for {
			select {
			case s := <-r.shards:
				if !yield(s) {
					return
				}
			case <-done:
				return
			}
		}
	}
}

// Err returns what Run would have returned, after the loop over Shards.
func (r *Reader) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *Reader) newProcessor(s *Shard) (Processor, error) {
	one := &ShardReader{shard: s, batches: make(chan *Batch), ended: make(chan struct{})}
	return &shardLoop{r: one, shards: r.shards}, nil
}

// ShardReader yields the records of one shard, under one holding of its lease.
type ShardReader struct {
	shard   *Shard
	start   Checkpoint    // set before others see the ShardReader
	batches chan *Batch   // to the loop
	ended   chan struct{} // closed at the shard's end

	mu   sync.Mutex    // guards left
	left chan struct{} // closed when the loop that runs has ended; nil if none does

	// Owned by the loop, or by the processor while none runs.
	batch *Batch
	next  int
}

// Shard returns the shard. Its Commit stores what is acknowledged, and acknowledges
// nothing.
func (s *ShardReader) Shard() *Shard { return s.shard }

// Start returns the place after which records come.
func (s *ShardReader) Start() Checkpoint { return s.start }

// Records yields the records of the shard, in order. Each must be acknowledged by
// [Record.Ack], in the loop or later, by any goroutine: the checkpoint does not
// pass one that is not, the shard does not end before all are, and the stop waits
// for those that were yielded.
//
// The loop ends at the shard's end, at a stop, and when ctx ends; if the lease is
// lost or the reading is begun anew, then after an error without a record. A loop
// that was left can be taken up again by another; there must not be two at a time.
func (s *ShardReader) Records(ctx context.Context) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		if !s.enter() {
			yield(nil, fmt.Errorf("consumer: there is a loop over the records of shard %q already", s.shard.ID))
			return
		}
		defer s.leave()
		stopping := s.shard.h.stopping
		for {
			for s.batch != nil && s.next < len(s.batch.Records) {
				select {
				case <-s.shard.done:
					s.last(yield)
					return
				case <-stopping:
					return
				case <-ctx.Done():
					return
				default:
				}
				s.next++
				if !yield(&s.batch.Records[s.next-1], nil) {
					return
				}
			}
			s.batch = nil
			select {
			case s.batch = <-s.batches:
				s.next = 0
			case <-s.ended:
				return
			case <-s.shard.done:
				s.last(yield)
				return
			case <-stopping:
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

// last yields why there is no more, unless that is in order.
func (s *ShardReader) last(yield func(*Record, error) bool) {
	if err := s.Err(); err != nil && !errors.Is(err, ErrShutdown) {
		yield(nil, err)
	}
}

// Err returns why no more records come: nil after the shard's end, and as long as
// they do come; else the cause with which the context of a processor would end or,
// after a stop in order, that of the stop, [ErrShutdown] as a rule.
func (s *ShardReader) Err() error {
	select {
	case <-s.ended:
		return nil
	default:
	}
	var err error
	select {
	case <-s.shard.done:
		err = s.shard.cause()
	default:
	}
	if h := s.shard.h; h.isStopping() && (err == nil || errors.Is(err, ErrShutdown)) {
		return h.stopCause
	}
	return err
}

func (s *ShardReader) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left != nil {
		return false
	}
	s.left = make(chan struct{})
	return true
}

func (s *ShardReader) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.left)
	s.left = nil
}

// shardLoop is the processor that a ShardReader adapts.
type shardLoop struct {
	r      *ShardReader
	shards chan<- *ShardReader
	once   sync.Once // closes r.ended
}

func (l *shardLoop) Initialize(ctx context.Context, start Checkpoint) error {
	l.r.start = start
	select {
	case l.shards <- l.r:
		return nil
	case <-l.r.shard.h.stopping:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *shardLoop) ProcessRecords(ctx context.Context, b *Batch) error {
	b.Detach()
	h := l.r.shard.h
	select {
	case l.r.batches <- b:
		return nil
	case <-h.stopping:
		if len(b.Records) > 0 {
			h.tracker.giveUp(b.of, int(b.Records[0].index))
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *shardLoop) ShardEnded(context.Context) error {
	l.once.Do(func() { close(l.r.ended) })
	return nil
}

// ShutdownRequested waits for the loop to end, and for the acknowledgements of what
// it was given.
func (l *shardLoop) ShutdownRequested(ctx context.Context) error {
	l.r.mu.Lock()
	left := l.r.left
	l.r.mu.Unlock()
	if left != nil {
		select {
		case <-left:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if b := l.r.batch; b != nil && l.r.next < len(b.Records) {
		l.r.shard.h.tracker.giveUp(b.of, int(b.Records[l.r.next].index))
	}
	l.r.shard.h.tracker.settle(ctx)
	return nil
}
