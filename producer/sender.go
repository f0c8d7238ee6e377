package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// verdict is what became of a batch in a request.
type verdict int

const (
	pending   verdict = iota
	retry             // goes back to the head of its lane
	throttled         // as retry, when the shard's limit allows it
	halve             // refused for what it holds: goes back in two halves
	stored            // acknowledged
	disputed          // stored on another shard: the resharder decides
	failed            // given up, for err
)

// item is a batch on its way through a request.
type item struct {
	lane    *lane
	batch   *batch
	verdict verdict
	shardID string // where it was stored
	seq     string
	err     error
	sent    int64 // when the request left
	held    bool  // not in this request: it is behind another batch of the lane
	unclear bool  // it failed, and may have been stored
	refused bool  // it failed when it was put: its key was stopped
	// abandoned is set with failed if the records may be sent by a later process;
	// unsent besides, if Close did not wait for more attempts.
	abandoned, unsent bool
}

// perform sends a request and settles its batches. It holds a place of the
// gate while the request runs, not while callbacks do.
func (p *Producer) perform(ctx context.Context, items []item, bytes int64) {
	items = p.pack(p.expire(items))
	open := make([]*item, 0, len(items))
	for i := range items {
		if items[i].verdict == pending && !items[i].held {
			open = append(open, &items[i])
		}
	}
	if len(open) > 0 {
		p.send(ctx, open)
	}
	for i := range items {
		if i == 0 || items[i].lane != items[i-1].lane {
			items[i].lane.answer()
		}
	}
	p.gate.leave(bytes)
	p.wakeUp()

	for len(items) > 0 {
		n := 1
		heard := items[0].batch.heard
		for n < len(items) && items[n].lane == items[0].lane {
			heard = heard || items[n].batch.heard
			n++
		}
		l, own := items[0].lane, items[:n]
		items = items[n:]
		if heard && len(items) > 0 {
			// A slow callback must delay its own lane only.
			p.wg.Go(func() { p.settle(l, own) })
		} else {
			p.settle(l, own)
		}
	}
}

// expire cuts the records that reached RecordTTL out of batches: they become
// batches of their own, already failed, before the rest.
func (p *Producer) expire(items []item) []item {
	if p.cfg.RecordTTL < 0 {
		return items
	}
	before := p.now() - int64(p.cfg.RecordTTL)
	expired := func(it item) bool { return it.batch.oldest < before }
	if !slices.ContainsFunc(items, expired) {
		return items
	}
	out := make([]item, 0, len(items)+1)
	keys := p.failing()
	for _, it := range items {
		old, rest := p.batches.split(it.batch, func(_ int, m *meta) bool { return m.born < before })
		if old != nil {
			p.stats.expired.Add(uint64(len(old.meta)))
			err := ErrExpired
			cause := old.lastErr
			if it.lane.shardID == "" && !it.lane.auto {
				cause = p.listTroubles.cause()
			}
			if cause != nil {
				err = fmt.Errorf("%w: %w", ErrExpired, cause)
			}
			out = append(out, item{lane: it.lane, batch: old, verdict: failed, err: err})
			if keys != nil {
				keys.add(it.lane, old)
			}
		}
		if rest != nil {
			var hit *batch
			if hit, rest = p.cutFollowers(it.lane, keys, rest); hit != nil {
				out = append(out, item{lane: it.lane, batch: hit, verdict: failed, err: ErrEarlierFailed})
			}
		}
		if rest != nil {
			out = append(out, item{lane: it.lane, batch: rest})
		}
	}
	return out
}

// send makes one PutRecords call and gives each item its verdict.
func (p *Producer) send(ctx context.Context, items []*item) {
	p.sealAll(items)
	entries := make([]types.PutRecordsRequestEntry, len(items))
	for i, it := range items {
		b := it.batch
		if !b.shown {
			b.shown = true
			p.onSealed(it)
		}
		b.attempts++
		entries[i] = types.PutRecordsRequestEntry{Data: b.data, PartitionKey: &b.partitionKey}
		if !it.lane.auto {
			entries[i].ExplicitHashKey = &b.hashKey
		}
	}
	in := &kinesis.PutRecordsInput{StreamName: p.streamName, StreamARN: p.streamARN, Records: entries}

	p.stats.requests.Add(1)
	begin := p.now()
	for _, it := range items {
		it.sent = begin
	}
	call := ctx
	var told []func(RequestResult)
	if len(p.hooks.request) > 0 {
		call, told = p.onRequest(ctx, items, begin)
	}
	var out *kinesis.PutRecordsOutput
	var err error
	if p.recordPutter != nil {
		out, err = p.putRecord(call, items[0], &entries[0])
	} else {
		out, err = p.putRecords(call, in)
	}
	p.stats.requestNanos.Add(uint64(p.now() - begin))
	if err == nil && len(out.Records) != len(items) {
		err = errEntryCount
	}
	p.observe(items, begin, out, err, told)
	if err != nil {
		p.failRequest(ctx, items, err)
		return
	}
	p.gate.resume()
	for i, it := range items {
		p.judge(it, &out.Records[i])
	}
}

