package seglog

import (
	"errors"
	"fmt"
	"io"

	"github.com/streamkit/streamkit/internal/vfs"
)

// TornError says that a log ends in bytes that make no frame, as a crash leaves
// them. Nothing shows that they were ever durable.
type TornError struct {
	Path   string
	Offset int64 // of the first bad byte
	Bytes  int64 // from there to the end of the file
}

func (e *TornError) Error() string {
	return fmt.Sprintf("%s has a torn tail of %d bytes at offset %d", e.Path, e.Bytes, e.Offset)
}

// Reader reads the payloads of a log in order, and changes nothing. The log may
// be that of another process, and it may be appended to meanwhile: then the
// owner says how far Next may read. It is not safe for concurrent use.
type Reader struct {
	path string
	hint string
	file vfs.File
	r    reader
	off  int64
}

// OpenReader opens the log at path for reading. It takes no lock. The error wraps
// [ErrCorrupt] if the file has no good header.
func OpenReader(fsys vfs.FS, path string, opt Options) (*Reader, error) {
	f, err := vfs.Open(fsys, path)
	if err != nil {
		return nil, err
	}
	r := &Reader{path: path, hint: opt.hint(), file: f, off: headerSize}
	header := make([]byte, headerSize)
	n, err := f.ReadAt(header, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		_ = f.Close()
		return nil, fmt.Errorf("read the header of %s: %w", path, err)
	}
	salt, err := parseHeader(header[:n], opt.Kind)
	if err != nil {
		_ = f.Close()
		return nil, &CorruptError{Path: path, Reason: err.Error(), Hint: r.hint}
	}
	r.r = reader{src: f, salt: salt}
	return r, nil
}

// Salt returns the number that tells this file from every other log.
func (r *Reader) Salt() uint64 { return r.r.salt }

// Offset returns where the next frame begins.
func (r *Reader) Offset() int64 { return r.off }

// Next returns the next payload, which is valid until the call after it. The
// error is [io.EOF] at limit, where a frame must end; a [TornError] or
// [CorruptError] if no frame begins here; another if the file could not be read.
// A negative limit stands for the size of the file.
func (r *Reader) Next(limit int64) ([]byte, error) {
	if limit < 0 {
		fi, err := r.file.Stat()
		if err != nil {
			return nil, err
		}
		limit = fi.Size()
	}
	if r.off >= limit {
		return nil, io.EOF
	}
	r.r.size = limit
	payload, _, err := r.r.frame(r.off)
	switch {
	case err == nil:
		r.off += frameSize + int64(len(payload))
		return payload, nil
	case !errors.Is(err, errNoFrame):
		return nil, err
	}
	bad, err := r.r.damaged(r.off)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", r.path, err)
	case bad:
		return nil, &CorruptError{Path: r.path, Offset: r.off, Reason: "records behind it are whole", Hint: r.hint}
	}
	return nil, &TornError{Path: r.path, Offset: r.off, Bytes: limit - r.off}
}

// Skip moves to an offset that Offset has returned.
func (r *Reader) Skip(offset int64) { r.off = offset }

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }
