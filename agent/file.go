package agent

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/streamkit/streamkit/agent/internal/position"
	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/producer"
)

// A file is one generation of a file: its content between two truncations.
//
// The flow's loop owns it, but for what mu guards and the atomics.
type file struct {
	flow *flow
	key  string // partition key of its records with KeyFile

	f        vfs.File // nil while closed
	path     string
	prevPath string // name before a rename that another file may take; "" if none
	id       tail.ID
	birth    int64
	read     int64 // every byte before it is cut into records or skipped
	before   [tail.MarkerMax]byte
	nbefore  int // bytes of before: those just before read
	size     int64
	known    int64 // size at the last read: that much there was of this content
	mtime    int64
	prefix   tail.Print
	start    tail.Print // of the first bytes of prefix, PrefixMin of them; zero if there are fewer
	idleSize int64      // size at which there was no whole record behind read; -1 if unknown

	content    fileCut
	headerLeft int
	nul        bool  // made by a truncation: NUL bytes at its start are a hole
	long       *long // the line longer than a chunk whose end is sought; nil if none
	large      bool  // the next turn needs more than a chunk

	grew      time.Time // when it was first seen or last grew
	polled    time.Time
	progress  time.Time // when something of it was read since it was deleted
	queued    bool      // in flow.ready
	failed    error     // of the last turn
	listed    bool      // found by the last scan
	unseen    bool      // it has changed since it was closed, and could not be opened
	misses    int       // scans in a row that did not find it
	rotated   bool      // another file has its name, or it has none
	rotatedAt time.Time
	unsought  bool // no copy of it is looked for beside it
	final     bool // read the rest even without a newline
	deleted   bool // it has no name at all
	ended     bool // rotated and read to its end
	remote    bool // on a file system that is not to be trusted with open files

	// An orphan is a generation whose file is not at hand. Until the window ends, a
	// file with its content continues it.
	window   time.Time // zero: only its inode is looked for
	reason   lossReason
	orphaned uint64 // order among the orphans

	// Of the compressed file that is to have its content, and is not whole.
	packID   tail.ID
	packSize int64
	packGrew time.Time

	readNow atomic.Int64 // read, for Status
	watched atomic.Bool  // events come for its directory, for Status

	// With OrderingFile: spans that the sink has, and whether one failed, so that the
	// sink takes no more before it is told to.
	atSink  atomic.Int64
	stopped atomic.Bool

	mu    sync.Mutex // guards what follows
	entry position.Entry
	spans []*span // cut and not yet committed, in order
	dirty bool    // entry changed since it was last taken for the store
	gone  bool    // nothing will be read any more: done once spans is empty
	drop  bool    // then forget it: the file is deleted
	round uint64  // of storing, in which the entry was last taken
}

// newUID returns the identity of a generation. It depends on the file alone, so
// that a restart before the first checkpoint finds the same one, and with it the
// same partition key.
func newUID(id tail.ID, birth int64, attempt uint64) uint64 {
	var b [32]byte
	binary.LittleEndian.PutUint64(b[0:], id.Dev)
	binary.LittleEndian.PutUint64(b[8:], id.Ino)
	binary.LittleEndian.PutUint64(b[16:], uint64(birth))
	binary.LittleEndian.PutUint64(b[24:], attempt)
	return xxhash.Sum64(b[:])
}

func fileKey(uid uint64) string { return fmt.Sprintf("%016x", uid) }

// blank reports whether nothing is known of the content, which then fits any file.
func (g *file) blank() bool { return g.read == 0 && g.prefix.Len == 0 }

// setPrefix notes how the file begins.
func (g *file) setPrefix(h *tail.Head) {
	g.prefix = h.Print()
	if start, ok := h.First(tail.PrefixMin); ok {
		g.start = start
	}
}

// marker returns the print of the bytes before read.
func (g *file) marker() tail.Print {
	if g.nbefore == 0 && g.read == g.entry.Committed { // only from the store so far
		return g.entry.Marker
	}
	return tail.PrintOf(g.before[:g.nbefore])
}

// update changes the entry under its lock and marks it for the store.
func (g *file) update(change func(e *position.Entry)) {
	g.mu.Lock()
	change(&g.entry)
	mark := !g.dirty
	g.dirty = true
	g.mu.Unlock()
	if mark {
		g.flow.markDirty(g)
	}
}

