package logappender

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamkit/streamkit/producer"
)

// drain hands chunks to the putter, in order, until ctx ends.
func (a *Appender) drain(ctx context.Context) {
	d := drainer{a: a, keys: make(map[string]string)}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for ctx.Err() == nil {
		c, wait := a.next()
		if c != nil {
			d.hand(ctx, c)
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-a.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// next returns the chunk to hand over now. If there is none it returns how
// long to wait for one, 0 meaning until woken.
func (a *Appender) next() (*chunk, time.Duration) {
	a.mu.Lock()
	c, wait, flush := a.nextLocked()
	a.sleeping = c == nil
	a.mu.Unlock()
	if flush {
		poke(a.flush)
	}
	return c, wait
}

func (a *Appender) nextLocked() (c *chunk, wait time.Duration, flush bool) {
	a.closeGapLocked(0)
	if c := a.headGapLocked(); c != nil {
		return c, 0, false
	}
	if c := a.live.take(); c != nil {
		return c, 0, false
	}
	if a.open != nil {
		wait := a.cfg.Linger - time.Since(a.open.born)
		if wait > 0 && !a.flushWanted {
			return nil, wait, false
		}
		a.closeOpenLocked(true)
		return a.live.take(), 0, false
	}
	flush = a.flushWanted
	a.flushWanted = false
	return nil, 0, flush
}

// drainer is what the drain goroutine keeps between chunks.
type drainer struct {
	a       *Appender
	records []producer.UserRecord
	keys    map[string]string // partition keys seen of late, so that few are allocated
}

const maxKeysKept = 4096

func (d *drainer) keyOf(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := d.keys[string(b)]; ok {
		return s
	}
	if len(d.keys) >= maxKeysKept {
		clear(d.keys)
	}
	s := string(b)
	d.keys[s] = s
	return s
}

// hand puts the entries of c. It returns when the putter has them; their fate
// comes to the delivery.
func (d *drainer) hand(ctx context.Context, c *chunk) {
	d.records = d.records[:0]
	for _, e := range c.entries {
		d.records = append(d.records, producer.UserRecord{PartitionKey: d.keyOf(e.key), Data: e.payload})
	}
	dl := &delivery{a: d.a, n: len(d.records), chunk: c}
	d.a.mu.Lock()
	c.delivery = dl
	d.a.mu.Unlock()

	err := put(ctx, d.a.putter, d.records, dl.done)
	switch {
	case err == nil:
	case ctx.Err() != nil: // Close will count it as lost
	case len(d.records) > 1 && (errors.Is(err, producer.ErrTooLarge) || errors.Is(err, producer.ErrInvalidKey)):
		// The batch was refused for one of its records, or as a whole is too
		// large: the others must not suffer.
		d.handSingly(ctx, dl)
	default:
		failed := make([]bool, len(d.records))
		for i := range failed {
			failed[i] = true
		}
		dl.finish(failed, err)
	}
	dl.returned()
	clear(d.records)
}

func (d *drainer) handSingly(ctx context.Context, dl *delivery) {
	p := &parts{delivery: dl, left: len(d.records), settled: make([]bool, len(d.records)), failed: make([]bool, len(d.records))}
	for i := range d.records {
		err := put(ctx, d.a.putter, d.records[i:i+1], func(r producer.BatchResult) { p.settle(i, r.Err()) })
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p.settle(i, err)
		}
	}
}

// put calls PutBatch; a panic in there becomes an error.
func put(ctx context.Context, p Putter, rs []producer.UserRecord, done func(producer.BatchResult)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errPanic, v)
		}
	}()
	return p.PutBatch(ctx, rs, done)
}

// delivery is one hand-over of one chunk. It outlives the chunk, so that an
// answer that comes twice or too late finds nothing to change. Fields are
// guarded by Appender.mu.
type delivery struct {
	a      *Appender
	n      int    // entries; set at the start
	chunk  *chunk // nil once finished
	passed bool   // PutBatch has returned
	spent  *chunk // finished before PutBatch has returned
}

// done is the callback of PutBatch.
func (d *delivery) done(r producer.BatchResult) {
	if len(r.Failed) == 0 {
		d.finish(nil, nil)
		return
	}
	failed := make([]bool, d.n)
	for _, f := range r.Failed {
		if f.Index >= 0 && f.Index < len(failed) {
			failed[f.Index] = true
		}
	}
	d.finish(failed, r.Err())
}

// finish settles the accounts of the chunk. failed tells which entries were
// not stored; nil means none.
func (d *delivery) finish(failed []bool, err error) {
	a := d.a
	a.mu.Lock()
	c := d.chunk
	if c == nil {
		a.mu.Unlock()
		return
	}
	d.chunk, c.delivery = nil, nil

	var rejected LevelCounts
	for i, e := range c.entries {
		if i >= len(failed) {
			break
		}
		if failed[i] && !e.gap {
			rejected[e.level]++
			a.dropLocked(e.level, DropRejected)
		}
	}
	stored := c.count
	stored.sub(&rejected)
	a.stats.Delivered.add(&stored)
	a.stats.Pending.sub(&c.count)
	a.stats.LastError = err
	if err != nil {
		a.lastErr = err
	}
	if stored.Total() > 0 {
		a.stats.LastSuccess = time.Now()
	}

	var f finished
	a.releaseLocked(c, &f)
	if d.passed {
		a.recycleLocked(c)
	} else {
		d.spent = c
	}
	wake := a.sleeping && a.gap.total > 0 // there may be room for its record
	if wake {
		a.sleeping = false
	}
	a.mu.Unlock()

	f.notify()
	if wake {
		poke(a.wake)
	}
	if rejected.Total() > 0 {
		poke(a.report)
	}
}

// returned says that the putter does not look at the chunk's bytes any more,
// once the chunk is finished as well.
func (d *delivery) returned() {
	d.a.mu.Lock()
	d.passed = true
	if d.spent != nil {
		d.a.recycleLocked(d.spent)
		d.spent = nil
	}
	d.a.mu.Unlock()
}

// parts is a delivery whose entries were put one by one. Fields are guarded by
// Appender.mu.
type parts struct {
	delivery *delivery
	left     int
	settled  []bool
	failed   []bool
	err      error // of the first that failed
}

func (p *parts) settle(i int, err error) {
	mu := &p.delivery.a.mu
	mu.Lock()
	if p.settled[i] {
		mu.Unlock()
		return
	}
	p.settled[i] = true
	p.left--
	if err != nil {
		p.failed[i] = true
		if p.err == nil {
			p.err = err
		}
	}
	last := p.left == 0
	mu.Unlock()
	if last {
		p.delivery.finish(p.failed, p.err)
	}
}
