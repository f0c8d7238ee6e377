package position

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/streamkit/streamkit/agent/internal/tail"
)

// Entry is what is kept about one generation of a file: the file between two
// truncations.
type Entry struct {
	Flow string // id of the flow that reads it
	UID  uint64 // of the generation, unique within the flow

	ID    tail.ID
	Birth int64 // Unix nanoseconds, 0 if unknown
	Path  string

	Prefix    tail.Print
	Committed int64      // every byte before it is delivered or accounted for
	Marker    tail.Print // of the bytes before Committed
	Size      int64      // last seen
	ModTime   int64      // last seen, Unix nanoseconds

	HeaderLeft int  // header lines still to skip at Committed
	Rotated    bool // the file lost its name to another
	Done       bool // rotated, read to its end and committed
	Lost       bool // Size-Committed bytes are gone and were counted

	Updated int64 // Unix seconds, for the time to live
}

const (
	opPut    = 1
	opDelete = 2

	flagRotated = 1
	flagDone    = 2
	flagLost    = 4
)

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendPrint(b []byte, p tail.Print) []byte {
	b = binary.AppendUvarint(b, uint64(p.Len))
	return binary.LittleEndian.AppendUint64(b, p.Sum)
}

func appendPut(b []byte, e *Entry) []byte {
	b = append(b, opPut)
	b = appendString(b, e.Flow)
	b = binary.LittleEndian.AppendUint64(b, e.UID)
	b = binary.AppendUvarint(b, e.ID.Dev)
	b = binary.AppendUvarint(b, e.ID.Ino)
	b = binary.AppendVarint(b, e.Birth)
	b = appendString(b, e.Path)
	b = appendPrint(b, e.Prefix)
	b = binary.AppendVarint(b, e.Committed)
	b = appendPrint(b, e.Marker)
	b = binary.AppendVarint(b, e.Size)
	b = binary.AppendVarint(b, e.ModTime)
	b = binary.AppendUvarint(b, uint64(e.HeaderLeft))
	var flags byte
	if e.Rotated {
		flags |= flagRotated
	}
	if e.Done {
		flags |= flagDone
	}
	if e.Lost {
		flags |= flagLost
	}
	b = append(b, flags)
	return binary.AppendVarint(b, e.Updated)
}

func appendDelete(b []byte, flow string, uid uint64) []byte {
	b = append(b, opDelete)
	b = appendString(b, flow)
	return binary.LittleEndian.AppendUint64(b, uid)
}

var errShort = errors.New("too short")

// decoder reads the fields of a payload; the first error stays.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n uint64) []byte {
	if d.err != nil || n > uint64(len(d.b)) {
		d.err = errShort
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) fixed() uint64 {
	if v := d.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.err = errShort
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.err = errShort
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.take(d.uvarint())) }

func (d *decoder) print(limit int) tail.Print {
	n := d.uvarint()
	if n > uint64(limit) {
		d.err = fmt.Errorf("a print of %d bytes", n)
		return tail.Print{}
	}
	return tail.Print{Len: int(n), Sum: d.fixed()}
}

// decode returns the operation of a payload and its entry; of a deletion, only
// flow and UID are set.
func decode(payload []byte) (op byte, e Entry, err error) {
	d := &decoder{b: payload}
	op = d.byte()
	e.Flow = d.string()
	e.UID = d.fixed()
	switch op {
	case opDelete:
	case opPut:
		e.ID = tail.ID{Dev: d.uvarint(), Ino: d.uvarint()}
		e.Birth = d.varint()
		e.Path = d.string()
		e.Prefix = d.print(tail.PrefixMax)
		e.Committed = d.varint()
		e.Marker = d.print(tail.MarkerMax)
		e.Size = d.varint()
		e.ModTime = d.varint()
		left := d.uvarint()
		if left > 1<<31 {
			d.err = fmt.Errorf("%d header lines", left)
		}
		e.HeaderLeft = int(left)
		flags := d.byte()
		e.Rotated, e.Done, e.Lost = flags&flagRotated != 0, flags&flagDone != 0, flags&flagLost != 0
		e.Updated = d.varint()
		if e.Committed < 0 || e.Size < 0 {
			d.err = errors.New("a negative offset")
		}
	default:
		return 0, Entry{}, fmt.Errorf("unknown operation %d", op)
	}
	if d.err == nil && len(d.b) > 0 {
		d.err = fmt.Errorf("%d bytes too many", len(d.b))
	}
	return op, e, d.err
}
