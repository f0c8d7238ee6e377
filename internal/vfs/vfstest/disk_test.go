package vfstest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

// newDisk returns a disk with the durable directory /d.
func newDisk(t *testing.T) *vfstest.Disk {
	t.Helper()
	d := vfstest.NewDisk()
	check(t, d.MkdirAll("/d", 0o700))
	check(t, d.SyncDir("/"))
	return d
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, d vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	check(t, err)
	return f
}

func writeAt(t *testing.T, f vfs.File, off int64, s string) {
	t.Helper()
	if n, err := f.WriteAt([]byte(s), off); n != len(s) || err != nil {
		t.Fatalf("WriteAt: %d, %v", n, err)
	}
}

// tree returns what is on a disk: content by name, directories with a slash.
func tree(t *testing.T, d vfs.FS, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := d.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			all[name+"/"] = ""
			maps.Copy(all, tree(t, d, name))
			continue
		}
		b, err := vfs.ReadFile(d, name)
		check(t, err)
		all[name] = string(b)
	}
	return all
}

func cut(d *vfstest.Disk, seed uint64, percent int) *vfstest.Disk {
	return d.Cut(rand.New(rand.NewPCG(seed, 0)), percent)
}

// What each cut may leave, by how much of what is not durable it keeps.
func TestCut(t *testing.T) {
	const block = 4096
	full := func(c string) string { return strings.Repeat(c, block) }
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, d *vfstest.Disk)
		// what file f may hold after a cut; "-" if it may be missing
		none, all string
		between   []string // that 50 % must show besides the two, over many cuts
	}{
		{"a name that was not synced", func(t *testing.T, d *vfstest.Disk) {
			f := create(t, d, "/d/f")
			writeAt(t, f, 0, "x")
			check(t, f.Sync())
		}, "-", "x", nil},
		{"a file that was not synced", func(t *testing.T, d *vfstest.Disk) {
			writeAt(t, create(t, d, "/d/f"), 0, "x")
			check(t, d.SyncDir("/d"))
		}, "", "x", []string{"\x00"}},
		{"both synced", func(t *testing.T, d *vfstest.Disk) {
			f := create(t, d, "/d/f")
			writeAt(t, f, 0, "x")
			check(t, f.Sync())
			check(t, d.SyncDir("/d"))
		}, "x", "x", nil},
		{"blocks apart from each other", func(t *testing.T, d *vfstest.Disk) {
			f := create(t, d, "/d/f")
			writeAt(t, f, 0, full("a")+full("a"))
			check(t, f.Sync())
			check(t, d.SyncDir("/d"))
			writeAt(t, f, 0, full("b")+full("b"))
		}, full("a") + full("a"), full("b") + full("b"), []string{full("a") + full("b"), full("b") + full("a")}},
		{"a version between", func(t *testing.T, d *vfstest.Disk) {
			f := create(t, d, "/d/f")
			writeAt(t, f, 0, full("a"))
			check(t, f.Sync())
			check(t, d.SyncDir("/d"))
			writeAt(t, f, 0, full("b"))
			writeAt(t, f, 0, full("c"))
		}, full("a"), full("c"), []string{full("b")}},
		{"a rename", func(t *testing.T, d *vfstest.Disk) {
			check(t, vfs.WriteFile(d, "/d/f", []byte("old"), 0o600))
			f := create(t, d, "/d/g")
			writeAt(t, f, 0, "new")
			check(t, f.Sync())
			check(t, d.Rename("/d/g", "/d/f"))
		}, "old", "new", nil},
		{"a rename without a sync of the file", func(t *testing.T, d *vfstest.Disk) {
			writeAt(t, create(t, d, "/d/g"), 0, "new")
			check(t, d.Rename("/d/g", "/d/f"))
			check(t, d.SyncDir("/d"))
		}, "", "new", []string{"\x00\x00\x00"}},
		{"a removal", func(t *testing.T, d *vfstest.Disk) {
			check(t, vfs.WriteFile(d, "/d/f", []byte("x"), 0o600))
			check(t, d.Remove("/d/f"))
		}, "x", "-", nil},
		{"a removal that is synced", func(t *testing.T, d *vfstest.Disk) {
			check(t, vfs.WriteFile(d, "/d/f", []byte("x"), 0o600))
			check(t, d.Remove("/d/f"))
			check(t, d.SyncDir("/d"))
		}, "-", "-", nil},
		{"a truncation", func(t *testing.T, d *vfstest.Disk) {
			f := create(t, d, "/d/f")
			writeAt(t, f, 0, "long")
			check(t, f.Sync())
			check(t, d.SyncDir("/d"))
			check(t, f.Truncate(1))
		}, "long", "l", nil},
		{"WriteFile", func(t *testing.T, d *vfstest.Disk) {
			check(t, vfs.WriteFile(d, "/d/f", []byte("a"), 0o600))
			check(t, vfs.WriteFile(d, "/d/f", []byte("bc"), 0o600))
		}, "bc", "bc", nil},
		{"a directory", func(t *testing.T, d *vfstest.Disk) {
			check(t, d.MkdirAll("/d/sub", 0o700))
			check(t, vfs.WriteFile(d, "/d/sub/g", []byte("x"), 0o600))
			f := create(t, d, "/d/f")
			check(t, f.Sync())
		}, "-", "", nil},
		{"a failed sync", func(t *testing.T, d *vfstest.Disk) {
			f := create(t, d, "/d/f")
			writeAt(t, f, 0, full("a"))
			check(t, f.Sync())
			check(t, d.SyncDir("/d"))
			writeAt(t, f, 0, full("b"))
			d.SetHook(func(op vfstest.Op, _ string) error {
				if op == vfstest.Sync {
					return syscall.EIO
				}
				return nil
			})
			if err := f.Sync(); !errors.Is(err, syscall.EIO) {
				t.Fatalf("Sync: %v", err)
			}
			d.SetHook(nil)
			check(t, f.Sync())
			if b, _ := vfs.ReadFile(d, "/d/f"); string(b) != full("b") {
				t.Error("what was not written is not shown")
			}
		}, full("a"), full("a"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDisk(t)
			tt.do(t, d)
			state := func(seed uint64, percent int) string {
				b, err := vfs.ReadFile(cut(d, seed, percent), "/d/f")
				if errors.Is(err, fs.ErrNotExist) {
					return "-"
				}
				check(t, err)
				return string(b)
			}
			if got := state(1, 0); got != tt.none {
				t.Errorf("nothing kept: %.20q, want %.20q", got, tt.none)
			}
			if got := state(1, 100); got != tt.all {
				t.Errorf("all kept: %.20q, want %.20q", got, tt.all)
			}
			seen := make(map[string]bool)
			for seed := range uint64(300) {
				seen[state(seed, 50)] = true
			}
			for _, want := range append(tt.between, tt.none, tt.all) {
				if !seen[want] {
					t.Errorf("no cut of 300 leaves %.20q", want)
				}
			}
		})
	}
}

