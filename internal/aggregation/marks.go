package aggregation

import (
	"cmp"
	"slices"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
)

const (
	// MarkLife is how long a mark outlives the last record with its stamp.
	MarkLife = 7 * 24 * time.Hour

	// MaxMarksSize is the most bytes that Marks take when they are stored.
	MaxMarksSize = 16 << 10

	// maxLanes bounds the memory of Marks. More could not be stored: a lane
	// takes eight bytes and more.
	maxLanes = 2048

	// maxMarks bounds those of one lane. A lane that has more has been divided
	// among more shards than that, all of which are one now, or its stamps are
	// made up.
	maxMarks = 256

	// sweepSeconds is the time between two searches for marks to forget.
	sweepSeconds = 3600

	// maxHoles is how many holes a mark keeps. Those of the least numbers go
	// first; what comes there after all passes for a copy.
	maxHoles = 8
)

// Verdict says what a reader of a shard does with a user record.
type Verdict int

const (
	// Live is a record to hand to the application.
	Live Verdict = iota
	// Duplicate is a copy of a record that came before.
	Duplicate
	// Foreign is a record whose hash key is outside the shard's range. Its
	// producer has sent it again, to the shard that it belongs to.
	Foreign
)

// Marks is what the reader of one shard remembers of stamps: for each lane of
// each producer, and each part of the shard's range, the greatest sequence
// that has come, and a few holes, the last numbers below it that have not. A
// record with a stamp is a copy if it is not greater and in no hole.
//
// That is sound because the records of a lane are stored for the first time in
// their order, within the range that the stamp names; what comes out of order
// has come before. The holes are for a service that does not keep its side:
// Kinesis does not promise that of two records that are put in quick
// succession, one after the other's acknowledgement, the later one gets the
// greater sequence number. Without holes a reader would drop the earlier one.
//
// Those two are aggregated records. What comes late lies between two of them,
// so the numbers that one leaves out are no hole: they were stored before it,
// or given up, or lie outside of its range. They may be many, half of all after
// a split, and would drive the holes out that matter.
//
// Marks belong to a position in the shard: they know the records before it,
// and no later one. Who stores a position stores the Marks of that position
// beside it, in one write, and who goes back to a position takes its Marks.
// Marks that know of more make live records look like copies; Marks that know
// of less let copies through. Inside an aggregated record the position of the
// Marks is its beginning.
//
// Marks are not safe for concurrent use.
type Marks struct {
	keys    hashkey.Range
	lanes   map[laneID]*laneMarks
	newest  int64 // the latest arrival of a stamp, in seconds since 1970
	swept   int64 // newest when the old were forgotten last
	evicted uint64

	lastID laneID
	last   *laneMarks // of lastID: an aggregated record holds one lane
}

type laneID struct {
	producer [8]byte
	lane     uint64
}

func (a laneID) compare(b laneID) int {
	return cmp.Or(slices.Compare(a.producer[:], b.producer[:]), cmp.Compare(a.lane, b.lane))
}

// laneMarks are the marks of one lane.
type laneMarks struct {
	seen  int64  // arrival of the last record with the stamp
	marks []mark // in the order of their ranges, which do not overlap
}

// mark says that the records with keys in a range have come, up to a sequence,
// but for those in the holes.
type mark struct {
	keys     hashkey.Range
	sequence uint64
	holes    []hole // by number; each mark has a slice of its own
}

// hole is a run of numbers that have not come, both ends included. Between two
// holes at least one number has.
type hole struct{ from, to uint64 }

// numbers are that of a record, and that of the first record of its aggregated
// record. In the range of the stamp no number between the two comes in another
// aggregated record for the first time.
type numbers struct{ first, sequence uint64 }

func numbersOf(s *Stamp) numbers {
	return numbers{s.Sequence - min(s.Offset, s.Sequence), s.Sequence}
}

// newMark returns the mark of a range that a first record has come to. Those
// before its aggregated record may be about to.
func newMark(keys hashkey.Range, s numbers) mark {
	m := mark{keys: keys, sequence: s.sequence}
	if s.first > 0 {
		m.holes = []hole{{0, s.first - 1}}
	}
	return m
}

// over returns the mark for another range.
func (m mark) over(keys hashkey.Range) mark {
	return mark{keys, m.sequence, slices.Clone(m.holes)}
}

// raise notes a number beyond all that have come.
func (m *mark) raise(s numbers) {
	if s.first > m.sequence+1 {
		if len(m.holes) == maxHoles {
			m.holes = append(m.holes[:0], m.holes[1:]...)
		}
		m.holes = append(m.holes, hole{m.sequence + 1, s.first - 1})
	}
	m.sequence = s.sequence
}

