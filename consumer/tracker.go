package consumer

import (
	"context"
	"sync"
	"time"
)

// portion is what one read has brought, decoded. Its records reach the processor
// in one batch or in several, and are acknowledged one by one.
type portion struct {
	records  []Record
	behind   time.Duration
	end      Checkpoint // place of the last Kinesis record, dropped ones included
	bytes    int64      // charged to the budget
	ended    bool       // the shard has nothing after it
	children []child    // of an ended shard
	number   uint64     // in the order in which lanes were given them

	t *tracker // nil until the portion is in flight

	// Guarded by t.mu.
	acks  []uint64 // a bit for each record; nil until one is acknowledged alone
	next  int      // number of records acknowledged without a gap
	left  int      // records not acknowledged
	done  bool     // all are, or none is of any concern
	given bool     // records from limit on are given up: nobody waits for them
	limit int
}

// child is a shard that continues an ended one.
type child struct {
	id         string
	parents    []string
	start, end string // hash keys
}

// whole returns the batch of all records of p.
func (p *portion) whole(s *Shard) *Batch {
	return &Batch{Records: p.records, Shard: s, BehindLatest: p.behind, of: p}
}

func (p *portion) acked(i int) bool {
	return p.done || p.acks != nil && p.acks[i/64]&(1<<(i%64)) != 0
}

// tracker knows which records of one shard are acknowledged. The place up to
// which all are, without a gap, is the place that may be stored.
//
// An acknowledgement costs the same however many records are in flight: it sets
// a bit, and moves the front over bits that are set, each once.
type tracker struct {
	free     func(bytes int64) // returns memory to the budget; not called under mu
	explicit bool              // only commit acknowledges
	acksOnly bool              // commit acknowledges nothing, as what is delivered is not all in one hand

	mu        sync.Mutex // guards all below and the marked fields of portions and batches
	inFlight  []*portion // delivered and not wholly acknowledged, oldest first
	unacked   int        // records of those that are not
	position  Checkpoint // zero until something is acknowledged
	delivered Checkpoint // end of the newest batch, or where reading began
	closed    bool
	waited    bool // somebody waits for progress

	progress chan struct{} // capacity 1: something has changed for the one who waits
}

func newTracker(free func(int64), explicit, acksOnly bool) *tracker {
	return &tracker{free: free, explicit: explicit, acksOnly: acksOnly, progress: make(chan struct{}, 1)}
}

// restart forgets what is in flight: it will be delivered again, from start.
// Acknowledgements of it come too late.
func (t *tracker) restart(start Checkpoint) {
	t.mu.Lock()
	freed := t.dropLocked()
	t.delivered = Checkpoint{}
	if !start.IsSentinel() {
		t.delivered = start
	}
	t.mu.Unlock()
	if freed > 0 {
		t.free(freed)
	}
}

// dropLocked empties what is in flight and returns its memory.
func (t *tracker) dropLocked() (freed int64) {
	for _, p := range t.inFlight {
		p.done = true
		freed += p.bytes
	}
	t.inFlight, t.unacked = nil, 0
	return freed
}

// add makes p the newest portion in flight.
func (t *tracker) add(p *portion) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.t, p.left = t, len(p.records)
	t.inFlight = append(t.inFlight, p)
	t.unacked += p.left
}

// cameLocked notes that b has come to the processor. What was read with it and is
// not in b, because it is cut after failures, is still to come, even if it was
// delivered before.
func (t *tracker) cameLocked(b *Batch) {
	end, records := b.of.end, b.of.records
	if n := len(b.Records); n > 0 && int(b.Records[n-1].index) < len(records)-1 {
		i := int(b.Records[n-1].index)
		for i >= 0 && records[i].Checkpoint() == records[i+1].Checkpoint() {
			i-- // a place inside a compressed block cannot be told
		}
		if i < 0 {
			return
		}
		end = records[i].Checkpoint()
	}
	if end.SequenceNumber != "" { // there is none at the end of a shard that is gone
		t.delivered = end
	}
}

// begin prepares b for a call of the processor.
func (t *tracker) begin(b *Batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.detached = false
	t.cameLocked(b)
}

// finish acknowledges b after the processor returned nil, unless it is
// detached. Where only commits acknowledge, it frees b. It reports whether the
// batch is handled; one that is detached is not yet.
func (t *tracker) finish(b *Batch) bool {
	t.mu.Lock()
	p := b.of
	if b.detached && !t.explicit && len(p.records) > 0 { // a read that brought nothing has nothing to wait for
		t.mu.Unlock()
		return false
	}
	if t.closed || p.done {
		t.mu.Unlock()
		return true
	}
	t.cameLocked(b)
	if len(b.Records) == len(p.records) {
		t.unacked -= p.left
		p.left, p.done = 0, true
	} else {
		for i := range b.Records {
			t.markLocked(p, int(b.Records[i].index))
		}
	}
	t.advance()
	return true
}

// mark acknowledges one record on the consumer's own account.
func (t *tracker) mark(p *portion, i int) {
	t.mu.Lock()
	if t.closed || p.done {
		t.mu.Unlock()
		return
	}
	t.markLocked(p, i)
	t.advance()
}

// ack acknowledges one record on the processor's account.
func (t *tracker) ack(p *portion, i int) {
	if !t.explicit {
		t.mark(p, i)
	}
}

