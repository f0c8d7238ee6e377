package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

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

func TestFollowFromAnywhere(t *testing.T) {
	both(t, func(t *testing.T, j journal.Journal) {
		lsns := fill(t, j, 1, 100)
		wantFrames(t, follow(t, j, 0), 1, 100)
		for i, lsn := range lsns {
			wantFrames(t, follow(t, j, lsn), i+2, 100)
		}
	})
}

func TestReadAtReturnsBodies(t *testing.T) {
	both(t, func(t *testing.T, j journal.Journal) {
		lsns := fill(t, j, 1, 100)
		for i, lsn := range lsns {
			body := frame(i + 1).Body
			got, err := j.(journal.Reader).ReadAt(lsn-journal.LSN(len(body))+5, 10)
			if err != nil || !bytes.Equal(got, body[5:15]) {
				t.Fatalf("frame %d: ReadAt = %v, %v", i+1, got, err)
			}
		}
	})
}

// Two who follow while frames come see the same frames in the same order.
func TestFollowWhileAppending(t *testing.T) {
	both(t, func(t *testing.T, j journal.Journal) {
		const frames = 200
		var followers sync.WaitGroup
		for range 2 {
			followers.Go(func() {
				next := 1
				err := j.Follow(t.Context(), 0, func(_ journal.LSN, f *journal.Frame) error {
					if int(f.ID.N) != next {
						return fmt.Errorf("frame %d after %d", f.ID.N, next-1)
					}
					if next++; next > frames {
						return errEnough
					}
					return nil
				})
				if !errors.Is(err, errEnough) {
					t.Error(err)
				}
			})
		}
		fill(t, j, 1, frames+1)
		followers.Wait()
	})
}

