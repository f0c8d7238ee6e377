package state

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

// State is everything that the journal's frames add up to: streams, the index
// of their records, tables. It is not safe for concurrent use; what it hands
// out, a [Stream] or the refs of a [Log], is immutable.
type State struct {
	seq     uint64 // last sequence index given to a record; one count for the whole server
	ids     uint64 // last id given to a stream or transition
	arrival int64  // greatest arrival of a frame, milliseconds: time in here never goes back
	streams map[uint64]*Stream
	byKey   map[StreamKey]uint64
	logs    map[uint64][]*Log // by stream, then shard index
	authors map[[16]byte]author
	tables  *table.Set

	commitments map[arn.Scope]Commitment
}

// author is what was last applied of one gateway's frames.
type author struct {
	Session, N uint64
	CRC        uint32
}

// New returns the state before the first frame.
func New() *State {
	return &State{
		streams: make(map[uint64]*Stream),
		byKey:   make(map[StreamKey]uint64),
		logs:    make(map[uint64][]*Log),
		authors: make(map[[16]byte]author),
		tables:  table.NewSet(),

		commitments: make(map[arn.Scope]Commitment),
	}
}

// Clone returns a copy that later frames do not change. It costs time for each
// shard and table, not for each record or item.
func (st *State) Clone() *State {
	c := *st
	c.streams = maps.Clone(st.streams)
	c.byKey = maps.Clone(st.byKey)
	c.authors = maps.Clone(st.authors)
	c.commitments = maps.Clone(st.commitments)
	c.tables = st.tables.Clone()
	c.logs = make(map[uint64][]*Log, len(st.logs))
	for id, logs := range st.logs {
		copies := make([]Log, len(logs))
		pointers := make([]*Log, len(logs))
		for i, l := range logs {
			copies[i] = Log{refs: slices.Clip(l.refs), last: l.last}
			pointers[i] = &copies[i]
		}
		c.logs[id] = pointers
	}
	return &c
}

// Stream returns the stream of a name.
func (st *State) Stream(key StreamKey) (*Stream, bool) {
	s, ok := st.streams[st.byKey[key]]
	return s, ok
}

// StreamByID returns the stream of an id.
func (st *State) StreamByID(id uint64) (*Stream, bool) {
	s, ok := st.streams[id]
	return s, ok
}

// Streams returns the streams of a scope in order of name.
func (st *State) Streams(scope arn.Scope) []*Stream {
	var streams []*Stream
	for _, s := range st.streams {
		if s.Key.Scope == scope {
			streams = append(streams, s)
		}
	}
	slices.SortFunc(streams, func(a, b *Stream) int { return strings.Compare(a.Key.Name, b.Key.Name) })
	return streams
}

// All returns the streams of every scope, in no order.
func (st *State) All() []*Stream { return slices.Collect(maps.Values(st.streams)) }

// Log returns the index of a shard, nil if there is no such shard.
func (st *State) Log(stream uint64, shard int) *Log {
	logs := st.logs[stream]
	if shard < 0 || shard >= len(logs) {
		return nil
	}
	return logs[shard]
}

// Tables returns the tables. They may be read only.
func (st *State) Tables() *table.Set { return st.tables }

// Trim forgets the records that are past retention at the given time. Reading
// does not return them anyway: trimming only frees their place.
func (st *State) Trim(now time.Time) {
	for id, logs := range st.logs {
		horizon := st.streams[id].Horizon(now).UnixMilli()
		for _, l := range logs {
			l.trim(horizon)
		}
	}
}

// Horizons returns, for each stream by its id, the millisecond since the epoch at
// or before which its records have left it at the given time.
func (st *State) Horizons(now time.Time) map[uint64]int64 {
	horizons := make(map[uint64]int64, len(st.streams))
	for id, s := range st.streams {
		horizons[id] = s.Horizon(now).UnixMilli()
	}
	return horizons
}

// LastArrival returns the greatest time of arrival of a frame; the epoch if there
// was none.
func (st *State) LastArrival() time.Time { return time.UnixMilli(st.arrival) }

// IndexedBytes returns how many bytes the records of a stream take that are in
// the index.
func (st *State) IndexedBytes(stream uint64) (bytes uint64) {
	for _, l := range st.logs[stream] {
		for _, r := range l.refs {
			bytes += uint64(r.Size)
		}
	}
	return bytes
}

// Seq returns the sequence index of the last record of all.
func (st *State) Seq() uint64 { return st.seq }

// Forget drops the index of the records up to sequence index seq, because their
// place has been taken down elsewhere. What a later frame does is the same with
// and without them.
func (st *State) Forget(seq uint64) {
	for _, logs := range st.logs {
		for _, l := range logs {
			l.forget(seq)
		}
	}
}

// Oldest returns the journal position of the oldest record that is indexed. ok
// is false if there is none.
func (st *State) Oldest() (pos uint64, ok bool) {
	for _, logs := range st.logs {
		for _, l := range logs {
			if len(l.refs) > 0 && (!ok || l.refs[0].Pos < pos) {
				pos, ok = l.refs[0].Pos, true
			}
		}
	}
	return pos, ok
}

// An Outcome is what came of one entry of a frame.
type Outcome struct {
	// Runs says where the records of a records entry went, in their order.
	// Empty if the stream is gone. StreamID is that of their stream, and 0 for
	// other entries.
	Runs     []Run
	StreamID uint64
	// Stream is the stream after a command; nil if it is gone.
	Stream *Stream
	// Response is the answer to a table request.
	Response table.Response
	// Err is an [*awserr.Error] if the entry was refused.
	Err error
}

