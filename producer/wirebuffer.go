package producer

import (
	"math/bits"
	"sync"
)

// wireBuffer is memory for a request or an answer.
type wireBuffer struct{ b []byte }

// Buffers come in powers of two, so that a large request does not have to grow
// the one of a small one, nor a small one hold on to the one of a large.
const (
	minBufferBits = 12
	maxBufferBits = 24 // what is larger is left to the garbage collector
)

var wireBuffers [maxBufferBits + 1]sync.Pool // of *wireBuffer, by bits of the capacity

// getBuffer returns a buffer for at least n bytes.
func getBuffer(n int) *wireBuffer {
	class := max(bits.Len(uint(max(n, 1)-1)), minBufferBits)
	if class > maxBufferBits {
		return &wireBuffer{b: make([]byte, 0, n)}
	}
	if buf, ok := wireBuffers[class].Get().(*wireBuffer); ok {
		return buf
	}
	return &wireBuffer{b: make([]byte, 0, 1<<class)}
}

// putBuffer takes a buffer back that nobody reads any more.
func putBuffer(buf *wireBuffer) {
	if class := bits.Len(uint(cap(buf.b))) - 1; class >= minBufferBits && class <= maxBufferBits {
		wireBuffers[class].Put(buf)
	}
}
