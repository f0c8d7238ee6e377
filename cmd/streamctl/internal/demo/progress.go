package demo

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Progress follows the files of receipts while they grow, to show how far the
// readers are and to hold the writer back. The verdict does not use it.
type Progress struct {
	dir  string
	at   map[string]int64 // offset by path
	seen [][]uint64       // bit set of lines, by file

	distinct   uint64
	deliveries uint64
	byWorker   map[string]uint64 // deliveries by name of the file of receipts
}

// NewProgress follows the files in dir.
func NewProgress(dir string) *Progress {
	return &Progress{dir: dir, at: map[string]int64{}, byWorker: map[string]uint64{}}
}

// Distinct returns how many different lines have arrived.
func (p *Progress) Distinct() uint64 { return p.distinct }

// Deliveries returns how many lines were delivered, repeats included.
func (p *Progress) Deliveries() uint64 { return p.deliveries }

// Paths returns the files of receipts that are there, in order of name.
func (p *Progress) Paths() ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(p.dir, "*.receipts"))
	slices.Sort(paths)
	return paths, err
}

// Update reads what was added to the files.
func (p *Progress) Update() error {
	paths, err := p.Paths()
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := p.update(path); err != nil {
			return err
		}
	}
	return nil
}

func (p *Progress) update(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	if info, err := f.Stat(); err != nil || info.Size() == p.at[path] {
		return err
	}
	if _, err := f.Seek(p.at[path], io.SeekStart); err != nil {
		return err
	}
	r := NewReceiptReader(f)
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, ErrTorn) {
			return nil // the rest may come
		}
		if err != nil {
			return err
		}
		p.at[path] += int64(b.size)
		err = b.Deliveries(func(_ []byte, d Delivery) {
			p.deliveries++
			p.byWorker[filepath.Base(path)]++
			if d.File != Unknown && p.mark(d.File, d.Line) {
				p.distinct++
			}
		})
		if err != nil {
			return err
		}
	}
}

// maxMark bounds the memory that a damaged identity can ask for.
const maxMark = 1 << 32

// mark enters a line and reports whether it is new.
func (p *Progress) mark(file uint32, line uint64) bool {
	if file > 1<<20 || line > maxMark {
		return false
	}
	for int(file) >= len(p.seen) {
		p.seen = append(p.seen, nil)
	}
	word, bit := line/64, uint64(1)<<(line%64)
	if n := uint64(len(p.seen[file])); word >= n {
		p.seen[file] = append(p.seen[file], make([]uint64, word+1-n)...)
	}
	if p.seen[file][word]&bit != 0 {
		return false
	}
	p.seen[file][word] |= bit
	return true
}
