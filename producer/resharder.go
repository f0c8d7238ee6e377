package producer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// maxLookups is how many shard lists may lack the shard on which a batch was
// stored. A list may be older than the reshard; or the shard has closed since
// and is in no list again.
const maxLookups = 5

// refreshNow asks the resharder for a new shard map.
func (p *Producer) refreshNow() {
	select {
	case p.refresh <- struct{}{}:
	default: // asked already
	}
}

// signalIdle tells the resharder that a fenced lane has nothing in flight.
func (p *Producer) signalIdle() {
	select {
	case p.idle <- struct{}{}:
	default:
	}
}

// reshard keeps the shard map fresh until ctx ends. One goroutine runs it.
func (p *Producer) reshard(ctx context.Context) {
	timer := time.NewTimer(0) // the first map
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.refresh:
		case <-timer.C:
		}
		p.refreshMap(ctx)
		if d := p.cfg.ShardRefreshInterval; d > 0 {
			// Many producers started together must not ask together.
			timer.Reset(d*9/10 + time.Duration(p.rand.Int64N(int64(d/5))))
		}
	}
}

// suspect fences all lanes until there is a new list of shards, because the
// stream is not there. One that is created in its place has shards of the same
// names with other ranges, and an aggregated record made for the old shard of a
// name would seem to have landed where it should.
func (p *Producer) suspect() {
	for _, l := range p.shards.Load().lanes {
		l.mu.Lock()
		l.fenced = true
		l.mu.Unlock()
	}
	p.refreshNow()
}

// refreshMap gets a shard map that explains what is known, and puts it in
// place. It does not give up before ctx ends: fenced lanes wait for it.
func (p *Producer) refreshMap(ctx context.Context) {
	lookups := 0
	for try := 0; ; try++ {
		shards, err := p.listShards(ctx)
		switch {
		case err == nil:
			p.stats.mapRefreshes.Add(1)
			p.listTroubles.end(p)
			if lookups++; p.apply(ctx, shards, lookups >= maxLookups) {
				return
			}
		case ctx.Err() != nil:
			return
		default:
			p.stats.mapFailures.Add(1)
			if isNotFound(err) {
				p.suspect()
			}
			if !errors.Is(err, errMap) { // that one heals, and is counted
				p.listTroubles.begin(p, err)
			}
		}
		policy := listBackoff
		if err != nil && p.requestAction(err) == actPause {
			policy = pauseBackoff
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(policy.Wait(try, p.rand)):
		}
	}
}

// apply puts a complete list of open shards in place. It reports false if
// another list is needed first, because this one does not know a shard on
// which a batch was stored; with last set it does without.
func (p *Producer) apply(ctx context.Context, shards []shard, last bool) bool {
	open := make(map[shard]bool, len(shards))
	byID := make(map[string]hashkey.Range, len(shards))
	for _, s := range shards {
		open[s] = true
		byID[s.id] = s.keys
	}
	lanes := p.shards.Load().lanes
	var closing []*lane
	for _, l := range lanes {
		if !open[shard{l.shardID, l.keys}] {
			closing = append(closing, l)
			l.mu.Lock()
			l.fenced = true
			l.mu.Unlock()
		}
	}

	// What is in flight on a closing lane may itself turn out to be disputed,
	// and settling a dispute puts callbacks in flight: look until all is still.
	for {
		still := true
		for _, l := range lanes {
			known, busy := p.resolve(l, byID, last)
			if !known {
				return false
			}
			still = still && !busy
		}
		if still {
			break
		}
		select {
		case <-p.idle:
		case <-ctx.Done():
			return true
		}
	}

	if len(closing) > 0 {
		p.replace(closing, shards)
		return true
	}
	// The map explains nothing new: a hint that was wrong or came too early.
	for _, l := range lanes {
		l.mu.Lock()
		l.unfenceLocked()
		l.mu.Unlock()
	}
	p.note(lanes...)
	return true
}

// maxUnexplained is how many records in a row may be stored elsewhere than a
// complete shard map says, before the producer stops asking for a new map when
// a user record of its own does so.
const maxUnexplained = 3

// countUnexplained notes a set of records that was stored on another shard
// although the one predicted is open and unchanged. Streams whose record
// distribution strategy is AUTO do that.
func (p *Producer) countUnexplained() {
	p.stats.unexplained.Add(1)
	if p.unexplained.Add(1) == maxUnexplained {
		p.log.Error("stream stores records on other shards than their hash keys say, so readers may discard aggregated records; if its record distribution strategy is AUTO, set DisableAggregation",
			slog.String("stream", p.stream))
	}
}

// resolve decides about the batch of a fenced lane that was stored on another
// shard than predicted, now that the shards are known. busy means that the
// lane has something in flight.
func (p *Producer) resolve(l *lane, byID map[string]hashkey.Range, last bool) (known, busy bool) {
	l.mu.Lock()
	if !l.fenced || l.busy {
		busy = l.busy && l.fenced
		l.mu.Unlock()
		return true, busy
	}
	keys, found := byID[l.landed]
	if l.landed != "" && !found && !last {
		l.mu.Unlock()
		return false, false
	}
	it := l.disputed
	if own, open := byID[l.shardID]; l.landed != "" && found && open && own == l.keys {
		p.countUnexplained()
	}
	l.landed, l.disputed = "", nil
	if it == nil {
		l.mu.Unlock()
		return true, false
	}
	if !found || !it.batch.within(keys) {
		// A reader that filters whole Kinesis records has discarded it.
		p.stats.resent.Add(uint64(len(it.batch.meta)))
		it.batch.unsure = true // that shard has it: a copy must be of all of it
		l.unshiftLocked([]*batch{it.batch})
		l.notBefore = p.now() + int64(laneBackoff.Wait(l.failures, p.rand))
		l.failures++
		l.mu.Unlock()
		return true, false
	}
	l.busy = true
	l.mu.Unlock()
	it.verdict = stored
	items := []item{*it}
	// Not settle's own path for landed: the shard is known by now.
	p.wg.Go(func() { p.settleResolved(l, items) })
	return true, true
}

