package mirror

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// A lane copies one shard of the source. Its loop, run, owns it: at most one
// read and one request to the target are under way, each in a goroutine that
// the loop waits for.
type lane struct {
	s     *stream
	id    string
	place placer
	q     queue
	lag   atomic.Int64 // see Stats

	// Of the last read: how far it was from the tip, and until when all was read.
	behind  time.Duration
	covered time.Time

	reader reader // in use by the read under way, if there is one

	most     int // records in the next request: fewer after a refusal
	refused  int // requests in a row of which nothing was stored
	failed   trouble
	reads    trouble
	throttle int // reads in a row that were throttled
}

// laneEnd says how a lane has ended.
type laneEnd struct {
	id       string
	ended    bool // the shard is closed and all of it stored
	tip      bool // stored as far as it is to be copied
	gone     bool // the source does not know the shard, or the stream
	children []types.ChildShard
	covered  time.Time
	err      error
}

// Bounds of a request: of records by PutRecords, of bytes what every version of
// it takes; a single record may have more.
const (
	maxRecords = 500
	maxBytes   = 5 << 20
)

// Reading goes on while a lane holds less than either.
const (
	lowRecords = 1000
	lowBytes   = maxBytes
)

// grace is how long a request to the target may take to its end after the
// context has ended: when it is cut, its records are sent again the next time.
const grace = 5 * time.Second

func newLane(s *stream, n *node) *lane {
	l := &lane{s: s, id: n.id, most: maxRecords}
	l.place = placer{keys: n.keys, free: s.free, need: s.need}
	sh, st := s.shard(n.id)
	l.reader = reader{
		s: s, id: n.id, start: sh, began: st.Began, from: st.From, kind: Start(st.Start),
		last: sh.Sequence, covered: sh.Covered, fresh: s.fresh, open: n.open,
	}
	l.failed.side, l.reads.side = "target", "source"
	return l
}

// trouble is an endpoint that does not answer as it should.
type trouble struct {
	side  string
	since time.Time // zero while all is well
	tries int
}

// begin takes note of one more failure. It returns how long to wait, or an
// error if it is time to give up.
func (t *trouble) begin(l *lane, err error) (time.Duration, error) {
	now := time.Now()
	if t.since.IsZero() {
		t.since = now
		l.s.log.Warn("a request failed and is made again until it succeeds", slog.String("side", t.side), slog.String("shard", l.id), slog.Any("err", err))
	}
	if limit := l.s.m.giveUp(); limit >= 0 && now.Sub(t.since) > limit {
		return 0, fmt.Errorf("the %s has failed for %v: %w", t.side, limit, err)
	}
	t.tries++
	return waits.Wait(t.tries-1, nil), nil
}

// end takes note of a success.
func (t *trouble) end(l *lane) {
	if !t.since.IsZero() {
		l.s.log.Info("requests succeed again", slog.String("side", t.side), slog.String("shard", l.id), slog.Int("failed", t.tries))
	}
	t.since, t.tries = time.Time{}, 0
}

// run copies until the shard has ended, or all is copied that is to be, or ctx
// ends. It waits for a request that is under way.
func (l *lane) run(ctx context.Context) (e laneEnd) {
	e.id = l.id
	var (
		reads            = make(chan readResult, 1) // one is under way at most
		puts             = make(chan putResult, 1)
		reading, putting bool
		readAt, putAt    time.Time // not before
		done             = ctx.Done()
		over             bool // nothing more to read
		timer            = time.NewTimer(0)
	)
	defer timer.Stop()
	defer func() { l.s.m.memory.give(l.q.bytes) }()
	for {
		stop := ctx.Err() != nil || e.err != nil
		if !reading && !putting && (stop || over && l.q.len() == 0) {
			e.ended = e.ended && l.q.len() == 0
			e.tip = e.tip && l.q.len() == 0
			return e
		}
		now := time.Now()
		wake := time.Time{}
		if wants := !stop && !reading && !over && l.q.len() < lowRecords && l.q.bytes < lowBytes; wants && !readAt.After(now) {
			reading = true
			go func() { reads <- l.reader.read(ctx, &l.place) }()
		} else if wants {
			wake = readAt
		}
		if wants := !stop && !putting && l.q.len() > 0; wants && !putAt.After(now) {
			putting = true
			b := l.batch()
			go func() { puts <- l.s.put(ctx, b) }()
		} else if wants && (wake.IsZero() || putAt.Before(wake)) {
			wake = putAt
		}
		timer.Stop()
		if !wake.IsZero() {
			timer.Reset(wake.Sub(now))
		}
		select {
		case r := <-reads:
			reading = false
			if readAt = l.haveRead(&r, &e); r.err == nil || e.gone {
				over = r.ended || r.tip || e.gone
			}
		case p := <-puts:
			putting = false
			putAt = l.havePut(&p, &e)
		case <-timer.C:
		case <-done:
			done = nil // the loop ends once nothing is under way
		}
	}
}

