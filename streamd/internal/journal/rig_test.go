package journal_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
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
		test(t, open(t, t.TempDir(), journal.LocalConfig{Files: 100, FileBytes: small, TailBytes: 300}))
	})
}

func open(t *testing.T, dir string, cfg journal.LocalConfig) *journal.Local {
	t.Helper()
	j, err := tryOpen(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func tryOpen(dir string, cfg journal.LocalConfig) (*journal.Local, error) {
	cfg.Store, cfg.Logger = store, slog.New(slog.DiscardHandler)
	if cfg.FS == nil {
		cfg.FS = vfstest.Lazy{FS: vfs.OS}
	}
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
func build(t *testing.T, dir string, n int, cfg journal.LocalConfig) (last string, offset int64) {
	t.Helper()
	j := open(t, dir, cfg)
	lsns := fill(t, j, 1, n)
	end := lsns[len(lsns)-1]
	base := j.Base(end - 1)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	start := end - journal.LSN(len(frame(n-1).Body)) - journal.HeaderSize
	for _, name := range ring(t, dir) {
		if at := journal.Start(read(t, name)); at == base {
			return name, int64(start - base)
		}
	}
	t.Fatal("no file has the last frame")
	return "", 0
}

// ring returns the names of the ring's files.
func ring(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.ring"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	// Not truncated first: ext4 would flush the file when it is closed.
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(len(b))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