// misses reports whether a number not beyond those that have come is in a hole.
func (m *mark) misses(sequence uint64) bool {
	return slices.ContainsFunc(m.holes, func(h hole) bool { return h.from <= sequence && sequence <= h.to })
}

// fill notes a number that is in a hole.
func (m *mark) fill(s numbers) {
	var left []hole
	for _, h := range m.holes {
		if h.from < s.first {
			left = append(left, hole{h.from, min(h.to, s.first-1)})
		}
		if h.to > s.sequence {
			left = append(left, hole{max(h.from, s.sequence+1), h.to})
		}
	}
	m.holes = left[max(len(left)-maxHoles, 0):]
}

// NewMarks returns the Marks of a shard with the given range at its beginning,
// where they know what the parents' Marks knew at the parents' ends: each mark
// narrowed to the shard's range, those of several parents side by side. A
// shard without parents, or with parents that nobody has read, begins with
// none.
func NewMarks(keys hashkey.Range, parents ...*Marks) *Marks {
	m := &Marks{keys: keys, lanes: make(map[laneID]*laneMarks)}
	for _, p := range parents {
		m.newest = max(m.newest, p.newest)
		m.swept = max(m.swept, p.swept)
		m.evicted += p.evicted
		for id, old := range p.lanes {
			for _, k := range old.marks {
				if part, ok := intersect(k.keys, keys); ok {
					l := m.lane(id)
					l.seen = max(l.seen, old.seen)
					l.inherit(k.over(part))
				}
			}
		}
	}
	return m
}

// Keys returns the shard's range.
func (m *Marks) Keys() hashkey.Range { return m.keys }

// Len returns the number of marks.
func (m *Marks) Len() (n int) {
	for _, l := range m.lanes {
		n += len(l.marks)
	}
	return n
}

// Evicted returns how many lanes were forgotten, here and in the parents,
// because there were too many, or too many marks of one. Copies of their records
// may come through.
func (m *Marks) Evicted() uint64 { return m.evicted }

// Clone returns a copy that shares nothing with m.
func (m *Marks) Clone() *Marks {
	c := *m
	c.lanes = make(map[laneID]*laneMarks, len(m.lanes))
	for id, l := range m.lanes {
		own := &laneMarks{seen: l.seen}
		for _, k := range l.marks {
			own.marks = append(own.marks, k.over(k.keys))
		}
		c.lanes[id] = own
	}
	c.last = nil
	return &c
}

// Admit decides about the next user record of the shard, whose hash key is k
// and whose stamp is s, nil if it has none. at is when the Kinesis record
// arrived in the stream: marks age by that clock, so that a reader may stand
// still for as long as it likes.
//
// The range is looked at first, and a record outside of it leaves no mark.
func (m *Marks) Admit(s *Stamp, k hashkey.Key, at time.Time) Verdict {
	if !m.keys.Contains(k) {
		return Foreign
	}
	if s == nil {
		return Live
	}
	part, ok := intersect(s.Keys, m.keys)
	if !ok || !part.Contains(k) {
		return Live // no producer of ours stamps a record so
	}
	m.tick(at.Unix())
	l := m.lane(laneID{s.Producer, s.Lane})
	l.seen = max(l.seen, at.Unix())
	i, ok := l.find(k)
	switch {
	case ok && s.Sequence <= l.marks[i].sequence:
		if !l.marks[i].misses(s.Sequence) {
			return Duplicate
		}
		l.fill(i, part, numbersOf(s))
	case ok && len(l.marks) == 1 && l.marks[0].keys == part:
		// As it is between reshards.
		l.marks[0].raise(numbersOf(s))
	default:
		l.raise(part, numbersOf(s))
	}
	if len(l.marks) > maxMarks {
		delete(m.lanes, m.lastID)
		m.last = nil
		m.evicted++
	}
	return Live
}

// lane returns the marks of a lane, and makes room for a new one.
func (m *Marks) lane(id laneID) *laneMarks {
	if m.last != nil && m.lastID == id {
		return m.last
	}
	l := m.lanes[id]
	if l == nil {
		if len(m.lanes) >= maxLanes {
			m.evict(maxLanes / 16) // not one: it sorts all of them
		}
		l = new(laneMarks)
		m.lanes[id] = l
	}
	m.lastID, m.last = id, l
	return l
}

// tick moves the clock, and now and then forgets what is old.
func (m *Marks) tick(now int64) {
	m.newest = max(m.newest, now)
	if m.newest-m.swept < sweepSeconds {
		return
	}
	m.swept = m.newest
	m.forget()
}

// forget drops the lanes that have not been heard of for MarkLife.
func (m *Marks) forget() {
	m.last = nil
	for id, l := range m.lanes {
		if m.newest-l.seen > int64(MarkLife/time.Second) {
			delete(m.lanes, id)
		}
	}
}

