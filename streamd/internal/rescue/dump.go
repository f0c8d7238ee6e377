package rescue

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/internal/vfs"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// lines writes JSON lines.
type lines struct {
	enc *json.Encoder
	err error
}

func newLines(w io.Writer) *lines {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &lines{enc: enc}
}

func (l *lines) write(v any) error {
	if l.err == nil {
		l.err = l.enc.Encode(v)
	}
	return l.err
}

// DumpOptions say what is dumped.
type DumpOptions struct {
	What    string            // "records", "journal" or "state"
	Stream  string            // only this one; of records
	Shard   string            // only this one; of records
	Skipped func(what string) // is told of what is damaged; nil for nobody
}

// Dump writes what a data directory holds, as JSON lines, and changes nothing in
// it. Of what is damaged it writes what is whole, and tells Skipped of the rest.
func Dump(fsys vfs.FS, dir string, w io.Writer, o DumpOptions) error {
	do, ok := map[string]func(*directory, *lines, DumpOptions) error{
		"records": dumpRecords, "journal": dumpJournal, "state": dumpState,
	}[o.What]
	if !ok {
		return fmt.Errorf("%q is none of records, journal and state", o.What)
	}
	if o.Skipped == nil {
		o.Skipped = func(string) {}
	}
	unlock, err := open(fsys, dir)
	if err != nil {
		return err
	}
	defer unlock()
	d, err := look(fsys, dir)
	if err != nil {
		return err
	}
	for _, f := range d.findings {
		if f.Damage {
			o.Skipped(f.String())
		}
	}
	return do(d, newLines(w), o)
}

// frameLine is a frame of the journal.
type frameLine struct {
	Position uint64    `json:"position"` // its end, which is what it is called by
	Start    uint64    `json:"start"`
	File     string    `json:"file"`
	Offset   int64     `json:"offset"`
	Bytes    int64     `json:"bytes"`
	Session  uint64    `json:"session"`
	Frame    uint64    `json:"frame"`
	Arrival  time.Time `json:"arrival"`
	Entries  []any     `json:"entries"`
}

type recordsLine struct {
	Records string       `json:"records"` // the shard
	Stream  uint64       `json:"stream"`
	Count   int          `json:"count"`
	Bytes   int          `json:"bytes"`
	Each    []recordLine `json:"each,omitempty"`
}

type commandLine struct {
	Command string          `json:"command"`
	Do      json.RawMessage `json:"do"`
}

type tableLine struct {
	Table   string          `json:"table"` // the operation
	Account string          `json:"account"`
	Region  string          `json:"region"`
	Body    json.RawMessage `json:"body"`
}

// recordLine is a record. What is not known is left out.
type recordLine struct {
	Stream         string    `json:"stream,omitempty"`
	Region         string    `json:"region,omitempty"`
	Account        string    `json:"account,omitempty"`
	Shard          string    `json:"shard,omitempty"`
	SequenceNumber string    `json:"sequenceNumber,omitempty"`
	Index          uint64    `json:"index,omitempty"` // sequence index
	Arrival        time.Time `json:"arrival,omitzero"`
	PartitionKey   string    `json:"partitionKey"`
	HashKey        string    `json:"hashKey"`
	Data           []byte    `json:"data"`
}

// frame writes a frame; with the records in it if they are wanted.
func (l *lines) frame(s journal.Seen, f *journal.Frame, records bool) error {
	line := frameLine{
		Position: uint64(s.End), Start: uint64(s.Start), File: s.File, Offset: s.Offset, Bytes: s.Size(),
		Session: f.ID.Session, Frame: f.ID.N, Entries: []any{},
	}
	arrival, entries, err := state.Entries(f.Body)
	line.Arrival = arrival.UTC()
	for _, e := range entries {
		switch {
		case e.Records != nil:
			r := recordsLine{state.ShardID(e.Records.Shard), e.Records.Stream, e.Records.Count, e.Records.Bytes, nil}
			for _, v := range e.Records.Each {
				if records {
					r.Each = append(r.Each, recordLine{PartitionKey: string(v.PartitionKey), HashKey: v.Hash.String(), Data: v.Data})
				}
			}
			line.Entries = append(line.Entries, r)
		case e.Command != nil:
			line.Entries = append(line.Entries, commandLine{e.Command.Name, json.RawMessage(e.Command.Do)})
		case e.Table != nil:
			line.Entries = append(line.Entries, tableLine{e.Table.Operation, e.Table.Scope.Account, e.Table.Scope.Region, json.RawMessage(e.Table.Body)})
		}
	}
	return errors.Join(l.write(line), err)
}

func dumpJournal(d *directory, l *lines, o DumpOptions) error {
	for _, seen := range slices.Concat(d.journal.Frames, d.journal.Beyond) {
		if !seen.Whole {
			o.Skipped(fmt.Sprintf("%s at byte %d: a frame that is not whole", seen.File, seen.Offset))
			continue
		}
		f, err := seen.Read(d.fs)
		if err != nil {
			return err
		}
		if err := l.frame(seen, f, false); l.err != nil {
			return l.err
		} else if err != nil {
			o.Skipped(fmt.Sprintf("%s at byte %d: %v", seen.File, seen.Offset, err))
		}
	}
	return nil
}

type shardLine struct {
	Shard     string `json:"shard"`
	Open      bool   `json:"open"`
	Parent    string `json:"parent,omitempty"`
	Adjacent  string `json:"adjacentParent,omitempty"`
	FirstHash string `json:"startingHashKey"`
	LastHash  string `json:"endingHashKey"`
	LastIndex uint64 `json:"lastIndex"` // sequence index of the last record ever
}

