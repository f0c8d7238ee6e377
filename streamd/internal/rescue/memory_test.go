package rescue_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/rescue"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// Sizes of the tests of memory: what is on disk is several times what may be in
// memory of it.
const (
	largeRun   = 24 << 20
	mayBeInUse = 8 << 20
)

// heap takes down how much memory is in use, beyond what was at its begin.
type heap struct{ base, peak int64 }

func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func newHeap() *heap { return &heap{base: inUse()} }

func (h *heap) look() { h.peak = max(h.peak, inUse()-h.base) }

func (h *heap) check(t *testing.T, what string) {
	t.Helper()
	if h.peak > mayBeInUse {
		t.Errorf("%s has used %d bytes of memory at once, want at most %d", what, h.peak, mayBeInUse)
	}
}

// watched is a writer that looks at the heap now and then.
type watched struct {
	heap  *heap
	bytes int
	next  int
}

func (w *watched) Write(b []byte) (int, error) {
	if w.bytes += len(b); w.bytes >= w.next {
		w.heap.look()
		w.next = w.bytes + 2<<20
	}
	return len(b), nil
}

// onDisk is a data directory on the disk of the machine, so that what is in it
// is not in memory.
func onDisk(t *testing.T) (dir string, open func() *store.Store) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	return dir, func() *store.Store {
		clk := new(clock.Clock)
		st, err := store.Open(store.Options{
			Dir: dir, FS: lazy, RingFiles: 2, RingBytes: 8 * largeRun, Clock: clk, Logger: slog.New(slog.DiscardHandler),
		})
		check(t, err)
		t.Cleanup(clk.Close)
		return st
	}
}

var lazy = vfstest.Lazy{FS: vfs.OS}

// damagedRun makes a directory with one large run, of which a byte is wrong.
func damagedRun(t *testing.T) (dir string) {
	t.Helper()
	dir, open := onDisk(t)
	s := &server{Store: open(), t: t}
	st := s.create("a", 2)
	data := bytes.Repeat([]byte("x"), 5000)
	for n := 0; n < largeRun; {
		recs := make([]store.Record, 100)
		for i := range recs {
			key := fmt.Sprint(n + i)
			recs[i] = store.Record{PartitionKey: key, Data: data, HashKey: hashkey.Of(key)}
			n += len(data)
		}
		_, err := s.Put(t.Context(), st.ID, recs)
		check(t, err)
	}
	check(t, s.Close())
	names, err := lazy.ReadDir(filepath.Join(dir, store.RunsDir))
	check(t, err)
	if len(names) != 1 {
		t.Fatalf("%d runs, want 1", len(names))
	}
	overwriteOn(t, filepath.Join(dir, store.RunsDir, names[0].Name()), largeRun/2, []byte("y"))
	return dir
}

func overwriteOn(t *testing.T, name string, at int64, b []byte) {
	t.Helper()
	f, err := lazy.OpenFile(name, os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteAt(b, at)
	check(t, err)
	check(t, f.Close())
}

// What is in runs is not in memory as a whole, be they damaged or not.
func TestMemoryOfADump(t *testing.T) {
	dir := damagedRun(t)
	h := newHeap()
	skipped := 0
	w := &watched{heap: h}
	check(t, rescue.Dump(lazy, dir, w, rescue.DumpOptions{What: "records", Skipped: func(string) { skipped++ }}))
	if w.bytes < largeRun || skipped == 0 {
		t.Fatalf("%d bytes, %d skipped", w.bytes, skipped)
	}
	h.check(t, "a dump")
}

func TestMemoryOfARepair(t *testing.T) {
	dir := damagedRun(t)
	h := newHeap()
	writes := 0
	fsys := vfstest.FS{FS: lazy, Fault: func(op vfstest.Op, name string) error {
		if op == vfstest.Write && strings.Contains(name, ".run") {
			writes++
			h.look()
		}
		return nil
	}}
	plan, err := rescue.Repair(fsys, dir, true, now)
	check(t, err)
	if len(plan.Steps) == 0 || writes < 3*largeRun>>21 { // a copy, and what takes its place
		t.Fatalf("%d writes: %s", writes, plan)
	}
	h.check(t, "a repair")
}

// A snapshot that is sent is not in memory, whatever tables are in it.
func TestMemoryOfASnapshot(t *testing.T) {
	_, open := onDisk(t)
	s := &server{Store: open(), t: t}
	s.table("CreateTable", `{"TableName":"leases","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}`)
	text := strings.Repeat("x", 350<<10)
	for n := 0; n < largeRun; n += len(text) {
		s.table("PutItem", fmt.Sprintf(`{"TableName":"leases","Item":{"k":{"S":"%d"},"v":{"S":%q}}}`, n, text))
	}
	s.checkpoint() // and the journal's tail goes
	h := newHeap()
	held, err := s.Hold(t.Context())
	check(t, err)
	h.look()
	archive, err := rescue.NewArchive(held, now)
	check(t, err)
	w := &watched{heap: h}
	check(t, archive.Write(w))
	if w.bytes < largeRun {
		t.Fatalf("%d bytes", w.bytes)
	}
	held.Release()
	h.check(t, "a snapshot")
	check(t, s.Close())
}
