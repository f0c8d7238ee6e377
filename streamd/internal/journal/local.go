package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
)

// Fsync says when a [Local] journal makes frames durable.
type Fsync struct {
	// Off leaves it to the operating system: a crash of the process loses
	// nothing, a crash of the machine may lose what was acknowledged.
	Off bool
	// Interval syncs at this pace instead of before every acknowledgement: a
	// crash of the machine may lose so much. 0 syncs every frame before it is
	// acknowledged.
	Interval time.Duration
}

// Defaults of a ring.
const (
	DefaultFiles     = 3
	DefaultFileBytes = 16 << 20

	// MinFiles lets the ring go on in one file while another is read for a
	// checkpoint.
	MinFiles = 2
)

// LocalConfig holds the settings of a [Local] journal.
type LocalConfig struct {
	FS    vfs.FS // default vfs.OS
	Fsync Fsync
	// Files and FileBytes are the shape of the ring: what was not released yet
	// is at most so much. A frame has to fit one file. Default 3 of 16 MiB. The
	// files of a ring that had another shape are used as they are.
	Files, FileBytes int
	// TailBytes bounds the frames kept in memory for those who follow or read
	// near the head. Default 16 MiB.
	TailBytes int
	// Store is the id of the store that the journal belongs to, and the gateway
	// of its frames. A frame of another store is refused.
	Store [16]byte
	// From is the position of the last snapshot: what lies before it is not
	// needed.
	From LSN
	// Synced, if not nil, is told how long each fsync of frames took.
	Synced func(took time.Duration)
	Logger *slog.Logger // default slog.Default()
}

// Local is a journal in a directory of this machine. Its format is drawn in
// doc.go.
type Local struct {
	dir string
	cfg LocalConfig
	log *slog.Logger

	appending sync.Mutex // held by the one Append under way; guards buf, zeros and chain
	buf       []byte     // header scratch
	zeros     []byte
	chain     uint32 // checksum of the last frame's header

	syncing sync.Mutex // held while a file of frames is synced; taken after appending and before mu

	mu       sync.Mutex    // guards what follows
	live     []*ringFile   // in order of their bases; the last one grows
	free     []*ringFile   // hold nothing that is needed
	indexes  map[int]bool  // of the files that exist or are being made
	making   chan struct{} // closed when prepare ends; nil while it does not run
	crowded  bool          // prepare has failed: files are made when they are needed
	closing  bool
	tail     tail
	head     LSN
	durable  LSN  // on disk
	dirty    bool // written but not synced
	audience audience
	failed   error // wraps ErrFailed or ErrClosed; no call succeeds any more

	helpers sync.WaitGroup // the loop of Fsync.Interval, and prepare
	stop    chan struct{}  // closed by Close
}

// CorruptError reports damage in front of valid data. It is found when a
// journal is opened, and never repaired silently.
type CorruptError struct {
	File   string
	Offset int64
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal: %s is damaged at byte %d: %s; restore the data directory from a copy (streamd restore), or see what can be saved with streamd check", e.File, e.Offset, e.Reason)
}

// OpenLocal opens the journal in dir, which must exist, and makes an empty one
// if there is none. The caller holds the lock of the store.
func OpenLocal(dir string, cfg LocalConfig) (*Local, error) {
	if cfg.FS == nil {
		cfg.FS = vfs.OS
	}
	cfg.Files = max(cmp.Or(cfg.Files, DefaultFiles), MinFiles)
	cfg.FileBytes = max(cmp.Or(cfg.FileBytes, DefaultFileBytes), 2*block)
	cfg.TailBytes = cmp.Or(cfg.TailBytes, 16<<20)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	l := &Local{dir: dir, cfg: cfg, log: cfg.Logger, stop: make(chan struct{}), indexes: make(map[int]bool)}
	if err := l.recover(); err != nil {
		return nil, errors.Join(err, l.closeFiles())
	}
	if cfg.Fsync.Interval > 0 && !cfg.Fsync.Off {
		l.helpers.Go(l.syncLoop)
	}
	return l, nil
}

// MaxBody returns the size of the largest frame body that fits the ring.
func (l *Local) MaxBody() int { return min(l.cfg.FileBytes-headerSize, maxFrameBody) }

// Append implements [Journal].
func (l *Local) Append(_ context.Context, f *Frame) (LSN, error) {
	if len(f.Body) > l.MaxBody() {
		return 0, fmt.Errorf("journal: frame of %d bytes is over the limit of %d", len(f.Body), l.MaxBody())
	}
	h := newHeader(f)
	for {
		lsn, follower, err := l.append(h, f)
		if follower != nil {
			l.audience.handOn(&l.mu, follower, lsn, f, func() (LSN, bool) {
				l.tail.slabs.letGo(f)
				return l.head, l.failed == nil
			})
		}
		wait, ok := errors.AsType[*makingError](err)
		if !ok {
			return lsn, err
		}
		<-wait.done
	}
}

