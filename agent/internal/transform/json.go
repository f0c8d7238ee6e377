package transform

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"

	"github.com/streamkit/streamkit/agent/internal/jsontext"
)

// A member is one that is added to an object; its value is JSON text.
type member struct {
	name  string
	value []byte
}

// merge appends the object rec with members, which take the place of those of the
// same name or follow at the end.
func merge(dst, rec []byte, members []member, pretty bool, from *Record) ([]byte, Result) {
	e := jsontext.Encoder{Dst: dst, Pretty: pretty}
	written := 0 // a bit for each of members
	err := jsontext.Object(rec, func(key, value []byte) bool {
		for i, m := range members {
			if jsontext.Key(key, m.name) {
				if written&(1<<i) == 0 {
					written |= 1 << i
					e.Key([]byte(m.name))
					e.Dst, from.text = jsontext.AppendValue(e.Dst, m.value, pretty, 1, from.text)
				}
				return true
			}
		}
		from.text = jsontext.AppendUnescaped(from.text[:0], key)
		e.Key(from.text)
		e.Dst, from.text = jsontext.AppendValue(e.Dst, value, pretty, 1, from.text)
		return true
	})
	if err != nil {
		return dst, Failed
	}
	for i, m := range members {
		if written&(1<<i) == 0 {
			e.Key([]byte(m.name))
			e.Dst, from.text = jsontext.AppendValue(e.Dst, m.value, pretty, 1, from.text)
		}
	}
	return e.End(), Converted
}

// AddFileInfo adds where a record comes from: a member "file" with path, offset,
// inode and host, and for a container's line a member "kubernetes". A record that
// is no JSON object becomes the member "data" of a new one.
type AddFileInfo struct {
	Host   string
	Pretty bool
}

// Name implements [Option].
func (*AddFileInfo) Name() string { return "ADDFILEINFO" }

// Append implements [Option].
func (o *AddFileInfo) Append(dst, rec []byte, from *Record) ([]byte, Result) {
	// Built behind dst, where memory is at hand, and then moved there.
	start := len(dst)
	dst = o.appendFile(dst, from)
	middle := len(dst)
	dst = appendContainer(dst, from)
	end := len(dst)
	members := [2]member{{"file", dst[start:middle]}, {"kubernetes", dst[middle:end]}}
	n := 1
	if end > middle {
		n = 2
	}
	out, res := merge(dst, rec, members[:n], o.Pretty, from)
	if res == Failed {
		e := jsontext.Encoder{Dst: dst, Pretty: o.Pretty}
		for _, m := range members[:n] {
			e.Key([]byte(m.name))
			e.Dst, from.text = jsontext.AppendValue(e.Dst, m.value, o.Pretty, 1, from.text)
		}
		e.Text([]byte("data"), nonNil(chomp(rec)))
		out = e.End()
	}
	return append(out[:start], out[end:]...), Converted
}

func (o *AddFileInfo) appendFile(dst []byte, from *Record) []byte {
	dst = append(dst, `{"path":`...)
	dst = appendText(dst, from.Path, from)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, from.Offset, 10)
	dst = append(dst, `,"inode":`...)
	dst = strconv.AppendUint(dst, from.Inode, 10)
	dst = append(dst, `,"host":`...)
	dst = appendText(dst, o.Host, from)
	return append(dst, '}')
}

// appendText appends s as a JSON string.
func appendText(dst []byte, s string, from *Record) []byte {
	from.text = append(from.text[:0], s...)
	return jsontext.AppendString(dst, from.text)
}

// appendContainer appends what is known of a container's line; nothing if it is
// none.
func appendContainer(dst []byte, from *Record) []byte {
	if from.Container == nil {
		return dst
	}
	first := byte('{')
	add := func(name, value string) {
		if value == "" {
			return
		}
		dst = append(dst, first, '"')
		dst = append(dst, name...)
		dst = append(dst, `":`...)
		dst = appendText(dst, value, from)
		first = ','
	}
	c := from.Container
	add("namespace", c.Namespace)
	add("pod", c.Pod)
	add("podUid", c.PodUID)
	add("container", c.Container)
	add("containerId", c.ID)
	add("stream", from.Stream)
	if len(from.Time) > 0 {
		dst = append(dst, first)
		dst = append(dst, `"time":`...)
		dst = jsontext.AppendString(dst, from.Time)
		first = ','
	}
	if first == '{' {
		return dst
	}
	return append(dst, '}')
}

// JSONFields keeps, drops and renames members of JSON objects.
type JSONFields struct {
	Keep   []string          // nil: all
	Drop   []string          // of those that are kept
	Rename map[string]string // old name to new name; Keep and Drop mean the old one
	Pretty bool
}

// Name implements [Option].
func (*JSONFields) Name() string { return "JSONFIELDS" }

// Append implements [Option].
func (o *JSONFields) Append(dst, rec []byte, from *Record) ([]byte, Result) {
	e := jsontext.Encoder{Dst: dst, Pretty: o.Pretty}
	err := jsontext.Object(rec, func(key, value []byte) bool {
		from.text = jsontext.AppendUnescaped(from.text[:0], key)
		if o.Keep != nil && !among(o.Keep, from.text) || among(o.Drop, from.text) {
			return true
		}
		if name, ok := o.Rename[string(from.text)]; ok {
			from.text = append(from.text[:0], name...)
		}
		e.Key(from.text)
		e.Dst, from.text = jsontext.AppendValue(e.Dst, value, o.Pretty, 1, from.text)
		return true
	})
	if err != nil {
		return dst, Failed
	}
	return e.End(), Converted
}

func among(list []string, name []byte) bool { return slices.Contains(list, string(name)) }

// Grep leaves records out by their text.
type Grep struct {
	Include []*regexp.Regexp // one of them must be found in the record; none: all are let through
	Exclude []*regexp.Regexp // none of them may be
}

// Name implements [Option].
func (*Grep) Name() string { return "GREP" }

// Append implements [Option].
func (o *Grep) Append(dst, rec []byte, _ *Record) ([]byte, Result) {
	text := bytes.TrimRight(rec, "\r\n")
	if len(o.Include) > 0 && !found(o.Include, text) || found(o.Exclude, text) {
		return dst, Filtered
	}
	return append(dst, rec...), Converted
}

func found(list []*regexp.Regexp, text []byte) bool {
	for _, re := range list {
		if re.Match(text) {
			return true
		}
	}
	return false
}
