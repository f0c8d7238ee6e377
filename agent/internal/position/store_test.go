package position_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/streamkit/streamkit/agent/internal/position"
	"github.com/streamkit/streamkit/agent/internal/tail"
	"github.com/streamkit/streamkit/internal/vfs"
)

func open(t *testing.T, fsys vfs.FS, path string) *position.Store {
	t.Helper()
	s, err := position.Open(fsys, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Abandon() })
	return s
}

func entry(uid uint64) position.Entry {
	return position.Entry{
		Flow: "kinesis:s:/var/log/*", UID: uid, ID: tail.ID{Dev: 3, Ino: 1 << 63}, Birth: -5, Path: "/var/log/ü.log",
		Prefix: tail.PrintOf([]byte("prefix")), Committed: 1 << 40, Marker: tail.PrintOf([]byte("marker")),
		Size: 1<<40 + 1, ModTime: 7, HeaderLeft: 2, Rotated: true, Done: true, Lost: true, Updated: 1000,
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "positions")
	s := open(t, vfs.OS, path)
	kept, changed, deleted, unsaved := entry(1), entry(2), entry(3), entry(4)
	s.Put(kept)
	s.Put(changed)
	s.Put(deleted)
	if err := s.Persist(); err != nil {
		t.Fatal(err)
	}
	changed.Committed, changed.Updated, changed.Lost = 12, 2000, false
	s.Put(changed)
	s.Delete(deleted.Flow, deleted.UID)
	if err := s.Persist(); err != nil {
		t.Fatal(err)
	}
	s.Put(unsaved)
	if err := s.Abandon(); err != nil {
		t.Fatal(err)
	}
	got := open(t, vfs.OS, path).Flow(kept.Flow)
	if want := []position.Entry{changed, kept}; !reflect.DeepEqual(got, want) {
		t.Errorf("after the reopening:\n%+v\nwant\n%+v", got, want)
	}
}

func TestExpireKeepsLiveFiles(t *testing.T) {
	s := open(t, vfs.OS, filepath.Join(t.TempDir(), "positions"))
	live := entry(1)
	live.Done, live.Lost = false, false
	s.Put(live)
	s.Put(entry(2))
	s.Expire(time.Unix(1000, 0))
	if n := len(s.Flow(live.Flow)); n != 2 {
		t.Fatalf("%d entries before their time, want 2", n)
	}
	s.Expire(time.Unix(1001, 0))
	if got := s.Flow(live.Flow); len(got) != 1 || got[0].UID != 1 {
		t.Errorf("after their time: %+v, want the live one", got)
	}
}

func TestCompaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "positions")
	s := open(t, vfs.OS, path)
	e := entry(1)
	s.Put(e)
	for range 15 {
		for _, change := range []func(uid uint64){
			func(uid uint64) { s.Put(entry(uid)) },
			func(uid uint64) { s.Delete(e.Flow, uid) },
		} {
			for uid := range uint64(500) {
				change(2 + uid)
			}
			if err := s.Persist(); err != nil {
				t.Fatal(err)
			}
		}
	}
	fi, err := vfs.OS.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Size() > 1<<20+100_000 {
		t.Errorf("the file has %d bytes for one entry", fi.Size())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := open(t, vfs.OS, path).Flow(e.Flow); len(got) != 1 || got[0] != e {
		t.Errorf("after the reopening %+v, want %+v", got, e)
	}
}

// syncFS fails the fsync of files while on is set.
type syncFS struct {
	vfs.FS
	on bool
}

type syncFile struct {
	vfs.File
	fs *syncFS
}

var errInjected = errors.New("injected")

func (f *syncFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &syncFile{file, f}, nil
}

func (f *syncFile) Sync() error {
	if f.fs.on {
		return errInjected
	}
	return f.File.Sync()
}

func TestPersistRecoversFromFailedSync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "positions")
	fsys := &syncFS{FS: vfs.OS}
	s := open(t, fsys, path)
	first, second := entry(1), entry(2)
	s.Put(first)
	if err := s.Persist(); err != nil {
		t.Fatal(err)
	}
	s.Put(second)
	fsys.on = true
	for range 2 {
		if err := s.Persist(); !errors.Is(err, errInjected) {
			t.Fatalf("Persist: %v, want the injected error", err)
		}
	}
	fsys.on = false
	if err := s.Persist(); err != nil {
		t.Fatal(err)
	}
	if err := s.Abandon(); err != nil {
		t.Fatal(err)
	}
	if got := open(t, vfs.OS, path).Flow(first.Flow); len(got) != 2 {
		t.Errorf("%d entries after the reopening, want 2", len(got))
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "positions")
	open(t, vfs.OS, path)
	if _, err := position.Open(vfs.OS, path); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("second Open: %v, want ErrLocked", err)
	}
}
