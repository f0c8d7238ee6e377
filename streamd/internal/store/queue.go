package store

import (
	"slices"
	"sync"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

// call is a change on its way through the journal.
type call struct {
	entries  []byte         // encoded, one or more
	n        int            // how many
	records  bool           // some are records
	request  *table.Request // what the one entry was made of, if it is a table's
	outcomes []state.Outcome
	err      error
	done     chan struct{} // closed when outcomes or err is set
}

// entriesPool holds buffers of encoded entries. The commit loop gives back what
// it has copied into a frame; others are left to the garbage collector.
var entriesPool = sync.Pool{New: func() any { return new([]byte) }}

const maxPooledEntries = 1 << 20

// takeEntries returns an empty buffer for size bytes.
func takeEntries(size int) []byte {
	p := entriesPool.Get().(*[]byte)
	b := *p
	*p = nil
	if cap(b) < size {
		b = make([]byte, 0, size)
	}
	return b[:0]
}

func giveEntries(b []byte) {
	if cap(b) > maxPooledEntries {
		return
	}
	entriesPool.Put(&b)
}

// queue holds the calls that wait for the commit loop.
type queue struct {
	mu     sync.Mutex // guards what follows
	calls  []*call
	bytes  int
	closed error // why no more calls are taken

	ready chan struct{} // of capacity 1: says that calls is not empty
}

func (q *queue) init() { q.ready = make(chan struct{}, 1) }

// put adds c. It does not wait: a queue that is full refuses.
func (q *queue) put(c *call) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	if q.bytes > 0 && q.bytes+len(c.entries) > maxQueueBytes {
		return ErrFull
	}
	q.calls = append(q.calls, c)
	q.bytes += len(c.entries)
	select {
	case q.ready <- struct{}{}:
	default: // said already
	}
	return nil
}

// take removes and returns the calls that fit one frame, at least one if there
// is any, and the size of their entries.
func (q *queue) take() (calls []*call, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.calls) && (n == 0 || bytes+len(q.calls[n].entries) <= maxFrameBytes) {
		bytes += len(q.calls[n].entries)
		n++
	}
	calls = slices.Clone(q.calls[:n])
	rest := copy(q.calls, q.calls[n:])
	clear(q.calls[rest:])
	q.calls = q.calls[:rest]
	q.bytes -= bytes
	if rest > 0 {
		select {
		case q.ready <- struct{}{}:
		default: // said already
		}
	}
	return calls, bytes
}

// fail ends the calls that wait, and all to come, with err.
func (q *queue) fail(err error) {
	q.mu.Lock()
	calls := q.calls
	q.calls, q.bytes = nil, 0
	if q.closed == nil {
		q.closed = err
	}
	q.mu.Unlock()
	for _, c := range calls {
		c.err = err
		close(c.done)
	}
}

// frames holds the calls of each frame that was handed to the journal and is
// not applied yet, oldest first.
type frames struct {
	mu      sync.Mutex // guards what follows
	waiting []committed
	closed  error
	applied chan struct{} // closed and replaced when a frame is applied; nil until somebody waits
}

type committed struct {
	n     uint64 // number of the frame in this session
	calls []*call
	since time.Time
}

// add is called before the frame is appended: it may be applied before Append
// returns.
func (f *frames) add(n uint64, calls []*call) {
	f.mu.Lock()
	closed := f.closed
	if closed == nil {
		f.waiting = append(f.waiting, committed{n, calls, time.Now()})
	}
	f.mu.Unlock()
	if closed != nil {
		finish(calls, closed)
	}
}

// oldest returns how long the first frame has waited, 0 if there is none.
func (f *frames) oldest() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 {
		return 0
	}
	return time.Since(f.waiting[0].since)
}

// take returns the calls of frame n.
func (f *frames) take(n uint64) []*call {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 || f.waiting[0].n != n {
		return nil
	}
	calls := f.waiting[0].calls
	f.waiting = f.waiting[1:]
	return calls
}

// applyDone tells those who wait that a frame was applied.
func (f *frames) applyDone() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.applied != nil {
		close(f.applied)
		f.applied = nil
	}
}

// waitApplied waits until a frame is applied. It returns at once if none is
// waiting, and false if failed is closed.
func (f *frames) waitApplied(failed <-chan struct{}) bool {
	f.mu.Lock()
	if len(f.waiting) == 0 {
		f.mu.Unlock()
		return false
	}
	if f.applied == nil {
		f.applied = make(chan struct{})
	}
	applied := f.applied
	f.mu.Unlock()
	select {
	case <-applied:
		return true
	case <-failed:
		return false
	}
}

// fail ends the calls of all frames, and of those to come, with err.
func (f *frames) fail(err error) {
	f.mu.Lock()
	waiting := f.waiting
	f.waiting = nil
	if f.closed == nil {
		f.closed = err
	}
	f.mu.Unlock()
	for _, w := range waiting {
		finish(w.calls, err)
	}
}

func finish(calls []*call, err error) {
	for _, c := range calls {
		c.err = err
		close(c.done)
	}
}
