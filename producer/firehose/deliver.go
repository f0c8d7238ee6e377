package firehose

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/streamkit/streamkit/producer"
)

// fail reports that a packed record was given up. kind, if not nil, is what the
// error is to be told by, and cause, if not nil, what led to it.
func (p *Producer) fail(b *packed, kind, cause error) {
	switch {
	case errors.Is(kind, producer.ErrExpired):
		p.stats.expired.Add(uint64(len(b.meta)))
	case errors.Is(kind, producer.ErrClosed):
		p.stats.unsentRecords.Add(int64(len(b.meta)))
		p.stats.unsentBytes.Add(b.cost())
	}
	err := cause
	switch {
	case kind != nil && cause != nil:
		err = fmt.Errorf("%w: %w", kind, cause)
	case kind != nil:
		err = kind
	}
	p.finish(b, "", err)
}

// finish reports the fate of a packed record and frees what it holds. The bytes
// are free before the callbacks run, so that one of them may put.
func (p *Producer) finish(b *packed, id string, err error) {
	n := uint64(len(b.meta))
	if err == nil {
		p.stats.put.Add(n)
		p.stats.recordsPut.Add(1)
		p.stats.bytesPut.Add(uint64(len(b.data)))
	} else {
		p.stats.failed.Add(n)
	}
	p.release(b.cost())
	p.deliver(b, id, err)
	seq := b.seq
	recycle(b)
	p.mu.Lock()
	p.order.finish(seq)
	over := p.closed && p.order.empty()
	p.mu.Unlock()
	if over {
		p.wakeUp()
	}
}

// deliver runs the callbacks of a packed record, in the order of its user records.
func (p *Producer) deliver(b *packed, id string, err error) {
	res := producer.Result{
		SequenceNumber: id,
		Aggregated:     err == nil && len(b.meta) > 1,
		Attempts:       b.attempts,
	}
	if err != nil {
		res.Err = &producer.PutError{Stream: p.name, Attempts: b.attempts, Err: err}
	}
	for i := range b.meta {
		m := &b.meta[i]
		switch {
		case m.group != nil:
			if res.Err != nil {
				m.group.fail(m.index, res.Err)
			}
			if g := m.group; g.finish(1) {
				p.guard(func() { g.done(g.result()) })
			}
		case m.done != nil:
			res.Tag, res.SubSequenceNumber = m.tag, 0
			if res.Aggregated {
				res.SubSequenceNumber = i
			}
			p.invoke(m.done, &res)
		}
	}
}

func (p *Producer) invoke(done func(producer.Result), res *producer.Result) {
	defer p.recoverPanic()
	done(*res)
}

func (p *Producer) guard(f func()) {
	defer p.recoverPanic()
	f()
}

// recoverPanic keeps a panic of a callback from ending the process: the other
// records' callbacks are still owed.
func (p *Producer) recoverPanic() {
	if v := recover(); v != nil {
		p.stats.panics.Add(1)
		p.log.Error("callback panicked; repair it: its result is lost", slog.String("stream", p.name), slog.String("err", fmt.Sprint(v)))
	}
}
