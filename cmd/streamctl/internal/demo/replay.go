package demo

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
)

// Replayer writes the input, line by line with an identity, into several files
// that it rotates, and into the logging service.
type Replayer struct {
	Input   Input
	Size    int64     // bytes of text to write, at least
	Dir     string    // where the files are
	Files   int       // written at the same time
	Rotate  int64     // bytes after which a file is rotated
	Service io.Writer // takes every serviceEvery-th line; nil for none
	// Wait is called before each burst with the number of lines written so far.
	// It returns once the readers are near enough.
	Wait func(ctx context.Context, written uint64) error

	ledger  Ledger
	written atomic.Uint64 // lines
	bytes   atomic.Int64
	rotated atomic.Int64
}

const (
	// burst is how many lines go into one file before the next one's turn.
	burst = 64
	// serviceEvery is how many lines there are for each one that is logged.
	serviceEvery = 16
	// lateLines go into a file after it was renamed, as a program writes on
	// until it opens its log anew.
	lateLines = 20
)

// Written returns how many lines were written; it may be called at any time.
func (r *Replayer) Written() uint64 { return r.written.Load() }

// Bytes returns how many bytes were written, line ends included.
func (r *Replayer) Bytes() int64 { return r.bytes.Load() }

// Rotations returns how many files were rotated so far.
func (r *Replayer) Rotations() int64 { return r.rotated.Load() }

// Ledger returns what was written. Run must have returned.
func (r *Replayer) Ledger() *Ledger { return &r.ledger }

// Run writes until Size is reached and the input was used to its end once.
func (r *Replayer) Run(ctx context.Context) error {
	src := newLines(r.Input)
	defer src.close()
	logs := make([]*rotatedLog, r.Files)
	nextFile := uint32(1) // 0 is the service
	for i := range logs {
		logs[i] = &rotatedLog{r: r, path: filepath.Join(r.Dir, fmt.Sprintf("app-%d.log", i+1)), next: &nextFile}
		if err := logs[i].open(); err != nil {
			return err
		}
		defer func() { _ = logs[i].file.Close() }() // the good end closes it with its error
	}
	var service *bufio.Writer
	if r.Service != nil {
		service = bufio.NewWriterSize(r.Service, 16<<10)
	}
	var (
		line        []byte
		serviceLine uint64
		turn        int
	)
	for r.bytes.Load() < r.Size || !src.whole() {
		if err := r.Wait(ctx, r.written.Load()); err != nil {
			return err
		}
		l := logs[turn]
		turn = (turn + 1) % len(logs)
		for i := range burst {
			text, err := src.read()
			if err != nil {
				return err
			}
			if service != nil && i%serviceEvery == serviceEvery-1 {
				// A log entry is text; bytes that are none would not survive it.
				text = bytes.ToValidUTF8(text, []byte("?"))
				serviceLine++
				line = AppendLine(line[:0], 0, serviceLine, text)
				if err := r.write(service, 0, line); err != nil {
					return fmt.Errorf("the logging service takes no more lines: %w", err)
				}
				continue
			}
			if err := l.writeText(text); err != nil {
				return err
			}
		}
	}
	for _, l := range logs {
		if err := l.close(); err != nil {
			return err
		}
	}
	if service != nil {
		return service.Flush()
	}
	return nil
}

// write puts a line into the ledger and then into w, so that no line can be
// received that the ledger does not have.
func (r *Replayer) write(w *bufio.Writer, file uint32, line []byte) error {
	r.ledger.Add(file, Hash(line))
	if _, err := w.Write(line); err != nil {
		return err
	}
	r.written.Add(1)
	r.bytes.Add(int64(len(line)) + 1)
	return w.WriteByte('\n')
}

// rotatedLog is one of the files, through its rotations.
type rotatedLog struct {
	r    *Replayer
	path string
	next *uint32 // number of the next file, shared by all

	file   *os.File
	w      *bufio.Writer
	number uint32 // of file
	line   uint64
	size   int64
	turn   int // rotations so far
	late   int // lines that still go into the renamed file
	buf    []byte
}

func (l *rotatedLog) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	l.file, l.number, l.line, l.size = f, *l.next, 0, 0
	*l.next++
	if l.w == nil {
		// Flushed when full, that is in the middle of a line: a reader must cope.
		l.w = bufio.NewWriterSize(f, 8<<10)
	} else {
		l.w.Reset(f)
	}
	return nil
}

func (l *rotatedLog) close() error {
	if err := l.w.Flush(); err != nil {
		return err
	}
	return l.file.Close()
}

func (l *rotatedLog) writeText(text []byte) error {
	l.line++
	l.buf = AppendLine(l.buf[:0], l.number, l.line, text)
	if err := l.r.write(l.w, l.number, l.buf); err != nil {
		return err
	}
	l.size += int64(len(l.buf)) + 1
	switch {
	case l.late > 1:
		l.late--
	case l.late == 1:
		l.late = 0
		if err := l.close(); err != nil {
			return err
		}
		return l.open()
	case l.size >= l.r.Rotate:
		l.turn++
		if err := os.Rename(l.path, fmt.Sprintf("%s.%d", l.path, l.turn)); err != nil {
			return err
		}
		l.late = lateLines
		l.r.rotated.Add(1)
	}
	return nil
}
