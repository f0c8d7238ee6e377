package tail

import (
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

const (
	// PrefixMax is the most bytes that a prefix covers.
	PrefixMax = 1024
	// MarkerMax is the most bytes that a marker covers.
	MarkerMax = 64
	// PrefixMin is the length from which on an equal prefix alone, without the
	// inode, makes two files candidates for the same content.
	PrefixMin = 64
)

// ID names a file within its machine, for as long as the file exists.
type ID struct{ Dev, Ino uint64 }

// Print is the hash of a few bytes of a file. The zero Print covers no byte and
// fits every file.
type Print struct {
	Len int
	Sum uint64 // xxhash64; 0 if Len is 0
}

// PrintOf returns the print of b.
func PrintOf(b []byte) Print {
	if len(b) == 0 {
		return Print{}
	}
	return Print{Len: len(b), Sum: xxhash.Sum64(b)}
}

// Head is the beginning of a file, to check prefixes against.
type Head struct {
	buf [PrefixMax]byte
	n   int
}

// Read fills h from a file of at least size bytes.
func (h *Head) Read(r io.ReaderAt, size int64) error {
	h.n = 0
	n, err := r.ReadAt(h.buf[:min(size, PrefixMax)], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the beginning: %w", err)
	}
	h.n = n
	return nil
}

// Print returns the prefix that h holds.
func (h *Head) Print() Print { return PrintOf(h.buf[:h.n]) }

// Has reports whether the file begins with the bytes of p.
func (h *Head) Has(p Print) bool { return p.Len <= h.n && PrintOf(h.buf[:p.Len]) == p }

// First returns the print of the first n bytes, and false if there are fewer.
func (h *Head) First(n int) (Print, bool) {
	if n > h.n {
		return Print{}, false
	}
	return PrintOf(h.buf[:n]), true
}

// Shares reports whether two files begin with the same bytes, as far as both go,
// and how many bytes that are.
func (h *Head) Shares(o *Head) (int, bool) {
	n := min(h.n, o.n)
	return n, string(h.buf[:n]) == string(o.buf[:n])
}

// Before reads the up to MarkerMax bytes before off into buf.
func Before(r io.ReaderAt, off int64, buf *[MarkerMax]byte) ([]byte, error) {
	n := min(off, MarkerMax)
	b := buf[:n]
	if got, err := r.ReadAt(b, off-n); got < len(b) {
		if errors.Is(err, io.EOF) {
			return b[:0], nil
		}
		return b[:0], fmt.Errorf("read the bytes before offset %d: %w", off, err)
	}
	return b, nil
}

// Marked reports whether the bytes before off are those of m.
func Marked(r io.ReaderAt, off int64, m Print) (bool, error) {
	if m.Len == 0 {
		return true, nil
	}
	if int64(m.Len) > off || m.Len > MarkerMax {
		return false, nil
	}
	var buf [MarkerMax]byte
	b, err := Before(r, off, &buf)
	if err != nil || len(b) < m.Len {
		return false, err
	}
	return PrintOf(b[len(b)-m.Len:]) == m, nil
}