// take returns what the store is to know, and whether it is to forget it.
func (g *file) take(round uint64) (e position.Entry, drop bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dirty, g.round = false, round
	return g.entry, g.drop && g.gone && len(g.spans) == 0
}

// end says that no more will be read; drop that the file is deleted.
func (g *file) end(drop bool) {
	g.ended = true
	g.update(func(e *position.Entry) {
		g.gone, g.drop = true, drop
		e.Done = len(g.spans) == 0
	})
}

// reopen takes back an end: the file grew after all.
func (g *file) reopen() {
	g.ended, g.final = false, false
	g.update(func(e *position.Entry) {
		g.gone, g.drop = false, false
		e.Done, e.Lost = false, false
	})
}

// A span is a range of a file that is acknowledged as a whole.
type span struct {
	g          *file
	seq        uint64 // order within the flow
	end        int64  // offset; it begins where the one before ends
	marker     tail.Print
	headerLeft int
	born       time.Time // when it was cut

	chunk  *chunk
	recs   []producer.UserRecord
	done   bool // guarded by g.mu
	arena  []byte
	finish func(producer.BatchResult) // bound once, so that no span allocates
}

var spanPool sync.Pool

func newSpan() *span {
	if s, ok := spanPool.Get().(*span); ok {
		return s
	}
	s := &span{}
	s.finish = s.result
	return s
}

// free gives s back for reuse.
func (s *span) free() {
	s.g, s.chunk, s.recs, s.done, s.arena = nil, nil, nil, false, s.arena[:0]
	spanPool.Put(s)
}

// result is the callback of a batch. It runs on the sink's goroutines.
func (s *span) result(res producer.BatchResult) {
	fl := s.g.flow
	if fl.resumer != nil {
		defer fl.atRest(s.g) // s is no longer its own when it is completed
		if len(res.Failed) > 0 {
			s.g.stopped.Store(true)
		}
	}
	fl.stats.attempts.Add(uint64(len(s.recs)))
	if len(res.Failed) == 0 {
		fl.stats.acked.Add(uint64(len(s.recs)))
		fl.stats.ackedBytes.Add(dataBytes(s.recs))
		fl.stats.latency.observe(time.Since(s.born))
		fl.recovered()
		s.complete()
		return
	}
	// Keep the failed ones, in order.
	n := 0
	before := dataBytes(s.recs)
	for _, f := range res.Failed {
		if f.Index >= n && f.Index < len(s.recs) {
			s.recs[n] = s.recs[f.Index]
			n++
		}
	}
	fl.stats.acked.Add(uint64(len(s.recs) - n))
	s.recs = s.recs[:n]
	fl.stats.ackedBytes.Add(before - dataBytes(s.recs))
	fl.stats.failedRecords.Add(uint64(n))
	fl.retryLater(s, res.Err())
}

func dataBytes(recs []producer.UserRecord) (n uint64) {
	for i := range recs {
		n += uint64(len(recs[i].Data))
	}
	return n
}

// complete marks the span and commits the leading run of completed spans: what
// lies behind one that is still on its way must not be.
func (s *span) complete() {
	g := s.g
	fl := g.flow
	s.chunk.Release()
	s.chunk, s.recs = nil, nil
	s.arena = s.arena[:0]

	g.mu.Lock()
	s.done = true
	n := 0
	for n < len(g.spans) && g.spans[n].done {
		n++
	}
	mark := false
	if n > 0 {
		last := g.spans[n-1]
		g.entry.Committed, g.entry.Marker, g.entry.HeaderLeft = last.end, last.marker, last.headerLeft
		for _, d := range g.spans[:n] {
			d.free()
		}
		rest := copy(g.spans, g.spans[n:])
		clear(g.spans[rest:])
		g.spans = g.spans[:rest]
		if g.gone && rest == 0 {
			g.entry.Done = true
		}
		mark = !g.dirty
		g.dirty = true
	}
	g.mu.Unlock()
	if mark {
		fl.markDirty(g)
	}
	fl.progress.Store(time.Now().UnixNano())
	fl.outstanding.Add(-1)
	fl.signal()
}
