package spool_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
)

func TestSync(t *testing.T) {
	disk := vfstest.NewDisk()
	s := start(t, disk, spool.Options{})
	if err := s.Sync(); err != nil {
		t.Fatalf("with nothing to sync: %v", err)
	}
	s.add("a", "b")
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	s.add("c") // not synced
	cut := disk.Cut(rand.New(rand.NewPCG(1, 1)), 0)
	if got := start(t, cut, spool.Options{}).texts(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("after a power cut: %v", got)
	}

	// A sync that fails is final for the file, and not for the spool.
	fault := errors.New("test")
	disk.SetHook(func(op vfstest.Op, _ string) error {
		if op == vfstest.Sync {
			return fault
		}
		return nil
	})
	if err := s.Sync(); !errors.Is(err, fault) {
		t.Errorf("Sync = %v, want the disk's error", err)
	}
	disk.SetHook(nil)
	s.add("d")
	if err := s.Sync(); err != nil {
		t.Error(err)
	}
	if got := s.texts(); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Errorf("read %v", got)
	}
	s.close()
}

func TestWriteAcks(t *testing.T) {
	disk := vfstest.NewDisk()
	s := start(t, disk, spool.Options{})
	s.add("a", "b", "c")
	all, _ := s.read()
	s.ack(all[0], all[1])
	if err := s.WriteAcks(); err != nil {
		t.Fatal(err)
	}
	if got := start(t, disk.TakeOver(), spool.Options{}).texts(); !slices.Equal(got, []string{"c"}) {
		t.Errorf("after a kill: %v, want only what was not acknowledged", got)
	}
}
