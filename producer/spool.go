package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/spool"
	"github.com/streamkit/streamkit/internal/vfs"
)

const (
	// spoolCallCost is what a callback costs while its record is on disk.
	spoolCallCost = 96

	// spoolRetry is the time between two attempts to use a disk that failed.
	spoolRetry = 250 * time.Millisecond

	// maxSpoolWrite bounds what is given to the spool at once.
	maxSpoolWrite = 8 << 20
)

// spooler stands before the lanes: what goes to the disk comes to them from
// there, in its order, by the hand of one goroutine, readSpool.
type spooler struct {
	store *spool.Spool[spooled]
	cfg   SpoolConfig

	// lanes is the part of the budget for records in memory: beyond it they go to
	// the disk. What is left is for the callbacks of those. It bounds records that
	// come from the disk, too, or during an outage they would fill the budget, and
	// every Put with a callback would wait.
	lanes pool

	// share is the part of the budget for records that come from the disk, and
	// calls that for the callbacks of records that are on it. Together they are
	// no more than the budget, so that neither keeps the other out for ever.
	share, calls pool

	handed  atomic.Uint64 // records given to lanes
	refused atomic.Uint64 // records that were dropped as the newest

	sealed   atomic.Bool   // no more records will come to the store
	finished atomic.Bool   // no more records will come from it
	stop     chan struct{} // closed when the reader must leave the rest on disk
	stopOnce sync.Once
	closeErr error // of the store; written before producer.done is closed

	mu   sync.Mutex // guards rest
	rest []item     // that Close did not wait for, those of a lane in its order
}

// spooled is the callback of a Put or a PutBatch whose records are on disk.
type spooled struct {
	call
	group  *group
	base   int32 // index in the group of the first record that it comes with
	urgent bool
}

