package awsproto

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// DefaultAnswerBytes is how many bytes of answers are held at once if nothing
// else is said.
const DefaultAnswerBytes = 256 << 20

// MaxAnswer is about the most that one answer takes: GetRecords gives 10 MiB of
// data in base64, and their keys.
const MaxAnswer = 16 << 20

// answerBudget counts the buffers of answers from when one is asked for until it
// has been written: a client that reads slowly holds one for long.
type answerBudget struct {
	max     int64
	used    atomic.Int64
	refused atomic.Int64
}

// take counts an answer unless it is too much. One that is alone always fits.
func (b *answerBudget) take(n int64) bool {
	if used := b.used.Add(n); used > b.max && used > n {
		b.used.Add(-n)
		b.refused.Add(1)
		return false
	}
	return true
}

// full reports whether nothing would fit.
func (b *answerBudget) full() bool { return b.used.Load() >= b.max }

// AnswerBytes returns how many bytes of answers are held.
func (h *Handler) AnswerBytes() int64 { return h.answers.used.Load() }

// AnswersRefused returns how many answers were refused for want of room.
func (h *Handler) AnswersRefused() int64 { return h.answers.refused.Load() }

type answerKey struct{}

// AdmitAnswer refuses an operation with this context whose answer has no room.
// size is what its output says; 0 asks, before there is one, whether there is
// room for any. An answer that was admitted has its room until it is written. Only
// operations that change nothing may ask: what others have done is done.
//
// The error is the one by which clients wait before they try again.
func AdmitAnswer(ctx context.Context, size int) *awserr.Error {
	x, ok := ctx.Value(answerKey{}).(*exchange)
	if !ok {
		return nil
	}
	b := &x.h.answers
	if size == 0 {
		if !b.full() {
			return nil
		}
		b.refused.Add(1)
		return noRoom()
	}
	n := answerRoom(size)
	if !b.take(n) {
		return noRoom()
	}
	x.held += n
	return nil
}

func noRoom() *awserr.Error {
	return awserr.New("ProvisionedThroughputExceededException", "Rate exceeded: too many answers wait for clients that read them slowly. Try again.")
}

// answerBuffer returns room for an answer of about size bytes, and counts it; the
// caller gives it back with freeAnswer. held is what was counted for it before.
func (h *Handler) answerBuffer(size int, held int64) (buf *[]byte, counted int64) {
	n := answerRoom(size)
	if n > held {
		h.answers.used.Add(n - held)
		held = n
	}
	return takeRoom(int(n)), held
}

func (h *Handler) freeAnswer(buf *[]byte, counted int64) {
	giveBuffer(buf)
	h.answers.used.Add(-counted)
}

// answerRoom is the size of the buffer of an answer whose output says size.
func answerRoom(size int) int64 {
	n := size + 64
	if n <= maxPooled {
		return int64(n)
	}
	if c := class(n); c < len(large) {
		return int64(maxPooled << (c + 1))
	}
	return int64(n)
}

// large holds []byte of 2, 4, 8 and 16 MiB: of each size its own, so that a
// small answer does not hold a large buffer.
var large [4]sync.Pool

// class returns the index in large of the buffers that n bytes fit, for n above
// maxPooled.
func class(n int) int { return bits.Len(uint(n-1)) - bits.Len(uint(maxPooled)) }

// takeRoom returns a buffer that n bytes fit.
func takeRoom(n int) *[]byte {
	if n <= maxPooled {
		buf := takeBuffer()
		if cap(*buf) < n {
			*buf = make([]byte, 0, n)
		}
		return buf
	}
	if c := class(n); c < len(large) {
		if buf, ok := large[c].Get().(*[]byte); ok {
			return buf
		}
	}
	b := make([]byte, 0, n)
	return &b
}

// giveLarge takes a buffer back, if it is of one of the sizes.
func giveLarge(b *[]byte) {
	if c := class(cap(*b)); c < len(large) && cap(*b) == maxPooled<<(c+1) {
		*b = (*b)[:0]
		large[c].Put(b)
	}
}
