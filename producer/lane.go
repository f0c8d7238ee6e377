package producer

import (
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
)

// lane holds the records of one shard, in the order in which they were put.
type lane struct {
	shardID string // empty for the lane that waits for the first shard map
	keys    hashkey.Range
	// shared is the explicit hash key of all records without a key that this
	// lane takes: one string for a whole aggregated record.
	shared    hashkey.Key
	sharedEHK string
	limit     *limiter // of the shard
	number    uint64   // of all lanes that the producer ever had; for stamps
	auto      bool     // the stream chooses the shard: nothing is predicted
	maxCount  int      // user records in a Kinesis record
	several   bool     // may have several Kinesis records in flight
	distinct  bool     // but not two with one partition key

	_ [64]byte // the collector and every Put read what is above

	mu       sync.Mutex // guards all below
	next     uint64     // number of the next record, if records are stamped
	open     *batch     // takes records; nil if there is none
	records  int64      // not finished, in flight included
	bytes    int64      // their cost
	received uint64     // records that Put added
	sealed   []*batch   // full ones, oldest first; all are older than open
	units    int        // size of aggregated records, in PUT payload units
	target   int        // the same in bytes, and no more than the shard's limit allows
	fill     int        // the same before compression
	ratio    float64    // of compression, in bytes for one; 0 without

	busy      bool   // a set of batches is in flight, or its callbacks run
	answered  bool   // the set that was in flight has come back; callbacks run
	fenced    bool   // nothing may leave until the resharder says so
	moving    bool   // nothing leaves any more: its records are about to move
	gone      bool   // the shard map has replaced it; records go elsewhere
	noted     bool   // the collector has been told to look
	urgent    bool   // a PutSync waits: do not linger
	failures  int    // attempts in a row that failed
	notBefore int64  // earliest next attempt, in nanoseconds since the start
	lastShard string // of the Kinesis records acknowledged last
	lastSeq   string // the greatest sequence number of those
	setShard  string // as lastShard and lastSeq, with the set in flight
	setSeq    string

	// landed is the shard on which the last set was stored although this
	// lane's shard was predicted; the resharder looks for it. disputed are the
	// aggregated records that were stored elsewhere: the resharder decides
	// whether that counts.
	landed   string
	disputed []item
	refused  []item // came while it was busy, of keys that are stopped
}

func newLane(shardID string, keys hashkey.Range, limit *limiter, s *sizer, r *rand.Rand) *lane {
	l := &lane{shardID: shardID, keys: keys, limit: limit, units: firstUnits}
	l.fitTargetLocked(s)
	// Any key of the range would do. A random one spreads the records without
	// a key over the children after splits.
	k := hashkey.Key{Hi: keys.Start.Hi, Lo: keys.Start.Lo}
	if span := keys.End.Hi - keys.Start.Hi; span > 1 {
		k = hashkey.Key{Hi: keys.Start.Hi + 1 + r.Uint64N(span-1), Lo: r.Uint64()}
	}
	l.shared, l.sharedEHK = k, k.String()
	return l
}

// added is what add has to tell the collector or the caller.
type added struct {
	ok    bool // false: the lane is gone, look the record's lane up again
	full  bool // a batch became full
	awake bool // the collector must look at the lane
}

// add appends a record. One that comes from the spool with a stamp of its own
// brings that as from, which is nil otherwise.
func (l *lane) add(p *Producer, r *aggregation.Record, x *arrival, urgent bool, from *origin) (a added) {
	cost := recordCost(r, p.batches.overhead)
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		return a
	}
	if p.stopped != nil && l.refusesLocked(p, r, x) {
		l.mu.Unlock()
		a.ok = true
		return a
	}
	changed := urgent
	if l.auto {
		from = nil // copies are told apart by keys, and these have no bearing here
	}
	if from != nil {
		// The lanes divide the order of the spool among them, as those do that
		// take over from one lane.
		part := *from
		part.stamp.Keys = l.keys
		from = &part
	}
	if l.open != nil && !l.open.addTo(from, r, x, l.maxCount, l.fill) {
		l.sealLocked(&p.sizes)
		a.full, changed = true, true
	}
	if l.open == nil {
		l.openLocked(p, x, from == nil)
		l.open.addTo(from, r, x, l.maxCount, l.fill)
		changed = true
	}
	if len(l.open.meta) >= l.maxCount {
		l.sealLocked(&p.sizes)
		a.full, changed = true, true
	}
	if from == nil {
		l.next++
	}
	l.records++
	l.bytes += cost
	l.received++
	l.urgent = l.urgent || urgent
	a.ok = true
	a.awake = changed && l.noteLocked()
	l.mu.Unlock()
	return a
}