// openSpool opens the spool of a configuration that is complete.
func openSpool(cfg *Config, stream string) (*spooler, error) {
	store, err := spool.Open[spooled](cfg.Spool.Dir, spool.Options{
		FS:         cfg.Spool.fs,
		MaxBytes:   cfg.Spool.MaxBytes,
		BlockBytes: int(min(1<<20, max(cfg.MaxBufferedBytes/64, 16<<10))),
		Fsync:      cfg.Spool.Fsync,
		Stream:     stream,
		Logger:     cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("producer: %w", err)
	}
	s := &spooler{store: store, cfg: cfg.Spool, stop: make(chan struct{})}
	// The greatest record fits into half of the budget, but for its overhead.
	s.share.max = max(cfg.MaxBufferedBytes/2, int64(cfg.MaxUserRecordSize)+aloneOverhead)
	s.calls.max = cfg.MaxBufferedBytes - s.share.max
	s.lanes.max = max(cfg.MaxBufferedBytes/5*4, s.share.max)
	if n := store.Stats().Records; n > 0 {
		cfg.Logger.Info("spool holds records of an earlier process; they are sent first",
			slog.String("stream", stream), slog.String("spool", cfg.Spool.Dir), slog.Int64("records", n))
	}
	return s, nil
}

// spills takes the cost of a record or a batch from the budget, and reports
// whether it must go to the disk instead. Whoever finds no record on the way
// from the disk to the lanes knows that all of its own are in their lanes, so
// going there directly breaks no order.
func (p *Producer) spills(cost int64) bool {
	s := p.spool
	if s.cfg.Mode == SpoolAlways || s.store.Busy() || p.gate.halted.Load() || !s.lanes.tryAcquire(cost) {
		return true
	}
	if !p.budget.tryAcquire(cost) {
		s.lanes.release(cost)
		if p.closed.Load() {
			p.wakeUp() // as in tryPut
		}
		return true
	}
	return false
}

// release gives back what records in memory have taken.
func (p *Producer) release(cost int64) {
	p.budget.release(cost)
	if p.spool != nil {
		p.spool.lanes.release(cost)
	}
}

// spoolOne puts a record on disk. With wait it waits for room.
func (p *Producer) spoolOne(ctx context.Context, rec *aggregation.Record, keyless bool, c call, urgent, wait bool) error {
	es := [1]spool.Entry{p.entry(rec, keyless)}
	return p.spoolAll(ctx, es[:], spooled{call: c, urgent: urgent}, c.done != nil || urgent, wait)
}

// entry returns a record as the spool takes it.
func (p *Producer) entry(rec *aggregation.Record, keyless bool) spool.Entry {
	if keyless {
		return spool.Entry{Data: rec.Data}
	}
	return spool.Entry{PartitionKey: rec.PartitionKey, Hash: p.hash(rec), Explicit: rec.ExplicitHashKey != "", Data: rec.Data}
}

var spoolEntries = sync.Pool{New: func() any { return new([]spool.Entry) }}

// spoolBatch puts the records of a PutBatch on disk.
func (p *Producer) spoolBatch(ctx context.Context, rs []UserRecord, g *group) error {
	pooled := spoolEntries.Get().(*[]spool.Entry)
	es := (*pooled)[:0]
	defer func() {
		clear(es[:cap(es)]) // they are the caller's data
		*pooled = es[:0]
		spoolEntries.Put(pooled)
	}()
	first, size := 0, 0
	for i := range rs {
		rec := asRecord(&rs[i])
		n := len(rec.PartitionKey) + len(rec.Data) + recordOverhead
		if size += n; size > maxSpoolWrite && len(es) > 0 {
			if err := p.spoolPart(ctx, es, first, g); err != nil {
				return p.failRest(rs, first, g, err)
			}
			es, first, size = es[:0], i, n
		}
		es = append(es, p.entry(&rec, keyless(&rs[i])))
	}
	if err := p.spoolPart(ctx, es, first, g); err != nil {
		return p.failRest(rs, first, g, err)
	}
	return nil
}

// spoolEach is spoolBatch for records of which some have a callback of their own.
func (p *Producer) spoolEach(ctx context.Context, rs []UserRecord, g *group, each []func(Result)) error {
	for i := range rs {
		rec := asRecord(&rs[i])
		c := spooled{group: g, base: int32(i)}
		if each[i] != nil {
			c = spooled{call: call{done: p.both(each[i], g, i), tag: rs[i].Tag}}
		}
		es := [1]spool.Entry{p.entry(&rec, keyless(&rs[i]))}
		err := p.spoolAll(ctx, es[:], c, each[i] != nil || g != nil, true)
		if err == nil {
			continue
		}
		if i == 0 {
			return err
		}
		for ; i < len(rs); i++ {
			c := spooled{group: g, base: int32(i)}
			if each[i] != nil {
				c = spooled{call: call{done: p.both(each[i], g, i), tag: rs[i].Tag}}
			}
			p.failSpooled(&c, 0, 1, err)
		}
		return nil
	}
	return nil
}

func (p *Producer) spoolPart(ctx context.Context, es []spool.Entry, first int, g *group) error {
	return p.spoolAll(ctx, es, spooled{group: g, base: int32(first)}, g != nil, true)
}

// failRest reports the records from first on, of a batch of which the spool has
// taken those before.
func (p *Producer) failRest(rs []UserRecord, first int, g *group, err error) error {
	if first == 0 || g == nil {
		return err // nothing was taken, or nobody would hear of the rest
	}
	for i := first; i < len(rs); i++ {
		g.fail(i, &PutError{Stream: p.stream, Err: err})
	}
	if g.finish(len(rs)-first) && g.done != nil {
		p.guard(func() { g.done(g.result()) })
	}
	return nil
}

// spoolAll puts records on disk, by the policy for a disk without room.
func (p *Producer) spoolAll(ctx context.Context, es []spool.Entry, c spooled, attach, wait bool) error {
	s := p.spool
	if attach {
		if err := s.acquireCall(ctx, p, wait); err != nil {
			return err
		}
	}
	err := p.spoolPolicy(ctx, es, c, attach, wait)
	if err != nil && attach {
		s.releaseCall(p)
	}
	return err
}

func (p *Producer) spoolPolicy(ctx context.Context, es []spool.Entry, c spooled, attach, wait bool) error {
	s := p.spool
	blocked := false
	for {
		if err := p.ended(); err != nil {
			return err
		}
		room := s.store.Room()
		err := s.store.Append(es, c, attach)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, spool.ErrClosed):
			return ErrClosed
		case s.cfg.Full == SpoolDropOldest && (errors.Is(err, spool.ErrFull) || vfs.Passing(err)) && s.store.DropOldest():
			continue
		case s.cfg.Full != SpoolBlock:
			s.refused.Add(uint64(len(es)))
			err = fmt.Errorf("%w: %w", ErrSpoolFull, err)
			p.dropped(SpoolDrop{Records: int64(len(es)), Bytes: entriesSize(es), Err: err})
			return err
		case !wait:
			return ErrBufferFull
		}
		if !blocked {
			blocked = true
			p.block()
			defer p.unblock()
		}
		retry := time.NewTimer(spoolRetry)
		select {
		case <-room:
		case <-retry.C:
		case <-p.closing:
		case <-ctx.Done():
			retry.Stop()
			return fmt.Errorf("%w: waiting for the spool: %w", ctx.Err(), err)
		}
		retry.Stop()
	}
}

