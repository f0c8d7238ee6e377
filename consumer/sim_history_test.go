package consumer_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// simHistory is all that happened in a run, in the order in which it did. What is
// noted is noted in one step with what it tells of, or on the safe side of it.
type simHistory struct {
	began time.Time

	mu      sync.Mutex // guards all below
	records []simRecord
	perKey  map[string]int
	shards  map[string]*simShardInfo
	events  []simEvent
	workers map[string]simIdentity
	unacked int // required or not, trimmed or not: see settled
	acked   []bool
	trimmed []bool
	skipped []bool                                 // a reset has passed it
	resets  map[string]map[consumer.Checkpoint]int // what was asked for, by shard: how often it was seen to be done
	since   map[string]int64                       // the counter that the last reset of a shard has left
	tokens  map[int]int64                          // of sessions: the counter with which the lease was come by
}

// simRecord is a user record that was put.
type simRecord struct {
	shard string
	at    consumer.Checkpoint
	user  simUser
	ord   int // among those of its key
	put   time.Duration
}

type simShardInfo struct {
	id       string // key of its lease
	parents  []string
	children []string
	keys     hashkey.Range
	records  []int
}

// simIdentity is a process.
type simIdentity struct {
	name  string        // in leases
	admin bool          // it is no worker, and changes leases of others
	java  int           // version of the official library whose rules it follows, or 0
	trust time.Duration // for which it may believe in a lease after a write
	wait  time.Duration // after which it may take a lease that nobody has written
}

type simKind uint8

const (
	simPut     simKind = iota // record n
	simTrimmed                // record n
	simShardGone
	simWrote
	simBegan     // a processor, session n
	simDelivered // record n to a session
	simAcked     // record n by a session
	simOver      // a session's context has ended
	simCrashed   // a worker
	simStopping  // a worker is asked to stop
	simStopped   // and has
	simCalm      // no faults from here on
	simStarted   // a process
	simBeat      // a process has written its own row
	simLeft      // a process has deleted its own row
	simGaveUp    // a lease, or all of a worker, may be let go as it is: by the official library, with lanes that a pause has stopped, or when a stop takes too long
)

type simEvent struct {
	at            time.Duration
	kind          simKind
	who           string // process
	shard         string
	n             int
	session       int
	before, after *simLease
	inc           string   // of a process that has written its row
	paused        []string // processes that do not act, for want of peers, as a lease changes hands
	again         bool     // perhaps it does, and the place is the same
	reset         bool     // it says from where a shard is read
}

// simLease is a row of the lease table.
type simLease struct {
	owner, checkpointOwner, inc string
	counter, switches           int64
	at                          consumer.Checkpoint
	pending                     bool
	parents, children           []string
	keys                        hashkey.Range
	ranged                      bool
	since                       string
	item                        simItem
}

func newSimHistory() *simHistory {
	return &simHistory{began: time.Now(), perKey: map[string]int{}, shards: map[string]*simShardInfo{}, workers: map[string]simIdentity{}, resets: map[string]map[consumer.Checkpoint]int{}, since: map[string]int64{}, tokens: map[int]int64{}}
}

func (h *simHistory) note(e simEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noteLocked(e)
}

func (h *simHistory) noteLocked(e simEvent) {
	e.at = time.Since(h.began)
	h.events = append(h.events, e)
}

func (h *simHistory) addShard(sh *simShard, parents []*simShard) {
	h.mu.Lock()
	defer h.mu.Unlock()
	info := &simShardInfo{id: sh.key, keys: sh.keys}
	h.shards[sh.key] = info
	for _, p := range parents {
		info.parents = append(info.parents, p.key)
		h.shards[p.key].children = append(h.shards[p.key].children, sh.key)
	}
}

func (h *simHistory) put(shard string, at consumer.Checkpoint, u simUser) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.records)
	h.records = append(h.records, simRecord{shard, at, u, h.perKey[u.key], time.Since(h.began)})
	h.acked, h.trimmed, h.skipped = append(h.acked, false), append(h.trimmed, false), append(h.skipped, false)
	h.unacked++
	h.perKey[u.key]++
	h.shards[shard].records = append(h.shards[shard].records, n)
	h.noteLocked(simEvent{kind: simPut, shard: shard, n: n})
	return n
}

func (h *simHistory) trim(records []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range records {
		if !h.acked[n] && !h.skipped[n] {
			h.unacked--
		}
		h.trimmed[n] = true
		h.noteLocked(simEvent{kind: simTrimmed, shard: h.records[n].shard, n: n})
	}
}

// started notes a new process.
func (h *simHistory) started(who string, id simIdentity) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.workers[who] = id
	h.noteLocked(simEvent{kind: simStarted, who: who})
}

