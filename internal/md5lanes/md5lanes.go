// Package md5lanes computes MD5 of several messages at once, which on amd64 takes
// hardly longer than of one.
//
// Each of the 64 steps for a block needs the result of the one before it, so a
// CPU that can do several things at a time does one. The steps of other messages
// are independent: those of a second one fill the gaps, those of four fit into
// the lanes of vectors, which every amd64 has.
//
// MD5 is what the format of aggregated records demands as a checksum; nothing
// here is about security.
//
// Source: RFC 1321.
package md5lanes

import (
	"crypto/md5"
	"encoding"
	"encoding/binary"
	"hash"
	"sync"
)

// Lanes is how many messages are taken at once.
const Lanes = 4

// initial is the state before the first block.
var initial = [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}

// Sum sets the first of sums to the MD5 of messages, of which there are as many
// as sums. Messages that are next to each other should be about as long.
func Sum(sums [][md5.Size]byte, messages [][]byte) {
	for len(messages) > 0 {
		n := min(Lanes, len(messages))
		some(sums[:n], messages[:n])
		sums, messages = sums[n:], messages[n:]
	}
}

// some is Sum of at most Lanes messages.
func some(sums [][md5.Size]byte, messages [][]byte) {
	if !together || len(messages) == 1 {
		for i, m := range messages {
			sums[i] = md5.Sum(m)
		}
		return
	}
	var states [Lanes][4]uint32
	for i := range states {
		states[i] = initial
	}
	var done [Lanes]int
	for {
		// All that have a block left go on until the first has none.
		var active [Lanes]int
		n, blocks := 0, 0
		for i, m := range messages {
			if left := (len(m) - done[i]) / md5.BlockSize; left > 0 {
				if n == 0 || left < blocks {
					blocks = left
				}
				active[n] = i
				n++
			}
		}
		if n < 2 {
			break
		}
		advance(&states, messages, active[:n], &done, blocks)
	}
	for i, m := range messages {
		if done[i] == 0 {
			sums[i] = md5.Sum(m)
		} else {
			sums[i] = finish(&states[i], done[i], m[done[i]:])
		}
	}
}

// advance takes blocks of each active message into its state.
func advance(states *[Lanes][4]uint32, messages [][]byte, active []int, done *[Lanes]int, blocks int) {
	if len(active) == 2 {
		i, j := active[0], active[1]
		blocks2(&states[i], &states[j], &messages[i][done[i]], &messages[j][done[j]], blocks)
	} else {
		var s [4][Lanes]uint32
		var p [Lanes]*byte
		for lane := range Lanes {
			i := active[min(lane, len(active)-1)] // a lane too many does the last one's work again
			p[lane] = &messages[i][done[i]]
			for w := range s {
				s[w][lane] = states[i][w]
			}
		}
		blocks4(&s, &p, blocks)
		for lane, i := range active {
			for w := range s {
				states[i][w] = s[w][lane]
			}
		}
	}
	for _, i := range active {
		done[i] += blocks * md5.BlockSize
	}
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
		panic("md5lanes: " + err.Error())
	}
	_, _ = t.hash.Write(rest) // never fails
	t.sum = t.hash.Sum(t.sum[:0])
	copy(sum[:], t.sum)
	return sum
}
