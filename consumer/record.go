package consumer

import (
	"slices"
	"sync"
	"time"
)

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
}

// Checkpoint returns the record's place.
func (r *Record) Checkpoint() Checkpoint {
	return Checkpoint{SequenceNumber: r.SequenceNumber, SubSequenceNumber: r.SubSequenceNumber}
}

// Batch is a run of records of one shard, in their order. Ack may be called
// from any goroutine; all else belongs to the call of ProcessRecords.
type Batch struct {
	// Records must not be changed.
	Records []Record

	// Shard is the shard that the records were read from.
	Shard *Shard

	// BehindLatest is how far the end of the batch is behind the newest record
	// of the shard; 0 when it has reached it.
	BehindLatest time.Duration

	end      Checkpoint // place of the last Kinesis record, dropped ones included
	bytes    int64      // charged to the budget
	ended    bool       // the shard has nothing after it
	children []child    // of an ended shard

	t *tracker

	// Guarded by t.mu.
	detached bool
	done     bool     // all acknowledged
	acks     []uint64 // a bit for each record; nil until the first Ack
	next     int      // number of records acknowledged without a gap
}

// child is a shard that continues an ended one.
type child struct {
	id         string
	parents    []string
	start, end string // hash keys
}

// Detach keeps the return of ProcessRecords from acknowledging the batch: each
// record must then be acknowledged with Ack, now or later. The shard's
// checkpoint does not pass a record that is not, and its memory counts against
// Config.MaxBufferedBytes until all of the batch are. An error returned by
// ProcessRecords undoes the Detach; acknowledgements stay.
func (b *Batch) Detach() {
	b.t.mu.Lock()
	defer b.t.mu.Unlock()
	b.detached = true
}

// Ack acknowledges record i of the batch. Records may be acknowledged in any
// order, and more than once. It has no effect once the lease is lost or
// released. It panics if there is no record i.
func (b *Batch) Ack(i int) {
	_ = b.Records[i]
	b.t.ack(b, i)
}

// tracker knows which records of one shard are acknowledged. The place up to
// which all are, without a gap, is the place that may be stored.
type tracker struct {
	free     func(bytes int64) // returns memory to the budget; not called under mu
	explicit bool              // only commit acknowledges

	mu        sync.Mutex // guards all below and the marked fields of the batches
	inFlight  []*Batch   // delivered and not wholly acknowledged, oldest first
	position  Checkpoint // zero until something is acknowledged
	delivered Checkpoint // end of the newest batch, or where reading began
	closed    bool

	progress chan struct{} // capacity 1: something was acknowledged since the last receive
}

func newTracker(free func(int64), explicit bool) *tracker {
	return &tracker{free: free, explicit: explicit, progress: make(chan struct{}, 1)}
}

// restart forgets what is in flight: it will be delivered again, from start.
// Acknowledgements of it come too late.
func (t *tracker) restart(start Checkpoint) {
	t.mu.Lock()
	var freed int64
	for _, b := range t.inFlight {
		b.done = true
		freed += b.bytes
	}
	t.inFlight, t.delivered = nil, Checkpoint{}
	if !start.IsSentinel() {
		t.delivered = start
	}
	t.mu.Unlock()
	if freed > 0 {
		t.free(freed)
	}
}

// add makes b the newest batch in flight.
func (t *tracker) add(b *Batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.t = t
	t.inFlight = append(t.inFlight, b)
	if b.end.Compare(t.delivered) > 0 { // it has none at the end of a shard that is gone
		t.delivered = b.end
	}
}

// begin prepares b for a call of the processor.
func (t *tracker) begin(b *Batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.detached = false
}

// finish acknowledges b after the processor returned nil, unless it is
// detached or only commits acknowledge.
func (t *tracker) finish(b *Batch) {
	t.mu.Lock()
	if t.explicit {
		b.done = true
		t.inFlight = slices.DeleteFunc(t.inFlight, func(o *Batch) bool { return o == b })
		t.mu.Unlock()
		t.free(b.bytes)
		return
	}
	if b.detached {
		t.mu.Unlock()
		return
	}
	b.done = true
	t.advance()
}