// refusesLocked reports whether the key of a record is stopped. Then it is one that
// has failed, and settled after what is in flight: one callback of the lane after
// another.
func (l *lane) refusesLocked(p *Producer, r *aggregation.Record, x *arrival) bool {
	if r.ExplicitHashKey == l.sharedEHK || !p.stopped.has(keyOfRecord{hash: x.hash, name: r.PartitionKey}) {
		return false
	}
	b := p.batches.get(p.now())
	b.add(r, x, 1, 0)
	l.records++
	l.bytes += b.cost
	l.received++
	l.refused = append(l.refused, item{lane: l, batch: b, verdict: failed, err: ErrEarlierFailed, refused: true})
	if !l.busy && !l.moving {
		refused := l.landLocked() // busy again
		p.wg.Go(func() { p.settle(l, refused) })
	}
	return true
}

// addRun appends records without a key, of which the first is x, as long as they have
// none and fit into the open batch, or a new one if there is none. It returns how many
// it took; with none the lane has another batch for the next that comes.
func (l *lane) addRun(p *Producer, rs []UserRecord, x *arrival) (n int, a added) {
	r := aggregation.Record{PartitionKey: outerKey, ExplicitHashKey: l.sharedEHK}
	x.hash = l.shared
	cost := int64(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return 0, a
	}
	changed := l.open == nil
	if changed {
		l.openLocked(p, x, true)
	}
	for n < len(rs) && !a.full && keyless(&rs[n]) {
		r.Data = rs[n].Data
		if l.open.addTo(nil, &r, x, l.maxCount, l.fill) {
			n++
			x.index++
			cost += recordCost(&r, p.batches.overhead)
			if len(l.open.meta) < l.maxCount {
				continue
			}
		}
		l.sealLocked(&p.sizes)
		a.full, changed = true, true
	}
	l.next += uint64(n)
	l.records += int64(n)
	l.bytes += cost
	l.received += uint64(n)
	a.ok = true
	a.awake = changed && l.noteLocked()
	return n, a
}

// openLocked begins a batch for the record x. With stamp it has one of this lane, if
// records have stamps.
func (l *lane) openLocked(p *Producer, x *arrival, stamp bool) {
	since := x.born
	if x.spool != 0 {
		since = p.now() // it has waited on disk, not for others
	}
	l.open = p.batches.get(since)
	if stamp && p.cfg.DuplicateStamps && !l.auto {
		l.open.builder.Stamp(p.stampLocked(l))
	}
	l.open.ratio, l.open.limit = l.ratio, l.target
}

// sealLocked takes no more records into the open batch.
func (l *lane) sealLocked(s *sizer) {
	l.sealed = append(l.sealed, l.open)
	l.open = nil
	if len(l.sealed) > 1 {
		l.growLocked(s)
	}
}

// noteLocked reports whether the collector must be told to look, and takes
// note that it will be. A busy lane is looked at when that ends. So is a fenced one,
// but its records may expire before: the collector must know that there are any.
func (l *lane) noteLocked() bool {
	if l.noted || l.busy {
		return false
	}
	l.noted = true
	return true
}

// unfenceLocked lets the lane send again, unless it has become disputed since
// the resharder looked: then the next shard map decides.
func (l *lane) unfenceLocked() {
	if l.landed == "" {
		l.fenced = false
	}
}

func (l *lane) isFenced() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fenced
}

// load returns how long what waits or is in flight will take, by the limit of
// the shard; the unit is that of an ordinary shard's bytes.
func (l *lane) load() float64 {
	l.mu.Lock()
	queued := float64(l.bytes)
	l.mu.Unlock()
	if rate := l.limit.limited(); rate > 0 {
		queued *= max(1, shardBytes/rate)
	}
	return queued
}

// patientSize is the least size of an aggregated record that is worth a wait for
// those of other lanes.
const patientSize = 64 << 10

// behindPart is the part of RecordMaxBufferedTime for which a lane that is behind
// waits for others that are. Of two in flight only one waits for the other, by their
// numbers: so the times at which they come back draw nearer, until they leave together.
const behindPart = 50

func (p *Producer) patientSize() int {
	if p.cfg.gathers {
		return 1
	}
	return patientSize
}

// nearlyFull reports whether the lane has one aggregated record, which is worth
// the company of others, and is nearly full or full.
func (l *lane) nearlyFull(p *Producer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nearlyFullLocked(p)
}

