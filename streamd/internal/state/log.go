package state

import (
	"slices"
	"time"
)

// A Ref says where a run of consecutive records of one shard lies: side by side
// in the body of one frame.
type Ref struct {
	First   uint64 // sequence index of the first record
	Count   uint32
	Size    uint32 // bytes of the records in the body
	Pos     uint64 // journal position of the first of those bytes
	Arrival int64  // of the frame, milliseconds since the epoch
	CRC     uint32 // of those bytes
}

// Last returns the sequence index of the last record.
func (r Ref) Last() uint64 { return r.First + uint64(r.Count) - 1 }

// Log is the index of one shard's records that were not forgotten.
type Log struct {
	refs []Ref // in order
	last uint64
}

// Last returns the sequence index of the last record that the shard has ever
// taken, 0 if none.
func (l *Log) Last() uint64 { return l.last }

// Refs returns the runs of the shard, in order. The caller may keep the slice,
// but must not change it.
func (l *Log) Refs() []Ref { return slices.Clip(l.refs) }

func (l *Log) add(r Ref) {
	l.refs = append(l.refs, r)
	l.last = r.Last()
}

// From returns the runs that hold records from position p on and that arrived
// after the horizon. The caller may keep the slice, but must not change it.
func (l *Log) From(p Position, horizon time.Time) []Ref {
	i := l.firstAfter(horizon.UnixMilli())
	j, _ := slices.BinarySearchFunc(l.refs[i:], p.Index, func(r Ref, index uint64) int {
		if r.Last() < index {
			return -1
		}
		return 1
	})
	refs := l.refs[i+j:]
	return slices.Clip(refs)
}

// Seek returns the position before the first record that arrived at t or
// later, or behind the last record.
func (l *Log) Seek(t time.Time) Position {
	if i := l.firstAfter(t.UnixMilli() - 1); i < len(l.refs) {
		return Position{Index: l.refs[i].First}
	}
	return Position{Index: l.last + 1}
}

// firstAfter returns the index of the first run that arrived after ms.
func (l *Log) firstAfter(ms int64) int {
	i, _ := slices.BinarySearchFunc(l.refs, ms, func(r Ref, at int64) int {
		if r.Arrival <= at {
			return -1
		}
		return 1
	})
	return i
}

// forget drops the runs up to sequence index seq.
func (l *Log) forget(seq uint64) {
	i, _ := slices.BinarySearchFunc(l.refs, seq, func(r Ref, at uint64) int {
		if r.First <= at {
			return -1
		}
		return 1
	})
	switch {
	case i == len(l.refs):
		l.refs = nil
	case i > 0:
		// A new array: the old one may be in a snapshot, and is to be freed.
		l.refs = slices.Clone(l.refs[i:])
	}
}

// trim forgets the runs that arrived at ms or before.
func (l *Log) trim(ms int64) {
	if i := l.firstAfter(ms); i > 0 {
		// A new array: the old one may be in a snapshot, and is to be freed.
		l.refs = slices.Clone(l.refs[i:])
	}
}
