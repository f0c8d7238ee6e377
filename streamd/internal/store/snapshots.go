package store

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

const snapshotSuffix = ".snap"

// snapshots keeps the last two snapshots of a store. The older one stands in if
// the newer one cannot be read, so the journal behind it is kept too.
type snapshots struct {
	fs  vfs.FS
	dir string

	mu      sync.Mutex // guards what follows
	kept    []snapshot // oldest first
	writing sync.WaitGroup
	busy    bool
}

type snapshot struct {
	lsn  journal.LSN
	name string
}

// load reads the newest snapshot that is whole. st is nil if there is none.
func (ss *snapshots) load(log *slog.Logger) (st *state.State, lsn journal.LSN, err error) {
	entries, err := ss.fs.ReadDir(ss.dir)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries { // in order of name, hence of position
		name := filepath.Join(ss.dir, e.Name())
		switch {
		case strings.HasSuffix(e.Name(), snapshotSuffix):
			ss.kept = append(ss.kept, snapshot{name: name})
		case strings.HasSuffix(e.Name(), snapshotSuffix+".tmp"):
			if err := ss.fs.Remove(name); err != nil {
				return nil, 0, err
			}
		}
	}
	var errs []error
	for i := len(ss.kept) - 1; i >= 0; i-- {
		b, err := vfs.ReadFile(ss.fs, ss.kept[i].name)
		if err != nil {
			return nil, 0, err
		}
		if st, lsn, err = state.ReadSnapshot(b); err == nil {
			ss.kept = ss.kept[:i+1]
			ss.kept[i].lsn = lsn
			return st, lsn, nil
		}
		log.Error("snapshot cannot be read; trying the one before it", slog.String("file", ss.kept[i].name), slog.Any("err", err))
		errs = append(errs, fmt.Errorf("%s: %w", ss.kept[i].name, err))
	}
	if len(errs) > 0 {
		return nil, 0, fmt.Errorf("no snapshot can be read; restore the data directory from a copy: %w", errors.Join(errs...))
	}
	return nil, 0, nil
}

// released returns the position up to which no snapshot needs the journal.
func (ss *snapshots) released() journal.LSN {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if len(ss.kept) < 2 {
		return 0
	}
	return ss.kept[0].lsn
}

// start writes a snapshot in the background, unless one is being written.
func (ss *snapshots) start(log *slog.Logger, st *state.State, lsn journal.LSN) {
	ss.mu.Lock()
	busy := ss.busy
	ss.busy = true
	ss.mu.Unlock()
	if busy {
		return
	}
	ss.writing.Go(func() {
		if err := ss.write(st, lsn); err != nil {
			log.Error("cannot write a snapshot; the journal is kept meanwhile", slog.Any("err", err))
		}
		ss.mu.Lock()
		ss.busy = false
		ss.mu.Unlock()
	})
}

// write writes a snapshot and removes those before the last two.
func (ss *snapshots) write(st *state.State, lsn journal.LSN) error {
	ss.mu.Lock()
	last := len(ss.kept) - 1
	done := last >= 0 && ss.kept[last].lsn == lsn
	ss.mu.Unlock()
	if done {
		return nil // nothing has happened since
	}
	b, err := st.AppendSnapshot(nil, lsn)
	if err != nil {
		return err
	}
	name := filepath.Join(ss.dir, fmt.Sprintf("%016x%s", uint64(lsn), snapshotSuffix))
	if err := vfs.WriteFile(ss.fs, name, b, 0o600); err != nil {
		return err
	}
	ss.mu.Lock()
	ss.kept = append(ss.kept, snapshot{lsn, name})
	old := ss.kept[:max(len(ss.kept)-2, 0)]
	ss.kept = ss.kept[len(old):]
	ss.mu.Unlock()
	var errs []error
	for _, o := range old {
		errs = append(errs, ss.fs.Remove(o.name))
	}
	return errors.Join(errs...)
}

func (ss *snapshots) wait() { ss.writing.Wait() }
