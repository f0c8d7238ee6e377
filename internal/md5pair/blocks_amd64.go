//go:build !purego

package md5pair

// together says that two messages at once cost less than one after the other.
const together = true

// blocks takes n blocks of 64 bytes, at least one, of each of two messages into
// their states.
//
//go:noescape
func blocks(s, t *[4]uint32, p, q *byte, n int)
