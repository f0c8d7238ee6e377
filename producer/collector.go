package producer

import (
	"container/heap"
	"context"
	"math"
	"time"
)

// collector decides which lanes send, and puts what they send into requests.
// One goroutine, run, owns it.
type collector struct {
	p         *Producer
	ready     []*lane // may send now, in the order in which they came to it
	queued    map[*lane]bool
	alarms    alarms
	distinct  map[string]struct{} // of lanes that may have several records in flight
	nextSweep int64

	// company is the lanes that had something full to send last. Of the ready ones,
	// since is from when there are any, large says that all are worth company, hurry
	// when they go without more of it, and rank is their greatest number.
	company [sealTogether]struct {
		lane *lane
		at   int64
	}
	since, hurry int64
	large        bool
	rank         uint64
}

// alarm is a lane to be looked at again.
type alarm struct {
	at   int64
	lane *lane
}

type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at < a[j].at }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	s := *a
	x := s[len(s)-1]
	*a = s[:len(s)-1]
	return x
}

// sweepInterval is the time between two searches for expired records.
const sweepInterval = int64(time.Second)

func (p *Producer) run(ctx context.Context) {
	// Last of all: it ends the resharder.
	defer p.cancel()
	c := &collector{p: p, queued: make(map[*lane]bool), distinct: make(map[string]struct{})}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var notes []*lane
	for {
		now := p.now()
		notes = p.takeNotes(notes[:0])
		for _, l := range notes {
			c.look(l, now)
		}
		for len(c.alarms) > 0 && c.alarms[0].at <= now {
			c.look(heap.Pop(&c.alarms).(alarm).lane, now)
		}
		wake := c.send(ctx, now)
		wake = earlier(wake, c.sweep(now))
		if p.closed.Load() && (p.spool == nil || p.spool.finished.Load()) && p.budget.used.Load() == 0 {
			return
		}
		if len(c.alarms) > 0 {
			wake = earlier(wake, c.alarms[0].at)
		}
		if wake > 0 {
			timer.Reset(time.Duration(wake - now))
		} else {
			timer.Stop()
		}
		select {
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// earlier returns the earlier of two times; 0 stands for never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// look sorts a lane in: to be sent from now, later, or not.
func (c *collector) look(l *lane, now int64) {
	if c.p.aborting.Load() || c.p.unfit.Load() != nil {
		c.p.giveUp(l)
		return
	}
	ready, at, large, patient := l.look(c.p, now, c.p.linger())
	if ready {
		if len(c.ready) == 0 {
			c.since, c.hurry, c.large, c.rank = now, patient, large, 0
		}
		c.hurry, c.large, c.rank = min(c.hurry, patient), c.large && large, max(c.rank, l.number)
		if large {
			c.meet(l, now)
		}
	}
	switch {
	case ready && !c.queued[l]:
		c.queued[l] = true
		c.ready = append(c.ready, l)
	case !ready && at > 0:
		heap.Push(&c.alarms, alarm{at: at, lane: l})
	}
}

// meet notes that a lane has something full to send.
func (c *collector) meet(l *lane, now int64) {
	last := 0
	for i := range c.company {
		if c.company[i].lane == l {
			c.company[i].at = now
			return
		}
		if c.company[i].at < c.company[last].at {
			last = i
		}
	}
	c.company[last].lane, c.company[last].at = l, now
}

// gather returns until when the ready lanes wait for others. Aggregated records
// that leave together take one request, and their MD5 at once takes half the time
// or less. So a full one waits, for no longer than its records may wait for others
// anyway, if other lanes have lately become full at that pace; unless more waits
// behind it, or memory is short. Lanes that are nearly full by then go with it, and
// begin anew together.
//
// What is behind, or is to make room, waits as well, but a moment, and only for lanes
// in flight that are behind, too: once two have left together they land together.
func (c *collector) gather(now int64) (at int64) {
	if !c.large || len(c.ready) >= sealTogether {
		return 0
	}
	linger := c.p.linger()
	soon, patient := c.since+linger/behindPart, c.hurry > now && !c.p.budget.short()
	for i := range c.company {
		l := c.company[i].lane
		switch {
		case l == nil || c.queued[l]:
		case patient && c.company[i].at > now-2*linger && !l.nearlyFull(c.p):
			return c.hurry
		case soon > now && l.behind(c.rank):
			at = soon
		}
	}
	return at
}

// accompany has nearly full lanes leave with the ready ones.
func (c *collector) accompany(now int64) {
	for i := range c.company {
		if l := c.company[i].lane; l != nil && len(c.ready) < sealTogether && !c.queued[l] && l.hasten(c.p) {
			c.company[i].at = now
			c.queued[l] = true
			c.ready = append(c.ready, l)
		}
	}
}

// send makes requests of what the ready lanes hold, as long as there is a
// connection. It returns when to try again; 0 means when told to.
func (c *collector) send(ctx context.Context, now int64) (again int64) {
	p := c.p
	if len(c.ready) > 0 {
		if at := c.gather(now); at > 0 {
			return at
		}
		if c.large {
			c.accompany(now)
		}
	}
	for len(c.ready) > 0 {
		if ok, at := p.gate.enter(now); !ok {
			return at
		}
		items, full := c.collect(now)
		if len(items) == 0 {
			p.gate.leave(0)
			if full {
				return 0 // there is room for the next when something has come back
			}
			continue
		}
		bytes := int64(0)
		for _, it := range items {
			bytes += int64(it.batch.wireSize())
		}
		p.gate.load(bytes)
		p.wg.Go(func() { p.perform(ctx, items, bytes) })
	}
	return 0
}

// collect fills one request. full says that the first lane has more than may be
// in flight now.
func (c *collector) collect(now int64) (items []item, full bool) {
	p := c.p
	most := p.cfg.CollectionMaxCount
	if p.cfg.Order == Strict {
		most = 1 // by PutRecord
	}
	left := room{entries: most, bytes: p.cfg.CollectionMaxSize, empty: true, underWay: math.MaxInt}
	if bytes, alone := p.gate.room(); !alone {
		left.underWay = bytes
	} else {
		left.bytes = min(left.bytes, bytes)
	}
	items = make([]item, 0, min(len(c.ready), left.entries))
	var idle []*lane
	n := 0
	for _, l := range c.ready {
		before := len(items)
		var ok bool
		if items, ok = l.take(p, items, now, p.linger(), left, c.distinct); !ok {
			full = true
			break
		}
		for _, it := range items[before:] {
			left.entries--
			left.bytes -= it.batch.wireSize()
			left.underWay -= it.batch.wireSize()
			left.empty = false
		}
		if len(items) == before {
			idle = append(idle, l)
		}
		delete(c.queued, l)
		n++
		if left.entries == 0 {
			break
		}
	}
	c.ready = append(c.ready[:0], c.ready[n:]...)
	for _, l := range idle {
		// Ready when it was sorted in, and not now: a Flush has ended, say.
		c.look(l, now)
	}
	for _, it := range items {
		p.sticky.CompareAndSwap(it.lane, nil)
	}
	return items, full
}

// sweep fails expired records that no attempt would find: those of lanes that
// are fenced, back off, or wait for a paused stream; under FailIfPaused all of the
// latter. It returns when to sweep again.
func (c *collector) sweep(now int64) (again int64) {
	p := c.p
	if p.cfg.RecordTTL < 0 && !p.cfg.FailIfPaused || p.budget.used.Load() == 0 {
		c.nextSweep = 0
		return 0
	}
	if c.nextSweep == 0 {
		c.nextSweep = now + sweepInterval
	}
	if now >= c.nextSweep {
		c.nextSweep = now + sweepInterval
		for _, l := range p.shards.Load().lanes {
			if p.cfg.FailIfPaused {
				if err := p.refusing(l, now); err != nil {
					p.failAll(l, err)
					continue
				}
			}
			if p.cfg.RecordTTL < 0 {
				continue
			}
			if items := l.takeExpired(now - int64(p.cfg.RecordTTL)); len(items) > 0 {
				p.wg.Go(func() { p.settle(l, p.expire(items)) })
			}
		}
	}
	return c.nextSweep
}

// linger returns how long an open batch waits for more records.
func (p *Producer) linger() int64 {
	if p.flushing.Load() > 0 {
		return 0
	}
	return int64(p.cfg.RecordMaxBufferedTime)
}

// note tells the collector to look at a lane.
func (p *Producer) note(ls ...*lane) {
	p.notesMu.Lock()
	p.notes = append(p.notes, ls...)
	p.notesMu.Unlock()
	p.wakeUp()
}

func (p *Producer) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default: // it will wake anyway
	}
}

func (p *Producer) takeNotes(into []*lane) []*lane {
	p.notesMu.Lock()
	defer p.notesMu.Unlock()
	into = append(into, p.notes...)
	clear(p.notes)
	p.notes = p.notes[:0]
	return into
}

// noteAll tells the collector to look at every lane.
func (p *Producer) noteAll() {
	p.note(p.shards.Load().lanes...)
}
