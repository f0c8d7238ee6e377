package spool

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/streamkit/streamkit/internal/seglog"
	"github.com/streamkit/streamkit/internal/vfs"
)

// Segment is what a file of a spool holds.
type Segment struct {
	Name    string
	First   uint64 // number of its first record
	Bytes   int64
	Records int64
	Acked   int64     // of these, records that need not be sent again
	Missing int64     // records that its writer has put there and that are not there or cannot be read, without acknowledged ones
	Oldest  time.Time // when its first block was written; zero if it has none
	Newest  time.Time
	Fault   error // why it could not be read to its end, or nil
}

// Record is a record of a spool.
type Record struct {
	Segment string
	Number  uint64
	Time    time.Time
	Acked   bool
	Entry   // valid during the call
}

// Inspect reads a directory, which another process may be using, and changes
// nothing. It calls fn, if that is not nil, for each record in the order in which
// they would be sent, and returns the segments. Files that were put aside as
// damaged come last. An error of fn ends it.
func Inspect(fsys vfs.FS, dir string, fn func(*Record) error) ([]Segment, error) {
	segs, err := list(fsys, dir, false)
	if err != nil {
		return nil, err
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), segmentExt+damagedExt) {
			path := filepath.Join(dir, e.Name())
			fi, err := fsys.Stat(path)
			if err != nil {
				return nil, err
			}
			segs = append(segs, &segment{path: path, size: fi.Size()})
		}
	}
	acks, err := readAcks(fsys, dir)
	if err != nil && !errors.Is(err, seglog.ErrCorrupt) {
		return nil, err
	}
	var infos []Segment
	for _, g := range segs {
		info := Segment{Name: filepath.Base(g.path), First: g.first, Bytes: g.size}
		a := acks[g.first]
		if a != nil && a.salt != g.salt {
			a = nil
		}
		err := inspect(fsys, g, a, &info, fn)
		if errors.Is(err, fs.ErrNotExist) {
			continue // finished meanwhile
		}
		if err != nil {
			return infos, err
		}
		if a != nil {
			info.Missing = int64(missingOf(a.bitmap, uint64(info.Records), a.ended))
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func inspect(fsys vfs.FS, g *segment, a *ack, info *Segment, fn func(*Record) error) error {
	r, err := seglog.OpenReader(fsys, g.path, seglog.Options{Kind: segmentKind, Hint: damagedHint})
	if errors.Is(err, seglog.ErrCorrupt) {
		info.Fault = err
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read from
	for {
		b, err := r.Next(g.size)
		var h header
		if err == nil {
			h, err = check(b)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			info.Fault = err
			return nil
		}
		at := time.UnixMilli(h.time)
		if info.Oldest.IsZero() {
			info.Oldest = at
		}
		info.Newest = at
		body := b[blockHeader:]
		for i := range uint64(h.count) {
			rec := Record{Segment: info.Name, Number: h.first + i, Time: at}
			if rec.Entry, body, err = parseEntry(body); err != nil {
				return err
			}
			rec.Acked = a != nil && a.has(rec.Number-g.first)
			info.Records++
			if rec.Acked {
				info.Acked++
			}
			if fn != nil {
				if err := fn(&rec); err != nil {
					return err
				}
			}
		}
	}
}
