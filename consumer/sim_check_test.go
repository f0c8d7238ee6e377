package consumer_test

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// simRules are what a history is held against, besides what always holds.
type simRules struct {
	rows    bool          // a worker shows by its row that it lives
	assigns bool          // a leader gives leases to workers, who wait for parents with them
	steals  bool          // leases of workers that live are taken without a word
	asked   bool          // leases are given to workers on request, who wait for parents with them
	peers   bool          // a worker that its peers do not hear loses its leases sooner
	calm    bool          // no faults: nothing may be delivered twice but for steals
	late    bool          // requests may come late, that to create a lease among them
	told    time.Duration // within which a worker hears, where rows tell that it lives, that somebody outside has taken its lease
	heal    time.Duration // the longest time that hash keys may be without a lease
	wake    time.Duration // the longest time from the end of the parents to a child's owner; 0: not looked at
	latest  bool          // the first leases begin at LATEST
	lag     time.Duration // of reads that are not consistent, at most
}

// simChecker goes through a history once.
type simChecker struct {
	h        *simHistory
	rules    simRules
	problems []string
	first    int // event of the first problem

	now     int // event
	records []simRecordState
	keys    map[string]*simKeyState
	shards  map[string]*simShardState
	leases  map[string]*simLeaseState
	current map[[2]string]int // the session of a process and shard
	blind   map[int]bool      // sessions that may not have seen the leases of parents
	dead    map[string]bool
	stopped map[string]bool
	beats   map[string]time.Duration // when a process last wrote its row
	incs    map[string]string        // processes by incarnation
	latest  map[string]string        // the newest process of a name
	over    map[int]bool             // sessions whose contexts have ended
	streams map[string]bool          // how keys of leases begin
	covered bool                     // all was, once
	hole    time.Duration            // since when hash keys have no lease; -1 if all have one
	sum     simSum
}

type simRecordState struct {
	delivered, acked, trimmed, required bool
	session                             int
}

type simKeyState struct {
	records []int
	next    int // all before it were delivered, or need not be
}

type simShardState struct {
	*simShardInfo
	came    int // records so far
	passed  int // by the checkpoint
	unacked int // required, retained and not acknowledged
	gone    bool
	astray  bool // it was read before its parents, by one who could not know
}

// simLeaseState is a lease as it is stored, and how it came to be so.
type simLeaseState struct {
	row     *simLease
	ended   time.Duration // when
	was     bool          // there was one before
	made    time.Duration // when
	taker   string        // process that took it last, "" if it has let it go
	written time.Duration // when that one's last write landed
	lapsed  time.Duration // after which its row was silent for too long, and the lease not written since; or -1
	stolen  map[string]time.Duration
	forced  map[string]time.Duration // who lost it to somebody outside, and by when it must have noticed
	rough   bool                     // it was stolen, or taken from one that seemed dead
	reset   int64                    // the counter that the last reset has left
	from    time.Duration
	fromSet bool // what came at from and later must be read
}

// simSum counts what happened.
type simSum struct {
	records, delivered, duplicates                int
	takenFree, takenExpired, stolen               int
	handedOver                                    int
	releases, ends, commits, creates              int
	crashes, stops, javaTakes, javaEnds, javaBack int
	healed, trimmedUnread                         int
	verdicts, resets, outside                     int // leases taken on a word of peers, resets, and what an administrator wrote
	asked, javaAsked, javaHandedOver              int // hand-overs of 3.x
	worstWake, worstFailover                      time.Duration
	longest                                       time.Duration
	mostCalls                                     int64
}

