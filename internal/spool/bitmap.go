package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// bitmap is a set of numbers from 0 on that is filled more or less in order. It
// keeps the part from the first missing number on.
type bitmap struct {
	low   uint64 // all below are in it
	done  uint64 // how many are in it
	start uint64 // words[0] holds the numbers from 64*start on; start <= low/64
	words []uint64
}

func (b *bitmap) has(i uint64) bool {
	if i < b.low {
		return true
	}
	w := i/64 - b.start
	return w < uint64(len(b.words)) && b.words[w]&(1<<(i%64)) != 0
}

// set adds i and reports whether it was not there.
func (b *bitmap) set(i uint64) bool {
	if b.has(i) {
		return false
	}
	w := i/64 - b.start
	if w >= uint64(len(b.words)) {
		b.words = append(b.words, make([]uint64, w+1-uint64(len(b.words)))...)
	}
	b.words[w] |= 1 << (i % 64)
	b.done++
	b.advance()
	return true
}

// advance moves low up to the first missing number.
func (b *bitmap) advance() {
	for at := b.low/64 - b.start; at < uint64(len(b.words)); at++ {
		// What is below low counts as set, whatever the first word says.
		n := uint64(bits.TrailingZeros64(^(b.words[at] | (1<<(b.low%64) - 1))))
		b.low = (b.start+at)*64 + n
		if n < 64 {
			break
		}
	}
	if full := b.low/64 - b.start; full > 64 && full > uint64(len(b.words))/2 {
		b.words = append(b.words[:0], b.words[min(full, uint64(len(b.words))):]...)
		b.start += full
	}
}

// clip removes the numbers from n on.
func (b *bitmap) clip(n uint64) {
	if b.low >= n {
		*b = bitmap{low: n, done: n, start: n / 64}
		return
	}
	b.done = b.low
	for i := b.low; i < min(n, (b.start+uint64(len(b.words)))*64); i++ {
		if b.has(i) {
			b.done++
		}
	}
	for i := range b.words {
		if first := (b.start + uint64(i)) * 64; first >= n {
			b.words[i] = 0
		} else if n-first < 64 {
			b.words[i] &= 1<<(n-first) - 1
		}
	}
}

func (b *bitmap) clone() bitmap {
	c := *b
	c.words = slices.Clone(b.words)
	return c
}

// append appends the set: low, and the words from that of low on.
func (b *bitmap) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, b.low)
	for i := b.low/64 - b.start; i < uint64(len(b.words)); i++ {
		dst = binary.LittleEndian.AppendUint64(dst, b.words[i])
	}
	return dst
}

var errSet = errors.New("no set of numbers")

// load makes b the set that append has written.
func (b *bitmap) load(from []byte) error {
	low, n := binary.Uvarint(from)
	if n <= 0 || low > math.MaxInt64 {
		return fmt.Errorf("%w: its first number", errSet)
	}
	from = from[n:]
	if len(from)%8 != 0 {
		return fmt.Errorf("%w: %d bytes", errSet, len(from))
	}
	*b = bitmap{low: low, done: low, start: low / 64, words: make([]uint64, len(from)/8)}
	for i := range b.words {
		b.words[i] = binary.LittleEndian.Uint64(from[8*i:])
		w := b.words[i]
		if i == 0 {
			w &^= 1<<(low%64) - 1 // counted by low
		}
		b.done += uint64(bits.OnesCount64(w))
	}
	b.advance()
	return nil
}
