package position_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
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

func TestExpire(t *testing.T) {
	const ttl = 100 * time.Second
	now := time.Now().Unix()
	s := open(t, vfs.OS, filepath.Join(t.TempDir(), "positions"))
	put := func(uid uint64, age int64, done bool) {
		e := entry(uid)
		e.Done, e.Lost, e.Updated = done, false, now-age
		s.Put(e)
	}
	put(1, 1000, false)
	put(2, 90, true)   // gone, and kept for its time
	put(3, 110, true)  // gone
	put(4, 60, true)   // there
	put(5, 1000, true) // there, after a long pause
	put(6, 40, true)
	var asked []uint64
	s.Expire(ttl, func(e position.Entry) bool {
		asked = append(asked, e.UID)
		return e.UID == 4 || e.UID == 5
	})
	ages := make(map[uint64]int64)
	for _, e := range s.Flow(entry(1).Flow) {
		ages[e.UID] = now - e.Updated
	}
	for uid, want := range map[uint64]int64{1: 1000, 2: 90, 4: 0, 5: 0, 6: 40} {
		if age, ok := ages[uid]; !ok || age > want || age < want-10 {
			t.Errorf("entry %d: was updated %d s ago, found %v; want %d", uid, age, ok, want)
		}
	}
	if _, ok := ages[3]; ok {
		t.Error("what is gone is kept after its time")
	}
	slices.Sort(asked)
	if want := []uint64{2, 3, 4, 5}; !slices.Equal(asked, want) {
		t.Errorf("files were looked for of %v, want %v", asked, want)
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