func (h *simHistory) check(rules simRules) *simChecker {
	c := &simChecker{
		h: h, rules: rules, first: -1, hole: -1, records: make([]simRecordState, len(h.records)),
		keys: map[string]*simKeyState{}, shards: map[string]*simShardState{}, leases: map[string]*simLeaseState{},
		current: map[[2]string]int{}, blind: map[int]bool{}, dead: map[string]bool{}, stopped: map[string]bool{},
		over: map[int]bool{}, streams: map[string]bool{}, beats: map[string]time.Duration{}, incs: map[string]string{}, latest: map[string]string{},
	}
	for id, s := range h.shards {
		c.shards[id] = &simShardState{simShardInfo: s}
		of, _ := consumer.SplitLeaseKey(id)
		c.streams[of] = true
	}
	for n := range h.records {
		r := &h.records[n]
		k := c.keys[r.user.key]
		if k == nil {
			k = new(simKeyState)
			c.keys[r.user.key] = k
		}
		k.records = append(k.records, n)
	}
	c.sum.records = len(h.records)
	for i := range h.events {
		c.now = i
		c.step(&h.events[i])
	}
	return c
}

func (c *simChecker) fail(format string, args ...any) {
	if c.first < 0 {
		c.first = c.now
	}
	if len(c.problems) < 10 {
		c.problems = append(c.problems, fmt.Sprintf("%v: ", c.h.events[c.now].at)+fmt.Sprintf(format, args...))
	}
}

func (c *simChecker) lease(key string) *simLeaseState {
	l := c.leases[key]
	if l == nil {
		l = &simLeaseState{lapsed: -1, stolen: map[string]time.Duration{}, forced: map[string]time.Duration{}}
		c.leases[key] = l
	}
	return l
}

func (c *simChecker) step(e *simEvent) {
	if c.hole >= 0 && e.at-c.hole > c.rules.heal {
		c.fail("some hash keys have had no lease for %v", e.at-c.hole)
		c.hole = e.at
	}
	switch e.kind {
	case simPut:
		s := c.shards[e.shard]
		s.came++
		if r := &c.records[e.n]; c.requires(s, e.at) {
			r.required = true
			s.unacked++
		}
	case simTrimmed:
		if r := &c.records[e.n]; !r.trimmed {
			r.trimmed = true
			if r.required && !r.acked {
				c.shards[e.shard].unacked--
				c.sum.trimmedUnread++
			}
		}
	case simShardGone:
		c.shards[e.shard].gone = true
	case simWrote:
		c.wrote(e)
	case simBegan:
		c.current[[2]string{e.who, e.shard}] = e.session
		c.blind[e.session] = c.h.workers[e.who].java > 0 && c.unseen(e.shard, e.at)
	case simDelivered:
		c.delivered(e)
	case simAcked:
		if r := &c.records[e.n]; !r.acked && !c.outlived(e) {
			r.acked = true
			if r.required && !r.trimmed {
				c.shards[e.shard].unacked--
			}
		}
	case simCrashed:
		c.dead[e.who] = true
		c.sum.crashes++
	case simStopped:
		c.dead[e.who], c.stopped[e.who] = true, true
		c.sum.stops++
	case simStarted:
		c.latest[c.h.workers[e.who].name] = e.who
	case simBeat:
		if last, ok := c.beats[e.who]; ok && e.at-last > c.h.workers[e.who].trust {
			// It has stopped to believe in its leases: one after the other it must
			// write them before it does again.
			for _, l := range c.leases {
				if l.taker == e.who && l.lapsed < 0 {
					l.lapsed = last
				}
			}
		}
		c.beats[e.who] = e.at
		if e.inc != "" {
			c.incs[e.inc] = e.who
		}
	case simGaveUp: // without all that was handled in its checkpoint
		if e.shard != "" {
			c.lease(e.shard).rough = true
			break
		}
		for _, l := range c.leases {
			l.rough = l.rough || l.taker == e.who
		}
	case simLeft:
		c.stopped[e.who] = true
	case simOver:
		c.over[e.session] = true
	case simStopping, simCalm:
	}
}

// finish looks at what is left when the fleet had the time to read everything.
func (c *simChecker) finish() {
	if last := c.h.events[len(c.h.events)-1].at; c.hole >= 0 && last-c.hole > c.rules.heal {
		c.fail("some hash keys have had no lease for %v in the end", last-c.hole)
	}
	for _, id := range slices.Sorted(maps.Keys(c.shards)) {
		if n := c.shards[id].unacked; n > 0 {
			c.fail("%d records of %s were never acknowledged", n, id)
		}
	}
}

