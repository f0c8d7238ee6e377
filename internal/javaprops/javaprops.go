// Package javaprops reads Java's .properties files, in which the Kinesis
// libraries are configured.
//
// Source: the documentation of java.util.Properties.load: lines, comments,
// continuation, separators, escapes, ISO 8859-1.
package javaprops

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Property is one line of a file.
type Property struct {
	Key, Value string
	Line       int // where it begins, from 1
}

// maxSize bounds a file: more than any configuration has.
const maxSize = 1 << 20

// Read returns the properties of a file in their order. A key that comes twice
// is there twice; in Java the last one counts. The error joins those of all
// lines that cannot be read.
func Read(r io.Reader) ([]Property, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("more than %d bytes; is it a properties file?", maxSize)
	}
	return Parse(data)
}

// Parse is Read of data in memory.
func Parse(data []byte) ([]Property, error) {
	var props []Property
	var errs []error
	for next := 1; len(data) > 0; {
		line := next
		raw, rest, n := logicalLine(data)
		data, next = rest, next+n
		if len(raw) == 0 {
			continue
		}
		key, value := split(raw)
		p := Property{Line: line}
		var err error
		if p.Key, err = unescape(key); err == nil {
			p.Value, err = unescape(value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", line, err))
			continue
		}
		props = append(props, p)
	}
	return props, errors.Join(errs...)
}

var errEscape = errors.New(`\u is not followed by four hexadecimal digits`)

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\f' }

// cutLine returns the first line of data without its end, and the rest.
func cutLine(data []byte) (line, rest []byte) {
	i := bytes.IndexAny(data, "\r\n")
	if i < 0 {
		return data, nil
	}
	line, rest = data[:i], data[i+1:]
	if data[i] == '\r' && len(rest) > 0 && rest[0] == '\n' {
		rest = rest[1:]
	}
	return line, rest
}

// logicalLine returns the first logical line of data, which is empty for a
// comment or a blank line, the rest, and how many lines it took.
func logicalLine(data []byte) (logical, rest []byte, n int) {
	line, rest := cutLine(data)
	line = bytes.TrimLeft(line, " \t\f")
	if len(line) == 0 || line[0] == '#' || line[0] == '!' {
		return nil, rest, 1
	}
	for n = 1; continued(line); n++ {
		logical = append(logical, line[:len(line)-1]...)
		if len(rest) == 0 {
			return logical, nil, n
		}
		line, rest = cutLine(rest)
		line = bytes.TrimLeft(line, " \t\f")
	}
	return append(logical, line...), rest, n
}

// continued reports whether a line ends with an odd number of backslashes.
func continued(line []byte) bool {
	n := 0
	for n < len(line) && line[len(line)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// split cuts a logical line at the end of its key, and takes the separator
// off.
func split(line []byte) (key, value []byte) {
	i := 0
	for i < len(line) && line[i] != '=' && line[i] != ':' && !blank(line[i]) {
		if line[i] == '\\' {
			i++
		}
		i++
	}
	i = min(i, len(line))
	key, value = line[:i], bytes.TrimLeft(line[i:], " \t\f")
	if len(value) > 0 && (value[0] == '=' || value[0] == ':') {
		value = bytes.TrimLeft(value[1:], " \t\f")
	}
	return key, value
}

// unescape resolves escapes. The bytes are ISO 8859-1, each one a character.
func unescape(raw []byte) (string, error) {
	var units []uint16 // Java's characters: \u may come in surrogate pairs
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' || i+1 == len(raw) {
			if raw[i] != '\\' {
				units = append(units, uint16(raw[i]))
			}
			continue
		}
		i++
		if raw[i] == 'u' {
			if i+5 > len(raw) {
				return "", errEscape
			}
			v, err := strconv.ParseUint(string(raw[i+1:i+5]), 16, 16)
			if err != nil {
				return "", errEscape
			}
			units = append(units, uint16(v))
			i += 4
			continue
		}
		c := raw[i]
		if j := strings.IndexByte("tnrf", c); j >= 0 {
			c = "\t\n\r\f"[j]
		}
		units = append(units, uint16(c))
	}
	return string(utf16.Decode(units)), nil
}
