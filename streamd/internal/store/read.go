package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unsafe"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/journal"
	"github.com/streamkit/streamkit/streamd/internal/runs"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// Stream returns the stream of a name.
func (s *Store) Stream(key state.StreamKey) (*state.Stream, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.Stream(key)
}

// StreamByID returns the stream of an id.
func (s *Store) StreamByID(id uint64) (*state.Stream, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.StreamByID(id)
}

// Streams returns the streams of a scope in order of name.
func (s *Store) Streams(scope arn.Scope) []*state.Stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.Streams(scope)
}

// All returns the streams of every scope, in no order.
func (s *Store) All() []*state.Stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.All()
}

// Commitment returns an account's commitment to a minimum of throughput.
func (s *Store) Commitment(scope arn.Scope) state.Commitment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.state.Commitment(scope)
}

// shardLocked finds a shard that can be read. s.mu is held.
func (s *Store) shardLocked(streamID uint64, shard int) (*state.Stream, *state.Log, error) {
	st, ok := s.state.StreamByID(streamID)
	if !ok || st.Status == state.Deleting {
		return nil, nil, ErrNoStream
	}
	l := s.state.Log(streamID, shard)
	if l == nil || st.Expired(shard, s.Aging()) {
		return nil, nil, ErrNoShard
	}
	return st, l, nil
}

// Tip returns the position behind the last record of a shard.
func (s *Store) Tip(streamID uint64, shard int) (state.Position, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, l, err := s.shardLocked(streamID, shard)
	if err != nil {
		return state.Position{}, err
	}
	return state.Position{Index: l.Last() + 1}, nil
}

// Seek returns the position before the first record that arrived at t or
// later; behind the last record if there is none.
func (s *Store) Seek(streamID uint64, shard int, t time.Time) (state.Position, error) {
	s.mu.RLock()
	st, l, err := s.shardLocked(streamID, shard)
	if err != nil {
		s.mu.RUnlock()
		return state.Position{}, err
	}
	p := l.Seek(t)
	horizon := st.Horizon(s.Aging()).UnixMilli()
	s.mu.RUnlock()
	// After the index: what moves meanwhile is found twice, not missed.
	first, ok, err := s.runs.SeekTime(runKey(streamID, shard), max(t.UnixMilli(), horizon+1))
	if err != nil {
		s.log.Error("cannot read records", slog.Any("err", err))
		return state.Position{}, err
	}
	if ok && first < p.Index {
		return state.Position{Index: first}, nil
	}
	return p, nil
}

func runKey(streamID uint64, shard int) runs.Key {
	return runs.Key{Stream: streamID, Shard: uint32(shard)}
}

// reading is a read under way.
type reading struct {
	ReadResult
	req   ReadRequest
	shard *state.Shard
	bytes int // of data
}

// full reports whether the answer takes no more.
func (r *reading) full() bool {
	return len(r.Records) >= r.req.MaxRecords || r.bytes >= r.req.MaxBytes
}

// room is about how many bytes of records the answer can take.
func (r *reading) room() int {
	const most = 1 << 20
	return min(r.req.MaxBytes-r.bytes, most)
}

// Read returns the records of a shard from a position on that are durable and
// within retention.
func (s *Store) Read(_ context.Context, req ReadRequest) (ReadResult, error) {
	for {
		res, err := s.read(req)
		if errors.Is(err, journal.ErrTrimmed) {
			continue // it has moved into a run since it was looked up
		}
		if err != nil {
			s.log.Error("cannot read records", slog.Uint64("stream", req.StreamID), slog.Int("shard", req.Shard), slog.Any("err", err))
		}
		return res, err
	}
}

