package producer

import (
	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// stampRoom is what is kept free of MaxUserRecordSize for a stamp, and for the
// aggregated record around a single user record.
const stampRoom = 256

// It is enough.
const _ = uint(stampRoom - aggregation.MaxStamped - len(outerKey))

// stampLocked returns the stamp of the next record that is put to l. Numbers
// are drawn under the lane's mutex, as the record is appended: those drawn
// before could come into the lane out of order, and a reader would take the
// lower one for a copy.
func (p *Producer) stampLocked(l *lane) aggregation.Stamp {
	return aggregation.Stamp{Producer: p.id, Lane: l.number, Sequence: l.next, Keys: hashkey.All}
}

// origin says where the records of a batch were numbered. A batch has records
// of one origin, in order.
type origin struct {
	stamp   aggregation.Stamp // without a sequence
	stamped bool
}

func originOf(b *batch) origin {
	s, ok := b.builder.Stamped()
	s.Sequence = 0
	return origin{s, ok}
}

// moved returns the origin of records that go from one lane to another. Two
// records stay in order as long as they go the same way; that is so within
// what the ranges of all lanes on the way have in common.
func (o origin) moved(from, to *lane) origin {
	if to.auto {
		return origin{} // a stamp needs a range of keys that a reader knows
	}
	if o.stamped {
		o.stamp.Keys = aggregation.Narrow(o.stamp.Keys, from.keys, to.keys)
	}
	return o
}

// mayRekey reports whether a record without a key may get another lane's hash
// key as it moves there. A reader looks for the copy of a stamped record under
// the hash key of the first: so not once it has been sent, and not to where
// the order of its origin does not reach.
func (o origin) mayRekey(from, to *lane, attempts int32) bool {
	if !o.stamped {
		return true
	}
	keys := aggregation.Narrow(o.stamp.Keys, from.keys, hashkey.All)
	return attempts == 0 && keys.Contains(to.keys.Start) && keys.Contains(to.keys.End)
}

// addTo is add for a record that came from the spool with a stamp of its own, or
// did not.
func (b *batch) addTo(from *origin, r *aggregation.Record, a *arrival, maxCount, maxSize int) bool {
	switch {
	case from == nil:
		return !b.foreign && b.add(r, a, maxCount, maxSize)
	case len(b.meta) > 0 && !b.foreign:
		return false
	}
	b.foreign = true
	return b.addFrom(*from, a.spool, r, a, maxCount, maxSize)
}

// addFrom is add for a record that was in another batch. It also refuses a
// record of another origin than those in b, and one that would not come after
// them: two lanes that are merged may have divided an origin between them.
func (b *batch) addFrom(o origin, number uint64, r *aggregation.Record, a *arrival, maxCount, maxSize int) bool {
	if !o.stamped {
		_, other := b.builder.Stamped()
		return !other && b.add(r, a, maxCount, maxSize)
	}
	if len(b.meta) == 0 {
		o.stamp.Sequence = number
		b.builder.Stamp(o.stamp)
		b.builder.Add(*r)
	} else if len(b.meta) >= maxCount || originOf(b) != o || !b.builder.TryAddAt(*r, number, maxSize) {
		return false
	}
	b.added(r, a)
	return true
}