// evict drops the n lanes that have not been heard of for longest.
func (m *Marks) evict(n int) {
	m.last = nil
	ids := m.sorted()
	slices.SortStableFunc(ids, func(a, b laneID) int { return cmp.Compare(m.lanes[a].seen, m.lanes[b].seen) })
	for _, id := range ids[:min(n, len(ids))] {
		delete(m.lanes, id)
		m.evicted++
	}
}

// sorted returns the lanes in the order in which they are stored.
func (m *Marks) sorted() []laneID {
	ids := make([]laneID, 0, len(m.lanes))
	for id := range m.lanes {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, laneID.compare)
	return ids
}

// find returns the mark whose range holds k.
func (l *laneMarks) find(k hashkey.Key) (i int, ok bool) {
	if len(l.marks) == 1 {
		return 0, l.marks[0].keys.Contains(k)
	}
	i, ok = slices.BinarySearchFunc(l.marks, k, func(m mark, k hashkey.Key) int {
		switch {
		case m.keys.End.Less(k):
			return -1
		case k.Less(m.keys.Start):
			return 1
		}
		return 0
	})
	return i, ok
}

// raise notes that records with keys in r have come up to a sequence. Where a
// greater one is noted, that stands: a late copy of an aggregated record from
// before a reshard names a wider range than those that came after.
func (l *laneMarks) raise(r hashkey.Range, s numbers) {
	var out joined
	gap := func(from, to hashkey.Key) { out.put(newMark(hashkey.Range{Start: from, End: to}, s)) }
	// from is where the part of r begins that is not in out yet.
	from, rest := r.Start, true
	for _, m := range l.marks {
		part, meets := intersect(m.keys, r)
		if !meets {
			if rest && r.End.Less(m.keys.Start) {
				gap(from, r.End)
				rest = false
			}
			out.put(m)
			continue
		}
		if m.keys.Start.Less(part.Start) {
			out.put(m.over(hashkey.Range{Start: m.keys.Start, End: part.Start.Sub(1)}))
		}
		if from.Less(part.Start) {
			gap(from, part.Start.Sub(1))
		}
		raised := m.over(part)
		if s.sequence > m.sequence {
			raised.raise(s)
		}
		out.put(raised)
		if part.End.Less(m.keys.End) {
			out.put(m.over(hashkey.Range{Start: part.End.Add(1), End: m.keys.End}))
		}
		rest = part.End != r.End
		from = part.End.Add(1)
	}
	if rest {
		gap(from, r.End)
	}
	l.marks = out
}

// fill notes that a record with a key in r has come that mark i misses. Of the
// rest of its range the stamp says nothing.
func (l *laneMarks) fill(i int, r hashkey.Range, s numbers) {
	m := l.marks[i]
	part, _ := intersect(m.keys, r)
	filled := m.over(part)
	filled.fill(s)
	parts := []mark{filled}
	if m.keys.Start.Less(part.Start) {
		parts = slices.Insert(parts, 0, m.over(hashkey.Range{Start: m.keys.Start, End: part.Start.Sub(1)}))
	}
	if part.End.Less(m.keys.End) {
		parts = append(parts, m.over(hashkey.Range{Start: part.End.Add(1), End: m.keys.End}))
	}
	l.join(slices.Replace(l.marks, i, i+1, parts...))
}

// inherit takes over a mark of a parent. Where it lies over one that is there,
// which takes parents that overlap, that one stands.
func (l *laneMarks) inherit(k mark) {
	if slices.ContainsFunc(l.marks, func(m mark) bool { _, meets := intersect(m.keys, k.keys); return meets }) {
		return
	}
	marks := append(slices.Clone(l.marks), k)
	slices.SortFunc(marks, func(a, b mark) int { return a.keys.Start.Compare(b.keys.Start) })
	l.join(marks)
}

// join makes marks, which are in order, those of the lane.
func (l *laneMarks) join(marks []mark) {
	var out joined
	for _, m := range marks {
		out.put(m)
	}
	l.marks = out
}

// joined is marks in order. Two that touch and say the same are one.
type joined []mark

func (j *joined) put(m mark) {
	if n := len(*j); n > 0 {
		last := &(*j)[n-1]
		if last.sequence == m.sequence && last.keys.Precedes(m.keys) && slices.Equal(last.holes, m.holes) {
			last.keys.End = m.keys.End
			return
		}
	}
	*j = append(*j, m)
}

// intersect returns the common part of two ranges; ok is false if there is
// none.
func intersect(a, b hashkey.Range) (r hashkey.Range, ok bool) {
	r = a
	if r.Start.Less(b.Start) {
		r.Start = b.Start
	}
	if b.End.Less(r.End) {
		r.End = b.End
	}
	return r, !r.End.Less(r.Start)
}
