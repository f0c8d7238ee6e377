package seglog_test

import (
	"errors"
	"io/fs"

	"github.com/streamkit/streamkit/internal/vfs"
)

var errInjected = errors.New("injected")

// faultFS fails the n-th next operation of a name: open, write, sync, rename,
// syncdir.
type faultFS struct {
	vfs.FS
	op string
	n  int
}

func (f *faultFS) fail(op string, n int) { f.op, f.n = op, n }

func (f *faultFS) check(op string) error {
	if op != f.op || f.n == 0 {
		return nil
	}
	if f.n--; f.n == 0 {
		return errInjected
	}
	return nil
}

func (f *faultFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := f.check("open"); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fs: f}, nil
}

func (f *faultFS) Rename(from, to string) error {
	if err := f.check("rename"); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *faultFS) SyncDir(name string) error {
	if err := f.check("syncdir"); err != nil {
		return err
	}
	return f.FS.SyncDir(name)
}

type faultFile struct {
	vfs.File
	fs *faultFS
}

func (f *faultFile) Write(b []byte) (int, error) {
	if err := f.fs.check("write"); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fs.check("write"); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

func (f *faultFile) Sync() error {
	if err := f.fs.check("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}
