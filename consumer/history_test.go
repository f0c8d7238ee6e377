package consumer_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/streamkit/streamkit/consumer"
)

// history collects what happens in a run and checks it as it goes: no skip,
// order, parents first, fencing, the end of shards (properties 1, 2, 3, 4 and
// 6 of the design).
type history struct {
	mu     sync.Mutex // guards all below
	stream *fakeStream
	store  consumer.LeaseStore

	put        []string                       // record ids in order of their putting
	place      map[string]consumer.Checkpoint // of each record, in its shard
	shard      map[string]string              // of each record
	key        map[string]string              // of each record
	ordinal    map[string]int                 // of each record, within its key
	delivered  map[string]int                 // deliveries of each record
	acked      map[string]bool
	seen       map[string]int                 // records of each key delivered so far
	checkpoint map[string]consumer.Checkpoint // stored, of each lease
	counter    map[string]int64
	perKey     map[string]int // records of each key put so far
	problems   []string
}

func newHistory(stream *fakeStream) *history {
	return &history{
		stream: stream, place: map[string]consumer.Checkpoint{}, shard: map[string]string{}, key: map[string]string{},
		ordinal: map[string]int{}, delivered: map[string]int{}, acked: map[string]bool{}, seen: map[string]int{},
		checkpoint: map[string]consumer.Checkpoint{}, counter: map[string]int64{}, perKey: map[string]int{},
	}
}

func (h *history) problemLocked(format string, args ...any) {
	if len(h.problems) < 10 {
		h.problems = append(h.problems, fmt.Sprintf(format, args...))
	}
}

// produce puts record i, whose data is its id, under one of so many keys.
func (h *history) produce(i, keys int) {
	key, id := fmt.Sprintf("key-%d", i%keys), fmt.Sprintf("rec-%d", i)
	// In one step, or a delivery could come in between.
	h.mu.Lock()
	defer h.mu.Unlock()
	shard, seq := h.stream.put(key, []byte(id))
	at := consumer.Checkpoint{SequenceNumber: seq}
	h.put = append(h.put, id)
	h.place[id], h.shard[id], h.key[id] = at, shard, key
	h.ordinal[id] = h.perKey[key]
	h.perKey[key]++
}

// got notes a delivery and checks order and parents.
func (h *history) got(r *consumer.Record) {
	id := string(r.Data)
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.place[id]; !ok {
		h.problemLocked("delivered %q, which was not put", id)
		return
	}
	if h.delivered[id]++; h.delivered[id] > 1 {
		return
	}
	if h.place[id] != r.Checkpoint() || h.shard[id] != r.Shard.ID || h.key[id] != r.PartitionKey {
		h.problemLocked("%q came from %s at %v with key %q, was put to %s at %v with key %q", id, r.Shard.ID, r.Checkpoint(), r.PartitionKey, h.shard[id], h.place[id], h.key[id])
	}
	if n := h.seen[r.PartitionKey]; h.ordinal[id] != n {
		h.problemLocked("key %q: record %d first delivered after %d others", r.PartitionKey, h.ordinal[id], n)
	}
	h.seen[r.PartitionKey]++
	for _, p := range r.Shard.ParentIDs {
		for other, shard := range h.shard {
			if shard == p && !h.acked[other] {
				h.problemLocked("%q of %s delivered before %q of its parent %s was acknowledged", id, r.Shard.ID, other, p)
			}
		}
	}
}

func (h *history) ack(r *consumer.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked[string(r.Data)] = true
}

// write does a write of an owner and checks it, in one step.
func (h *history) write(ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	got, err := h.store.Update(ctx, l, w)
	if err == nil {
		h.checkLocked(got, w)
	}
	return got, err
}

func (h *history) checkLocked(l consumer.Lease, w consumer.Write) {
	if l.Counter <= h.counter[l.Key] {
		h.problemLocked("lease %s: counter %d after %d", l.Key, l.Counter, h.counter[l.Key])
	}
	h.counter[l.Key] = l.Counter
	if l.Checkpoint.Compare(h.checkpoint[l.Key]) < 0 {
		h.problemLocked("lease %s: checkpoint went back from %v to %v", l.Key, h.checkpoint[l.Key], l.Checkpoint)
	}
	h.checkpoint[l.Key] = l.Checkpoint
	if w.Checkpoint == (consumer.Checkpoint{}) {
		return
	}
	for id, shard := range h.shard {
		if shard == l.Key && !h.acked[id] && h.place[id].Compare(l.Checkpoint) <= 0 {
			h.problemLocked("lease %s: checkpoint %v passes %q, which is not acknowledged", l.Key, l.Checkpoint, id)
		}
	}
	if l.Checkpoint.SequenceNumber == consumer.ShardEnd {
		for _, c := range l.Children {
			if _, ok, err := h.store.Get(context.Background(), c); err != nil || !ok {
				h.problemLocked("lease %s ended before the lease of its child %s was there", l.Key, c)
			}
		}
		if len(l.Children) == 0 {
			h.problemLocked("lease %s ended without children", l.Key)
		}
	}
}

// process is a processor that notes and acknowledges.
func (h *history) process(_ context.Context, b *consumer.Batch) error {
	for i := range b.Records {
		h.got(&b.Records[i])
	}
	for i := range b.Records {
		h.ack(&b.Records[i])
	}
	return nil
}

// missing returns how many records were never acknowledged.
func (h *history) missing() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.put) - len(h.acked)
}

func (h *history) duplicates() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, d := range h.delivered {
		n += d - 1
	}
	return n
}
