//go:build !purego

package md5lanes

//go:generate go run ./gen

// together says that several messages at once cost less than one after the other.
const together = true

// blocks2 takes n blocks of 64 bytes, at least one, of each of two messages into
// their states.
//
//go:noescape
func blocks2(s, t *[4]uint32, p, q *byte, n int)

// blocks4 is blocks2 for four messages. s[i][j] is word i of the state of
// message j.
//
//go:noescape
func blocks4(s *[4][4]uint32, p *[4]*byte, n int)