// append writes a frame. It returns the follower that the caller must hand it on
// to, if there is one.
func (l *Local) append(h header, f *Frame) (LSN, *follower, error) {
	l.appending.Lock()
	defer l.appending.Unlock()

	l.mu.Lock()
	prev, durable, failed := l.head, l.durable, l.failed
	file := l.live[len(l.live)-1]
	l.mu.Unlock()
	if failed != nil {
		return 0, nil, failed
	}
	h.start, h.chain, h.durable = blockUp(prev), l.chain, durable
	if h.start > file.base && int(h.end()-file.base) > l.cfg.FileBytes {
		err := l.roll(h.start)
		if _, ok := errors.AsType[*makingError](err); ok {
			return 0, nil, err
		}
		if errors.Is(err, ErrFull) || vfs.Passing(err) && !errors.Is(err, ErrFailed) {
			return 0, nil, fmt.Errorf("%w: %w", ErrFull, err)
		} else if err != nil {
			return 0, nil, l.fail(err)
		}
		h.durable = prev
		file = l.live[len(l.live)-1] // none but an Append changes it
	}
	if err := l.write(file, &h, f); errors.Is(err, syscall.ENOSPC) {
		return 0, nil, fmt.Errorf("%w: %w", ErrFull, err) // the next frame is written over it
	} else if err != nil {
		return 0, nil, l.fail(err)
	}
	synced := !l.cfg.Fsync.Off && l.cfg.Fsync.Interval == 0
	if synced {
		if err := l.sync(file); err != nil {
			return 0, nil, err
		}
	}
	l.chain = h.sum
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil { // meanwhile, in a sync of the interval
		return 0, nil, l.failed
	}
	l.head = h.end()
	if l.dirty = true; synced {
		l.durable = l.head
	}
	l.tail.push(prev, l.head, f)
	l.tail.shrink(l.cfg.TailBytes)
	l.prepareSoon()
	follower := l.audience.next(prev)
	if follower != nil {
		f.hold() // others may push it out of the tail while it is handed on
	}
	return l.head, follower, nil
}

// Frame returns a frame with an empty body that has room for size bytes, in
// memory that the journal uses again. The caller fills the body, seals the frame
// and appends it, or drops it.
func (l *Local) Frame(size int) *Frame {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail.slabs.frame(size)
}

// sync forces a file to disk. A failure is final: the pages may be gone.
func (l *Local) sync(f *ringFile) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	return l.syncAlone(f)
}

// syncAlone is sync for who holds l.syncing. There is one at a time, and none
// after one that has failed: the system tells one of two, and once, that what
// both were to write is lost.
func (l *Local) syncAlone(f *ringFile) error {
	l.mu.Lock()
	failed := l.failed
	l.mu.Unlock()
	if failed != nil {
		return failed
	}
	began := time.Now()
	err := f.file.Sync()
	if l.cfg.Synced != nil {
		l.cfg.Synced(time.Since(began))
	}
	if err != nil {
		return l.fail(err)
	}
	return nil
}

// write puts a frame in its place.
func (l *Local) write(file *ringFile, h *header, f *Frame) error {
	offset := int64(h.start - file.base)
	whole, rest := f.withHeader(), []byte(nil)
	if whole != nil {
		h.append(whole[:0])
	} else {
		l.buf, rest = h.append(l.buf[:0]), f.Body
		if len(rest) <= 64<<10 { // copying it costs less than a second system call
			l.buf, rest = append(l.buf, rest...), nil
		}
		whole = l.buf
	}
	_, err := file.file.WriteAt(whole, offset)
	if err == nil && len(rest) > 0 {
		_, err = file.file.WriteAt(rest, offset+headerSize)
	}
	if err == nil {
		size := int64(headerSize + len(f.Body))
		err = l.ahead(file, offset+size, size)
	}
	return err
}

// fail makes err the answer to this call and all to come.
func (l *Local) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	l.audience.news()
	return l.failed
}

// Follow implements [Journal].
func (l *Local) Follow(ctx context.Context, from LSN, apply func(LSN, *Frame) error) error {
	for {
		l.mu.Lock()
		if from >= l.head {
			if l.failed != nil {
				l.mu.Unlock()
				return l.failed
			}
			var err error
			if from, err = l.audience.wait(ctx, &l.mu, from, apply); err != nil {
				return err
			}
			continue
		}
		e, ok := l.tail.after(from)
		if ok {
			e.frame.lend()
		}
		l.mu.Unlock()
		if !ok {
			var err error
			if e, err = l.load(from); err != nil {
				return err
			}
		}
		if err := apply(e.lsn, e.frame); err != nil {
			return err
		}
		from = e.lsn
	}
}

