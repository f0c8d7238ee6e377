package rescue

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// Restore makes a data directory of what [Archive.Write] wrote. dir must be empty
// or not exist. Everything is verified, and on disk, before the directory has its
// name: until then it is called dir.tmp, and is taken away again if anything is
// wrong.
func Restore(fsys vfs.FS, r io.Reader, dir string) (_ *Report, err error) {
	dir = filepath.Clean(dir)
	empty := false
	switch entries, err := fsys.ReadDir(dir); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("cannot look at %s: %w", dir, err)
	case len(entries) > 0:
		return nil, fmt.Errorf("%s is not empty; restore into a directory that does not exist yet", dir)
	default:
		empty = true
	}
	tmp := dir + ".tmp"
	if _, err := fsys.Stat(tmp); err == nil {
		return nil, fmt.Errorf("%s is there, from a restore that did not come to its end; remove it first", tmp)
	}
	parent := filepath.Dir(dir)
	if err := fsys.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeAll(fsys, tmp))
		}
	}()
	for _, folder := range folders(tmp) {
		if err := fsys.MkdirAll(folder, 0o700); err != nil {
			return nil, err
		}
	}
	if err := unpack(fsys, r, tmp); err != nil {
		return nil, err
	}
	for _, folder := range folders(tmp) {
		if err := fsys.SyncDir(folder); err != nil {
			return nil, err
		}
	}
	report, err := Check(fsys, tmp)
	if err != nil {
		return nil, err
	}
	if !report.Clean {
		return nil, fmt.Errorf("%w: what is in the snapshot does not make a whole: %s", store.ErrDamaged, report.Findings[0])
	}
	if empty { // not all systems rename over a directory
		if err := fsys.Remove(dir); err != nil {
			return nil, err
		}
	}
	if err := fsys.Rename(tmp, dir); err != nil {
		return nil, err
	}
	report.Dir = dir
	return report, fsys.SyncDir(parent)
}

func folders(dir string) []string {
	return []string{
		filepath.Join(dir, store.JournalDir), filepath.Join(dir, store.SnapshotDir), filepath.Join(dir, store.RunsDir), dir,
	}
}

// unpack writes the files of an archive, each of which must be what the manifest
// says.
func unpack(fsys vfs.FS, r io.Reader, dir string) error {
	in, done, err := openArchive(r)
	if err != nil {
		return err
	}
	defer done()
	m, err := readManifest(in)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		h, err := in.Next()
		if err != nil {
			return fmt.Errorf("the snapshot is cut off before %s: %w", f.Name, noEOF(err))
		}
		if h.Name != f.Name || h.Size != f.Size || h.Typeflag != tar.TypeReg {
			return fmt.Errorf("%w: the snapshot has %s where its manifest has %s", store.ErrDamaged, h.Name, f.Name)
		}
		sum := newCRC()
		if err := writeFile(fsys, filepath.Join(dir, filepath.FromSlash(f.Name)), func(w io.Writer) error {
			_, err := io.Copy(io.MultiWriter(w, sum), in)
			return err
		}); err != nil {
			return fmt.Errorf("cannot restore %s: %w", f.Name, err)
		}
		if sum.Sum32() != f.CRC {
			return fmt.Errorf("%w: %s in the snapshot fails its checksum; take another copy", store.ErrDamaged, f.Name)
		}
	}
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: there is something behind the last file of the snapshot", store.ErrDamaged)
	}
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// removeAll removes a directory with what is in it. It is no error if it is not
// there.
func removeAll(fsys vfs.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		remove := fsys.Remove
		if e.IsDir() {
			remove = func(name string) error { return removeAll(fsys, name) }
		}
		if err := remove(name); err != nil {
			return err
		}
	}
	return fsys.Remove(dir)
}