// requires reports whether what comes to a shard now must be read.
func (c *simChecker) requires(s *simShardState, at time.Duration) bool {
	if !c.rules.latest {
		return true
	}
	l := c.lease(s.id)
	return l.fromSet && at >= l.from
}

// delivered checks that a record may be delivered (2, 3, 5 and 9 of the
// properties).
func (c *simChecker) delivered(e *simEvent) {
	c.sum.delivered++
	if c.dead[e.who] {
		c.fail("%s is dead, and is given record %d", e.who, e.n)
	}
	c.active(e)
	if c.outlived(e) {
		return
	}
	r := &c.records[e.n]
	rec := &c.h.records[e.n]
	if r.delivered {
		if r.session != e.session {
			c.sum.duplicates++
			if c.rules.calm && !c.lease(e.shard).rough {
				c.fail("record %d of %s is delivered to %s after session %d had it, without a fault", e.n, e.shard, e.who, r.session)
			}
		}
		return
	}
	r.delivered, r.session = true, e.session
	if c.blind[e.session] {
		c.shards[e.shard].astray = true
		return
	}
	k := c.keys[rec.user.key]
	for k.next < len(k.records) {
		if o := &c.records[k.records[k.next]]; !o.delivered && !o.trimmed && o.required {
			break
		}
		k.next++
	}
	if k.next < len(k.records) && k.records[k.next] < e.n && !c.astray(e.shard) {
		o := k.records[k.next]
		c.fail("record %d of key %q is delivered from %s before record %d of %s", e.n, rec.user.key, e.shard, o, c.h.records[o].shard)
	}
	for _, p := range c.shards[e.shard].parents {
		if n := c.shards[p].unacked; n > 0 {
			c.fail("record %d of %s is delivered while %d of its parent %s are not acknowledged", e.n, e.shard, n, p)
		}
	}
}

// outlived reports whether a session belongs to who has lost the lease before the shard
// was reset, and does not know yet.
func (c *simChecker) outlived(e *simEvent) bool {
	return c.h.tokens[e.session] < c.lease(e.shard).reset
}

// unseen reports whether a lease of an ancestor is so new that a read may miss it. The
// official library waits for parents that have leases, and its reads are not consistent.
func (c *simChecker) unseen(shard string, at time.Duration) bool {
	return slices.ContainsFunc(c.shards[shard].parents, func(p string) bool {
		l := c.leases[p]
		return l != nil && l.was && at-l.made < c.rules.lag+time.Second || c.unseen(p, at)
	})
}

// astray reports whether a shard, or an ancestor of it, was read before its parents.
func (c *simChecker) astray(shard string) bool {
	s := c.shards[shard]
	return s.astray || slices.ContainsFunc(s.parents, c.astray)
}

// active checks that who delivers may have the lease.
func (c *simChecker) active(e *simEvent) {
	id := c.h.workers[e.who]
	if id.java > 0 {
		return // it believes in a lease from when the answer came
	}
	if s, ok := c.current[[2]string{e.who, e.shard}]; ok && s != e.session {
		c.fail("session %d of %s goes on with %s beside session %d", e.session, e.who, e.shard, s)
	}
	l := c.lease(e.shard)
	switch stolen, ok := l.stolen[e.who]; {
	case l.taker == e.who:
		if age := e.at - c.alive(l, e.who); age > id.trust {
			c.fail("%s delivers from %s %v after its last write, and may believe in it for %v", e.who, e.shard, age, id.trust)
		}
	case !ok:
		c.fail("%s delivers from %s, whose lease %q has taken: %v", e.who, e.shard, l.taker, l.row)
	case e.at <= l.forced[e.who]: // it is to hear of it
	case e.at-stolen > id.trust:
		c.fail("%s delivers from %s, which was stolen, %v after its last write", e.who, e.shard, e.at-stolen)
	}
}

