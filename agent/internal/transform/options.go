package transform

import (
	"bytes"
	"time"
	"unicode/utf8"

	"github.com/streamkit/streamkit/agent/internal/jsontext"
)

// SingleLine joins the lines of a record with nothing between them.
type SingleLine struct {
	NoTrim        bool // keep blanks at both ends of each line
	EscapeNewLine bool // put \\n between lines: two backslashes, as the official agent does
}

// Name implements [Option].
func (SingleLine) Name() string { return "SINGLELINE" }

// Append implements [Option].
func (o SingleLine) Append(dst, rec []byte, _ *Record) ([]byte, Result) {
	rec = bytes.TrimRight(rec, "\n") // empty lines at the end do not count
	start := len(dst)
	for {
		end := bytes.IndexByte(rec, '\n')
		line := rec
		if end >= 0 {
			line = rec[:end]
		}
		if !o.NoTrim {
			line = trim(line)
		}
		dst = append(dst, line...)
		if end < 0 {
			break
		}
		if rec = rec[end+1:]; o.EscapeNewLine {
			dst = append(dst, `\\n`...)
		}
	}
	if !utf8.Valid(dst[start:]) {
		dst = append(dst[:start], replaceEach(dst[start:])...)
	}
	return append(dst, '\n'), Converted
}

// trim cuts what is not above a blank from both ends.
func trim(line []byte) []byte {
	for len(line) > 0 && line[0] <= ' ' {
		line = line[1:]
	}
	for len(line) > 0 && line[len(line)-1] <= ' ' {
		line = line[:len(line)-1]
	}
	return line
}

// replaceEach returns b with U+FFFD for each byte that is no UTF-8.
func replaceEach(b []byte) []byte { return []byte(string([]rune(string(b)))) }

// AddMetadata makes an object of a line and what the configuration adds to it.
type AddMetadata struct {
	Metadata  []byte // JSON text
	Timestamp bool   // add the time of reading
	Pretty    bool
}

// Name implements [Option].
func (AddMetadata) Name() string { return "ADDMETADATA" }

// Append implements [Option].
func (o AddMetadata) Append(dst, rec []byte, from *Record) ([]byte, Result) {
	e := jsontext.Encoder{Dst: dst, Pretty: o.Pretty}
	if o.Timestamp {
		e.Key([]byte("ts"))
		e.Dst = append(e.Dst, '"')
		e.Dst = time.Now().UTC().AppendFormat(e.Dst, "2006-01-02T15:04:05.000Z")
		e.Dst = append(e.Dst, '"')
	}
	e.Key([]byte("metadata"))
	e.Dst, from.text = jsontext.AppendValue(e.Dst, o.Metadata, o.Pretty, 1, from.text)
	e.Text([]byte("data"), nonNil(chomp(rec)))
	return e.End(), Converted
}

// AddBrackets puts a record with its newline into braces. No newline follows them,
// as in the official agent.
type AddBrackets struct{}

// Name implements [Option].
func (AddBrackets) Name() string { return "ADDBRACKETS" }

// Append implements [Option].
func (AddBrackets) Append(dst, rec []byte, _ *Record) ([]byte, Result) {
	dst = append(dst, '{')
	dst = append(dst, rec...)
	return append(dst, '}'), Converted
}