// Run is a run of consecutive records of one entry that went to one shard.
type Run struct {
	Shard  int
	First  uint64 // sequence index of the first
	Count  int
	Second int64 // time inside their sequence numbers
	Create int64 // creation second of the shard
}

// Apply applies the frame at the given position. outcome, if not nil, is told
// the outcome of each entry in order. An error means that the frame cannot be
// read, and leaves the state in between: the caller must stop.
//
// A frame that was applied before, because its author appended it again after
// an unknown outcome, changes nothing and has no outcomes.
func (st *State) Apply(lsn journal.LSN, f *journal.Frame, outcome func(Outcome)) error {
	return st.ApplyOwn(lsn, f, nil, outcome)
}

// ApplyOwn is Apply for the author of a frame, who has parsed the requests to
// tables in it before they were journaled. request, if not nil, is asked at each
// table entry for what it was made of; nil says that this is not known. Whether
// it is has no effect but on the time that this takes.
func (st *State) ApplyOwn(lsn journal.LSN, f *journal.Frame, request func() *table.Request, outcome func(Outcome)) error {
	last := st.authors[f.ID.Gateway]
	if f.ID.Session < last.Session || f.ID.Session == last.Session && f.ID.N <= last.N {
		return nil
	}
	if len(f.Body) < arrivalSize {
		return errBadFrame
	}
	st.authors[f.ID.Gateway] = author{f.ID.Session, f.ID.N, f.Sum}
	st.arrival = max(st.arrival, int64(binary.LittleEndian.Uint64(f.Body)))
	base := uint64(lsn) - uint64(len(f.Body))
	for rest := f.Body[arrivalSize:]; len(rest) > 0; {
		kind := rest[0]
		var payload []byte
		if payload, rest = cutBytes(rest[1:]); rest == nil {
			return errBadFrame
		}
		o, err := st.applyEntry(kind, payload, base+uint64(len(f.Body)-len(rest)-len(payload)), request)
		if err != nil {
			return err
		}
		if outcome != nil {
			outcome(o)
		}
	}
	return nil
}

// applyEntry applies an entry whose payload lies at the given position.
func (st *State) applyEntry(kind byte, payload []byte, pos uint64, request func() *table.Request) (Outcome, error) {
	switch kind {
	case entryRecords:
		return st.applyRecords(payload, pos)
	case entryCommand:
		c, err := decodeCommand(payload)
		if err != nil {
			return Outcome{}, err
		}
		s, err := st.applyCommand(c)
		return Outcome{Stream: s, Err: err}, nil
	case entryTable:
		var known *table.Request
		if request != nil {
			known = request()
		}
		return st.applyTable(payload, known)
	}
	return Outcome{}, errBadFrame
}

func (st *State) applyTable(payload []byte, known *table.Request) (Outcome, error) {
	account, rest := cutBytes(payload)
	region, rest := cutBytes(rest)
	op, body := cutBytes(rest)
	if body == nil {
		return Outcome{}, errBadFrame
	}
	r := known
	// The bytes decide, here as in a replay: what they parse to was found before.
	if r == nil || r.Op() != string(op) || !bytes.Equal(r.Body(), body) {
		var err error
		// Of a copy: items keep parts of it, and nobody may keep the frame's body.
		if r, err = table.Parse(string(op), bytes.Clone(body)); err != nil {
			return Outcome{}, err // it was parsed before it was written
		}
	}
	resp, err := st.tables.Apply(time.UnixMilli(st.arrival), arn.Scope{Account: string(account), Region: string(region)}, r)
	return Outcome{Response: resp, Err: err}, nil
}

// applyRecords gives the records of an entry their numbers and adds them to
// the index.
func (st *State) applyRecords(payload []byte, pos uint64) (Outcome, error) {
	if len(payload) < recordsHeader {
		return Outcome{}, errBadFrame
	}
	id := binary.LittleEndian.Uint64(payload)
	guess := int(binary.LittleEndian.Uint32(payload[8:]))
	count := binary.LittleEndian.Uint32(payload[12:])
	records, pos := payload[recordsHeader:], pos+recordsHeader
	s, ok := st.streams[id]
	if !ok || s.Status == Deleting || len(s.open) == 0 {
		return Outcome{}, nil
	}
	if guess < len(s.Shards) && s.Shards[guess].IsOpen() {
		return Outcome{StreamID: id, Runs: []Run{st.index(s, guess, int(count), records, pos)}}, nil
	}
	// The shard was closed after the writer looked. Each record goes to the
	// shard that has its hash key now.
	var runs []Run
	for range count {
		r, rest := NextRecord(records)
		if rest == nil {
			return Outcome{}, errBadFrame
		}
		size := len(records) - len(rest)
		runs = append(runs, st.index(s, s.Route(r.Hash), 1, records[:size], pos))
		records, pos = rest, pos+uint64(size)
	}
	return Outcome{StreamID: id, Runs: runs}, nil
}

// index adds count records, which lie at pos, to the end of a shard.
func (st *State) index(s *Stream, shard, count int, records []byte, pos uint64) Run {
	sh := &s.Shards[shard]
	run := Run{
		Shard: shard, First: st.seq + 1, Count: count,
		Second: max(st.arrival/1000, sh.CreateSecond), Create: sh.CreateSecond,
	}
	st.seq += uint64(count)
	st.logs[s.ID][shard].add(Ref{
		First: run.First, Count: uint32(count), Size: uint32(len(records)), Pos: pos,
		Arrival: st.arrival, CRC: journal.Checksum(records),
	})
	return run
}

func notFound(key StreamKey) error {
	return awserr.New("ResourceNotFoundException", "Stream %s under account %s not found.", key.Name, key.Account)
}
