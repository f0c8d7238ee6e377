package demo

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"
)

// Ledger holds the content hash of every line that was written, by file. The
// zero Ledger is empty. It belongs to one goroutine at a time.
type Ledger struct {
	files [][]uint64
	lines uint64
}

// Add enters a line. Lines of a file are entered in order, from 1 on.
func (l *Ledger) Add(file uint32, hash uint64) {
	for int(file) >= len(l.files) {
		l.files = append(l.files, nil)
	}
	l.files[file] = append(l.files[file], hash)
	l.lines++
}

// Lines returns how many lines were entered.
func (l *Ledger) Lines() uint64 { return l.lines }

// Verdict compares what was written with what was received.
type Verdict struct {
	In         uint64 // lines written
	Out        uint64 // lines of these that were received whole, each counted once
	Lost       uint64 // In - Out
	Duplicated uint64 // deliveries beyond the first of a line
	Corrupted  uint64 // deliveries with the identity of a line and other content
	Foreign    uint64 // deliveries that are no line of the demo
	Disordered uint64 // first deliveries after that of a later line of the file

	// StoredTwice and DeliveredTwice part Duplicated: copies that the writing
	// side stored, and copies that the reading side made of one stored record.
	StoredTwice, DeliveredTwice uint64

	LostLines []string // the first few, as "file:line"
	Disorder  string   // the first, in words
}

// Good reports whether nothing was lost or damaged and order held.
func (v Verdict) Good() bool {
	return v.Lost == 0 && v.Corrupted == 0 && v.Foreign == 0 && v.Disordered == 0
}

// String is the last line of the demo's output.
func (v Verdict) String() string {
	order := "kept"
	if v.Disordered > 0 {
		order = "broken"
	}
	return fmt.Sprintf("verdict: %d in, %d out, %d lost, %d duplicated, order %s", v.In, v.Out, v.Lost, v.Duplicated, order)
}

// Judge compares the ledger with receipts. Batches must come in order of time.
type Judge struct {
	ledger *Ledger
	// places holds, for each line received, a hash of the place where its first
	// copy is stored; 0 means that the line was not received.
	places [][]uint32
	last   []uint64 // by file: the greatest line received
	v      Verdict
}

// NewJudge returns a judge who has seen no receipt.
func NewJudge(l *Ledger) *Judge {
	j := &Judge{ledger: l, places: make([][]uint32, len(l.files)), last: make([]uint64, len(l.files))}
	for i, f := range l.files {
		j.places[i] = make([]uint32, len(f))
	}
	return j
}

// Receive takes note of a batch of receipts.
func (j *Judge) Receive(b *Batch) error {
	return b.Deliveries(func(seq []byte, d Delivery) { j.receive(b.ShardID, seq, d) })
}

func (j *Judge) receive(shardID string, seq []byte, d Delivery) {
	if int64(d.File) >= int64(len(j.places)) || d.Line == 0 || d.Line > uint64(len(j.places[d.File])) {
		j.v.Foreign++
		return
	}
	i := d.Line - 1
	if j.ledger.files[d.File][i] != d.Hash {
		j.v.Corrupted++
		return
	}
	place := placeOf(seq, d.Sub)
	first := &j.places[d.File][i]
	switch *first {
	case 0:
		*first = place
		j.v.Out++
		if last := j.last[d.File]; d.Line < last {
			if j.v.Disordered == 0 {
				j.v.Disorder = fmt.Sprintf("line %d of file %d came after line %d, from %s, %s/%d", d.Line, d.File, last, shardID, seq, d.Sub)
			}
			j.v.Disordered++
		} else {
			j.last[d.File] = d.Line
		}
	case place:
		j.v.Duplicated++
		j.v.DeliveredTwice++
	default:
		j.v.Duplicated++
		j.v.StoredTwice++
	}
}

// placeOf hashes the place of a record; never 0. Sequence numbers are unique
// in a stream, so the shard adds nothing.
func placeOf(seq []byte, sub uint32) uint32 {
	h := xxhash.Sum64(seq)
	return (uint32(h>>32) ^ uint32(h)) + sub*0x9e3779b1 | 1
}

// Verdict returns the outcome of what was received so far.
func (j *Judge) Verdict() Verdict {
	const show = 5
	v := j.v
	v.In = j.ledger.lines
	v.Lost = v.In - v.Out
	if v.Lost == 0 {
		return v
	}
	for f, lines := range j.places {
		for i, p := range lines {
			if p == 0 {
				v.LostLines = append(v.LostLines, fmt.Sprintf("%d:%d", f, i+1))
				if len(v.LostLines) == show {
					return v
				}
			}
		}
	}
	return v
}

// JudgeFiles reads whole files of receipts and returns the verdict. A torn
// frame at the end of a file is left out, because its batch was not
// acknowledged.
func JudgeFiles(l *Ledger, paths []string) (Verdict, error) {
	type source struct {
		r    *ReceiptReader
		next Batch
		path string
	}
	var open []*source
	advance := func(s *source) (bool, error) {
		var err error
		s.next, err = s.r.Next()
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, io.EOF), errors.Is(err, ErrTorn):
			return false, nil
		}
		return false, fmt.Errorf("%s: %w", s.path, err)
	}
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return Verdict{}, err
		}
		defer f.Close() //nolint:errcheck // only read from
		s := &source{r: NewReceiptReader(f), path: p}
		ok, err := advance(s)
		if err != nil {
			return Verdict{}, err
		}
		if ok {
			open = append(open, s)
		}
	}
	// The files are few: the earliest frame is found by looking at all.
	j := NewJudge(l)
	for len(open) > 0 {
		first := 0
		for i := range open {
			if open[i].next.Time < open[first].next.Time {
				first = i
			}
		}
		if err := j.Receive(&open[first].next); err != nil {
			return Verdict{}, fmt.Errorf("%s: %w", open[first].path, err)
		}
		ok, err := advance(open[first])
		if err != nil {
			return Verdict{}, err
		}
		if !ok {
			open = append(open[:first], open[first+1:]...)
		}
	}
	return j.Verdict(), nil
}
