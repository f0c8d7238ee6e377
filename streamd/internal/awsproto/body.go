package awsproto

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// Limits of request bodies.
const (
	// MaxBody is the largest body of any request: 10 MiB of data in base64 and
	// 500 partition keys need about 14.2 MiB.
	MaxBody = 16 << 20
	// defaultMaxBody is that of the operations that carry no data.
	defaultMaxBody = 256 << 10
	// maxTableBody is that of DynamoDB's operations.
	maxTableBody = 4 << 20
	// maxBodies is how many bytes of bodies are held at once.
	maxBodies = 256 << 20
	// A body must come at this pace, after a grace period.
	bodyGrace = 10 * time.Second
	bodyPace  = 64 << 10 // bytes per second

	maxPooled = 1 << 20 // larger buffers are not kept
)

// buffers holds []byte for bodies and answers.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func takeBuffer() *[]byte { return buffers.Get().(*[]byte) }

func giveBuffer(b *[]byte) {
	if cap(*b) <= maxPooled {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// bodyBudget counts the bytes of the bodies in memory.
type bodyBudget struct{ used atomic.Int64 }

func (b *bodyBudget) take(n int64) bool {
	if b.used.Add(n) > maxBodies {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *bodyBudget) give(n int64) { b.used.Add(-n) }

func tooLarge(limit int64) *awserr.Error {
	return &awserr.Error{
		Code: "RequestEntityTooLarge", Status: http.StatusRequestEntityTooLarge,
		Message: fmt.Sprintf("The request body is larger than %d bytes, the limit of this operation.", limit),
	}
}

// errGone means that the client went away or was too slow: there is nobody to
// answer.
var errGone = errors.New("awsproto: the client has gone")

// readBody reads the body of r into buf. It counts against the budget by its
// announced length, or by the limit if there is none; the caller gives held
// back when it is done with the body.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request, limit int64, buf *[]byte) (held int64, err error) {
	held = r.ContentLength
	if held > limit {
		return 0, tooLarge(limit)
	}
	if held == 0 {
		*buf = (*buf)[:0]
		return 0, nil
	}
	if held < 0 {
		held = limit
	}
	if !h.bodies.take(held) {
		return 0, &awserr.Error{
			Code: "ServiceUnavailable", Status: http.StatusServiceUnavailable,
			Message: "Too many requests are being read. Try again.",
		}
	}
	control := http.NewResponseController(w)
	deadline := time.Now().Add(bodyGrace + time.Duration(held/bodyPace)*time.Second)
	// Not every connection has deadlines, and without them nothing else changes.
	_ = control.SetReadDeadline(deadline)
	err = readInto(r, limit, buf)
	_ = control.SetReadDeadline(time.Time{})
	return held, err
}

func readInto(r *http.Request, limit int64, buf *[]byte) error {
	if n := r.ContentLength; n > 0 {
		if int64(cap(*buf)) < n {
			*buf = make([]byte, n)
		}
		*buf = (*buf)[:n]
		if _, err := io.ReadFull(r.Body, *buf); err != nil {
			return errGone
		}
		return nil
	}
	b := (*buf)[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, make([]byte, max(4096, len(b)))...)[:len(b)]
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		*buf = b
		switch {
		case int64(len(b)) > limit:
			return tooLarge(limit)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errGone
		}
	}
}