// Each change of a directory survives for itself.
func TestCutKeepsAnyNames(t *testing.T) {
	d := newDisk(t)
	for i := range 3 {
		create(t, d, fmt.Sprintf("/d/f%d", i))
	}
	seen := make(map[string]bool)
	for seed := range uint64(200) {
		seen[strings.Join(slices.Sorted(maps.Keys(tree(t, cut(d, seed, 50), "/d"))), " ")] = true
	}
	if len(seen) != 8 {
		t.Errorf("cuts leave %v, want all 8 of three names", seen)
	}
}

// A block can be torn between sectors, and nowhere else.
func TestCutTearsBlocksAtSectors(t *testing.T) {
	d := newDisk(t)
	f := create(t, d, "/d/f")
	writeAt(t, f, 0, strings.Repeat("a", 4096))
	check(t, f.Sync())
	check(t, d.SyncDir("/d"))
	writeAt(t, f, 0, strings.Repeat("b", 4096))
	torn := 0
	for seed := range uint64(200) {
		b, err := vfs.ReadFile(cut(d, seed, 50), "/d/f")
		check(t, err)
		for s := 0; s < len(b); s += 512 {
			if n := bytes.Count(b[s:s+512], []byte("a")); n != 0 && n != 512 {
				t.Fatalf("seed %d: sector at %d is torn", seed, s)
			}
		}
		if n := bytes.Count(b, []byte("a")); n != 0 && n != 4096 {
			torn++
		}
	}
	if torn == 0 {
		t.Error("no cut of 200 tears the block")
	}
}

