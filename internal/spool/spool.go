package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/streamkit/streamkit/internal/seglog"
	"github.com/streamkit/streamkit/internal/vfs"
)

var (
	// ErrFull is wrapped by the error of an Append that would exceed
	// Options.MaxBytes, and by that of a record that made room for another.
	ErrFull = errors.New("spool is full")

	// ErrClosed is returned by Append once Seal or Close has been called.
	ErrClosed = errors.New("spool: closed")

	// ErrDamaged is wrapped by the error of a record that could not be read back.
	ErrDamaged = errors.New("spool is damaged")
)

const (
	segmentExt = ".seg"
	frontExt   = ".front"
	damagedExt = ".damaged"
	acksName   = "acks"
	lockName   = "LOCK"

	damagedHint = "its records are lost as far as they are unsent; look at it with \"streamctl spool cat\", then remove it"
)

var segmentKind = seglog.Kind{'P', 'S', 'P', 'L'}

// Options are the settings of a [Spool].
type Options struct {
	// FS is the file system; nil means the operating system's.
	FS vfs.FS

	// MaxBytes is the most that the segments take on disk.
	MaxBytes int64

	// SegmentBytes is the size at which a segment is full. One write may exceed
	// it. Default 64 MiB, or an eighth of MaxBytes if that is less.
	SegmentBytes int64

	// BlockBytes is the size up to which Appends that wait for the disk share
	// one write. A larger Append has a write of its own. Default 1 MiB.
	BlockBytes int

	// Fsync has Append return only when the record would survive the end of the
	// machine, and not only that of the process.
	Fsync bool

	// Stream is the name or ARN of the stream that the records are for. A
	// directory of another stream is refused.
	Stream string

	// Logger receives what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	o.MaxBytes = cmp.Or(o.MaxBytes, 1<<30)
	o.SegmentBytes = cmp.Or(o.SegmentBytes, min(64<<20, o.MaxBytes/8))
	o.BlockBytes = cmp.Or(o.BlockBytes, 1<<20)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Spool is a queue of records on disk. Any number of goroutines append, one
// takes records out by [Spool.Next], and any may acknowledge. With a record goes
// a C, which stays in memory and comes back with it: a callback, say.
type Spool[C any] struct {
	dir   string
	opt   Options
	fsys  vfs.FS
	log   *slog.Logger
	lock  io.Closer
	about Identity

	// busy is set while records are not with the reader. Who finds it unset
	// knows that all of its own Appends are.
	busy atomic.Bool

	mu      sync.Mutex // guards all below
	cond    *sync.Cond // a write has ended
	cur     *group[C]  // takes records
	spare   []*group[C]
	writing bool // a leader writes; it owns out and last
	sealed  bool // Append refuses
	next    uint64
	segs    []*segment // in the order of reading
	total   int64      // bytes of segs
	lost    []*Loss[C] // for the reader
	drops   int        // under way; the reader waits
	calls   []attached[C]
	memory  []*memory[C] // blocks in a row that the reader need not read from disk
	room    chan struct{}
	waiters []waiter
	stats   Stats

	out  *seglog.Log // of the segment that is written; nil if there is none
	last *segment    // that segment

	// The reader's. rseg and roff change under mu.
	rseg   *segment // nil if there is none to read
	roff   int64
	reader *seglog.Reader // of opened
	opened *segment       // nil if reader is nil; changes under mu
	block  Block[C]
	tries  int    // reads of one block that failed
	taken  uint64 // number behind the last block
	handed uint64 // records before this number are done with by the reader, or lost

	data chan struct{} // holds one signal for the reader: look again
	keep keeper
}

// Stats is a snapshot of a spool.
type Stats struct {
	Records  int64  // not acknowledged; an estimate until older segments were read
	Unread   int64  // of these, not yet given to the reader
	Bytes    int64  // of the segments on disk, acknowledged records included
	Segments int    // files
	Appended uint64 // records, since the opening
	Replayed uint64 // records of earlier processes given to the reader
	Dropped  uint64 // records that made room for others
	Torn     uint64 // ends of segments that a crash has cut short
	Damaged  uint64 // segments that could not be read to their end
	Lost     uint64 // records of this process that could not be read back
	Missing  uint64 // unacknowledged records of earlier processes that are not in their segments any more, as far as their number is known
	Failures uint64 // writes and syncs that failed
}

// attached is a C and the records that it belongs to.
type attached[C any] struct {
	first uint64
	n     int
	c     C
}

// memory is a block that was written and is still in memory.
type memory[C any] struct {
	seg        *segment
	start, end int64
	group      *group[C]
}

type waiter struct {
	number uint64
	done   chan struct{}
}

// Loss is records that the reader will never get.
type Loss[C any] struct {
	Records int64 // -1 if their number is not known
	Bytes   int64 // on disk
	Old     bool  // of an earlier process
	Calls   []C
	Counts  []int // records of each of Calls
	Err     error // wraps ErrFull or ErrDamaged
}

// segment is one file.
type segment struct {
	path  string
	first uint64 // number of its first record
	front bool
	old   bool // of an earlier process
	salt  uint64
	size  int64 // bytes that may be read
	live  bool  // it is being written

	n        uint64 // records: written, or for an old one read so far
	complete bool   // n is final
	ended    uint64 // records at its end, as the writer has noted it; 0 if it has not
	read     uint64 // records that the reader has had
	past     bool   // the reader is behind it
	after    uint64 // number of the first record behind it, if known

	acks  bitmap
	skip  *bitmap // acks as an earlier process has left them
	dirty bool    // acks are not on disk
}

// finished reports whether nothing of the segment is needed any more.
func (g *segment) finished() bool { return g.complete && g.acks.done >= g.n }

// endOld takes note that a segment of an earlier process was read to its end. A
// crash may have kept acknowledgements and not the records. It returns how many
// records are missing that were written and not acknowledged.
func (g *segment) endOld() (missing uint64) {
	g.complete = true
	missing = missingOf(g.acks, g.n, g.ended)
	g.acks.clip(g.n)
	return missing
}

// missingOf returns how many of the records from n to ended are not in acks.
func missingOf(acks bitmap, n, ended uint64) uint64 {
	if ended <= n {
		return 0
	}
	tail := acks.clone()
	tail.clip(ended)
	done := tail.done
	tail.clip(n)
	return ended - n - (done - tail.done)
}

// estimate returns how many records the segment has, or may have.
func (g *segment) estimate() uint64 {
	switch {
	case g.complete || g.live:
		return g.n
	case g.ended > 0:
		return max(g.n, g.ended)
	}
	return max(g.n, g.after-min(g.after, g.first))
}

// Open opens the spool in a directory, which it makes if need be. The error
// wraps [vfs.ErrLocked] if another has it open.
func Open[C any](dir string, opt Options) (_ *Spool[C], err error) {
	opt = opt.withDefaults()
	s := &Spool[C]{
		dir: dir, opt: opt, fsys: opt.FS, log: opt.Logger,
		cur: new(group[C]), room: make(chan struct{}), data: make(chan struct{}, 1),
	}
	s.cond = sync.NewCond(&s.mu)
	if err := vfs.MakeDir(s.fsys, dir); err != nil {
		return nil, err
	}
	if s.lock, err = s.fsys.Lock(filepath.Join(dir, lockName)); err != nil {
		if errors.Is(err, vfs.ErrLocked) {
			err = fmt.Errorf("spool %s is in use: give every producer a directory of its own: %w", dir, err)
		}
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.lock.Close() // the error that matters is err
		}
	}()
	if s.about, err = open(s.fsys, dir, opt.Stream); err != nil {
		return nil, err
	}
	if err := s.recover(); err != nil {
		return nil, err
	}
	if err := s.startKeeper(); err != nil {
		return nil, err
	}
	s.busy.Store(len(s.segs) > 0)
	return s, nil
}