// haveRead takes in what was read. It returns when to read again.
func (l *lane) haveRead(r *readResult, e *laneEnd) time.Time {
	now := time.Now()
	for i := range r.items {
		l.q.push(r.items[i])
	}
	if r.err == nil {
		l.reads.end(l)
		l.throttle = 0
		l.behind, l.covered = r.behind, r.covered
		e.covered = r.covered
		e.ended, e.children = r.ended, r.children
		e.tip = r.tip && !r.ended
		l.noted("")
		if r.idle {
			return now.Add(l.s.m.cfg.Poll)
		}
		return now
	}
	if r.stopped {
		return now
	}
	switch classify(r.err) {
	case throttled:
		l.s.throttledReads.Add(1)
		l.throttle++
		return now.Add(waits.Wait(l.throttle, nil))
	case gone:
		e.gone = true
	case final:
		e.err = fmt.Errorf("read shard %s: %w", l.id, r.err)
	case expired:
		return now
	case unsure, unsent:
		wait, err := l.reads.begin(l, r.err)
		if err != nil {
			e.err = fmt.Errorf("read shard %s: %w", l.id, err)
		}
		return now.Add(wait)
	}
	return now
}

// noted keeps progress: seq is the last stored number, empty if it is as it was.
func (l *lane) noted(seq string) {
	covered := l.covered
	lag := l.behind
	if l.q.len() > 0 {
		head := l.q.items[l.q.head].arrival
		if head.Before(covered) {
			covered = head
		}
		lag = max(lag, time.Since(head))
	}
	l.lag.Store(int64(max(lag, 0)))
	l.s.progress(l.id, seq, covered)
}

// batch returns the next request.
func (l *lane) batch() batch {
	b := batch{at: append([]int(nil), l.q.pick(l.most, maxBytes, !l.s.m.cfg.LooseOrder)...)}
	b.entries = make([]types.PutRecordsRequestEntry, len(b.at))
	b.inner = make([]*hashkey.Range, len(b.at))
	for i, at := range b.at {
		it := &l.q.items[at]
		b.entries[i] = types.PutRecordsRequestEntry{Data: it.data, PartitionKey: it.key, ExplicitHashKey: it.place}
		if it.aggregated {
			keys := it.inner
			b.inner[i] = &keys
		}
	}
	return b
}

// havePut takes in the answer to a request. It returns when to send again.
func (l *lane) havePut(p *putResult, e *laneEnd) time.Time {
	now := time.Now()
	if p.err != nil {
		return now.Add(l.haveFailed(p, e))
	}
	l.failed.end(l)
	stored, slow := 0, false
	for i, at := range p.at {
		it := &l.q.items[at]
		if code := p.codes[i]; code != "" {
			l.s.resent.Add(1)
			if codes[code] == throttled {
				l.s.throttledWrites.Add(1)
			}
			slow = true
			l.s.reordered.Add(l.reorders(p, i))
			continue
		}
		it.stored = true
		stored++
		l.s.records.Add(1)
		l.s.bytes.Add(int64(it.size()))
	}
	if p.split > 0 {
		l.s.tellSplit(p.split)
	}
	if last, freed, ok := l.q.pop(); ok {
		l.s.m.memory.give(freed)
		l.noted(last.seq)
	}
	switch {
	case !slow:
		l.refused = 0
		l.most = min(maxRecords, l.most+25)
		return now
	case stored > 0:
		l.refused = 0
	default:
		l.refused++
	}
	l.most = max(1, l.most/2)
	return now.Add(waits.Wait(min(l.refused, 10), nil))
}

// haveFailed takes in the failure of a whole request. It returns how long to
// wait.
func (l *lane) haveFailed(p *putResult, e *laneEnd) time.Duration {
	n := int64(len(p.at))
	switch classify(p.err) {
	case throttled:
		l.s.throttledWrites.Add(n)
		l.s.resent.Add(n)
		l.refused++
		l.most = max(1, l.most/2)
		return waits.Wait(min(l.refused, 10), nil)
	case gone:
		e.err = fmt.Errorf("the target %s is there no more: %w", l.s.to, p.err)
		return 0
	case final, expired:
		e.err = fmt.Errorf("the target %s refuses %d records of shard %s behind number %s: %w",
			l.s.to, n, l.id, cmp.Or(l.stored(), "(none)"), p.err)
		return 0
	case unsure:
		l.s.duplicates.Add(n)
	case unsent:
		l.s.resent.Add(n)
	}
	wait, err := l.failed.begin(l, p.err)
	if err != nil {
		e.err = err
	}
	return wait
}

// stored is the number of the last record that is stored with all before it.
func (l *lane) stored() string {
	sh, _ := l.s.shard(l.id)
	return sh.Sequence
}

// reorders counts records of p that were stored although the one at i, refused,
// is before them and shares a key with them.
func (l *lane) reorders(p *putResult, i int) int64 {
	if !l.s.m.cfg.LooseOrder {
		return 0
	}
	have := map[uint64]struct{}{}
	for _, s := range l.q.items[p.at[i]].keys() {
		have[s] = struct{}{}
	}
	for j := i + 1; j < len(p.at); j++ {
		if p.codes[j] != "" {
			continue
		}
		for _, s := range l.q.items[p.at[j]].keys() {
			if _, shared := have[s]; shared {
				return 1
			}
		}
	}
	return 0
}
