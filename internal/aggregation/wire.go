package aggregation

// The consume functions read one element from the front of b and return its
// length, or -1 if b does not begin with one.

// consumeVarint reads a base-128 integer of at most 64 bits.
func consumeVarint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	for i, c := range b {
		if i == maxVarintLen {
			break
		}
		if i == maxVarintLen-1 && c > 1 {
			break // does not fit 64 bits
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, -1
}

// consumeTag reads a field's number and wire type.
func consumeTag(b []byte) (num, typ uint64, n int) {
	v, n := consumeVarint(b)
	if n < 0 || v>>3 < 1 || v>>3 > maxFieldNumber {
		return 0, 0, -1
	}
	return v >> 3, v & 7, n
}

// consumeBytes reads a length and as many bytes.
func consumeBytes(b []byte) (field []byte, n int) {
	l, n := consumeVarint(b)
	if n < 0 || l > uint64(len(b)-n) {
		return nil, -1
	}
	end := n + int(l)
	return b[n:end:end], end
}

// skipField returns the length of a field's value, which b begins with.
func skipField(b []byte, num, typ uint64, depth int) int {
	switch typ {
	case typeVarint:
		_, n := consumeVarint(b)
		return n
	case typeFixed64:
		return fixed(b, 8)
	case typeBytes:
		_, n := consumeBytes(b)
		return n
	case typeFixed32:
		return fixed(b, 4)
	case typeStartGroup:
		return skipGroup(b, num, depth+1)
	}
	return -1 // an end without a start, or no wire type at all
}

func fixed(b []byte, n int) int {
	if len(b) < n {
		return -1
	}
	return n
}

// skipGroup skips fields up to the end of group num.
func skipGroup(b []byte, num uint64, depth int) int {
	if depth > maxGroupDepth {
		return -1
	}
	total := 0
	for {
		inner, typ, n := consumeTag(b)
		if n < 0 {
			return -1
		}
		b, total = b[n:], total+n
		if typ == typeEndGroup {
			if inner != num {
				return -1
			}
			return total
		}
		if n = skipField(b, inner, typ, depth); n < 0 {
			return -1
		}
		b, total = b[n:], total+n
	}
}
