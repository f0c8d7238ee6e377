package aggregation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// Stored Marks, integers as uvarints unless a size is given:
//
//	1              version
//	32 B           start and end of the shard's range, big-endian
//	newest         arrival of the latest stamp, in seconds since 1970
//	evicted
//	lanes          their number; then for each lane, by producer and number:
//	  head         number of marks << 1 | 1 if a producer's id follows
//	  8 B          the producer's id; without, it is that of the lane before
//	  lane         its number; less the one before, less 1, if no id is here
//	  age          newest - arrival of the lane's last stamp, in seconds
//	  marks, by range:
//	    1 B        1 if the range begins where the shard's does, 2 if it ends
//	               there, 4 for each hole
//	    16 B       its start, without flag 1
//	    16 B       its end, without flag 2
//	    sequence
//	    holes, from the last one down:
//	      skip     numbers that have come between it and what is above it, less
//	               1: the sequence, which has come, or another hole
//	      length   less 1
//	4 B            CRC-32C of all before it, little-endian
const marksVersion = 1

const (
	flagStart = 1 << iota
	flagEnd
	flagHole
)

// ErrMarks is wrapped by the errors of [ParseMarks].
var ErrMarks = errors.New("aggregation: not the stored marks of a shard")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendBinary appends m as [ParseMarks] reads it, at most [MaxMarksSize]
// bytes: if there is more to tell, m forgets the lanes that have not been
// heard of for longest, and counts them. The error is nil.
func (m *Marks) AppendBinary(dst []byte) ([]byte, error) {
	m.forget()
	start := len(dst)
	for {
		dst = m.append(dst[:start])
		size := len(dst) - start
		if size <= MaxMarksSize {
			return dst, nil
		}
		// As many as are too much if all are of one size, and one.
		m.evict(1 + (size-MaxMarksSize)*len(m.lanes)/size)
	}
}

func (m *Marks) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, marksVersion)
	dst = appendRange(dst, m.keys)
	dst = binary.AppendUvarint(dst, uint64(max(m.newest, 0)))
	dst = binary.AppendUvarint(dst, m.evicted)
	dst = binary.AppendUvarint(dst, uint64(len(m.lanes)))
	var before laneID
	for i, id := range m.sorted() {
		l := m.lanes[id]
		head := uint64(len(l.marks)) << 1
		if i == 0 || id.producer != before.producer {
			dst = binary.AppendUvarint(dst, head|1)
			dst = append(dst, id.producer[:]...)
			dst = binary.AppendUvarint(dst, id.lane)
		} else {
			dst = binary.AppendUvarint(dst, head)
			dst = binary.AppendUvarint(dst, id.lane-before.lane-1)
		}
		before = id
		dst = binary.AppendUvarint(dst, uint64(m.newest-l.seen))
		for _, k := range l.marks {
			dst = m.appendMark(dst, k)
		}
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func (m *Marks) appendMark(dst []byte, k mark) []byte {
	flags := byte(len(k.holes) * flagHole)
	if k.keys.Start == m.keys.Start {
		flags |= flagStart
	}
	if k.keys.End == m.keys.End {
		flags |= flagEnd
	}
	dst = append(dst, flags)
	if flags&flagStart == 0 {
		b := k.keys.Start.Bytes()
		dst = append(dst, b[:]...)
	}
	if flags&flagEnd == 0 {
		b := k.keys.End.Bytes()
		dst = append(dst, b[:]...)
	}
	dst = binary.AppendUvarint(dst, k.sequence)
	above := k.sequence + 1
	for _, h := range slices.Backward(k.holes) {
		dst = binary.AppendUvarint(dst, above-h.to-2)
		dst = binary.AppendUvarint(dst, h.to-h.from)
		above = h.from
	}
	return dst
}

// ParseMarks returns the Marks that AppendBinary has written. The error wraps
// [ErrMarks]. A reader that goes on with new Marks instead loses nothing; it
// may see copies again.
func ParseMarks(b []byte) (*Marks, error) {
	if len(b) < 5 || b[0] != marksVersion {
		return nil, fmt.Errorf("%w: unknown version, or cut off", ErrMarks)
	}
	if len(b) > MaxMarksSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrMarks, len(b), MaxMarksSize)
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return nil, fmt.Errorf("%w: the checksum does not fit", ErrMarks)
	}
	r := marksReader{b: body[1:]}
	m := r.marks()
	if r.bad || len(r.b) > 0 {
		return nil, fmt.Errorf("%w: the parts do not fit", ErrMarks)
	}
	return m, nil
}

