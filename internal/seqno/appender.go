package seqno

import (
	"encoding/binary"
	"math/bits"
)

// Appender writes many numbers. It is quick where a number follows the one
// before it in the same shard and second, as records do that were put
// together. The zero Appender is ready.
type Appender struct {
	last   Number
	pieces [4]uint64 // of last, in base 1e16, least significant first; all zero before the first
}

const piece = 1e16

// Append writes n in 56 decimal digits after dst.
func (a *Appender) Append(dst []byte, n Number) []byte {
	follows := a.last
	follows.Index++
	if n == follows && a.pieces[3] != 0 {
		// The next index is 2^80 more, which is 120892581 and 9614629174706176 in
		// pieces.
		a.pieces[0] += 9614629174706176
		a.pieces[1] += 120892581 + a.pieces[0]/piece
		a.pieces[2] += a.pieces[1] / piece
		a.pieces[3] += a.pieces[2] / piece
		for i := range 3 {
			a.pieces[i] %= piece
		}
	} else {
		a.divide(n)
	}
	a.last = n
	start := len(dst)
	dst = append(dst, "00000000000000000000000000000000000000000000000000000000"...)
	out := dst[start : start+Digits]
	putEight(out, a.pieces[3])
	for i := range 3 {
		high, low := a.pieces[2-i]/1e8, a.pieces[2-i]%1e8
		putEight(out[8+16*i:], high)
		putEight(out[16+16*i:], low)
	}
	return dst
}

// divide takes n apart.
func (a *Appender) divide(n Number) {
	w := n.words()
	for i := range 3 {
		var r uint64
		w[2], r = w[2]/piece, w[2]%piece
		w[1], r = bits.Div64(r, w[1], piece)
		w[0], a.pieces[i] = bits.Div64(r, w[0], piece)
	}
	a.pieces[3] = w[0]
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
