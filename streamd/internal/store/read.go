package store

import (
	"context"
	"fmt"
	"log/slog"
	"time"
	"unsafe"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/journal"
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

// JournalBytes returns how much of the journal is kept, 0 if it does not say.
func (s *Store) JournalBytes() int64 {
	if j, ok := s.j.(interface{ Size() int64 }); ok {
		return j.Size()
	}
	return 0
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
	if l == nil || st.Expired(shard, s.clock.Now()) {
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
	defer s.mu.RUnlock()
	_, l, err := s.shardLocked(streamID, shard)
	if err != nil {
		return state.Position{}, err
	}
	return l.Seek(t), nil
}

// Read returns the records of a shard from a position on that are durable and
// within retention.
func (s *Store) Read(_ context.Context, req ReadRequest) (ReadResult, error) {
	now := s.clock.Now()
	s.mu.RLock()
	st, l, err := s.shardLocked(req.StreamID, req.Shard)
	if err != nil {
		s.mu.RUnlock()
		return ReadResult{}, err
	}
	refs := l.From(req.From, st.Horizon(now))
	last := l.Last()
	s.mu.RUnlock()

	sh := &st.Shards[req.Shard]
	res := ReadResult{Next: req.From}
	bytes := 0
	for _, ref := range refs {
		more, err := s.readRun(&res, &bytes, req, ref, sh)
		if err != nil {
			return ReadResult{}, err
		}
		if !more {
			break
		}
	}
	atTip := true // nothing found is nothing left: a read returns a record if there is one
	if n := len(res.Records); n > 0 && res.Records[n-1].Index != last {
		atTip = false
		res.BehindLatest = max(now.Sub(res.Records[n-1].Arrival), time.Millisecond)
	}
	res.Ended = atTip && !sh.IsOpen()
	return res, nil
}

// readRun adds records of one run to res. more says that the next run may be
// read too.
func (s *Store) readRun(res *ReadResult, bytes *int, req ReadRequest, ref state.Ref, sh *state.Shard) (more bool, err error) {
	b, err := s.bodies.ReadAt(journal.LSN(ref.Pos), int(ref.Size))
	if err == nil && journal.Checksum(b) != ref.CRC {
		err = fmt.Errorf("records at journal position %d fail their checksum", ref.Pos)
	}
	if err != nil {
		s.log.Error("cannot read records", slog.String("shard", sh.ID()), slog.Any("err", err))
		return false, err
	}
	arrival := time.UnixMilli(ref.Arrival)
	for i := range uint64(ref.Count) {
		var r state.RecordView
		if r, b = state.NextRecord(b); b == nil {
			return false, fmt.Errorf("records at journal position %d do not decode", ref.Pos)
		}
		number := sh.Number(ref.First+i, arrival)
		if state.At(number).Before(req.From) {
			continue
		}
		if n := len(res.Records); n == req.MaxRecords || n > 0 && *bytes+len(r.Data) > req.MaxBytes {
			return false, nil
		}
		*bytes += len(r.Data)
		res.Records = append(res.Records, StoredRecord{
			PartitionKey: unsafe.String(unsafe.SliceData(r.PartitionKey), len(r.PartitionKey)),
			Data:         r.Data, Index: ref.First + i, Arrival: arrival,
		})
		res.Next = state.After(number)
	}
	return len(res.Records) < req.MaxRecords && *bytes < req.MaxBytes, nil
}