// marksReader takes stored Marks apart. bad is set by the first thing that
// does not fit, and everything read after it is zero.
type marksReader struct {
	b   []byte
	bad bool
}

func (r *marksReader) bytes(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *marksReader) uvarint(limit uint64) uint64 {
	v, n := consumeVarint(r.b)
	if r.bad || n != sizeVarint(v) || v > limit {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *marksReader) key() hashkey.Key { return hashkey.FromBytes([16]byte(r.bytes(16))) }

const anyValue = ^uint64(0)

func (r *marksReader) marks() *Marks {
	keys, ok := readRange(r.bytes(keysLen))
	if !ok {
		r.bad = true
	}
	m := NewMarks(keys)
	m.newest = int64(r.uvarint(1 << 62))
	m.swept = m.newest
	m.evicted = r.uvarint(anyValue)
	var id laneID
	for n := r.uvarint(maxLanes); n > 0 && !r.bad; n-- {
		head := r.uvarint(anyValue)
		before := id
		if head&1 == 1 {
			copy(id.producer[:], r.bytes(len(id.producer)))
			id.lane = r.uvarint(anyValue)
		} else {
			// The first lane has no other before it.
			r.bad = r.bad || len(m.lanes) == 0
			step := r.uvarint(anyValue - 1)
			id.lane += step + 1
		}
		if len(m.lanes) > 0 && id.compare(before) <= 0 || head&1 == 1 && len(m.lanes) > 0 && id.producer == before.producer {
			r.bad = true
		}
		l := &laneMarks{seen: m.newest - int64(r.uvarint(uint64(MarkLife.Seconds())))}
		for k := head >> 1; k > 0 && !r.bad; k-- {
			l.marks = append(l.marks, r.mark(l, keys))
		}
		r.bad = r.bad || len(l.marks) == 0
		m.lanes[id] = l
	}
	return m
}

// mark reads the next mark of l.
func (r *marksReader) mark(l *laneMarks, shard hashkey.Range) mark {
	flags := r.bytes(1)[0]
	k := mark{keys: shard}
	if flags&flagStart == 0 {
		k.keys.Start = r.key()
		r.bad = r.bad || k.keys.Start == shard.Start
	}
	if flags&flagEnd == 0 {
		k.keys.End = r.key()
		r.bad = r.bad || k.keys.End == shard.End
	}
	k.sequence = r.uvarint(anyValue - 1) // nothing of ours has the last number
	k.holes = r.holes(int(flags/flagHole), k.sequence)
	part, ok := intersect(k.keys, shard)
	r.bad = r.bad || !ok || part != k.keys
	if n := len(l.marks); n > 0 {
		prev := l.marks[n-1]
		r.bad = r.bad || !prev.keys.End.Less(k.keys.Start) ||
			prev.keys.Precedes(k.keys) && prev.sequence == k.sequence && slices.Equal(prev.holes, k.holes)
	}
	return k
}

// holes reads n holes below a sequence.
func (r *marksReader) holes(n int, sequence uint64) []hole {
	if n == 0 || n > maxHoles {
		r.bad = r.bad || n > maxHoles
		return nil
	}
	holes := make([]hole, n)
	above := sequence + 1
	for i := range slices.Backward(holes) {
		if above < 2 {
			r.bad = true
			return nil
		}
		to := above - 2 - r.uvarint(above-2)
		holes[i] = hole{to - r.uvarint(to), to}
		above = holes[i].from
	}
	return holes
}
