package store

import (
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// Record is a record to be put. The store keeps no reference to it once Put
// has returned.
type Record struct {
	PartitionKey string // empty: it has none, since no key is empty
	Data         []byte
	HashKey      hashkey.Key // of the partition key, or the explicit one
}

// Stored says where a record was put.
type Stored struct {
	Shard  int    // index of the shard
	Index  uint64 // sequence index
	Second int64  // time inside the sequence number
	// Create is the shard's creation second, so that the number can be written
	// without looking the shard up.
	Create int64
}

// StoredRecord is a record as it is read. Its slices alias the store's
// buffers: the caller must not change them, and may keep them.
type StoredRecord struct {
	PartitionKey string
	Data         []byte
	Index        uint64
	Arrival      time.Time // millisecond precision
}

// ReadRequest asks for the records of one shard from a position on.
type ReadRequest struct {
	StreamID   uint64
	Shard      int
	From       state.Position
	MaxRecords int // at least 1
	MaxBytes   int // of data; at least one record is returned whatever its size
}

// ReadResult holds what a read found.
type ReadResult struct {
	Records []StoredRecord
	Next    state.Position // behind the last record returned, or where the read began
	// BehindLatest is how old the place behind the answer is: 0 when the
	// answer reaches the tip, else the age of its last record.
	BehindLatest time.Duration
	// Ended says that the shard is closed and Next is behind its last record.
	Ended bool
}