// wrote checks a write to the lease table (1, 4, 6, 7 and 8).
func (c *simChecker) wrote(e *simEvent) {
	l := c.lease(e.shard)
	before, after := e.before, e.after
	id := c.h.workers[e.who]
	shard := c.shards[e.shard]
	if shard == nil {
		c.fail("%s writes the lease of %s, which is no shard", e.who, e.shard)
		return
	}
	l.row = after
	defer c.cover(e)
	switch {
	case before == nil:
		c.sum.creates++
		if l.was && !c.rules.late {
			c.fail("%s makes the lease of %s anew", e.who, e.shard)
		}
		l.was, l.made, l.taker, l.reset = true, e.at, "", 0
		if after.counter != 0 || after.at.SequenceNumber != consumer.TrimHorizon && !after.at.IsSentinel() || after.ended() {
			c.fail("%s makes a lease for %s with %v", e.who, e.shard, after)
		}
		if after.at.SequenceNumber != consumer.Latest {
			c.require(l, shard, 0)
		} else if !c.rules.latest {
			c.fail("%s begins %s at its end", e.who, e.shard)
		}
		if l.taker = c.ownerOf(after); l.taker != "" {
			l.written = e.at
		}
		c.attributes(e, id)
		return
	case after == nil:
		if !before.ended() && !shard.gone {
			c.fail("%s deletes the lease of %s: %v", e.who, e.shard, before)
		}
		return
	}
	c.attributes(e, id)
	// The leader of 3.x asks the owner to hand the lease over.
	asked := (c.rules.assigns || id.admin) && before.checkpointOwner == "" && after.checkpointOwner != "" && after.checkpointOwner == before.owner &&
		after.counter == before.counter && after.at == before.at
	// The libraries of 2.x and 3.x store the children without moving the counter.
	meta := id.java > 0 && after.counter == before.counter && after.owner == before.owner && after.at == before.at
	if after.counter != before.counter+1 && !meta && !asked {
		c.fail("%s writes the counter of %s from %d to %d", e.who, e.shard, before.counter, after.counter)
	}
	switch {
	case e.reset:
	case after.at.Compare(before.at) >= 0:
	case id.java > 0:
		c.sum.javaBack++ // it begins at what it reads, which may be stale
	default:
		c.fail("%s moves the checkpoint of %s back from %v to %v", e.who, e.shard, before.at, after.at)
	}
	if after.inc != before.inc && after.owner == id.name && c.incs[after.inc] == "" {
		c.incs[after.inc] = e.who
	}
	if id.admin {
		c.sum.outside++
	}
	l.rough = l.rough || e.again
	switch owner := c.ownerOf(after); {
	case meta:
	case (e.reset || e.again) && owner == "" && l.taker == "":
	case id.admin && owner == "" && l.taker != "":
		l.rough = true
		c.force(e, l)
		l.taker, l.written = "", e.at
	case asked:
		if c.sum.asked++; id.java > 0 {
			c.sum.javaAsked++
		}
	case owner == "" && l.taker != "":
		if l.taker != e.who && !(id.java > 0 && before.owner == id.name) {
			c.fail("%s gives the lease of %s up, which %q has", e.who, e.shard, l.taker)
		}
		l.taker, l.written = "", e.at
		c.sum.releases++
	case owner != l.taker || c.rules.rows && after.inc != before.inc || c.rules.assigns && e.who != l.taker && e.who != owner:
		c.took(e, l, owner)
	case id.admin: // back to who has it
	case l.taker != e.who && !(id.java > 0 && (before.owner == id.name || before.checkpointOwner == id.name)):
		c.fail("%s writes the lease of %s, which %q has: %v -> %v", e.who, e.shard, l.taker, before, after)
	default:
		l.written, l.lapsed = e.at, -1
	}
	if after.since != "" && !l.fromSet {
		// What came before, but after the first iterator was given, may or may not be
		// read: when the iterator was given only the stream knows.
		c.require(l, shard, e.at)
	}
	switch {
	case e.reset:
		c.reset(e, l, shard)
	case after.at != before.at:
		c.sum.commits++
		c.passed(e, shard)
	}
	if after.ended() && !before.ended() {
		c.ended(e, l, shard, id)
	}
}

