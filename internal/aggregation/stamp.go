package aggregation

import (
	"encoding/binary"
	"math/bits"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// Tag bytes of the fields of a stamp.
const (
	tagStampProducer = 1<<3 | typeBytes
	tagStampLane     = 2<<3 | typeVarint
	tagStampSequence = 3<<3 | typeVarint
	tagStampKeys     = 4<<3 | typeBytes

	keysLen = 32 // of a range of hash keys: start, end, big-endian
)

// MaxStamped is the most that a stamp, the frame and the message around it add
// to the partition key and data of a single user record.
const MaxStamped = Overhead +
	1 + 3 + // tag and length of the partition key
	1 + 1 + 39 + // an explicit hash key
	1 + 4 + 1 + 1 + 1 + 1 + 1 + 4 + // the record: its length, two indices, data
	1 + maxVarintLen + // a gap
	maxStampSize

const maxStampSize = 2 + 1 + 1 + 1 + len(Stamp{}.Producer) + 2*(1+maxVarintLen) + 1 + 1 + keysLen

// A Stamp names a user record, so that a reader knows a copy when it sees one:
// see [Marks]. The user records of one origin are numbered in the order in
// which they were put; an aggregated record holds records of one origin, in
// that order.
type Stamp struct {
	// Producer is a random number of the producer's own.
	Producer [8]byte

	// Lane tells the queues of a producer apart. A record keeps the number of
	// the lane that it was put to when a reshard moves it to another.
	Lane uint64

	// Sequence is the record's number in its lane.
	Sequence uint64

	// Keys is the part of the hash space in which the order of the lane still
	// holds: records of the lane outside of it may have been sent before or
	// after. It is [hashkey.All] for records that no reshard has moved.
	Keys hashkey.Range

	// Offset is how far Sequence is above the number of the first record of
	// the aggregated record. Walks set it; it is not written.
	Offset uint64
}

// size returns the length of what append adds.
func (s *Stamp) size() int {
	n := s.messageSize()
	return 2 + sizeVarint(uint64(n)) + n
}

func (s *Stamp) messageSize() int {
	n := 1 + 1 + len(s.Producer) + 1 + sizeVarint(s.Lane) + 1 + sizeVarint(s.Sequence)
	if s.Keys != hashkey.All {
		n += 1 + 1 + keysLen
	}
	return n
}

// append appends the field of AggregatedRecord.
func (s *Stamp) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, tagStamp)
	dst = binary.AppendUvarint(dst, uint64(s.messageSize()))
	dst = append(dst, tagStampProducer, byte(len(s.Producer)))
	dst = append(dst, s.Producer[:]...)
	dst = append(dst, tagStampLane)
	dst = binary.AppendUvarint(dst, s.Lane)
	dst = append(dst, tagStampSequence)
	dst = binary.AppendUvarint(dst, s.Sequence)
	if s.Keys != hashkey.All {
		dst = append(dst, tagStampKeys, keysLen)
		dst = appendRange(dst, s.Keys)
	}
	return dst
}

func appendRange(dst []byte, r hashkey.Range) []byte {
	start, end := r.Start.Bytes(), r.End.Bytes()
	return append(append(dst, start[:]...), end[:]...)
}

// stampMessage is a stamp as it comes in, perhaps in pieces: a protocol buffer
// may hold a message field more than once, and what comes later overrides.
type stampMessage struct {
	Stamp
	met                               bool // anything of it
	hasProducer, hasLane, hasSequence bool
	broken                            bool
}

// valid reports whether it is a stamp of ours.
func (s *stampMessage) valid() bool {
	return s.hasProducer && s.hasLane && s.hasSequence && !s.broken
}

func (s *stampMessage) parse(b []byte) {
	if !s.met {
		s.met, s.Keys = true, hashkey.All
	}
	for len(b) > 0 {
		num, typ, n := consumeTag(b)
		if n < 0 {
			s.broken = true
			return
		}
		b = b[n:]
		var field []byte
		switch num<<3 | typ {
		case tagStampProducer:
			if field, n = consumeBytes(b); n >= 0 {
				s.hasProducer = true
				s.broken = s.broken || copy(s.Producer[:], field) != len(field) || len(field) != len(s.Producer)
			}
		case tagStampLane:
			s.Lane, n = consumeVarint(b)
			s.hasLane = true
		case tagStampSequence:
			s.Sequence, n = consumeVarint(b)
			s.hasSequence = true
		case tagStampKeys:
			if field, n = consumeBytes(b); n >= 0 {
				var ok bool
				s.Keys, ok = readRange(field)
				s.broken = s.broken || !ok
			}
		default:
			n = skipField(b, num, typ, 0)
		}
		if n < 0 {
			s.broken = true
			return
		}
		b = b[n:]
	}
}

// readRange reads what appendRange wrote. ok is false if b is no range.
func readRange(b []byte) (r hashkey.Range, ok bool) {
	if len(b) != keysLen {
		return r, false
	}
	r.Start = hashkey.FromBytes([16]byte(b[:16]))
	r.End = hashkey.FromBytes([16]byte(b[16:]))
	return r, !r.End.Less(r.Start)
}

func addGap(sequence, gap uint64) (sum uint64, over bool) {
	sum, carry := bits.Add64(sequence, gap, 0)
	return sum, carry != 0 || sum == ^uint64(0)
}

// Narrow returns the range of the stamp of records that move from a lane with
// the range from to one with the range to, where was is the range of their
// stamp so far. The ranges overlap.
func Narrow(was, from, to hashkey.Range) hashkey.Range {
	r, _ := intersect(was, from)
	r, _ = intersect(r, to)
	return r
}
