package logappender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/streamkit/streamkit/producer"
)

// drain hands chunks to the putter, in order, until ctx ends.
func (a *Appender) drain(ctx context.Context) {
	d := drainer{a: a, keys: make(keyCache), disk: newSpiller(a)}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for ctx.Err() == nil {
		c, disk, wait := a.next()
		if c != nil {
			d.handle(ctx, c, disk)
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

// next returns the chunk to hand over now, and whether it goes to the disk: then
// spill must follow. If there is none it returns how long to wait for one, 0 meaning
// until woken.
func (a *Appender) next() (c *chunk, disk bool, wait time.Duration) {
	var f finished
	a.mu.Lock()
	c, wait, flush := a.nextLocked()
	a.sleeping = c == nil
	if c != nil {
		// With the taking, or a dying goroutine could write a later one first.
		disk = a.toDiskLocked(c, &f)
		if !c.returned {
			a.stats.HandoverBytes.add(float64(len(c.buf)), 1)
		}
	}
	a.mu.Unlock()
	f.notify()
	if flush {
		poke(a.flush)
	}
	return c, disk, wait
}

func (a *Appender) nextLocked() (c *chunk, wait time.Duration, flush bool) {
	a.closeGapLocked(0)
	if s := a.spill; s != nil {
		s.waits = a.live.waiting != nil && len(s.back) == 0 && s.tooMuchHandedLocked()
		if s.waits && !a.agedLocked() {
			// Whoever frees memory wakes the drainer, and so does pressure; age does not.
			return nil, time.Second, a.flushWanted
		}
	}
	if c := a.headGapLocked(); c != nil {
		return c, 0, false
	}
	if c := a.takeLocked(); c != nil {
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

// takeLocked returns the next live chunk for the drainer.
func (a *Appender) takeLocked() *chunk {
	if s := a.spill; s != nil && len(s.back) > 0 {
		c := s.back[0]
		s.back = s.back[1:]
		return c
	}
	return a.live.take()
}

// drainer is what the drain goroutine keeps between chunks.
type drainer struct {
	a       *Appender
	records []producer.UserRecord
	keys    keyCache
	disk    *spiller
}

// handle brings c on its way, to the disk or to the putter. What it leaves where it
// was, as ctx ends, Close deals with.
func (d *drainer) handle(ctx context.Context, c *chunk, disk bool) {
	for {
		if disk && d.disk.spill(c) || ctx.Err() != nil {
			return
		}
		if c.returned {
			d.a.giveUp(c)
			return
		}
		if d.hand(ctx, c) {
			return
		}
		disk = d.a.toDisk(c)
	}
}

// hand puts the entries of c. It returns when the putter has them; their fate
// comes to the delivery. It returns false if the putter did not take them and
// the disk should.
func (d *drainer) hand(ctx context.Context, c *chunk) bool {
	d.records = d.records[:0]
	for _, e := range c.entries {
		d.records = append(d.records, producer.UserRecord{PartitionKey: d.keys.of(e.key), Data: e.payload})
	}
	dl := &delivery{a: d.a, n: len(d.records), chunk: c}
	d.a.mu.Lock()
	c.delivery = dl
	within := ctx
	cancel := func() {}
	if s := d.a.spill; s != nil {
		if s.open && !s.sick { // since toDisk has looked
			c.delivery = nil
			d.a.mu.Unlock()
			return false
		}
		within, cancel = context.WithDeadline(ctx, d.a.putDeadlineLocked(c))
		s.stopPut = cancel
		dl.cost = c.cost()
		s.handed += dl.cost
	}
	d.a.mu.Unlock()
	defer cancel()

	err := put(within, d.a.putter, d.records, dl.done)
	switch {
	case err == nil:
	case ctx.Err() != nil: // Close deals with it
	case within.Err() != nil:
		dl.takeBack()
		clear(d.records)
		return false
	case len(d.records) > 1 && (errors.Is(err, producer.ErrTooLarge) || errors.Is(err, producer.ErrInvalidKey)):
		// The batch was refused for one of its records, or as a whole is too
		// large: the others must not suffer.
		d.handSingly(ctx, within, dl)
	default:
		faults := make([]fault, len(d.records))
		for i := range faults {
			faults[i] = faultOf(err)
		}
		dl.finish(faults, err)
	}
	dl.returned()
	clear(d.records)
	return true
}

// handSingly puts records one by one. Those that within ends before count as
// failed for the stream.
func (d *drainer) handSingly(ctx, within context.Context, dl *delivery) {
	p := &parts{delivery: dl, left: len(d.records), settled: make([]bool, len(d.records)), faults: make([]fault, len(d.records))}
	for i := range d.records {
		err := put(within, d.a.putter, d.records[i:i+1], func(r producer.BatchResult) { p.settle(i, r.Err()) })
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
	cost   int    // of the chunk, as long as it is in spill.handed
}

// done is the callback of PutBatch.
func (d *delivery) done(r producer.BatchResult) {
	if len(r.Failed) == 0 {
		d.finish(nil, nil)
		return
	}
	faults := make([]fault, d.n)
	for _, f := range r.Failed {
		if f.Index < 0 || f.Index >= len(faults) {
			continue
		}
		faults[f.Index] = streamFault
		if f.Err != nil {
			faults[f.Index] = faultOf(f.Err)
		}
	}
	d.finish(faults, r.Err())
}

// takeBack undoes the hand-over: PutBatch has not accepted it in time.
func (d *delivery) takeBack() {
	a := d.a
	var f finished
	a.mu.Lock()
	if c := d.chunk; c != nil {
		d.chunk, c.delivery = nil, nil
	}
	a.spill.handedBackLocked(d)
	if a.spill.usableLocked() {
		a.openCircuitLocked(&f)
	}
	a.mu.Unlock()
	f.notify()
}

// finish settles the accounts of the chunk. faults tells which entries were
// not stored; nil means none. With a spill those that failed for the stream are
// kept, in a chunk of their own that goes to the disk.
func (d *delivery) finish(faults []fault, err error) {
	a := d.a
	a.mu.Lock()
	c := d.chunk
	if c == nil {
		a.mu.Unlock()
		return
	}
	d.chunk, c.delivery = nil, nil

	var f finished
	var kept, rejected LevelCounts
	again := a.spill != nil && slices.Contains(faults, streamFault)
	if again {
		p := c.part(faults)
		kept = p.count
		c.copied = nil
		a.live.replace(c, p)
		a.committed += p.cost()
		a.spill.back = append(a.spill.back, p)
	}
	for i, e := range c.entries {
		if i >= len(faults) {
			break
		}
		if faults[i] != noFault && !e.gap && (faults[i] == ownFault || a.spill == nil) {
			rejected[e.level]++
			a.dropLocked(e.level, DropRejected)
		}
	}
	stored := c.count
	stored.sub(&rejected)
	stored.sub(&kept)
	a.stats.Delivered.add(&stored)
	a.stats.Pending.sub(&c.count)
	a.stats.Pending.add(&kept)
	wake := again || a.gap.total > 0 || a.thinned.total > 0 // there may be room for its record
	if s := a.spill; s != nil {
		s.handedBackLocked(d)
		wake = wake || s.waits
		switch {
		case stored.Total() == 0 && again:
			a.failedBatchLocked(&f)
		case stored.Total() > 0:
			s.failures = 0
			if s.sick && !again {
				a.closeCircuitLocked() // there is no other probe
			}
		}
	}
	a.stats.LastError = err
	if err != nil {
		a.lastErr = err
	}
	if n := stored.Total(); n > 0 {
		a.stats.LastSuccess = time.Now()
		a.stats.DeliverySeconds.add(time.Since(c.born).Seconds(), n)
	}

	a.releaseLocked(c, &f)
	if d.passed {
		a.recycleLocked(c)
	} else {
		d.spent = c
	}
	if a.sleeping && wake {
		a.sleeping = false
		f.wake = a.wake
	}
	a.mu.Unlock()

	f.notify()
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
	faults   []fault
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
		p.faults[i] = faultOf(err)
		if p.err == nil {
			p.err = err
		}
	}
	last := p.left == 0
	mu.Unlock()
	if last {
		p.delivery.finish(p.faults, p.err)
	}
}
