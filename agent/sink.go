package agent

import (
	"context"

	"github.com/streamkit/streamkit/producer"
)

// Sink takes the records of a flow. [*producer.Producer] is one.
type Sink interface {
	// PutBatch takes the records, or waits for room until ctx ends. It may keep
	// neither the slice nor the Data of its records once it has returned. If it
	// returns nil, it calls done once, from any goroutine and perhaps before it
	// returns; if it returns an error, it never does, and the agent puts the whole
	// batch again.
	PutBatch(ctx context.Context, records []producer.UserRecord, done func(producer.BatchResult)) error

	// Flush sends what waits for company, and returns when it is finished.
	Flush(ctx context.Context) error

	// Close frees the sink. The agent calls it once, after the last PutBatch.
	Close(ctx context.Context) error
}

// KeyResumer is what the [Sink] of a flow with [OrderingFile] has besides, or its files
// may be stored in another order when records fail: with a record that failed, all fail
// that are put of its partition key, already or later, until ResumeKey. A
// [*producer.Producer] with [producer.StopKeyed] does so.
type KeyResumer interface {
	// ResumeKey has the sink take records of a key again; explicitHashKey is empty.
	// It reports whether the key was stopped.
	ResumeKey(partitionKey, explicitHashKey string) bool
}

// OpenSink makes the sink of a flow. memory is the part of Config.MaxMemoryBytes
// that its buffers may use, in bytes.
type OpenSink func(flow FlowConfig, memory int64) (Sink, error)
