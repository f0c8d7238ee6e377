package state

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
)

// Skip passes over sequence indexes and ids. It comes behind frames that are
// lost for good: numbers that they have given away must not be given to others.
type Skip struct {
	Seq uint64 // how many sequence indexes
	IDs uint64 // how many ids of streams and transitions
}

func (Skip) command() {}

func (st *State) skip(c Skip) {
	st.seq += c.Seq
	st.ids += c.IDs
}

// Adopt takes down that a shard has had records up to sequence index last, which
// are stored elsewhere. It returns false if there is no such shard.
func (st *State) Adopt(stream uint64, shard int, last uint64) bool {
	l := st.Log(stream, shard)
	if l == nil {
		return false
	}
	l.last = max(l.last, last)
	st.seq = max(st.seq, last)
	return true
}

// Arrival returns the latest arrival of a frame. It is the zero time before the
// first.
func (st *State) Arrival() time.Time {
	if st.arrival == 0 {
		return time.Time{}
	}
	return time.UnixMilli(st.arrival)
}

// Entry is an entry of a frame's body, for who looks at it from outside. The
// members of one kind are set.
type Entry struct {
	Records *RecordsEntry `json:",omitempty"`
	Command *CommandEntry `json:",omitempty"`
	Table   *TableEntry   `json:",omitempty"`
}

// RecordsEntry is records for a shard, or for where their hash keys belong if
// that is closed.
type RecordsEntry struct {
	Stream uint64
	Shard  int
	Count  int
	Bytes  int
	Each   []RecordView `json:"-"`
}

// CommandEntry is a change of the catalogue.
type CommandEntry struct {
	Name string
	Do   string // JSON
}

// TableEntry is a request to a table.
type TableEntry struct {
	Scope     arn.Scope
	Operation string
	Body      string
}

// Entries reads the body of a frame. The entries alias it.
func Entries(body []byte) (arrival time.Time, entries []Entry, err error) {
	if len(body) < arrivalSize {
		return time.Time{}, nil, errBadFrame
	}
	arrival = time.UnixMilli(int64(binary.LittleEndian.Uint64(body)))
	for rest := body[arrivalSize:]; len(rest) > 0; {
		kind := rest[0]
		var payload []byte
		if payload, rest = cutBytes(rest[1:]); rest == nil {
			return arrival, entries, errBadFrame
		}
		e, ok := parseEntry(kind, payload)
		if !ok {
			return arrival, entries, errBadFrame
		}
		entries = append(entries, e)
	}
	return arrival, entries, nil
}

func parseEntry(kind byte, payload []byte) (e Entry, ok bool) {
	switch kind {
	case entryRecords:
		if len(payload) < recordsHeader {
			return e, false
		}
		r := &RecordsEntry{
			Stream: binary.LittleEndian.Uint64(payload), Shard: int(binary.LittleEndian.Uint32(payload[8:])),
			Count: int(binary.LittleEndian.Uint32(payload[12:])), Bytes: len(payload) - recordsHeader,
		}
		for rest := payload[recordsHeader:]; len(r.Each) < r.Count; {
			var view RecordView
			if view, rest = NextRecord(rest); rest == nil {
				return e, false
			}
			r.Each = append(r.Each, view)
		}
		return Entry{Records: r}, true
	case entryCommand:
		name, rest := cutBytes(payload)
		return Entry{Command: &CommandEntry{string(name), string(rest)}}, rest != nil
	case entryTable:
		account, rest := cutBytes(payload)
		region, rest := cutBytes(rest)
		op, body := cutBytes(rest)
		return Entry{Table: &TableEntry{arn.Scope{Account: string(account), Region: string(region)}, string(op), string(body)}}, body != nil
	}
	return e, false
}

// Gateways returns the authors of the frames that were applied, in order.
func (st *State) Gateways() [][16]byte {
	return slices.SortedFunc(maps.Keys(st.authors), func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) })
}