// Whatever is done: a cut that keeps all shows what the disk shows, one that
// keeps nothing what was synced, and the same seed the same.
func TestCutOfRandomStates(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		d := newDisk(t)
		durable := map[string]string{} // of the files of /d, by the rules
		inodes := map[string]string{}  // synced content of what has the name
		for range 40 {
			name := fmt.Sprintf("/d/f%d", r.IntN(3))
			_, err := d.Stat(name)
			exists := err == nil
			switch r.IntN(7) {
			case 0, 1:
				if !exists {
					inodes[name] = ""
				}
				writeAt(t, create(t, d, name), r.Int64N(9000), strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(9000)))
			case 2:
				if exists {
					f := create(t, d, name)
					check(t, f.Sync())
					b, err := vfs.ReadFile(d, name)
					check(t, err)
					inodes[name] = string(b)
					// The file may have another name on disk, which would show it too.
					check(t, d.SyncDir("/d"))
					syncNames(durable, inodes)
				}
			case 3:
				check(t, d.SyncDir("/d"))
				syncNames(durable, inodes)
			case 4:
				if exists {
					check(t, d.Remove(name))
					delete(inodes, name)
				}
			case 5:
				to := fmt.Sprintf("/d/f%d", r.IntN(3))
				if exists && to != name {
					check(t, d.Rename(name, to))
					inodes[to] = inodes[name]
					delete(inodes, name)
				}
			case 6:
				if exists {
					check(t, create(t, d, name).Truncate(r.Int64N(12000)))
				}
			}
		}
		if got, want := tree(t, cut(d, seed, 100), "/"), tree(t, d, "/"); !equal(got, want) {
			t.Fatalf("seed %d: all kept differs from what is shown", seed)
		}
		got := tree(t, cut(d, seed, 0), "/d")
		if len(got) != len(durable) {
			t.Fatalf("seed %d: %d durable files, want %d", seed, len(got), len(durable))
		}
		for name, want := range durable {
			if got[name] != want {
				t.Fatalf("seed %d: %s holds %d bytes, want %d", seed, name, len(got[name]), len(want))
			}
		}
		a, b := cut(d, seed, 50), cut(d, seed, 50)
		if !equal(tree(t, a, "/"), tree(t, b, "/")) {
			t.Fatalf("seed %d: two cuts differ", seed)
		}
		if !equal(tree(t, cut(a, 9, 0), "/"), tree(t, a, "/")) {
			t.Fatalf("seed %d: what a cut has left is not durable", seed)
		}
	}
}

func syncNames(durable, inodes map[string]string) {
	clear(durable)
	maps.Copy(durable, inodes)
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

func TestRoom(t *testing.T) {
	d := newDisk(t)
	f := create(t, d, "/d/f")
	writeAt(t, f, 0, strings.Repeat("x", 8192))
	d.SetRoom(8192 + 4096)
	writeAt(t, f, 0, strings.Repeat("y", 8192)) // overwriting takes no room
	n, err := f.WriteAt(make([]byte, 8192), 8192)
	if n != 4096 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write that fits half: %d, %v", n, err)
	}
	if got := d.Used(); got != 12288 {
		t.Errorf("%d bytes used", got)
	}
	check(t, f.Truncate(4096))
	writeAt(t, f, 4096, strings.Repeat("z", 8192))
	check(t, d.Remove("/d/f"))
	if got := d.Used(); got != 0 {
		t.Errorf("%d bytes used after the removal", got)
	}
}

func TestPowerOffAndTakeOver(t *testing.T) {
	d := newDisk(t)
	lock, err := d.Lock("/d/LOCK")
	check(t, err)
	if _, err := d.Lock("/d/LOCK"); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	f := create(t, d, "/d/f")
	writeAt(t, f, 0, "x")
	next := d.TakeOver()
	if _, err := f.WriteAt([]byte("y"), 0); !errors.Is(err, vfstest.ErrPowerOff) {
		t.Errorf("a write after the end: %v", err)
	}
	if err := d.SyncDir("/d"); !errors.Is(err, vfstest.ErrPowerOff) {
		t.Errorf("SyncDir after the end: %v", err)
	}
	check(t, lock.Close())
	if b, err := vfs.ReadFile(next, "/d/f"); string(b) != "x" || err != nil {
		t.Errorf("the next process reads %q, %v", b, err)
	}
	if got := tree(t, cut(next, 1, 0), "/d"); len(got) != 0 {
		t.Errorf("a killed process has made durable: %v", got)
	}
	if _, err := next.Lock("/d/LOCK"); err != nil {
		t.Errorf("lock of the next process: %v", err)
	}
}