// beat notes that a process has written its own row.
func (h *simHistory) beat(w simWrite) {
	if kind, ok := w.before["entityType"].(*types.AttributeValueMemberS); ok && kind.Value == "WORKER_METRIC_STATS" && w.after == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.workers[w.who].name == w.key {
			h.noteLocked(simEvent{kind: simLeft, who: w.who})
		}
		return
	}
	if kind, ok := w.after["entityType"].(*types.AttributeValueMemberS); !ok || kind.Value != "WORKER_METRIC_STATS" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.workers[w.who].name != w.key {
		return
	}
	e := simEvent{kind: simBeat, who: w.who}
	if m, ok := w.after["properties"].(*types.AttributeValueMemberM); ok {
		if inc, ok := m.Value["g_inc"].(*types.AttributeValueMemberS); ok {
			e.inc = inc.Value
		}
	}
	h.noteLocked(e)
}

func (h *simHistory) shardGone(id string) { h.note(simEvent{kind: simShardGone, shard: id}) }

// wrote notes a write to the lease table. paused tells which workers do not act, for
// want of peers.
func (h *simHistory) wrote(w simWrite, paused func() []string) {
	e := simEvent{kind: simWrote, who: w.who, shard: w.key, before: simLeaseOf(w.before), after: simLeaseOf(w.after)}
	if e.before == nil && e.after == nil {
		return
	}
	if e.before != nil && e.after != nil && (e.before.owner != e.after.owner || e.before.checkpointOwner != e.after.checkpointOwner) {
		e.paused = paused()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if times, asked := h.resets[e.shard][e.place()]; asked && e.free() {
		h.resets[e.shard][e.place()] = times + 1
		// One that leaves the place as it was looks like any other last write.
		e.again = e.before.at == e.after.at && e.before.since == e.after.since
		e.reset = !e.again
	}
	if e.before == nil {
		delete(h.since, e.shard) // it counts from 0
	}
	if e.reset {
		h.since[e.shard] = e.after.counter
		h.resetLocked(&e)
	}
	h.noteLocked(e)
}

// place returns the checkpoint that a write has stored.
func (e *simEvent) place() consumer.Checkpoint {
	if e.after == nil {
		return consumer.Checkpoint{}
	}
	return e.after.at
}

// free reports whether a write is to a lease that nobody has, or lets one go.
func (e *simEvent) free() bool {
	if e.before == nil || e.after == nil {
		return false
	}
	had := cmp.Or(e.before.checkpointOwner, e.before.owner)
	return had == "" || had != cmp.Or(e.after.checkpointOwner, e.after.owner)
}

// passes reports whether a reset leaves a record out.
func (e *simEvent) passes(r *simRecord, began time.Time) bool {
	if e.after.at.SequenceNumber != consumer.Latest {
		return r.at.Compare(e.after.at) <= 0
	}
	ms, _ := strconv.ParseInt(e.after.since, 10, 64)
	return began.Add(r.put).Before(time.UnixMilli(ms))
}

// resetLocked makes those records count as unread that are to be read, again or at all.
func (h *simHistory) resetLocked(e *simEvent) {
	for _, n := range h.shards[e.shard].records {
		if h.trimmed[n] {
			continue
		}
		was := h.acked[n] || h.skipped[n]
		h.skipped[n] = e.passes(&h.records[n], h.began)
		h.acked[n] = h.acked[n] && h.skipped[n]
		switch is := h.acked[n] || h.skipped[n]; {
		case is && !was:
			h.unacked--
		case was && !is:
			h.unacked++
		}
	}
}

// reset notes that somebody is about to have a shard read from elsewhere. The returned
// function tells whether that was seen to be done.
func (h *simHistory) reset(shard string, at consumer.Checkpoint) (done func() bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.resets[shard] == nil {
		h.resets[shard] = map[consumer.Checkpoint]int{}
	}
	before := h.resets[shard][at]
	h.resets[shard][at] = before
	return func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.resets[shard][at] > before
	}
}

// somewhere returns a place to read a shard from.
func (h *simHistory) somewhere(shard string, rng *rand.Rand) consumer.Checkpoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	records := h.shards[shard].records
	switch k := rng.IntN(6); {
	case k == 0:
		return consumer.Checkpoint{SequenceNumber: consumer.Latest}
	case k == 1 || len(records) == 0:
		return consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}
	}
	return h.records[records[rng.IntN(len(records))]].at
}

// delivered notes records that a processor is given.
func (h *simHistory) delivered(who string, session int, shard string, records ...int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range records {
		h.noteLocked(simEvent{kind: simDelivered, who: who, session: session, shard: shard, n: n})
	}
}

