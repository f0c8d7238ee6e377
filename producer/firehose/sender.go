package firehose

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"github.com/streamkit/streamkit/producer"
)

// errEntryCount is the fault of an answer that cannot be matched with its request.
// Anything may have been stored.
var errEntryCount = errors.New("answer has another number of records than the request")

// run sends what is ready, until the producer is closed and nothing is left.
func (p *Producer) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := p.now()
		p.mu.Lock()
		again := p.undelayLocked(now)
		p.giveUpLocked(now)
		if p.open != nil && p.open.born+int64(p.cfg.RecordMaxBufferedTime) <= now {
			p.sealLocked()
		}
		again = earlier(again, p.sendLocked(ctx, now))
		if p.open != nil {
			again = earlier(again, p.open.born+int64(p.cfg.RecordMaxBufferedTime))
		}
		if p.cfg.RecordTTL >= 0 && len(p.queue) > 0 {
			again = earlier(again, max(now, p.queue[0].born+int64(p.cfg.RecordTTL))+1)
		}
		over := p.closed && p.order.empty()
		p.mu.Unlock()
		if over {
			return
		}
		if again > 0 {
			timer.Reset(time.Duration(again - now))
		} else {
			timer.Stop()
		}
		select {
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// earlier returns the earlier of two times; 0 stands for never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// undelayLocked puts what has waited long enough after a failure of its own to the
// head of the queue. It returns when to look again; 0 means never.
func (p *Producer) undelayLocked(now int64) (again int64) {
	var due, left []*packed
	for _, b := range p.delayed {
		switch {
		case b.notBefore <= now || p.aborting:
			due = append(due, b)
		default:
			left = append(left, b)
			again = earlier(again, b.notBefore)
		}
	}
	if len(due) > 0 {
		p.delayed = left
		p.queue = slices.Concat(due, p.queue)
	}
	return again
}

// giveUpLocked fails what is too old, or all if the producer is being aborted.
func (p *Producer) giveUpLocked(now int64) {
	n := 0
	for n < len(p.queue) && (p.aborting || p.expired(p.queue[n], now)) {
		n++
	}
	if n == 0 {
		return
	}
	given, cause := p.takeLocked(n), producer.ErrExpired
	if p.aborting {
		cause = producer.ErrClosed
	}
	p.wg.Go(func() {
		for _, b := range given {
			p.fail(b, cause, b.lastErr)
		}
	})
}

// takeLocked removes the first n of the queue.
func (p *Producer) takeLocked(n int) []*packed {
	taken := slices.Clone(p.queue[:n])
	clear(p.queue[:n])
	p.queue = p.queue[n:]
	return taken
}

func (p *Producer) expired(b *packed, now int64) bool {
	return p.cfg.RecordTTL >= 0 && b.born < now-int64(p.cfg.RecordTTL)
}

// sendLocked begins requests of what the queue holds. It returns when to try
// again; 0 means when woken.
func (p *Producer) sendLocked(ctx context.Context, now int64) (again int64) {
	for len(p.queue) > 0 {
		ok, at := p.flow.admits(now, p.requests, p.cfg.MaxConnections)
		if !ok {
			return at
		}
		room := p.flow.room(p.cfg.CollectionMaxSize)
		n, size := 0, 0
		for n < min(len(p.queue), p.cfg.CollectionMaxCount) {
			if size += len(p.queue[n].data); size > room && n > 0 {
				size -= len(p.queue[n].data)
				break
			}
			n++
		}
		items := p.takeLocked(n)
		p.requests++
		p.flow.sent(now, size)
		p.wg.Go(func() { p.perform(ctx, items) })
	}
	return 0
}

// outcome is what has become of packed records in a request.
type outcome struct {
	back   []*packed // to be sent again
	stored []stored
	failed []failure
}

type stored struct {
	b  *packed
	id string
}

type failure struct {
	b           *packed
	kind, cause error // kind may be nil
}

// perform sends a request and settles what it carried. Its place among those in
// flight is free before callbacks run.
func (p *Producer) perform(ctx context.Context, items []*packed) {
	begin := p.now()
	var out outcome
	act, refused := p.send(ctx, items, &out)
	now := p.now()
	partly := len(out.stored) > 0
	bytes := 0
	for _, s := range out.stored {
		bytes += len(s.b.data)
	}
	var cause error
	if len(out.back) > 0 {
		cause = out.back[0].lastErr
	}

	p.mu.Lock()
	wasPaused := p.flow.paused
	if partly || !refused {
		p.flow.answered(now, bytes)
	}
	if refused {
		p.flow.failed(act, partly, begin, now)
	} else {
		p.flow.succeeded(now)
	}
	paused := p.flow.paused
	warn := cause != nil && !paused && ctx.Err() == nil && p.flow.warn(now)
	p.requests--
	switch {
	case p.aborting:
		for _, b := range out.back {
			out.failed = append(out.failed, failure{b, producer.ErrClosed, b.lastErr})
		}
	case partly && act == actRetry:
		// Others of the request were stored: the fault is not the delivery
		// stream's, and need not hold the rest up.
		for _, b := range out.back {
			b.notBefore = now + int64(retryBackoff.Wait(b.attempts-1, nil))
			if ttl := int64(p.cfg.RecordTTL); ttl >= 0 {
				b.notBefore = min(b.notBefore, b.born+ttl+1)
			}
		}
		p.delayed = append(p.delayed, out.back...)
	case len(out.back) > 0:
		p.queue = slices.Concat(out.back, p.queue)
	}
	p.mu.Unlock()
	p.wakeUp()

	switch {
	case paused && !wasPaused:
		p.log.Error("delivery stream refuses all requests; records are kept until they expire, and it is probed now and then; check that it exists, that it takes direct puts, its key, and the permission firehose:PutRecordBatch",
			slog.String("stream", p.name), slog.Any("err", cause))
	case wasPaused && !paused:
		p.log.Info("delivery stream takes records again", slog.String("stream", p.name))
	case warn:
		p.log.Warn("requests fail or are throttled, and are retried", slog.String("stream", p.name), slog.Any("err", cause))
	}
	for _, s := range out.stored {
		p.finish(s.b, s.id, nil)
	}
	for _, f := range out.failed {
		p.fail(f.b, f.kind, f.cause)
	}
}

// send makes one request, or several if a part of it is refused for what it holds,
// and sorts what it carried. refused tells that something was not stored which
// says that the delivery stream is in trouble, and act which trouble it is in.
func (p *Producer) send(ctx context.Context, items []*packed, out *outcome) (act action, refused bool) {
	entries := make([]types.Record, len(items))
	for i, b := range items {
		b.attempts++
		entries[i].Data = b.data
	}
	begin := p.now()
	res, err := p.request(ctx, &firehose.PutRecordBatchInput{DeliveryStreamName: &p.name, Records: entries})
	p.stats.requests.Add(1)
	p.stats.requestNanos.Add(uint64(p.now() - begin))
	if err == nil && len(res.RequestResponses) != len(items) {
		err = errEntryCount
	}
	if err != nil {
		return p.refuse(ctx, items, err, out)
	}
	for i, b := range items {
		e := &res.RequestResponses[i]
		code := aws.ToString(e.ErrorCode)
		if code == "" {
			out.stored = append(out.stored, stored{b, aws.ToString(e.RecordId)})
			continue
		}
		p.stats.countCode(code)
		b.lastErr = &producer.EntryError{Code: code, Message: aws.ToString(e.ErrorMessage)}
		a := actions[code]
		if a == actThrottle && p.cfg.FailIfThrottled {
			out.failed = append(out.failed, failure{b, producer.ErrThrottled, b.lastErr})
		} else {
			p.stats.retries.Add(1)
			out.back = append(out.back, b)
		}
		if a != actThrottle {
			a = actRetry // the others were taken, so this is no fault of the request
		}
		act, refused = max(act, a), true
	}
	return act, refused
}

func (p *Producer) request(ctx context.Context, in *firehose.PutRecordBatchInput) (*firehose.PutRecordBatchOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.RequestTimeout)
	defer cancel()
	return p.api.PutRecordBatch(ctx, in, noSDKRetry)
}

