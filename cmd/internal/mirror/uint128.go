package mirror

import (
	"math/bits"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// add returns a+b modulo 2^128.
func add(a, b hashkey.Key) hashkey.Key {
	lo, c := bits.Add64(a.Lo, b.Lo, 0)
	hi, _ := bits.Add64(a.Hi, b.Hi, c)
	return hashkey.Key{Hi: hi, Lo: lo}
}

// sub returns a-b modulo 2^128.
func sub(a, b hashkey.Key) hashkey.Key {
	lo, c := bits.Sub64(a.Lo, b.Lo, 0)
	hi, _ := bits.Sub64(a.Hi, b.Hi, c)
	return hashkey.Key{Hi: hi, Lo: lo}
}

// mulHigh returns a·b / 2^128, rounded down.
func mulHigh(a, b hashkey.Key) hashkey.Key {
	hh, hl := bits.Mul64(a.Hi, b.Hi)
	m1h, m1l := bits.Mul64(a.Hi, b.Lo)
	m2h, m2l := bits.Mul64(a.Lo, b.Hi)
	llh, _ := bits.Mul64(a.Lo, b.Lo)

	mid, c1 := bits.Add64(m1l, m2l, 0)
	_, c2 := bits.Add64(mid, llh, 0)
	lo, c3 := bits.Add64(hl, m1h, c1)
	lo, c4 := bits.Add64(lo, m2h, c2)
	return hashkey.Key{Hi: hh + c3 + c4, Lo: lo}
}
