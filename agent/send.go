package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/streamkit/streamkit/producer"
)

// sender gives spans to the sink until ctx ends. While some wait to be sent again,
// no new one goes: a stream that refuses records refuses the next ones too, and
// the order of a file suffers least.
func (fl *flow) sender(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		in := fl.sendC
		var due <-chan time.Time
		if at, waiting, ready := fl.retryDue(); waiting {
			if in = nil; ready {
				due = timer.C
				timer.Reset(time.Until(at))
			}
		}
		select {
		case s := <-in:
			fl.put(ctx, s)
		case <-due:
			if s := fl.takeRetry(); s != nil {
				if s.g.stopped.Swap(false) {
					fl.resumer.ResumeKey(s.g.key, "")
				}
				if !fl.expire(s) {
					fl.put(ctx, s)
				}
			}
		case <-fl.retryWake:
		case <-ctx.Done():
			return
		}
	}
}

func (fl *flow) put(ctx context.Context, s *span) {
	g := s.g
	if fl.resumer != nil {
		g.atSink.Add(1)
	}
	err := fl.sink.PutBatch(ctx, s.recs, s.finish)
	if err == nil {
		return
	}
	if errors.Is(err, producer.ErrTooLarge) {
		fl.putParts(ctx, s)
		return
	}
	if ctx.Err() == nil {
		fl.retryLater(s, err)
	} else {
		fl.discard(s)
	}
	if fl.resumer != nil {
		fl.atRest(g)
	}
}

// atRest notes that the sink has one span of g less. After a failure the next one of
// g goes when all have come back: they are to be sent in their order.
func (fl *flow) atRest(g *file) {
	if g.atSink.Add(-1) == 0 && g.stopped.Load() {
		poke(fl.retryWake)
	}
}

// putParts gives s to a sink that has no room for all of it at once: short lines cost
// more than they are long, and an option may make them longer.
func (fl *flow) putParts(ctx context.Context, s *span) {
	p := &parts{span: s, left: 1}
	p.put(ctx, 0, len(s.recs))
	p.finish(0, producer.BatchResult{})
}

// parts are the batches that a span is put in if it is too large for one.
type parts struct {
	span *span

	mu     sync.Mutex              // guards what follows
	left   int                     // batches that are not finished, and one while they are being put
	failed []producer.FailedRecord // by their index in the span
	never  []int                   // records that the sink has no room for even alone
}

// put puts the records from one index up to another, in halves if need be.
func (p *parts) put(ctx context.Context, from, to int) {
	p.mu.Lock()
	p.left++
	p.mu.Unlock()
	err := p.span.g.flow.sink.PutBatch(ctx, p.span.recs[from:to], func(res producer.BatchResult) { p.finish(from, res) })
	if err == nil {
		return
	}
	var res producer.BatchResult
	switch tooLarge := errors.Is(err, producer.ErrTooLarge); {
	case tooLarge && to-from > 1:
		middle := from + (to-from)/2
		p.put(ctx, from, middle)
		p.put(ctx, middle, to)
	case tooLarge:
		p.mu.Lock()
		p.never = append(p.never, from)
		p.mu.Unlock()
	default:
		for i := range to - from {
			res.Failed = append(res.Failed, producer.FailedRecord{Index: i, Err: err})
		}
	}
	p.finish(from, res)
}

// finish notes the fate of a batch that begins at an index of the span, and with the
// last that of the span.
func (p *parts) finish(from int, res producer.BatchResult) {
	p.mu.Lock()
	for _, f := range res.Failed {
		f.Index += from
		p.failed = append(p.failed, f)
	}
	p.left--
	last := p.left == 0
	p.mu.Unlock()
	if !last {
		return
	}
	slices.SortFunc(p.failed, func(a, b producer.FailedRecord) int { return a.Index - b.Index })
	p.span.g.flow.giveUpLarge(p)
	p.span.result(producer.BatchResult{Records: len(p.span.recs), Failed: p.failed})
}

// giveUpLarge takes the records out of the span that the sink will never have room
// for.
func (fl *flow) giveUpLarge(p *parts) {
	if len(p.never) == 0 {
		return
	}
	var kept []producer.UserRecord
	var failed []producer.FailedRecord
	for i, rec := range p.span.recs {
		if slices.Contains(p.never, i) {
			fl.stats.oversize.Add(1)
			fl.lost(lossOversize, int64(len(rec.Data)))
			continue
		}
		if len(p.failed) > 0 && p.failed[0].Index == i {
			failed = append(failed, producer.FailedRecord{Index: len(kept), Err: p.failed[0].Err})
			p.failed = p.failed[1:]
		}
		kept = append(kept, rec)
	}
	p.span.recs, p.failed = kept, failed
	fl.log.Error("records are larger than the producer takes and are left out; lower maxRecordBytes, or raise maxMemoryBytes",
		slog.Int("records", len(p.never)))
}

