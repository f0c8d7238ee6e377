package runs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/streamkit/streamkit/internal/vfs"
)

// writeSize is how much a [Writer] writes at once, and makes durable. A run that
// was left to one sync at its end would be in front of the journal's syncs on
// the disk, all at once.
const writeSize = 1 << 20

// buffers are those of writers that have ended. A store writes run after run.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, writeSize+writeSize/4)
	return &b
}}

// maxKept is the largest buffer that is kept for the next writer.
const maxKept = 4 * writeSize

// A Writer makes a run. It is there under its name, whole and durable, once
// Finish has returned, and not before.
type Writer struct {
	fs     vfs.FS
	name   string
	id     ID
	cache  *Cache
	file   vfs.File
	kept   *[]byte // of buffers, nil once it was given back
	buf    []byte
	offset int64 // behind buf

	extents        []Extent
	records, bytes uint64
}

// Create begins a run in a directory.
func Create(fsys vfs.FS, dir string, id ID, cache *Cache) (*Writer, error) {
	w := &Writer{fs: fsys, name: filepath.Join(dir, id.Name()), id: id, cache: cache}
	var err error
	if w.file, err = fsys.OpenFile(w.name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return nil, err
	}
	w.kept = buffers.Get().(*[]byte)
	w.buf = appendFileHeader((*w.kept)[:0], id)
	w.offset = headerSize
	return w, nil
}

// Add adds a batch of a shard. Batches come in order of their shards, and of
// their records; the caller may use b.Records again.
func (w *Writer) Add(k Key, b Batch) error {
	return w.AddFrom(k, b, len(b.Records), func(into []byte) error {
		copy(into, b.Records)
		return nil
	})
}

// AddFrom is Add for who has read fill the records of b, size bytes, in.
func (w *Writer) AddFrom(k Key, b Batch, size int, read func(into []byte) error) error {
	begin := len(w.buf)
	w.buf = slices.Grow(w.buf, batchHeader+size)[:begin+batchHeader+size]
	b.Records = w.buf[begin+batchHeader:]
	if err := read(b.Records); err != nil {
		return err
	}
	n := len(w.extents)
	switch {
	case checksum(b.Records) != b.CRC:
		return fmt.Errorf("runs: the records from sequence index %d on fail their checksum", b.First)
	case b.Count == 0 || b.First < w.id.First || b.Last() > w.id.Last,
		n > 0 && (w.extents[n-1].Compare(k) > 0 || w.extents[n-1].Key == k && b.First <= w.extents[n-1].Last):
		return fmt.Errorf("runs: the batch from sequence index %d on is out of order", b.First)
	}
	if n == 0 || w.extents[n-1].Key != k {
		w.extents = append(w.extents, Extent{Key: k, First: b.First, MinArrival: b.Arrival, offset: w.offset})
		n++
	}
	e := &w.extents[n-1]
	if m := len(e.marks); m == 0 || w.offset-e.marks[m-1].offset >= markEvery {
		e.marks = append(e.marks, mark{b.First, w.offset, b.Arrival})
	}
	appendBatchHeader(w.buf[:begin], k, b)
	length := int64(batchHeader + size)
	w.offset += length
	e.length += length
	e.Last, e.MaxArrival = b.Last(), b.Arrival
	e.Records, e.Bytes = e.Records+uint64(b.Count), e.Bytes+uint64(len(b.Records))
	w.records, w.bytes = w.records+uint64(b.Count), w.bytes+uint64(len(b.Records))
	if len(w.buf) < writeSize {
		return nil
	}
	return w.flush()
}

func (w *Writer) flush() error {
	_, err := w.file.Write(w.buf)
	w.buf = w.buf[:0]
	if err != nil {
		return err
	}
	return w.file.Sync()
}

// Finish makes the run durable and returns it.
func (w *Writer) Finish() (*Run, error) {
	footer := appendFooter(nil, w.extents)
	t := trailer{footer: w.offset, length: uint32(len(footer)), crc: checksum(footer), records: w.records, bytes: w.bytes}
	w.buf = append(w.buf, footer...)
	w.buf = t.append(w.buf)
	if err := w.flush(); err != nil {
		return nil, err
	}
	if err := w.file.Close(); err != nil {
		return nil, err
	}
	w.file = nil
	w.release()
	if err := w.fs.Rename(w.name+".tmp", w.name); err != nil {
		return nil, err
	}
	if err := w.fs.SyncDir(filepath.Dir(w.name)); err != nil {
		return nil, err
	}
	return newRun(w.fs, w.name, w.cache, w.id, t, w.extents), nil
}

// release gives the buffer back.
func (w *Writer) release() {
	if w.kept != nil && cap(w.buf) <= maxKept {
		*w.kept = w.buf[:0]
		buffers.Put(w.kept)
	}
	w.kept, w.buf = nil, nil
}

// Abort removes what was written. It is to be called when Add or Finish has
// failed.
func (w *Writer) Abort() error {
	w.release()
	var errs []error
	if w.file != nil {
		errs = append(errs, w.file.Close())
	}
	for _, name := range []string{w.name + ".tmp", w.name} {
		if err := w.fs.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
