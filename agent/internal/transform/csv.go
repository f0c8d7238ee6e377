package transform

import (
	"bytes"
	"regexp"
	"regexp/syntax"

	"github.com/streamkit/streamkit/agent/internal/javaregex"
)

// CSVToJSON makes an object of the columns of a line. There is no quoting and no
// trimming; empty columns at the end are as good as missing.
type CSVToJSON struct {
	keys keys
	re   *regexp.Regexp // nil: sep
	sep  []byte
}

// NewCSVToJSON returns the option for columns with the given names between
// delimiters, which are a regular expression of Java's.
func NewCSVToJSON(fields []string, delimiter string, pretty bool) (*CSVToJSON, error) {
	o := &CSVToJSON{keys: newKeys(fields, pretty)}
	re, err := javaregex.Find(delimiter)
	if err != nil {
		return nil, err
	}
	if s := literal(re); s != "" {
		o.sep = []byte(s)
		return o, nil
	}
	o.re = re
	return o, nil
}

// literal returns the text that alone matches re; empty if there is none.
func literal(re *regexp.Regexp) string {
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil || tree.Op != syntax.OpLiteral || tree.Flags&syntax.FoldCase != 0 {
		return ""
	}
	return string(tree.Rune)
}

// Name implements [Option].
func (*CSVToJSON) Name() string { return "CSVTOJSON" }

// Append implements [Option].
func (o *CSVToJSON) Append(dst, rec []byte, from *Record) ([]byte, Result) {
	rec = chomp(rec)
	from.values = o.split(from.values[:0], rec)
	return o.keys.append(dst, from.values), Converted
}

// split appends the columns, as Java's String.split finds them.
func (o *CSVToJSON) split(columns [][]byte, rec []byte) [][]byte {
	rest := nonNil(rec)
	if o.re == nil {
		for {
			i := bytes.Index(rest, o.sep)
			if i < 0 {
				break
			}
			columns = append(columns, rest[:i])
			rest = rest[i+len(o.sep):]
		}
	} else {
		start := 0
		for _, loc := range o.re.FindAllIndex(rec, -1) {
			// A delimiter that matches nothing splits between characters only.
			if loc[1] == 0 || loc[0] == loc[1] && loc[0] == len(rec) {
				continue
			}
			columns = append(columns, rec[start:loc[0]])
			start = loc[1]
			rest = rec[start:]
		}
	}
	if len(columns) == 0 {
		return append(columns, rest) // even an empty line has one
	}
	columns = append(columns, rest)
	for n := len(columns); n > 0 && len(columns[n-1]) == 0; n-- {
		columns = columns[:n-1]
	}
	return columns
}