// ownerOf returns the process that a row gives the lease to, "" for none. While it
// is handed over it is still the old owner's.
func (c *simChecker) ownerOf(row *simLease) string {
	name := row.owner
	if row.checkpointOwner != "" {
		name = row.checkpointOwner
	}
	if name == "" {
		return ""
	}
	switch who := c.incs[row.inc]; {
	case who != "" && c.h.workers[who].name == name && (c.rules.rows || !c.dead[who]):
		return who
	case who != "" && c.rules.rows:
		return "" // who handed it over did not know the process, which does not take it for its own
	}
	return c.latest[name]
}

// alive returns when the owner of a lease has last shown that it lives.
func (c *simChecker) alive(l *simLeaseState, who string) time.Duration {
	switch {
	case !c.rules.rows:
		return l.written
	case l.lapsed >= 0:
		return l.lapsed
	}
	return c.beats[who]
}

// took looks at how a lease was come by. The owner may have taken it, or have been
// given it.
func (c *simChecker) took(e *simEvent, l *simLeaseState, owner string) {
	id := c.h.workers[owner]
	holder := cmp.Or(e.before.checkpointOwner, e.before.owner)
	age := e.at - c.alive(l, l.taker)
	if id.java > 0 {
		c.sum.javaTakes++
	}
	switch {
	case l.taker != "" && e.who == l.taker:
		if c.sum.handedOver++; c.h.workers[e.who].java > 0 {
			c.sum.javaHandedOver++
		}
	case l.taker == "" || e.before.owner == "":
		c.sum.takenFree++
		for _, p := range c.shards[e.shard].parents {
			if pl := c.leases[p]; pl != nil && pl.row != nil && id.java == 0 && !pl.row.ended() && !c.rules.assigns && !c.rules.asked {
				c.fail("%s takes the lease of %s, whose parent %s has not ended", e.who, e.shard, p)
			}
		}
		c.woke(e)
	case c.h.workers[e.who].admin:
		c.sum.stolen++
		l.rough = true
		c.force(e, l)
	case age >= c.h.workers[e.who].wait:
		c.sum.takenExpired++
		c.sum.worstFailover = max(c.sum.worstFailover, age)
		l.rough = true
	case holder == id.name, // a process of the same name, that was started again
		holder == c.h.workers[e.who].name && c.dead[l.taker]: // and lets go of what the one before had
		l.rough = true
	case c.rules.peers && (c.dead[l.taker] || slices.Contains(e.paused, l.taker) || c.over[c.current[[2]string{l.taker, e.shard}]]):
		// It does not act, or has given the lease up as it did not.
		c.sum.verdicts++
		l.rough = true
	case c.rules.rows && (c.stopped[l.taker] || c.latest[c.h.workers[l.taker].name] != l.taker):
		l.rough = true // its row is gone, or another process's
	default:
		c.sum.stolen++
		l.rough = true
		if by := c.h.workers[e.who]; !c.rules.steals && by.java == 0 {
			c.fail("%s takes the lease of %s from %s, which lived %v ago", e.who, e.shard, l.taker, age)
		}
		l.stolen[l.taker] = c.alive(l, l.taker)
	}
	if e.before.ended() && c.h.workers[e.who].java == 0 {
		c.fail("%s takes the lease of %s, which has ended", e.who, e.shard)
	}
	if want := e.before.switches + 1; holder != "" && holder != id.name && e.after.switches != want && e.who != l.taker {
		c.fail("%s takes the lease of %s and leaves %d switches of owner, want %d", e.who, e.shard, e.after.switches, want)
	}
	l.taker, l.written, l.lapsed = owner, e.at, -1
}

