package logappender

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/producer"
)

const (
	maxReplayBytes = 1 << 20
	minBackoff     = time.Second
	maxBackoff     = 30 * time.Second
)

// replayer sends what is on disk: one batch at a time, which is tried until the
// stream has it. That is the probe of an open circuit as well. One goroutine
// runs it; Close looks at it afterwards.
type replayer struct {
	a     *Appender
	store *spool.Spool[spilled]
	keys  keyCache

	records []producer.UserRecord // the batch, as far as it is not stored
	about   []replayed            // the same entries
	data    []byte                // what records point into
	limit   int                   // bytes of a batch
	backoff time.Duration         // after the last failure; 0 after a success
	at      time.Time             // when the next batch may be sent
}

// replayed is an entry of the batch.
type replayed struct {
	number uint64
	level  int
	gap    bool
	old    bool          // of an earlier process
	born   time.Duration // of its chunk, unless old
}

func newReplayer(a *Appender) *replayer {
	r := &replayer{a: a, store: a.spill.store, keys: make(keyCache), limit: maxReplayBytes}
	if rate := a.cfg.ReplayBytesPerSecond; rate > 0 && !a.spill.always {
		r.limit = max(min(rate/4, maxReplayBytes), 4<<10)
	}
	return r
}

func (r *replayer) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.ackCopies()
		if len(r.records) == 0 {
			wait, err := time.Duration(0), r.fill()
			if err != nil {
				wait = minBackoff // the spool has a bound of its own for tries
			}
			if len(r.records) == 0 {
				r.sleep(ctx, wait, r.store.Data())
				continue
			}
		}
		r.sleep(ctx, time.Until(r.at), nil)
		if ctx.Err() == nil {
			r.send(ctx)
		}
	}
}

// sleep waits for d, or for a signal if d is 0 and signal is not nil.
func (r *replayer) sleep(ctx context.Context, d time.Duration, signal <-chan struct{}) {
	var timer <-chan time.Time
	switch {
	case d > 0:
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	case signal == nil:
		return
	}
	select {
	case <-signal:
	case <-timer:
	case <-ctx.Done():
	}
}

// fill reads a batch, as large as there is now.
func (r *replayer) fill() error {
	r.data = r.data[:0]
	if cap(r.data) > 2*maxReplayBytes {
		r.data = nil
	}
	for len(r.data) < r.limit {
		b, lost, err := r.store.Next()
		switch {
		case lost != nil:
			r.a.loseSpilled(lost)
		case err != nil || b == nil:
			return err
		default:
			r.take(b)
		}
	}
	return nil
}

// take adds a block to the batch, but for the copies of entries that are in
// memory.
func (r *replayer) take(b *spool.Block[spilled]) {
	var done []uint64
	var recovered uint64
	for {
		number, e, c, ok := b.Next()
		if !ok {
			break
		}
		if c != nil && c.copy != nil {
			r.a.mu.Lock()
			if c.copy.finished {
				done = append(done, number)
			} else {
				c.copy.numbers = append(c.copy.numbers, number)
			}
			r.a.mu.Unlock()
			continue
		}
		level, flags := parseExtension(e.Extension)
		gap := flags&extGap != 0
		if b.Old && !gap {
			recovered++
		}
		hash := ""
		if e.Explicit {
			hash = e.Hash.String()
		}
		n := len(r.data)
		r.data = append(r.data, e.Data...)
		r.records = append(r.records, producer.UserRecord{
			PartitionKey:    r.keys.clone(e.PartitionKey),
			ExplicitHashKey: hash,
			Data:            r.data[n:len(r.data):len(r.data)],
		})
		var born time.Duration
		if c != nil {
			born = c.born
		}
		r.about = append(r.about, replayed{number: number, level: level, gap: gap, old: b.Old, born: born})
	}
	if len(done) > 0 {
		r.store.Ack(slices.Values(done))
	}
	if recovered > 0 {
		r.a.mu.Lock()
		r.a.stats.Recovered += recovered
		r.a.mu.Unlock()
	}
}

// ackCopies acknowledges copies whose entries are finished.
func (r *replayer) ackCopies() {
	a := r.a
	a.mu.Lock()
	numbers := a.spill.acks
	a.spill.acks = nil
	a.mu.Unlock()
	if len(numbers) > 0 {
		r.store.Ack(slices.Values(numbers))
	}
}

// send puts the batch once, and keeps what of it the stream did not take.
func (r *replayer) send(ctx context.Context) {
	size := 0
	for i := range r.records {
		size += len(r.records[i].Data)
	}
	faults := make([]fault, len(r.records))
	err := r.put(ctx, 0, len(r.records), faults)
	if ctx.Err() != nil && slices.Contains(faults, streamFault) {
		return // Close leaves it on disk, whatever came of it
	}
	progress := r.settle(faults, err)

	now := time.Now()
	if len(r.records) > 0 {
		if progress {
			r.backoff = 0
		}
		r.backoff = min(max(2*r.backoff, minBackoff), maxBackoff)
		r.at = now.Add(r.backoff)
		return
	}
	r.backoff = 0
	if rate := r.a.cfg.ReplayBytesPerSecond; rate > 0 && !r.a.spill.always {
		if r.at.Before(now) {
			r.at = now
		}
		r.at = r.at.Add(time.Duration(float64(size) / float64(rate) * float64(time.Second)))
	}
}

