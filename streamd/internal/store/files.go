package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// What follows is for those who look at a data directory that no store uses.

// Names in a data directory.
const (
	MetaName    = "STORE"
	LockName    = "LOCK"
	JournalDir  = "journal"
	SnapshotDir = "snap"
	RunsDir     = "runs"

	SnapshotSuffix = snapshotSuffix
)

// Meta is the content of the file STORE.
type Meta = meta

// ErrDamaged is wrapped by errors that say that a data directory is damaged.
var ErrDamaged = errors.New("data directory is damaged")

// advice ends the errors of a data directory that is damaged.
const advice = "restore the data directory from a copy (streamd restore), or see what can be saved with streamd check"

// ParseMeta reads the content of the file STORE.
func ParseMeta(b []byte) (m Meta, err error) {
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	switch {
	case m.Format == 0 || m.ID == ([16]byte{}):
		return m, fmt.Errorf("%w: it does not say what it is", ErrDamaged)
	case m.Format != storeFormat:
		return m, &journal.VersionError{What: MetaName, Has: m.Format, Reads: storeFormat}
	}
	if again, err := m.Encode(); err != nil || !bytes.Equal(again, b) {
		return m, fmt.Errorf("%w: it fails its checksum", ErrDamaged)
	}
	return m, nil
}

// NewMeta returns what identifies a store of the given id, with a new secret. An
// id that is zero stands for a new one.
func NewMeta(id [16]byte, now time.Time) Meta {
	m := newMeta(now)
	if id != ([16]byte{}) {
		m.ID = id
	}
	return m
}

// Snapshot is a snapshot file.
type Snapshot struct {
	LSN   journal.LSN
	State *state.State
	Runs  []string // names of files
}

// ParseSnapshot reads a snapshot file.
func ParseSnapshot(b []byte) (Snapshot, error) {
	st, lsn, m, err := readSnapshot(b)
	return Snapshot{lsn, st, m.Runs}, err
}

// Encode returns the content of the file.
func (s Snapshot) Encode() ([]byte, error) {
	return appendSnapshot(s.State, s.LSN, manifest{Runs: s.Runs})
}

// SnapshotName returns the name of the snapshot at the given position.
func SnapshotName(lsn journal.LSN) string { return fmt.Sprintf("%016x%s", uint64(lsn), snapshotSuffix) }

// SnapshotLSN returns the position in the name of a snapshot.
func SnapshotLSN(name string) (lsn journal.LSN, ok bool) {
	base := filepath.Base(name)
	_, err := fmt.Sscanf(base, "%x"+snapshotSuffix, &lsn)
	return lsn, err == nil && SnapshotName(lsn) == base
}
