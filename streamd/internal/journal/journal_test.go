package journal_test

import (
	"bytes"
	"context"
	"encoding/binary"
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

// both runs a test on every journal of this package.
func both(t *testing.T, test func(t *testing.T, j journal.Journal)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, new(journal.Memory)) })
	t.Run("local", func(t *testing.T) {
		test(t, open(t, t.TempDir(), journal.LocalConfig{SegmentBytes: 1000, TailBytes: 300}))
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
	return &journal.Frame{
		ID:   journal.FrameID{Gateway: store, Session: 7, N: uint64(n)},
		Prev: uint32(n) * 3,
		Body: bytes.Repeat([]byte{byte(n)}, 20+n*13%180),
	}
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
	cfg := journal.LocalConfig{SegmentBytes: 1000}
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

// build makes a journal of frames 1 to n-1 and returns its last segment and the
// offset in it at which its last frame begins.
func build(t *testing.T, dir string, n int, cfg journal.LocalConfig) (last string, offset int64) {
	t.Helper()
	j := open(t, dir, cfg)
	fill(t, j, 1, n)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(names) < 2 {
		t.Fatalf("segments: %v, %v; want several", names, err)
	}
	last = names[len(names)-1]
	info, err := os.Stat(last)
	if err != nil {
		t.Fatal(err)
	}
	return last, info.Size() - 64 - int64(len(frame(n-1).Body))
}

func TestTornTailIsCut(t *testing.T) {
	const frames = 25
	cfg := journal.LocalConfig{SegmentBytes: 1000}
	src := t.TempDir()
	last, offset := build(t, src, frames, cfg)
	whole, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	for cut := offset; cut < int64(len(whole)); cut++ {
		for name, tail := range map[string][]byte{
			"short":   whole[:cut],
			"zeroed":  append(bytes.Clone(whole[:cut]), make([]byte, int64(len(whole))-cut)...),
			"garbage": append(bytes.Clone(whole[:cut]), bytes.Repeat([]byte{0xa5}, 5000)...),
		} {
			if name == "zeroed" && bytes.Equal(tail, whole) {
				continue // the bytes lost were zeros
			}
			if err := os.WriteFile(last, tail, 0o600); err != nil {
				t.Fatal(err)
			}
			j, err := tryOpen(src, cfg)
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
	cfg := journal.LocalConfig{SegmentBytes: 500}
	dir := t.TempDir()
	last, offset := build(t, dir, frames, cfg)
	cfg.Checked = 1 << 60 // so that opening writes nothing, which takes long
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		end := int64(len(whole))
		if name == last {
			end = offset
		}
		for i := range end {
			flipped := bytes.Clone(whole)
			flipped[i] ^= 0x10
			if err := os.WriteFile(name, flipped, 0o600); err != nil {
				t.Fatal(err)
			}
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
				reported = ce.File == name
			} else if err != nil && !errors.Is(err, errEnough) {
				reported = true // another version, another store
			}
			if !reported && !errors.Is(err, errEnough) {
				t.Fatalf("%s byte %d: %v, and the journal is short", name, i, err)
			}
			if err := os.WriteFile(name, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestMissingMiddleSegmentIsCorruption(t *testing.T) {
	dir := t.TempDir()
	cfg := journal.LocalConfig{SegmentBytes: 1000}
	build(t, dir, 40, cfg)
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(names) < 3 {
		t.Fatalf("segments %v, %v; want at least 3", names, err)
	}
	if err := os.Remove(names[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(dir, cfg); err == nil {
		t.Fatal("opened a journal with a hole")
	} else if _, ok := errors.AsType[*journal.CorruptError](err); !ok {
		t.Fatalf("%v, want a CorruptError", err)
	}
}

// A machine that crashed while frames were acknowledged before they were synced
// may have kept a later one: that is the loss the user chose, not corruption.
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
			lsns := fill(t, j, 1, 10)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(dir, "0000000000000000.seg")
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			clear(b[64+lsns[3] : 64+lsns[4]]) // frame 5
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			j, err = tryOpen(dir, journal.LocalConfig{})
			if _, corrupt := errors.AsType[*journal.CorruptError](err); corrupt != tt.fatal {
				t.Fatalf("open: %v, want a CorruptError: %v", err, tt.fatal)
			}
			if err == nil {
				wantFrames(t, follow(t, j, 0), 1, 5)
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestFailedSyncIsFinal(t *testing.T) {
	bad := false
	fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, name string) error {
		if bad && op == vfstest.Sync && filepath.Ext(name) == ".seg" {
			return syscall.EIO
		}
		return nil
	}}
	j := open(t, t.TempDir(), journal.LocalConfig{FS: fsys})
	fill(t, j, 1, 3)
	bad = true
	if _, err := j.Append(t.Context(), frame(3)); !errors.Is(err, journal.ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("Append with a failing disk: %v", err)
	}
	bad = false
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
	full := false
	fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, _ string) error {
		if full && op == vfstest.Write {
			return syscall.ENOSPC
		}
		return nil
	}}
	dir := t.TempDir()
	cfg := journal.LocalConfig{FS: fsys, SegmentBytes: 1000}
	j := open(t, dir, cfg)
	for n := 1; n < 60; n++ {
		full = true
		if _, err := j.Append(t.Context(), frame(n)); !errors.Is(err, journal.ErrFull) {
			t.Fatalf("Append %d to a full disk: %v, want ErrFull", n, err)
		}
		full = false
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
	full := false
	fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, _ string) error {
		if full && op == vfstest.Write {
			return syscall.ENOSPC
		}
		return nil
	}}
	const frames = 25
	dir := t.TempDir()
	cfg := journal.LocalConfig{FS: fsys, SegmentBytes: 1000}
	last, offset := build(t, dir, frames, cfg)
	if err := os.Truncate(last, offset+30); err != nil {
		t.Fatal(err)
	}
	full = true
	j := open(t, dir, cfg)
	wantFrames(t, follow(t, j, 0), 1, frames-1)
	if _, err := j.Append(t.Context(), frame(frames-1)); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("Append to a full disk: %v, want ErrFull", err)
	}
	full = false
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
	if err := open(t, dir, journal.LocalConfig{}).Close(); err != nil {
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
			if op == vfstest.Sync && filepath.Ext(name) == ".seg" {
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

// FuzzScan gives recovery bytes of any kind. What it takes for frames must be
// taken for the same frames again, once the rest is cut.
func FuzzScan(f *testing.F) {
	dir := f.TempDir()
	j, err := tryOpen(dir, journal.LocalConfig{})
	if err != nil {
		f.Fatal(err)
	}
	for n := 1; n < 5; n++ {
		if _, err := j.Append(context.Background(), frame(n)); err != nil {
			f.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "0000000000000000.seg"))
	if err != nil {
		f.Fatal(err)
	}
	frames := whole[64:]
	f.Add(frames)
	f.Add(frames[:len(frames)-1])
	holed := bytes.Clone(frames)
	holed[100] ^= 1
	f.Add(holed)
	f.Add([]byte{})
	f.Add(binary.LittleEndian.AppendUint64(nil, 1<<63))
	f.Fuzz(func(t *testing.T, b []byte) {
		valid, behind := journal.Scan(b, 0)
		if valid > len(b) || behind != 0 && (behind <= valid || behind >= len(b)) {
			t.Fatalf("%d bytes of %d are frames, and one follows at %d", valid, len(b), behind)
		}
		if again, more := journal.Scan(b[:valid], 0); again != valid || more != 0 {
			t.Fatalf("of %d bytes that are frames, %d are, and one follows at %d", valid, again, more)
		}
	})
}
