// Package vfs is the file system as the durable parts of this project see it:
// an interface with the operating system behind it, so that tests can put a
// disk there that fails or forgets.
//
// Two rules hold for every caller. A failed Sync is final for that file: the
// kernel may have dropped the dirty pages, and a later Sync that succeeds says
// nothing about them. And a name is durable only after SyncDir of its
// directory; [WriteFile] does both.
package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked is wrapped by the error of [FS.Lock] when another process holds
// the lock.
var ErrLocked = errors.New("locked by another process")

// Passing reports whether an error of a file system may be gone later: the disk
// was full, or the process or the system had too many files open.
func Passing(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// FS is a file system. The operating system's is [OS]. It is safe for
// concurrent use.
type FS interface {
	// OpenFile is [os.OpenFile].
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Rename(oldName, newName string) error
	Remove(name string) error
	// Link gives a file a second name, on the same file system.
	Link(oldName, newName string) error
	Stat(name string) (fs.FileInfo, error)
	// ReadDir returns the entries of a directory in order of name.
	ReadDir(name string) ([]fs.DirEntry, error)
	MkdirAll(name string, perm fs.FileMode) error
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Lock takes an exclusive lock on the file called name, which it creates if
	// needed, until the returned closer is closed or the process ends. It does
	// not wait: the error wraps [ErrLocked] if another holds the lock.
	Lock(name string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Closer
	// Sync makes the content durable, with the file size and as much metadata
	// as reading it back needs (fdatasync).
	Sync() error
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	Name() string
}

// Open opens a file for reading.
func Open(fsys FS, name string) (File, error) { return fsys.OpenFile(name, os.O_RDONLY, 0) }

// ReadFile returns the content of a file.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := Open(fsys, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// MakeDir makes a directory and those above it, durably: what is in it must not go
// with its name. A directory above that may not be opened is left to the system.
func MakeDir(fsys FS, dir string) error {
	var made []string // whose names are in the directories above them
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := fsys.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break // also if it cannot be told: making it will
		}
		made = append(made, at)
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, at := range made {
		if err := fsys.SyncDir(filepath.Dir(at)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// WriteFile replaces the file called name by one with the given content,
// durably and at once: after a crash the old or the new content is there,
// never a part. It writes name+".tmp" on the way.
func WriteFile(fsys FS, name string, data []byte, perm fs.FileMode) (err error) {
	tmp := name + ".tmp"
	f, err := fsys.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = fsys.Remove(tmp) // the error that matters is err
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err = fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}
