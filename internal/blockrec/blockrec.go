package blockrec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

const (
	// Magic begins every block. It is no UTF-8 text, no aggregated record and
	// the beginning of no common compressed format.
	Magic = "\xb5\x5aK\x01"

	// MaxRaw is the most bytes that a block, or all blocks of one Kinesis
	// record together, may have uncompressed.
	MaxRaw = 10 << 20

	// minRecord is the size of the smallest record in an AggregatedRecord.
	minRecord = 6
)

// Codec is how a block is compressed.
type Codec byte

const (
	// None stores the records as they are.
	None Codec = iota
	// Zstd is Zstandard, RFC 8878.
	Zstd
	// S2 is the block format of klauspost/compress/s2, an extension of Snappy.
	S2
)

// String returns the codec's name.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Zstd:
		return "zstd"
	case S2:
		return "s2"
	}
	return fmt.Sprintf("codec %d", byte(c))
}

// ErrBlock is wrapped by the errors of reading a block that is whole, by its
// checksum, and cannot be opened: its codec is not known here, or its writer
// was faulty.
var ErrBlock = errors.New("blockrec: block cannot be opened")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An Encoder writes blocks. It is safe for concurrent use.
type Encoder struct {
	codec Codec
	zstd  *zstd.Encoder
}

// NewEncoder returns an Encoder for a codec. At most GOMAXPROCS blocks, and no
// more than 4, are compressed at a time; others wait.
func NewEncoder(c Codec) (*Encoder, error) {
	e := &Encoder{codec: c}
	switch c {
	case None, S2:
		return e, nil
	case Zstd:
		var err error
		e.zstd, err = zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(concurrency()),
			zstd.WithEncoderCRC(false),   // the block has one
			zstd.WithSingleSegment(true), // or it would leave out small sizes
			zstd.WithLowerEncoderMem(true),
			zstd.WithWindowSize(1<<20),
		)
		return e, err
	}
	return nil, fmt.Errorf("blockrec: %v is unknown", c)
}

func concurrency() int { return min(runtime.GOMAXPROCS(0), 4) }

// Append appends a block of count records to dst, where raw is their
// AggregatedRecord message of at most [MaxRaw] bytes.
func (e *Encoder) Append(dst []byte, count int, raw []byte) []byte {
	start := len(dst)
	dst = append(dst, Magic...)
	dst = append(dst, byte(e.codec))
	dst = binary.AppendUvarint(dst, uint64(count))
	dst = binary.AppendUvarint(dst, uint64(len(raw)))
	crcAt := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	switch e.codec {
	case None:
		dst = append(dst, raw...)
	case Zstd:
		dst = e.zstd.EncodeAll(raw, dst)
	case S2:
		dst = slices.Grow(dst, s2.MaxEncodedLen(len(raw)))
		n := len(s2.Encode(dst[len(dst):cap(dst)], raw))
		dst = dst[:len(dst)+n]
	}
	binary.LittleEndian.PutUint32(dst[crcAt:], checksum(dst[start:], crcAt-start))
	return dst
}

// checksum returns that of a block whose crc is at the given offset.
func checksum(block []byte, at int) uint32 {
	sum := crc32.Checksum(block[len(Magic):at], castagnoli)
	return crc32.Update(sum, castagnoli, block[at+4:])
}

// header is a block's beginning.
type header struct {
	codec   Codec
	count   uint64
	raw     uint64
	payload []byte
}

// parse reads the header; ok is false if data is no block: another magic, or a
// checksum that does not fit.
func parse(data []byte) (h header, ok bool) {
	if len(data) < len(Magic)+1 || string(data[:len(Magic)]) != Magic {
		return h, false
	}
	at := len(Magic)
	h.codec = Codec(data[at])
	at++
	var n int
	if h.count, n = binary.Uvarint(data[at:]); n <= 0 {
		return h, false
	}
	at += n
	if h.raw, n = binary.Uvarint(data[at:]); n <= 0 {
		return h, false
	}
	at += n
	if len(data) < at+4 || checksum(data, at) != binary.LittleEndian.Uint32(data[at:]) {
		return h, false
	}
	h.payload = data[at+4:]
	return h, true
}

// IsBlock reports whether data has the frame of a block: the magic, and a
// fitting checksum. It allocates nothing.
func IsBlock(data []byte) bool {
	_, ok := parse(data)
	return ok
}
