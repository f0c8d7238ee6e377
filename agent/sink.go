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

// OpenSink makes the sink of a flow. memory is the part of Config.MaxMemoryBytes
// that its buffers may use, in bytes.
type OpenSink func(flow FlowConfig, memory int64) (Sink, error)
