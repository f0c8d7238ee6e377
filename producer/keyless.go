package producer

import "github.com/streamkit/streamkit/internal/aggregation"

// appendKeyless appends a record without any key. Such records go to one lane
// until its batch is full or leaves, then to another: full aggregated records
// first, balance over them.
func (p *Producer) appendKeyless(r *aggregation.Record, x *arrival, urgent bool) {
	for {
		l := p.takesKeyless()
		// One partition key and one explicit hash key for all of them: both
		// are in the aggregated record once. The hash key lies in the shard's
		// range, as readers demand, and after a split in one child's.
		r.ExplicitHashKey, x.hash = l.sharedEHK, l.shared
		a := l.add(p, r, x, urgent, nil)
		if a.full || !a.ok {
			p.sticky.CompareAndSwap(l, nil)
		}
		if !a.ok {
			continue
		}
		p.added(l, a)
		return
	}
}

// appendRun appends the first of rs, which has no key, and as many of those behind it
// as have none and fit into the same batch. It returns how many. x is the first one's;
// the indices of the others follow.
func (p *Producer) appendRun(rs []UserRecord, x *arrival) (n int) {
	for n == 0 {
		l := p.takesKeyless()
		var a added
		n, a = l.addRun(p, rs, x)
		if a.full || !a.ok {
			p.sticky.CompareAndSwap(l, nil)
		}
		if a.ok {
			p.added(l, a)
		}
	}
	return n
}

// takesKeyless returns the lane that records without a key go to now.
func (p *Producer) takesKeyless() *lane {
	l := p.sticky.Load()
	if l == nil {
		l = p.choose()
		p.sticky.Store(l)
	}
	return l
}

// fewLanes is how many lanes choose looks at.
const fewLanes = 8

// choose returns the least loaded lane of all, if they are few: these fill in turns
// then, and what they hold leaves together. Of many it looks at neighbours of a
// random one, which balances nearly as well.
func (p *Producer) choose() *lane {
	lanes := p.shards.Load().lanes
	at := p.rand.IntN(len(lanes))
	best, least := lanes[at], lanes[at].load()
	for range min(len(lanes), fewLanes) - 1 {
		if at++; at == len(lanes) {
			at = 0
		}
		if load := lanes[at].load(); load < least {
			best, least = lanes[at], load
		}
	}
	return best
}