func entriesSize(es []spool.Entry) (size int64) {
	for i := range es {
		size += int64(len(es[i].PartitionKey) + len(es[i].Data))
	}
	return size
}

// acquireCall takes the memory of a callback whose record is on disk.
func (s *spooler) acquireCall(ctx context.Context, p *Producer, wait bool) error {
	if s.calls.tryAcquire(spoolCallCost) {
		if p.budget.pool.tryAcquire(spoolCallCost) {
			return nil
		}
		s.calls.release(spoolCallCost)
	}
	if !wait {
		if p.closed.Load() {
			return ErrClosed
		}
		return ErrBufferFull
	}
	p.block()
	defer p.unblock()
	if err := s.calls.acquire(ctx, spoolCallCost, p.closing); err != nil {
		return err
	}
	err := p.budget.pool.acquire(ctx, spoolCallCost, p.closing)
	if err != nil {
		s.calls.release(spoolCallCost)
		p.wakeUp()
	}
	return err
}

func (s *spooler) releaseCall(p *Producer) {
	p.budget.pool.release(spoolCallCost)
	s.calls.release(spoolCallCost)
	p.wakeUp() // the collector may wait for the budget to be free
}

func (p *Producer) dropped(d SpoolDrop) {
	if p.spool.cfg.OnDrop != nil {
		p.guard(func() { p.spool.cfg.OnDrop(d) })
	}
}

// seal ends the intake of the spool, before Close waits for it to be empty.
func (s *spooler) seal() {
	s.store.Seal()
	s.sealed.Store(true)
	s.store.Wake()
}

// leave makes the reader leave on disk what it has not read.
func (s *spooler) leave() {
	s.stopOnce.Do(func() { close(s.stop) })
}

// readSpool hands records from the disk to the lanes, until Close has emptied
// the spool or wants the rest left there. One goroutine runs it.
func (p *Producer) readSpool() {
	s := p.spool
	defer func() {
		s.finished.Store(true)
		p.wakeUp()
	}()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-s.stop:
			p.leaveSpooled()
			return
		default:
		}
		sealed := s.sealed.Load() // before Next, so that nothing comes after it
		b, lost, err := s.store.Next()
		switch {
		case lost != nil:
			p.loseSpooled(lost)
			continue
		case b != nil:
			p.unspool(b)
			continue
		case err == nil && sealed && !s.store.Busy():
			return
		case err != nil:
			p.log.Warn("spool cannot be read now; it is tried again", slog.String("spool", s.cfg.Dir), slog.Any("err", err))
			retry.Reset(spoolRetry)
		default:
			retry.Stop()
		}
		select {
		case <-s.store.Data():
		case <-retry.C:
		case <-s.stop:
		}
	}
}