func (l *lane) nearlyFullLocked(p *Producer) bool {
	if l.busy || l.fenced || l.gone {
		return false
	}
	b := l.headLocked()
	return b != nil && len(l.sealed) < 2 && b.wireSize() >= max(p.patientSize(), l.target/4*3)
}

// hasten has a nearly full lane send now.
func (l *lane) hasten(p *Producer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.nearlyFullLocked(p) {
		return false
	}
	l.urgent = l.urgent || len(l.sealed) == 0
	return true
}

// look says whether the lane can send now, and if not, when to look again; 0
// means when told to. If it can, large says whether what it sends is worth the company
// of others, and patient until when it need not leave.
func (l *lane) look(p *Producer, now, linger int64) (ready bool, at int64, large bool, patient int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noted = false
	ready, at = l.readyLocked(now, linger)
	if ready && len(l.sealed) > 0 && !l.urgent && l.sealed[0].attempts == 0 && l.sealed[0].wireSize() >= p.patientSize() {
		large = true
		if len(l.sealed) == 1 {
			patient = l.sealed[0].since + linger
		}
	}
	return ready, at, large, patient
}

// behind reports whether the lane will soon be free to send something full that
// follows what is in flight: when its callbacks have run, or if it ranks above the
// lane with the number rank.
func (l *lane) behind(rank uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.busy && !l.fenced && !l.gone && len(l.sealed) > 0 && (l.answered || l.number > rank)
}

// answer notes that there is an answer to what is in flight.
func (l *lane) answer() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered = true
}

func (l *lane) readyLocked(now, linger int64) (ready bool, at int64) {
	if l.busy || l.fenced || l.gone {
		return false, 0
	}
	switch {
	case len(l.sealed) > 0 || l.open != nil && l.urgent:
		at = l.notBefore
	case l.open != nil:
		at = max(l.open.since+linger, l.notBefore)
	default:
		return false, 0
	}
	if at <= now {
		size := l.headLocked().wireSize()
		if chunk := l.limit.chunk(); chunk > 0 && l.headLocked().divisible() {
			size = min(size, chunk)
		}
		at = l.limit.when(now, size)
	}
	return at <= now, at
}

// fitLocked cuts the oldest batch, if the shard's limit leaves it too large.
func (l *lane) fitLocked(bp *batchPool) {
	chunk := l.limit.chunk()
	b := l.headLocked()
	if chunk == 0 || b == nil || b.wireSize() <= chunk || !b.divisible() {
		return
	}
	if len(l.sealed) == 0 {
		l.open = nil // nothing is behind it
	} else {
		l.sealed = l.sealed[1:]
	}
	if b.ratio > 0 {
		b.limit = min(b.limit, chunk-len(outerKey))
		chunk = int(float64(chunk) * b.ratio * fillMargin)
	}
	l.unshiftLocked(bp.cut(b, chunk))
}

// take hands out what may be in flight next: the oldest batch, or with
// aggregation disabled as many as have distinct partition keys or none. It marks the
// lane busy. ok is false if the first does not fit the room.
func (l *lane) take(p *Producer, items []item, now, linger int64, room room, distinct map[string]struct{}) (_ []item, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ready, _ := l.readyLocked(now, linger); !ready {
		return items, true
	}
	clear(distinct)
	sent := 0
	for room.entries > 0 {
		l.fitLocked(&p.batches)
		b := l.headLocked()
		if b == nil {
			break
		}
		size := b.wireSize()
		if l.busy && l.limit.when(now, size) > now {
			break
		}
		if !room.fits(size) {
			if !l.busy {
				return items, false
			}
			break
		}
		if l.distinct {
			// Records without a key, which have the lane's own hash key, have
			// no order among them.
			if r := b.first(); r.ExplicitHashKey != l.sharedEHK {
				if _, twice := distinct[r.PartitionKey]; twice {
					break
				}
				distinct[r.PartitionKey] = struct{}{}
			}
		}
		l.popLocked()
		l.busy = true
		l.limit.take(size)
		sent += size
		items = append(items, item{lane: l, batch: b})
		room.entries--
		room.bytes -= size
		room.underWay -= size
		room.empty = false
		if !l.several {
			break
		}
	}
	if l.headLocked() == nil {
		l.shrinkLocked(&p.sizes, sent)
	} else {
		l.fitTargetLocked(&p.sizes)
	}
	return items, true
}

