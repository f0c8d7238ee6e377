package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

func (f *fixture) hold() *store.Held {
	f.t.Helper()
	h, err := f.Hold(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return h
}

// TestHeldSnapshotStays: the file of a snapshot that is held stays as it is,
// whatever checkpoints come, and goes once nobody holds it.
func TestHeldSnapshotStays(t *testing.T) {
	d := vfstest.NewDisk()
	f := open(t, store.Options{Dir: "/data", FS: d})
	defer f.close()
	s := f.create("a", 1)
	first, again := f.hold(), f.hold()
	was, err := vfs.ReadFile(d, first.Snapshot)
	if err != nil || again.Snapshot != first.Snapshot {
		t.Fatalf("held %s and %s, %v", first.Snapshot, again.Snapshot, err)
	}
	more := func() {
		for i := range 3 {
			f.put(s, record("k", fmt.Sprint(i)))
			f.hold().Release()
		}
	}
	for range 2 {
		more()
		if b, err := vfs.ReadFile(d, first.Snapshot); err != nil || !bytes.Equal(b, was) {
			t.Fatalf("it has %d bytes, %v; it had %d", len(b), err, len(was))
		}
		first.Release()
		first = again
	}
	more()
	if _, err := d.Stat(first.Snapshot); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if names, err := d.ReadDir("/data/snap"); err != nil || len(names) != 2 {
		t.Errorf("%d snapshots, %v; want 2", len(names), err)
	}
}

// TestHeldSnapshotKeepsItsName: as long as a snapshot is held, and nothing
// happens, no other takes its name, although there are runs to be merged.
func TestHeldSnapshotKeepsItsName(t *testing.T) {
	d := vfstest.NewDisk()
	f := open(t, store.Options{Dir: "/data", FS: d})
	defer f.close()
	a, b := f.create("a", 1), f.create("b", 1)
	f.must(state.ChangeRetention{Key: key("b"), Hours: 48, Increase: true})
	for range 4 { // runs of two classes, each as many as are merged
		f.put(a, record("k", "a"))
		f.put(b, record("k", "b"))
		f.hold().Release()
	}
	held := f.hold() // one class is merged
	was, err := vfs.ReadFile(d, held.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h := f.hold()
		if h.LSN != held.LSN || len(h.Runs) != len(held.Runs) {
			t.Errorf("%d runs at %d while %d are held at %d", len(h.Runs), h.LSN, len(held.Runs), held.LSN)
		}
		h.Release()
		if now, err := vfs.ReadFile(d, held.Snapshot); err != nil || !bytes.Equal(now, was) {
			t.Fatalf("it has changed, %v", err)
		}
	}
	held.Release()
	h := f.hold()
	defer h.Release()
	if h.LSN != held.LSN || len(h.Runs) >= len(held.Runs) {
		t.Errorf("%d runs at %d, want fewer than %d at %d", len(h.Runs), h.LSN, len(held.Runs), held.LSN)
	}
}
