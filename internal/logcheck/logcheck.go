// Package logcheck holds what the clients of a stream saw against what a stream
// promises.
//
// A [History] is every put with its answer, every read with its records, and in
// the end the whole of every shard. [History.Check] returns what of it cannot
// be. It makes ten checks:
//
//  1. Every acknowledged record is there once, in its shard, under its number.
//  2. A record whose put had no answer is there at most once.
//  3. Nothing is there that nobody put, or whose put was refused.
//  4. In one shard, a record acknowledged before another was put stands before it.
//  5. Every read is a contiguous piece of the log from where it began.
//  6. Reads never go back: what a finished read has shown, or a put has
//     acknowledged, every later read shows that covers its place.
//  7. No record of a shard is outside its starting and ending number, and a
//     child's numbers are above those of its parents.
//  8. Every record lies in the shard that owns its hash key.
//  9. The time of arrival never falls along a shard.
//  10. What has left by retention is a prefix of the shard, and old enough.
//
// Since a server says where it put each record, no search is needed: the checks
// take O(n log n). The package uses nothing of the server's, not even its
// arithmetic, so that it cannot share a mistake with what it checks.
package logcheck

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Outcome is what a client knows of its put.
type Outcome uint8

// The outcomes.
const (
	Unknown Outcome = iota // no answer, or one that leaves it open
	Acked                  // the record is stored
	Refused                // the record is not stored
)

// Hash is a hash key, the most significant byte first.
type Hash [16]byte

// Put is one record given to a stream.
type Put struct {
	Value string // the record's data, unlike every other's
	Hash  Hash   // of its partition key, or the explicit one

	// Start and End are when it was sent and answered, on a clock that never
	// goes back and that all of the history shares.
	Start, End time.Duration

	Outcome    Outcome
	Shard, Seq string // of the answer, if it was acknowledged
}

// Record is a record as it is read.
type Record struct {
	Value   string
	Seq     string // a decimal number
	Arrival time.Time
}

// Read is one answer to a reader.
type Read struct {
	Shard string
	// After is the number behind which the read began, whether or not there is a
	// record of that number; empty if it began with the oldest record.
	After string
	// Somewhere says that it is not known where the read began: at its first
	// record, if it has any.
	Somewhere bool
	Records   []Record
	// Tip says that nothing was behind the answer.
	Tip        bool
	Start, End time.Duration // as of a [Put]
}

// Shard describes a shard.
type Shard struct {
	ID       string
	Parents  []string
	From, To Hash   // what it owns, inclusive
	Starting string // number; empty if it is not known
	Ending   string // number; empty while the shard is open

	// Horizon says that records may have left that were put until then. The zero
	// Horizon says that none may.
	Horizon time.Duration
}

// History is what clients saw of one stream.
type History struct {
	Puts   []Put
	Reads  []Read
	Shards []Shard             // every shard that there was
	Final  map[string][]Record // by shard: all that is there in the end, in order
}

// Violation is a promise that was broken.
type Violation struct {
	Check int // from 1 to 10, as the package says
	Text  string
}

func (v Violation) String() string { return fmt.Sprintf("check %d: %s", v.Check, v.Text) }

// entry is a record of a shard that was seen by anybody.
type entry struct {
	seq, value string
	arrival    time.Time // zero if nobody read it
	final      bool
	read       bool
}

type place struct{ shard, seq string }

type checker struct {
	h      *History
	puts   map[string]*Put
	shards map[string]*Shard
	found  map[string][]place // in the end, by value
	logs   map[string][]entry // by shard, in order of number: all that was ever seen
	bad    []Violation
}

func (c *checker) report(check int, format string, args ...any) {
	c.bad = append(c.bad, Violation{check, fmt.Sprintf(format, args...)})
}

// Check returns the promises that h shows broken, none if it can be the history
// of a stream.
func (h *History) Check() []Violation {
	c := &checker{
		h: h, puts: make(map[string]*Put, len(h.Puts)), shards: make(map[string]*Shard, len(h.Shards)),
		found: make(map[string][]place, len(h.Puts)), logs: make(map[string][]entry, len(h.Shards)),
	}
	for i := range h.Puts {
		c.puts[h.Puts[i].Value] = &h.Puts[i]
	}
	for i := range h.Shards {
		c.shards[h.Shards[i].ID] = &h.Shards[i]
	}
	for _, id := range c.ids() {
		c.collect(id)
	}
	c.collectAnswers()
	c.checkPuts()
	for _, id := range c.ids() {
		c.checkLog(id)
	}
	c.checkFamilies()
	c.checkReads()
	return c.bad
}