// Identity returns what the directory says of itself.
func (s *Spool[C]) Identity() Identity { return s.about }

// Dir returns the directory.
func (s *Spool[C]) Dir() string { return s.dir }

// recover finds the segments of earlier processes.
func (s *Spool[C]) recover() error {
	segs, err := list(s.fsys, s.dir, true)
	if err != nil {
		return err
	}
	acks, err := readAcks(s.fsys, s.dir)
	if err != nil {
		if !errors.Is(err, seglog.ErrCorrupt) {
			return err
		}
		path := filepath.Join(s.dir, acksName)
		s.log.Error("acknowledgements of a spool are damaged; records that were sent are sent again",
			slog.String("spool", s.dir), slog.String("kept", path+damagedExt), slog.Any("err", err))
		if err := s.fsys.Rename(path, path+damagedExt); err != nil {
			return err
		}
	}
	for i, g := range segs {
		if a := acks[g.first]; a != nil && a.salt == g.salt {
			g.acks = a.bitmap
			g.skip = new(a.clone())
			g.ended = a.ended
			g.dirty = true
		}
		// A front has later numbers than what comes behind it.
		for _, o := range segs[i+1:] {
			if o.first > g.first && (g.after == 0 || o.first < g.after) {
				g.after = o.first
			}
		}
	}
	// The numbers go on behind the last record there is.
	for _, g := range segs {
		if g.after != 0 {
			s.next = max(s.next, g.after)
			continue
		}
		n, err := s.count(g)
		if err != nil {
			return err
		}
		g.after = g.first + max(n, g.ended)
		s.next = max(s.next, g.after)
	}
	for _, g := range segs {
		s.total += g.size
	}
	s.segs = segs
	// One more, or the first new segment could have the name of an empty one.
	s.next++
	return nil
}

