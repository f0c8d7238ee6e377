package journal_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/journal"
)

var store = [16]byte{1, 2, 3}

// small is the size of a file that holds three frames of these tests.
const small = 3 * 4096

// both runs a test on every journal of this package.
func both(t *testing.T, test func(t *testing.T, j journal.Journal)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, new(journal.Memory)) })
	t.Run("local", func(t *testing.T) {
		test(t, open(t, newDisk(t), journal.LocalConfig{Files: 100, FileBytes: small, TailBytes: 300}))
	})
}

// dir is where the journals of these tests are, on a disk in memory.
const dir = "/journal"

func newDisk(t testing.TB) *vfstest.Disk {
	t.Helper()
	d := vfstest.NewDisk()
	if err := d.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

func open(t *testing.T, d vfs.FS, cfg journal.LocalConfig) *journal.Local {
	t.Helper()
	j, err := tryOpen(d, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func tryOpen(d vfs.FS, cfg journal.LocalConfig) (*journal.Local, error) {
	cfg.FS, cfg.Store, cfg.Logger = d, store, slog.New(slog.DiscardHandler)
	return journal.OpenLocal(dir, cfg)
}

func frame(n int) *journal.Frame {
	return journal.NewFrame(
		journal.FrameID{Gateway: store, Session: 7, N: uint64(n)}, uint32(n)*3,
		bytes.Repeat([]byte{byte(n)}, 20+n*13%180),
	)
}

func fill(t *testing.T, j journal.Journal, from, to int) []journal.LSN {
	t.Helper()
	var lsns []journal.LSN
	for n := from; n < to; n++ {
		lsn, err := j.Append(t.Context(), frame(n))
		if err != nil {
			t.Fatal(err)
		}
		lsns = append(lsns, lsn)
	}
	return lsns
}

var errEnough = errors.New("enough")

// follow returns the numbers of the frames above from, and checks that each is
// whole.
func follow(t *testing.T, j journal.Journal, from journal.LSN) []int {
	t.Helper()
	head, err := j.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	if from >= head {
		return nil
	}
	err = j.Follow(t.Context(), from, func(lsn journal.LSN, f *journal.Frame) error {
		n := int(f.ID.N)
		want := frame(n)
		if f.ID != want.ID || f.Prev != want.Prev || !bytes.Equal(f.Body, want.Body) {
			t.Errorf("frame %d differs from what was appended", n)
		}
		got = append(got, n)
		if lsn >= head {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	return got
}

func wantFrames(t *testing.T, got []int, from, to int) {
	t.Helper()
	if len(got) != to-from {
		t.Fatalf("followed %d frames %v, want %d to %d", len(got), got, from, to-1)
	}
	for i, n := range got {
		if n != from+i {
			t.Fatalf("frame %d at place %d, want %d", n, i, from+i)
		}
	}
}

// build makes a journal of frames 1 to n-1 and returns the file of its last
// frame and the offset in it at which that begins.
func build(t *testing.T, d vfs.FS, n int, cfg journal.LocalConfig) (last string, offset int64) {
	t.Helper()
	j := open(t, d, cfg)
	lsns := fill(t, j, 1, n)
	end := lsns[len(lsns)-1]
	base := j.Base(end - 1)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	start := end - journal.LSN(len(frame(n-1).Body)) - journal.HeaderSize
	for _, name := range ring(t, d) {
		if at := journal.Start(read(t, d, name)); at == base {
			return name, int64(start - base)
		}
	}
	t.Fatal("no file has the last frame")
	return "", 0
}

// ring returns the names of the ring's files.
func ring(t testing.TB, d vfs.FS) (names []string) {
	t.Helper()
	entries, err := d.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".ring") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

func read(t testing.TB, d vfs.FS, name string) []byte {
	t.Helper()
	b, err := vfs.ReadFile(d, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, d vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := d.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil { // or the disk keeps what it was before, for a cut
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