func (t *tracker) ack(b *Batch, i int) {
	t.mu.Lock()
	if t.closed || b.done || t.explicit {
		t.mu.Unlock()
		return
	}
	if b.acks == nil {
		b.acks = make([]uint64, (len(b.Records)+63)/64)
	}
	b.acks[i/64] |= 1 << (i % 64)
	for b.next < len(b.Records) && b.acks[b.next/64]&(1<<(b.next%64)) != 0 {
		b.next++
	}
	b.done = b.next == len(b.Records)
	t.advance()
}

// advance moves the position over what is acknowledged without a gap. It is
// called with mu held and unlocks it.
func (t *tracker) advance() {
	var freed int64
	moved := false
	for !t.closed && len(t.inFlight) > 0 {
		b := t.inFlight[0]
		if !b.done {
			// A place between two records of one compressed block cannot be
			// told: there the whole block is still to come.
			n := b.next
			for n > 0 && n < len(b.Records) && b.Records[n].Checkpoint() == b.Records[n-1].Checkpoint() {
				n--
			}
			if n > 0 {
				t.position, moved = b.Records[n-1].Checkpoint(), true
			}
			break
		}
		// end lies behind the last record if records after it were dropped.
		t.position, moved = b.end, true
		freed += b.bytes
		t.inFlight[0] = nil
		t.inFlight = t.inFlight[1:]
	}
	t.mu.Unlock()
	if freed > 0 {
		t.free(freed)
	}
	if moved {
		select {
		case t.progress <- struct{}{}:
		default: // it is marked already
		}
	}
}

// commit acknowledges what was delivered up to and including at, or all of it
// if at is the zero Checkpoint, and returns the place that is acknowledged
// now. stored is the checkpoint as it is stored.
func (t *tracker) commit(at, stored Checkpoint) (Checkpoint, error) {
	t.mu.Lock()
	low := stored
	if t.position.Compare(low) > 0 {
		low = t.position
	}
	switch {
	case t.closed:
		t.mu.Unlock()
		return at, ErrLeaseLost
	case at == Checkpoint{}:
		at = t.delivered
		if at.Compare(low) < 0 {
			at = low // nothing was delivered yet
		}
	case at.IsSentinel() || at.Compare(low) < 0 || at.Compare(t.delivered) > 0:
		last := t.delivered
		t.mu.Unlock()
		return at, &CommitRangeError{At: at, Low: low, High: last}
	}
	if t.explicit {
		if !at.IsSentinel() {
			t.position = at
		}
		t.mu.Unlock()
		return at, nil
	}
	for _, b := range t.inFlight {
		if b.end.Compare(at) <= 0 {
			b.done = true
			continue
		}
		for b.next < len(b.Records) && b.Records[b.next].Checkpoint().Compare(at) <= 0 {
			b.next++
		}
		break
	}
	t.advance()
	if pos, _ := t.state(); pos.Compare(at) < 0 {
		at = pos // at lies between two records
	}
	return at, nil
}

// complete reports whether all that was delivered is acknowledged.
func (t *tracker) complete(stored Checkpoint) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.inFlight) == 0 && (t.delivered.Compare(t.position) <= 0 || t.delivered.Compare(stored) <= 0)
}

// state returns the position and whether nothing is in flight.
func (t *tracker) state() (position Checkpoint, idle bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.position, len(t.inFlight) == 0
}

// close makes later acknowledgements void and returns the memory of what is in
// flight.
func (t *tracker) close() {
	t.mu.Lock()
	var freed int64
	for _, b := range t.inFlight {
		freed += b.bytes
	}
	t.inFlight, t.closed = nil, true
	t.mu.Unlock()
	if freed > 0 {
		t.free(freed)
	}
}