func (s *Store) read(req ReadRequest) (ReadResult, error) {
	now := s.clock.Now()
	s.mu.RLock()
	st, l, err := s.shardLocked(req.StreamID, req.Shard)
	if err != nil {
		s.mu.RUnlock()
		return ReadResult{}, err
	}
	horizon := st.Horizon(s.Aging())
	refs := l.From(req.From, horizon)
	last := l.Last()
	s.mu.RUnlock()

	r := reading{ReadResult: ReadResult{Next: req.From}, req: req, shard: &st.Shards[req.Shard]}
	if (len(refs) == 0 || refs[0].First > req.From.Index) && req.From.Index <= last {
		// After the index: what moves meanwhile is found twice, not missed, and
		// what is behind the answer's end is passed over.
		if err := s.readRuns(&r, horizon.UnixMilli()); err != nil {
			return ReadResult{}, err
		}
	}
	r.presize(refs)
	for _, ref := range refs {
		if r.full() {
			break
		}
		b, err := s.bodies.ReadAt(journal.LSN(ref.Pos), int(ref.Size))
		if err == nil && journal.Checksum(b) != ref.CRC {
			err = fmt.Errorf("records at journal position %d fail their checksum", ref.Pos)
		}
		if err == nil {
			err = r.add(ref.First, ref.Count, ref.Arrival, b)
		}
		if err != nil {
			return ReadResult{}, err
		}
	}
	atTip := true // nothing found is nothing left: a read returns a record if there is one
	if n := len(r.Records); n > 0 && r.Records[n-1].Index < last {
		atTip = false
		r.BehindLatest = max(now.Sub(r.Records[n-1].Arrival), time.Millisecond)
	}
	r.Ended = atTip && !r.shard.IsOpen()
	return r.ReadResult, nil
}

// readRuns adds what runs hold. horizon is the arrival of what is past
// retention, in milliseconds.
func (s *Store) readRuns(r *reading, horizon int64) error {
	key := runKey(r.req.StreamID, r.req.Shard)
	first, ok, err := s.runs.SeekTime(key, horizon+1)
	if err != nil || !ok {
		return err
	}
	for from := max(first, r.req.From.Index); !r.full(); {
		run, err := s.runs.Find(key, from)
		if err != nil || run == nil {
			return err
		}
		batches, err := run.Read(key, from, r.req.MaxRecords-len(r.Records), r.room())
		run.Release()
		if err != nil {
			return err
		}
		for _, b := range batches {
			if r.full() {
				return nil
			}
			if err := r.add(b.First, b.Count, b.Arrival, b.Records); err != nil {
				return err
			}
			from = b.Last() + 1
		}
	}
	return nil
}

// presize makes room for as many records of refs as the answer can take.
func (r *reading) presize(refs []state.Ref) {
	n, bytes := 0, r.bytes
	for _, ref := range refs {
		if n += int(ref.Count); bytes+int(ref.Size) >= r.req.MaxBytes {
			break
		}
		bytes += int(ref.Size)
	}
	if n = min(n, r.req.MaxRecords-len(r.Records)); n > 0 {
		r.Records = slices.Grow(r.Records, n)
	}
}

// add adds the records of one batch that the answer can take. b holds them, as
// they lie in a frame.
func (r *reading) add(first uint64, count uint32, ms int64, b []byte) error {
	arrival := time.UnixMilli(ms)
	for i := range uint64(count) {
		var rec state.RecordView
		if rec, b = state.NextRecord(b); b == nil {
			return fmt.Errorf("the records from sequence index %d on do not decode", first)
		}
		number := r.shard.Number(first+i, arrival)
		if state.At(number).Before(r.Next) {
			continue
		}
		if n := len(r.Records); n == r.req.MaxRecords || n > 0 && r.bytes+len(rec.Data) > r.req.MaxBytes {
			r.bytes = r.req.MaxBytes // full
			return nil
		}
		r.bytes += len(rec.Data)
		r.Records = append(r.Records, StoredRecord{
			PartitionKey: unsafe.String(unsafe.SliceData(rec.PartitionKey), len(rec.PartitionKey)),
			Data:         rec.Data, Index: first + i, Arrival: arrival,
		})
		r.Next = state.After(number)
	}
	return nil
}
