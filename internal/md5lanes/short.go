package md5lanes

import (
	"crypto/md5"
	"encoding/binary"
)

// MaxShort is the length of the longest message that a [Short] takes: with the
// padding it is one block.
const MaxShort = md5.BlockSize - 9

// Short gathers up to [Lanes] messages of at most [MaxShort] bytes, and computes
// their MD5 together. The zero Short is ready.
type Short struct {
	blocks [Lanes][md5.BlockSize]byte
	n      int
}

// Len returns how many messages were added.
func (s *Short) Len() int { return s.n }

// Add adds a message. There must be fewer than [Lanes], and the message no longer
// than [MaxShort].
func (s *Short) Add(message string) {
	b := &s.blocks[s.n]
	s.n++
	n := copy(b[:MaxShort], message)
	b[n] = 0x80
	clear(b[n+1 : MaxShort+1])
	binary.LittleEndian.PutUint64(b[MaxShort+1:], uint64(n)*8)
}

// Sums returns the MD5 of each message that was added, and empties s.
func (s *Short) Sums() (sums [Lanes][md5.Size]byte) {
	n := s.n
	s.n = 0
	if !together || n < 2 {
		for i := range n {
			b := &s.blocks[i]
			sums[i] = md5.Sum(b[:binary.LittleEndian.Uint64(b[MaxShort+1:])/8])
		}
		return sums
	}
	var state [4][Lanes]uint32
	var p [Lanes]*byte
	for lane := range Lanes {
		p[lane] = &s.blocks[min(lane, n-1)][0] // a lane too many does the last one's work again
		for w := range state {
			state[w][lane] = initial[w]
		}
	}
	blocks4(&state, &p, 1)
	for lane := range n {
		for w := range state {
			binary.LittleEndian.PutUint32(sums[lane][4*w:], state[w][lane])
		}
	}
	return sums
}