// unspool hands a block to the lanes.
func (p *Producer) unspool(b *spool.Block[spooled]) {
	s := p.spool
	age := max(time.Now().UnixMilli()-b.Time, 0)
	born := p.now() - age*int64(time.Millisecond)
	// A record is known by its number on disk, so that its copy is recognised if
	// another process sends it again. That does not do for records without a key:
	// the other process may send them to another shard, whose readers could have
	// seen later numbers.
	var from *origin
	if p.cfg.DuplicateStamps {
		from = &origin{stamped: true, stamp: aggregation.Stamp{Producer: s.store.Identity().ID, Lane: b.Epoch, Keys: hashkey.All}}
	}
	var decimal []byte
	for {
		number, e, c, ok := b.Next()
		if !ok {
			return
		}
		rec := aggregation.Record{PartitionKey: e.PartitionKey, Data: e.Data}
		if rec.PartitionKey == "" {
			rec.PartitionKey = outerKey
		}
		if e.Explicit {
			decimal = e.Hash.Append(decimal[:0])
			rec.ExplicitHashKey = string(decimal)
		}
		x := arrival{born: born, spool: number, hash: e.Hash}
		urgent, index := false, 0
		if c != nil {
			x.call, x.group, urgent = c.call, c.group, c.urgent
			index = b.Index(number)
			x.index = c.base + int32(index)
		}
		if len(rec.PartitionKey)+len(rec.Data) > p.maxRecord && b.Old {
			p.refuseSpooled(number)
			continue
		}
		if !s.acquire(p, recordCost(&rec, p.batches.overhead)) {
			p.leaveBlock(b, number, c, index)
			return
		}
		if c != nil && index == 0 {
			s.releaseCall(p) // it is the lane's from here on
		}
		if e.PartitionKey == "" && !e.Explicit {
			p.appendKeyless(&rec, &x, urgent)
		} else {
			p.appendKeyed(&rec, &x, urgent, from)
		}
		s.handed.Add(1)
	}
}

// refuseSpooled gives up a record of an earlier process that was allowed larger
// ones. It might not even fit into memory.
func (p *Producer) refuseSpooled(number uint64) {
	p.stats.recordsFailed.Add(1)
	p.spool.store.Ack(func(yield func(uint64) bool) { yield(number) })
	p.log.Error("record of the spool is larger than MaxUserRecordSize and is given up; give every producer on the directory the same MaxUserRecordSize",
		slog.String("stream", p.stream), slog.String("spool", p.spool.cfg.Dir), slog.Uint64("number", number))
}

// acquire takes the cost of a record on its way from the disk. It reports false
// when the rest is to be left there.
func (s *spooler) acquire(p *Producer, cost int64) bool {
	if s.share.acquire(context.Background(), cost, s.stop) != nil {
		return false
	}
	if s.lanes.acquire(context.Background(), cost, s.stop) != nil {
		s.share.release(cost)
		return false
	}
	if p.budget.acquire(context.Background(), cost, s.stop) != nil {
		s.lanes.release(cost)
		s.share.release(cost)
		return false
	}
	return true
}

// leaveBlock reports what is left of a block from a record on, which came with c.
func (p *Producer) leaveBlock(b *spool.Block[spooled], number uint64, c *spooled, index int) {
	cause := ErrSpooled
	p.spool.store.Holds(func(yield func(uint64) bool) { yield(number) }, func(uint64) {
		// Its segment was dropped while the block was here.
		cause = ErrClosed
		p.stats.unsentRecords.Add(int64(b.Left()) + 1)
		if !b.Old {
			p.stats.recordsFailed.Add(uint64(b.Left()) + 1)
		}
	})
	p.giveBack(c, index, 1, cause)
	for _, r := range b.Rest() {
		p.giveBack(&r.C, r.Index, r.Count, cause)
	}
}

// giveBack reports n records of c from an index on as not sent.
func (p *Producer) giveBack(c *spooled, index, n int, cause error) {
	if c == nil {
		return
	}
	if index == 0 {
		p.spool.releaseCall(p)
	}
	p.failSpooled(c, index, n, cause)
}

