package rescue

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// carryOut does what was planned.
func (r *repair) carryOut() error {
	for _, part := range []func() error{r.save, r.writeMeta, r.writeRuns, r.writeSnapshot, r.cutJournal, r.remove} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// save copies what is dropped to a folder of its own.
func (r *repair) save() error {
	r.Lost = r.lostFolder()
	if err := r.fs.MkdirAll(r.Lost, 0o700); err != nil {
		return err
	}
	folders := map[string]bool{r.dir: true, filepath.Dir(r.Lost): true, r.Lost: true}
	slices.Sort(r.copies)
	for _, name := range slices.Compact(r.copies) {
		to := filepath.Join(r.Lost, relative(r.dir, name))
		if err := r.fs.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		folders[filepath.Dir(to)] = true
		if err := copyFile(r.fs, name, to); err != nil {
			return fmt.Errorf("cannot copy %s to %s: %w", name, to, err)
		}
	}
	if r.cut {
		if err := r.saveFrames(filepath.Join(r.Lost, "journal.jsonl")); err != nil {
			return err
		}
	}
	for folder := range folders {
		if err := r.fs.SyncDir(folder); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file, durably but for its name.
func copyFile(fsys vfs.FS, from, to string) (err error) {
	in, err := vfs.Open(fsys, from)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeFile(fsys, to, func(w io.Writer) error {
		_, err := io.Copy(w, onlyReader{in})
		return err
	})
}

type onlyReader struct{ io.Reader }

// writeFile makes a file, durable but for its name.
func writeFile(fsys vfs.FS, name string, write func(io.Writer) error) error {
	out, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buf := bufio.NewWriterSize(out, 1<<20)
	if err = write(buf); err == nil {
		err = buf.Flush()
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// saveFrames writes what the frames hold that are behind the journal's new end.
func (r *repair) saveFrames(name string) error {
	return writeFile(r.fs, name, func(w io.Writer) error {
		lines := newLines(w)
		for _, f := range r.journal.Beyond {
			if !f.Whole {
				continue
			}
			frame, err := f.Read(r.fs)
			if err != nil {
				return err
			}
			if err := lines.frame(f, frame, true); err != nil {
				return err
			}
		}
		return lines.err
	})
}

func (r *repair) writeMeta() error {
	if r.meta == nil {
		return nil
	}
	b, err := r.meta.Encode()
	if err != nil {
		return err
	}
	return vfs.WriteFile(r.fs, r.path(store.MetaName), b, 0o600)
}

func (r *repair) writeRuns() error {
	for _, w := range r.rewrites {
		run, err := runs.Rewrite(r.fs, w.from, w.id, w.keep)
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", w.name, err)
		}
		if run == nil {
			return fmt.Errorf("cannot write %s: %s has changed", w.name, w.from)
		}
	}
	return nil
}

func (r *repair) writeSnapshot() error {
	if !r.snapshot {
		return nil
	}
	b, err := r.encode()
	if err != nil {
		return err
	}
	return vfs.WriteFile(r.fs, r.path(store.SnapshotDir, store.SnapshotName(r.base.LSN)), b, 0o600)
}

func (r *repair) cutJournal() error {
	if !r.cut {
		return nil
	}
	dir := r.path(store.JournalDir)
	if err := r.fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	body, err := state.AppendCommand(state.BeginFrame(nil, r.state.Arrival()), state.Skip{Seq: r.skip, IDs: r.skip})
	if err != nil {
		return err
	}
	_, err = r.journal.Cut(r.fs, dir, body)
	return err
}

func (r *repair) remove() error {
	folders := make(map[string]bool)
	for _, name := range r.drops {
		if err := r.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		folders[filepath.Dir(name)] = true
	}
	for folder := range folders {
		if err := r.fs.SyncDir(folder); err != nil {
			return err
		}
	}
	return nil
}
