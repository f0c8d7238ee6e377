package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/journal"
)

func TestTornTailIsCut(t *testing.T) {
	const frames = 6
	cfg := journal.LocalConfig{Files: 50, FileBytes: small}
	d := newDisk(t)
	last, offset := build(t, d, frames, cfg)
	whole := read(t, d, last)
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
			write(t, d, last, torn)
			j, err := tryOpen(d, cfg)
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
	d := newDisk(t)
	last, offset := build(t, d, frames, cfg)
	for _, name := range ring(t, d) {
		whole := read(t, d, name)
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
			write(t, d, name, flipped)
			reported := false
			j, err := tryOpen(d, cfg)
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
			write(t, d, name, whole)
		}
	}
}

// A torn frame that began a file leaves its header there. What is written in its
// place may be short enough for the file before, and is found there.
func TestTornFrameInAnotherFile(t *testing.T) {
	cfg := journal.LocalConfig{Files: 2, FileBytes: small}
	d := newDisk(t)
	j := open(t, d, cfg)
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
	b := read(t, d, first)
	b[4096] ^= 1 // in the long frame's second block
	write(t, d, first, b)
	j = open(t, d, cfg)
	wantFrames(t, follow(t, j, cfg.From), 4, 6)
	fill(t, j, 6, 7)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, d, cfg)
	wantFrames(t, follow(t, j, cfg.From), 4, 7)
	fill(t, j, 7, 8)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, follow(t, open(t, d, cfg), cfg.From), 4, 8)
}

func TestMissingFileIsCorruption(t *testing.T) {
	d := newDisk(t)
	cfg := journal.LocalConfig{Files: 50, FileBytes: small}
	build(t, d, 40, cfg)
	for _, name := range ring(t, d) {
		if journal.Start(read(t, d, name)) != 2*small {
			continue
		}
		if err := d.Remove(name); err != nil {
			t.Fatal(err)
		}
		if _, err := tryOpen(d, cfg); err == nil {
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
			d := newDisk(t)
			j := open(t, d, journal.LocalConfig{Fsync: tt.fsync})
			fill(t, j, 1, 10)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(dir, "00.ring")
			b := read(t, d, name)
			clear(b[4*4096 : 5*4096]) // frame 5
			write(t, d, name, b)
			j, err := tryOpen(d, journal.LocalConfig{})
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
			j = open(t, d, journal.LocalConfig{})
			wantFrames(t, follow(t, j, 0), 1, 6)
		})
	}
}

func TestAnotherStoreIsRefused(t *testing.T) {
	d := newDisk(t)
	j := open(t, d, journal.LocalConfig{})
	fill(t, j, 1, 2)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.OpenLocal(dir, journal.LocalConfig{FS: d, Store: [16]byte{9}}); err == nil {
		t.Error("opened the journal of another store")
	}
}

// FuzzRecover gives recovery a file of any kind beside a whole one. It opens
// with the frames of the whole one, or with more, or refuses; and who looks at it
// finds the same.
func FuzzRecover(f *testing.F) {
	d := newDisk(f)
	j, err := tryOpen(d, journal.LocalConfig{Files: 3, FileBytes: small})
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
	first := read(f, d, filepath.Join(dir, "00.ring"))
	var second []byte // which of the others it is, chance says
	for _, name := range ring(f, d)[1:] {
		if b := read(f, d, name); journal.Start(b) > 0 {
			second = b
		}
	}
	f.Add(second)
	f.Add(second[:len(second)-1])
	f.Add(first)
	holed := bytes.Clone(second)
	holed[100] ^= 1
	f.Add(holed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newDisk(t)
		write(t, d, filepath.Join(dir, "00.ring"), first)
		write(t, d, filepath.Join(dir, "01.ring"), b)
		cfg := journal.LocalConfig{Files: 3, FileBytes: max(small, len(b))}
		seen, err := journal.LookAt(d, dir, store, 0)
		if err != nil {
			t.Fatal(err)
		}
		j, err := tryOpen(d, cfg)
		if err != nil {
			if seen.Damage == nil && len(seen.Foreign) == 0 {
				t.Fatalf("it is refused (%v), but a look finds nothing", err)
			}
			return
		}
		head, err := j.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if seen.Damage != nil || seen.Head != head {
			t.Fatalf("it opens, and ends at %d; a look finds %v and %d", head, seen.Damage, seen.Head)
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
		j, err = tryOpen(d, cfg)
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
