package producer

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/blockrec"
)

// Compression says how the user records of an aggregated record are compressed.
type Compression string

const (
	// CompressionNone stores them as they are.
	CompressionNone Compression = ""
	// CompressionZstd is Zstandard: log lines in JSON come to about a quarter.
	CompressionZstd Compression = "zstd"
	// CompressionS2 is S2, an extension of Snappy: several times as fast as
	// Zstandard, and a little more than half as good.
	CompressionS2 Compression = "s2"
)

const (
	// firstRatio is what a lane expects of its first block, in bytes for one.
	firstRatio = 2
	// mostRatio bounds what it may come to expect.
	mostRatio = 50
	// fillMargin is how full a block is made of what is expected: one that comes
	// out too large is divided and compressed again.
	fillMargin = 0.9
	// mostFill bounds the records of a block, uncompressed. What they have
	// around them fits between it and the most that a reader takes.
	mostFill = blockrec.MaxRaw - 64<<10
)

// A packer puts the records of a batch into a block. It is safe for concurrent
// use.
type packer struct {
	enc   *blockrec.Encoder
	pool  sync.Pool     // of *packing
	ratio atomic.Uint64 // bits of what the last block's lane expects, for new lanes
}

// expect returns the bytes that one byte will probably be left of; 0 without
// compression.
func (k *packer) expect() float64 {
	if k == nil {
		return 0
	}
	if r := k.ratio.Load(); r != 0 {
		return math.Float64frombits(r)
	}
	return firstRatio
}

// packing is the memory of one block in the making.
type packing struct {
	raw, block []byte
	outer      aggregation.Builder
}

// newPacker returns nil for CompressionNone.
func newPacker(c Compression) (*packer, error) {
	var codec blockrec.Codec
	switch c {
	case CompressionNone:
		return nil, nil
	case CompressionZstd:
		codec = blockrec.Zstd
	case CompressionS2:
		codec = blockrec.S2
	default:
		return nil, fmt.Errorf("Compression %q is none of %q, %q, %q", string(c), string(CompressionNone), string(CompressionZstd), string(CompressionS2))
	}
	enc, err := blockrec.NewEncoder(codec)
	if err != nil {
		return nil, err
	}
	return &packer{enc: enc, pool: sync.Pool{New: func() any { return new(packing) }}}, nil
}

// pack makes b's bytes of a block, if those are fewer than without. Its hash
// key is set already.
func (k *packer) pack(b *batch) bool {
	if b.builder.BodySize() > blockrec.MaxRaw {
		return false
	}
	w := k.pool.Get().(*packing)
	defer func() {
		if cap(w.raw) <= maxPooledCost {
			w.outer.Reset()
			k.pool.Put(w)
		}
	}()
	w.raw = b.builder.AppendBody(w.raw[:0])
	w.block = k.enc.Append(w.block[:0], len(b.meta), w.raw)
	if s, ok := b.builder.Stamped(); ok {
		w.outer.Stamp(s)
	}
	// For readers that open no blocks: a place in the shard.
	w.outer.Add(aggregation.Record{PartitionKey: outerKey, ExplicitHashKey: b.hashKey, Data: w.block})
	if w.outer.Size() >= b.plainSize() {
		return false
	}
	b.data = w.outer.Seal(b.room(w.outer.Size()))
	b.aggregated, b.block, b.partitionKey = true, true, outerKey
	return true
}

// pack seals the batches of a request. Of one that comes out too large, the
// first records are kept and the others held back, for the next request.
func (p *Producer) pack(items []item) []item {
	if p.packer == nil {
		return items
	}
	out := make([]item, 0, len(items))
	for _, it := range items {
		// A stream that distributes records itself has no aggregated ones, or
		// else its lanes take more than one.
		if it.verdict != pending || it.batch.sealed || it.lane.auto && it.lane.maxCount == 1 {
			out = append(out, it)
			continue
		}
		var behind []item
		for {
			b := it.batch
			b.sealPacked(p.packer)
			p.packer.ratio.Store(math.Float64bits(it.lane.compressed(&p.sizes, b.builder.Size(), len(b.data))))
			if n := len(b.meta); len(b.data) > b.limit && n > 1 {
				keep := max(1, min(n-1, int(float64(n)*fillMargin*float64(b.limit)/float64(len(b.data)))))
				first, rest := p.batches.split(b, func(i int, _ *meta) bool { return i < keep })
				it.batch = first
				behind = append(behind, item{lane: it.lane, batch: rest, held: true})
				continue
			}
			break
		}
		out = append(out, it)
		slices.Reverse(behind)
		out = append(out, behind...)
	}
	return out
}

// compressed notes what a block of the lane came to, and returns what it
// expects of the next.
func (l *lane) compressed(s *sizer, raw, stored int) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	ratio := min(float64(raw)/float64(stored), mostRatio)
	l.ratio = max(1, l.ratio+(ratio-l.ratio)/4)
	l.fitTargetLocked(s)
	return l.ratio
}

// fillOf returns the bytes to compress for a Kinesis record of a size; that
// size itself if ratio is 0, which means no compression.
func fillOf(size int, ratio float64) int {
	if ratio == 0 {
		return size
	}
	// No less than without: what was expected of the last block may be off.
	return min(max(size, int(float64(size)*ratio*fillMargin)), mostFill)
}
