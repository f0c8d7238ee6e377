package consumer

import "context"

// Processor handles the records of one shard. Its methods are never called
// concurrently with each other. The optional methods are those of
// [Initializer], [LeaseLoser], [ShardEnder] and [ShutdownRequester].
type Processor interface {
	// ProcessRecords handles a batch. Returning nil acknowledges all of it,
	// unless the processor has called [Batch.Detach]. An error, or a panic,
	// makes the consumer call again with the same batch, after a wait that
	// grows from 100 ms to 30 s, for as long as it takes; a record is never
	// skipped. ctx ends, with a cause, when the lease is lost ([ErrLeaseLost])
	// or the time to stop is over ([ErrShutdown]).
	ProcessRecords(ctx context.Context, b *Batch) error
}

// ProcessorFunc is a [Processor] made of one function.
type ProcessorFunc func(ctx context.Context, b *Batch) error

// ProcessRecords calls f.
func (f ProcessorFunc) ProcessRecords(ctx context.Context, b *Batch) error { return f(ctx, b) }

// Initializer is called before the first batch, with the place after which
// records will come. An error makes the consumer call again, as with
// ProcessRecords.
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
	Stream string
	ID     string

	// ParentIDs are the shards that this one continues: none, one after a
	// split, two after a merge.
	ParentIDs []string

	// StartingHashKey and EndingHashKey are the ends of the shard's range of
	// hash keys, in decimal and inclusive.
	StartingHashKey, EndingHashKey string
}