type streamLine struct {
	Stream    string      `json:"stream"`
	Account   string      `json:"account"`
	Region    string      `json:"region"`
	ID        uint64      `json:"id"`
	Status    string      `json:"status"`
	Retention string      `json:"retention"`
	Created   time.Time   `json:"created"`
	Shards    []shardLine `json:"shards"`
}

type tableState struct {
	Table   string `json:"table"`
	Account string `json:"account"`
	Region  string `json:"region"`
	Items   int    `json:"items"`
	Bytes   int64  `json:"bytes"`
}

func (d *directory) streams() []*state.Stream {
	return slices.SortedFunc(slices.Values(d.state.All()), func(a, b *state.Stream) int { return cmp.Compare(a.ID, b.ID) })
}

func dumpState(d *directory, l *lines, _ DumpOptions) error {
	for _, s := range d.streams() {
		line := streamLine{
			Stream: s.Key.Name, Account: s.Key.Account, Region: s.Key.Region, ID: s.ID,
			Status: string(s.Status), Retention: s.Retention.String(), Created: s.Created.UTC(), Shards: []shardLine{},
		}
		for i := range s.Shards {
			sh := &s.Shards[i]
			out := shardLine{
				Shard: sh.ID(), Open: sh.IsOpen(), FirstHash: sh.Range.Start.String(), LastHash: sh.Range.End.String(),
				LastIndex: d.state.Log(s.ID, i).Last(),
			}
			if sh.Parent != state.NoShard {
				out.Parent = state.ShardID(sh.Parent)
			}
			if sh.AdjacentParent != state.NoShard {
				out.Adjacent = state.ShardID(sh.AdjacentParent)
			}
			line.Shards = append(line.Shards, out)
		}
		if err := l.write(line); err != nil {
			return err
		}
	}
	for _, t := range d.state.Tables().Overview() {
		if err := l.write(tableState{t.Name, t.Scope.Account, t.Scope.Region, t.Items, t.Bytes}); err != nil {
			return err
		}
	}
	return nil
}

func dumpRecords(d *directory, l *lines, o DumpOptions) error {
	sources, err := d.sources()
	if err != nil {
		return err
	}
	defer closeAll(sources)
	known := make(map[uint64]bool)
	found := false
	for _, s := range d.streams() {
		known[s.ID] = true
		if o.Stream != "" && o.Stream != s.Key.Name {
			continue
		}
		for i := range s.Shards {
			if o.Shard != "" && o.Shard != s.Shards[i].ID() {
				continue
			}
			found = true
			if err := d.dumpShard(l, o, sources, s, i); err != nil {
				return err
			}
		}
	}
	if !found && (o.Stream != "" || o.Shard != "") {
		var names []string
		for _, s := range d.streams() {
			names = append(names, s.Key.Name)
		}
		return fmt.Errorf("there is no shard %q of a stream %q; the streams are: %s", o.Shard, o.Stream, strings.Join(names, ", "))
	}
	if o.Stream != "" || o.Shard != "" {
		return nil
	}
	return d.dumpUnknown(l, sources, known)
}

// dumpShard writes the records of a shard in order: those of runs, then those of
// the journal.
func (d *directory) dumpShard(l *lines, o DumpOptions, sources []*source, s *state.Stream, shard int) error {
	key := runs.Key{Stream: s.ID, Shard: uint32(shard)}
	refs := d.state.Log(s.ID, shard).Refs()
	end := uint64(math.MaxUint64) // where the journal takes over
	if len(refs) > 0 {
		end = refs[0].First
	}
	for from := uint64(0); ; {
		b, ok, err := next(sources, key, from)
		if err != nil {
			return err
		}
		if !ok || b.First >= end {
			break
		}
		if err := l.batch(s, shard, b); err != nil {
			return err
		}
		from = b.Last() + 1
	}
	for _, ref := range refs {
		records, err := d.readRef(ref)
		if err != nil {
			return err
		}
		b := runs.Batch{First: ref.First, Count: ref.Count, Arrival: ref.Arrival, CRC: ref.CRC, Records: records}
		if journal.Checksum(records) != ref.CRC {
			o.Skipped(fmt.Sprintf("%d records of %s at journal position %d: they fail their checksum", ref.Count, s.Shards[shard].ID(), ref.Pos))
			continue
		}
		if err := l.batch(s, shard, b); err != nil {
			return err
		}
	}
	return nil
}

// batch writes records. s is nil if nothing is known of their stream.
func (l *lines) batch(s *state.Stream, shard int, b runs.Batch) error {
	arrival := time.UnixMilli(b.Arrival)
	rest := b.Records
	for i := range uint64(b.Count) {
		var v state.RecordView
		if v, rest = state.NextRecord(rest); rest == nil {
			return fmt.Errorf("the records from sequence index %d on do not decode", b.First)
		}
		line := recordLine{
			Shard: state.ShardID(shard), Index: b.First + i, Arrival: arrival.UTC(),
			PartitionKey: string(v.PartitionKey), HashKey: v.Hash.String(), Data: v.Data,
		}
		if s != nil {
			line.Stream, line.Region, line.Account = s.Key.Name, s.Key.Region, s.Key.Account
			line.SequenceNumber = s.Shards[shard].Number(b.First+i, arrival).String()
		}
		if line.Data == nil {
			line.Data = []byte{}
		}
		if err := l.write(line); err != nil {
			return err
		}
	}
	return nil
}
