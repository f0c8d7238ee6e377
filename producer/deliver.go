package producer

import (
	"fmt"
	"log/slog"
)

// deliver runs the callbacks of a finished batch, in the order of its records.
func (p *Producer) deliver(it *item) {
	b := it.batch
	res := Result{ShardID: it.shardID, SequenceNumber: it.seq, Aggregated: b.aggregated}
	if it.verdict != stored {
		res.ShardID, res.SequenceNumber, res.Aggregated = it.lane.shardID, "", false
	}
	for i := 0; i < len(b.meta); i++ {
		m := &b.meta[i]
		res.SubSequenceNumber = 0
		if res.Aggregated && !b.block {
			res.SubSequenceNumber = i
			if b.subs != nil {
				res.SubSequenceNumber = int(b.subs[i])
			}
		}
		few := b.rare(i)
		res.Attempts = int(few.attempts + b.attempts)
		res.Err = nil
		if p.cfg.AttemptHistory && (i == 0 || b.past(i) != b.past(i-1)) {
			res.History = b.past(i).after(b).list()
		}
		if it.verdict != stored {
			cause := it.err
			if it.unsent && few.spool != 0 {
				cause = ErrSpooled
			}
			res.Err = &PutError{Stream: p.stream, ShardID: it.lane.shardID, Attempts: res.Attempts, History: res.History, Err: cause}
		}
		if g := b.group(i); g != nil {
			// A run of one group is counted off at once.
			n := 1
			if res.Err != nil {
				g.fail(int(m.index), res.Err)
			} else {
				for i+1 < len(b.meta) && b.group(i+1) == g {
					i++
					n++
				}
			}
			if g.finish(n) && g.done != nil {
				p.guard(func() { g.done(g.result()) })
			}
			continue
		}
		if c := b.call(i); c.done != nil {
			res.Tag = c.tag
			p.invoke(c.done, &res)
			res.Tag = nil
		}
	}
}

func (p *Producer) invoke(done func(Result), res *Result) {
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
		p.log.Error("callback panicked; repair it: its result is lost", slog.String("stream", p.stream), slog.String("err", fmt.Sprint(v)))
	}
}