func TestFollowEnds(t *testing.T) {
	both(t, func(t *testing.T, j journal.Journal) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := j.Follow(ctx, 0, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Follow with an ended context: %v", err)
		}
		done := make(chan error)
		go func() { done <- j.Follow(t.Context(), 0, nil) }()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, journal.ErrClosed) {
			t.Errorf("Follow of a closed journal: %v", err)
		}
		if _, err := j.Append(t.Context(), frame(1)); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("Append to a closed journal: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestRelease(t *testing.T) {
	both(t, func(t *testing.T, j journal.Journal) {
		lsns := fill(t, j, 1, 100)
		if err := j.Release(t.Context(), lsns[49]); err != nil {
			t.Fatal(err)
		}
		wantFrames(t, follow(t, j, lsns[49]), 51, 100)
		if err := j.Follow(t.Context(), 0, func(journal.LSN, *journal.Frame) error { return errEnough }); !errors.Is(err, journal.ErrTrimmed) {
			t.Errorf("Follow from what was released: %v, want ErrTrimmed", err)
		}
		if _, err := j.(journal.Reader).ReadAt(lsns[0]-5, 5); !errors.Is(err, journal.ErrTrimmed) {
			t.Errorf("ReadAt of what was released: %v, want ErrTrimmed", err)
		}
	})
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	cfg := journal.LocalConfig{Files: 50, FileBytes: small}
	next := 1
	for range 5 {
		j := open(t, dir, cfg)
		wantFrames(t, follow(t, j, 0), 1, next)
		fill(t, j, next, next+17)
		next += 17
		if err := j.Close(); err != nil {
			t.Fatal(err)
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

func TestTornTailIsCut(t *testing.T) {
	const frames = 6
	cfg := journal.LocalConfig{Files: 50, FileBytes: small}
	dir := t.TempDir()
	last, offset := build(t, dir, frames, cfg)
	whole := read(t, last)
	end := offset + journal.HeaderSize + int64(len(frame(frames-1).Body))
	for cut := offset; cut < end; cut++ {
		for name, torn := range map[string][]byte{
			"short":   whole[:cut],
			"zeroed":  append(bytes.Clone(whole[:cut]), make([]byte, int64(len(whole))-cut)...),
			"garbage": append(bytes.Clone(whole[:cut]), bytes.Repeat([]byte{0xa5}, 5000)...),
		} {
			if name == "zeroed" && bytes.Equal(torn, whole) {
				continue // the bytes lost were zeros
			}
			write(t, last, torn)
			j, err := tryOpen(dir, cfg)
			if err != nil {
				t.Fatalf("%s at byte %d: %v", name, cut, err)
			}
			wantFrames(t, follow(t, j, 0), 1, frames-1)
			if _, err := j.Append(t.Context(), frame(frames-1)); err != nil {
				t.Fatal(err)
			}
			wantFrames(t, follow(t, j, 0), 1, frames)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Any byte that changes in front of the last frame is reported, or changes
// nothing; it never shortens the journal.
func TestEveryFlippedByteIsReported(t *testing.T) {
	const frames = 12
	cfg := journal.LocalConfig{Files: 50, FileBytes: small}
	dir := t.TempDir()
	last, offset := build(t, dir, frames, cfg)
	for _, name := range ring(t, dir) {
		whole := read(t, name)
		end := int64(len(whole))
		if name == last {
			end = offset
		}
		for i := range end {
			if i%4096 > 300 && i%4096 < 4090 || i >= small/3 && i%11 > 0 {
				continue // what lies behind a frame is all alike, and so are frames
			}
			flipped := bytes.Clone(whole)
			flipped[i] ^= 0x10
			write(t, name, flipped)
			reported := false
			j, err := tryOpen(dir, cfg)
			if err == nil {
				n := 0
				err = j.Follow(t.Context(), 0, func(_ journal.LSN, f *journal.Frame) error {
					if n++; !bytes.Equal(f.Body, frame(n).Body) {
						t.Fatalf("%s byte %d: frame %d reads differently", name, i, n)
					}
					if n == frames-1 {
						return errEnough
					}
					return nil
				})
				if cerr := j.Close(); cerr != nil {
					t.Fatal(cerr)
				}
			}
			if ce, ok := errors.AsType[*journal.CorruptError](err); ok {
				reported = ce.File == name && ce.Offset <= i && i < ce.Offset+4096
			}
			if !reported && !errors.Is(err, errEnough) {
				t.Fatalf("%s byte %d: %v, and the journal is short", name, i, err)
			}
			write(t, name, whole)
		}
	}
}

// A torn frame that began a file leaves its header there. What is written in its
// place may be short enough for the file before, and is found there.
func TestTornFrameInAnotherFile(t *testing.T) {
	cfg := journal.LocalConfig{Files: 2, FileBytes: small}
	dir := t.TempDir()
	j := open(t, dir, cfg)
	lsns := fill(t, j, 1, 6) // one block is left in the second file
	cfg.From = lsns[2]
	if err := j.Release(t.Context(), cfg.From); err != nil {
		t.Fatal(err)
	}
	long := journal.NewFrame(journal.FrameID{Gateway: store, Session: 7, N: 6}, 18, bytes.Repeat([]byte{3}, 5000))
	if _, err := j.Append(t.Context(), long); err != nil { // in the first file
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(dir, "00.ring")
	b := read(t, first)
	b[4096] ^= 1 // in the long frame's second block
	write(t, first, b)
	j = open(t, dir, cfg)
	wantFrames(t, follow(t, j, cfg.From), 4, 6)
	fill(t, j, 6, 7)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, cfg)
	wantFrames(t, follow(t, j, cfg.From), 4, 7)
	fill(t, j, 7, 8)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, follow(t, open(t, dir, cfg), cfg.From), 4, 8)
}

func TestMissingFileIsCorruption(t *testing.T) {
	dir := t.TempDir()
	cfg := journal.LocalConfig{Files: 50, FileBytes: small}
	build(t, dir, 40, cfg)
	for _, name := range ring(t, dir) {
		if journal.Start(read(t, name)) != 2*small {
			continue
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if _, err := tryOpen(dir, cfg); err == nil {
			t.Fatal("opened a journal with a hole")
		} else if _, ok := errors.AsType[*journal.CorruptError](err); !ok {
			t.Fatalf("%v, want a CorruptError", err)
		}
		return
	}
	t.Fatal("no file in the middle")
}

// A machine that crashed while frames were acknowledged before they were synced
// may have kept a later one: that is the loss the user chose, not corruption.
// What it kept is passed over for ever.
func TestUnsyncedHoleIsATail(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fsync journal.Fsync
		fatal bool
	}{
		{name: "synced", fatal: true},
		{name: "unsynced", fsync: journal.Fsync{Off: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, dir, journal.LocalConfig{Fsync: tt.fsync})
			fill(t, j, 1, 10)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(dir, "00.ring")
			b := read(t, name)
			clear(b[4*4096 : 5*4096]) // frame 5
			write(t, name, b)
			j, err := tryOpen(dir, journal.LocalConfig{})
			if _, corrupt := errors.AsType[*journal.CorruptError](err); corrupt != tt.fatal {
				t.Fatalf("open: %v, want a CorruptError: %v", err, tt.fatal)
			}
			if err != nil {
				return
			}
			wantFrames(t, follow(t, j, 0), 1, 5)
			fill(t, j, 5, 6) // over what is missing: frame 6 of old is next to it again
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = open(t, dir, journal.LocalConfig{})
			wantFrames(t, follow(t, j, 0), 1, 6)
		})
	}
}

// The files are used again once what they hold is released, also after the
// journal was opened anew, and what they held before is not read as new.
func TestTheRingGoesRound(t *testing.T) {
	dir := t.TempDir()
	cfg := journal.LocalConfig{Files: 3, FileBytes: small, TailBytes: 1}
	var lsns []journal.LSN
	lsn := func(n int) journal.LSN { // of frame n
		if n == 0 {
			return 0
		}
		return lsns[n-1]
	}
	released := 0
	for round := range 40 {
		cfg.From = lsn(released)
		j := open(t, dir, cfg)
		wantFrames(t, follow(t, j, cfg.From), released+1, len(lsns)+1)
		lsns = append(lsns, fill(t, j, len(lsns)+1, len(lsns)+1+round%4)...)
		if round%3 > 0 {
			released = len(lsns) - round%2
			if err := j.Release(t.Context(), lsn(released)); err != nil {
				t.Fatal(err)
			}
		}
		wantFrames(t, follow(t, j, lsn(released)), released+1, len(lsns)+1)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(ring(t, dir)); n > 3 {
			t.Fatalf("%d files after round %d, want at most 3", n, round)
		}
	}
	if len(lsns) < 50 {
		t.Fatalf("only %d frames", len(lsns))
	}
}

func TestFullRingRefuses(t *testing.T) {
	j := open(t, t.TempDir(), journal.LocalConfig{Files: 3, FileBytes: small})
	lsns := fill(t, j, 1, 10)
	if room := j.Room(); room != 0 {
		t.Errorf("a full ring has room for %d bytes", room)
	}
	if _, err := j.Append(t.Context(), frame(10)); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("Append to a full ring: %v, want ErrFull", err)
	}
	if err := j.Release(t.Context(), lsns[3]); err != nil {
		t.Fatal(err)
	}
	if room := j.Room(); room != small {
		t.Errorf("a ring with a free file has room for %d bytes, want %d", room, small)
	}
	fill(t, j, 10, 13)
	wantFrames(t, follow(t, j, lsns[3]), 5, 13)
	if _, err := j.Append(t.Context(), frame(13)); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("Append to a full ring: %v, want ErrFull", err)
	}
}

// A ring takes the shape that it is opened with as its files become free.
func TestRingOfAnotherShape(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, journal.LocalConfig{Files: 5, FileBytes: small})
	lsns := fill(t, j, 1, 15)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, journal.LocalConfig{Files: 2, FileBytes: 2 * small})
	wantFrames(t, follow(t, j, 0), 1, 15)
	if _, err := j.Append(t.Context(), frame(15)); err != nil && !errors.Is(err, journal.ErrFull) {
		t.Fatal(err)
	}
	if err := j.Release(t.Context(), lsns[len(lsns)-1]); err != nil {
		t.Fatal(err)
	}
	lsns = fill(t, j, 16, 26)
	if err := j.Release(t.Context(), lsns[len(lsns)-1]); err != nil {
		t.Fatal(err)
	}
	if n := len(ring(t, dir)); n > 2 {
		t.Errorf("%d files are left, want at most 2", n)
	}
}

func TestFailedSyncIsFinal(t *testing.T) {
	var bad atomic.Bool
	fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, name string) error {
		if bad.Load() && op == vfstest.Sync && filepath.Ext(name) == ".ring" {
			return syscall.EIO
		}
		return nil
	}}
	j := open(t, t.TempDir(), journal.LocalConfig{FS: fsys})
	fill(t, j, 1, 3)
	bad.Store(true)
	if _, err := j.Append(t.Context(), frame(3)); !errors.Is(err, journal.ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("Append with a failing disk: %v", err)
	}
	bad.Store(false)
	if _, err := j.Append(t.Context(), frame(4)); !errors.Is(err, journal.ErrFailed) {
		t.Fatalf("Append after a failed sync: %v, want ErrFailed for ever", err)
	}
	if err := j.Follow(t.Context(), 0, func(_ journal.LSN, f *journal.Frame) error {
		if f.ID.N > 2 {
			return fmt.Errorf("frame %d was never acknowledged", f.ID.N)
		}
		return nil
	}); !errors.Is(err, journal.ErrFailed) {
		t.Fatal(err)
	}
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	var full atomic.Bool
	fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, _ string) error {
		if full.Load() && op == vfstest.Write {
			return syscall.ENOSPC
		}
		return nil
	}}
	dir := t.TempDir()
	cfg := journal.LocalConfig{FS: fsys, Files: 50, FileBytes: small}
	j := open(t, dir, cfg)
	for n := 1; n < 60; n++ {
		full.Store(true)
		if _, err := j.Append(t.Context(), frame(n)); !errors.Is(err, journal.ErrFull) {
			t.Fatalf("Append %d to a full disk: %v, want ErrFull", n, err)
		}
		full.Store(false)
		if _, err := j.Append(t.Context(), frame(n)); err != nil {
			t.Fatalf("Append %d with room again: %v", n, err)
		}
	}
	wantFrames(t, follow(t, j, 0), 1, 60)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, follow(t, open(t, dir, cfg), 0), 1, 60)
}

