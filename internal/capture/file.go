package capture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Version is that of the format.
const Version = 1

const format = "streamd-capture"

// MaxLine is the longest line that is read: the largest request in base64, and
// the numbers of its records.
const MaxLine = 32 << 20

// ErrFormat is wrapped by the errors of a file that is no capture, or one of a
// later version.
var ErrFormat = errors.New("capture: not a capture of this version")

type header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Started time.Time `json:"started"`
}

// AppendHeader adds the line with which a run begins.
func AppendHeader(dst []byte, started time.Time) []byte {
	b, _ := json.Marshal(header{format, Version, started.UTC()}) // it cannot fail
	return append(append(dst, b...), '\n')
}

// AppendLine adds the line of a request.
func AppendLine(dst []byte, l Line) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l.wire()); err != nil {
		return dst, err
	}
	return buf.Bytes(), nil
}

// A DamagedError reports a line that cannot be read, as the last one of a run
// that was killed. Reading can go on behind it.
type DamagedError struct {
	Line int // from 1
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("capture: line %d cannot be read: %v", e.Line, e.Err)
}

// Unwrap returns why.
func (e *DamagedError) Unwrap() error { return e.Err }

// A Reader reads a capture. Runs that follow one another are joined: the second
// begins when the first has ended.
type Reader struct {
	r    *bufio.Reader
	n    int           // lines read
	base time.Duration // begin of the run
	last time.Duration // latest request so far
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// LineNumber returns the number of the line that was read last, from 1.
func (r *Reader) LineNumber() int { return r.n }

// Next returns the next request, and [io.EOF] behind the last one. A
// [DamagedError] concerns one line; any other error is final.
func (r *Reader) Next() (Line, error) {
	for {
		b, err := r.readLine()
		if err != nil {
			return Line{}, err
		}
		if r.n == 1 {
			if err := checkHeader(b); err != nil {
				return Line{}, err
			}
			continue
		}
		if isHeader(b) {
			if err := checkHeader(b); err != nil {
				return Line{}, err
			}
			r.base = r.last
			continue
		}
		var w wireLine
		if err := json.Unmarshal(b, &w); err != nil {
			return Line{}, &DamagedError{r.n, err}
		}
		if w.Target == "" || w.Status == 0 || w.At < 0 || w.At > maxAt {
			return Line{}, &DamagedError{r.n, errors.New("target, status or time is missing or wrong")}
		}
		l := w.line()
		l.At += r.base
		r.last = max(r.last, l.At)
		return l, nil
	}
}

// maxAt is a hundred years in microseconds: times do not overflow for a while.
const maxAt = 100 * 366 * 24 * 3600 * 1e6

func isHeader(b []byte) bool { return bytes.HasPrefix(b, []byte(`{"format":`)) }

func checkHeader(b []byte) error {
	var h header
	if err := json.Unmarshal(b, &h); err != nil || h.Format != format {
		return fmt.Errorf("%w: the first line is not its header", ErrFormat)
	}
	if h.Version != Version {
		return fmt.Errorf("%w: it has version %d, and this program reads %d; use one of that version", ErrFormat, h.Version, Version)
	}
	return nil
}

// readLine returns the next line that is not empty, without its end.
func (r *Reader) readLine() ([]byte, error) {
	var line []byte
	for {
		part, err := r.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > MaxLine:
			return nil, fmt.Errorf("%w: line %d is longer than %d bytes", ErrFormat, r.n+1, MaxLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || len(line) == 0):
			return nil, err
		}
		r.n++
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
		line = nil
		if err != nil {
			return nil, err
		}
	}
}