func (p *Producer) putRecords(ctx context.Context, in *kinesis.PutRecordsInput) (*kinesis.PutRecordsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.RequestTimeout)
	defer cancel()
	return p.putter.putRecords(ctx, in)
}

// failRequest gives verdicts for a request that failed as a whole.
func (p *Producer) failRequest(ctx context.Context, items []*item, err error) {
	p.stats.countError(err)
	flt := p.requestFault(err)
	act := flt.action
	if act == actHalve && len(items) > 1 {
		// One record is refused, and its neighbours with it.
		p.send(ctx, items[:len(items)/2])
		p.send(ctx, items[len(items)/2:])
		return
	}
	switch act {
	case actRenew:
		p.renew()
		p.gate.pause(p.now(), err, renewBackoff, p.rand)
	case actSlow:
		p.gate.pause(p.now(), err, slowBackoff, p.rand)
	case actPause:
		p.gate.pause(p.now(), err, pauseBackoff, p.rand)
	default:
	}
	if isNotFound(err) {
		p.suspect()
	}
	if act != actHalve && act != actFail && ctx.Err() == nil {
		p.troubles.begin(p, err)
	}
	for _, it := range items {
		it.err = err
		it.unclear = flt.unclear
		it.batch.unsure = it.batch.unsure || act != actThrottle
		switch act {
		case actRetry, actRenew, actSlow, actPause:
			it.verdict = retry
			if act == actPause && p.cfg.FailIfPaused {
				it.verdict, it.err = failed, fmt.Errorf("%w: %w", ErrPaused, err)
			}
		case actThrottle:
			it.verdict = throttled
		case actFail:
			it.verdict = failed
			if !errors.Is(err, ErrThrottled) {
				it.err = fmt.Errorf("%w: %w", ErrThrottled, err)
			}
		case actHalve:
			it.verdict = halve
			if len(it.batch.meta) == 1 {
				it.verdict = failed
			}
		}
	}
}

// judge gives the verdict for one entry of an answer.
func (p *Producer) judge(it *item, e *types.PutRecordsResultEntry) {
	if code := aws.ToString(e.ErrorCode); code != "" {
		it.err = &EntryError{Code: code, Message: aws.ToString(e.ErrorMessage)}
		p.stats.countCode(code)
		flt := p.codeFault(code)
		it.unclear = flt.unclear
		it.batch.unsure = it.batch.unsure || flt.action != actThrottle
		switch flt.action {
		case actFail:
			it.verdict = failed
		case actThrottle:
			it.verdict = throttled
		default:
			it.verdict = retry
		}
		return
	}
	it.shardID, it.seq = aws.ToString(e.ShardId), aws.ToString(e.SequenceNumber)
	switch {
	case it.seq == "":
		p.stats.countError(errNoNumber)
		it.verdict, it.err = retry, errNoNumber
		it.batch.unsure, it.unclear = true, true
	case it.shardID == it.lane.shardID || !it.batch.aggregated || it.lane.auto:
		// A record of its own is never discarded by a reader.
		it.verdict = stored
	default:
		it.verdict = disputed
	}
	p.troubles.end(p)
}

// settle ends the flight of a lane: callbacks for what is finished, back to
// the head with the rest. Nothing else of the lane moves meanwhile.
func (p *Producer) settle(l *lane, items []item) {
	var back []*batch
	var disputes []item
	landed := ""
	succeeded, failures, unclear := false, false, false
	var records, bytes int64
	var keys keySet // of what failed
	if !p.aborting.Load() {
		keys = p.failing()
	}
	refused := int64(-1) // when the last set left that the shard had no room for
	for i := range items {
		it := &items[i]
		switch it.verdict {
		case pending:
			back = append(back, it.batch)
			continue
		case retry, throttled, halve, disputed:
			if p.aborting.Load() || p.unfit.Load() != nil {
				p.abandon(it)
				break
			}
			unclear = unclear || it.unclear
			failures = failures || it.verdict == retry
			if it.verdict == throttled && (refused < 0 || it.sent > refused) {
				refused = it.sent
			}
			switch {
			case it.verdict == disputed:
				disputes, landed = append(disputes, *it), it.shardID
			case it.verdict == halve:
				half := len(it.batch.meta) / 2
				a, b := p.batches.split(it.batch, func(i int, _ *meta) bool { return i < half })
				back = append(back, a, b)
			default:
				p.stats.retries.Add(1)
				p.onBack(it)
				it.batch.lastErr = it.err
				if it.verdict == retry && p.cfg.Compression == CompressionNone {
					it.batch.unseal()
				}
				back = append(back, it.batch)
			}
			continue
		case stored:
			succeeded = true
			if it.shardID != l.shardID && !l.auto && p.unexplained.Load() < maxUnexplained {
				landed = it.shardID
			}
		case failed:
			if keys != nil && !it.refused {
				keys.add(l, it.batch)
			}
		}
	}
	if len(keys) > 0 && len(back) > 0 {
		// What was not sent with the part that failed follows it, too.
		l.mu.Lock()
		l.unshiftLocked(back)
		l.mu.Unlock()
		back = nil
	}
	// Before anybody hears of a failure: what is put from then on goes on, and would
	// otherwise be taken for a follower, or one part of a PutBatch and not the other.
	followers := p.failFollowers(l, keys)
	for i := range items {
		if it := &items[i]; it.verdict == stored || it.verdict == failed {
			records += int64(len(it.batch.meta))
			bytes += it.batch.cost
			p.finish(it)
		}
	}
	for _, it := range followers {
		records += int64(len(it.batch.meta))
		bytes += it.batch.cost
		p.finish(&it)
	}
	if landed != "" {
		p.stats.wrongShard.Add(1)
	}

	now := p.now()
	if refused >= 0 {
		l.limit.refused(now, refused, p.rand)
	}
	l.mu.Lock()
	l.unshiftLocked(back)
	l.records -= records
	l.bytes -= bytes
	late := l.landLocked()
	switch {
	case failures:
		// What waits may wait for long.
		for _, b := range l.sealed {
			if p.packer == nil {
				b.unsealAhead()
			}
			b.compact()
		}
		l.notBefore = now + int64(laneBackoff.Wait(l.failures, p.rand))
		if unclear {
			l.notBefore = max(l.notBefore, now+int64(p.cfg.ReorderGuard))
		}
		l.failures++
	case succeeded:
		l.failures, l.notBefore = 0, 0
	}
	if landed != "" {
		l.landed, l.disputed, l.fenced = landed, disputes, true
	}
	fenced := l.fenced
	l.mu.Unlock()

	if landed != "" {
		p.refreshNow()
	}
	if len(late) > 0 {
		p.settle(l, late)
		return
	}
	if fenced {
		p.signalIdle()
	}
	p.note(l)
}

