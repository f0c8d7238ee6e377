package rescue

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// An archive is a tar of a checkpoint, compressed by zstd or not. The first file
// of it is a manifest, JSON; those that it names follow in its order, under the
// names that they have in a data directory.
const (
	archiveFormat  = "streamd-snapshot"
	archiveVersion = 1
	manifestName   = "MANIFEST.json"
	maxManifest    = 64 << 20
)

// manifest is the first file of an archive.
type manifest struct {
	Format   string        `json:"format"`
	Version  int           `json:"version"`
	Created  time.Time     `json:"created"`
	Position uint64        `json:"position"` // of the journal
	Files    []archiveFile `json:"files"`
}

type archiveFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	CRC  uint32 `json:"crc32c"`

	content []byte // nil if it is in a file
	from    string // the file
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newCRC() hash.Hash32 { return crc32.New(castagnoli) }

// An Archive is a checkpoint that was looked through, ready to be written.
type Archive struct {
	held     *store.Held
	manifest manifest
}

// NewArchive looks through a checkpoint that is held. An error means that it is
// not whole, or cannot be read.
func NewArchive(held *store.Held, now time.Time) (*Archive, error) {
	a := &Archive{held, manifest{archiveFormat, archiveVersion, now.UTC(), uint64(held.LSN), nil}}
	for _, f := range []archiveFile{
		{Name: store.MetaName, content: held.Meta},
		{Name: path.Join(store.SnapshotDir, store.SnapshotName(held.LSN)), from: held.Snapshot},
	} {
		if err := a.add(f); err != nil {
			return nil, err
		}
	}
	for _, run := range held.Runs {
		x, err := runs.Examine(held.FS, run.Name(), nil)
		if err != nil {
			return nil, err
		}
		if !x.Whole() {
			return nil, fmt.Errorf("%w: %s at byte %d: %s; stop the server and run streamd check", store.ErrDamaged, run.Name(), x.Damage[0].Offset, x.Damage[0].Reason)
		}
		if err := a.add(archiveFile{Name: path.Join(store.RunsDir, filepath.Base(run.Name())), from: run.Name()}); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// add adds a file to the manifest.
func (a *Archive) add(f archiveFile) (err error) {
	sum := newCRC()
	if f.Size, err = a.copy(sum, f); err != nil {
		return err
	}
	f.CRC = sum.Sum32()
	a.manifest.Files = append(a.manifest.Files, f)
	return nil
}

// copy writes the content of a file.
func (a *Archive) copy(w io.Writer, f archiveFile) (int64, error) {
	if f.content != nil {
		return io.Copy(w, bytes.NewReader(f.content))
	}
	file, err := vfs.Open(a.held.FS, f.from)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return io.Copy(w, onlyReader{file})
}

// Write writes the archive.
func (a *Archive) Write(w io.Writer) error {
	text, err := json.Marshal(a.manifest)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, f := range slices.Concat([]archiveFile{{manifestName, int64(len(text)), crc32.Checksum(text, castagnoli), text, ""}}, a.manifest.Files) {
		if err := out.WriteHeader(&tar.Header{Name: f.Name, Size: f.Size, Mode: 0o600, ModTime: a.manifest.Created, Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		sum := newCRC()
		n, err := a.copy(io.MultiWriter(out, sum), f)
		if err != nil {
			return err
		}
		if n != f.Size || sum.Sum32() != f.CRC {
			return fmt.Errorf("%w: %s is not what it was a moment ago", store.ErrDamaged, f.Name)
		}
	}
	return out.Close()
}

// openArchive returns the tar in r, which may be compressed.
func openArchive(r io.Reader) (_ *tar.Reader, done func(), err error) {
	in := bufio.NewReaderSize(r, 1<<20)
	head, _ := in.Peek(4) // what is shorter is no archive, as is found below
	if !bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return tar.NewReader(in), func() {}, nil
	}
	z, err := zstd.NewReader(in)
	if err != nil {
		return nil, nil, err
	}
	return tar.NewReader(z), z.Close, nil
}

// Compress returns a writer that compresses what goes to w. It must be closed.
func Compress(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }

// readManifest reads the first file of an archive.
func readManifest(in *tar.Reader) (m manifest, err error) {
	h, err := in.Next()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return m, fmt.Errorf("this is no snapshot that streamd has written, or it is cut off: %w", err)
	}
	if err != nil || h.Name != manifestName || h.Size > maxManifest {
		return m, errors.New("this is no snapshot that streamd has written")
	}
	b, err := io.ReadAll(in)
	if err != nil {
		return m, fmt.Errorf("the snapshot is cut off: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil || m.Format != archiveFormat {
		return m, errors.New("this is no snapshot that streamd has written")
	}
	if m.Version != archiveVersion {
		return m, fmt.Errorf("the snapshot has format version %d, this program reads version %d; run the version that wrote it", m.Version, archiveVersion)
	}
	for i, f := range m.Files {
		if !f.allowed() || slices.ContainsFunc(m.Files[:i], func(o archiveFile) bool { return o.Name == f.Name }) {
			return m, fmt.Errorf("the snapshot has a file %q, which belongs in no data directory", f.Name)
		}
	}
	return m, nil
}

// allowed reports whether a data directory has a file of that name.
func (f archiveFile) allowed() bool {
	dir, base := path.Split(f.Name)
	switch path.Clean(dir) {
	case ".":
		return f.Name == store.MetaName
	case store.SnapshotDir:
		_, ok := store.SnapshotLSN(base)
		return ok && f.Name == path.Join(store.SnapshotDir, base)
	case store.RunsDir:
		_, ok := runs.ParseName(base)
		return ok && f.Name == path.Join(store.RunsDir, base)
	}
	return false
}
