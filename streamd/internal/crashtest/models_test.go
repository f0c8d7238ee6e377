package crashtest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

// TestModelsAgree does the same at random to both models of a disk. A cut that
// keeps nothing must leave the same of both; and one that keeps a part must leave
// nothing of Pebble's that ours cannot leave: names that are durable or shown,
// and in each place a block that was shown there, or zeros.
func TestModelsAgree(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		own, pebble := disk(ownDisk{vfstest.NewDisk()}), newPebbleDisk()
		both := []disk{own, pebble}
		for _, d := range both {
			must(t, d.MkdirAll("/d", 0o700))
			must(t, d.SyncDir("/"))
		}
		var shown []map[string][]byte // after each operation
		for range 1 + r.IntN(40) {
			name := fmt.Sprintf("/d/f%d", r.IntN(4))
			other := fmt.Sprintf("/d/f%d", r.IntN(4))
			_, err := own.Stat(name)
			exists := err == nil
			content := make([]byte, 1+r.IntN(9000))
			for i := range content {
				content[i] = byte(1 + r.IntN(255))
			}
			off := r.Int64N(9000)
			what := r.IntN(6)
			for _, d := range both {
				switch {
				case what < 2:
					use(t, d, name, func(f vfs.File) error { _, err := f.WriteAt(content, off); return err })
				case what == 2 && exists:
					use(t, d, name, vfs.File.Sync)
				case what == 3:
					must(t, d.SyncDir("/d"))
				case what == 4 && exists:
					must(t, d.Remove(name))
				case what == 5 && exists && name != other:
					must(t, d.Rename(name, other))
				}
			}
			shown = append(shown, files(t, own))
		}
		none := files(t, own.cut(r, 0))
		if got := files(t, pebble.cut(r, 0)); !same(none, got) {
			t.Fatalf("seed %d: nothing kept leaves %v of ours and %v of Pebble's", seed, sizes(none), sizes(got))
		}
		last := files(t, own)
		if got := files(t, pebble); !same(last, got) {
			t.Fatalf("seed %d: the disks show %v and %v", seed, sizes(last), sizes(got))
		}
		for range 5 {
			for name, b := range files(t, pebble.cut(r, 50)) {
				_, durable := none[name]
				_, there := last[name]
				if !durable && !there {
					t.Fatalf("seed %d: Pebble's leaves %s, ours never", seed, name)
				}
				for i := 0; i < len(b); i += 4096 {
					if block := b[i:min(i+4096, len(b))]; !slices.ContainsFunc(shown, func(all map[string][]byte) bool { return has(all, i, block) }) {
						t.Fatalf("seed %d: Pebble's leaves a block at %d of %s that ours never does", seed, i, name)
					}
				}
			}
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func use(t *testing.T, d disk, name string, do func(vfs.File) error) {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, do(f))
	must(t, f.Close())
}

// files returns the content of the files in /d.
func files(t *testing.T, d disk) map[string][]byte {
	t.Helper()
	entries, err := d.ReadDir("/d")
	must(t, err)
	all := make(map[string][]byte)
	for _, e := range entries {
		b, err := vfs.ReadFile(d, filepath.Join("/d", e.Name()))
		must(t, err)
		all[e.Name()] = b
	}
	return all
}

func same(a, b map[string][]byte) bool {
	for name := range a {
		if c, ok := b[name]; !ok || !bytes.Equal(a[name], c) {
			return false
		}
	}
	return len(a) == len(b)
}

func sizes(all map[string][]byte) map[string]int {
	n := make(map[string]int)
	for name, b := range all {
		n[name] = len(b)
	}
	return n
}

// has reports whether block stands at offset i of a file, as far as that
// reaches, with zeros behind it.
func has(all map[string][]byte, i int, block []byte) bool {
	for _, b := range all {
		var at []byte
		if i < len(b) {
			at = b[i:min(i+4096, len(b))]
		}
		n := min(len(at), len(block))
		if bytes.Equal(at[:n], block[:n]) && len(bytes.Trim(block[n:], "\x00")) == 0 {
			return true
		}
	}
	return len(bytes.Trim(block, "\x00")) == 0
}