// finish reports the fate of a batch and frees what it holds. The bytes are
// free before the callbacks run, so that one of them may Put.
func (p *Producer) finish(it *item) {
	b := it.batch
	n := uint64(len(b.meta))
	if it.verdict == stored {
		p.stats.recordsPut.Add(n)
		p.stats.kinesisRecordsPut.Add(1)
		p.stats.kinesisBytesPut.Add(uint64(len(b.data)))
		it.lane.limit.accepted(p.now(), 1, len(b.data)+len(b.partitionKey))
		if after, regressed := it.lane.acknowledge(it.shardID, it.seq); regressed {
			p.stats.regressions.Add(1)
			p.onRegression(it, after)
		}
	} else if !it.unsent {
		if it.abandoned {
			n -= uint64(b.spooled)
		}
		p.stats.recordsFailed.Add(n)
	}
	p.release(b.cost)
	if b.share > 0 {
		p.settleSpooled(b, it.abandoned)
	}
	if it.unsent && p.spool != nil {
		p.spool.keep(it)
		return
	}
	p.tell(it)
}

// tell reports the fate of a batch to whoever wants to know, and frees it.
func (p *Producer) tell(it *item) {
	b := it.batch
	if len(p.hooks.done) > 0 {
		p.onDone(it)
	}
	if b.heard {
		p.deliver(it)
	}
	p.batches.put(b)
}

// abandon turns an item that would need more attempts into a failed one,
// because the producer is being aborted, or the stream can never take it.
func (p *Producer) abandon(it *item) {
	cause := it.err
	it.verdict, it.abandoned = failed, true
	if err := p.unfit.Load(); err != nil && !p.aborting.Load() {
		it.err = *err
		return
	}
	it.unsent = true
	it.err = ErrClosed
	if cause != nil {
		it.err = fmt.Errorf("%w: %w", ErrClosed, cause)
	}
	if p.spool == nil {
		p.countUnsent(it)
	} // else saveRest does
}

// countUnsent counts what of an abandoned item is nowhere but here.
func (p *Producer) countUnsent(it *item) {
	n := len(it.batch.meta) - it.batch.spooled
	p.stats.unsentRecords.Add(int64(n))
	p.stats.unsentBytes.Add(it.batch.cost - it.batch.spooledCost())
	p.stats.recordsFailed.Add(uint64(n))
}

// refusing returns why what a lane holds fails under FailIfPaused, or nil.
func (p *Producer) refusing(l *lane, now int64) error {
	var err error
	switch {
	case p.gate.shut(now):
		err = p.troubles.cause()
	case l.isFenced():
		err = p.listTroubles.cause()
	}
	if err == nil || p.requestAction(err) != actPause {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrPaused, err)
}

// failAll fails all that a lane holds and has not in flight.
func (p *Producer) failAll(l *lane, err error) {
	items := l.takeAll()
	if len(items) == 0 {
		return
	}
	for i := range items {
		items[i].verdict, items[i].err = failed, err
	}
	p.wg.Go(func() { p.settle(l, items) })
}

// giveUp fails all that a lane holds and has not in flight.
func (p *Producer) giveUp(l *lane) {
	items := l.takeAll()
	if len(items) == 0 {
		return
	}
	for i := range items {
		p.abandon(&items[i])
	}
	p.wg.Go(func() { p.settle(l, items) })
}
