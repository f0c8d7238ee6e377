package runs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/streamkit/streamkit/streamd/internal/journal"
)

// The layout on disk; doc.go draws it. All of it is part of the format.
const (
	fileMagic    = "sdruns\x00\x01"
	trailerMagic = "sdr\x01"
	headerSize   = 40
	batchHeader  = 44
	trailerSize  = 40
	markEvery    = 64 << 10
)

func checksum(b []byte) uint32 { return journal.Checksum(b) }

// ErrDamaged is wrapped by the errors of a run that does not read as it was
// written.
var ErrDamaged = errors.New("damaged")

func damaged(name string, offset int64, what string) error {
	return fmt.Errorf("runs: %s is %w at byte %d: %s", name, ErrDamaged, offset, what)
}

// Key names a shard.
type Key struct {
	Stream uint64
	Shard  uint32
}

// Compare orders keys by stream, then by shard.
func (k Key) Compare(other Key) int {
	switch {
	case k.Stream != other.Stream && k.Stream < other.Stream, k.Stream == other.Stream && k.Shard < other.Shard:
		return -1
	case k == other:
		return 0
	}
	return 1
}

// ID is what a run is called by.
type ID struct {
	First, Last uint64 // sequence indexes of its records lie between these
	Class       uint32 // what is in runs of one class expires together, as a rule
	Merges      uint32 // how often its records have been merged: tells it from those that it takes the place of
}

// Name returns the name of the run's file.
func (id ID) Name() string {
	return fmt.Sprintf("%016x-%016x-%d-%d.run", id.First, id.Last, id.Class, id.Merges)
}

// A Batch is consecutive records of one shard that arrived together.
type Batch struct {
	First   uint64 // sequence index of the first
	Count   uint32
	Arrival int64  // milliseconds since the epoch
	CRC     uint32 // CRC-32C of Records
	Records []byte // as they lie in a frame of the journal; not to be changed
}

// Last returns the sequence index of the last record.
func (b Batch) Last() uint64 { return b.First + uint64(b.Count) - 1 }

// An Extent is what a run holds of one shard.
type Extent struct {
	Key
	First, Last            uint64 // sequence indexes
	MinArrival, MaxArrival int64  // milliseconds since the epoch
	Records, Bytes         uint64

	offset, length int64
	marks          []mark
}

// mark is the begin of a batch.
type mark struct {
	first   uint64
	offset  int64
	arrival int64
}

func appendFileHeader(dst []byte, id ID) []byte {
	at := len(dst)
	dst = append(dst, fileMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, id.First)
	dst = binary.LittleEndian.AppendUint64(dst, id.Last)
	dst = binary.LittleEndian.AppendUint32(dst, id.Class)
	dst = binary.LittleEndian.AppendUint32(dst, id.Merges)
	dst = append(dst, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[at:]))
}

func parseFileHeader(b []byte) (id ID, err error) {
	if len(b) >= headerSize && string(b[:7]) == fileMagic[:7] && b[7] != fileMagic[7] {
		return ID{}, &journal.VersionError{What: "it", Has: int(b[7]), Reads: int(fileMagic[7])}
	}
	if len(b) < headerSize || string(b[:8]) != fileMagic || binary.LittleEndian.Uint32(b[36:]) != checksum(b[:36]) {
		return ID{}, errors.New("the header is not valid")
	}
	return ID{
		First: binary.LittleEndian.Uint64(b[8:]), Last: binary.LittleEndian.Uint64(b[16:]),
		Class: binary.LittleEndian.Uint32(b[24:]), Merges: binary.LittleEndian.Uint32(b[28:]),
	}, nil
}

func appendBatchHeader(dst []byte, k Key, b Batch) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b.Records)))
	dst = binary.LittleEndian.AppendUint64(dst, k.Stream)
	dst = binary.LittleEndian.AppendUint32(dst, k.Shard)
	dst = binary.LittleEndian.AppendUint32(dst, b.Count)
	dst = binary.LittleEndian.AppendUint64(dst, b.First)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(b.Arrival))
	dst = binary.LittleEndian.AppendUint32(dst, b.CRC)
	binary.LittleEndian.PutUint32(dst[at:], checksum(dst[at+4:]))
	return dst
}

// parseBatchHeader reads the header that src begins with. The records follow.
func parseBatchHeader(src []byte) (k Key, b Batch, size int, ok bool) {
	if len(src) < batchHeader || binary.LittleEndian.Uint32(src) != checksum(src[4:batchHeader]) {
		return Key{}, Batch{}, 0, false
	}
	k = Key{Stream: binary.LittleEndian.Uint64(src[8:]), Shard: binary.LittleEndian.Uint32(src[16:])}
	b = Batch{
		Count: binary.LittleEndian.Uint32(src[20:]), First: binary.LittleEndian.Uint64(src[24:]),
		Arrival: int64(binary.LittleEndian.Uint64(src[32:])), CRC: binary.LittleEndian.Uint32(src[40:]),
	}
	return k, b, int(binary.LittleEndian.Uint32(src[4:])), b.Count > 0
}

