package vfstest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// diskFile is an open file of a [Disk].
type diskFile struct {
	d    *Disk
	n    *node
	name string

	reads, writes, appends bool

	// guarded by d.mu
	pos    int64
	closed bool
}

func (f *diskFile) Name() string { return f.name }

// call is [Disk.call] for an operation on f that needs it open in the given
// way.
func (f *diskFile) call(op Op, allowed bool) error {
	if err := f.d.call(op, f.name); err != nil {
		return err
	}
	var err error
	switch {
	case f.closed:
		err = os.ErrClosed
	case !allowed:
		err = syscall.EBADF
	default:
		return nil
	}
	f.d.mu.Unlock()
	return pathError(op, f.name, err)
}

func (f *diskFile) Read(p []byte) (int, error) {
	if err := f.call(Read, f.reads); err != nil {
		return 0, err
	}
	defer f.d.mu.Unlock()
	n, err := f.n.readAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.call(Read, f.reads); err != nil {
		return 0, err
	}
	defer f.d.mu.Unlock()
	return f.n.readAt(p, off)
}

func (f *diskFile) Write(p []byte) (int, error) {
	return f.write(p, func() int64 {
		if f.appends {
			return f.n.size
		}
		return f.pos
	}, func(end int64) { f.pos = end })
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func() int64 { return off }, func(int64) {})
}

func (f *diskFile) write(p []byte, at func() int64, moved func(end int64)) (int, error) {
	failed := f.call(Write, f.writes)
	if failed != nil {
		if errors.Is(failed, ErrPowerOff) || errors.Is(failed, os.ErrClosed) || errors.Is(failed, syscall.EBADF) {
			return 0, failed
		}
		p = p[:len(p)/2]
		f.d.mu.Lock()
	}
	defer f.d.mu.Unlock()
	room := int64(-1)
	if f.d.room >= 0 {
		room = max(f.d.room-f.d.used, 0)
	}
	off := at()
	n, added := f.n.write(p, off, room)
	f.d.used += added
	moved(off + int64(n))
	switch {
	case failed != nil:
		return n, failed
	case n < len(p):
		return n, pathError(Write, f.name, syscall.ENOSPC)
	}
	return n, nil
}

func (f *diskFile) Sync() error {
	err := f.call(Sync, true)
	switch {
	case err == nil:
		f.n.sync()
		f.d.mu.Unlock()
	case !errors.Is(err, ErrPowerOff) && !errors.Is(err, os.ErrClosed):
		// The kernel has dropped what it could not write, and will not try again.
		f.d.mu.Lock()
		f.n.forget()
		f.d.mu.Unlock()
	}
	return err
}

func (f *diskFile) Truncate(size int64) error {
	if err := f.call(Truncate, f.writes); err != nil {
		return err
	}
	defer f.d.mu.Unlock()
	f.d.used -= f.n.truncate(size)
	return nil
}

func (f *diskFile) Stat() (fs.FileInfo, error) {
	if err := f.call("stat", true); err != nil {
		return nil, err
	}
	defer f.d.mu.Unlock()
	return info{name: filepath.Base(f.name), size: f.n.size}, nil
}

// Close works without power too: what it frees is memory.
func (f *diskFile) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, os.ErrClosed)
	}
	f.closed = true
	return nil
}

var _ io.ReaderAt = (*diskFile)(nil)
