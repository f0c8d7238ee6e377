package seglog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/streamkit/streamkit/internal/vfs"
)

var (
	// ErrCorrupt is matched by every [CorruptError].
	ErrCorrupt = errors.New("corrupt log")

	// ErrClosed is returned once Close has been called.
	ErrClosed = errors.New("seglog: closed")

	errPayload = fmt.Errorf("seglog: a payload has from 1 to %d bytes", MaxPayload)
)

// CorruptError reports a log with damage that no crash explains.
type CorruptError struct {
	Path   string
	Offset int64 // of the first bad byte
	Reason string
	Hint   string // what the operator can do
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %s; %s", e.Path, e.Offset, e.Reason, e.Hint)
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Options are the settings of a [Log].
type Options struct {
	// Kind is stored in the file; a log of another kind is refused.
	Kind Kind

	// Hint completes the sentence of a [CorruptError]: what the operator can do
	// about a damaged file. The default advises to move the file away.
	Hint string

	// NoLock opens the log without taking FILE.lock. The default, false, makes
	// sure that no other process has the log open.
	NoLock bool
}

func (o Options) hint() string {
	if o.Hint == "" {
		return "move the file away to start with an empty one"
	}
	return o.Hint
}

// Log is an append-only file of payloads. It is not safe for concurrent use: its
// owner serialises.
type Log struct {
	fsys vfs.FS
	path string
	opt  Options
	lock io.Closer // nil with NoLock

	file   vfs.File
	salt   uint64
	size   int64 // of the good part of file
	synced int64 // of it, known durable
	torn   int64 // bytes cut off by Open
	failed error // first failed write or fsync of file
	closed bool
	buf    []byte // scratch of Append
}

// Open opens the log at path, or makes an empty one. The directory must exist.
// An error wraps [vfs.ErrLocked] if another process has the log, and [ErrCorrupt]
// if the file is damaged.
func Open(fsys vfs.FS, path string, opt Options) (_ *Log, err error) {
	opt.Hint = opt.hint()
	l := &Log{fsys: fsys, path: path, opt: opt}
	if !opt.NoLock {
		if l.lock, err = fsys.Lock(path + ".lock"); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			_ = l.Close() // the error that matters is err
		}
	}()
	l.file, err = fsys.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		// By way of a rewrite, so that a file without a whole header never exists.
		return l, l.Rewrite(func(func([]byte) error) error { return nil })
	}
	if err != nil {
		return nil, err
	}
	return l, l.recover()
}

// Create makes an empty log at path, which must not exist: the error wraps
// [fs.ErrExist] if it does. All else is as with [Open].
func Create(fsys vfs.FS, path string, opt Options) (*Log, error) {
	switch _, err := fsys.Stat(path); {
	case err == nil:
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return Open(fsys, path, opt)
}

// recover finds the end of the file and cuts a torn tail.
func (l *Log) recover() error {
	fi, err := l.file.Stat()
	if err != nil {
		return err
	}
	header := make([]byte, min(headerSize, fi.Size()))
	if _, err := l.file.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the header of %s: %w", l.path, err)
	}
	if l.salt, err = parseHeader(header, l.opt.Kind); err != nil {
		return l.corrupt(0, err.Error())
	}
	r := &reader{src: l.file, size: fi.Size(), salt: l.salt}
	off, err := l.walk(r, func([]byte) error { return nil })
	if err != nil {
		return err
	}
	if off < r.size {
		bad, err := r.damaged(off)
		if err != nil {
			return fmt.Errorf("read %s: %w", l.path, err)
		}
		if bad {
			return l.corrupt(off, "records behind it are whole")
		}
		if err := l.cut(off, r.size); err != nil {
			return fmt.Errorf("cut the torn tail of %s: %w", l.path, err)
		}
	}
	l.size = off
	// What a process before this one wrote may still be in memory alone.
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.synced = l.size
	return nil
}

func (l *Log) corrupt(off int64, reason string) error {
	return &CorruptError{Path: l.path, Offset: off, Reason: reason, Hint: l.opt.Hint}
}

// walk calls fn for each frame of r and returns the end of the last.
func (l *Log) walk(r *reader, fn func(payload []byte) error) (int64, error) {
	off := int64(headerSize)
	for off < r.size {
		payload, _, err := r.frame(off)
		if errors.Is(err, errNoFrame) {
			break
		}
		if err != nil {
			return off, fmt.Errorf("read %s: %w", l.path, err)
		}
		if err := fn(payload); err != nil {
			return off, err
		}
		off += frameSize + int64(len(payload))
	}
	return off, nil
}

