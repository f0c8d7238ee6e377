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

// meta is what the producer knows of a buffered record beside its bytes. There are
// thousands, so they are small and without pointers; what few records have is in
// rare.
type meta struct {
	hash  hashkey.Key
	born  int64 // when it was put, in nanoseconds since the producer's start
	index int32 // in the group; without one, in batch.calls, or -1 for no callback
	owner int32 // place of its group in batch.groups, counted from 1; 0 for none
}

// rare is what few records have: those that moved from another batch, or came from
// the disk.
type rare struct {
	attempts int32  // requests that carried it before it came into this batch
	spool    uint64 // its number in the spool; 0 if it never was there
	past     *past  // the attempts, if Config.AttemptHistory is set
}

// arrival is a record on its way into a batch.
type arrival struct {
	hash     hashkey.Key
	born     int64
	group    *group // of its PutBatch, or nil
	index    int32  // in the group
	attempts int32
	spool    uint64
	call     call // without a group
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
	meta      []meta
	cost      int64 // bytes taken from the budget
	builder   aggregation.Builder
	overhead  int64 // of each record in it
	calls     []call
	groups    []*group
	rares     []rare    // shorter than meta, if the rest has none
	spooled   int       // records that the spool holds
	share     int64     // bytes taken from the spool's share of the budget
	gen       uint64    // flush generation
	since     int64     // when the first record was added here: the linger's start
	oldest    int64     // least meta.born
	attempts  int32     // requests that carried it
	heard     bool      // somebody wants a callback
	foreign   bool      // its stamp is not that of the lane that it is open in
	compacted bool      // it has no memory to spare
	unsure    bool      // an attempt may have stored it, so it stays as it is
	lastErr   error     // of the last attempt
	ended     int64     // when that ended; 0 if there was none
	shown     bool      // the hooks know of its bytes
	history   []Attempt // kept only if Config.AttemptHistory is set

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
	buf          *wireBuffer // memory of data if aggregated
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
func (b *batch) add(r *aggregation.Record, a *arrival, maxCount, maxSize int) bool {
	if n := len(b.meta); n == 0 {
		b.builder.Add(*r)
	} else if n >= maxCount || !b.builder.TryAdd(r, maxSize) {
		return false
	}
	b.added(r, a)
	return true
}

// added notes a record that the builder has taken.
func (b *batch) added(r *aggregation.Record, a *arrival) {
	if len(b.meta) == 0 {
		b.oldest = a.born
	}
	m := meta{hash: a.hash, born: a.born, index: -1}
	switch {
	case a.group != nil:
		if n := len(b.groups); n == 0 || b.groups[n-1] != a.group {
			b.groups = append(b.groups, a.group)
		}
		m.owner, m.index, b.heard = int32(len(b.groups)), a.index, true
	case a.call.done != nil:
		m.index, b.heard = int32(len(b.calls)), true
		b.calls = append(b.calls, a.call)
	}
	if a.born < b.oldest {
		b.oldest = a.born
	}
	b.meta = append(b.meta, m)
	cost := recordCost(r, b.overhead)
	b.cost += cost
	if a.attempts > 0 || a.spool != 0 {
		last := b.lastRare()
		last.attempts, last.spool = a.attempts, a.spool
	}
	if a.spool != 0 {
		b.spooled++
		b.share += cost
	}
}

// group returns the group of the i-th record, or nil.
func (b *batch) group(i int) *group {
	if owner := b.meta[i].owner; owner > 0 {
		return b.groups[owner-1]
	}
	return nil
}

// call returns the callback of the i-th record.
func (b *batch) call(i int) call {
	if m := &b.meta[i]; m.owner == 0 && m.index >= 0 {
		return b.calls[m.index]
	}
	return call{}
}

// rare returns what few records have of the i-th.
func (b *batch) rare(i int) rare {
	if i < len(b.rares) {
		return b.rares[i]
	}
	return rare{}
}

// lastRare returns the place of what few records have of the last one.
func (b *batch) lastRare() *rare {
	n := len(b.meta)
	if len(b.rares) < n {
		b.rares = slices.Grow(b.rares, n-len(b.rares))[:n] // what was there before was cleared
	}
	return &b.rares[n-1]
}

// arrival returns the i-th record as one on its way into another batch.
func (b *batch) arrival(i int) arrival {
	m, few := &b.meta[i], b.rare(i)
	return arrival{hash: m.hash, born: m.born, group: b.group(i), index: m.index, attempts: few.attempts, spool: few.spool, call: b.call(i)}
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

// sealTogether is how many batches are sealed at once: the MD5 is most of the
// work, and takes four in the time of two.
const sealTogether = 4

// sealAll makes the bytes to send of batches, of each once: a resend must be
// identical. A single user record is sent as it is, which is smaller and readable
// by all, unless it has a stamp. What leaves next is sealed with them, as far as it
// fills the last four.
func (p *Producer) sealAll(items []*item) {
	var (
		waiting  [sealTogether]*batch
		builders [sealTogether]*aggregation.Builder
		blobs    [sealTogether][]byte
	)
	n := 0
	seal := func() {
		aggregation.SealAll(builders[:n], blobs[:n])
		for i, b := range waiting[:n] {
			b.data = blobs[i]
		}
		n = 0
	}
	add := func(b *batch) {
		if b.sealed || b.sealRaw() {
			return
		}
		waiting[n], builders[n], blobs[n] = b, &b.builder, b.room(b.builder.Size())
		if n++; n == sealTogether {
			seal()
		}
	}
	for _, it := range items {
		add(it.batch)
	}
	for i := 0; i < len(items) && n > 0 && p.packer == nil; i++ {
		for _, b := range items[i].lane.ahead(sealTogether-n, p.patientSize()) {
			add(b)
		}
	}
	seal()
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

// unsealAhead is unseal of a batch that has not left yet.
func (b *batch) unsealAhead() {
	if b.sealed && b.aggregated && b.attempts == 0 && b.buf != nil {
		putBuffer(b.buf)
		b.unseal()
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
	if n := len(b.rares); cap(b.rares) > n+n/8 {
		b.rares = append(make([]rare, 0, n), b.rares...)
	}
}

// sealPacked is sealAll of one batch, whose records are compressed if that helps.
func (b *batch) sealPacked(k *packer) {
	b.sealed = true
	b.hashKey = b.meta[0].hash.String()
	if k.pack(b) || b.sealRaw() {
		return
	}
	b.data = b.builder.Seal(b.room(b.builder.Size()))
}

// room returns memory to seal n bytes into. The batch has it only while it is in
// flight: those that wait are many more.
func (b *batch) room(n int) []byte {
	if b.buf != nil {
		putBuffer(b.buf) // sealed anew, of fewer records
	}
	b.buf = getBuffer(n)
	return b.buf.b[:0]
}

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
	if b.buf != nil {
		putBuffer(b.buf)
		b.buf, b.data = nil, nil
	}
	if b.cost > maxPooledCost {
		return
	}
	clear(b.calls) // drops the references to what is the callers'
	clear(b.groups)
	clear(b.rares)
	b.builder.Reset()
	*b = batch{builder: b.builder, meta: b.meta[:0], calls: b.calls[:0], groups: b.groups[:0], rares: b.rares[:0]}
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
		a := b.arrival(i)
		to.addFrom(origin, number, &r, &a, unlimited, unlimited)
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
		a := b.arrival(i)
		if part == nil || !part.addFrom(origin, number, &r, &a, unlimited, size-len(outerKey)) {
			part = bp.heir(b)
			part.attempts, part.history = b.attempts, slices.Clone(b.history)
			part.addFrom(origin, number, &r, &a, unlimited, unlimited)
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
