package journal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/streamd/internal/journal"
)

func TestFailedSyncIsFinal(t *testing.T) {
	var bad atomic.Bool
	d := newDisk(t)
	d.SetHook(func(op vfstest.Op, name string) error {
		if bad.Load() && op == vfstest.Sync && filepath.Ext(name) == ".ring" {
			return syscall.EIO
		}
		return nil
	})
	j := open(t, d, journal.LocalConfig{})
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
	d := newDisk(t)
	d.SetHook(func(op vfstest.Op, _ string) error {
		if full.Load() && op == vfstest.Write {
			return syscall.ENOSPC
		}
		return nil
	})
	cfg := journal.LocalConfig{Files: 50, FileBytes: small}
	j := open(t, d, cfg)
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
	wantFrames(t, follow(t, open(t, d, cfg), 0), 1, 60)
}

func TestOpenOnAFullDisk(t *testing.T) {
	var full atomic.Bool
	d := newDisk(t)
	d.SetHook(func(op vfstest.Op, _ string) error {
		if full.Load() && op == vfstest.Write {
			return syscall.ENOSPC
		}
		return nil
	})
	const frames = 25
	cfg := journal.LocalConfig{Files: 50, FileBytes: small}
	last, offset := build(t, d, frames, cfg)
	write(t, d, last, read(t, d, last)[:offset+30])
	full.Store(true)
	j := open(t, d, cfg)
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
	wantFrames(t, follow(t, open(t, d, cfg), 0), 1, frames)
}