// ids returns the shards of the final log in order.
func (c *checker) ids() []string {
	ids := make([]string, 0, len(c.h.Final))
	for id := range c.h.Final {
		ids = append(ids, id)
	}
	for id := range c.logs {
		if _, ok := c.h.Final[id]; !ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// collect takes over the final log of a shard.
func (c *checker) collect(id string) {
	records := c.h.Final[id]
	log := make([]entry, 0, len(records))
	for i, r := range records {
		if i > 0 && compare(records[i-1].Seq, r.Seq) >= 0 {
			c.report(5, "numbers fall in %s: %s, then %s", id, records[i-1].Seq, r.Seq)
		}
		log = append(log, entry{seq: r.Seq, value: r.Value, arrival: r.Arrival, final: true})
		c.found[r.Value] = append(c.found[r.Value], place{id, r.Seq})
	}
	c.logs[id] = log
}

// collectAnswers adds to the logs what only puts and reads have shown.
func (c *checker) collectAnswers() {
	more := make(map[string][]entry)
	for i := range c.h.Puts {
		if p := &c.h.Puts[i]; p.Outcome == Acked {
			more[p.Shard] = append(more[p.Shard], entry{seq: p.Seq, value: p.Value})
		}
	}
	for i := range c.h.Reads {
		r := &c.h.Reads[i]
		for _, rec := range r.Records {
			more[r.Shard] = append(more[r.Shard], entry{seq: rec.Seq, value: rec.Value, arrival: rec.Arrival, read: true})
		}
	}
	for id, entries := range more {
		log := append(c.logs[id], entries...)
		// Stable: what is final comes first of its number.
		slices.SortStableFunc(log, func(a, b entry) int { return compare(a.seq, b.seq) })
		merged := log[:0]
		for _, e := range log {
			if len(merged) == 0 || merged[len(merged)-1].seq != e.seq {
				merged = append(merged, e)
				continue
			}
			last := &merged[len(merged)-1]
			switch {
			case last.value != e.value && last.final && !e.read: // told as moved
			case last.value != e.value:
				c.report(1, "number %s of %s is %q and %q", e.seq, id, last.value, e.value)
			case !e.arrival.IsZero() && !last.arrival.IsZero() && !e.arrival.Equal(last.arrival):
				c.report(9, "%q of %s arrived at %v and at %v", e.value, id, last.arrival, e.arrival)
			}
			if last.arrival.IsZero() {
				last.arrival = e.arrival
			}
			last.read = last.read || e.read
		}
		c.logs[id] = merged
	}
}

// checkPuts makes checks 1, 2 and 3.
func (c *checker) checkPuts() {
	for i := range c.h.Puts {
		p := &c.h.Puts[i]
		at := c.found[p.Value]
		switch {
		case p.Outcome == Refused && len(at) > 0:
			c.report(3, "%q was refused and is in %s at %s", p.Value, at[0].shard, at[0].seq)
		case p.Outcome == Acked && len(at) == 0:
			if s := c.shards[p.Shard]; s == nil || p.Start > s.Horizon || s.Horizon == 0 {
				c.report(1, "lost: %q was acknowledged in %s at %s", p.Value, p.Shard, p.Seq)
			} // else check 10 looks at its place
		case len(at) > 1:
			check := 1
			if p.Outcome == Unknown {
				check = 2
			}
			c.report(check, "doubled: %q is at %v", p.Value, at)
		case p.Outcome == Acked && at[0] != (place{p.Shard, p.Seq}):
			c.report(1, "moved: %q was acknowledged in %s at %s and is in %s at %s", p.Value, p.Shard, p.Seq, at[0].shard, at[0].seq)
		}
	}
}

// checkLog looks at one shard by itself: checks 3, 4, 6, 8, 9 and 10.
func (c *checker) checkLog(id string) {
	log, shard := c.logs[id], c.shards[id]
	latest := time.Time{}
	gone := false // whether what follows in the loop below should have been there
	for i := len(log) - 1; i >= 0; i-- {
		e := &log[i]
		p := c.puts[e.value]
		if p == nil {
			c.report(3, "invented: %q in %s at %s", e.value, id, e.seq)
		}
		if p != nil && shard != nil && (bytes.Compare(p.Hash[:], shard.From[:]) < 0 || bytes.Compare(p.Hash[:], shard.To[:]) > 0) {
			c.report(8, "wrong shard: %q with hash key %x is in %s", e.value, p.Hash, id)
		}
		if e.final {
			if gone {
				c.report(10, "%q of %s is there at %s, though what stood behind it has left", e.value, id, e.seq)
				gone = false // once is enough
			}
			continue
		}
		gone = true
		left := p != nil && shard != nil && shard.Horizon > 0 && p.Start <= shard.Horizon
		switch {
		case left:
		case e.read:
			c.report(6, "read and gone: %q of %s at %s", e.value, id, e.seq)
			gone = false
		default: // told by checkPuts
			gone = false
		}
	}
	for i := range log {
		if at := log[i].arrival; !at.IsZero() {
			if at.Before(latest) {
				c.report(9, "arrival falls in %s at %s: %v, then %v", id, log[i].seq, latest, at)
			}
			latest = at
		}
	}
	c.checkOrder(id, log)
}

// checkOrder makes check 4. From the end of the log to its start: the earliest
// answer seen so far must not be earlier than the sending of what stands before.
func (c *checker) checkOrder(id string, log []entry) {
	var first *Put
	for _, e := range slices.Backward(log) {
		p := c.puts[e.value]
		if p == nil {
			continue // reported as invented
		}
		if first != nil && first.End < p.Start {
			c.report(4, "order: %q was acknowledged before %q was put, and stands behind it in %s", first.Value, p.Value, id)
		}
		if p.Outcome == Acked && (first == nil || p.End < first.End) {
			first = p
		}
	}
}

// checkFamilies makes check 7.
func (c *checker) checkFamilies() {
	for i := range c.h.Shards {
		s := &c.h.Shards[i]
		log := c.logs[s.ID]
		if len(log) == 0 {
			continue
		}
		first, last := log[0].seq, log[len(log)-1].seq
		if s.Starting != "" && compare(first, s.Starting) < 0 {
			c.report(7, "before the start: %s starts at %s and holds %s", s.ID, s.Starting, first)
		}
		if s.Ending != "" && compare(last, s.Ending) > 0 {
			c.report(7, "after the end: %s ended at %s and holds %s", s.ID, s.Ending, last)
		}
		for _, id := range s.Parents {
			if above := c.logs[id]; len(above) > 0 && compare(first, above[len(above)-1].seq) <= 0 {
				c.report(7, "below the parent: %s begins with %s, its parent %s ends with %s", s.ID, first, id, above[len(above)-1].seq)
			}
		}
	}
}

// checkReads makes checks 5 and 6.
func (c *checker) checkReads() {
	byShard := make(map[string][]*Read)
	for i := range c.h.Reads {
		r := &c.h.Reads[i]
		byShard[r.Shard] = append(byShard[r.Shard], r)
	}
	for id, reads := range byShard {
		known := c.known(id, reads)
		slices.SortFunc(reads, func(a, b *Read) int { return cmp.Compare(a.Start, b.Start) })
		highest := "" // of what was known before the read at hand began
		for _, r := range reads {
			for len(known) > 0 && known[0].at < r.Start {
				if highest == "" || compare(known[0].seq, highest) > 0 {
					highest = known[0].seq
				}
				known = known[1:]
			}
			c.checkRead(r, highest)
		}
	}
}

// sight is when somebody knew that a record is there.
type sight struct {
	at  time.Duration
	seq string
}

// known returns what answers have shown of a shard, in order of time.
func (c *checker) known(id string, reads []*Read) []sight {
	var all []sight
	for i := range c.h.Puts {
		if p := &c.h.Puts[i]; p.Outcome == Acked && p.Shard == id {
			all = append(all, sight{p.End, p.Seq})
		}
	}
	for _, r := range reads {
		if n := len(r.Records); n > 0 {
			all = append(all, sight{r.End, r.Records[n-1].Seq})
		}
	}
	slices.SortFunc(all, func(a, b sight) int { return cmp.Compare(a.at, b.at) })
	return all
}

func (c *checker) checkRead(r *Read, highest string) {
	log := c.logs[r.Shard]
	find := func(seq string) (int, bool) {
		return slices.BinarySearchFunc(log, seq, func(e entry, seq string) int { return compare(e.seq, seq) })
	}
	next := 0
	switch shard := c.shards[r.Shard]; {
	case r.After != "":
		at, ok := find(r.After)
		if next = at; ok {
			next++
		}
		if shard == nil || shard.Horizon == 0 || len(r.Records) == 0 {
			break
		}
		// What stood next may have left before the read.
		if first, _ := find(r.Records[0].Seq); first > next && c.mayHaveLeft(log[next:first], shard) {
			next = first
		}
	case r.Somewhere || shard != nil && shard.Horizon > 0:
		if len(r.Records) > 0 {
			next, _ = find(r.Records[0].Seq)
		}
	}
	began := r.After
	if began == "" {
		began = "the start"
	}
	for _, got := range r.Records {
		if next >= len(log) || log[next].seq != got.Seq {
			want := "nothing"
			if next < len(log) {
				want = log[next].seq
			}
			c.report(5, "read with a gap: %q at %s after %s of %s, where the log has %s", got.Value, got.Seq, began, r.Shard, want)
			return
		}
		next++
	}
	if !r.Tip || highest == "" || r.Somewhere && len(r.Records) == 0 {
		return
	}
	if shard := c.shards[r.Shard]; len(r.Records) == 0 && shard != nil && shard.Horizon > 0 {
		if at, _ := find(highest); at < len(log) && c.mayHaveLeft(log[min(next, at):at+1], shard) {
			return // it was all past retention
		}
	}
	reached := r.After
	if n := len(r.Records); n > 0 {
		reached = r.Records[n-1].Seq
	}
	if reached == "" || compare(highest, reached) > 0 {
		c.report(6, "reads go back: a read of %s from %s on ended at the tip without %s, which was there before", r.Shard, began, highest)
	}
}

// mayHaveLeft reports whether all of the records are old enough to have left.
func (c *checker) mayHaveLeft(log []entry, s *Shard) bool {
	for _, e := range log {
		if p := c.puts[e.value]; p == nil || p.Start > s.Horizon {
			return false
		}
	}
	return true
}

// compare compares decimal numbers without leading zeros.
func compare(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}