// force notes who loses a lease to somebody outside. Without a write to it that is told by
// the leader, and there may be none for a while.
func (c *simChecker) force(e *simEvent, l *simLeaseState) {
	l.stolen[l.taker] = c.alive(l, l.taker)
	if c.rules.rows {
		l.forced[l.taker] = e.at + c.rules.told
	}
}

// woke looks at how soon a child has found a reader.
func (c *simChecker) woke(e *simEvent) {
	last := time.Duration(-1)
	for _, p := range c.shards[e.shard].parents {
		if pl := c.leases[p]; pl != nil && pl.row != nil && pl.row.ended() {
			last = max(last, pl.ended)
		}
	}
	if last < 0 || e.before != nil && e.before.counter > 0 {
		return
	}
	c.sum.worstWake = max(c.sum.worstWake, e.at-last)
	if c.rules.wake > 0 && e.at-last > c.rules.wake {
		c.fail("%s takes the lease of the child %s %v after its parents' end", e.who, e.shard, e.at-last)
	}
}

// reset has a shard read from elsewhere.
func (c *simChecker) reset(e *simEvent, l *simLeaseState, s *simShardState) {
	c.sum.resets++
	l.reset, s.passed, s.unacked = e.after.counter, 0, 0
	for _, n := range s.simShardInfo.records[:s.came] {
		r, rec := &c.records[n], &c.h.records[n]
		if r.required = !e.passes(rec, c.h.began); !r.required {
			continue
		}
		r.delivered, r.acked = false, false
		if k := c.keys[rec.user.key]; !r.trimmed {
			s.unacked++
			k.next = min(k.next, rec.ord)
		}
	}
}

// require notes from when on a shard must be read.
func (c *simChecker) require(l *simLeaseState, shard *simShardState, from time.Duration) {
	l.from, l.fromSet = from, true
	for _, n := range shard.simShardInfo.records[:shard.came] {
		if r := &c.records[n]; !r.required && c.h.records[n].put >= l.from {
			r.required = true
			if !r.acked && !r.trimmed {
				shard.unacked++
			}
		}
	}
}

// passed checks that a checkpoint passes what is acknowledged, and nothing else.
func (c *simChecker) passed(e *simEvent, s *simShardState) {
	for s.passed < s.came {
		n := s.simShardInfo.records[s.passed]
		if c.h.records[n].at.Compare(e.after.at) > 0 {
			return
		}
		if r := &c.records[n]; r.required && !r.acked && !r.trimmed {
			c.fail("%s moves the checkpoint of %s to %v, past record %d, which is not acknowledged", e.who, e.shard, e.after.at, n)
		}
		s.passed++
	}
}

// ended checks the end of a shard.
func (c *simChecker) ended(e *simEvent, l *simLeaseState, s *simShardState, id simIdentity) {
	l.ended = e.at
	c.sum.ends++
	if id.java > 0 {
		c.sum.javaEnds++
	}
	if len(s.children) == 0 {
		c.fail("%s ends %s, which is open", e.who, e.shard)
	}
	for _, child := range s.children {
		if o := c.leases[child]; (o == nil || !o.was) && !c.shards[child].gone {
			c.fail("%s ends %s before there is a lease of its child %s", e.who, e.shard, child)
		}
	}
}

// cover checks that each hash key is in the range of a lease that will be read.
func (c *simChecker) cover(e *simEvent) {
	if e.before != nil && e.after != nil && e.before.ended() == e.after.ended() {
		return
	}
	whole := true
	for stream := range c.streams {
		whole = whole && simCovered(func(yield func(*simLease) bool) {
			for key, l := range c.leases {
				if of, _ := consumer.SplitLeaseKey(key); l.row != nil && of == stream && !yield(l.row) {
					return
				}
			}
		})
	}
	switch {
	case whole:
		if c.hole >= 0 {
			c.sum.healed++
		}
		c.covered, c.hole = true, -1
	case c.covered && c.hole < 0:
		c.hole = e.at
	}
}

