package transform

import (
	"bytes"
	"regexp"
	"time"
)

func chomp(rec []byte) []byte { return bytes.TrimSuffix(rec, []byte("\n")) }

// SingleLine joins the lines of a record.
type SingleLine struct {
	NoTrim        bool // keep blanks at both ends of each line
	EscapeNewLine bool // put \\n between lines: two backslashes, as the official agent does
}

// Append implements [Option].
func (o SingleLine) Append(dst, rec []byte) ([]byte, Result) {
	rec = bytes.TrimRight(rec, "\n") // empty lines at the end do not count
	for first := true; ; first = false {
		line, rest, more := bytes.Cut(rec, []byte("\n"))
		if !first && o.EscapeNewLine {
			dst = append(dst, `\\n`...)
		}
		if !o.NoTrim {
			line = bytes.TrimFunc(line, func(r rune) bool { return r <= ' ' })
		}
		dst = append(dst, line...)
		if !more {
			return append(dst, '\n'), Converted
		}
		rec = rest
	}
}

// CSVToJSON makes an object of the columns of a line. There is no quoting.
type CSVToJSON struct {
	Fields    []string
	Delimiter string // a regular expression
	Pretty    bool

	names [][]byte
	re    *regexp.Regexp // nil: sep
	sep   []byte
}

// Init compiles the option.
func (o *CSVToJSON) Init() (err error) {
	for _, f := range o.Fields {
		o.names = append(o.names, []byte(f))
	}
	if regexp.QuoteMeta(o.Delimiter) == o.Delimiter && o.Delimiter != "" {
		o.sep = []byte(o.Delimiter)
		return nil
	}
	o.re, err = regexp.Compile(o.Delimiter)
	return err
}

// Append implements [Option].
func (o *CSVToJSON) Append(dst, rec []byte) ([]byte, Result) {
	rec = chomp(rec)
	more := true // columns to come; an empty line has one, which is empty
	if _, _, found := o.next(rec); found {
		// Empty columns at the end are as good as missing.
		rec = o.trimEmpty(rec)
		more = len(rec) > 0
	}
	obj := object{dst: dst, pretty: o.Pretty}
	rest := rec
	for _, name := range o.names {
		if !more {
			obj.field(name, nil)
			continue
		}
		start, end, found := o.next(rest)
		if !found {
			obj.field(name, nonNil(rest))
			more = false
			continue
		}
		obj.field(name, nonNil(rest[:start]))
		rest = rest[end:]
	}
	return obj.end(), Converted
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// next returns where the next delimiter is. One that matches nothing splits behind
// each character.
func (o *CSVToJSON) next(b []byte) (start, end int, found bool) {
	if o.re == nil {
		i := bytes.Index(b, o.sep)
		return i, i + len(o.sep), i >= 0
	}
	for _, loc := range o.re.FindAllIndex(b, 2) {
		if loc[1] > 0 && loc[0] < len(b) {
			return loc[0], loc[1], true
		}
	}
	return 0, 0, false
}

// trimEmpty cuts the delimiters at the end.
func (o *CSVToJSON) trimEmpty(b []byte) []byte {
	if o.re == nil {
		for bytes.HasSuffix(b, o.sep) {
			b = b[:len(b)-len(o.sep)]
		}
		return b
	}
	// The end of the last column that is not empty.
	last, pos := 0, 0
	for {
		start, end, found := o.next(b[pos:])
		if !found {
			if pos < len(b) {
				last = len(b)
			}
			return b[:last]
		}
		if start > 0 {
			last = pos + start
		}
		pos += end
	}
}

// AddMetadata makes an object of a line and what the configuration adds to it.
type AddMetadata struct {
	Metadata  []byte // JSON text
	Timestamp bool   // add the time of reading
}

// Append implements [Option].
func (o AddMetadata) Append(dst, rec []byte) ([]byte, Result) {
	obj := object{dst: dst}
	if o.Timestamp {
		obj.key([]byte("ts"))
		obj.dst = append(obj.dst, '"')
		obj.dst = time.Now().UTC().AppendFormat(obj.dst, "2006-01-02T15:04:05.000Z")
		obj.dst = append(obj.dst, '"')
	}
	obj.key([]byte("metadata"))
	obj.dst = append(obj.dst, o.Metadata...)
	obj.field([]byte("data"), nonNil(chomp(rec)))
	return obj.end(), Converted
}