// release frees what a flow that has ended still holds: spans that were not
// delivered, and its part of the memory.
func (fl *flow) release() {
	for s := fl.takeRetry(); s != nil; s = fl.takeRetry() {
		fl.discard(s)
	}
	select {
	case s := <-fl.sendC:
		fl.discard(s)
		fl.release()
	default:
		fl.pool.Close()
	}
}

// expire gives up the records of s if they have waited longer than RecordTTL, and
// reports whether none is left. Those for which there is no room among the dead
// letters stay.
func (fl *flow) expire(s *span) bool {
	if fl.cfg.RecordTTL == 0 || time.Since(s.born) < fl.cfg.RecordTTL {
		return false
	}
	given := 0
	for _, rec := range s.recs {
		if fl.cfg.DeadLetterFile == "" {
			fl.lost(lossExpired, int64(len(rec.Data)))
		} else if fl.cutter.dead.add(rec.Data) {
			fl.stats.deadLetters.Add(1)
		} else {
			break
		}
		given++
	}
	fl.stats.expired.Add(uint64(given))
	fl.mu.Lock()
	report := given > 0 && time.Since(fl.expireLog) >= time.Minute
	if report {
		fl.expireLog = time.Now()
	}
	fl.mu.Unlock()
	if report {
		fl.log.Error("the stream did not take records within recordTtlSeconds; they are given up",
			slog.Int("records", given), slog.Uint64("records_so_far", fl.stats.expired.Load()))
	}
	if s.recs = s.recs[given:]; len(s.recs) > 0 {
		return false
	}
	s.complete()
	return true
}

// retryLater keeps s to be sent again. Nothing that was read is given up, unless
// RecordTTL says so: the position stays before it, and reading stops when the memory
// is used up.
func (fl *flow) retryLater(s *span, err error) {
	if !errors.Is(err, producer.ErrClosed) && fl.expire(s) {
		return
	}
	now := time.Now()
	fl.mu.Lock()
	fl.retry = append(fl.retry, s)
	fl.failures++
	failures := fl.failures
	if failures == 1 {
		fl.blockedAt = now
	}
	fl.lastErr = err
	backoff := min(fl.cfg.RetryInitial<<min(failures-1, 20), fl.cfg.RetryMax)
	fl.retryAt = now.Add(backoff)
	// A sink that was closed with records on their way gives them back: at the end
	// of the flow, which says so itself.
	report := (failures == 1 || now.Sub(fl.logged) >= time.Minute) && !errors.Is(err, producer.ErrClosed)
	if report {
		fl.logged = now
	}
	fl.mu.Unlock()
	fl.stats.refused.Add(1)
	if report {
		fl.log.Error("the stream refuses records; nothing is lost, they are sent again",
			slog.Any("err", err), slog.Int("failures", failures), slog.Duration("backoff", backoff))
	}
	poke(fl.retryWake)
}

// recovered notes that a batch was taken.
func (fl *flow) recovered() {
	fl.mu.Lock()
	failures := fl.failures
	if failures > 0 {
		fl.failures, fl.lastErr, fl.retryAt = 0, nil, time.Time{}
	}
	fl.mu.Unlock()
	if failures > 0 {
		fl.log.Info("the stream takes records again", slog.Int("failures", failures))
		poke(fl.retryWake)
	}
}

// retryDue returns when the next retry may go, whether any waits to, and whether it
// waits for nothing but that time.
func (fl *flow) retryDue() (at time.Time, waiting, ready bool) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.retryAt, len(fl.retry) > 0, fl.nextRetryLocked() >= 0
}

// takeRetry returns the oldest span that may be sent again now, or nil.
func (fl *flow) takeRetry() *span {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	i := fl.nextRetryLocked()
	if i < 0 {
		return nil
	}
	s := fl.retry[i]
	fl.retry = slices.Delete(fl.retry, i, i+1)
	return s
}

// nextRetryLocked returns the place of the oldest span that may be sent again, or -1.
// Those of a file with one that failed may not while the sink has others of it, which
// will come back, too.
func (fl *flow) nextRetryLocked() int {
	next := -1
	for i, s := range fl.retry {
		if s.g.stopped.Load() && s.g.atSink.Load() > 0 {
			continue
		}
		if next < 0 || s.seq < fl.retry[next].seq {
			next = i
		}
	}
	return next
}

// flusher asks the sink to hurry when it is told to, until ctx ends.
func (fl *flow) flusher(ctx context.Context) {
	for {
		select {
		case <-fl.flush:
			if err := fl.sink.Flush(ctx); err != nil && ctx.Err() == nil {
				fl.log.Debug("flush failed", slog.Any("err", err))
			}
		case <-ctx.Done():
			return
		}
	}
}

// drain waits until every span is completed, or ctx ends. It reports whether none
// is left.
func (fl *flow) drain(ctx context.Context) bool {
	tick := time.NewTicker(rescan)
	defer tick.Stop()
	for fl.outstanding.Load() > 0 {
		poke(fl.flush)
		select {
		case <-fl.wake:
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
