package state

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

// A snapshot is a State at one position of the journal, in one file:
//
//	magic "sdsnap", 0, version 1
//	u64       journal position, little-endian
//	bytes     catalogue, JSON
//	index     for each stream of the catalogue, for each shard: uvarint last
//	          sequence index, uvarint count, then for each run: uvarints first
//	          index less the one before, count, size, position less the one
//	          before, arrival less the one before, and u32 checksum
//	bytes     tables, in their own format
//	u32       CRC-32C of all before
//
// "bytes" is a uvarint length and so many bytes.
const snapshotMagic = "sdsnap\x00\x01"

// catalogue is the JSON part of a snapshot.
type catalogue struct {
	Seq, IDs uint64
	Arrival  int64
	Authors  []storedAuthor
	Streams  []storedStream

	Commitments []storedCommitment `json:",omitempty"`
}

type storedAuthor struct {
	Gateway [16]byte
	author
}

type storedStream struct {
	Stream
	Open    []int
	Pending *storedTransition `json:",omitempty"`
}

type storedTransition struct {
	ID  uint64
	Due time.Time
	Do  []byte // as in a frame
}

// AppendSnapshot writes st, which is the state at the given position, after
// dst. The bytes depend on the state alone.
func (st *State) AppendSnapshot(dst []byte, lsn journal.LSN) ([]byte, error) {
	start := len(dst)
	dst = append(dst, snapshotMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(lsn))

	c := catalogue{Seq: st.seq, IDs: st.ids, Arrival: st.arrival, Commitments: st.storedCommitments()}
	for gateway, a := range st.authors {
		c.Authors = append(c.Authors, storedAuthor{gateway, a})
	}
	slices.SortFunc(c.Authors, func(a, b storedAuthor) int { return slices.Compare(a.Gateway[:], b.Gateway[:]) })
	for _, s := range st.streams {
		stored := storedStream{Stream: *s, Open: s.open}
		if p := s.pending; p != nil {
			do, err := encodeCommand(p.Do)
			if err != nil {
				return nil, err
			}
			stored.Pending = &storedTransition{p.ID, p.Due, do}
		}
		c.Streams = append(c.Streams, stored)
	}
	slices.SortFunc(c.Streams, func(a, b storedStream) int { return cmp.Compare(a.ID, b.ID) })
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	dst = appendBytes(dst, text)
	for _, s := range c.Streams {
		for _, l := range st.logs[s.ID] {
			dst = l.append(dst)
		}
	}
	dst = appendBytes(dst, st.tables.AppendSnapshot(nil))
	return binary.LittleEndian.AppendUint32(dst, journal.Checksum(dst[start:])), nil
}

func (l *Log) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, l.last)
	dst = binary.AppendUvarint(dst, uint64(len(l.refs)))
	var prev Ref
	for _, r := range l.refs {
		dst = binary.AppendUvarint(dst, r.First-prev.First)
		dst = binary.AppendUvarint(dst, uint64(r.Count))
		dst = binary.AppendUvarint(dst, uint64(r.Size))
		dst = binary.AppendUvarint(dst, r.Pos-prev.Pos)
		dst = binary.AppendUvarint(dst, uint64(r.Arrival-prev.Arrival))
		dst = binary.LittleEndian.AppendUint32(dst, r.CRC)
		prev = r
	}
	return dst
}

var errBadSnapshot = errors.New("state: snapshot is damaged")

// ReadSnapshot reads what AppendSnapshot wrote.
func ReadSnapshot(b []byte) (*State, journal.LSN, error) {
	const tailSize = 4
	if len(b) < len(snapshotMagic)+8+tailSize || string(b[:6]) != snapshotMagic[:6] {
		return nil, 0, errBadSnapshot
	}
	if b[7] != snapshotMagic[7] {
		return nil, 0, &journal.VersionError{What: "state: snapshot", Has: int(b[7]), Reads: int(snapshotMagic[7])}
	}
	end := len(b) - tailSize
	if binary.LittleEndian.Uint32(b[end:]) != journal.Checksum(b[:end]) {
		return nil, 0, errBadSnapshot
	}
	lsn := journal.LSN(binary.LittleEndian.Uint64(b[8:]))
	text, rest := cutBytes(b[16:end])
	var c catalogue
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errBadSnapshot, err)
	}
	st := New()
	st.seq, st.ids, st.arrival = c.Seq, c.IDs, c.Arrival
	for _, a := range c.Authors {
		st.authors[a.Gateway] = a.author
	}
	for _, stored := range c.Commitments {
		st.commitments[stored.Scope] = stored.Commitment
	}
	r := uvarints{b: rest}
	for i := range c.Streams {
		s := &c.Streams[i].Stream
		s.open = c.Streams[i].Open
		if p := c.Streams[i].Pending; p != nil {
			do, err := decodeCommand(p.Do)
			if err != nil {
				return nil, 0, err
			}
			s.pending = &Transition{p.ID, p.Due, do}
		}
		st.streams[s.ID] = s
		st.byKey[s.Key] = s.ID
		logs := make([]*Log, len(s.Shards))
		for j := range logs {
			logs[j] = r.log()
		}
		st.logs[s.ID] = logs
	}
	tables, rest := cutBytes(r.b)
	if r.bad || tables == nil || len(rest) > 0 {
		return nil, 0, errBadSnapshot
	}
	var err error
	if st.tables, err = table.ReadSnapshot(tables); err != nil {
		return nil, 0, err
	}
	return st, lsn, nil
}

// uvarints reads the index of a snapshot. It remembers an error.
type uvarints struct {
	b   []byte
	bad bool
}

func (u *uvarints) next() uint64 {
	v, n := binary.Uvarint(u.b)
	if n <= 0 {
		u.bad = true
		return 0
	}
	u.b = u.b[n:]
	return v
}

func (u *uvarints) log() *Log {
	l := &Log{last: u.next()}
	n := u.next()
	const least = 9 // bytes of a run
	if n > uint64(len(u.b))/least {
		u.bad = true
		return l
	}
	l.refs = make([]Ref, 0, n)
	var prev Ref
	for range n {
		r := Ref{
			First: prev.First + u.next(), Count: uint32(u.next()), Size: uint32(u.next()),
			Pos: prev.Pos + u.next(), Arrival: prev.Arrival + int64(u.next()),
		}
		if u.bad || len(u.b) < 4 {
			u.bad = true
			return l
		}
		r.CRC = binary.LittleEndian.Uint32(u.b)
		u.b = u.b[4:]
		l.refs = append(l.refs, r)
		prev = r
	}
	return l
}
