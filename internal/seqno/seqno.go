// Package seqno reads, writes and orders Kinesis sequence numbers.
//
// A sequence number of the current version (2) is a 186-bit integer, written
// in 56 decimal digits. Its 47 hexadecimal digits hold, from the left:
//
//	digit  0      constant 2
//	digits 1–9    creation time of the shard, epoch seconds
//	digit  10     lowest hexadecimal digit of the shard's index
//	digits 11–26  sequence index, 63 bits
//	digits 27–28  zero
//	digits 29–37  time of the record, epoch seconds
//	digits 38–45  index of the shard
//	digit  46     version, 2
//
// The creation time is the most significant field, so every number of a shard
// that was created later is the greater one; inside a shard the sequence index
// decides. Clients must treat the numbers as opaque integers; only a server
// needs [Number].
//
// Source: decoded from numbers in AWS documentation and client test suites;
// the layout is not documented by AWS.
package seqno

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// MaxIndex is the sequence index in the EndingSequenceNumber of a closed
// shard; no record has it.
const MaxIndex = 1<<63 - 1

// Digits is the length of a number in decimal.
const Digits = 56

// maxCreate bounds the creation time, in epoch seconds, of a valid number.
const maxCreate = 16025175000

// ErrSyntax is wrapped by the errors of [Parse].
var ErrSyntax = errors.New("seqno: not a sequence number")

// Number is a decoded sequence number.
type Number struct {
	Create int64  // creation time of the shard, epoch seconds
	Shard  uint32 // index of the shard
	Index  uint64 // sequence index, at most MaxIndex
	Time   int64  // time of the record, epoch seconds
}

// String writes n in 56 decimal digits.
func (n Number) String() string {
	var buf [64]byte
	return string(n.Append(buf[:0]))
}

// words returns the integer in 64-bit words, least significant first.
//
// From the right: version 4 bits, shard 32, time 36, zero 8, index 64, nibble
// 4, create 36, constant 4.
func (n Number) words() [3]uint64 {
	var w [3]uint64
	put := func(pos uint, v uint64) {
		w[pos/64] |= v << (pos % 64)
		if pos%64 != 0 && pos/64+1 < 3 {
			w[pos/64+1] |= v >> (64 - pos%64)
		}
	}
	put(0, 2)
	put(4, uint64(n.Shard))
	put(36, uint64(n.Time)&(1<<36-1))
	put(80, n.Index&MaxIndex)
	put(144, uint64(n.Shard&15))
	put(148, uint64(n.Create)&(1<<36-1))
	put(184, 2)
	return w
}

// Append writes n in decimal after dst.
func (n Number) Append(dst []byte) []byte {
	var s slot
	return s.append(dst, n)
}

// Parse decodes a sequence number of version 2. The error wraps [ErrSyntax] if
// s is anything else, old versions included.
func Parse(s string) (Number, error) {
	if len(s) != Digits || strings.Trim(s, "0123456789") != "" {
		return Number{}, fmt.Errorf("%w: %q", ErrSyntax, s)
	}
	v, ok := new(big.Int).SetString(s, 10)
	if !ok || v.BitLen() != 186 {
		return Number{}, fmt.Errorf("%w: %q", ErrSyntax, s)
	}
	field := func(pos, width uint) uint64 {
		f := new(big.Int).Rsh(v, pos)
		return f.And(f, new(big.Int).SetUint64(1<<width-1)).Uint64()
	}
	n := Number{
		Create: int64(field(148, 36)),
		Shard:  uint32(field(4, 32)),
		Index:  field(80, 63),
		Time:   int64(field(36, 36)),
	}
	// What the fields do not carry must be constant, or two texts would decode
	// to one number.
	if n.Create >= maxCreate || n.String() != s {
		return Number{}, fmt.Errorf("%w: %q", ErrSyntax, s)
	}
	return n, nil
}

// Compare orders two sequence numbers, as decimal text, by value. It returns
// -1, 0 or +1. Text that is not made of digits is ordered by length, then
// bytes; callers check syntax where it matters.
func Compare(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		if len(a) < len(b) {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

// Valid reports whether s is made of one to 129 digits, which is what the API
// accepts as a sequence number.
//
// Source: Amazon Kinesis API Reference, SequenceNumber: 0|([1-9]\d{0,128}).
func Valid(s string) bool {
	return s != "" && len(s) <= 129 && (s == "0" || s[0] != '0') && strings.Trim(s, "0123456789") == ""
}
