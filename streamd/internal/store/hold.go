package store

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/runs"
)

// ErrMemory means that the store has no data directory.
var ErrMemory = errors.New("store: everything is in memory")

// Held is a checkpoint whose files stay where they are until it is released.
type Held struct {
	LSN      journal.LSN
	Meta     []byte // content of the file STORE
	Snapshot string // name of the file of the snapshot
	Runs     []*runs.Run
	FS       vfs.FS

	from *snapshots
}

// Release lets the files go. It is to be called once.
func (h *Held) Release() {
	h.from.release(h.LSN)
	for _, r := range h.Runs {
		r.Release()
	}
}

// Hold writes a checkpoint of everything that was acknowledged before the call,
// and holds it. The caller releases it.
func (s *Store) Hold(ctx context.Context) (*Held, error) {
	if s.opts.Dir == "" {
		return nil, ErrMemory
	}
	type answer struct {
		held *Held
		err  error
	}
	// The loop that writes checkpoints does it, so that no other comes between
	// the snapshot and its runs.
	done := make(chan answer, 1)
	select {
	case s.between <- func() {
		held, err := s.hold()
		if err == nil && ctx.Err() != nil { // nobody waits for it any more
			held.Release()
			held, err = nil, ctx.Err()
		}
		done <- answer{held, err}
	}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.failed:
		return nil, ErrFailed
	case <-s.noCheckpoints:
		return nil, ErrClosed
	}
	a := <-done // it is at work
	return a.held, a.err
}

func (s *Store) hold() (*Held, error) {
	s.checkpoint()
	lsn, _, err := s.checkpoints.last()
	if err != nil {
		return nil, err
	}
	h := &Held{LSN: lsn, FS: s.opts.FS, from: &s.snapshots}
	if h.Meta, err = vfs.ReadFile(h.FS, filepath.Join(s.opts.Dir, MetaName)); err != nil {
		return nil, err
	}
	h.Snapshot = s.snapshots.hold(lsn)
	h.Runs = s.runs.Hold()
	return h, nil
}
