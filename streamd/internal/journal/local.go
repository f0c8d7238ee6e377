package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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

// LocalConfig holds the settings of a [Local] journal.
type LocalConfig struct {
	FS    vfs.FS // default vfs.OS
	Fsync Fsync
	// SegmentBytes is the size at which a new segment is begun. Default 64 MiB.
	SegmentBytes int
	// TailBytes bounds the frames kept in memory for those who follow or read
	// near the head. Default 16 MiB.
	TailBytes int
	// Store is the id of the store that the journal belongs to. A segment of
	// another store is refused.
	Store [16]byte
	// Checked is a position up to which the journal is known to be on disk,
	// from a clean shutdown. The segment behind it is written anew when the
	// journal is opened: after a failed fsync the page cache may show bytes
	// that the disk does not have.
	Checked LSN
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

	appending sync.Mutex // held by the one Append under way; guards buf and file
	buf       []byte     // header scratch
	file      vfs.File   // of the last segment

	mu       sync.Mutex // guards what follows
	segments []segment  // in order; the last one grows
	tail     tail
	head     LSN
	dirty    bool          // written but not synced
	changed  chan struct{} // closed and replaced when head grows; nil until somebody waits
	failed   error         // wraps ErrFailed or ErrClosed; no call succeeds any more

	syncer sync.WaitGroup // the loop of Fsync.Interval
	stop   chan struct{}  // closed by Close
}

type segment struct {
	base LSN // position of the first frame
	name string
	file vfs.File // open for reading; of the last segment too
}

// CorruptError reports damage in front of valid data. It is found when a
// journal is opened, and never repaired silently.
type CorruptError struct {
	File   string
	Offset int64
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal: %s is damaged at byte %d: %s; restore the data directory from a copy, or move it away to start empty", e.File, e.Offset, e.Reason)
}

// OpenLocal opens the journal in dir, which must exist, and makes an empty one
// if there is none. The caller holds the lock of the store.
func OpenLocal(dir string, cfg LocalConfig) (*Local, error) {
	if cfg.FS == nil {
		cfg.FS = vfs.OS
	}
	if cfg.SegmentBytes == 0 {
		cfg.SegmentBytes = 64 << 20
	}
	if cfg.TailBytes == 0 {
		cfg.TailBytes = 16 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	l := &Local{dir: dir, cfg: cfg, log: cfg.Logger, stop: make(chan struct{})}
	if err := l.recover(); err != nil {
		return nil, errors.Join(err, l.closeFiles())
	}
	if cfg.Fsync.Interval > 0 && !cfg.Fsync.Off {
		l.syncer.Go(l.syncLoop)
	}
	return l, nil
}

// Append implements [Journal].
func (l *Local) Append(_ context.Context, f *Frame) (LSN, error) {
	if len(f.Body) > maxFrameBody {
		return 0, fmt.Errorf("journal: frame of %d bytes is over the limit of %d", len(f.Body), maxFrameBody)
	}
	l.appending.Lock()
	defer l.appending.Unlock()

	l.mu.Lock()
	start, base, failed := l.head, l.segments[len(l.segments)-1].base, l.failed
	l.mu.Unlock()
	if failed != nil {
		return 0, failed
	}
	if start > base && int(start-base)+headerSize+len(f.Body) > l.cfg.SegmentBytes {
		if err := l.roll(start); errors.Is(err, syscall.ENOSPC) && !errors.Is(err, ErrFailed) {
			return 0, fmt.Errorf("%w: %w", ErrFull, err)
		} else if err != nil {
			return 0, l.fail(err)
		}
		base = start
	}
	durable := !l.cfg.Fsync.Off && l.cfg.Fsync.Interval == 0
	if err := l.write(start, segmentHeader+int64(start-base), f, durable); err != nil {
		return 0, l.giveUp(base, start, err)
	}
	if durable {
		if err := l.sync(); err != nil {
			return 0, l.fail(err) // final: the pages may be gone
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head = start + LSN(headerSize+len(f.Body))
	l.dirty = true
	l.tail.push(l.head, f)
	l.tail.shrink(l.cfg.TailBytes)
	l.changed = wake(l.changed)
	return l.head, nil
}

// sync forces the last segment to disk.
func (l *Local) sync() error {
	if l.cfg.Synced == nil {
		return l.file.Sync()
	}
	began := time.Now()
	err := l.file.Sync()
	l.cfg.Synced(time.Since(began))
	return err
}

// write puts the frame at the given offset of the last segment.
func (l *Local) write(start LSN, offset int64, f *Frame, durable bool) error {
	l.buf = appendHeader(l.buf[:0], start, f, durable)
	rest := f.Body
	if len(rest) <= 64<<10 { // copying it costs less than a second system call
		l.buf, rest = append(l.buf, rest...), nil
	}
	_, err := l.file.WriteAt(l.buf, offset)
	if err == nil && len(rest) > 0 {
		_, err = l.file.WriteAt(rest, offset+headerSize)
	}
	return err
}

// giveUp handles a failed write at position start. A full disk is not the end:
// what was written of the frame is cut off, and the next Append may succeed.
func (l *Local) giveUp(base, start LSN, err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return l.fail(err)
	}
	if terr := l.file.Truncate(segmentHeader + int64(start-base)); terr != nil {
		return l.fail(errors.Join(err, terr))
	}
	return fmt.Errorf("%w: %w", ErrFull, err)
}

// fail makes err the answer to this call and all to come.
func (l *Local) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	l.changed = wake(l.changed)
	return l.failed
}

// roll begins a new segment at position base. The old one is synced first, so
// that only the last segment can have a torn tail.
func (l *Local) roll(base LSN) error {
	if err := l.sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err) // final, whatever the cause
	}
	s, f, err := l.create(base, nil)
	if err != nil {
		return err
	}
	old := l.file
	l.file = f
	l.mu.Lock()
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	return old.Close()
}