// failSpooled calls the callback of records that come to no lane.
func (p *Producer) failSpooled(c *spooled, index, n int, cause error) {
	err := &PutError{Stream: p.stream, Err: cause}
	switch {
	case c.group != nil:
		for i := range n {
			c.group.fail(int(c.base)+index+i, err)
		}
		if c.group.finish(n) && c.group.done != nil {
			p.guard(func() { c.group.done(c.group.result()) })
		}
	case c.done != nil:
		p.invoke(c.done, &Result{Tag: c.tag, Err: err})
	}
}

// loseSpooled reports records that were dropped, or that the disk has lost.
func (p *Producer) loseSpooled(l *spool.Loss[spooled]) {
	cause := l.Err
	if errors.Is(cause, spool.ErrFull) {
		cause = fmt.Errorf("%w: %w", ErrSpoolFull, cause)
	}
	for i := range l.Calls {
		p.spool.releaseCall(p)
		p.failSpooled(&l.Calls[i], 0, l.Counts[i], cause)
	}
	if !l.Old {
		p.stats.recordsFailed.Add(uint64(l.Records))
	}
	p.dropped(SpoolDrop{Records: l.Records, Bytes: l.Bytes, Err: cause})
}

// leaveSpooled reports all that is on disk and was not read as left there.
func (p *Producer) leaveSpooled() {
	calls, lost := p.spool.store.Leave()
	for _, l := range lost {
		p.loseSpooled(l)
	}
	for i := range calls {
		p.giveBack(&calls[i].C, 0, calls[i].Count, ErrSpooled)
	}
}

// settleSpooled ends the way of a batch whose records came from the disk. They
// are not needed there any more, unless the producer was closed before it knew.
func (p *Producer) settleSpooled(b *batch, abandoned bool) {
	p.spool.share.release(b.share)
	if !abandoned {
		p.spool.store.Ack(b.spoolNumbers)
	}
}

// spoolNumbers yields the numbers of the records that came from the spool.
func (b *batch) spoolNumbers(yield func(uint64) bool) {
	for i := range b.rares {
		if n := b.rares[i].spool; n != 0 && !yield(n) {
			return
		}
	}
}

// spooledCost returns the part of cost that is of records in the spool.
func (b *batch) spooledCost() (cost int64) {
	b.builder.Walk(func(i int, r aggregation.Record) bool {
		if b.rare(i).spool != 0 {
			cost += recordCost(&r, b.overhead)
		}
		return true
	})
	return cost
}

// forgetDropped makes records that were dropped from the spool while they were
// here ones that never were there.
func (p *Producer) forgetDropped(b *batch) {
	at := 0
	p.spool.store.Holds(b.spoolNumbers, func(number uint64) {
		for b.rares[at].spool != number {
			at++
		}
		b.rares[at].spool = 0
		b.spooled--
	})
}

// closeSpool frees the spool, when nothing runs any more.
func (p *Producer) closeSpool() {
	s := p.spool
	s.closeErr = s.store.Close()
	if n := s.store.Stats().Records; n > 0 {
		p.log.Warn("producer closed with records in its spool; the next producer on the directory sends them",
			slog.String("stream", p.stream), slog.String("spool", s.cfg.Dir), slog.Int64("records", n))
	}
}

// stats fills in what the spool knows.
func (s *spooler) stats(st *Stats) {
	handed := s.handed.Load() // before what it is subtracted from
	d := s.store.Stats()
	st.Spooling = s.cfg.Mode == SpoolAlways || s.store.Busy()
	st.SpoolRecords, st.SpoolBytes = d.Records, d.Bytes
	st.SpoolAppended, st.SpoolReplayed = d.Appended, d.Replayed
	st.SpoolDropped = d.Dropped + s.refused.Load()
	st.SpoolMissing = d.Missing
	st.SpoolLost, st.SpoolTorn, st.SpoolDamaged, st.SpoolFailures = d.Lost, d.Torn, d.Damaged, d.Failures
	// The lanes count those that came to them from the disk as received.
	st.UserRecordsReceived += d.Appended - handed
	st.UserRecordsPending += d.Unread
}
