// Package transform changes records on their way from file to stream: the
// dataProcessingOptions of the agent's configuration.
//
// The outputs of the official agent's options are its outputs, byte for byte. Where
// they are odd, the comment of the option says so.
//
// Source: awslabs/amazon-kinesis-agent, processing/processors.
package transform

import (
	"bytes"

	"github.com/streamkit/streamkit/agent/internal/container"
	"github.com/streamkit/streamkit/agent/internal/jsontext"
	"github.com/streamkit/streamkit/agent/internal/logparse"
)

// Result says what became of a record.
type Result int

const (
	// Converted says that the output is the record.
	Converted Result = iota
	// Skipped says that the record is not of the format, and is left out unless the
	// configuration wants otherwise.
	Skipped
	// Failed says that the record is not what the option can convert.
	Failed
	// Filtered says that the record is to be left out as the configuration wants it.
	Filtered
)

// Record is where a record comes from, and memory for the use of the options that
// convert it. One goroutine may use it at a time.
type Record struct {
	Path   string
	Offset int64 // in the file; with an encoding or a container, of its first line
	Inode  uint64

	// Of a container's line; empty of any other.
	Container *container.Source
	Stream    string // stdout or stderr
	Time      []byte // as the runtime wrote it

	text   []byte
	values [][]byte
	fields logparse.Fields
}

// Option converts one record. It appends the output to dst. rec and the output end
// in a newline, unless the option before wrote none.
type Option interface {
	// Name is the option's name in the configuration.
	Name() string
	Append(dst, rec []byte, from *Record) ([]byte, Result)
}

// Chain is a list of options, each working on the output of the one before.
type Chain struct{ Options []Option }

// chomp cuts the newline at the end.
func chomp(rec []byte) []byte { return bytes.TrimSuffix(rec, []byte("\n")) }

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// keys are the names of an object's members, written once for all records. A name
// that comes twice keeps its first place and takes the last value, as in a map.
type keys struct {
	text  [][]byte // what stands before a value, from the brace or the comma on
	value []int    // of which field it is the value
	end   []byte
}

func newKeys(names []string, pretty bool) keys {
	var k keys
	place := make(map[string]int)
	e := jsontext.Encoder{Pretty: pretty}
	for i, name := range names {
		if at, ok := place[name]; ok {
			k.value[at] = i
			continue
		}
		place[name] = len(k.value)
		k.value = append(k.value, i)
		e.Key([]byte(name))
		k.text = append(k.text, e.Dst)
		e.Dst = nil
	}
	k.end = e.End()
	return k
}

// append writes an object with the given values; nil, or one too few, is null.
func (k *keys) append(dst []byte, values [][]byte) []byte {
	for n, text := range k.text {
		dst = append(dst, text...)
		if i := k.value[n]; i < len(values) && values[i] != nil {
			dst = jsontext.AppendString(dst, values[i])
		} else {
			dst = append(dst, "null"...)
		}
	}
	return append(dst, k.end...)
}