// cut saves the bytes from off on in FILE.torn and ends the file at off. They are kept
// for a person to look at: a full disk is no reason not to go on.
func (l *Log) cut(off, size int64) error {
	tail := make([]byte, min(size-off, MaxPayload+frameSize)) // one torn frame is no longer
	if _, err := l.file.ReadAt(tail, off); err != nil {
		return err
	}
	if err := vfs.WriteFile(l.fsys, l.path+".torn", tail, 0o600); err != nil && !vfs.Passing(err) {
		return err
	}
	l.torn = size - off
	return l.file.Truncate(off)
}

// Replay calls fn for each payload in order. The payload is valid during the call.
// An error of fn ends the replay and is returned.
func (l *Log) Replay(fn func(payload []byte) error) error {
	if l.closed {
		return ErrClosed
	}
	off, err := l.walk(&reader{src: l.file, size: l.size, salt: l.salt}, fn)
	if err == nil && off < l.size {
		return l.corrupt(off, "the file changed while it was open")
	}
	return err
}

// Append writes a payload at the end, from 1 to [MaxPayload] bytes. It survives
// the end of the process; [Log.Sync] makes it survive the machine's.
func (l *Log) Append(payload []byte) error {
	if l.closed {
		return ErrClosed
	}
	if l.failed != nil {
		return l.failed
	}
	if len(payload) == 0 || len(payload) > MaxPayload {
		return errPayload
	}
	l.buf = appendFrame(l.buf[:0], l.salt, l.size, l.synced, payload)
	if _, err := l.file.WriteAt(l.buf, l.size); err != nil {
		l.failed = fmt.Errorf("append to %s: %w", l.path, err)
		return l.failed
	}
	l.size += int64(len(l.buf))
	return nil
}

// Sync makes every appended payload durable.
func (l *Log) Sync() error {
	if l.closed {
		return ErrClosed
	}
	if l.failed != nil {
		return l.failed
	}
	if l.synced == l.size {
		return nil
	}
	if err := l.file.Sync(); err != nil {
		l.failed = fmt.Errorf("sync %s: %w", l.path, err)
		return l.failed
	}
	l.synced = l.size
	return nil
}

// Rewrite replaces the whole content, durably and at once, by the payloads that
// fill hands to add: after a crash the old or the new content is there. After an
// error the old content stays. Rewrite also heals a log with a failed write.
func (l *Log) Rewrite(fill func(add func(payload []byte) error) error) error {
	if l.closed {
		return ErrClosed
	}
	tmp := l.path + ".new"
	f, err := l.fsys.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	renamed := false
	defer func() {
		if !renamed {
			_ = f.Close()
			_ = l.fsys.Remove(tmp) // the error that matters is err
		}
	}()
	next := &Log{fsys: l.fsys, path: tmp, file: f, salt: rand.Uint64(), buf: l.buf}
	n, err := f.Write(appendHeader(nil, l.opt.Kind, next.salt))
	if err != nil {
		return err
	}
	next.size = int64(n)
	if err := fill(next.Append); err != nil {
		return err
	}
	if err := next.Sync(); err != nil {
		return err
	}
	if err := l.fsys.Rename(tmp, l.path); err != nil {
		return err
	}
	renamed = true
	if l.file != nil {
		_ = l.file.Close() // its content is replaced
	}
	l.file, l.salt, l.size, l.synced, l.failed = f, next.salt, next.size, next.synced, nil
	// Without its directory's sync the new name may be lost, and the old file with
	// all that was durable in it may come back: appends to the new one would be
	// promises about a file without a name.
	if serr := l.fsys.SyncDir(filepath.Dir(l.path)); serr != nil {
		l.failed = fmt.Errorf("sync the directory of %s: %w", l.path, serr)
		return l.failed
	}
	return nil
}

// Abandon closes the log and cuts it off at size, which [Log.Size] has returned
// before: what was appended behind it, and may have failed, is to be read by
// nobody. Where the cut fails, a later reader may find it all the same.
func (l *Log) Abandon(size int64) error {
	if l.closed {
		return ErrClosed
	}
	var err error
	if size >= headerSize {
		err = l.file.Truncate(size)
	}
	return errors.Join(err, l.Close())
}

// Salt returns the number that tells this file from every other log.
func (l *Log) Salt() uint64 { return l.salt }

// Size returns the size of the file in bytes.
func (l *Log) Size() int64 { return l.size }

// Torn returns how many bytes of a torn tail Open cut off. They are in FILE.torn.
func (l *Log) Torn() int64 { return l.torn }

// Close closes the file and gives up the lock, without a Sync. A second call does
// nothing.
func (l *Log) Close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	var errs []error
	if l.file != nil {
		errs = append(errs, l.file.Close())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}
