package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/streamkit/streamkit/internal/vfs"
)

// ringFile is a file of the ring.
type ringFile struct {
	index int
	name  string
	file  vfs.File
	base  LSN   // position at which its first frame begins, while it is live
	size  int64 // of the file; the goroutine that appends has it
}

func ringName(dir string, index int) string {
	return filepath.Join(dir, fmt.Sprintf("%02d%s", index, ringSuffix))
}

// create makes a file of the ring that is as large as what is written to it.
func (l *Local) create(index int) (*ringFile, error) {
	name := ringName(l.dir, index)
	f, err := l.cfg.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := l.cfg.FS.SyncDir(l.dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &ringFile{index: index, name: name, file: f}, nil
}

// prepareSoon has the files made that the ring lacks, once some of the first is
// used: a store with little in it stays small. l.mu is held.
func (l *Local) prepareSoon() {
	used := int(l.head - l.live[len(l.live)-1].base)
	if l.making != nil || l.closing || l.crowded || len(l.indexes) >= l.cfg.Files || len(l.live) == 1 && used < l.cfg.FileBytes/4 {
		return
	}
	l.making = make(chan struct{})
	l.helpers.Go(l.prepare)
}

// prepare makes the files that the ring lacks, full of zeros, so that the first
// turn is as quick as those that follow. A disk without room for them is no
// failure yet.
func (l *Local) prepare() {
	defer func() {
		l.mu.Lock()
		close(l.making)
		l.making = nil
		l.mu.Unlock()
	}()
	for {
		l.mu.Lock()
		index, ok := l.takeIndex()
		l.mu.Unlock()
		if !ok {
			return
		}
		f, err := l.createZeroed(index)
		l.mu.Lock()
		if err != nil {
			delete(l.indexes, index)
			l.crowded = true
		} else {
			l.free = append(l.free, f)
		}
		stop := err != nil || l.failed != nil
		l.mu.Unlock()
		if err != nil && !errors.Is(err, ErrClosed) {
			l.log.Warn("cannot make a file of the journal's ring ahead of its use", slog.String("file", ringName(l.dir, index)), slog.Any("err", err))
		}
		if stop {
			return
		}
	}
}

// takeIndex returns the number of a file that the ring lacks. l.mu is held.
func (l *Local) takeIndex() (int, bool) {
	for i := range l.cfg.Files {
		if !l.indexes[i] {
			l.indexes[i] = true
			return i, true
		}
	}
	return 0, false
}

func (l *Local) createZeroed(index int) (_ *ringFile, err error) {
	name := ringName(l.dir, index)
	tmp := name + ".tmp"
	f, err := l.cfg.FS.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), l.cfg.FS.Remove(tmp))
		}
	}()
	zeros := make([]byte, min(l.cfg.FileBytes, 1<<20))
	for at := 0; at < l.cfg.FileBytes; at += len(zeros) {
		select {
		case <-l.stop:
			return nil, ErrClosed
		default:
		}
		if _, err := f.WriteAt(zeros[:min(len(zeros), l.cfg.FileBytes-at)], int64(at)); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil { // each: frames are not to wait behind all of it
			return nil, err
		}
	}
	if err := l.cfg.FS.Rename(tmp, name); err != nil {
		return nil, err
	}
	if err := l.cfg.FS.SyncDir(l.dir); err != nil {
		return nil, err
	}
	return &ringFile{index: index, name: name, file: f, size: int64(l.cfg.FileBytes)}, nil
}

// Bounds of what is written ahead of the frames of a file that was not made
// full of zeros.
const (
	minAhead = 64 << 10
	maxAhead = 1 << 20
)

// ahead writes zeros behind a frame of so many bytes that made its file larger
// and ends at offset end: the next ones then change no metadata, which would cost
// them a second write of the disk. It is as much again as the file has, within
// bounds, so that a store with little in it stays small. Large frames are spared
// it: what it adds is more than what it saves. That there is no room for it is no
// failure: there was for the frame.
func (l *Local) ahead(file *ringFile, end, size int64) error {
	if end <= file.size {
		return nil
	}
	file.size = end
	n := min(max(end, minAhead), maxAhead, int64(l.cfg.FileBytes)-end)
	if n <= 0 || size > minAhead {
		return nil
	}
	n, err := l.zero(file, end, n)
	file.size += n
	if vfs.Passing(err) {
		return nil
	}
	return err
}

// zero writes n zeros at an offset, and returns how many it has written.
func (l *Local) zero(file *ringFile, offset, n int64) (int64, error) {
	if l.zeros == nil {
		l.zeros = make([]byte, minAhead)
	}
	for done := int64(0); done < n; {
		m, err := file.file.WriteAt(l.zeros[:min(n-done, minAhead)], offset+done)
		done += int64(m)
		if err != nil {
			return done, err
		}
	}
	return n, nil
}

// makingError means that a file is about to be ready.
type makingError struct{ done <-chan struct{} }

func (*makingError) Error() string { return "journal: a file of the ring is being made" }

// roll makes the ring go on in another file, whose first frame will begin at
// base. The one before is synced, so that only the last can lack a frame.
func (l *Local) roll(base LSN) error {
	if len(l.live) > 0 {
		if err := l.sync(l.live[len(l.live)-1]); err != nil {
			return fmt.Errorf("%w: %w", ErrFailed, err) // final, whatever the cause
		}
	}
	l.mu.Lock()
	l.durable = l.head
	var next *ringFile
	if n := len(l.free) - 1; n >= 0 {
		next, l.free = l.free[n], l.free[:n]
	}
	index, ok := 0, false
	if next == nil {
		index, ok = l.takeIndex()
	}
	making := l.making
	l.mu.Unlock()
	switch {
	case next != nil:
	case !ok && making != nil:
		return &makingError{making}
	case !ok:
		return fmt.Errorf("%w: all %d files of the ring hold what is needed", ErrFull, l.cfg.Files)
	default:
		f, err := l.create(index)
		if err != nil {
			l.mu.Lock()
			delete(l.indexes, index)
			l.mu.Unlock()
			return err
		}
		next = f
	}
	next.base = base
	l.mu.Lock()
	l.live = append(l.live, next)
	l.mu.Unlock()
	return nil
}

// Release implements [Journal]. The files that lie wholly at or below upTo are
// written again; the last one stays as it is.
func (l *Local) Release(_ context.Context, upTo LSN) error {
	l.mu.Lock()
	n := 0
	for n < len(l.live)-1 && l.live[n+1].base <= blockUp(upTo) {
		n++
	}
	l.free = append(l.free, l.live[:n]...)
	l.live = slices.Delete(l.live, 0, n)
	l.mu.Unlock()
	return l.dropSurplus()
}

// dropSurplus removes the free files that are not of the ring's shape.
func (l *Local) dropSurplus() error {
	l.mu.Lock()
	var surplus []*ringFile
	l.free = slices.DeleteFunc(l.free, func(f *ringFile) bool {
		if f.index >= l.cfg.Files {
			surplus = append(surplus, f)
			return true
		}
		return false
	})
	l.mu.Unlock()
	if len(surplus) == 0 {
		return nil
	}
	var errs []error
	for _, f := range surplus {
		errs = append(errs, f.file.Close(), l.cfg.FS.Remove(f.name))
	}
	errs = append(errs, l.cfg.FS.SyncDir(l.dir))
	l.mu.Lock()
	for _, f := range surplus {
		delete(l.indexes, f.index)
	}
	l.mu.Unlock()
	return errors.Join(errs...)
}
