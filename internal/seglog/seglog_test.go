package seglog_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/streamkit/streamkit/internal/seglog"
	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

var kind = seglog.Kind{'T', 'E', 'S', 'T'}

func open(t *testing.T, fsys vfs.FS, path string) *seglog.Log {
	t.Helper()
	l, err := seglog.Open(fsys, path, seglog.Options{Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func add(t *testing.T, l *seglog.Log, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if err := l.Append([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
}

func content(t *testing.T, l *seglog.Log) []string {
	t.Helper()
	var got []string
	if err := l.Replay(func(p []byte) error { got = append(got, string(p)); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestReopenGivesBackWhatWasAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, vfs.OS, path)
	want := []string{"one", strings.Repeat("two", 100_000), "three"}
	add(t, l, want...)
	if got := content(t, l); !slices.Equal(got, want) {
		t.Errorf("before the reopening: %d payloads, want %d equal ones", len(got), len(want))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, vfs.OS, path)
	if got := content(t, l); !slices.Equal(got, want) {
		t.Errorf("after the reopening: %d payloads, want %d equal ones", len(got), len(want))
	}
	add(t, l, "four")
	if got := content(t, l); len(got) != 4 || got[3] != "four" {
		t.Errorf("after an append: %d payloads, want 4", len(got))
	}
}

func TestOpenRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, vfs.OS, path)
	if _, err := seglog.Open(vfs.OS, path, seglog.Options{Kind: kind}); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("second Open: %v, want ErrLocked", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := seglog.Open(vfs.OS, path, seglog.Options{Kind: seglog.Kind{'E', 'L', 'S', 'E'}})
	if !errors.Is(err, seglog.ErrCorrupt) || !strings.Contains(err.Error(), `"TEST"`) {
		t.Errorf("Open of another kind: %v, want ErrCorrupt that names the kind", err)
	}
	if err := os.WriteFile(path, []byte("a text file of more than thirty-two bytes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seglog.Open(vfs.OS, path, seglog.Options{Kind: kind}); !errors.Is(err, seglog.ErrCorrupt) {
		t.Errorf("Open of a text file: %v, want ErrCorrupt", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the refused file is gone: %v", err)
	}
}

func TestAppendRefusesSizes(t *testing.T) {
	l := open(t, vfs.OS, filepath.Join(t.TempDir(), "log"))
	for _, n := range []int{0, seglog.MaxPayload + 1} {
		if err := l.Append(make([]byte, n)); err == nil {
			t.Errorf("Append of %d bytes succeeded", n)
		}
	}
	if err := l.Append(make([]byte, seglog.MaxPayload)); err != nil {
		t.Errorf("Append of MaxPayload bytes: %v", err)
	}
}

// A disk without room for a copy of the torn tail, which may be what has torn it, does
// not keep the log from being opened.
func TestTornOnFullDisk(t *testing.T) {
	d := vfstest.NewDisk()
	l := open(t, d, "/log")
	add(t, l, "first", "second")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := d.OpenFile("/log", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("torn")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	d.SetRoom(d.Used())
	l = open(t, d, "/log")
	if got := content(t, l); l.Torn() != 4 || !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("content %q, %d bytes torn", got, l.Torn())
	}
	if left, err := d.ReadDir("/"); err != nil || len(left) != 2 { // and the lock
		t.Errorf("there are %v (%v), want the log alone", left, err)
	}
	d.SetRoom(-1)
	add(t, l, "next")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, open(t, d, "/log")); !slices.Equal(got, []string{"first", "second", "next"}) {
		t.Errorf("reopened: content %q", got)
	}
}

// A write torn at any byte costs that payload and nothing else.
func TestTornAtEachByte(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	l := open(t, vfs.OS, path)
	add(t, l, "first", "second")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	good := l.Size()
	add(t, l, "the torn one")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, fill := range []string{"cut", "zeros", "ones"} {
		for n := good; n < int64(len(whole)); n++ {
			torn := slices.Clone(whole[:n])
			for range int64(len(whole)) - n {
				switch fill {
				case "zeros":
					torn = append(torn, 0)
				case "ones":
					torn = append(torn, 0xff)
				}
			}
			path := filepath.Join(dir, fmt.Sprintf("%s-%d", fill, n))
			if err := os.WriteFile(path, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			l := open(t, vfs.OS, path)
			if got := content(t, l); !slices.Equal(got, []string{"first", "second"}) {
				t.Fatalf("%s from byte %d: content %q", fill, n, got)
			}
			if want := int64(len(torn)) - good; l.Torn() != want {
				t.Errorf("%s from byte %d: Torn = %d, want %d", fill, n, l.Torn(), want)
			}
			if l.Torn() > 0 {
				aside, err := os.ReadFile(path + ".torn")
				if err != nil || !bytes.Equal(aside, torn[good:]) {
					t.Errorf("%s from byte %d: the tail is not kept aside: %v", fill, n, err)
				}
			}
			add(t, l, "next")
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if got := content(t, open(t, vfs.OS, path)); !slices.Equal(got, []string{"first", "second", "next"}) {
				t.Fatalf("%s from byte %d, appended, reopened: content %q", fill, n, got)
			}
		}
	}
}

// Damage at any byte of what was durable is refused, and the file left alone.
func TestDamageOfDurableBytes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	l := open(t, vfs.OS, path)
	add(t, l, "first", "second")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	durable := l.Size()
	add(t, l, "third")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range durable {
		bad := slices.Clone(whole)
		bad[i] ^= 0x40
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := seglog.Open(vfs.OS, path, seglog.Options{Kind: kind, Hint: "restore it"})
		ce, ok := errors.AsType[*seglog.CorruptError](err)
		if !ok || ce.Path != path || ce.Offset > i || !strings.HasSuffix(err.Error(), "restore it") {
			t.Fatalf("bit flipped in byte %d: error %v", i, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, bad) {
			t.Errorf("byte %d: Open changed a damaged file", i)
		}
	}
}

// Pages may reach the disk out of order: a hole in what was never synced, with
// whole frames behind it, is a crash and no damage.
func TestHoleInUnsyncedBytesIsATornTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, vfs.OS, path)
	add(t, l, "durable")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	hole := l.Size()
	add(t, l, "lost", "whole, but behind the hole")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[hole : hole+20])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := content(t, open(t, vfs.OS, path)); !slices.Equal(got, []string{"durable"}) {
		t.Errorf("content %q, want what was durable", got)
	}
}

func TestRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, vfs.OS, path)
	add(t, l, "old", "older")
	if err := l.Rewrite(func(add func([]byte) error) error { return add([]byte("new")) }); err != nil {
		t.Fatal(err)
	}
	add(t, l, "newer")
	want := []string{"new", "newer"}
	if got := content(t, l); !slices.Equal(got, want) {
		t.Errorf("content %q, want %q", got, want)
	}
	failure := errors.New("no")
	if err := l.Rewrite(func(func([]byte) error) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("Rewrite: %v, want the caller's error", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, open(t, vfs.OS, path)); !slices.Equal(got, want) {
		t.Errorf("reopened: content %q, want %q", got, want)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is left: %v", err)
	}
}

func TestFailedSyncIsFinalUntilRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	fsys := &faultFS{FS: vfs.OS}
	l := open(t, fsys, path)
	add(t, l, "a")
	fsys.fail("sync", 1)
	if err := l.Sync(); !errors.Is(err, errInjected) {
		t.Fatalf("Sync: %v, want the injected error", err)
	}
	if err := l.Sync(); !errors.Is(err, errInjected) {
		t.Errorf("second Sync: %v, want the first error again", err)
	}
	if err := l.Append([]byte("b")); !errors.Is(err, errInjected) {
		t.Errorf("Append after a failed Sync: %v, want the first error", err)
	}
	if err := l.Rewrite(func(add func([]byte) error) error { return add([]byte("a")) }); err != nil {
		t.Fatal(err)
	}
	add(t, l, "b")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, l); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("content %q", got)
	}
}