// create makes a segment that begins at base with the given frames, durably:
// a file of the segment's name always has a whole header.
func (l *Local) create(base LSN, frames []byte) (segment, vfs.File, error) {
	name := filepath.Join(l.dir, fmt.Sprintf("%016x%s", uint64(base), segmentSuffix))
	content := append(appendSegmentHeader(nil, base, l.cfg.Store), frames...)
	if err := vfs.WriteFile(l.cfg.FS, name, content, 0o600); err != nil {
		return segment{}, nil, err
	}
	w, err := l.cfg.FS.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return segment{}, nil, err
	}
	r, err := vfs.Open(l.cfg.FS, name)
	if err != nil {
		return segment{}, nil, errors.Join(err, w.Close())
	}
	return segment{base, name, r}, w, nil
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
			if l.changed == nil {
				l.changed = make(chan struct{})
			}
			changed := l.changed
			l.mu.Unlock()
			select {
			case <-changed:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		e, ok := l.tail.after(from)
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

// load reads the frame that begins at position start from its file.
func (l *Local) load(start LSN) (entry, error) {
	var head [headerSize]byte
	s, err := l.readFull(head[:], start)
	if err != nil {
		return entry{}, err
	}
	offset := segmentHeader + int64(start-s.base)
	h, ok := parseHeader(head[:], start)
	if !ok {
		return entry{}, &CorruptError{s.name, offset, "no frame where one was written"}
	}
	b := make([]byte, headerSize+int(h.body))
	if _, err := l.readFull(b, start); err != nil {
		return entry{}, err
	}
	f, end, ok := parseFrame(b, start)
	if !ok {
		return entry{}, &CorruptError{s.name, offset, "the frame fails its checksum"}
	}
	return entry{end, f}, nil
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

// readFull fills b with the bytes at position pos. They lie in one segment.
func (l *Local) readFull(b []byte, pos LSN) (segment, error) {
	l.mu.Lock()
	i := len(l.segments) - 1
	for i >= 0 && l.segments[i].base > pos {
		i--
	}
	if i < 0 {
		l.mu.Unlock()
		return segment{}, fmt.Errorf("read at %d: %w", pos, ErrTrimmed)
	}
	s := l.segments[i]
	l.mu.Unlock()
	_, err := s.file.ReadAt(b, segmentHeader+int64(pos-s.base))
	switch {
	case errors.Is(err, os.ErrClosed): // released after it was looked up
		return s, fmt.Errorf("read at %d: %w", pos, ErrTrimmed)
	case err != nil:
		return s, fmt.Errorf("read at %d: %w", pos, err)
	}
	return s, nil
}

// Head implements [Journal].
func (l *Local) Head(context.Context) (LSN, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head, l.failed
}

// Size returns how many bytes of frames the journal keeps.
func (l *Local) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(l.head - l.segments[0].base)
}

// Release implements [Journal]. It removes the segments that lie wholly at or
// below upTo, but never the last.
func (l *Local) Release(_ context.Context, upTo LSN) error {
	l.mu.Lock()
	n := 0
	for n < len(l.segments)-1 && l.segments[n+1].base <= upTo {
		n++
	}
	gone := l.segments[:n:n]
	l.segments = l.segments[n:]
	l.mu.Unlock()
	var errs []error
	for _, s := range gone {
		errs = append(errs, s.file.Close(), l.cfg.FS.Remove(s.name))
	}
	if n > 0 {
		errs = append(errs, l.cfg.FS.SyncDir(l.dir))
	}
	return errors.Join(errs...)
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

// flush syncs what was written since the last sync.
func (l *Local) flush() error {
	l.appending.Lock()
	defer l.appending.Unlock()
	l.mu.Lock()
	dirty, failed := l.dirty, l.failed
	l.dirty = false
	l.mu.Unlock()
	if failed != nil || !dirty {
		return failed
	}
	if err := l.sync(); err != nil {
		return l.fail(err)
	}
	return nil
}

// Close syncs what was written and closes the files. It reports the failure
// that the journal has met, if any.
func (l *Local) Close() error {
	l.mu.Lock()
	if errors.Is(l.failed, ErrClosed) {
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	close(l.stop)
	l.syncer.Wait()
	err := l.flush()
	l.mu.Lock()
	l.failed = ErrClosed
	l.changed = wake(l.changed)
	l.mu.Unlock()
	l.appending.Lock()
	defer l.appending.Unlock()
	return errors.Join(err, l.closeFiles())
}

func (l *Local) closeFiles() error {
	var errs []error
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	for _, s := range l.segments {
		if s.file != nil {
			errs = append(errs, s.file.Close())
		}
	}
	return errors.Join(errs...)
}
