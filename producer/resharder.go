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
	// Many producers started together must not ask together.
	vary := func(d time.Duration) time.Duration { return d*9/10 + time.Duration(p.rand.Int64N(int64(d/5))) }
	timer := time.NewTimer(0) // the first map
	defer timer.Stop()
	look := time.NewTimer(vary(distributionInterval))
	defer look.Stop()
	for {
		listed := true
		select {
		case <-ctx.Done():
			return
		case <-p.refresh:
		case <-timer.C:
		case <-look.C:
			listed = p.distribution.auto // or else nothing hints at other shards
		}
		if p.lookAtDistribution(ctx) {
			p.applyAuto(ctx)
		} else {
			if p.autoShards.Load() != 0 {
				p.leaveAuto()
				listed = true
			}
			if listed {
				p.refreshMap(ctx)
			}
			if p.unexplained.Load() >= maxUnexplained && p.lookAtDistribution(ctx) {
				p.applyAuto(ctx)
			}
		}
		if _, ok := p.api.(Describer); ok {
			look.Reset(vary(distributionInterval))
		}
		if d := p.cfg.ShardRefreshInterval; d > 0 && listed {
			timer.Reset(vary(d))
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
		// No list of another stream says what belonged to a shard of this one.
		l.landed = ""
		for i := range l.disputed {
			l.disputed[i].shardID = ""
		}
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
			if p.requestAction(err) == actRenew {
				p.renew()
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
		if !open[shard{l.shardID, l.keys, l.auto}] {
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
		// One may have become busy since: what expires leaves without being sent.
		if still && p.beginMove(closing) {
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

// beginMove says of lanes that their records are about to move, unless something is
// in flight on one. From then on nothing is: what expires does so where it moves to.
func (p *Producer) beginMove(lanes []*lane) bool {
	for i, l := range lanes {
		l.mu.Lock()
		l.moving = !l.busy
		ok := l.moving
		l.mu.Unlock()
		if !ok {
			p.endMove(lanes[:i])
			return false
		}
	}
	return true
}

// endMove takes back that the records of lanes are about to move.
func (p *Producer) endMove(lanes []*lane) {
	for _, l := range lanes {
		l.mu.Lock()
		l.moving = false
		late := l.landLocked()
		l.mu.Unlock()
		if len(late) > 0 {
			p.wg.Go(func() { p.settle(l, late) })
		}
	}
	p.note(lanes...) // somebody may have looked in vain
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
		p.log.Error("stream stores records on other shards than their hash keys say, so readers may discard aggregated records; unless the stream says that it distributes records by their keys, it is taken for one that does not",
			slog.String("stream", p.stream))
	}
}

// resolve decides about the batches of a fenced lane that were stored on
// another shard than predicted, now that the shards are known. busy means that
// the lane has something in flight.
func (p *Producer) resolve(l *lane, byID map[string]hashkey.Range, last bool) (known, busy bool) {
	l.mu.Lock()
	if !l.fenced || l.busy {
		busy = l.busy && l.fenced
		l.mu.Unlock()
		return true, busy
	}
	_, found := byID[l.landed]
	for i := range l.disputed {
		_, ok := byID[l.disputed[i].shardID]
		found = found && ok
	}
	if l.landed != "" && !found && !last {
		l.mu.Unlock()
		return false, false
	}
	own, open := byID[l.shardID]
	unexplained := l.landed != "" && found && open && own == l.keys
	var back []*batch
	var acked []item
	for i := range l.disputed {
		it := &l.disputed[i]
		keys, ok := byID[it.shardID]
		yes, no := p.divide(it.batch, keys, ok)
		if yes != nil {
			acked = append(acked, item{lane: l, batch: yes, verdict: stored, shardID: it.shardID, seq: it.seq})
		}
		if no != nil {
			p.stats.resent.Add(uint64(len(no.meta)))
			back = append(back, no)
		}
	}
	l.landed, l.disputed = "", nil
	l.unshiftLocked(back)
	if len(back) > 0 {
		l.notBefore = p.now() + int64(laneBackoff.Wait(l.failures, p.rand))
		l.failures++
	}
	l.busy = len(acked) > 0
	l.mu.Unlock()
	if unexplained {
		p.countUnexplained()
	}
	if len(acked) > 0 {
		// Not settle's own path for landed: the shard is known by now.
		p.wg.Go(func() { p.settleResolved(l, acked, len(back) == 0) })
		return true, true
	}
	return true, false
}

// divide says what of an aggregated record counts as stored on a shard of these
// keys, and what is to be sent again.
func (p *Producer) divide(b *batch, keys hashkey.Range, known bool) (yes, no *batch) {
	switch {
	case known && b.within(keys):
		return b, nil
	case known && p.cfg.AckInRange:
		subs := make([]int32, 0, len(b.meta))
		for i := range b.meta {
			if keys.Contains(b.meta[i].hash) {
				subs = append(subs, int32(i))
			}
		}
		block := b.block
		if yes, no = p.batches.split(b, func(_ int, m *meta) bool { return keys.Contains(m.hash) }); yes != nil {
			yes.subs, yes.aggregated, yes.block = subs, true, block
		}
		return yes, no
	}
	// A reader that filters whole Kinesis records has discarded it. That shard
	// has it: a copy must be of all of it.
	b.unsure = true
	return nil, b
}

// settleResolved acknowledges disputed batches.
func (p *Producer) settleResolved(l *lane, items []item, all bool) {
	var records, bytes int64
	for i := range items {
		records += int64(len(items[i].batch.meta))
		bytes += items[i].batch.cost
		p.finish(&items[i])
	}
	l.mu.Lock()
	l.records -= records
	l.bytes -= bytes
	late := l.landLocked()
	if all {
		l.failures, l.notBefore = 0, 0
	}
	l.mu.Unlock()
	if len(late) > 0 {
		p.settle(l, late)
		return
	}
	p.signalIdle()
	p.note(l)
}

// newLane returns the lane of a shard.
func (p *Producer) newLane(s shard) *lane {
	limit := p.distribution.limit
	if !s.auto {
		limit = newLimiter(p.cfg.RateLimit, 1)
	}
	l := newLane(s.id, s.keys, limit, &p.sizes, p.rand)
	l.number = p.laneCount.Add(1) // no other lane ever had it
	l.auto = s.auto
	l.ratio = p.packer.expect()
	l.fitTargetLocked(&p.sizes)
	l.maxCount = p.cfg.AggregationMaxCount
	if p.cfg.DisableAggregation || s.auto && !p.cfg.AggregateOnAuto {
		l.maxCount = 1
	}
	l.several = p.cfg.Order == Unordered || p.cfg.Order == PerKey && (p.cfg.DisableAggregation || s.auto)
	l.distinct = l.several && p.cfg.Order == PerKey && !s.auto
	return l
}

// replace publishes the map of shards and moves the records of the lanes that
// it does not have, which are fenced and still, to those that take over.
func (p *Producer) replace(closing []*lane, shards []shard) {
	kept := make(map[shard]*lane)
	before := p.shards.Load().lanes
	for _, l := range before {
		kept[shard{l.shardID, l.keys, l.auto}] = l
	}
	lanes := make([]*lane, len(shards))
	var fresh []*lane
	for i, s := range shards {
		lanes[i] = kept[s]
		if lanes[i] == nil {
			lanes[i] = p.newLane(s)
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
	still := int64(0) // until when new lanes keep still, as the old ones would
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
		late := old.landLocked()
		lastShard, lastSeq := old.lastShard, old.lastSeq
		if p.cfg.ReorderGuard > 0 {
			still = max(still, old.notBefore)
		}
		old.mu.Unlock()
		if len(late) > 0 {
			p.wg.Go(func() { p.settle(old, late) })
		}
		// What was acknowledged there still comes before all that follows: on the
		// shard's own lane, or, if the list is older than the shard, on those that
		// take the records which will land there again.
		if l := heirs[lastShard]; l != nil {
			l.inherit(lastShard, lastSeq)
		} else if lastShard != "" {
			for _, l := range fresh {
				if l.keys.Contains(old.keys.Start) || old.keys.Contains(l.keys.Start) {
					l.inherit(lastShard, lastSeq)
				}
			}
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
			l.notBefore = max(l.notBefore, still)
			l.unshiftLocked(m.batches)
			l.units = max(l.units, m.units)
			l.fitTargetLocked(&p.sizes)
			l.records += m.records
			l.bytes += m.bytes
		}
		l.unfenceLocked()
		l.mu.Unlock()
	}
	p.onShardMap(before, shards)
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
	from, ratio := originOf(b), p.packer.expect()
	b.builder.WalkStamped(func(i int, r aggregation.Record, number uint64) bool {
		x := b.arrival(i)
		x.attempts += b.attempts
		if r.ExplicitHashKey == old.sharedEHK && from.mayRekey(old, keyless, x.attempts) {
			r.ExplicitHashKey, x.hash = keyless.sharedEHK, keyless.shared
		}
		to := next.lookup(x.hash)
		m, origin := moves[to], from.moved(old, to)
		fill := fillOf(p.sizes.bytes(m.units), ratio)
		if m.open == nil || !m.open.addFrom(origin, number, &r, &x, to.maxCount, fill) {
			m.seal()
			m.open = p.batches.heir(b)
			m.open.ratio, m.open.limit = ratio, p.sizes.bytes(m.units)
			m.open.addFrom(origin, number, &r, &x, to.maxCount, fill)
		}
		m.open.setPast(b.past(i).after(b))
		m.records++
		m.bytes += recordCost(&r, p.batches.overhead)
		return true
	})
	p.batches.put(b)
}
