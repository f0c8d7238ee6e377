package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/journal"
)

// lookRing returns a ring of small files that was written round more than once,
// and what it holds behind a position.
func lookRing(t *testing.T) (d *vfstest.Disk, from journal.LSN, bodies []string) {
	t.Helper()
	d = vfstest.NewDisk()
	if err := d.MkdirAll("/j", 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := journal.OpenLocal("/j", journal.LocalConfig{FS: d, Files: 2, FileBytes: 5 * 4096, Store: [16]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	prev := uint32(0)
	for i := range 23 {
		f := journal.NewFrame(journal.FrameID{Gateway: [16]byte{1}, Session: 1, N: uint64(i + 1)}, prev, fmt.Appendf(nil, "frame %d", i))
		lsn, err := l.Append(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		prev = f.Sum
		switch {
		case i < 17:
			from = lsn
			if err := l.Release(t.Context(), lsn); err != nil {
				t.Fatal(err)
			}
		default:
			bodies = append(bodies, string(f.Body))
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return d, from, bodies
}

func look(t *testing.T, d *vfstest.Disk, from journal.LSN) (*journal.Look, []string) {
	t.Helper()
	l, err := journal.LookAt(d, "/j", [16]byte{}, from)
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for _, s := range l.Frames {
		f, err := s.Read(d)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(f.Body))
	}
	return l, bodies
}

func TestLook(t *testing.T) {
	d, from, bodies := lookRing(t)
	l, got := look(t, d, from)
	if !slices.Equal(got, bodies) || l.Damage != nil || len(l.Beyond) > 0 || l.Store != [16]byte{1} || l.Head != l.Frames[len(got)-1].End {
		t.Errorf("%+v\n%q, want %q", l, got, bodies)
	}
	if l, _ := look(t, d, 4096); l.Damage == nil || len(l.Frames) > 0 || len(l.Beyond) == 0 {
		t.Errorf("from a position that was written over: %+v", l)
	}
}

// A ring that was cut behind its damage is one that a journal goes on in.
func TestCut(t *testing.T) {
	for damaged := range 5 {
		t.Run(fmt.Sprint(damaged), func(t *testing.T) {
			d, from, bodies := lookRing(t)
			l, _ := look(t, d, from)
			at := l.Frames[damaged]
			f, err := d.OpenFile(at.File, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("x"), at.Offset+journal.HeaderSize); err != nil {
				t.Fatal(err)
			}
			l, got := look(t, d, from)
			if l.Damage == nil || l.Damage.File != at.File || l.Damage.Offset != at.Offset || !slices.Equal(got, bodies[:damaged]) || len(l.Beyond) != len(bodies)-damaged || l.Beyond[0].Whole || !l.Beyond[1].Whole {
				t.Fatalf("%+v\n%q", l, got)
			}
			if _, err := l.Cut(d, "/j", make([]byte, 5000)); err == nil {
				t.Error("a frame that can be torn ends the ring")
			}
			head, err := l.Cut(d, "/j", []byte("the end"))
			if err != nil {
				t.Fatal(err)
			}
			l, got = look(t, d, from)
			want := append(slices.Clone(bodies[:damaged]), "the end")
			if l.Damage != nil || l.Head != head || !slices.Equal(got, want) || len(l.Beyond) > 0 {
				t.Fatalf("after the cut: %+v\n%q, want %q", l, got, want)
			}
			j, err := journal.OpenLocal("/j", journal.LocalConfig{FS: d, Files: 2, FileBytes: 5 * 4096, Store: [16]byte{1}, From: from})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := j.Append(t.Context(), journal.NewFrame(journal.FrameID{Gateway: [16]byte{1}, Session: 99, N: 1}, 0, []byte("more"))); err != nil {
				t.Fatal(err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if _, got = look(t, d, from); !slices.Equal(got, append(want, "more")) {
				t.Errorf("and more: %q", got)
			}
		})
	}
}

func TestLookFindsWhatIsNotItsOwn(t *testing.T) {
	d, from, _ := lookRing(t)
	for _, name := range []string{"x.ring", "02.ring.tmp", "other"} {
		if err := vfs.WriteFile(d, filepath.Join("/j", name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := journal.LookAt(d, "/j", [16]byte{2}, from)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Foreign) != 2 || len(l.Files) != 0 || !slices.Equal(l.Strays, []string{"/j/x.ring"}) || !slices.Equal(l.Temporary, []string{"/j/02.ring.tmp"}) {
		t.Errorf("%+v", l)
	}
}