func (t *tracker) markLocked(p *portion, i int) {
	if p.acks == nil {
		p.acks = make([]uint64, (len(p.records)+63)/64)
	}
	if p.acks[i/64]&(1<<(i%64)) != 0 {
		return
	}
	p.acks[i/64] |= 1 << (i % 64)
	p.left--
	t.unacked--
	for p.next < len(p.records) && p.acks[p.next/64]&(1<<(p.next%64)) != 0 {
		p.next++
	}
	p.done = p.left == 0
}

// advance moves the position over what is acknowledged without a gap. It is
// called with mu held and unlocks it.
func (t *tracker) advance() {
	var freed int64
	for !t.closed && len(t.inFlight) > 0 {
		p := t.inFlight[0]
		if !p.done {
			if t.explicit {
				break
			}
			// A place between two records of one compressed block cannot be
			// told: there the whole block is still to come.
			n := p.next
			for n > 0 && n < len(p.records) && p.records[n].Checkpoint() == p.records[n-1].Checkpoint() {
				n--
			}
			if n > 0 {
				t.position = p.records[n-1].Checkpoint()
			}
			break
		}
		if !t.explicit {
			// end lies behind the last record if records after it were dropped.
			t.position = p.end
		}
		freed += p.bytes
		t.inFlight[0] = nil
		t.inFlight = t.inFlight[1:]
	}
	wake := t.waited
	t.waited = false
	t.mu.Unlock()
	if freed > 0 {
		t.free(freed)
	}
	if wake {
		select {
		case t.progress <- struct{}{}:
		default: // it is marked already
		}
	}
}

// giveUp notes that the records of p from index i on are not worked on any more.
func (t *tracker) giveUp(p *portion, i int) {
	t.mu.Lock()
	if !p.given || i < p.limit {
		p.given, p.limit = true, i
	}
	t.advance() // for the one who waits
}

// rest returns those of records, all of p, that are not acknowledged.
func (t *tracker) rest(p *portion, records []Record) []Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	var left []Record
	for i := range records {
		if !p.acked(int(records[i].index)) {
			left = append(left, records[i])
		}
	}
	return left
}

// await waits until f, which is called under mu, reports true. It reports false
// if stop is closed or ctx ends first. Only one caller may wait at a time.
func (t *tracker) await(ctx context.Context, stop <-chan struct{}, f func() bool) bool {
	for {
		t.mu.Lock()
		ok := f()
		t.waited = !ok
		t.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-t.progress:
		case <-stop:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// room waits until fewer than limit records are delivered and not acknowledged.
func (t *tracker) room(ctx context.Context, stop <-chan struct{}, limit int) bool {
	return t.await(ctx, stop, func() bool { return t.explicit || t.unacked < limit })
}

// settle waits until all that was delivered, and not given up, is acknowledged.
func (t *tracker) settle(ctx context.Context) bool {
	return t.await(ctx, nil, func() bool {
		for _, p := range t.inFlight {
			if !p.done {
				// Behind what is given up the position cannot come.
				return p.given && p.next >= p.limit
			}
		}
		return true
	})
}

// reachLocked returns the place that at stands for, in a commit, or an error if it
// cannot be committed. stored is the checkpoint as it is stored.
func (t *tracker) reachLocked(at, stored Checkpoint) (Checkpoint, error) {
	low := stored
	if t.position.Compare(low) > 0 {
		low = t.position
	}
	high := t.delivered
	if t.acksOnly {
		high = low
	}
	switch {
	case t.closed:
		return at, ErrLeaseLost
	case at == Checkpoint{}:
		if high.Compare(low) < 0 {
			return low, nil // nothing was delivered yet
		}
		return high, nil
	case at.IsSentinel() || at.Compare(low) < 0 && !t.acksOnly || at.Compare(high) > 0:
		return at, &CommitRangeError{At: at, Low: low, High: high}
	}
	return at, nil
}

// reach returns the place that at stands for, in a commit.
func (t *tracker) reach(at, stored Checkpoint) (Checkpoint, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reachLocked(at, stored)
}

// commit acknowledges what was delivered up to and including at, or all of it
// if at is the zero Checkpoint, and returns the place that is acknowledged
// now. stored is the checkpoint as it is stored.
func (t *tracker) commit(at, stored Checkpoint) (Checkpoint, error) {
	t.mu.Lock()
	at, err := t.reachLocked(at, stored)
	if err != nil {
		t.mu.Unlock()
		return at, err
	}
	if t.acksOnly {
		t.mu.Unlock()
		return at, nil
	}
	if t.explicit {
		if !at.IsSentinel() {
			t.position = at
		}
		t.mu.Unlock()
		return at, nil
	}
	for _, p := range t.inFlight {
		if p.end.Compare(at) <= 0 {
			t.unacked -= p.left
			p.left, p.done = 0, true
			continue
		}
		for i := p.next; !p.done && i < len(p.records) && p.records[i].Checkpoint().Compare(at) <= 0; i++ {
			t.markLocked(p, i)
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

// waiting returns how many records are delivered and not acknowledged.
func (t *tracker) waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unacked
}

// close makes later acknowledgements void and returns the memory of what is in
// flight.
func (t *tracker) close() {
	t.mu.Lock()
	freed := t.dropLocked()
	t.closed = true
	t.mu.Unlock()
	if freed > 0 {
		t.free(freed)
	}
}
