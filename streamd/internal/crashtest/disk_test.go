package crashtest_test

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	pebble "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

// disk is a file system that can lose its power: what [vfstest.Disk] is, and
// what Pebble's becomes in [pebbleDisk].
type disk interface {
	vfs.FS
	SetHook(func(op vfstest.Op, name string) error)
	PowerOff()
	takeOver() disk
	cut(r *rand.Rand, percent int) disk
}

type ownDisk struct{ *vfstest.Disk }

func newOwnDisk() disk { return ownDisk{vfstest.NewDisk()} }

func (d ownDisk) takeOver() disk                     { return ownDisk{d.TakeOver()} }
func (d ownDisk) cut(r *rand.Rand, percent int) disk { return ownDisk{d.Cut(r, percent)} }

// pebbleDisk is Pebble's crashable file system. It differs from the model of
// [vfstest.Disk] where Pebble's does: a name that was removed or renamed is back
// after a cut unless its directory was synced, whatever share is kept; a block
// is the durable or the last version, never torn; and a file is as long as its
// last block that is kept.
//
// What Pebble's lacks is emulated on it, or refused: a file is made longer by
// writing zeros, which are as little synced as any write, and cannot be made
// shorter, since Pebble's files cannot forget.
type pebbleDisk struct {
	mem *pebble.MemFS

	mu   sync.Mutex // guards what follows
	hook func(op vfstest.Op, name string) error
	off  bool
}

func newPebbleDisk() disk { return &pebbleDisk{mem: pebble.NewCrashableMem()} }

func (d *pebbleDisk) SetHook(hook func(op vfstest.Op, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}

func (d *pebbleDisk) PowerOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

func (d *pebbleDisk) takeOver() disk {
	d.PowerOff()
	return &pebbleDisk{mem: d.mem}
}

func (d *pebbleDisk) cut(r *rand.Rand, percent int) disk {
	return &pebbleDisk{mem: d.mem.CrashClone(pebble.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r})}
}

func (d *pebbleDisk) call(op vfstest.Op, name string) error {
	d.mu.Lock()
	hook := d.hook
	d.mu.Unlock()
	if hook != nil {
		if err := hook(op, name); err != nil {
			return &fs.PathError{Op: string(op), Path: name, Err: err}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return &fs.PathError{Op: string(op), Path: name, Err: vfstest.ErrPowerOff}
	}
	return nil
}

func (d *pebbleDisk) OpenFile(name string, flag int, _ fs.FileMode) (vfs.File, error) {
	if err := d.call(vfstest.OpenFile, name); err != nil {
		return nil, err
	}
	const write = os.O_WRONLY | os.O_RDWR
	_, err := d.mem.Stat(name)
	exists := err == nil
	var f pebble.File
	switch {
	case !exists && flag&os.O_CREATE == 0:
		return nil, err
	case exists && flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case !exists || flag&os.O_TRUNC != 0:
		f, err = d.mem.Create(name, pebble.WriteCategoryUnspecified)
	case flag&write != 0:
		f, err = d.mem.OpenReadWrite(name, pebble.WriteCategoryUnspecified)
	default:
		f, err = d.mem.Open(name)
	}
	if err != nil {
		return nil, err
	}
	return &pebbleFile{d: d, f: f, name: name}, nil
}

func (d *pebbleDisk) Rename(oldName, newName string) error {
	if err := d.call(vfstest.Rename, newName); err != nil {
		return err
	}
	return d.mem.Rename(oldName, newName)
}

func (d *pebbleDisk) Remove(name string) error {
	if err := d.call(vfstest.Remove, name); err != nil {
		return err
	}
	return d.mem.Remove(name)
}

func (d *pebbleDisk) Stat(name string) (fs.FileInfo, error) {
	if err := d.call("stat", name); err != nil {
		return nil, err
	}
	return d.mem.Stat(name)
}

func (d *pebbleDisk) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := d.call("readdir", name); err != nil {
		return nil, err
	}
	names, err := d.mem.List(name)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var entries []fs.DirEntry
	for _, base := range names {
		info, err := d.mem.Stat(filepath.Join(name, base))
		if err != nil {
			return nil, err
		}
		entries = append(entries, fs.FileInfoToDirEntry(info))
	}
	return entries, nil
}

func (d *pebbleDisk) Link(oldName, newName string) error {
	if err := d.call("link", newName); err != nil {
		return err
	}
	return d.mem.Link(oldName, newName)
}

func (d *pebbleDisk) MkdirAll(name string, perm fs.FileMode) error {
	if err := d.call("mkdir", name); err != nil {
		return err
	}
	return d.mem.MkdirAll(name, perm)
}

func (d *pebbleDisk) SyncDir(name string) error {
	if err := d.call(vfstest.SyncDir, name); err != nil {
		return err
	}
	dir, err := d.mem.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (d *pebbleDisk) Lock(name string) (io.Closer, error) {
	if err := d.call("lock", name); err != nil {
		return nil, err
	}
	lock, err := d.mem.Lock(name)
	if errors.Is(err, syscall.EAGAIN) {
		err = errors.Join(vfs.ErrLocked, err)
	}
	return lock, err
}

// pebbleFile keeps a file from being used after it was closed, which Pebble's
// answers with a panic.
type pebbleFile struct {
	d    *pebbleDisk
	name string

	mu     sync.RWMutex // held for reading while f is used, for writing by Close
	f      pebble.File
	closed bool
}

// use calls do unless the disk or the file is closed.
func (f *pebbleFile) use(op vfstest.Op, do func(pebble.File) error) error {
	if err := f.d.call(op, f.name); err != nil {
		return err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return &fs.PathError{Op: string(op), Path: f.name, Err: os.ErrClosed}
	}
	return do(f.f)
}

func (f *pebbleFile) Name() string { return f.name }

func (f *pebbleFile) Read(p []byte) (n int, err error) {
	err = f.use(vfstest.Read, func(u pebble.File) error { n, err = u.Read(p); return err })
	return n, err
}

func (f *pebbleFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.use(vfstest.Read, func(u pebble.File) error { n, err = u.ReadAt(p, off); return err })
	return n, err
}

func (f *pebbleFile) Write(p []byte) (n int, err error) {
	err = f.use(vfstest.Write, func(u pebble.File) error { n, err = u.Write(p); return err })
	return n, err
}

func (f *pebbleFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.use(vfstest.Write, func(u pebble.File) error { n, err = u.WriteAt(p, off); return err })
	return n, err
}

func (f *pebbleFile) Sync() error {
	return f.use(vfstest.Sync, func(u pebble.File) error { return u.Sync() })
}

func (f *pebbleFile) Truncate(size int64) error {
	return f.use(vfstest.Truncate, func(u pebble.File) error {
		info, err := u.Stat()
		switch {
		case err != nil:
			return err
		case info.Size() > size:
			return errors.ErrUnsupported
		case info.Size() < size:
			_, err = u.WriteAt(make([]byte, size-info.Size()), info.Size())
		}
		return err
	})
}

func (f *pebbleFile) Stat() (info fs.FileInfo, err error) {
	err = f.use("stat", func(u pebble.File) error { info, err = u.Stat(); return err })
	return info, err
}

func (f *pebbleFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	f.closed = true
	return f.f.Close()
}