func appendFooter(dst []byte, extents []Extent) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(extents)))
	stream := uint64(0)
	for _, e := range extents {
		for _, v := range [...]uint64{
			e.Stream - stream, uint64(e.Shard), uint64(e.offset), uint64(e.length), e.First, e.Last - e.First,
			uint64(e.MinArrival), uint64(e.MaxArrival - e.MinArrival), e.Records, e.Bytes, uint64(len(e.marks)),
		} {
			dst = binary.AppendUvarint(dst, v)
		}
		stream = e.Stream
		var prev mark
		for _, m := range e.marks {
			dst = binary.AppendUvarint(dst, m.first-prev.first)
			dst = binary.AppendUvarint(dst, uint64(m.offset-prev.offset))
			dst = binary.AppendUvarint(dst, uint64(m.arrival-prev.arrival))
			prev = m
		}
	}
	return dst
}

// parseFooter reads what appendFooter wrote. limit is where the extents end.
func parseFooter(b []byte, limit int64) (extents []Extent, ok bool) {
	r := uvarints{b: b}
	n := r.next()
	const leastExtent, leastMark = 14, 3 // bytes
	if n > uint64(len(b))/leastExtent {
		return nil, false
	}
	extents = make([]Extent, 0, n)
	var all []mark // one array for the marks of all
	stream, end := uint64(0), int64(headerSize)
	for range n {
		var e Extent
		e.Stream = stream + r.next()
		e.Shard = uint32(r.next())
		e.offset, e.length = int64(r.next()), int64(r.next())
		e.First = r.next()
		e.Last = e.First + r.next()
		e.MinArrival = int64(r.next())
		e.MaxArrival = e.MinArrival + int64(r.next())
		e.Records, e.Bytes = r.next(), r.next()
		marks := r.next()
		if r.bad || marks == 0 || marks > uint64(len(r.b))/leastMark ||
			e.offset != end || e.length < batchHeader || e.length > limit-e.offset ||
			len(extents) > 0 && extents[len(extents)-1].Compare(e.Key) >= 0 {
			return nil, false
		}
		stream, end = e.Stream, e.offset+e.length
		at := len(all)
		var prev mark
		for range marks {
			m := mark{prev.first + r.next(), prev.offset + int64(r.next()), prev.arrival + int64(r.next())}
			if m.offset < e.offset || m.offset >= end || m.first < prev.first {
				return nil, false
			}
			all, prev = append(all, m), m
		}
		e.marks = all[at:len(all):len(all)]
		if e.marks[0].offset != e.offset {
			return nil, false
		}
		extents = append(extents, e)
	}
	return extents, !r.bad && len(r.b) == 0 && end == limit
}

// uvarints reads numbers. It remembers an error.
type uvarints struct {
	b   []byte
	bad bool
}

func (u *uvarints) next() uint64 {
	v, n := binary.Uvarint(u.b)
	if n <= 0 {
		u.bad, u.b = true, nil
		return 0
	}
	u.b = u.b[n:]
	return v
}

type trailer struct {
	footer         int64
	length         uint32
	crc            uint32
	records, bytes uint64
}

func (t trailer) append(dst []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.footer))
	dst = binary.LittleEndian.AppendUint32(dst, t.length)
	dst = binary.LittleEndian.AppendUint32(dst, t.crc)
	dst = binary.LittleEndian.AppendUint64(dst, t.records)
	dst = binary.LittleEndian.AppendUint64(dst, t.bytes)
	dst = binary.LittleEndian.AppendUint32(dst, checksum(dst[at:]))
	return append(dst, trailerMagic...)
}

// parseTrailer reads the trailer of a file of the given size.
func parseTrailer(b []byte, size int64) (t trailer, ok bool) {
	if len(b) < trailerSize || string(b[36:40]) != trailerMagic || binary.LittleEndian.Uint32(b[32:]) != checksum(b[:32]) {
		return trailer{}, false
	}
	t = trailer{
		footer: int64(binary.LittleEndian.Uint64(b)), length: binary.LittleEndian.Uint32(b[8:]), crc: binary.LittleEndian.Uint32(b[12:]),
		records: binary.LittleEndian.Uint64(b[16:]), bytes: binary.LittleEndian.Uint64(b[24:]),
	}
	return t, t.footer >= headerSize && t.footer+int64(t.length)+trailerSize == size
}

// find returns the extent of k, nil if there is none.
func find(extents []Extent, k Key) *Extent {
	i, ok := slices.BinarySearchFunc(extents, k, func(e Extent, k Key) int { return e.Compare(k) })
	if !ok {
		return nil
	}
	return &extents[i]
}
