package producer

// UserRecord is what an application puts into a stream: one record of its own,
// which the producer may pack with others into one Kinesis record.
type UserRecord struct {
	// PartitionKey decides the shard, by its MD5. From 1 to 256 characters of
	// valid UTF-8, or empty: then the producer picks the shard, and balances
	// such records over the shards.
	PartitionKey string

	// ExplicitHashKey overrides the hash of PartitionKey: decimal text of an
	// integer in [0, 2^128). Empty means none.
	ExplicitHashKey string

	// Data is the payload. Put copies it before it returns, so the caller may
	// reuse the slice at once.
	Data []byte

	// Tag is handed back in the [Result] and never looked at.
	Tag any
}

// Result is the fate of one user record.
type Result struct {
	Tag               any       // of the user record
	ShardID           string    // shard that stored it, or of the last attempt; empty if none is known
	SequenceNumber    string    // of the Kinesis record that holds it; empty on failure
	SubSequenceNumber int       // index inside an aggregated record; 0 for a Kinesis record of its own, and for all records compressed together
	Aggregated        bool      // stored inside an aggregated record
	Attempts          int       // requests that carried it
	History           []Attempt // these, if Config.AttemptHistory is set; shared with others
	Err               error     // nil once stored; a [*PutError] otherwise
}

// BatchResult is the fate of the user records of one PutBatch. It is handed
// over once, when the last of them is finished.
type BatchResult struct {
	Records int // records in the batch
	// Failed lists the records that were not stored, in order of Index. Empty
	// means that all were.
	Failed []FailedRecord
}

// FailedRecord is a user record of a batch that was not stored.
type FailedRecord struct {
	Index int   // in the slice that PutBatch was given
	Err   error // a [*PutError]
}

// Err returns nil if every record was stored, else the first record's error.
func (r BatchResult) Err() error {
	if len(r.Failed) == 0 {
		return nil
	}
	return r.Failed[0].Err
}
