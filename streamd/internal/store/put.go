package store

import (
	"context"
	"slices"
	"sync"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

// grouper sorts the records of one call by shard. It is reused.
type grouper struct {
	shard []int32 // of each record
	count []int32 // by shard: records so far; zero between uses
	seen  []int32 // shards that have records, in order of their first
	order []int32 // record indexes by shard, each shard's in request order
}

var groupers = sync.Pool{New: func() any { return new(grouper) }}

// group fills seen and order, and returns in count how many records each shard
// has. The caller zeroes what it used of count.
func (g *grouper) group(s *state.Stream, recs []Record) {
	g.shard, g.seen = g.shard[:0], g.seen[:0]
	if len(g.count) < len(s.Shards) {
		g.count = make([]int32, len(s.Shards))
	}
	for i := range recs {
		sh := int32(s.Route(recs[i].HashKey))
		if g.count[sh] == 0 {
			g.seen = append(g.seen, sh)
		}
		g.count[sh]++
		g.shard = append(g.shard, sh)
	}
	if cap(g.order) < len(recs) {
		g.order = make([]int32, len(recs))
	}
	g.order = g.order[:len(recs)]
	next := int32(0)
	for _, sh := range g.seen { // counts become the place of each shard's first record
		n := g.count[sh]
		g.count[sh] = next
		next += n
	}
	for i, sh := range g.shard {
		g.order[g.count[sh]] = int32(i)
		g.count[sh]++
	}
	start := int32(0)
	for _, sh := range g.seen { // and counts again
		end := g.count[sh]
		g.count[sh] = end - start
		start = end
	}
}

// Put appends records to a stream and returns where each went, in request
// order, once all are durable. Records of one shard keep their order. If ctx
// ends first the records may still be stored.
func (s *Store) Put(ctx context.Context, streamID uint64, recs []Record) ([]Stored, error) {
	return s.PutInto(ctx, streamID, recs, nil)
}

// PutInto is Put for who has room for what it returns: into is used if it is
// large enough.
func (s *Store) PutInto(ctx context.Context, streamID uint64, recs []Record, into []Stored) ([]Stored, error) {
	s.mu.RLock()
	st, ok := s.state.StreamByID(streamID)
	s.mu.RUnlock()
	if !ok || st.Status == state.Deleting || len(st.Open()) == 0 {
		return nil, ErrNoStream
	}
	if len(recs) == 0 {
		return nil, nil
	}
	if !s.room.admit(s) {
		if s.Err() != nil {
			return nil, ErrFailed
		}
		return nil, ErrFull
	}
	g := groupers.Get().(*grouper)
	defer groupers.Put(g)
	g.group(st, recs)

	size := 0
	for i := range recs {
		size += len(recs[i].PartitionKey) + len(recs[i].Data)
	}
	entries := takeEntries(state.RecordsSize(len(recs), size) + (len(g.seen)-1)*state.RecordsSize(0, 0))
	next := g.order
	for _, sh := range g.seen {
		n := int(g.count[sh])
		g.count[sh] = 0
		var mark int
		entries, mark = state.BeginRecords(entries, streamID, int(sh), n)
		for _, i := range next[:n] {
			r := &recs[i]
			entries = state.AppendRecord(entries, r.HashKey, r.PartitionKey, r.Data)
		}
		entries = state.EndRecords(entries, mark)
		next = next[n:]
	}
	outcomes, err := s.submit(ctx, &call{entries: entries, n: len(g.seen), records: true})
	if err != nil {
		return nil, err
	}
	stored := slices.Grow(into[:0], len(recs))[:len(recs)]
	next = g.order
	for _, o := range outcomes {
		if len(o.Runs) == 0 {
			return nil, ErrNoStream // deleted meanwhile
		}
		for _, run := range o.Runs {
			for k, i := range next[:run.Count] {
				stored[i] = Stored{Shard: run.Shard, Index: run.First + uint64(k), Second: run.Second, Create: run.Create}
			}
			next = next[run.Count:]
		}
	}
	return stored, nil
}

// Command changes the catalogue and returns the stream as the change left it,
// nil if it is gone. The error is an [*awserr.Error] if the state refused the
// change.
func (s *Store) Command(ctx context.Context, c state.Command) (*state.Stream, error) {
	entries, err := state.AppendCommand(nil, c)
	if err != nil {
		return nil, err
	}
	outcomes, err := s.submit(ctx, &call{entries: entries, n: 1})
	if err != nil {
		return nil, err
	}
	return outcomes[0].Stream, outcomes[0].Err
}

// Table answers a request of a DynamoDB operation. What it reads is durable,
// and at least as new as every answer given before.
func (s *Store) Table(ctx context.Context, scope arn.Scope, r *table.Request) (table.Response, error) {
	if !r.Mutates() {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.state.Tables().Read(s.clock.Now(), scope, r)
	}
	entries := state.AppendTable(takeEntries(state.TableSize(scope, r.Op(), r.Body())), scope, r.Op(), r.Body())
	outcomes, err := s.submit(ctx, &call{entries: entries, n: 1, request: r})
	if err != nil {
		return nil, err
	}
	return outcomes[0].Response, outcomes[0].Err
}