// Each step of a rewrite may fail; what was durable is there afterwards.
func TestRewriteFailsAtEachStep(t *testing.T) {
	for _, op := range []string{"open", "write", "sync", "rename", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			fsys := &faultFS{FS: vfs.OS}
			l := open(t, fsys, path)
			add(t, l, "old")
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
			fsys.fail(op, 1)
			err := l.Rewrite(func(add func([]byte) error) error { return add([]byte("new")) })
			if !errors.Is(err, errInjected) {
				t.Fatalf("Rewrite: %v, want the injected error", err)
			}
			want := "old"
			if op == "syncdir" { // the name is changed, if not for ever
				want = "new"
			}
			if got := content(t, l); !slices.Equal(got, []string{want}) {
				t.Errorf("content %q, want %q", got, want)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, vfs.OS, path)
			if got := content(t, l); !slices.Equal(got, []string{want}) {
				t.Errorf("reopened: content %q, want %q", got, want)
			}
		})
	}
}

func TestClosed(t *testing.T) {
	l := open(t, vfs.OS, filepath.Join(t.TempDir(), "log"))
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	nothing := func([]byte) error { return nil }
	for name, err := range map[string]error{
		"Append": l.Append([]byte("x")), "Sync": l.Sync(), "Replay": l.Replay(nothing),
		"Rewrite": l.Rewrite(func(func([]byte) error) error { return nil }),
	} {
		if !errors.Is(err, seglog.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}

// FuzzOpen checks that no bytes make Open panic, and that what it accepts is
// stable: a second Open finds the same payloads and no torn tail.
func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "log")
	l, err := seglog.Open(vfs.OS, path, seglog.Options{Kind: kind})
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range []string{"one", "two", "three"} {
		if err := errors.Join(l.Append([]byte(p)), l.Sync()); err != nil {
			f.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-3])
	f.Add(seed[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := seglog.Open(vfs.OS, path, seglog.Options{Kind: kind})
		if err != nil {
			if !errors.Is(err, seglog.ErrCorrupt) {
				t.Fatalf("Open: %v, want ErrCorrupt or none", err)
			}
			return
		}
		first := content(t, l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, vfs.OS, path)
		if l.Torn() != 0 {
			t.Errorf("the second Open cut %d more bytes", l.Torn())
		}
		if second := content(t, l); !slices.Equal(first, second) {
			t.Errorf("the second Open found %q, the first %q", second, first)
		}
	})
}
