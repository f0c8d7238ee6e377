package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

const snapshotSuffix = ".snap"

// A snapshot file is a manifest, and the state at one position of the journal:
//
//	magic "sdckpt", 0, version 1
//	u32  length of the manifest, little-endian
//	u32  CRC-32C of the bytes before and of the manifest
//	     manifest, JSON
//	     snapshot of the state, as its package has it
const (
	snapshotMagic  = "sdckpt\x00\x01"
	snapshotHeader = 16
)

// manifest says what belongs to a snapshot beside it.
type manifest struct {
	Runs []string // names of the files
}

// snapshots keeps the last two snapshots of a store. The older one stands in if
// the newer one cannot be read, as far as the journal still has what came
// between: else the journal says what it lacks.
type snapshots struct {
	fs  vfs.FS
	dir string

	promised journal.LSN // of the newest file that load could not read, by its name

	mu   sync.Mutex          // guards what follows
	kept []snapshot          // oldest first
	held map[journal.LSN]int // how many read the one at a position, which stays for them
}

type snapshot struct {
	lsn   journal.LSN
	name  string
	bytes int64
}

// load reads the newest snapshot that is whole. st is nil if there is none.
func (ss *snapshots) load(log *slog.Logger) (st *state.State, lsn journal.LSN, m manifest, err error) {
	entries, err := ss.fs.ReadDir(ss.dir)
	if err != nil {
		return nil, 0, m, err
	}
	for _, e := range entries { // in order of name, hence of position
		name := filepath.Join(ss.dir, e.Name())
		switch {
		case strings.HasSuffix(e.Name(), snapshotSuffix):
			ss.kept = append(ss.kept, snapshot{name: name})
		case strings.HasSuffix(e.Name(), snapshotSuffix+".tmp"):
			if err := ss.fs.Remove(name); err != nil {
				return nil, 0, m, err
			}
		}
	}
	var errs []error
	for i := len(ss.kept) - 1; i >= 0; i-- {
		b, err := vfs.ReadFile(ss.fs, ss.kept[i].name)
		if err != nil {
			return nil, 0, m, err
		}
		if st, lsn, m, err = readSnapshot(b); err == nil {
			ss.kept = ss.kept[:i+1]
			ss.kept[i].lsn, ss.kept[i].bytes = lsn, int64(len(b))
			return st, lsn, m, nil
		}
		if _, ok := errors.AsType[*journal.VersionError](err); ok {
			return nil, 0, m, fmt.Errorf("%s: %w", ss.kept[i].name, err)
		}
		log.Error("snapshot cannot be read; trying the one before it", slog.String("file", ss.kept[i].name), slog.Any("err", err))
		errs = append(errs, fmt.Errorf("%s: %w", ss.kept[i].name, err))
		if lsn, ok := SnapshotLSN(ss.kept[i].name); ok {
			ss.promised = max(ss.promised, lsn)
		}
	}
	if len(errs) > 0 {
		return nil, 0, m, fmt.Errorf("%w: no snapshot can be read (%w); %s", ErrDamaged, errors.Join(errs...), advice)
	}
	return nil, 0, m, nil
}

var errBadSnapshot = errors.New("store: snapshot is damaged")

func readSnapshot(b []byte) (st *state.State, lsn journal.LSN, m manifest, err error) {
	if len(b) < snapshotHeader || string(b[:6]) != snapshotMagic[:6] {
		return nil, 0, m, errBadSnapshot
	}
	if b[7] != snapshotMagic[7] {
		return nil, 0, m, &journal.VersionError{What: "store: snapshot", Has: int(b[7]), Reads: int(snapshotMagic[7])}
	}
	size := int(binary.LittleEndian.Uint32(b[8:]))
	if size > len(b)-snapshotHeader {
		return nil, 0, m, errBadSnapshot
	}
	text, rest := b[snapshotHeader:snapshotHeader+size], b[snapshotHeader+size:]
	if binary.LittleEndian.Uint32(b[12:]) != manifestSum(b[:12], text) {
		return nil, 0, m, errBadSnapshot
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, 0, m, fmt.Errorf("%w: %w", errBadSnapshot, err)
	}
	for _, name := range m.Runs {
		if id, ok := runs.ParseName(name); !ok || id.Name() != name { // it must not lead elsewhere
			return nil, 0, m, fmt.Errorf("%w: it names %q, which is no file of records", errBadSnapshot, name)
		}
	}
	st, lsn, err = state.ReadSnapshot(rest)
	return st, lsn, m, err
}

func manifestSum(head, text []byte) uint32 {
	return journal.Checksum(append(slices.Clip(head), text...))
}

func appendSnapshot(st *state.State, lsn journal.LSN, m manifest) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	b := append([]byte(nil), snapshotMagic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	b = binary.LittleEndian.AppendUint32(b, manifestSum(b, text))
	return st.AppendSnapshot(append(b, text...), lsn)
}

// has reports whether the last snapshot is at the given position.
func (ss *snapshots) has(lsn journal.LSN) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	last := len(ss.kept) - 1
	return last >= 0 && ss.kept[last].lsn == lsn
}

// hold keeps the snapshot at the given position as it is until it is released,
// and returns the name of its file.
func (ss *snapshots) hold(lsn journal.LSN) string {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.held == nil {
		ss.held = make(map[journal.LSN]int)
	}
	ss.held[lsn]++
	return ss.name(lsn)
}

func (ss *snapshots) release(lsn journal.LSN) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.held[lsn]--; ss.held[lsn] == 0 {
		delete(ss.held, lsn)
	}
}

// isHeld reports whether somebody reads the snapshot at the given position.
func (ss *snapshots) isHeld(lsn journal.LSN) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.held[lsn] > 0
}

func (ss *snapshots) name(lsn journal.LSN) string { return filepath.Join(ss.dir, SnapshotName(lsn)) }

// size returns how many bytes the snapshots take.
func (ss *snapshots) size() (bytes int64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, k := range ss.kept {
		bytes += k.bytes
	}
	return bytes
}

// write writes a snapshot. named says that it may have got its name, whatever
// the error: then what it names must stay.
func (ss *snapshots) write(st *state.State, lsn journal.LSN, live []*runs.Run) (named bool, err error) {
	var m manifest
	for _, r := range live {
		m.Runs = append(m.Runs, filepath.Base(r.Name()))
	}
	b, err := appendSnapshot(st, lsn, m)
	if err != nil {
		return false, err
	}
	name := ss.name(lsn)
	if err := vfs.WriteFile(ss.fs, name, b, 0o600); err != nil {
		_, serr := ss.fs.Stat(name)
		return !errors.Is(serr, fs.ErrNotExist), err
	}
	ss.mu.Lock()
	if n := len(ss.kept); n > 0 && ss.kept[n-1].name == name {
		ss.kept = ss.kept[:n-1] // of the same position, with other runs
	}
	ss.kept = append(ss.kept, snapshot{lsn, name, int64(len(b))})
	ss.mu.Unlock()
	return true, nil
}

// prune removes the snapshots before the last two, but for those that are held.
func (ss *snapshots) prune() error {
	ss.mu.Lock()
	var old, kept []snapshot
	for i, k := range ss.kept {
		if i < len(ss.kept)-2 && ss.held[k.lsn] == 0 {
			old = append(old, k)
		} else {
			kept = append(kept, k)
		}
	}
	ss.kept = kept
	ss.mu.Unlock()
	for _, o := range old {
		if err := ss.fs.Remove(o.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
