package vfstest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/streamkit/streamkit/internal/vfs"
)

// ErrPowerOff is returned by every operation on a [Disk] that has lost its
// power or was taken over.
var ErrPowerOff = errors.New("vfstest: the power is off")

// Disk is a file system in memory that can lose its power: [Disk.Cut] returns
// a disk as the cut could have left it. The zero Disk is not usable; see
// [NewDisk]. It is safe for concurrent use.
//
// # What survives a cut
//
// What a file held at its last Sync is certain, and what a directory's names
// were at its last SyncDir. Of what came later anything may survive:
//
//   - of each block of 4 KiB that was written or cut off since, the durable version, the
//     last, or one between; or, sector by sector of 512 bytes, parts of the
//     durable and the last;
//   - of the size, the durable one or any that the file has had since, whether
//     or not the blocks that it covers have survived: those that have not read
//     as zeros;
//   - of the changes to a directory, each for itself. A name that was made may
//     be missing, one that was removed may be back, and one kept without the
//     other. A rename inside one directory is one change: both of its names or
//     neither, as every file system of today does it.
//
// That is more than a file system with a journal loses, which keeps the changes
// to names in order. No program should need to know which it is on.
//
// A Sync that fails is final, as with Linux: what it was to write is never
// written, though reading still shows it, and a later Sync that succeeds says
// nothing about it.
type Disk struct {
	mu    sync.Mutex // guards what follows, and all nodes
	root  *directory
	locks map[string]bool
	off   bool
	hook  func(op Op, name string) error
	room  int64 // in blocks; negative: without bound
	used  int64 // blocks
}

// NewDisk returns an empty disk. Its root directory is durable.
func NewDisk() *Disk {
	return &Disk{root: newDirectory(), locks: make(map[string]bool), room: -1}
}

// SetHook has hook called before each operation, without a lock held. An error
// fails the operation: half of what a write was to write is written, and what a
// Sync was to make durable never will be. nil, the default, does nothing.
func (d *Disk) SetHook(hook func(op Op, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}

// SetRoom bounds the bytes of all files, in whole blocks. A write that needs
// more ends with ENOSPC, after what fits. Negative, the default, is no bound.
// What is there stays, whatever the bound.
func (d *Disk) SetRoom(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = -1
	if bytes >= 0 {
		d.room = bytes / blockSize
	}
}

// Used returns how many bytes the files take, in whole blocks.
func (d *Disk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used * blockSize
}

// PowerOff makes every later operation fail, so that a program which was cut
// off cannot go on.
func (d *Disk) PowerOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

// TakeOver returns the disk as the next process finds it after this one was
// killed: nothing is lost, what was not synced is still not synced, and no file
// is locked. Operations on d fail from now on.
func (d *Disk) TakeOver() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	return &Disk{root: d.root, locks: make(map[string]bool), room: d.room, used: d.used}
}

// Cut returns a disk as a power cut at this moment could have left d. percent
// is how likely each thing that is not durable is to survive: 0 leaves exactly
// what is durable, 100 exactly what d shows. Equal disks and equal states of r
// give equal results. d itself goes on.
func (d *Disk) Cut(r *rand.Rand, percent int) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &cutter{r: r, percent: percent, files: make(map[*node]*node)}
	cut := &Disk{root: c.directory(d.root), locks: make(map[string]bool), room: d.room}
	for _, n := range c.files {
		cut.used += n.allocated()
	}
	return cut
}

// call is the beginning of every operation. It returns with d.mu held, unless
// it fails.
func (d *Disk) call(op Op, name string) error {
	d.mu.Lock()
	hook := d.hook
	if hook != nil && !d.off {
		d.mu.Unlock()
		err := hook(op, name)
		d.mu.Lock()
		if err != nil {
			d.mu.Unlock()
			return &fs.PathError{Op: string(op), Path: name, Err: err}
		}
	}
	if d.off {
		d.mu.Unlock()
		return &fs.PathError{Op: string(op), Path: name, Err: ErrPowerOff}
	}
	return nil
}

// find returns the directory called name.
func (d *Disk) find(name string) (*directory, error) {
	dir := d.root
	for _, part := range split(name) {
		switch e := dir.entries[part].(type) {
		case *directory:
			dir = e
		case *node:
			return nil, syscall.ENOTDIR
		default:
			return nil, fs.ErrNotExist
		}
	}
	return dir, nil
}

// split returns the parts of a path below the root.
func split(name string) []string {
	clean := filepath.ToSlash(filepath.Clean(name))
	return slices.DeleteFunc(strings.Split(clean, "/"), func(s string) bool { return s == "" || s == "." })
}

// parent returns the directory that name is in, and its name there.
func (d *Disk) parent(name string) (*directory, string, error) {
	dir, err := d.find(filepath.Dir(name))
	return dir, filepath.Base(name), err
}

func pathError(op Op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: string(op), Path: name, Err: err}
}