// count returns how many records a segment has; more, if it cannot be read.
func (s *Spool[C]) count(g *segment) (n uint64, err error) {
	r, err := seglog.OpenReader(s.fsys, g.path, seglog.Options{Kind: segmentKind})
	if errors.Is(err, seglog.ErrCorrupt) {
		return uint64(g.size), nil
	}
	if err != nil {
		return 0, err
	}
	defer r.Close() //nolint:errcheck // only read from
	for {
		b, err := r.Next(g.size)
		if err == nil {
			var h header
			if h, _, err = parseHeader(b); err == nil {
				n = h.first + uint64(h.count) - g.first
				continue
			}
		}
		var torn *seglog.TornError
		if errors.Is(err, io.EOF) || errors.As(err, &torn) {
			return n, nil
		}
		return max(n, uint64(g.size)), nil
	}
}

// list returns the segments of a directory in the order of reading. With clean
// set it removes what unfinished writes have left.
func list(fsys vfs.FS, dir string, clean bool) ([]*segment, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segs []*segment
	for _, e := range entries {
		name := e.Name()
		ext := filepath.Ext(name)
		if clean && (ext == ".new" || ext == ".tmp") {
			if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
				return nil, err
			}
			continue
		}
		base := strings.TrimSuffix(name, ext)
		first, err := strconv.ParseUint(base, 16, 63)
		if err != nil || len(base) != 16 || ext != segmentExt && ext != frontExt {
			continue
		}
		path := filepath.Join(dir, name)
		fi, err := fsys.Stat(path)
		if errors.Is(err, fs.ErrNotExist) && !clean {
			continue // finished meanwhile
		}
		if err != nil {
			return nil, err
		}
		g := &segment{path: path, first: first, front: ext == frontExt, old: true, size: fi.Size()}
		r, err := seglog.OpenReader(fsys, path, seglog.Options{Kind: segmentKind})
		switch {
		case err == nil:
			g.salt = r.Salt()
			_ = r.Close() // only read from
		case !errors.Is(err, seglog.ErrCorrupt): // that is told when it is read
			return nil, err
		}
		segs = append(segs, g)
	}
	slices.SortFunc(segs, func(a, b *segment) int {
		switch {
		case a.front && b.front:
			return cmp.Compare(b.first, a.first)
		case a.front:
			return -1
		case b.front:
			return 1
		}
		return cmp.Compare(a.first, b.first)
	})
	return segs, nil
}

// Busy reports whether records are in the spool that the reader has not had. If
// it says no, all that the caller has appended was handed out.
func (s *Spool[C]) Busy() bool { return s.busy.Load() }

// Stats returns a snapshot.
func (s *Spool[C]) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Bytes, st.Segments = s.total, len(s.segs)
	for _, g := range s.segs {
		n := g.estimate()
		st.Records += int64(n) - int64(min(g.acks.done, n))
		st.Unread += int64(n) - int64(min(g.read, n))
	}
	return st
}

// Room returns a channel that is closed when there may be more room than there
// was at the call.
func (s *Spool[C]) Room() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room
}

func (s *Spool[C]) roomLocked() {
	close(s.room)
	s.room = make(chan struct{})
}

// Seal makes Append refuse more.
func (s *Spool[C]) Seal() {
	s.mu.Lock()
	s.sealed = true
	s.roomLocked()
	s.cond.Broadcast()
	s.mu.Unlock()
	s.wakeReader()
}

// Close ends the spool. What was not acknowledged stays on disk. No other method
// may run or be called afterwards but Stats.
func (s *Spool[C]) Close() error {
	s.Seal()
	s.mu.Lock()
	for s.writing || s.cur.count > 0 {
		s.cond.Wait()
	}
	s.sealSegmentLocked()
	s.mu.Unlock()
	s.closeReader()
	err := s.stopKeeper()
	return errors.Join(err, s.lock.Close())
}