// load reads the frame behind position from.
func (l *Local) load(from LSN) (entry, error) {
	start := blockUp(from)
	head := make([]byte, headerSize)
	file, err := l.readFull(head, start)
	if err != nil {
		return entry{}, err
	}
	h, ok := parseHeader(head)
	if !ok || h.start != start {
		return entry{}, &CorruptError{file.name, int64(start - file.base), "no frame where one was written"}
	}
	body := make([]byte, h.body)
	if _, err := l.readFull(body, start+headerSize); err != nil {
		return entry{}, err
	}
	f := h.frame(body)
	if f == nil {
		return entry{}, &CorruptError{file.name, int64(start - file.base), "the frame fails its checksum"}
	}
	return entry{from, h.end(), f}, nil
}

// ReadAt implements [Reader].
func (l *Local) ReadAt(pos LSN, n int) ([]byte, error) {
	l.mu.Lock()
	b, ok := l.tail.read(pos, n)
	l.mu.Unlock()
	if ok {
		return b, nil
	}
	b = make([]byte, n)
	if _, err := l.readFull(b, pos); err != nil {
		return nil, err
	}
	return b, nil
}

// ReadInto implements [Reader].
func (l *Local) ReadInto(b []byte, pos LSN) error {
	l.mu.Lock()
	kept, f := l.tail.find(pos, len(b))
	if f == nil {
		l.mu.Unlock()
		_, err := l.readFull(b, pos)
		return err
	}
	f.hold()
	l.mu.Unlock()
	copy(b, kept)
	l.mu.Lock()
	l.tail.slabs.letGo(f)
	l.mu.Unlock()
	return nil
}

// fileAt returns the file that position pos lies in. l.mu is held.
func (l *Local) fileAt(pos LSN) *ringFile {
	for _, f := range slices.Backward(l.live) {
		if f.base <= pos {
			return f
		}
	}
	return nil
}

// Base returns the position at which the file begins that position pos lies in,
// 0 if it was released. What lies before it can be released without the rest.
func (l *Local) Base(pos LSN) LSN {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.fileAt(pos); f != nil {
		return f.base
	}
	return 0
}

// readFull fills b with the bytes at position pos. They lie in one file.
func (l *Local) readFull(b []byte, pos LSN) (ringFile, error) {
	l.mu.Lock()
	file := l.fileAt(pos)
	if file == nil {
		l.mu.Unlock()
		return ringFile{}, fmt.Errorf("read at %d: %w", pos, ErrTrimmed)
	}
	as := *file
	l.mu.Unlock()
	_, err := as.file.ReadAt(b, int64(pos-as.base))
	l.mu.Lock()
	reused := l.fileAt(pos) != file // while it was read
	l.mu.Unlock()
	switch {
	case reused:
		return as, fmt.Errorf("read at %d: %w", pos, ErrTrimmed)
	case err != nil:
		return as, fmt.Errorf("read at %d: %w", pos, err)
	}
	return as, nil
}

// Head implements [Journal].
func (l *Local) Head(context.Context) (LSN, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head, l.failed
}

// Size returns how many bytes the files of the ring take that hold what was not
// released, and all of them together, written or not.
func (l *Local) Size() (live, all int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(l.head - l.live[0].base), int64(len(l.indexes) * l.cfg.FileBytes)
}

// Room returns how many bytes can be appended before something is released.
func (l *Local) Room() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	used := int(blockUp(l.head) - l.live[len(l.live)-1].base)
	return int64((l.cfg.Files-len(l.live))*l.cfg.FileBytes) + int64(max(l.cfg.FileBytes-used, 0))
}

// syncLoop syncs what was written, once an interval.
func (l *Local) syncLoop() {
	tick := time.NewTicker(l.cfg.Fsync.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := l.flush(); err != nil {
				l.log.Error("journal sync failed; nothing more is acknowledged", slog.Any("err", err))
				return
			}
		case <-l.stop:
			return
		}
	}
}

// flush syncs what was written since the last sync. Meanwhile frames can be
// appended, but not to another file: so the file is the last one until it is
// synced.
func (l *Local) flush() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	head, dirty, failed := l.head, l.dirty, l.failed
	file := l.live[len(l.live)-1]
	l.dirty = false
	l.mu.Unlock()
	if failed != nil || !dirty {
		return failed
	}
	if err := l.syncAlone(file); err != nil {
		return err
	}
	l.mu.Lock()
	l.durable = max(l.durable, head)
	l.mu.Unlock()
	return nil
}

// Close syncs what was written and closes the files. It reports the failure
// that the journal has met, if any.
func (l *Local) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return nil
	}
	l.closing = true
	l.mu.Unlock()
	close(l.stop)
	l.helpers.Wait()
	l.appending.Lock()
	defer l.appending.Unlock()
	err := l.flush()
	l.mu.Lock()
	l.failed = ErrClosed
	l.audience.news()
	l.mu.Unlock()
	return errors.Join(err, l.closeFiles())
}

func (l *Local) closeFiles() error {
	var errs []error
	for _, f := range slices.Concat(l.live, l.free) {
		errs = append(errs, f.file.Close())
	}
	return errors.Join(errs...)
}