// OpenFile implements [vfs.FS].
func (d *Disk) OpenFile(name string, flag int, _ fs.FileMode) (vfs.File, error) {
	if err := d.call(OpenFile, name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	n, err := d.open(name, flag)
	if err != nil {
		return nil, pathError(OpenFile, name, err)
	}
	return &diskFile{
		d: d, n: n, name: name,
		reads: flag&os.O_WRONLY == 0, writes: flag&(os.O_WRONLY|os.O_RDWR) != 0, appends: flag&os.O_APPEND != 0,
	}, nil
}

func (d *Disk) open(name string, flag int) (*node, error) {
	dir, base, err := d.parent(name)
	if err != nil {
		return nil, err
	}
	switch e := dir.entries[base].(type) {
	case *directory:
		return nil, syscall.EISDIR
	case *node:
		if flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL {
			return nil, fs.ErrExist
		}
		if flag&os.O_TRUNC != 0 {
			d.used -= e.truncate(0)
		}
		return e, nil
	}
	if flag&os.O_CREATE == 0 {
		return nil, fs.ErrNotExist
	}
	n := new(node)
	dir.change(assignment{base, n})
	return n, nil
}

// Rename implements [vfs.FS].
func (d *Disk) Rename(oldName, newName string) error {
	if err := d.call(Rename, newName); err != nil {
		return err
	}
	defer d.mu.Unlock()
	from, oldBase, err := d.parent(oldName)
	if err != nil {
		return pathError(Rename, oldName, err)
	}
	to, newBase, err := d.parent(newName)
	if err != nil {
		return pathError(Rename, newName, err)
	}
	e := from.entries[oldBase]
	if e == nil {
		return pathError(Rename, oldName, fs.ErrNotExist)
	}
	if over, ok := to.entries[newBase].(*node); ok && over != e {
		d.used -= over.allocated()
	}
	if from == to {
		from.change(assignment{newBase, e}, assignment{oldBase, nil})
		return nil
	}
	to.change(assignment{newBase, e})
	from.change(assignment{oldBase, nil})
	return nil
}

// Remove implements [vfs.FS].
func (d *Disk) Remove(name string) error {
	if err := d.call(Remove, name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	dir, base, err := d.parent(name)
	if err != nil {
		return pathError(Remove, name, err)
	}
	switch e := dir.entries[base].(type) {
	case nil:
		return pathError(Remove, name, fs.ErrNotExist)
	case *directory:
		if len(e.entries) > 0 {
			return pathError(Remove, name, syscall.ENOTEMPTY)
		}
	case *node:
		d.used -= e.allocated()
	}
	dir.change(assignment{base, nil})
	return nil
}

// Link implements [vfs.FS]. A Disk has no second names.
func (d *Disk) Link(_, newName string) error {
	if err := d.call("link", newName); err != nil {
		return err
	}
	defer d.mu.Unlock()
	return pathError("link", newName, errors.ErrUnsupported)
}

// Stat implements [vfs.FS].
func (d *Disk) Stat(name string) (fs.FileInfo, error) {
	if err := d.call("stat", name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	if dir, err := d.find(name); err == nil {
		return info{name: filepath.Base(name), dir: dir != nil}, nil
	}
	dir, base, err := d.parent(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	n, ok := dir.entries[base].(*node)
	if !ok {
		return nil, pathError("stat", name, fs.ErrNotExist)
	}
	return info{name: base, size: n.size}, nil
}

// ReadDir implements [vfs.FS].
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := d.call("readdir", name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	dir, err := d.find(name)
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	var list []fs.DirEntry
	for _, base := range slices.Sorted(maps.Keys(dir.entries)) {
		i := info{name: base}
		switch e := dir.entries[base].(type) {
		case *directory:
			i.dir = true
		case *node:
			i.size = e.size
		}
		list = append(list, fs.FileInfoToDirEntry(i))
	}
	return list, nil
}

// MkdirAll implements [vfs.FS]. A directory that it makes is durable after
// SyncDir of the one that it is in.
func (d *Disk) MkdirAll(name string, _ fs.FileMode) error {
	if err := d.call("mkdir", name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	dir := d.root
	for _, part := range split(name) {
		switch e := dir.entries[part].(type) {
		case *directory:
			dir = e
		case *node:
			return pathError("mkdir", name, syscall.ENOTDIR)
		default:
			made := newDirectory()
			dir.change(assignment{part, made})
			dir = made
		}
	}
	return nil
}

// SyncDir implements [vfs.FS].
func (d *Disk) SyncDir(name string) error {
	if err := d.call(SyncDir, name); err != nil {
		return err
	}
	defer d.mu.Unlock()
	dir, err := d.find(name)
	if err != nil {
		return pathError(SyncDir, name, err)
	}
	dir.sync()
	return nil
}

// Lock implements [vfs.FS].
func (d *Disk) Lock(name string) (io.Closer, error) {
	if err := d.call("lock", name); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	if d.locks[name] {
		return nil, fmt.Errorf("lock %s: %w", name, vfs.ErrLocked)
	}
	if _, err := d.open(name, os.O_RDWR|os.O_CREATE); err != nil {
		return nil, pathError("lock", name, err)
	}
	d.locks[name] = true
	return &diskLock{d: d, name: name}, nil
}

type diskLock struct {
	d    *Disk
	name string
	once sync.Once
}

// Close gives the lock back, whether or not there is power.
func (l *diskLock) Close() error {
	l.once.Do(func() {
		l.d.mu.Lock()
		defer l.d.mu.Unlock()
		delete(l.d.locks, l.name)
	})
	return nil
}
