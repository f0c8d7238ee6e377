package blockrec

import (
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/streamkit/streamkit/internal/aggregation"
)

// A Decoder opens blocks. It is safe for concurrent use.
type Decoder struct {
	zstd *zstd.Decoder
}

// NewDecoder returns a Decoder. At most GOMAXPROCS blocks, and no more than 4,
// are decompressed at a time; others wait.
func NewDecoder() (*Decoder, error) {
	z, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(concurrency()),
		zstd.WithDecoderMaxMemory(MaxRaw),
		zstd.WithDecoderMaxWindow(16<<20),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecodeAllCapLimit(true),
	)
	if err != nil {
		return nil, err
	}
	return &Decoder{zstd: z}, nil
}

// Open appends the AggregatedRecord message in a block to dst, if that is at
// most limit bytes, and returns how many records the block says it has. ok is
// false if data is no block. err wraps [ErrBlock].
func (d *Decoder) Open(dst, data []byte, limit int) (out []byte, count int, ok bool, err error) {
	h, ok := parse(data)
	if !ok {
		return dst, 0, false, nil
	}
	// All that the header says is checked before anything is set aside.
	if h.raw > uint64(max(limit, 0)) || h.raw > MaxRaw {
		return dst, 0, true, fmt.Errorf("%w: %d bytes uncompressed, at most %d are allowed", ErrBlock, h.raw, max(min(limit, MaxRaw), 0))
	}
	if h.count < 1 || h.count > h.raw/minRecord {
		return dst, 0, true, fmt.Errorf("%w: %d records in %d bytes", ErrBlock, h.count, h.raw)
	}
	raw := int(h.raw)
	dst = slices.Grow(dst, raw)
	into := dst[len(dst) : len(dst) : len(dst)+raw]
	var got []byte
	switch h.codec {
	case None:
		if len(h.payload) != raw {
			return dst, 0, true, fmt.Errorf("%w: %d bytes stored, %d announced", ErrBlock, len(h.payload), raw)
		}
		got = append(into, h.payload...)
	case Zstd:
		got, err = d.openZstd(into, h)
	case S2:
		var n int
		if n, err = s2.DecodedLen(h.payload); err == nil && n != raw {
			err = fmt.Errorf("%d bytes inside, %d announced", n, raw)
		}
		if err == nil {
			got, err = s2.Decode(into[:raw], h.payload)
		}
	default:
		err = errors.New("its codec is not known; a newer version of this library may open it")
	}
	if err == nil && len(got) != raw {
		err = fmt.Errorf("%d bytes inside, %d announced", len(got), raw)
	}
	if err != nil {
		return dst, 0, true, fmt.Errorf("%w: %v: %w", ErrBlock, h.codec, err)
	}
	return dst[:len(dst)+raw], int(h.count), true, nil
}

func (d *Decoder) openZstd(into []byte, h header) ([]byte, error) {
	var frame zstd.Header
	if err := frame.Decode(h.payload); err != nil {
		return nil, err
	}
	if frame.Skippable || !frame.HasFCS || frame.FrameContentSize != h.raw {
		return nil, fmt.Errorf("its frame does not hold the %d bytes announced", h.raw)
	}
	return d.zstd.DecodeAll(h.payload, into)
}

// maxKept is the most memory that a Reader keeps for the next Walk.
const maxKept = 1 << 20

// A Reader takes the records out of Kinesis records. It keeps the memory for
// blocks that it opens. It is not safe for concurrent use; Readers may share a
// Decoder.
type Reader struct {
	dec *Decoder
	raw []byte
}

// NewReader returns a Reader that opens blocks with d.
func NewReader(d *Decoder) *Reader { return &Reader{dec: d} }

// Index is the place of a record in a Kinesis record.
type Index struct {
	User  int // of the user record in the aggregated record
	Block int // in the block that the user record is; -1 if it is none
}

// Walk calls yield for each record of an aggregated record, in order, until it
// returns false: for user records that are blocks, for each record inside, with
// its own keys and stamp. Keys and data alias blob or the Reader's memory, which
// holds until the next Walk; the Stamp holds for the call only.
//
// ok is false, and yield is never called, if blob is no aggregated record. err
// wraps [aggregation.ErrIndex] or [ErrBlock]; the calls made before it stand.
func (r *Reader) Walk(blob []byte, yield func(i Index, rec aggregation.Record, s *aggregation.Stamp) bool) (ok bool, err error) {
	if !aggregation.IsAggregated(blob) {
		return false, nil
	}
	return r.WalkFramed(blob, yield)
}

// WalkFramed is Walk for a blob that has the frame of an aggregated record, see
// [aggregation.Framed].
func (r *Reader) WalkFramed(blob []byte, yield func(i Index, rec aggregation.Record, s *aggregation.Stamp) bool) (ok bool, err error) {
	if cap(r.raw) > maxKept {
		r.raw = nil
	}
	r.raw = r.raw[:0]
	var blockErr error
	ok, err = aggregation.WalkFramedStamped(blob, func(i int, rec aggregation.Record, s *aggregation.Stamp) bool {
		at := len(r.raw)
		raw, count, isBlock, err := r.dec.Open(r.raw, rec.Data, MaxRaw-at)
		if !isBlock {
			return yield(Index{User: i, Block: -1}, rec, s)
		}
		if err != nil {
			blockErr = fmt.Errorf("user record %d: %w", i, err)
			return false
		}
		r.raw = raw
		n, stopped := 0, false
		ok, err := aggregation.WalkBody(raw[at:], s, func(j int, rec aggregation.Record, s *aggregation.Stamp) bool {
			if n = j + 1; n > count {
				return false
			}
			stopped = !yield(Index{User: i, Block: j}, rec, s)
			return !stopped
		})
		switch {
		case stopped:
			return false
		case err != nil:
			blockErr = fmt.Errorf("user record %d: %w: %w", i, ErrBlock, err)
		case !ok:
			blockErr = fmt.Errorf("user record %d: %w: no records inside", i, ErrBlock)
		case n != count:
			blockErr = fmt.Errorf("user record %d: %w: not the %d records announced", i, ErrBlock, count)
		}
		return blockErr == nil
	})
	if blockErr != nil {
		return true, blockErr
	}
	return ok, err
}
