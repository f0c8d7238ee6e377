package aggregation

import (
	"crypto/md5"

	"github.com/streamkit/streamkit/internal/md5lanes"
)

// together is the least size of a blob whose MD5 is computed along with those of
// others: for smaller ones, to begin and to end takes longer than is gained.
const together = 1 << 10

// Framed sets ok[i] to what IsAggregated reports of blobs[i], for as many blobs as
// ok has room for. Blobs of some size are summed several at once, which takes about
// half the time. It allocates nothing in steady state.
func Framed(ok []bool, blobs [][]byte) {
	var (
		sums   [md5lanes.Lanes][md5.Size]byte
		bodies [md5lanes.Lanes][]byte
		at     [md5lanes.Lanes]int
		n      int
	)
	flush := func() {
		md5lanes.Sum(sums[:n], bodies[:n])
		for i := range n {
			b := blobs[at[i]]
			ok[at[i]] = sums[i] == [md5.Size]byte(b[len(b)-md5.Size:])
		}
		n = 0
	}
	for i := range ok {
		b := blobs[i]
		if len(b) < together || string(b[:len(Magic)]) != Magic {
			ok[i] = IsAggregated(b)
			continue
		}
		bodies[n], at[n] = b[len(Magic):len(b)-md5.Size], i
		if n++; n == len(at) {
			flush()
		}
	}
	flush()
}

// WalkFramed is Walk for a blob that has the frame, by IsAggregated or Framed, and
// has not changed since: it does not look at the frame again.
func WalkFramed(blob []byte, yield func(i int, r Record) bool) (ok bool, err error) {
	return WalkFramedStamped(blob, func(i int, r Record, _ *Stamp) bool { return yield(i, r) })
}

// WalkFramedStamped is WalkStamped for such a blob.
func WalkFramedStamped(blob []byte, yield func(i int, r Record, s *Stamp) bool) (ok bool, err error) {
	return walk(blob[len(Magic):len(blob)-md5.Size], nil, yield)
}