// settleResolved acknowledges a disputed batch.
func (p *Producer) settleResolved(l *lane, items []item) {
	it := &items[0]
	records, bytes := int64(len(it.batch.meta)), it.batch.cost
	p.finish(it)
	l.mu.Lock()
	l.records -= records
	l.bytes -= bytes
	l.landLocked()
	l.failures, l.notBefore = 0, 0
	l.mu.Unlock()
	p.signalIdle()
	p.note(l)
}

// replace publishes the map of shards and moves the records of the lanes that
// it does not have, which are fenced and still, to those that take over.
func (p *Producer) replace(closing []*lane, shards []shard) {
	kept := make(map[shard]*lane)
	for _, l := range p.shards.Load().lanes {
		kept[shard{l.shardID, l.keys}] = l
	}
	lanes := make([]*lane, len(shards))
	var fresh []*lane
	for i, s := range shards {
		lanes[i] = kept[s]
		if lanes[i] == nil {
			lanes[i] = p.newLane(s.id, s.keys, newLimiter(p.cfg.RateLimit, 1))
			lanes[i].fenced = true
			fresh = append(fresh, lanes[i])
		}
	}
	next := newShardMap(lanes)
	p.unexplained.Store(0)
	// Before the first closing lane is gone, so that nobody meets a lane that
	// is gone and the map that still has it. What a caller puts from here on
	// goes to the new lanes, behind what is moved there.
	p.shards.Store(next)

	moves := make(map[*lane]*move, len(fresh))
	heirs := make(map[string]*lane, len(fresh))
	for _, l := range fresh {
		moves[l] = &move{units: firstUnits}
		heirs[l.shardID] = l
	}
	for _, old := range closing {
		p.sticky.CompareAndSwap(old, nil)
		old.mu.Lock()
		old.gone = true
		batches := old.sealed
		if old.open != nil {
			batches = append(batches, old.open)
		}
		old.sealed, old.open = nil, nil
		old.records, old.bytes = 0, 0
		p.stats.receivedBefore.Add(old.received)
		old.received = 0
		lastShard, lastSeq := old.lastShard, old.lastSeq
		old.mu.Unlock()
		if l := heirs[lastShard]; l != nil {
			// What was acknowledged there still comes before all that follows.
			l.inherit(lastShard, lastSeq)
		}

		for _, b := range batches {
			// Records without a key may go to any new lane; a batch of them
			// stays together.
			p.distribute(b, old, next, moves, fresh[p.rand.IntN(len(fresh))])
		}
		for _, m := range moves {
			m.seal()
		}
	}
	for _, l := range lanes {
		l.mu.Lock()
		if m := moves[l]; m != nil {
			l.unshiftLocked(m.batches)
			l.units = max(l.units, m.units)
			l.fitTargetLocked(&p.sizes)
			l.records += m.records
			l.bytes += m.bytes
		}
		l.unfenceLocked()
		l.mu.Unlock()
	}
	p.log.Info("shard map replaced", slog.String("stream", p.stream), slog.Int("shards", len(shards)), slog.Int("new", len(fresh)), slog.Int("closed", len(closing)))
	p.note(lanes...)
}

// move gathers what comes to a new lane.
type move struct {
	batches        []*batch
	open           *batch
	units          int // size of the next batch: it grows as on a lane
	records, bytes int64
}

func (m *move) seal() {
	if m.open != nil {
		m.batches = append(m.batches, m.open)
		m.open = nil
		if len(m.batches) > 1 {
			m.units = min(2*m.units, mostUnits)
		}
	}
}

// distribute moves the records of a batch of old to the lanes of next, those
// without a key to one of them.
func (p *Producer) distribute(b *batch, old *lane, next *shardMap, moves map[*lane]*move, keyless *lane) {
	from := originOf(b)
	b.builder.WalkStamped(func(i int, r aggregation.Record, number uint64) bool {
		mt := b.meta[i]
		mt.attempts += b.attempts
		if r.ExplicitHashKey == old.sharedEHK && from.mayRekey(old, keyless, mt.attempts) {
			r.ExplicitHashKey, mt.hash = keyless.sharedEHK, keyless.shared
		}
		to := next.lookup(mt.hash)
		m, origin := moves[to], from.moved(old, to)
		if m.open == nil || !m.open.addFrom(origin, number, &r, mt, b.call(i), p.maxCount, p.sizes.bytes(m.units)) {
			m.seal()
			m.open = p.batches.heir(b)
			m.open.addFrom(origin, number, &r, mt, b.call(i), p.maxCount, p.sizes.bytes(m.units))
		}
		m.records++
		m.bytes += recordCost(&r)
		return true
	})
	p.batches.put(b)
}
