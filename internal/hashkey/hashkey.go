// Package hashkey computes with the 128-bit hash keys by which Kinesis assigns
// records to shards.
//
// A partition key's hash key is the MD5 of its UTF-8 bytes, read as a
// big-endian unsigned integer. A shard owns an inclusive range of hash keys.
// On the wire a hash key is decimal text.
//
// Source: Amazon Kinesis API Reference, PutRecord and HashKeyRange.
package hashkey

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unsafe"
)

// Key is a hash key: an unsigned 128-bit integer. The zero Key is 0.
type Key struct {
	Hi, Lo uint64
}

// Max is the greatest hash key, 2^128-1.
var Max = Key{Hi: ^uint64(0), Lo: ^uint64(0)}

// ErrSyntax is wrapped by the errors of [Parse].
var ErrSyntax = errors.New("hashkey: not a decimal integer in [0, 2^128)")

// Of returns the hash key of a partition key.
func Of(partitionKey string) Key {
	d := md5.Sum(unsafe.Slice(unsafe.StringData(partitionKey), len(partitionKey)))
	return FromBytes(d)
}

// FromBytes reads a big-endian key.
func FromBytes(b [16]byte) Key {
	return Key{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// Bytes returns k in big-endian order.
func (k Key) Bytes() [16]byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.Hi)
	binary.BigEndian.PutUint64(b[8:], k.Lo)
	return b
}

// Parse returns the hash key that s writes: a decimal integer in [0, 2^128),
// without sign, space or leading zero. The error wraps [ErrSyntax] if s is
// anything else.
//
// Source: Amazon Kinesis API Reference, PutRecordsRequestEntry,
// ExplicitHashKey: pattern 0|([1-9]\d{0,38}).
func Parse(s string) (Key, error) {
	if s == "" || len(s) > 39 || (s[0] == '0' && len(s) > 1) {
		return Key{}, fmt.Errorf("%w: %q", ErrSyntax, s)
	}
	var k Key
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return Key{}, fmt.Errorf("%w: %q", ErrSyntax, s)
		}
		hi, lo := bits.Mul64(k.Lo, 10)
		over, hi10 := bits.Mul64(k.Hi, 10)
		sum, carry := bits.Add64(hi, hi10, 0)
		lo, c1 := bits.Add64(lo, uint64(c), 0)
		sum, c2 := bits.Add64(sum, 0, c1)
		if over != 0 || carry != 0 || c2 != 0 {
			return Key{}, fmt.Errorf("%w: %q", ErrSyntax, s)
		}
		k = Key{Hi: sum, Lo: lo}
	}
	return k, nil
}

// String writes k in decimal.
func (k Key) String() string {
	var buf [39]byte
	return string(k.Append(buf[:0]))
}

// Append writes k in decimal after dst.
func (k Key) Append(dst []byte) []byte {
	const chunk = 1e19 // greatest power of ten below 2^64
	var parts [3]uint64
	n := 0
	for {
		// k, r = k/chunk, k%chunk
		hi := k.Hi / chunk
		lo, r := bits.Div64(k.Hi%chunk, k.Lo, chunk)
		k = Key{Hi: hi, Lo: lo}
		parts[n] = r
		n++
		if k == (Key{}) {
			break
		}
	}
	dst = appendUint(dst, parts[n-1], 0)
	for i := n - 2; i >= 0; i-- {
		dst = appendUint(dst, parts[i], 19)
	}
	return dst
}

// appendUint writes v in decimal with at least width digits.
func appendUint(dst []byte, v uint64, width int) []byte {
	var buf [20]byte
	i := len(buf)
	for v > 0 || i == len(buf) {
		i--
		buf[i] = byte('0' + v%10)
		v /= 10
	}
	for len(buf)-i < width {
		i--
		buf[i] = '0'
	}
	return append(dst, buf[i:]...)
}

// Compare returns -1, 0 or +1 as k is less than, equal to or greater than o.
func (k Key) Compare(o Key) int {
	switch {
	case k.Hi < o.Hi || k.Hi == o.Hi && k.Lo < o.Lo:
		return -1
	case k == o:
		return 0
	}
	return 1
}

// Less reports whether k < o.
func (k Key) Less(o Key) bool {
	return k.Hi < o.Hi || k.Hi == o.Hi && k.Lo < o.Lo
}

// Add returns k+n modulo 2^128.
func (k Key) Add(n uint64) Key {
	lo, c := bits.Add64(k.Lo, n, 0)
	return Key{Hi: k.Hi + c, Lo: lo}
}

// Sub returns k-n modulo 2^128.
func (k Key) Sub(n uint64) Key {
	lo, b := bits.Sub64(k.Lo, n, 0)
	return Key{Hi: k.Hi - b, Lo: lo}
}

// mul returns k*n modulo 2^128.
func (k Key) mul(n uint64) Key {
	hi, lo := bits.Mul64(k.Lo, n)
	return Key{Hi: hi + k.Hi*n, Lo: lo}
}

// Range is a range of hash keys; both ends are part of it, as on the wire.
type Range struct {
	Start, End Key
}

// All is the whole hash space.
var All = Range{End: Max}

// Contains reports whether k lies in r.
func (r Range) Contains(k Key) bool {
	return !k.Less(r.Start) && !r.End.Less(k)
}

// Precedes reports whether o begins right after r ends.
func (r Range) Precedes(o Range) bool {
	return r.End != Max && r.End.Add(1) == o.Start
}

// Uniform divides the hash space into n ranges as CreateStream does: each of
// width floor(2^128/n), the last one extended to the end of the space. It
// panics if n < 1.
func Uniform(n int) []Range {
	if n < 1 {
		panic("hashkey: Uniform needs at least one range")
	}
	if n == 1 {
		return []Range{All}
	}
	// floor(2^128/n) = floor((2^128-1)/n), unless n divides 2^128.
	d := uint64(n)
	hi, r := bits.Div64(0, ^uint64(0), d)
	lo, r := bits.Div64(r, ^uint64(0), d)
	w := Key{Hi: hi, Lo: lo}
	if r == d-1 {
		w = w.Add(1)
	}
	rs := make([]Range, n)
	for i := range rs {
		rs[i] = Range{Start: w.mul(uint64(i)), End: w.mul(uint64(i) + 1).Sub(1)}
	}
	rs[n-1].End = Max
	return rs
}
