package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// The ring goes round as checkpoints move records into runs, what runs hold is
// read as before, and their files go when their records are past retention.
func TestRecordsMoveIntoRunsAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		opts := store.Options{Dir: dir, RingFiles: 3, RingBytes: 16 << 10}
		f := open(t, opts)
		defer func() { f.close() }()
		s := f.create("s", 2)
		files := func(pattern string) int {
			names, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			return len(names)
		}
		var want []string
		for n := range 100 {
			want = append(want, fmt.Sprint(n, strings.Repeat("x", 1000)))
			f.put(s, record("k", want[n]))
			if n%10 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		shard := s.Route(record("k", "").HashKey)
		if n := files("journal/*.ring"); n != 3 {
			t.Errorf("%d files of the journal, want 3", n)
		}
		if n := files("runs/*"); n == 0 || n > 8 {
			t.Errorf("%d runs, want some, and those merged with their neighbours", n)
		}
		if got := datas(f.all(s, shard, state.Position{})); !slices.Equal(got, want) {
			t.Errorf("the shard holds %d records, want %d", len(got), len(want))
		}
		f.close()
		f = open(t, opts)
		if got := datas(f.all(s, shard, state.Position{})); !slices.Equal(got, want) {
			t.Errorf("after a restart the shard holds %d records, want %d", len(got), len(want))
		}
		f.clock.Advance(25 * time.Hour)
		f.put(s, record("k", "new"))
		f.clock.Advance(2 * time.Minute)
		synctest.Wait()
		f.clock.Advance(2 * time.Minute)
		synctest.Wait()
		if n := files("runs/*"); n > 1 {
			t.Errorf("%d runs once their records are past retention", n)
		}
		if got := datas(f.all(s, shard, state.Position{})); !slices.Equal(got, []string{"new"}) {
			t.Errorf("the shard holds %v", got)
		}
	})
}

// A directory that takes all it may refuses records, and nothing else, until some
// have expired.
func TestMaxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, store.Options{Dir: t.TempDir(), RingFiles: 3, RingBytes: 16 << 10, MaxBytes: 200_000})
		defer f.close()
		s := f.create("s", 1)
		big := record("k", strings.Repeat("x", 5000))
		var err error
		taken := 0
		for ; err == nil && taken < 200; taken++ {
			_, err = f.Put(t.Context(), s.ID, []store.Record{big})
			synctest.Wait()
		}
		if d := f.Disk(); !errors.Is(err, store.ErrFull) || !d.Refused || d.Journal+d.Runs+d.Snapshots > 300_000 || taken < 20 {
			t.Fatalf("after %d puts: %v, %+v", taken, err, d)
		}
		if got := f.Stored()[s.ID]; got < uint64(5000*(taken-1)) || got > uint64(5200*taken) {
			t.Errorf("%d bytes are stored, after %d puts of 5,000", got, taken-1)
		}
		f.create("t", 1)
		if got := len(f.all(s, 0, state.Position{})); got != taken-1 {
			t.Errorf("%d records are there, want %d", got, taken-1)
		}
		f.clock.Advance(25 * time.Hour)
		f.clock.Advance(3 * time.Minute)
		synctest.Wait()
		f.clock.Advance(2 * time.Minute)
		synctest.Wait()
		f.put(s, big)
		if got := len(f.all(s, 0, state.Position{})); got != 1 || f.Disk().Refused {
			t.Errorf("%d records once all have expired but one, %+v", got, f.Disk())
		}
	})
}

// Records leave the last of a journal that nothing frees to what is small.
func TestReserve(t *testing.T) { synctest.Test(t, testReserve) }

func testReserve(t *testing.T) {
	var full atomic.Bool
	fsys := vfstest.FS{FS: vfstest.Lazy{FS: vfs.OS}, Fault: func(op vfstest.Op, name string) error {
		if full.Load() && op == vfstest.Write && !strings.HasSuffix(name, ".ring") {
			return syscall.ENOSPC
		}
		return nil
	}}
	f := open(t, store.Options{Dir: t.TempDir(), FS: fsys, RingFiles: 3, RingBytes: 64 << 10})
	defer f.close()
	s := f.create("s", 1)
	full.Store(true)
	var err error
	for range 100 {
		if _, err = f.Put(t.Context(), s.ID, []store.Record{record("k", strings.Repeat("x", 3000))}); err != nil {
			break
		}
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("puts on a full disk: %v", err)
	}
	for i := range 3 {
		f.create(fmt.Sprint("after", i), 1)
	}
	full.Store(false)
	f.clock.Advance(2 * time.Second)
	_, _ = f.Put(t.Context(), s.ID, []store.Record{record("k", "x")}) // refused, and has it tried again
	synctest.Wait()
	f.put(s, record("k", "x"))
}

// A disk that is full at the end costs the snapshot and nothing else.
func TestCloseOnAFullDisk(t *testing.T) {
	full := false
	fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, _ string) error {
		if full && op == vfstest.Write {
			return syscall.ENOSPC
		}
		return nil
	}}
	opts := store.Options{Dir: t.TempDir(), FS: fsys}
	f := open(t, opts)
	s := f.create("s", 1)
	f.put(s, record("k", "a"))
	full = true
	f.close()
	f = open(t, opts)
	defer f.close()
	if got := datas(f.all(s, 0, state.Position{})); !slices.Equal(got, []string{"a"}) {
		t.Errorf("after a restart: %v", got)
	}
}
