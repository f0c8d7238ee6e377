package demo

import (
	"bytes"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Unknown is the file number of a delivery that is no line of the demo.
const Unknown = ^uint32(0)

// AppendLine appends a line with its identity, without a line end.
func AppendLine(dst []byte, file uint32, line uint64, text []byte) []byte {
	dst = append(dst, 'f')
	dst = strconv.AppendUint(dst, uint64(file), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, line, 10)
	dst = append(dst, ' ')
	return append(dst, text...)
}

// Hash is the content hash of a line.
func Hash(line []byte) uint64 { return xxhash.Sum64(line) }

// ParseLine reads the identity of a line, which may end with one line end. ok
// is false if it has none.
func ParseLine(data []byte) (d Delivery, ok bool) {
	data = bytes.TrimSuffix(data, []byte("\n"))
	d = Delivery{File: Unknown, Hash: Hash(data)}
	id, rest, ok := bytes.Cut(data, []byte(" "))
	if !ok || len(id) < 2 || id[0] != 'f' {
		return d, false
	}
	number, _, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return d, false
	}
	file, ok1 := parseUint(id[1:])
	line, ok2 := parseUint(number)
	if !ok1 || !ok2 || file >= uint64(Unknown) || line == 0 {
		return d, false
	}
	d.File, d.Line = uint32(file), line
	return d, true
}

// parseUint is strconv.ParseUint for short decimal bytes, without a string.
func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = 10*v + uint64(c-'0')
	}
	return v, true
}
