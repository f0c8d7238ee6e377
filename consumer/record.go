package consumer

import "time"

// Record is one user record.
type Record struct {
	// Data is the record's content. It belongs to the processor, which may
	// keep it; user records that came in one aggregated record share its
	// memory, so one of them keeps all of it.
	Data []byte

	PartitionKey    string
	ExplicitHashKey string // "" if none, or if the record was not aggregated

	// SequenceNumber is that of the Kinesis record. The user records of an
	// aggregated record share it and are told apart by SubSequenceNumber, from
	// 0.
	SequenceNumber    string
	SubSequenceNumber int64

	// ApproximateArrivalTime is when the stream took the Kinesis record.
	ApproximateArrivalTime time.Time

	// Shard is the shard that the record was read from.
	Shard *Shard

	// BlockIndex is the place of the record in the compressed block that it came
	// in, from 0. The records of a block share the SubSequenceNumber as well, and
	// so the place: to commit one of them is to commit all of its block.
	BlockIndex int

	// DecodeErr is what Config.Decoder has said of a record that it could not
	// decode; Data is then as it came. nil otherwise.
	DecodeErr error

	// Aggregated tells that the user record came in an aggregated record.
	Aggregated bool

	// OutOfRange tells that the record's hash key is not in the range of its
	// shard; see [RangePolicy].
	OutOfRange bool

	// Encrypted tells that the stream stored the record encrypted.
	Encrypted bool

	index int32    // among the records of of
	of    *portion // what it was read with; nil in a Record that no consumer has made
}

// Checkpoint returns the record's place.
func (r *Record) Checkpoint() Checkpoint {
	return Checkpoint{SequenceNumber: r.SequenceNumber, SubSequenceNumber: r.SubSequenceNumber}
}

// Ack acknowledges the record, as part of a batch that is detached, see
// [Batch.Detach]. Records may be acknowledged in any order, from any goroutine,
// more than once, and by a copy. It has no effect once the lease is lost or
// released, nor on a Record that no consumer has made.
func (r *Record) Ack() {
	if r.of != nil {
		r.of.t.ack(r.of, int(r.index))
	}
}

// Batch is a run of records of one shard, in their order. Ack may be called
// from any goroutine; all else belongs to the call of ProcessRecords.
type Batch struct {
	// Records must not be changed.
	Records []Record

	// Shard is the shard that the records were read from.
	Shard *Shard

	// BehindLatest is how far the end of the read that brought the batch is
	// behind the newest record of the shard; 0 when it has reached it.
	BehindLatest time.Duration

	of       *portion // that it is a part of; nil in a Batch that no consumer has made
	detached bool     // guarded by of.t.mu
}

// Detach keeps the return of ProcessRecords from acknowledging the batch: each
// record must then be acknowledged with [Record.Ack] or [Batch.Ack], now or
// later. The shard's checkpoint does not pass a record that is not, its memory
// counts against Config.MaxBufferedBytes until all that was read with it is, and
// no more is delivered while Config.MaxUnacked records wait. An error returned by
// ProcessRecords undoes the Detach; acknowledgements stay.
func (b *Batch) Detach() {
	if b.of == nil {
		return
	}
	b.of.t.mu.Lock()
	defer b.of.t.mu.Unlock()
	b.detached = true
}

// Ack acknowledges record i of the batch, as [Record.Ack] does. It panics if
// there is no record i.
func (b *Batch) Ack(i int) { b.Records[i].Ack() }
