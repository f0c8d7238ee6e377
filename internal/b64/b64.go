// Package b64 encodes and decodes base64 (RFC 4648, the standard alphabet with
// padding) many characters at a time: the JSON of the Kinesis API is hardly
// anything else. Where the CPU has AVX2 it takes 32 characters at once, elsewhere
// eight, by tables; both do what encoding/base64 does.
//
// Source of the vector method: Muła and Lemire, "Faster Base64 Encoding and
// Decoding Using AVX2 Instructions", 2018.
package b64

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// Bytes and characters of a step by tables and by vectors. Vectors read four
// bytes more than they encode.
const (
	tableBytes, tableChars = 6, 8
	wideBytes, wideChars   = 24, 32
	wideReads              = wideBytes + 4
)

// pairs holds, for each twelve bits, the two characters that stand for them.
var pairs = func() (pairs [1 << 12]uint16) {
	var text [4]byte
	for i := range pairs {
		base64.StdEncoding.Encode(text[:], []byte{byte(i >> 4), byte(i << 4), 0})
		pairs[i] = binary.LittleEndian.Uint16(text[:])
	}
	return pairs
}()

// bad marks what are no two characters of base64.
const bad = 1 << 15

// bits holds, for each two bytes of text, the twelve bits that they stand for.
var bits = func() (bits [1 << 16]uint16) {
	for i := range bits {
		bits[i] = bad
	}
	for i, pair := range pairs {
		bits[pair] = uint16(i)
	}
	return bits
}()

// AppendEncode appends src in base64, with padding.
func AppendEncode(dst, src []byte) []byte {
	n := len(dst)
	dst = slices.Grow(dst, base64.StdEncoding.EncodedLen(len(src)))
	out := dst[n:cap(dst)]
	if wide && len(src) >= 2*wideReads {
		blocks := (len(src)-wideReads)/wideBytes + 1
		encodeBlocks(&out[0], &src[0], blocks)
		src, out, n = src[blocks*wideBytes:], out[blocks*wideChars:], n+blocks*wideChars
	}
	for len(src) >= 8 {
		v := binary.BigEndian.Uint64(src)
		binary.LittleEndian.PutUint64(out, uint64(pairs[v>>52])|
			uint64(pairs[v>>40&0xfff])<<16|
			uint64(pairs[v>>28&0xfff])<<32|
			uint64(pairs[v>>16&0xfff])<<48)
		src, out, n = src[tableBytes:], out[tableChars:], n+tableChars
	}
	return base64.StdEncoding.AppendEncode(dst[:n], src)
}

// DecodeFront decodes base64 text over itself, as far as it is free of padding
// and mistakes, and returns how many quanta of four characters that is: the
// first 3*quanta bytes are decoded, and the text from 4*quanta on is as it was. It
// stops at most seven characters before the first that is none of the alphabet,
// or the end.
func DecodeFront(text []byte) (quanta int) {
	in, out := 0, 0
	if wide && len(text) >= 2*wideChars {
		blocks := decodeBlocks(&text[0], len(text)/wideChars)
		in, out = blocks*wideChars, blocks*wideBytes
	}
	for ; len(text)-in >= tableChars; in, out = in+tableChars, out+tableBytes {
		x := binary.LittleEndian.Uint64(text[in:])
		v0, v1, v2, v3 := bits[uint16(x)], bits[uint16(x>>16)], bits[uint16(x>>32)], bits[uint16(x>>48)]
		if (v0|v1|v2|v3)&bad != 0 {
			break
		}
		binary.BigEndian.PutUint64(text[out:], uint64(v0)<<52|uint64(v1)<<40|uint64(v2)<<28|uint64(v3)<<16)
	}
	return in / 4
}

// DecodeEnd decodes, over itself too, what [DecodeFront] has left of text, and
// returns the length of all that is decoded. ok is false if that is not the end
// of a text, with the padding and the zero bits that encoders write; then it is
// as it was.
func DecodeEnd(text []byte, quanta int) (n int, ok bool) {
	rest, n := text[4*quanta:], 3*quanta
	if len(rest) == 0 {
		return n, true
	}
	if len(rest) != 4 && len(rest) != tableChars {
		return 0, false
	}
	last := rest[len(rest)-4:]
	size, c2, c3 := 3, last[2], last[3]
	if c3 == '=' {
		size, c3 = 2, 'A'
		if c2 == '=' {
			size, c2 = 1, 'A'
		}
	}
	high, low := pairOf(last[0], last[1]), pairOf(c2, c3)
	v := uint32(high)<<12 | uint32(low)
	if (high|low)&bad != 0 || v<<(8+8*size) != 0 { // bits that are padding
		return 0, false
	}
	if len(rest) == tableChars {
		high, low = pairOf(rest[0], rest[1]), pairOf(rest[2], rest[3])
		if (high|low)&bad != 0 {
			return 0, false
		}
		w := uint32(high)<<12 | uint32(low)
		text[n], text[n+1], text[n+2] = byte(w>>16), byte(w>>8), byte(w)
		n += 3
	}
	for i := range size {
		text[n+i] = byte(v >> (16 - 8*i))
	}
	return n + size, true
}

func pairOf(a, b byte) uint16 { return bits[uint16(a)|uint16(b)<<8] }
