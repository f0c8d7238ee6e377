package producer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
)

// maxProperties bounds what is read as a properties file.
const maxProperties = 1 << 20

// property is an entry of a properties file.
type property struct {
	line       int // where it begins, from 1
	key, value string
}

// readProperties reads a file in the form of Java's properties: the bytes are ISO
// 8859-1, a line that ends in a backslash goes on in the next, lines that begin
// with # or ! are comments, and a key ends at the first =, : or white space that
// has no backslash before it.
//
// Source: Java SE API, java.util.Properties, load(Reader).
func readProperties(r io.Reader) ([]property, error) {
	all, err := io.ReadAll(io.LimitReader(r, maxProperties+1))
	if err != nil {
		return nil, err
	}
	if len(all) > maxProperties {
		return nil, fmt.Errorf("more than %d bytes", maxProperties)
	}
	var out []property
	var errs []error
	lines := propertyLines(all)
	for i := 0; i < len(lines); i++ {
		line := trimBlank(lines[i])
		if len(line) == 0 || line[0] == '#' || line[0] == '!' {
			continue
		}
		first := i + 1
		logical := bytes.Clone(line)
		for continues(logical) {
			logical = logical[:len(logical)-1]
			if i++; i == len(lines) {
				break
			}
			logical = append(logical, trimBlank(lines[i])...)
		}
		p, err := parseProperty(logical)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", first, err))
			continue
		}
		p.line = first
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

// propertyLines divides at \n, \r and \r\n.
func propertyLines(all []byte) [][]byte {
	all = bytes.ReplaceAll(all, []byte("\r\n"), []byte("\n"))
	all = bytes.ReplaceAll(all, []byte("\r"), []byte("\n"))
	return bytes.Split(all, []byte("\n"))
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\f' }

func trimBlank(line []byte) []byte {
	for len(line) > 0 && isBlank(line[0]) {
		line = line[1:]
	}
	return line
}

// continues reports whether a line ends in an odd number of backslashes.
func continues(line []byte) bool {
	n := 0
	for n < len(line) && line[len(line)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

func parseProperty(line []byte) (p property, err error) {
	end := 0
	for end < len(line) && !isBlank(line[end]) && line[end] != '=' && line[end] != ':' {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(line))
	value := trimBlank(line[end:])
	if len(value) > 0 && (value[0] == '=' || value[0] == ':') {
		value = trimBlank(value[1:])
	}
	if p.key, err = unescape(line[:end]); err != nil {
		return p, err
	}
	p.value, err = unescape(value)
	return p, err
}

// unescape returns the text of a key or a value.
func unescape(s []byte) (string, error) {
	var units []uint16 // Java's characters: a pair of escapes may be one of ours
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' {
			units = append(units, uint16(c))
			continue
		}
		if i++; i == len(s) {
			break // a backslash at the very end stands for nothing
		}
		switch s[i] {
		case 't':
			units = append(units, '\t')
		case 'n':
			units = append(units, '\n')
		case 'r':
			units = append(units, '\r')
		case 'f':
			units = append(units, '\f')
		case 'u':
			n, err := strconv.ParseUint(string(s[i+1:min(i+5, len(s))]), 16, 16)
			if err != nil || i+5 > len(s) {
				return "", errors.New(`\u is not followed by four hexadecimal digits`)
			}
			units = append(units, uint16(n))
			i += 4
		default:
			units = append(units, uint16(s[i]))
		}
	}
	return strings.ToValidUTF8(string(utf16.Decode(units)), "\uFFFD"), nil
}
