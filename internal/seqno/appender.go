package seqno

import (
	"encoding/binary"
	"math/bits"
)

// Appender writes many numbers. It is quick where a number follows one before it
// in the same shard and second, as records do that were put together, even if
// those of a few shards take turns. The zero Appender is ready.
type Appender struct {
	slots [8]slot // by the low bits of the shard
}

// slot holds a number taken apart, and its text.
type slot struct {
	last   Number
	pieces [4]uint64 // of last, in base 1e16, least significant first; all zero before the first
	text   [Digits]byte
}

const piece = 1e16

// Append writes n in 56 decimal digits after dst.
func (a *Appender) Append(dst []byte, n Number) []byte {
	return a.slots[n.Shard%uint32(len(a.slots))].append(dst, n)
}

func (s *slot) append(dst []byte, n Number) []byte {
	follows := s.last
	follows.Index++
	if n == follows && s.pieces[3] != 0 {
		s.next()
	} else {
		s.divide(n)
	}
	s.last = n
	return append(dst, s.text[:]...)
}

// next goes on to the next index, which is 2^80 more: 120892581 and
// 9614629174706176 in pieces.
func (s *slot) next() {
	carry := s.add(0, 9614629174706176)
	carry = s.add(1, 120892581+carry)
	for i := 2; carry > 0; i++ {
		carry = s.add(i, carry)
	}
}

// add adds v, which is less than a piece, to a piece and returns the carry.
func (s *slot) add(i int, v uint64) (carry uint64) {
	v += s.pieces[i]
	if v >= piece {
		v -= piece
		carry = 1
	}
	s.set(i, v)
	return carry
}

// set sets a piece and its text.
func (s *slot) set(i int, v uint64) {
	s.pieces[i] = v
	if i == 3 {
		putEight(s.text[:], v) // the leading one is half a piece
		return
	}
	out := s.text[Digits-16*(i+1):]
	putEight(out, v/1e8)
	putEight(out[8:], v%1e8)
}

// divide takes n apart.
func (s *slot) divide(n Number) {
	w := n.words()
	for i := range 3 {
		var r, v uint64
		w[2], r = w[2]/piece, w[2]%piece
		w[1], r = bits.Div64(r, w[1], piece)
		w[0], v = bits.Div64(r, w[0], piece)
		s.set(i, v)
	}
	s.set(3, w[0])
}

// putEight writes the eight decimal digits of v: all at once, first as two
// numbers of four digits in one word, then as four of two, then as eight of
// one. Quotients by 100 and by 10 are products with their inverses, which are
// exact for numbers so small.
func putEight(dst []byte, v uint64) {
	fours := v/1e4 | v%1e4<<32
	hundreds := fours * 10486 >> 20 & 0x7f_0000007f
	twos := hundreds | (fours-hundreds*100)<<16
	tens := twos * 103 >> 10 & 0xf_000f_000f_000f
	ones := tens | (twos-tens*10)<<8
	binary.LittleEndian.PutUint64(dst, ones|0x30303030_30303030)
}
