package producer

import "github.com/streamkit/streamkit/internal/aggregation"

// appendKeyless appends a record without any key. Such records go to one lane
// until its batch is full or leaves, then to another: full aggregated records
// first, balance over them.
func (p *Producer) appendKeyless(r *aggregation.Record, x *arrival, urgent bool) {
	for {
		l := p.sticky.Load()
		if l == nil {
			l = p.choose()
			p.sticky.Store(l)
		}
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

// choose returns the less loaded one of two random lanes, which balances
// nearly as well as looking at all of them.
func (p *Producer) choose() *lane {
	lanes := p.shards.Load().lanes
	a, b := lanes[p.rand.IntN(len(lanes))], lanes[p.rand.IntN(len(lanes))]
	if a != b && b.load() < a.load() {
		return b
	}
	return a
}
