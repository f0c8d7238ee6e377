// Package journal orders what happens to a server and keeps it: the one log
// for records, streams and tables.
//
// A [Journal] knows nothing of what its frames mean. It gives each a position,
// makes it durable, and hands all of them on in order. Everything above it is a
// pure function of that order, so that another journal, a replicated one say,
// can take the place of the [Local] one without a change elsewhere.
package journal

import (
	"context"
	"errors"
)

// LSN is a position in a journal: for a frame, the number of journal bytes up
// to and including it. Positions only grow; 0 is before the first frame.
type LSN uint64

// FrameID names a frame for ever, so that a frame appended twice, because the
// outcome of the first try was unknown, can be told from two frames.
type FrameID struct {
	Gateway [16]byte // the store that wrote it
	Session uint64   // of the writer's process: grows with every start
	N       uint64   // counts the frames of a session, from 1
}

// Frame is what a journal stores as a whole or not at all. [NewFrame] makes one.
type Frame struct {
	ID   FrameID
	Prev uint32 // Sum of the author's previous frame: a chain for each author
	Sum  uint32 // CRC-32C of Body, which is long to find out
	Body []byte

	home *slab  // that the body lies in; nil if it is the caller's
	room []byte // for a header and the body, if home is not nil
}

// NewFrame returns a frame with its checksum.
func NewFrame(id FrameID, prev uint32, body []byte) *Frame {
	return (&Frame{Body: body}).Seal(id, prev)
}

// Seal completes a frame whose body is there, and returns it.
func (f *Frame) Seal(id FrameID, prev uint32) *Frame {
	f.ID, f.Prev, f.Sum = id, prev, Checksum(f.Body)
	return f
}

// Journal orders frames and makes them durable. All methods are safe for
// concurrent use.
type Journal interface {
	// Append orders f after every frame acknowledged before the call and
	// returns its position once it is durable. The journal keeps f.Body.
	Append(ctx context.Context, f *Frame) (LSN, error)

	// Follow hands on every durable frame with a position above from, in order
	// and without gaps, until ctx ends or apply returns an error. apply must
	// neither change the frame nor keep its body.
	Follow(ctx context.Context, from LSN, apply func(LSN, *Frame) error) error

	// Head returns the last durable position.
	Head(ctx context.Context) (LSN, error)

	// Release says that nothing at or below upTo will be followed or read
	// again.
	Release(ctx context.Context, upTo LSN) error

	// Close releases what the journal holds. Calls under way end with an error.
	Close() error
}

// Reader is implemented by a journal whose frame bodies can be read again by
// position, until they are released.
type Reader interface {
	// ReadAt returns n bytes of frame bodies, which begin at the given
	// position. The caller must not change them, and may keep them.
	ReadAt(pos LSN, n int) ([]byte, error)

	// ReadInto fills b with bytes of frame bodies, which begin at the given
	// position.
	ReadInto(b []byte, pos LSN) error
}

// Errors of a journal.
var (
	// ErrUnknown means that the frame may or may not be stored: append the
	// same frame again.
	ErrUnknown = errors.New("journal: outcome unknown")

	// ErrFailed means that the journal can take no more writes. The process
	// must end: what the disk holds is found out by starting again.
	ErrFailed = errors.New("journal: failed")

	// ErrTrimmed means that the position was released.
	ErrTrimmed = errors.New("journal: position was released")

	// ErrFull means that there is no room now; nothing was stored.
	ErrFull = errors.New("journal: full")

	// ErrClosed is returned by the calls of a closed journal.
	ErrClosed = errors.New("journal: closed")
)
