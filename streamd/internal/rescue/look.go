package rescue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// directory is what is found in a data directory.
type directory struct {
	fs  vfs.FS
	dir string

	findings []Finding

	meta    store.Meta
	metaErr error // what is wrong with it

	snaps   []snapshotFile // newest first
	base    store.Snapshot // that the state begins from; of an empty store if none is whole
	hasBase bool
	baseSeq uint64 // sequence index at the base
	bad     []snapshotFile

	named    []*runFile // by the base, in its order
	unnamed  []string   // names of runs that it does not name
	journal  *journal.Look
	state    *state.State // at the journal's end
	applyErr error        // why it is not
}

type snapshotFile struct {
	name string // with the directory
	lsn  journal.LSN
	err  error // nil if it is whole
}

// runFile is a run that a snapshot names.
type runFile struct {
	name    string
	missing bool
	*runs.Examination
}

// lock takes the lock of a data directory. A directory without one, which no
// server has ever used, stays without.
func lock(fsys vfs.FS, dir string) (unlock func(), err error) {
	unlock = func() {}
	name := filepath.Join(dir, store.LockName)
	if _, err := fsys.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return unlock, nil
	}
	var held io.Closer
	held, err = fsys.Lock(name)
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return unlock, fmt.Errorf("data directory %s is in use by a server: stop it first, or ask it for a copy with streamd snapshot: %w", dir, err)
	case errors.Is(err, syscall.EROFS): // where nobody writes, nobody has to be kept from it
		return unlock, nil
	case err != nil:
		return unlock, fmt.Errorf("cannot lock the data directory: %w; run this as the user of the server", err)
	}
	return func() { _ = held.Close() }, nil // the process may end as well
}

// look reads all of a data directory. The caller holds its lock.
func look(fsys vfs.FS, dir string) (*directory, error) {
	d := &directory{fs: fsys, dir: dir}
	for _, part := range []func() error{d.lookMeta, d.lookSnapshots, d.lookRuns, d.lookJournal, d.apply} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// open checks that dir is a data directory, and locks it.
func open(fsys vfs.FS, dir string) (unlock func(), err error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no data directory %s; name that of the server with --data", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the data directory: %w", err)
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return slices.Contains([]string{store.MetaName, store.JournalDir, store.SnapshotDir, store.RunsDir}, e.Name())
	}) {
		return nil, fmt.Errorf("%s is no data directory of streamd: it has no file %s; name that of the server with --data", dir, store.MetaName)
	}
	return lock(fsys, dir)
}

func (d *directory) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}

func (d *directory) damage(file string, offset int64, format string, args ...any) {
	d.findings = append(d.findings, Finding{true, file, offset, fmt.Sprintf(format, args...)})
}

func (d *directory) note(file, format string, args ...any) {
	d.findings = append(d.findings, Finding{false, file, -1, fmt.Sprintf(format, args...)})
}

