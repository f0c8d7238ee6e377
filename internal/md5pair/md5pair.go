// Package md5pair computes MD5 of two messages at once, which on amd64 takes
// hardly longer than of one.
//
// Each of the 64 steps for a block needs the result of the one before it, so a
// CPU that can do four things at a time does one. The steps of a second message
// are independent and fill the gaps.
//
// MD5 is what the format of aggregated records demands as a checksum; nothing
// here is about security.
//
// Source: RFC 1321.
package md5pair

import (
	"crypto/md5"
	"encoding"
	"encoding/binary"
	"hash"
	"sync"
)

// initial is the state before the first block.
var initial = [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}

// Sum returns the MD5 of p and that of q.
func Sum(p, q []byte) (sumP, sumQ [md5.Size]byte) {
	n := min(len(p), len(q)) / md5.BlockSize
	if !together || n == 0 {
		return md5.Sum(p), md5.Sum(q)
	}
	s, t := initial, initial
	blocks(&s, &t, &p[0], &q[0], n)
	done := n * md5.BlockSize
	return finish(&s, done, p[done:]), finish(&t, done, q[done:])
}

// tail continues a message with the standard library.
type tail struct {
	hash  hash.Hash
	state []byte
	sum   []byte
}

var tails = sync.Pool{New: func() any { return &tail{hash: md5.New()} }}

// magic begins the state of an MD5 that crypto/md5 takes.
const magic = "md5\x01"

// finish returns the MD5 of a message of which done bytes have led to s, and
// rest is left.
func finish(s *[4]uint32, done int, rest []byte) (sum [md5.Size]byte) {
	t := tails.Get().(*tail)
	defer tails.Put(t)
	t.state = append(t.state[:0], magic...)
	for _, word := range s {
		t.state = binary.BigEndian.AppendUint32(t.state, word)
	}
	t.state = append(t.state, make([]byte, md5.BlockSize)...) // no part of a block
	t.state = binary.BigEndian.AppendUint64(t.state, uint64(done))
	if err := t.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(t.state); err != nil {
		// The standard library promises to take this form; a test holds it to it.
		panic("md5pair: " + err.Error())
	}
	_, _ = t.hash.Write(rest) // never fails
	t.sum = t.hash.Sum(t.sum[:0])
	copy(sum[:], t.sum)
	return sum
}