// ack notes records that a processor is about to acknowledge.
func (h *simHistory) ack(who string, session int, shard string, records ...int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range records {
		h.noteLocked(simEvent{kind: simAcked, who: who, session: session, shard: shard, n: n})
		if !h.acked[n] && h.tokens[session] >= h.since[shard] {
			h.acked[n] = true
			if !h.trimmed[n] && !h.skipped[n] {
				h.unacked--
			}
		}
	}
}

// begin notes a new processor of a shard and returns the number of its session. The
// token is the counter with which the worker has come by the lease: a processor that is
// made anew by who does not know yet that it has lost it has the old one.
func (h *simHistory) begin(who, shard string, token int64) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	session := len(h.events)
	h.tokens[session] = token
	h.noteLocked(simEvent{kind: simBegan, who: who, shard: shard, session: session})
	return session
}

// numberOf returns which record a processor was given: its data is the number.
func simNumberOf(data []byte) int {
	n, err := strconv.Atoi(string(data))
	if err != nil {
		return -1
	}
	return n
}

func (h *simHistory) record(n int) (simRecord, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n < 0 || n >= len(h.records) {
		return simRecord{}, false
	}
	return h.records[n], true
}

// missing returns how many records are retained and were not acknowledged.
func (h *simHistory) missing() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unacked
}

// deliveries returns how many records processors were given so far.
func (h *simHistory) deliveries() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.events {
		if h.events[i].kind == simDelivered {
			n++
		}
	}
	return n
}

// simLeaseOf reads a row, or returns nil if it is none of a lease.
func simLeaseOf(item simItem) *simLease {
	if item == nil {
		return nil
	}
	if e, ok := item["entityType"].(*types.AttributeValueMemberS); ok && e.Value != "LEASE" {
		return nil
	}
	text := func(name string) string {
		if v, ok := item[name].(*types.AttributeValueMemberS); ok {
			return v.Value
		}
		return ""
	}
	number := func(name string) int64 {
		if v, ok := item[name].(*types.AttributeValueMemberN); ok {
			n, err := strconv.ParseInt(v.Value, 10, 64)
			if err != nil {
				panic(err)
			}
			return n
		}
		return 0
	}
	set := func(name string) []string {
		if v, ok := item[name].(*types.AttributeValueMemberSS); ok {
			return slices.Sorted(slices.Values(v.Value))
		}
		return nil
	}
	l := &simLease{
		owner: text("leaseOwner"), checkpointOwner: text("checkpointOwner"), inc: text("g_inc"),
		counter: number("leaseCounter"), switches: number("ownerSwitchesSinceCheckpoint"),
		at:      consumer.Checkpoint{SequenceNumber: text("checkpoint"), SubSequenceNumber: number("checkpointSubSequenceNumber")},
		pending: item["pendingCheckpoint"] != nil, parents: set("parentShardId"), children: set("childShardIds"), item: item,
	}
	if v, ok := item["g_latest_since"].(*types.AttributeValueMemberN); ok {
		l.since = v.Value
	}
	start, err1 := hashkey.Parse(text("startingHashKey"))
	end, err2 := hashkey.Parse(text("endingHashKey"))
	if err1 == nil && err2 == nil {
		l.keys, l.ranged = hashkey.Range{Start: start, End: end}, true
	}
	return l
}

func (l *simLease) ended() bool { return l.at.SequenceNumber == consumer.ShardEnd }

func (l *simLease) String() string {
	if l == nil {
		return "none"
	}
	return fmt.Sprintf("owner %q (%.4s, from %q) counter %d at %v", l.owner, l.inc, l.checkpointOwner, l.counter, l.at)
}

var simKindNames = [...]string{"put", "trimmed", "shard gone", "wrote", "began", "delivered", "acked", "over", "crashed", "stopping", "stopped", "calm", "started", "beat", "left", "gave up"}

func (e simEvent) String() string {
	s := fmt.Sprintf("%9.3fs %-9s %-6s %s", e.at.Seconds(), simKindNames[e.kind], e.who, e.shard)
	switch e.kind {
	case simWrote:
		s += fmt.Sprintf(": %v -> %v", e.before, e.after)
	case simDelivered, simAcked:
		s += fmt.Sprintf(" session %d record %d", e.session, e.n)
	case simPut, simTrimmed:
		s += fmt.Sprintf(" record %d", e.n)
	case simBegan, simOver:
		s += fmt.Sprintf(" session %d", e.session)
	case simShardGone, simCrashed, simStopping, simStopped, simCalm, simStarted, simBeat, simLeft, simGaveUp:
	}
	return s
}
