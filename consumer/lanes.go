package consumer

import (
	"context"
	"hash/maphash"
	"math"
	"sync"
)

// laneSeed makes a lane of a partition key. One for the process, so that a key
// keeps its lane, and what the lane knows of failures, from processor to processor.
var laneSeed = maphash.MakeSeed()

// lanes handles the records of one shard in several lanes at a time, one for
// some of the partition keys each, under Config.KeyConcurrency.
//
//	portion ─ split by key ─▶ queue of a lane ─▶ lane.handle ─ a slot of the worker, for the call alone ─▶ processor
//
// A lane has a goroutine while its queue holds something. All of them are joined
// before anything else is asked of the processor.
//
// At a stop, a record that one lane has handled must not wait, at the next owner, for
// those before it in other lanes, or it would come twice. So the lanes come to where
// the first of them is: what none has begun with is given up.
type lanes struct {
	all  []*laneQueue
	over func() bool // the lanes are to stop

	running    sync.WaitGroup
	dispatched uint64 // portions; owned by the one who dispatches

	mu    sync.Mutex // guards all below
	first uint64     // number of the newest portion that a lane has begun with
	last  uint64     // with later portions none may begin
}

// laneQueue is a lane and what waits for it.
type laneQueue struct {
	lane lane

	mu     sync.Mutex // guards all below
	queue  []*Batch   // oldest first
	busy   bool       // a goroutine handles them
	closed bool       // gave up: what comes is given up as well, or a key would see a record after one that failed
}

func newLanes(s *shardConsumer, n int) *lanes {
	l := &lanes{over: s.h.isStopping}
	for range n {
		l.all = append(l.all, &laneQueue{lane: lane{s: s}})
	}
	return l
}

// begin opens the lanes for a new processor.
func (l *lanes) begin() {
	l.mu.Lock()
	l.last = math.MaxUint64
	l.mu.Unlock()
	for _, q := range l.all {
		q.mu.Lock()
		q.closed = false
		q.mu.Unlock()
	}
}

// enter reports whether a lane may call the processor with records of p.
func (l *lanes) enter(p *portion) bool {
	over := l.over()
	l.mu.Lock()
	defer l.mu.Unlock()
	if over {
		l.last = min(l.last, l.first)
	}
	if p.number > l.last {
		return false
	}
	l.first = max(l.first, p.number)
	return true
}

// gaveUp notes that not all of p will be handled: what comes later would come twice.
func (l *lanes) gaveUp(p *portion) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = min(l.last, p.number)
}

// dispatch has the records of p handled, each in its lane, and does not wait.
func (l *lanes) dispatch(ctx context.Context, s *Shard, p *portion) {
	l.dispatched++
	p.number = l.dispatched
	if len(p.records) == 0 {
		l.all[0].add(ctx, l, p.whole(s)) // some processors want to hear of it
		return
	}
	for i, b := range l.split(s, p) {
		if len(b.Records) > 0 {
			l.all[i].add(ctx, l, &b)
		}
	}
}

// split divides p by lane. The order of the records stays, within a lane.
func (l *lanes) split(s *Shard, p *portion) []Batch {
	lane := make([]uint16, len(p.records))
	count := make([]int, len(l.all))
	key, last := "", -1
	for i := range p.records {
		if k := p.records[i].PartitionKey; last < 0 || k != key { // neighbours often have one key
			key, last = k, int(maphash.String(laneSeed, k)%uint64(len(l.all)))
		}
		lane[i] = uint16(last)
		count[last]++
	}
	batches := make([]Batch, len(l.all))
	sorted := make([]Record, len(p.records))
	for i, n := range count {
		batches[i] = Batch{Records: sorted[:0:n], Shard: s, BehindLatest: p.behind, of: p}
		sorted = sorted[n:]
	}
	for i := range p.records {
		b := &batches[lane[i]]
		b.Records = append(b.Records, p.records[i])
	}
	return batches
}

// wait waits until all lanes have nothing more to do. It reports whether none of
// them gave up.
func (l *lanes) wait() bool {
	l.running.Wait()
	for _, q := range l.all {
		q.mu.Lock()
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return false
		}
	}
	return true
}

func (q *laneQueue) add(ctx context.Context, l *lanes, b *Batch) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		q.lane.giveUp(b)
		return
	}
	q.queue = append(q.queue, b)
	start := !q.busy
	q.busy = true
	q.mu.Unlock()
	if start {
		l.running.Go(func() { q.run(ctx, l) })
	}
}

// run handles what waits, until nothing does or it gives up.
func (q *laneQueue) run(ctx context.Context, l *lanes) {
	for {
		q.mu.Lock()
		if len(q.queue) == 0 {
			q.queue, q.busy = nil, false
			q.mu.Unlock()
			return
		}
		b := q.queue[0]
		q.queue[0] = nil
		q.queue = q.queue[1:]
		q.mu.Unlock()
		if q.lane.handle(ctx, b) {
			continue
		}
		l.gaveUp(b.of)
		q.mu.Lock()
		left := q.queue
		q.queue, q.busy, q.closed = nil, false, true
		q.mu.Unlock()
		for _, b := range left {
			q.lane.giveUp(b)
		}
		return
	}
}

// giveUp marks a batch as one that nobody works on.
func (l *lane) giveUp(b *Batch) {
	i := 0
	if len(b.Records) > 0 {
		i = int(b.Records[0].index)
	}
	l.s.h.tracker.giveUp(b.of, i)
}
