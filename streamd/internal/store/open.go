package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/runs"
)

// storeFormat is the version of the data directory's layout.
const storeFormat = 2

// meta is the content of the file STORE: what the store is, for ever.
type meta struct {
	Format  int
	ID      [16]byte
	Created time.Time
	Secret  [32]byte
	Sum     uint32 // CRC-32C of the JSON with Sum 0
}

// Encode returns the content of the file STORE.
func (m meta) Encode() ([]byte, error) {
	m.Sum = 0
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	m.Sum = journal.Checksum(b)
	return json.Marshal(m)
}

func newMeta(now time.Time) meta {
	m := meta{Format: storeFormat, Created: now.UTC()}
	_, _ = rand.Read(m.ID[:])     // never fails
	_, _ = rand.Read(m.Secret[:]) // never fails
	return m
}

// openJournal locks the data directory, reads or makes what identifies it,
// loads the last snapshot and opens the journal. It returns the position of the
// state.
func (s *Store) openJournal() (journal.LSN, error) {
	if s.opts.Dir == "" {
		m := new(journal.Memory)
		s.meta, s.j, s.bodies = newMeta(s.clock.Now()), m, m
		return 0, nil
	}
	s.opts.RingFiles = cmp.Or(s.opts.RingFiles, journal.DefaultFiles)
	s.opts.RingBytes = cmp.Or(s.opts.RingBytes, journal.DefaultFileBytes)
	fsys, dir := s.opts.FS, s.opts.Dir
	journalDir, snapDir := filepath.Join(dir, "journal"), filepath.Join(dir, "snap")
	if err := vfs.MakeDir(fsys, dir); err != nil {
		return 0, fmt.Errorf("cannot make the data directory: %w; name another with --data, or make it writable", err)
	}
	for _, d := range []string{journalDir, snapDir, s.runsDir()} {
		if err := fsys.MkdirAll(d, 0o700); err != nil {
			return 0, fmt.Errorf("cannot make the data directory: %w; name another with --data, or make it writable", err)
		}
	}
	lock, err := fsys.Lock(filepath.Join(dir, "LOCK"))
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return 0, fmt.Errorf("data directory %s is in use by another process; stop it, or name another directory with --data: %w", dir, err)
	case err != nil:
		return 0, fmt.Errorf("cannot lock the data directory: %w; name another with --data, or make it writable", err)
	}
	s.unlock = lock.Close
	if err := s.loadMeta(filepath.Join(dir, "STORE")); err != nil {
		return 0, err
	}
	// A process that was killed may have left names that are not durable yet.
	// What is read under them decides what is written over.
	for _, d := range []string{dir, journalDir, snapDir, s.runsDir()} {
		if err := fsys.SyncDir(d); err != nil {
			return 0, err
		}
	}
	s.snapshots = snapshots{fs: fsys, dir: snapDir}
	st, from, m, err := s.snapshots.load(s.log)
	if err != nil {
		return 0, err
	}
	if st != nil {
		s.state = st
	}
	if err := s.openRuns(m); err != nil {
		return 0, err
	}
	s.ring, err = journal.OpenLocal(journalDir, journal.LocalConfig{
		FS: fsys, Fsync: s.opts.Fsync, Files: s.opts.RingFiles, FileBytes: s.opts.RingBytes,
		Store: s.meta.ID, From: from, Synced: s.opts.Synced, Logger: s.log,
	})
	if err != nil {
		return 0, errors.Join(err, s.runs.Close())
	}
	s.j, s.bodies = s.ring, s.ring
	if head, err := s.ring.Head(context.Background()); err != nil || head < s.snapshots.promised {
		if err == nil {
			err = fmt.Errorf("%w: the newest snapshot in %s cannot be read, and the journal ends at position %d, before it; %s", ErrDamaged, snapDir, head, advice)
		}
		return 0, errors.Join(err, s.j.Close(), s.runs.Close())
	}
	if err := s.removeLeftovers(m); err != nil {
		return 0, errors.Join(err, s.j.Close(), s.runs.Close())
	}
	return from, nil
}

func (s *Store) runsDir() string { return filepath.Join(s.opts.Dir, "runs") }

// removeLeftovers removes the runs that are left of checkpoints that did not come
// to their end. It comes behind everything that can refuse to start: what is
// refused stays as it is.
func (s *Store) removeLeftovers(m manifest) error {
	entries, err := s.opts.FS.ReadDir(s.runsDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(m.Runs, e.Name()) {
			continue
		}
		if err := s.opts.FS.Remove(filepath.Join(s.runsDir(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// openRuns opens the runs of a manifest.
func (s *Store) openRuns(m manifest) (err error) {
	s.footers = runs.NewCache(0)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.runs.Close())
		}
	}()
	var live []*runs.Run
	for _, name := range m.Runs {
		r, err := runs.Open(s.opts.FS, filepath.Join(s.runsDir(), name), s.footers)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, runs.ErrDamaged) {
				err = fmt.Errorf("%w: %w; %s", ErrDamaged, err, advice)
			}
			return fmt.Errorf("a file of records cannot be read: %w", err)
		}
		live = append(live, r)
	}
	return s.runs.Replace(nil, live)
}

func (s *Store) loadMeta(name string) error {
	b, err := vfs.ReadFile(s.opts.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		if used, err := s.used(); err != nil {
			return err
		} else if used {
			return fmt.Errorf("%w: %s is missing; %s", ErrDamaged, name, advice)
		}
		s.meta = newMeta(s.clock.Now())
		if b, err = s.meta.Encode(); err != nil {
			return err
		}
		if err := vfs.WriteFile(s.opts.FS, name, b, 0o600); err != nil {
			return fmt.Errorf("cannot write to the data directory: %w; name another with --data, or make it writable", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	switch s.meta, err = ParseMeta(b); {
	case errors.Is(err, ErrDamaged):
		return fmt.Errorf("%s cannot be read: %w; %s", name, err, advice)
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// used reports whether a store has been in the directory.
func (s *Store) used() (bool, error) {
	for _, folder := range []string{JournalDir, SnapshotDir} {
		entries, err := s.opts.FS.ReadDir(filepath.Join(s.opts.Dir, folder))
		if err != nil || len(entries) > 0 {
			return true, err
		}
	}
	return false, nil
}
