package producer

import (
	"slices"
	"strings"
	"sync"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

const (
	// recordOverhead is what a buffered record costs beside its partition key
	// and data: its meta, its callback, the bytes around it, rounded up.
	recordOverhead = 80

	// aloneOverhead is the same with aggregation disabled: a batch for each.
	aloneOverhead = 960

	// outerKey is the partition key of an aggregated record, as the KPL has
	// it; the explicit hash key does the routing. Records without a partition
	// key get it too.
	outerKey = "a"

	// maxPooledCost keeps the arenas of unusually large batches out of the
	// pool.
	maxPooledCost = 4 << 20
)

// meta is what the producer knows of a buffered record beside its bytes.
type meta struct {
	hash     hashkey.Key
	group    *group // of its PutBatch, or nil
	born     int64  // when it was put, in nanoseconds since the producer's start
	index    int32  // in the group; without one, in batch.calls, or -1 for no callback
	attempts int32  // requests that carried it before it came into this batch
	spool    uint64 // its number in the spool; 0 if it never was there
}

// call is the callback of a Put.
type call struct {
	done func(Result)
	tag  any
}

// batch is the user records of one Kinesis record, on its way through a lane.
// It belongs to its lane while it is queued, guarded by the lane's mutex, and
// to one goroutine while it is in flight or being moved.
type batch struct {
	builder   aggregation.Builder
	meta      []meta
	calls     []call
	cost      int64  // bytes taken from the budget
	overhead  int64  // of each record in it
	spooled   int    // records that the spool holds
	share     int64  // bytes taken from the spool's share of the budget
	gen       uint64 // flush generation
	since     int64  // when the first record was added here: the linger's start
	oldest    int64  // least meta.born
	attempts  int32  // requests that carried it
	heard     bool   // somebody wants a callback
	foreign   bool   // its stamp is not that of the lane that it is open in
	compacted bool   // it has no memory to spare
	unsure    bool   // an attempt may have stored it, so it stays as it is
	lastErr   error  // of the last attempt
	ended     int64  // when that ended; 0 if there was none
	shown     bool   // the hooks know of its bytes
	// Kept only if Config.AttemptHistory is set: the attempts, and those of
	// records before they came into this batch. pasts may be shorter than meta.
	history []Attempt
	pasts   []*past

	// Of batches that will be compressed: what is expected of it, in bytes for
	// one, and the most bytes that it may come to.
	ratio float64
	limit int

	// Set by seal.
	sealed       bool
	aggregated   bool
	block        bool    // of compressed records
	subs         []int32 // places in the stored record, if some of it is left out
	data         []byte
	buf          []byte // memory of data if aggregated; kept when pooled
	partitionKey string
	hashKey      string // explicit hash key of the Kinesis record
}

// recordCost returns what a record takes of the budget, with the overhead. The explicit hash key
// does not count: a record without a key gets one from its lane, long after
// the budget was asked.
func recordCost(r *aggregation.Record, overhead int64) int64 {
	return int64(len(r.PartitionKey)+len(r.Data)) + overhead
}

// add appends a record unless the batch has others and would exceed a limit.
// m.index is set from c.
func (b *batch) add(r *aggregation.Record, m meta, c call, maxCount, maxSize int) bool {
	if n := len(b.meta); n == 0 {
		b.builder.Add(*r)
	} else if n >= maxCount || !b.builder.TryAdd(*r, maxSize) {
		return false
	}
	b.added(r, m, c)
	return true
}

// added notes a record that the builder has taken.
func (b *batch) added(r *aggregation.Record, m meta, c call) {
	if len(b.meta) == 0 {
		b.oldest = m.born
	}
	if m.group == nil {
		m.index = -1
		if c.done != nil {
			m.index = int32(len(b.calls))
			b.calls = append(b.calls, c)
		}
	}
	b.heard = b.heard || m.group != nil || c.done != nil
	b.oldest = min(b.oldest, m.born)
	b.meta = append(b.meta, m)
	b.cost += recordCost(r, b.overhead)
	if m.spool != 0 {
		b.spooled++
		b.share += recordCost(r, b.overhead)
	}
}

// call returns the callback of the i-th record.
func (b *batch) call(i int) call {
	if m := &b.meta[i]; m.group == nil && m.index >= 0 {
		return b.calls[m.index]
	}
	return call{}
}

// first returns the first record. It aliases the batch.
func (b *batch) first() (first aggregation.Record) {
	b.builder.Walk(func(_ int, r aggregation.Record) bool {
		first = r
		return false
	})
	return first
}

// wireSize returns the bytes that the batch adds to a request's size. Until it
// is compressed, that is what they are expected to be.
func (b *batch) wireSize() int {
	if b.ratio > 0 {
		if b.sealed {
			return len(b.data) + len(b.partitionKey)
		}
		return min(int(float64(b.builder.Size())/b.ratio), b.limit) + len(outerKey)
	}
	if len(b.meta) == 1 {
		// Above the raw size, which is data and partition key.
		return b.builder.Size()
	}
	return b.builder.Size() + len(outerKey)
}

// sealAll makes the bytes to send of batches, of each once: a resend must be
// identical. A single user record is sent as it is, which is smaller and readable
// by all, unless it has a stamp.
func sealAll(items []*item) {
	var waiting *batch
	for _, it := range items {
		b := it.batch
		if b.sealed || b.sealRaw() {
			continue
		}
		// Two at once: the MD5 is most of the work.
		if waiting == nil {
			waiting = b
			continue
		}
		waiting.data, b.data = aggregation.SealPair(&waiting.builder, &b.builder, waiting.room(), b.room())
		waiting.buf, b.buf = waiting.data, b.data
		waiting = nil
	}
	if waiting != nil {
		waiting.data = waiting.builder.Seal(waiting.room())
		waiting.buf = waiting.data
	}
}

// sealRaw begins to seal, and reports whether that was all: the batch is sent
// without aggregation.
func (b *batch) sealRaw() bool {
	b.sealed = true
	b.hashKey = b.meta[0].hash.String()
	if _, stamped := b.builder.Stamped(); len(b.meta) == 1 && !stamped {
		r := b.first()
		// A copy: whoever gets a string may keep it.
		b.aggregated, b.data, b.partitionKey = false, r.Data, strings.Clone(r.PartitionKey)
		return true
	}
	b.aggregated, b.partitionKey = true, outerKey
	return false
}

// unseal gives up the bytes to send, which can be made again. A batch that waits
// for long, behind others perhaps, must not take twice its memory.
func (b *batch) unseal() {
	if b.aggregated {
		b.sealed, b.data, b.buf = false, nil, nil
	}
}

// compact gives up what memory the batch has to spare, once.
func (b *batch) compact() {
	if b.compacted || b.sealed {
		return
	}
	b.compacted = true
	b.builder.Compact()
	if n := len(b.meta); cap(b.meta) > n+n/8 {
		b.meta = append(make([]meta, 0, n), b.meta...)
	}
	if n := len(b.calls); cap(b.calls) > n+n/8 {
		b.calls = append(make([]call, 0, n), b.calls...)
	}
}

// sealPacked is sealAll of one batch, whose records are compressed if that helps.
func (b *batch) sealPacked(k *packer) {
	b.sealed = true
	b.hashKey = b.meta[0].hash.String()
	if k.pack(b) || b.sealRaw() {
		return
	}
	b.data = b.builder.Seal(b.room())
	b.buf = b.data
}

// room returns memory to seal into.
func (b *batch) room() []byte { return slices.Grow(b.buf[:0], b.builder.Size()) }

// plainSize returns the size of the Kinesis record that is not compressed.
func (b *batch) plainSize() int {
	if _, stamped := b.builder.Stamped(); len(b.meta) == 1 && !stamped {
		return len(b.first().Data)
	}
	return b.builder.Size()
}

// within reports whether the hash keys of all records lie in r.
func (b *batch) within(r hashkey.Range) bool {
	for i := range b.meta {
		if !r.Contains(b.meta[i].hash) {
			return false
		}
	}
	return true
}

// batchPool recycles batches with their memory.
type batchPool struct {
	pool     sync.Pool
	tracker  *tracker
	overhead int64 // what a record costs beside its bytes
}

// get returns an empty batch of a new generation.
func (bp *batchPool) get(now int64) *batch {
	b := bp.blank(now)
	b.gen = bp.tracker.begin()
	return b
}

// heir returns an empty batch that will take over records of old.
func (bp *batchPool) heir(old *batch) *batch {
	b := bp.blank(old.since)
	b.gen, b.lastErr, b.ended, b.ratio, b.limit = old.gen, old.lastErr, old.ended, old.ratio, old.limit
	bp.tracker.inherit(b.gen)
	return b
}

func (bp *batchPool) blank(now int64) *batch {
	b, ok := bp.pool.Get().(*batch)
	if !ok {
		b = new(batch)
	}
	b.since, b.overhead = now, bp.overhead
	return b
}

// put gives back a batch whose records are finished or have moved on.
func (bp *batchPool) put(b *batch) {
	bp.tracker.finish(b.gen)
	if b.cost > maxPooledCost {
		return
	}
	clear(b.meta) // drops the references to callers' groups and callbacks
	clear(b.calls)
	b.builder.Reset()
	*b = batch{builder: b.builder, meta: b.meta[:0], calls: b.calls[:0], buf: b.buf[:0]}
	bp.pool.Put(b)
}

// split divides b: the records that pick picks go to the first batch, the
// others to the second, each in order. Either is nil if it would be empty, and
// b itself is returned if the other one is.
func (bp *batchPool) split(b *batch, pick func(i int, m *meta) bool) (picked, rest *batch) {
	n := 0
	for i := range b.meta {
		if pick(i, &b.meta[i]) {
			n++
		}
	}
	switch n {
	case 0:
		return nil, b
	case len(b.meta):
		return b, nil
	}
	picked, rest = bp.heir(b), bp.heir(b)
	picked.attempts, rest.attempts = b.attempts, b.attempts
	picked.history, rest.history = slices.Clone(b.history), slices.Clone(b.history)
	origin := originOf(b)
	b.builder.WalkStamped(func(i int, r aggregation.Record, number uint64) bool {
		to := rest
		if pick(i, &b.meta[i]) {
			to = picked
		}
		const unlimited = int(^uint(0) >> 1)
		to.addFrom(origin, number, &r, b.meta[i], b.call(i), unlimited, unlimited)
		to.setPast(b.past(i))
		return true
	})
	bp.put(b)
	return picked, rest
}

// divisible reports whether the batch may leave in parts.
func (b *batch) divisible() bool { return len(b.meta) > 1 && !b.unsure }

// cut divides b into batches of at most so many bytes, or of one record, in
// order.
func (bp *batchPool) cut(b *batch, size int) (parts []*batch) {
	const unlimited = int(^uint(0) >> 1)
	var part *batch
	origin := originOf(b)
	b.builder.WalkStamped(func(i int, r aggregation.Record, number uint64) bool {
		if part == nil || !part.addFrom(origin, number, &r, b.meta[i], b.call(i), unlimited, size-len(outerKey)) {
			part = bp.heir(b)
			part.attempts, part.history = b.attempts, slices.Clone(b.history)
			part.addFrom(origin, number, &r, b.meta[i], b.call(i), unlimited, unlimited)
			parts = append(parts, part)
		}
		part.setPast(b.past(i))
		return true
	})
	bp.put(b)
	return parts
}

// dataBytes returns the bytes of the user records, without keys.
func (b *batch) dataBytes() (n int) {
	b.builder.Walk(func(_ int, r aggregation.Record) bool {
		n += len(r.Data)
		return true
	})
	return n
}