// Each operation that a hook refuses fails with its error.
func TestHook(t *testing.T) {
	d := newDisk(t)
	f := create(t, d, "/d/f")
	writeAt(t, f, 0, "ab")
	var ops []vfstest.Op
	fail := false
	d.SetHook(func(op vfstest.Op, _ string) error {
		ops = append(ops, op)
		if fail {
			return syscall.EIO
		}
		return nil
	})
	fail = true
	if n, err := f.WriteAt([]byte("xyz1"), 0); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Errorf("WriteAt: %d, %v; want half and EIO", n, err)
	}
	for name, do := range map[string]func() error{
		"OpenFile": func() error { _, err := d.OpenFile("/d/f", os.O_RDONLY, 0); return err },
		"ReadAt":   func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
		"Sync":     f.Sync,
		"Truncate": func() error { return f.Truncate(0) },
		"Rename":   func() error { return d.Rename("/d/f", "/d/g") },
		"Remove":   func() error { return d.Remove("/d/f") },
		"SyncDir":  func() error { return d.SyncDir("/d") },
	} {
		if err := do(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fail = false
	if b, err := vfs.ReadFile(d, "/d/f"); string(b) != "xy" || err != nil {
		t.Errorf("the file holds %q, %v", b, err)
	}
	for _, op := range []vfstest.Op{vfstest.Write, vfstest.OpenFile, vfstest.Read, vfstest.Sync, vfstest.Truncate, vfstest.Rename, vfstest.Remove, vfstest.SyncDir} {
		if !slices.Contains(ops, op) {
			t.Errorf("the hook has not seen %s", op)
		}
	}
}

// A Disk behaves as the operating system's file system does.
func TestDiskIsAFileSystem(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"disk": vfstest.NewDisk(), "system": vfs.OS} {
		t.Run(name, func(t *testing.T) {
			dir := "/d"
			if name == "system" {
				dir = t.TempDir()
			}
			check(t, fsys.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
			file := filepath.Join(dir, "a", "f")
			if _, err := vfs.Open(fsys, file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("open what is not there: %v", err)
			}
			if _, err := fsys.Stat(file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("stat what is not there: %v", err)
			}
			f := create(t, fsys, file)
			if n, err := f.Write([]byte("hello")); n != 5 || err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
			writeAt(t, f, 8, "!")
			if n, err := f.Write([]byte(",")); n != 1 || err != nil {
				t.Errorf("Write after WriteAt: %d, %v", n, err)
			}
			b := make([]byte, 20)
			if n, err := f.ReadAt(b, 0); string(b[:n]) != "hello,\x00\x00!" || !errors.Is(err, io.EOF) {
				t.Errorf("ReadAt: %q, %v", b[:n], err)
			}
			if _, err := f.ReadAt(b, 9); !errors.Is(err, io.EOF) {
				t.Errorf("ReadAt the end: %v", err)
			}
			if st, err := f.Stat(); err != nil || st.Size() != 9 || st.IsDir() || st.Name() != "f" {
				t.Errorf("Stat: %v, %v", st, err)
			}
			if st, err := fsys.Stat(filepath.Join(dir, "a")); err != nil || !st.IsDir() {
				t.Errorf("Stat of a directory: %v, %v", st, err)
			}
			check(t, f.Truncate(3))
			check(t, f.Truncate(6))
			if b, err := vfs.ReadFile(fsys, file); string(b) != "hel\x00\x00\x00" || err != nil {
				t.Errorf("after truncation: %q, %v", b, err)
			}
			if _, err := fsys.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); !errors.Is(err, fs.ErrExist) {
				t.Errorf("O_EXCL: %v", err)
			}
			ro, err := vfs.Open(fsys, file)
			check(t, err)
			if _, err := ro.WriteAt([]byte("x"), 0); err == nil {
				t.Error("a file open for reading was written")
			}
			check(t, ro.Close())
			if _, err := ro.ReadAt(b, 0); !errors.Is(err, os.ErrClosed) {
				t.Errorf("read of a closed file: %v", err)
			}
			ap, err := fsys.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
			check(t, err)
			if _, err := ap.Write([]byte("+")); err != nil {
				t.Error(err)
			}
			entries, err := fsys.ReadDir(filepath.Join(dir, "a"))
			check(t, err)
			if len(entries) != 2 || entries[0].Name() != "b" || !entries[0].IsDir() || entries[1].Name() != "f" || entries[1].IsDir() {
				t.Errorf("ReadDir: %v", entries)
			}
			check(t, fsys.Rename(file, file+"2"))
			check(t, fsys.Remove(file+"2"))
			if n, err := f.ReadAt(b, 0); string(b[:n]) != "hel\x00\x00\x00+" || !errors.Is(err, io.EOF) {
				t.Errorf("a removed file that is open reads %q, %v", b[:n], err)
			}
			if err := fsys.Remove(file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("remove what is not there: %v", err)
			}
			if err := fsys.Remove(filepath.Join(dir, "a")); err == nil {
				t.Error("a directory that is not empty was removed")
			}
			check(t, f.Sync())
			check(t, fsys.SyncDir(dir))
		})
	}
}