// simCovered reports whether leases that will be read cover all hash keys.
func simCovered(leases iter.Seq[*simLease]) bool {
	var ranges []hashkey.Range
	for l := range leases {
		if !l.ended() && l.ranged {
			ranges = append(ranges, l.keys)
		}
	}
	slices.SortFunc(ranges, func(a, b hashkey.Range) int { return a.Start.Compare(b.Start) })
	var next hashkey.Key
	for _, r := range ranges {
		if next.Less(r.Start) {
			return false
		}
		if r.End == hashkey.Max {
			return true
		}
		if after := r.End.Add(1); next.Less(after) {
			next = after
		}
	}
	return false
}

// simAttributes are those of a lease that the official library knows.
var simAttributes = map[string]string{
	"leaseKey": "S", "leaseOwner": "S", "leaseCounter": "N", "ownerSwitchesSinceCheckpoint": "N", "checkpoint": "S",
	"checkpointSubSequenceNumber": "N", "pendingCheckpoint": "S", "pendingCheckpointSubSequenceNumber": "N",
	"pendingCheckpointState": "B", "parentShardId": "SS", "childShardIds": "SS", "startingHashKey": "S", "endingHashKey": "S",
	"throughputKBps": "N", "checkpointOwner": "S", "entityType": "S", "streamName": "S", "shardId": "S",
}

// attributes checks that a lease is one for the official library too (8).
func (c *simChecker) attributes(e *simEvent, id simIdentity) {
	if id.java > 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(e.after.item)) {
		v := e.after.item[name]
		kind := strings.TrimPrefix(fmt.Sprintf("%T", v), "*types.AttributeValueMember")
		if want := simAttributes[name]; kind != want && !strings.HasPrefix(name, "g_") {
			c.fail("%s writes %s of %s as %s, want %q", e.who, name, e.shard, kind, want)
		}
		if s, ok := v.(*types.AttributeValueMemberS); ok && s.Value == "" {
			c.fail("%s writes an empty %s of %s", e.who, name, e.shard)
		}
	}
	for _, name := range []string{"leaseCounter", "checkpoint", "checkpointSubSequenceNumber", "ownerSwitchesSinceCheckpoint"} {
		if e.after.item[name] == nil {
			c.fail("%s leaves the lease of %s without %s", e.who, e.shard, name)
		}
	}
	if e.after.at.Validate() != nil || e.after.at.IsSentinel() && e.after.at.SubSequenceNumber != 0 {
		c.fail("%s writes the checkpoint %v of %s", e.who, e.after.at, e.shard)
	}
	if e.before != nil && e.after.at != e.before.at && (e.after.switches > c.switches(e) || e.after.pending) {
		c.fail("%s moves the checkpoint of %s and leaves %d switches, pending: %v", e.who, e.shard, e.after.switches, e.after.pending)
	}
	if e.before != nil && !slices.Equal(e.before.parents, e.after.parents) {
		c.fail("%s changes the parents of %s", e.who, e.shard)
	}
}

// switches returns how many changes of owner a write may leave that moves the
// checkpoint: the end of a hand-over is one.
func (c *simChecker) switches(e *simEvent) int64 {
	if e.before.checkpointOwner != "" && e.after.checkpointOwner == "" {
		return 1
	}
	return 0
}

// report returns the problems, with what came before the first of them.
func (c *simChecker) report(tail int) string {
	var b strings.Builder
	for _, p := range c.problems {
		fmt.Fprintln(&b, p)
	}
	if tail > 0 && c.first >= 0 {
		about := c.h.events[c.first]
		var lines []string
		for i := c.first; i >= 0 && len(lines) < tail; i-- {
			if e := c.h.events[i]; e.kind != simPut && (e.shard == about.shard || e.shard == "" || cmp.Compare(i, c.first) == 0) {
				lines = append(lines, e.String())
			}
		}
		slices.Reverse(lines)
		fmt.Fprintln(&b, strings.Join(lines, "\n"))
	}
	return b.String()
}
