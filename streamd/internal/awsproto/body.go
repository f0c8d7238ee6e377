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
	// maxTableBody is that of DynamoDB's operations: 25 items of 400 KB, and room
	// for their JSON. It must fit a file of the journal, with what else is there.
	maxTableBody = 12 << 20
	// maxBodies is how many bytes of bodies are held at once.
	maxBodies = 256 << 20
	// A body must come at this pace, after a grace period.
	bodyGrace = 10 * time.Second
	bodyPace  = 64 << 10 // bytes per second

	maxPooled = 1 << 20 // larger buffers have pools of their own, see large
)

// buffers holds []byte for bodies and answers of up to maxPooled.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func takeBuffer() *[]byte { return buffers.Get().(*[]byte) }

func giveBuffer(b *[]byte) {
	if cap(*b) > maxPooled {
		giveLarge(b)
		return
	}
	*b = (*b)[:0]
	buffers.Put(b)
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

// firstRead is how much room a body gets before any of it has come, and growth how
// much more than what has come it gets afterwards.
const (
	firstRead = 64 << 10
	growth    = 4
)

// readBody reads the body of r into buf. It counts against the budget as it
// comes, so that what was announced and does not come takes nothing from
// others; the caller gives held back when it is done with the body.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request, limit int64, buf *[]byte) (held int64, err error) {
	*buf = (*buf)[:0]
	want := r.ContentLength
	switch {
	case want > limit:
		return 0, tooLarge(limit)
	case want == 0:
		return 0, nil
	case want < 0:
		want = limit
	}
	control := http.NewResponseController(w)
	deadline := time.Now().Add(bodyGrace + time.Duration(want/bodyPace)*time.Second)
	// Not every connection has deadlines, and without them nothing else changes.
	_ = control.SetReadDeadline(deadline)
	held, err = h.readInto(r, limit, buf)
	_ = control.SetReadDeadline(time.Time{})
	return held, err
}

func (h *Handler) readInto(r *http.Request, limit int64, buf *[]byte) (held int64, err error) {
	b := *buf
	for {
		if room := int64(max(growth*len(b), firstRead)); len(b) == int(held) {
			if room = min(room, limit+1); r.ContentLength > 0 {
				room = min(room, r.ContentLength)
			}
			if !h.bodies.take(room - held) {
				return held, &awserr.Error{
					Code: "ServiceUnavailable", Status: http.StatusServiceUnavailable,
					Message: "Too many requests are being read. Try again.",
				}
			}
			held = room
			if int64(cap(b)) < room {
				b = append(make([]byte, 0, room), b...)
			}
		}
		n, err := r.Body.Read(b[len(b):held])
		b = b[:len(b)+n]
		*buf = b
		switch {
		case int64(len(b)) > limit:
			return held, tooLarge(limit)
		case r.ContentLength > 0 && int64(len(b)) == r.ContentLength, errors.Is(err, io.EOF):
			if int64(len(b)) < r.ContentLength {
				return held, errGone
			}
			return held, nil
		case err != nil:
			return held, errGone
		}
	}
}