func TestOpenOnAFullDisk(t *testing.T) {
	var full atomic.Bool
	fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, _ string) error {
		if full.Load() && op == vfstest.Write {
			return syscall.ENOSPC
		}
		return nil
	}}
	const frames = 25
	dir := t.TempDir()
	cfg := journal.LocalConfig{FS: fsys, Files: 50, FileBytes: small}
	last, offset := build(t, dir, frames, cfg)
	write(t, last, read(t, last)[:offset+30])
	full.Store(true)
	j := open(t, dir, cfg)
	wantFrames(t, follow(t, j, 0), 1, frames-1)
	if _, err := j.Append(t.Context(), frame(frames-1)); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("Append to a full disk: %v, want ErrFull", err)
	}
	full.Store(false)
	if _, err := j.Append(t.Context(), frame(frames-1)); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, follow(t, open(t, dir, cfg), 0), 1, frames)
}

func TestAnotherStoreIsRefused(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, journal.LocalConfig{})
	fill(t, j, 1, 2)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.OpenLocal(dir, journal.LocalConfig{Store: [16]byte{9}}); err == nil {
		t.Error("opened the journal of another store")
	}
}

func TestIntervalSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var syncs atomic.Int32
		fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, name string) error {
			if op == vfstest.Sync && filepath.Ext(name) == ".ring" {
				syncs.Add(1)
			}
			return nil
		}}
		j, err := tryOpen(t.TempDir(), journal.LocalConfig{FS: fsys, Fsync: journal.Fsync{Interval: 100 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		syncs.Store(0)
		fill(t, j, 1, 50)
		if n := syncs.Load(); n != 0 {
			t.Errorf("%d syncs while appending, want none", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := syncs.Load(); n != 1 {
			t.Errorf("%d syncs after ten intervals with one burst, want 1", n)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzRecover gives recovery a file of any kind beside a whole one. It opens
// with the frames of the whole one, or with more, or refuses.
func FuzzRecover(f *testing.F) {
	dir := f.TempDir()
	j, err := tryOpen(dir, journal.LocalConfig{Files: 3, FileBytes: small})
	if err != nil {
		f.Fatal(err)
	}
	for n := 1; n < 6; n++ {
		if _, err := j.Append(context.Background(), frame(n)); err != nil {
			f.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		f.Fatal(err)
	}
	first, err := os.ReadFile(filepath.Join(dir, "00.ring"))
	if err != nil {
		f.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(dir, "01.ring"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(second)
	f.Add(second[:len(second)-1])
	f.Add(first)
	holed := bytes.Clone(second)
	holed[100] ^= 1
	f.Add(holed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "00.ring"), first)
		write(t, filepath.Join(dir, "01.ring"), b)
		cfg := journal.LocalConfig{Files: 3, FileBytes: max(small, len(b))}
		j, err := tryOpen(dir, cfg)
		if err != nil {
			return
		}
		head, err := j.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := j.Follow(t.Context(), 0, func(lsn journal.LSN, f *journal.Frame) error {
			if n++; n < 4 && !bytes.Equal(f.Body, frame(n).Body) {
				return fmt.Errorf("frame %d reads differently", n)
			}
			if lsn == head {
				return errEnough
			}
			return nil
		}); !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if n < 3 {
			t.Fatalf("%d frames, want 3 at least", n)
		}
		j, err = tryOpen(dir, cfg)
		if err != nil {
			t.Fatalf("opened once, and then not again: %v", err)
		}
		if again, err := j.Head(t.Context()); err != nil || again != head {
			t.Fatalf("ends at %d, %v; it ended at %d before", again, err, head)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