// refuse sorts what a request carried that failed as a whole.
func (p *Producer) refuse(ctx context.Context, items []*packed, err error, out *outcome) (act action, refused bool) {
	act, code := classify(err)
	p.stats.countCode(code)
	if act == actHalve {
		return p.halve(ctx, items, err, out)
	}
	for _, b := range items {
		b.lastErr = err
		if act == actThrottle && p.cfg.FailIfThrottled {
			out.failed = append(out.failed, failure{b, producer.ErrThrottled, err})
			continue
		}
		p.stats.retries.Add(1)
		out.back = append(out.back, b)
	}
	return act, true
}

// halve sends what was refused for what it holds in two halves: Firehose records
// first, then the user records of one, until the one at fault is alone.
func (p *Producer) halve(ctx context.Context, items []*packed, err error, out *outcome) (act action, refused bool) {
	first, second := items[:len(items)/2], items[len(items)/2:]
	if len(items) == 1 {
		b := items[0]
		if len(b.meta) == 1 {
			out.failed = append(out.failed, failure{b, nil, err})
			return actRetry, false
		}
		one, other := halves(b)
		p.mu.Lock()
		p.order.split(b.seq)
		p.mu.Unlock()
		recycle(b)
		first, second = []*packed{one}, []*packed{other}
	}
	act, refused = p.send(ctx, first, out)
	a, r := p.send(ctx, second, out)
	return max(act, a), refused || r
}
