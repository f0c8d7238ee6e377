package consumer

import (
	"context"
	"errors"
)

// Processor handles the records of one shard. Its methods are never called
// concurrently with each other, but for ProcessRecords where Config.KeyConcurrency
// asks for that. The optional methods are those of
// [Initializer], [LeaseLoser], [ShardEnder] and [ShutdownRequester].
type Processor interface {
	// ProcessRecords handles a batch. Returning nil acknowledges all of it,
	// unless the processor has called [Batch.Detach]. An error makes the
	// consumer call again with the same batch, after a wait that grows from
	// 100 ms to 30 s, for as long as it takes; a record is never skipped, unless
	// the processor asks for that, by [Skip], or has it taken elsewhere, by
	// [DeadLetter]. See also [Retry], [Stop] and Config.BisectAfter. After a panic
	// the same batch goes to another processor, as after [Shard.Restart]: nobody
	// knows what state this one is in.
	//
	// ctx ends, with a cause, when the lease is lost ([ErrLeaseLost]), the time to
	// stop is over ([ErrShutdown]), [Shard.Restart] was called ([ErrRestart]), or
	// the call takes too long ([ErrProcessorTimeout]).
	ProcessRecords(ctx context.Context, b *Batch) error
}

// ProcessorFunc is a [Processor] made of one function.
type ProcessorFunc func(ctx context.Context, b *Batch) error

// ProcessRecords calls f.
func (f ProcessorFunc) ProcessRecords(ctx context.Context, b *Batch) error { return f(ctx, b) }

// Initializer is called before the first batch, with the place after which
// records will come. An error makes the consumer call again, as with
// ProcessRecords; after a panic it is another processor's turn.
type Initializer interface {
	Initialize(ctx context.Context, start Checkpoint) error
}

// LeaseLoser is told that another worker has the lease, or may have it.
// Nothing can be acknowledged any more. It is the last call.
type LeaseLoser interface {
	LeaseLost()
}

// ShardEnder is called when all records of a closed shard are acknowledged,
// before that is stored and before a child is read. An error makes the
// consumer call again, as with ProcessRecords. After it returned nil it is the
// last call.
type ShardEnder interface {
	ShardEnded(ctx context.Context) error
}

// ShutdownRequester is called when the consumer stops and the batch in flight
// is done: the last chance to acknowledge detached records. What is
// acknowledged when it returns is stored as the lease is released. An error is
// logged. It is the last call.
type ShutdownRequester interface {
	ShutdownRequested(ctx context.Context) error
}

// Shard describes the shard that a [Processor] reads. It does not change.
type Shard struct {
	Stream string // name or ARN, as it was given
	ID     string

	// StreamID tells the stream from all others, where the consumer reads several.
	// Otherwise it is zero.
	StreamID StreamID

	// ParentIDs are the shards that this one continues: none, one after a
	// split, two after a merge.
	ParentIDs []string

	// StartingHashKey and EndingHashKey are the ends of the shard's range of
	// hash keys, in decimal and inclusive.
	StartingHashKey, EndingHashKey string

	h       *holding                // nil in a Shard that no consumer has made
	done    <-chan struct{}         // closed at the end of the processor that has this Shard
	cause   func() error            // why it ended
	restart context.CancelCauseFunc // ends that processor for another
}

// Token tells one holding of a lease from all others: a fencing token. A sink that
// is to take nothing from a worker that has lost its lease without knowing keeps
// the greatest Counter seen for each LeaseKey, and refuses what comes with a
// smaller one.
type Token struct {
	LeaseKey string
	Counter  int64 // the lease's counter as the worker took it; later holdings have greater ones
}

// Token returns the token of the holding that s was made for.
func (s *Shard) Token() Token {
	if s.h == nil {
		return Token{LeaseKey: s.ID}
	}
	return Token{LeaseKey: s.h.key, Counter: s.h.token}
}

// errNoConsumer is what a Shard answers that was made by hand.
var errNoConsumer = errors.New("consumer: this Shard was not made by a Consumer")

// Commit acknowledges everything that was delivered to the processor, a batch
// that it is just handling included, and returns when that is stored in the
// lease. A commit of what is stored already writes nothing. With
// Config.KeyConcurrency, where other batches are being handled, it acknowledges
// nothing, and stores what is acknowledged.
//
// [ErrLeaseLost] and [ErrShutdown] are final. After any other error it is
// open whether the checkpoint is stored; the worker goes on trying, and Commit
// may be called again. Commit may be called from any goroutine until the last
// call of the processor has returned.
func (s *Shard) Commit(ctx context.Context) error { return s.CommitTo(ctx, Checkpoint{}) }

// CommitTo is like Commit up to and including the given place, which must be a
// sequence number: not before what was acknowledged earlier, and not after
// what was delivered, else the error is a [*CommitRangeError]. The place may
// lie between two records.
func (s *Shard) CommitTo(ctx context.Context, at Checkpoint) error {
	if s.h == nil {
		return errNoConsumer
	}
	return s.h.commit(ctx, s, at)
}

// Restart makes the consumer give the processor up that was made for s, and
// make another, which reads on from what is acknowledged; reason is logged.
// The context of the processor ends with [ErrRestart] as its cause, and when
// it has returned no method of it is called any more. The other shards go on.
// If it happens again and again, the pauses grow from 100 ms to 30 s. Restart
// does not wait, may be called from any goroutine, and has no effect once the
// processor has been given up.
func (s *Shard) Restart(reason error) {
	if s.restart != nil {
		s.restart(&restartError{reason})
	}
}