// put puts the records [lo, hi), waits for what becomes of them, and notes it
// in faults. A stream that takes too long about it opens the circuit. A batch that
// is refused for one of its records, or because it is too large as a whole, is put
// in halves.
func (r *replayer) put(ctx context.Context, lo, hi int, faults []fault) error {
	answer := make(chan producer.BatchResult, 1) // a second answer finds no room
	within, cancel := context.WithTimeout(ctx, circuitAge)
	defer cancel()
	err := put(within, r.a.putter, r.records[lo:hi], func(res producer.BatchResult) {
		select {
		case answer <- res:
		default:
		}
	})
	if err == nil {
		poke(r.a.flush)
		var res producer.BatchResult
		if res, err = r.await(ctx, within, answer); err == nil {
			for _, f := range res.Failed {
				i := lo + f.Index
				switch {
				case i < lo || i >= hi:
				case f.Err == nil:
					faults[i] = streamFault
				default:
					faults[i] = faultOf(f.Err)
				}
			}
			return res.Err()
		}
	} else if within.Err() != nil {
		r.openCircuit()
	}
	fl := faultOf(err)
	if fl == ownFault && hi-lo > 1 {
		mid := lo + (hi-lo)/2
		err := r.put(ctx, lo, mid, faults)
		if slices.Contains(faults[lo:mid], streamFault) { // which nothing may overtake
			for i := mid; i < hi; i++ {
				faults[i] = streamFault
			}
			return err
		}
		return errors.Join(err, r.put(ctx, mid, hi, faults))
	}
	for i := lo; i < hi; i++ {
		faults[i] = fl
	}
	return err
}

// await waits for the answer to a batch until ctx ends. The circuit opens when
// within ends before.
func (r *replayer) await(ctx, within context.Context, answer <-chan producer.BatchResult) (producer.BatchResult, error) {
	select {
	case res := <-answer:
		return res, nil
	case <-within.Done():
	}
	if ctx.Err() == nil {
		r.openCircuit()
	}
	select {
	case res := <-answer:
		return res, nil
	case <-ctx.Done():
		return producer.BatchResult{}, ctx.Err()
	}
}

func (r *replayer) openCircuit() {
	var f finished
	r.a.mu.Lock()
	r.a.openCircuitLocked(&f)
	r.a.mu.Unlock()
	f.notify()
}

// settle acknowledges and accounts for what the stream has taken or will never
// take, and keeps the rest. It reports whether the stream has taken anything.
func (r *replayer) settle(faults []fault, err error) (success bool) {
	var numbers []uint64
	var stored, refused, old LevelCounts
	took := Histogram{bounds: &secondBounds} // outside the lock: there may be thousands
	now := time.Since(r.a.begun)
	kept := 0
	for i, fl := range faults {
		e := r.about[i]
		if fl == streamFault {
			r.records[kept], r.about[kept] = r.records[i], e
			kept++
			continue
		}
		success = success || fl == noFault
		numbers = append(numbers, e.number)
		switch {
		case e.gap:
		case e.old && fl == noFault:
			old[e.level]++
		case e.old:
		case fl == noFault:
			stored[e.level]++
			took.add((now - e.born).Seconds(), 1)
		default:
			refused[e.level]++
		}
	}
	clear(r.records[kept:])
	r.records, r.about = r.records[:kept], r.about[:kept]
	if len(numbers) > 0 {
		// Before the next batch, so that a crash has no more than one sent twice.
		r.store.Ack(slices.Values(numbers))
		_ = r.store.WriteAcks() // it has said so
	}

	a := r.a
	var f finished
	a.mu.Lock()
	a.stats.Delivered.add(&stored)
	a.stats.DeliverySeconds.merge(&took)
	a.stats.Replayed.add(&old)
	a.stats.Spilled.sub(&stored)
	a.stats.Spilled.sub(&refused)
	a.stats.Dropped[DropRejected].add(&refused)
	for i, n := range refused {
		a.gap.addN(i, DropRejected, n, time.Now())
	}
	a.stats.LastError = err
	if err != nil {
		a.lastErr = err
	}
	if success {
		a.stats.LastSuccess = time.Now()
	}
	switch {
	case kept == 0:
		a.closeCircuitLocked()
	case !success:
		a.failedBatchLocked(&f)
	}
	a.spill.drainedLocked(a, &f)
	a.mu.Unlock()
	f.notify()
	if refused.Total() > 0 {
		poke(a.report)
	}
	return success
}

// end closes the spool, after all goroutines have ended, and accounts for what
// it has lost meanwhile.
func (r *replayer) end() error {
	r.ackCopies()
	r.store.Seal()
	_, lost := r.store.Leave() // what it had not read stays on disk
	for _, l := range lost {
		r.a.loseSpilled(l)
	}
	own := func(yield func(uint64) bool) {
		for _, e := range r.about {
			if !e.old && !e.gap && !yield(e.number) {
				return
			}
		}
	}
	var gone LevelCounts // of the batch, whose segment had to go
	r.store.Holds(own, func(number uint64) {
		i := slices.IndexFunc(r.about, func(e replayed) bool { return e.number == number })
		gone[r.about[i].level]++
	})
	r.a.mu.Lock()
	r.a.loseSpilledLocked(&gone, true)
	r.a.mu.Unlock()
	return r.store.Close()
}
