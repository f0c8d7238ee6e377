package crashtest_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs"
)

// brokenBy is within how many cuts the suite must find a store out that breaks a
// rule. It takes a few; the bound leaves room for the suite to change.
const brokenBy = 400

// TestBrokenStoresAreCaught is the test of the test: stores that break one rule
// of durability each, and only for their journal, which the suite must not let
// pass.
func TestBrokenStoresAreCaught(t *testing.T) {
	for name, wrap := range map[string]func(vfs.FS) vfs.FS{
		"no fsync": func(d vfs.FS) vfs.FS {
			return broken{FS: d, sync: func(vfs.File) error { return nil }}
		},
		"acknowledged before fsync": func(d vfs.FS) vfs.FS {
			return broken{FS: d, sync: new(late).sync}
		},
		"no fsync of the directory": func(d vfs.FS) vfs.FS { return noDirSync{d} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := usual
			cfg.wrap = wrap
			mustCatch(t, cfg)
		})
	}
}

// TestUncheckedChecksumsAreCaught does so for a store whose checksums are all
// zero, so that whatever is read passes. No file system can make a store that
// does not look; it is built from a changed copy of the one function that makes
// all checksums.
func TestUncheckedChecksumsAreCaught(t *testing.T) {
	const sound = "func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }"
	sources, err := filepath.Glob("../journal/*.go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), sound, "func Checksum([]byte) uint32 { _ = crc32.Checksum; return 0 }", 1)
		if changed == string(text) {
			continue
		}
		full, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		overlay.Replace[full] = filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(overlay.Replace[full], []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(overlay.Replace) != 1 {
		t.Fatalf("journal.Checksum is in %d files, want one, as\n%s", len(overlay.Replace), sound)
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlayFile, "-run", "^TestPowerCut$", ".", "-cuts", strconv.Itoa(brokenBy))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed || !strings.Contains(string(out), "again: go test") {
		t.Errorf("%d cuts found nothing wrong: %v\n%s", brokenBy, err, out)
	}
}

// mustCatch fails the test if the suite lets a store pass.
func mustCatch(t *testing.T, cfg config) {
	t.Helper()
	left := brokenBy
	for seed := uint64(1); left > 0; seed++ {
		n, bad := tell(t, cfg, seed, func() bool { left--; return left >= 0 })
		if bad != nil {
			first, _, _ := strings.Cut(bad.text, "\n")
			t.Logf("caught by cut %d: %.200s", brokenBy-left, first)
			return
		}
		if n == 0 {
			break
		}
	}
	t.Errorf("%d cuts found nothing wrong", brokenBy)
}

// broken is a file system that syncs the files of the journal in a way of its
// own.
type broken struct {
	vfs.FS
	sync func(vfs.File) error
}

func (b broken) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := b.FS.OpenFile(name, flag, perm)
	if err != nil || filepath.Base(filepath.Dir(name)) != "journal" {
		return f, err
	}
	return brokenFile{f, b.sync}, nil
}

type brokenFile struct {
	vfs.File
	sync func(vfs.File) error
}

func (f brokenFile) Sync() error { return f.sync(f.File) }

// late says at once that a sync is done, and does it with the next.
type late struct {
	mu  sync.Mutex
	due vfs.File
}

func (l *late) sync(f vfs.File) error {
	l.mu.Lock()
	due := l.due
	l.due = f
	l.mu.Unlock()
	if due == nil {
		return nil
	}
	_ = due.Sync() // of a file that may be closed
	return nil
}

// noDirSync does not sync the directory of the journal.
type noDirSync struct{ vfs.FS }

func (n noDirSync) SyncDir(name string) error {
	if filepath.Base(name) == "journal" {
		return nil
	}
	return n.FS.SyncDir(name)
}
