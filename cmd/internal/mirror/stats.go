package mirror

import (
	"sync/atomic"
	"time"
)

// Stats is what was done of one stream since Run was called.
type Stats struct {
	Stream

	Records int64 // acknowledged by the target
	Bytes   int64 // of their data and partition keys

	// Duplicates is how many records were sent again although the target may
	// have stored them: at most so many are there twice. Those that a crash or a
	// kill causes are not among them.
	Duplicates int64
	// Resent is how many records the target refused and were sent again.
	Resent int64
	// Reordered is how many records were stored behind a later one of the same
	// partition key. Only with LooseOrder.
	Reordered int64

	ThrottledReads  int64 // reads that the source refused as too fast
	ThrottledWrites int64 // records that the target refused as too fast

	// Gaps is how many times records may have left the source by retention
	// before they were read.
	Gaps int64
	// Split is how many aggregated records hold user records of more than one
	// shard of the target.
	Split int64

	Shards int // being read now
	// Lag is how old the oldest record is that was not stored yet, or 0.
	Lag time.Duration
}

// counters are behind Stats.
type counters struct {
	records, bytes, duplicates, resent, reordered atomic.Int64
	throttledReads, throttledWrites, gaps, split  atomic.Int64
}
