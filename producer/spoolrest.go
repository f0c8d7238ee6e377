package producer

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/spool"
)

// keep takes an item that Close did not wait for.
func (s *spooler) keep(it *item) {
	s.mu.Lock()
	s.rest = append(s.rest, *it)
	s.mu.Unlock()
}

// place is a record of an item.
type place struct {
	rare   *rare
	batch  *batch
	number uint64 // in the spool, if it was there before
}

// saveRest leaves on disk what Close did not wait for, when nothing runs any
// more, and reports it. All that is on disk and was not handed out is younger, so
// what was in memory alone goes before that, and with it the records of the spool
// between, which would come behind their followers otherwise.
func (p *Producer) saveRest() {
	s := p.spool
	last := -1 // of the items with a record that is in memory alone
	for i := range s.rest {
		b := s.rest[i].batch
		if b.spooled > 0 {
			p.forgetDropped(b)
		}
		if b.spooled < len(b.meta) {
			last = i
		}
	}
	if last >= 0 {
		p.saveItems(s.rest[:last+1])
	}
	for i := range s.rest {
		p.countUnsent(&s.rest[i])
		p.tell(&s.rest[i])
	}
	s.rest = nil
}

// saveItems writes the records of items to the spool, as far as it takes them.
func (p *Producer) saveItems(items []item) {
	front := p.spool.store.Front()
	var places []place
	var err error
	now, wall := p.now(), time.Now().UnixMilli()
	for i := range items {
		b, l := items[i].batch, items[i].lane
		b.lastRare() // there is one for each, and they stay in their places
		b.builder.Walk(func(j int, r aggregation.Record) bool {
			m := &b.meta[j]
			e := spool.Entry{Data: r.Data}
			if r.ExplicitHashKey == "" || r.ExplicitHashKey != l.sharedEHK {
				e = spool.Entry{PartitionKey: r.PartitionKey, Hash: m.hash, Explicit: r.ExplicitHashKey != "", Data: r.Data}
			}
			var number uint64
			if number, err = front.Add(&e, wall-(now-m.born)/int64(time.Millisecond)); err != nil {
				return false
			}
			few := &b.rares[j]
			places = append(places, place{rare: few, batch: b, number: few.spool})
			few.spool = number
			if places[len(places)-1].number == 0 {
				b.spooled++
			}
			return true
		})
		if err != nil {
			break
		}
	}
	safe, endErr := front.End()
	if err := errors.Join(err, endErr); err != nil {
		p.log.Error("spool does not take what was in memory at the end; those records are lost, unless the application has them",
			slog.String("stream", p.stream), slog.String("spool", p.spool.cfg.Dir), slog.Any("err", err))
	}
	// What is there twice now is sent once; what is not safe is where it was.
	var twice []uint64
	for _, at := range places {
		switch {
		case at.rare.spool < safe && at.number != 0:
			twice = append(twice, at.number)
		case at.rare.spool >= safe:
			at.rare.spool = at.number
			if at.number == 0 {
				at.batch.spooled--
			}
		}
	}
	p.spool.store.Ack(slices.Values(twice))
}