// ahead returns the first of the full batches behind what is in flight, at most so
// many and of at least so many bytes each, to be sealed by who has the lane in flight:
// until it has landed they change for nobody else.
func (l *lane) ahead(most, size int) []*batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.busy || l.several {
		return nil
	}
	n := 0
	for n < min(most, len(l.sealed)) {
		if b := l.sealed[n]; b.sealed || len(b.meta) == 1 || b.wireSize() < size {
			break
		}
		n++
	}
	return slices.Clone(l.sealed[:n])
}

// room is what is left in a request.
type room struct {
	entries, bytes int
	empty          bool // nothing is in the request yet: of what may be in flight any size fits
	underWay       int  // what more may be in flight
}

// fits reports whether a Kinesis record of a size does.
func (r *room) fits(size int) bool {
	return (size <= r.bytes || r.empty) && size <= r.underWay
}

// headLocked returns the oldest batch, or nil.
func (l *lane) headLocked() *batch {
	if len(l.sealed) > 0 {
		return l.sealed[0]
	}
	return l.open
}

// popLocked removes the oldest batch.
func (l *lane) popLocked() {
	if len(l.sealed) > 0 {
		l.sealed[0] = nil
		l.sealed = l.sealed[1:]
		return
	}
	l.open = nil
	l.urgent = false
}

// unshiftLocked puts batches before all others.
func (l *lane) unshiftLocked(bs []*batch) {
	if len(bs) > 0 {
		l.sealed = slices.Concat(bs, l.sealed)
	}
}

// takeExpired hands out the batches at the head whose oldest record was put
// before the time given, and marks the lane busy if there are any. A disputed
// one is the first of all; what is stored of it is not cut, so it goes when its
// youngest record does.
func (l *lane) takeExpired(before int64) (items []item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy || l.moving {
		return nil
	}
	if len(l.disputed) > 0 {
		if slices.ContainsFunc(l.disputed, func(it item) bool {
			return slices.ContainsFunc(it.batch.meta, func(m meta) bool { return m.born >= before })
		}) {
			return nil
		}
		l.busy = true
		items = l.takeDisputedLocked(items)
	}
	for b := l.headLocked(); b != nil && b.oldest < before; b = l.headLocked() {
		l.popLocked()
		l.busy = true
		items = append(items, item{lane: l, batch: b})
	}
	return items
}

// takeAll hands out everything that is not in flight and marks the lane busy
// if that is anything.
func (l *lane) takeAll() (items []item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy || l.moving {
		return nil
	}
	items = l.takeDisputedLocked(items)
	for b := l.headLocked(); b != nil; b = l.headLocked() {
		l.popLocked()
		items = append(items, item{lane: l, batch: b})
	}
	l.busy = len(items) > 0
	return items
}

// takeDisputedLocked hands out what is disputed, as not stored.
func (l *lane) takeDisputedLocked(items []item) []item {
	for i := range l.disputed {
		items = append(items, item{lane: l, batch: l.disputed[i].batch})
	}
	l.disputed = nil
	return items
}

// lastOf returns the number that was acknowledged last, if it is of the shard.
func (l *lane) lastOf(shardID string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lastShard != shardID {
		return ""
	}
	return l.lastSeq
}

// forget drops what was acknowledged last.
func (l *lane) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastShard, l.lastSeq, l.setShard, l.setSeq = "", "", "", ""
}

// acknowledge notes the sequence number of a stored Kinesis record. It reports
// whether that is no greater than those before it in the same shard, whose greatest
// is after. The ones of a set in flight have no order among them.
func (l *lane) acknowledge(shardID, seq string) (after string, regressed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	regressed = shardID == l.lastShard && seqno.Compare(seq, l.lastSeq) <= 0
	if shardID != l.setShard || seqno.Compare(seq, l.setSeq) > 0 {
		l.setShard, l.setSeq = shardID, seq
	}
	return l.lastSeq, regressed
}

// inherit takes over the last acknowledgement of a lane that this one replaces. Of
// several it keeps one of its own shard, if there is one, and the greatest.
func (l *lane) inherit(shardID, seq string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own, had := shardID == l.shardID, l.lastShard == l.shardID
	if l.lastSeq == "" || own && !had || own == had && seqno.Compare(seq, l.lastSeq) > 0 {
		l.lastShard, l.lastSeq = shardID, seq
		l.setShard, l.setSeq = shardID, seq
	}
}

// landLocked ends the flight of a set, unless it returns records that were refused
// meanwhile: these are to be settled.
func (l *lane) landLocked() (refused []item) {
	refused, l.refused = l.refused, nil
	l.busy, l.answered = len(refused) > 0, false
	l.lastShard, l.lastSeq = l.setShard, l.setSeq
	return refused
}
