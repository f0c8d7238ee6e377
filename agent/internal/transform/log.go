package transform

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/streamkit/streamkit/agent/internal/javaregex"
	"github.com/streamkit/streamkit/agent/internal/logparse"
)

// A logFormat is a format that LOGTOJSON knows by name.
type logFormat struct {
	name   string
	names  []string
	parse  func([]byte, *logparse.Fields) bool
	dashed bool // a dash stands for nothing
}

var logFormats = []logFormat{
	{"COMMONAPACHELOG", logparse.CommonNames, logparse.Common, true},
	{"COMBINEDAPACHELOG", logparse.CombinedNames, logparse.Combined, true},
	{"APACHEERRORLOG", logparse.ErrorNames, logparse.Error, true},
	{"SYSLOG", logparse.SyslogNames, logparse.Syslog, false},
	{"RFC3339SYSLOG", logparse.SyslogNames, logparse.RFC3339Syslog, false},
}

// LogToJSON makes an object of the parts of a line. A line that is not of the
// format is skipped.
//
// The official agent's formats never match a line that ends in a carriage return;
// here, one is left away if the line does not match with it.
type LogToJSON struct {
	keys   keys
	parse  func([]byte, *logparse.Fields) bool // nil: re
	re     *regexp.Regexp
	dashed bool
}

// NewLogToJSON returns the option for a format, or for lines that a regular
// expression of Java's matches as a whole. fields are the names of its groups, or
// take the place of the format's own; nil with a format alone.
func NewLogToJSON(format, pattern string, fields []string, pretty bool) (*LogToJSON, error) {
	o := &LogToJSON{}
	var known *logFormat
	var all []string
	for i, f := range logFormats {
		all = append(all, f.name)
		if f.name == format {
			known = &logFormats[i]
			o.dashed = f.dashed
		}
	}
	switch {
	case format == "" && pattern == "":
		return nil, fmt.Errorf("logFormat: missing; it is one of %s", strings.Join(all, ", "))
	case format != "" && known == nil:
		return nil, fmt.Errorf("logFormat: %q is none of %s", format, strings.Join(all, ", "))
	case pattern != "":
		re, err := javaregex.Whole(pattern)
		if err != nil {
			return nil, fmt.Errorf("matchPattern: %w", err)
		}
		if fields == nil {
			return nil, errors.New("customFieldNames: missing; a matchPattern needs a name for each of its groups")
		}
		if n := re.NumSubexp(); n != len(fields) {
			return nil, fmt.Errorf("customFieldNames: %d names for %d groups of matchPattern; "+
				"give each group a name, and write (?:…) for groups that are no field", len(fields), n)
		}
		o.re = re
	case fields == nil:
		fields = known.names
		o.parse = known.parse
	case len(fields) != len(known.names):
		return nil, fmt.Errorf("customFieldNames: %d names for the %d fields of %s (%s)", len(fields), len(known.names), format,
			strings.Join(known.names, ", "))
	default:
		o.parse = known.parse
	}
	o.keys = newKeys(fields, pretty)
	return o, nil
}

// Name implements [Option].
func (*LogToJSON) Name() string { return "LOGTOJSON" }

// Append implements [Option].
func (o *LogToJSON) Append(dst, rec []byte, from *Record) ([]byte, Result) {
	rec = chomp(rec)
	values := o.split(rec, from)
	if values == nil && bytes.HasSuffix(rec, []byte("\r")) {
		values = o.split(rec[:len(rec)-1], from)
	}
	if values == nil {
		return dst, Skipped
	}
	if o.dashed {
		for i, v := range values {
			if len(v) == 1 && v[0] == '-' {
				values[i] = nil
			}
		}
	}
	return o.keys.append(dst, values), Converted
}

// split returns the fields of a line; nil if it is not of the format.
func (o *LogToJSON) split(line []byte, from *Record) [][]byte {
	if o.parse != nil {
		if !o.parse(line, &from.fields) {
			return nil
		}
		return from.fields[:]
	}
	groups := o.re.FindSubmatchIndex(line)
	if groups == nil {
		return nil
	}
	values := from.values[:0]
	for i := 2; i < len(groups); i += 2 {
		var v []byte
		if groups[i] >= 0 {
			v = line[groups[i]:groups[i+1]]
		}
		values = append(values, v)
	}
	from.values = nonNilList(values)
	return from.values
}

// nonNilList makes sure that no group at all is not taken for no match.
func nonNilList(v [][]byte) [][]byte {
	if v == nil {
		return [][]byte{}
	}
	return v
}
