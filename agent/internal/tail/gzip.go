package tail

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/streamkit/streamkit/internal/vfs"
)

// gzipBack is how many of the bytes it has passed a Gzip keeps: a reader that
// looks for the end of a line steps back by up to a chunk.
const gzipBack = ChunkSize + 4*MarkerMax

// Gzip is the decompressed content of a file, read from its start towards its end.
// A step back by more than a chunk decompresses it anew. It is not safe for
// concurrent use.
type Gzip struct {
	vfs.File
	size int64
	zr   *gzip.Reader
	pos  int64  // of zr
	back []byte // the bytes before pos
}

// OpenGzip returns the content of f, which it takes over when it succeeds. Size is
// not known until [Gzip.Measure].
func OpenGzip(f vfs.File) (*Gzip, error) {
	z := &Gzip{File: f}
	if err := z.rewind(); err != nil {
		return nil, err
	}
	return z, nil
}

func (z *Gzip) rewind() (err error) {
	src := io.NewSectionReader(z.File, 0, 1<<62)
	if z.zr == nil {
		z.zr, err = gzip.NewReader(src)
	} else {
		err = z.zr.Reset(src)
	}
	z.pos, z.back = 0, z.back[:0]
	if err != nil {
		return fmt.Errorf("decompress: %w", err)
	}
	return nil
}

// Measure reads to the end and returns the size of the content. The error says
// that the file is not whole, as while it is being written.
func (z *Gzip) Measure() (int64, error) {
	if err := z.rewind(); err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, z.zr)
	if err != nil {
		return 0, fmt.Errorf("decompress: %w", err)
	}
	z.size = n
	return n, z.rewind()
}

// Whole reports whether the content has an end, which that of a file does not have that
// is still being written.
func (z *Gzip) Whole() bool {
	_, err := z.Measure()
	return err == nil
}

// ReadAt implements [io.ReaderAt].
func (z *Gzip) ReadAt(b []byte, off int64) (int, error) {
	if off < z.pos-int64(len(z.back)) {
		if err := z.rewind(); err != nil {
			return 0, err
		}
	}
	if _, err := io.CopyN(backWriter{z}, z.zr, off-z.pos); err != nil && off > z.pos {
		return 0, end(err)
	}
	n := copy(b, z.back[int64(len(z.back))-(z.pos-off):])
	got, err := io.ReadFull(z.zr, b[n:])
	_, _ = backWriter{z}.Write(b[n : n+got]) // never fails
	if n+got < len(b) {
		return n + got, end(err)
	}
	return n + got, nil
}

func end(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return fmt.Errorf("decompress: %w", err)
}

// backWriter notes what was decompressed.
type backWriter struct{ z *Gzip }

func (w backWriter) Write(b []byte) (int, error) {
	z := w.z
	z.pos += int64(len(b))
	if len(b) >= gzipBack {
		z.back = append(z.back[:0], b[len(b)-gzipBack:]...)
		return len(b), nil
	}
	if len(z.back)+len(b) > 2*gzipBack { // seldom, so that most bytes move once
		z.back = append(z.back[:0], z.back[len(z.back)-gzipBack:]...)
	}
	z.back = append(z.back, b...)
	return len(b), nil
}

// Stat implements [vfs.File]; its Size is that of the content.
func (z *Gzip) Stat() (fs.FileInfo, error) {
	fi, err := z.File.Stat()
	if err != nil {
		return nil, err
	}
	return gzipInfo{fi, z.size}, nil
}

type gzipInfo struct {
	fs.FileInfo
	size int64
}

func (i gzipInfo) Size() int64 { return i.size }
