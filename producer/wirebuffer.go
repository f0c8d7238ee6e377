package producer

import (
	"math/bits"
	"sync"
)

// wireBuffer is memory for a request, an answer, or an aggregated record in flight.
type wireBuffer struct{ b []byte }

// Buffers come in a few sizes, four from one power of two to the next, so that a
// large request does not have to grow the one of a small one, nor a small one hold
// on to the one of a large.
const (
	minBufferBits = 12
	maxBufferBits = 24 // what is larger is left to the garbage collector
)

var wireBuffers [4*(maxBufferBits-minBufferBits) + 1]sync.Pool // of *wireBuffer, by bufferClass

// bufferClass returns the least class whose buffers have n bytes, and how many they
// have.
func bufferClass(n int) (class, size int) {
	if n <= 1<<minBufferBits {
		return 0, 1 << minBufferBits
	}
	exp := bits.Len(uint(n-1)) - 1 // 1<<exp < n <= 2<<exp
	quarter := 1 << exp >> 2
	steps := (n - 1<<exp + quarter - 1) / quarter
	return 4*(exp-minBufferBits) + steps, 1<<exp + steps*quarter
}

// getBuffer returns a buffer for at least n bytes.
func getBuffer(n int) *wireBuffer {
	if n > 1<<maxBufferBits {
		return &wireBuffer{b: make([]byte, 0, n)}
	}
	class, size := bufferClass(n)
	if buf, ok := wireBuffers[class].Get().(*wireBuffer); ok {
		return buf
	}
	return &wireBuffer{b: make([]byte, 0, size)}
}

// putBuffer takes a buffer back that nobody reads any more.
func putBuffer(buf *wireBuffer) {
	n := cap(buf.b)
	if n > 1<<maxBufferBits {
		return
	}
	// One that was grown is in the class below: its buffers have at least so much.
	class, size := bufferClass(n)
	if size > n {
		class--
	}
	if class >= 0 {
		buf.b = buf.b[:0]
		wireBuffers[class].Put(buf)
	}
}
