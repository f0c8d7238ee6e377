// Package vfstest puts faults into a file system, for tests.
package vfstest

import (
	"io/fs"

	"github.com/streamkit/streamkit/internal/vfs"
)

// Op is what is about to be done to a file.
type Op string

// The operations that can be made to fail.
const (
	OpenFile Op = "open"
	Write    Op = "write"
	Read     Op = "read"
	Sync     Op = "sync"
	Truncate Op = "truncate"
	Rename   Op = "rename"
	Remove   Op = "remove"
	SyncDir  Op = "syncdir"
)

// FS is a file system whose operations fail when Fault says so. A write that
// fails puts the first half of its bytes into the file.
type FS struct {
	vfs.FS
	// Fault returns the error that an operation on the named file is to fail
	// with, or nil. It is called from any goroutine.
	Fault func(op Op, name string) error
}

// OpenFile implements [vfs.FS].
func (f FS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := f.Fault(OpenFile, name); err != nil {
		return nil, err
	}
	under, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return file{under, f.Fault}, nil
}

// Rename implements [vfs.FS].
func (f FS) Rename(oldName, newName string) error {
	if err := f.Fault(Rename, newName); err != nil {
		return err
	}
	return f.FS.Rename(oldName, newName)
}

// Remove implements [vfs.FS].
func (f FS) Remove(name string) error {
	if err := f.Fault(Remove, name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// SyncDir implements [vfs.FS].
func (f FS) SyncDir(name string) error {
	if err := f.Fault(SyncDir, name); err != nil {
		return err
	}
	return f.FS.SyncDir(name)
}

type file struct {
	vfs.File
	fault func(op Op, name string) error
}

func (f file) Write(b []byte) (int, error) {
	if err := f.fault(Write, f.Name()); err != nil {
		n, _ := f.File.Write(b[:len(b)/2])
		return n, err
	}
	return f.File.Write(b)
}

func (f file) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fault(Write, f.Name()); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f file) ReadAt(b []byte, off int64) (int, error) {
	if err := f.fault(Read, f.Name()); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, off)
}

func (f file) Sync() error {
	if err := f.fault(Sync, f.Name()); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f file) Truncate(size int64) error {
	if err := f.fault(Truncate, f.Name()); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// Lazy is a file system that never waits for the disk: Sync and SyncDir do
// nothing. It is for tests that kill no machine.
type Lazy struct{ vfs.FS }

// OpenFile implements [vfs.FS].
func (l Lazy) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := l.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return lazyFile{f}, nil
}

// SyncDir implements [vfs.FS].
func (Lazy) SyncDir(string) error { return nil }

type lazyFile struct{ vfs.File }

func (lazyFile) Sync() error { return nil }