// list returns the names in a folder of the data directory; none if it is not
// there.
func (d *directory) list(folder string) ([]string, error) {
	entries, err := d.fs.ReadDir(d.path(folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (d *directory) lookMeta() error {
	name := d.path(store.MetaName)
	b, err := vfs.ReadFile(d.fs, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.metaErr = err
		d.damage(name, -1, "it is missing; it says which store this is")
		return nil
	case err != nil:
		return err
	}
	if d.meta, err = store.ParseMeta(b); errors.Is(err, store.ErrDamaged) {
		d.metaErr, d.meta = err, store.Meta{}
		d.damage(name, 0, "it does not read as it was written")
		return nil
	}
	return err
}

func (d *directory) lookSnapshots() error {
	names, err := d.list(store.SnapshotDir)
	if err != nil {
		return err
	}
	d.base = store.Snapshot{State: state.New()}
	for _, base := range slices.Backward(names) { // in order of position
		s := snapshotFile{name: d.path(store.SnapshotDir, base)}
		var ok bool
		if s.lsn, ok = store.SnapshotLSN(base); !ok {
			d.note(s.name, "it is left from a checkpoint that did not come to its end")
			continue
		}
		b, err := vfs.ReadFile(d.fs, s.name)
		if err != nil {
			return err
		}
		parsed, err := store.ParseSnapshot(b)
		if version := new(journal.VersionError); errors.As(err, &version) {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if s.err = err; err != nil {
			d.damage(s.name, 0, "the snapshot is damaged (%v)", err)
			if !d.hasBase {
				d.bad = append(d.bad, s)
			}
		} else if !d.hasBase {
			d.base, d.hasBase = parsed, true
		}
		d.snaps = append(d.snaps, s)
	}
	if !d.hasBase {
		d.base.LSN = 0
	}
	d.baseSeq = d.base.State.Seq()
	return nil
}

func (d *directory) lookRuns() error {
	names, err := d.list(store.RunsDir)
	if err != nil {
		return err
	}
	for _, base := range d.base.Runs {
		r := &runFile{name: d.path(store.RunsDir, base)}
		d.named = append(d.named, r)
		if !slices.Contains(names, base) {
			r.missing = true
			d.damage(r.name, -1, "the run is missing, though the snapshot names it")
			continue
		}
		if r.Examination, err = runs.Examine(d.fs, r.name, nil); err != nil {
			return err
		}
		for _, m := range r.Damage {
			d.damage(r.name, m.Offset, "%d bytes: %s", m.Length, m.Reason)
		}
	}
	for _, base := range names {
		switch name := d.path(store.RunsDir, base); {
		case slices.Contains(d.base.Runs, base):
		case strings.HasSuffix(base, ".run"):
			d.unnamed = append(d.unnamed, name)
			d.note(name, "no snapshot that counts names the run: it is left from a checkpoint, or from before one")
		default:
			d.note(name, "it is left from a checkpoint that did not come to its end")
		}
	}
	return nil
}

func (d *directory) lookJournal() error {
	dir := d.path(store.JournalDir)
	if _, err := d.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		d.journal = &journal.Look{Store: d.meta.ID, Head: d.base.LSN}
		return nil
	}
	l, err := journal.LookAt(d.fs, dir, d.meta.ID, d.base.LSN)
	if err != nil {
		return err
	}
	d.journal = l
	for _, name := range l.Temporary {
		d.note(name, "it is left from a file of the journal that was being made")
	}
	for _, name := range l.Strays {
		d.damage(name, -1, "it has not the name of a file of the journal")
	}
	for _, name := range l.Foreign {
		d.damage(name, -1, "it belongs to the journal of another store")
	}
	switch {
	case l.Damage != nil:
		d.damage(l.Damage.File, l.Damage.Offset, "%s", l.Damage.Reason)
		for _, f := range l.Beyond {
			whole := "it is whole"
			if !f.Whole {
				whole = "it is not whole"
			}
			d.findings = append(d.findings, Finding{false, f.File, f.Offset, fmt.Sprintf("a frame of %d bytes behind the damage: %s", f.Size(), whole)})
		}
	case d.gap() > l.Head:
		d.damage(d.bad[0].name, -1, "the snapshot is of position %d, but the journal ends at %d", d.gap(), l.Head)
	default:
		for _, f := range l.Beyond {
			d.findings = append(d.findings, Finding{false, f.File, f.Offset, "a frame that was not acknowledged: it is passed over"})
		}
	}
	return nil
}

// gap returns the position of the newest snapshot that is damaged, by its name.
func (d *directory) gap() journal.LSN {
	if len(d.bad) == 0 {
		return 0
	}
	return d.bad[0].lsn
}

// apply brings the state to where the journal ends. What cannot be applied is
// found, and ends it.
func (d *directory) apply() error {
	d.state = d.base.State.Clone()
	for _, seen := range d.journal.Frames {
		f, err := seen.Read(d.fs)
		if err != nil {
			return err
		}
		if err := d.state.Apply(seen.End, f, nil); err != nil {
			d.applyErr = fmt.Errorf("%s at byte %d: %w", seen.File, seen.Offset, err)
			d.damage(seen.File, seen.Offset, "the frame is whole, but cannot be applied (%v); was it written by a newer version?", err)
			return nil
		}
	}
	return nil
}

// report says what was found.
func (d *directory) report() *Report {
	r := &Report{Dir: d.dir, Findings: append([]Finding{}, d.findings...), Clean: true}
	for _, f := range d.findings {
		r.Clean = r.Clean && !f.Damage
	}
	s := &r.Summary
	s.Position, s.Snapshot = uint64(d.journal.Head), uint64(d.base.LSN)
	for _, run := range d.named {
		if run.missing {
			continue
		}
		s.Runs++
		s.Records, s.Bytes = s.Records+run.Records, s.Bytes+run.Bytes
	}
	newest := int64(0)
	for _, stream := range d.state.All() {
		s.Streams++
		s.Shards += len(stream.Open())
		for i := range stream.Shards {
			for _, ref := range d.state.Log(stream.ID, i).Refs() {
				s.Records, s.Bytes, newest = s.Records+uint64(ref.Count), s.Bytes+uint64(ref.Size), max(newest, ref.Arrival)
			}
		}
	}
	for _, run := range d.named {
		if !run.missing {
			newest = max(newest, run.Newest)
		}
	}
	if newest > 0 {
		s.LastRecord = millis(newest)
	}
	for _, t := range d.state.Tables().Overview() {
		s.Tables++
		s.Items += t.Items
	}
	return r
}

// Check looks at a data directory, and changes nothing in it. The error says why
// it cannot; damage is in the report.
func Check(fsys vfs.FS, dir string) (*Report, error) {
	unlock, err := open(fsys, dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	d, err := look(fsys, dir)
	if err != nil {
		return nil, err
	}
	return d.report(), nil
}
