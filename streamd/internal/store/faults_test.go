package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

func TestDiskFaults(t *testing.T) {
	var fault error
	var mu sync.Mutex
	fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(name, ".ring") && (op == vfstest.Write && errors.Is(fault, syscall.ENOSPC) || op == vfstest.Sync && errors.Is(fault, syscall.EIO)) {
			return fault
		}
		return nil
	}}
	set := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		fault = err
	}
	f := open(t, store.Options{Dir: t.TempDir(), FS: fsys})
	s := f.create("s", 1)
	f.put(s, record("k", "a"))
	set(syscall.ENOSPC)
	if _, err := f.Put(t.Context(), s.ID, []store.Record{record("k", "b")}); !errors.Is(err, store.ErrFull) {
		t.Errorf("a put to a full disk: %v, want ErrFull", err)
	}
	set(nil)
	f.put(s, record("k", "c"))
	if got := datas(f.all(s, 0, state.Position{})); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("after a full disk: %v", got)
	}
	set(syscall.EIO)
	if _, err := f.Put(t.Context(), s.ID, []store.Record{record("k", "d")}); !errors.Is(err, store.ErrFailed) {
		t.Errorf("a put to a broken disk: %v, want ErrFailed", err)
	}
	set(nil)
	if _, err := f.Put(t.Context(), s.ID, []store.Record{record("k", "e")}); !errors.Is(err, store.ErrFailed) {
		t.Errorf("a put after a failed sync: %v, want ErrFailed for ever", err)
	}
	<-f.Failed()
	if !errors.Is(f.Err(), syscall.EIO) {
		t.Errorf("Err() = %v", f.Err())
	}
	_ = f.Close() // its error is the failure
	f.clock.Close()
}

// A disk that stands still shows in how long writes wait.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		fsys := vfstest.FS{FS: vfs.OS, Fault: func(op vfstest.Op, name string) error {
			if slow.Load() && op == vfstest.Sync && strings.HasSuffix(name, ".ring") {
				time.Sleep(30 * time.Second)
			}
			return nil
		}}
		f := open(t, store.Options{Dir: t.TempDir(), FS: fsys})
		defer f.close()
		s := f.create("s", 1)
		if got := f.Waiting(); got != 0 {
			t.Errorf("waiting for %v, with nothing to write", got)
		}
		slow.Store(true)
		done := make(chan struct{})
		go func() { f.put(s, record("k", "a")); close(done) }()
		time.Sleep(12 * time.Second)
		if got := f.Waiting(); got != 12*time.Second {
			t.Errorf("waiting for %v, want 12s", got)
		}
		<-done
		if got := f.Waiting(); got != 0 {
			t.Errorf("waiting for %v, once all is written", got)
		}
		slow.Store(false)
	})
}

func TestOperatorErrors(t *testing.T) {
	used := t.TempDir()
	f := open(t, store.Options{Dir: used})
	f.put(f.create("s", 1), record("k", "a"))
	f.close()
	f = open(t, store.Options{Dir: used})
	s, _ := f.Stream(key("s"))
	f.put(s, record("k", "b"))
	f.put(s, record("k", "c"))
	crashed := copyDir(t, used)
	if _, err := tryOpen(t, store.Options{Dir: used}); !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a directory in use: %v", err)
	}
	f.close()

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, store.Options{Dir: filepath.Join(file, "data")}); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a directory that cannot be made: %v", err)
	}
	for name, damage := range map[string]func(dir string) error{
		"the STORE file": func(dir string) error { return os.WriteFile(filepath.Join(dir, "STORE"), []byte("{"), 0o600) },
		"every snapshot": func(dir string) error { return spoil(filepath.Join(dir, "snap", "*.snap")) },
		"the journal":    func(dir string) error { return spoil(filepath.Join(dir, "journal", "00.ring")) },
		"a run":          func(dir string) error { return spoil(filepath.Join(dir, "runs", "*.run")) },
		"no runs": func(dir string) error {
			return os.RemoveAll(filepath.Join(dir, "runs"))
		},
	} {
		dir := copyDir(t, crashed)
		if err := damage(dir); err != nil {
			t.Fatal(err)
		}
		if f, err := tryOpen(t, store.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "restore the data directory from a copy") {
			t.Errorf("damage to %s: %v", name, err)
			if err == nil {
				f.close()
			}
		}
	}
}

// spoil changes a byte in the header of each file.
func spoil(pattern string) error {
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		return fmt.Errorf("%s: %v, %w", pattern, names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b[9] ^= 0xff
		if err := os.WriteFile(name, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
