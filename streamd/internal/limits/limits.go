// Package limits refuses what AWS would refuse for coming too fast: token
// buckets for each shard, and for each operation on the catalogue.
//
// Buckets fill by the server's clock, and only when they are looked at: there
// is no goroutine and no timer. A bucket that is full says nothing that a new
// one does not, so full ones are forgotten when there are many: memory is
// bounded by what is in use, and shards that have closed and streams that are
// gone need no care.
package limits

import (
	"context"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// sweepFrom is how many entries a table has before full ones are looked for.
const sweepFrom = 1024

// table holds entries by key.
type table[K comparable, V any] struct {
	entries map[K]*V
	sweepAt int
}

// at returns the entry of a key. idle says which entries can be forgotten.
func (t *table[K, V]) at(k K, idle func(*V) bool) *V {
	if e, ok := t.entries[k]; ok {
		return e
	}
	if t.entries == nil {
		t.entries, t.sweepAt = make(map[K]*V), sweepFrom
	}
	if len(t.entries) >= t.sweepAt {
		for k, e := range t.entries {
			if idle(e) {
				delete(t.entries, k)
			}
		}
		t.sweepAt = max(sweepFrom, 2*len(t.entries))
	}
	e := new(V)
	t.entries[k] = e
	return e
}

type shardKey struct {
	stream uint64
	shard  int
}

// shardUse is the buckets of a shard, and their rates. Those of a stream do not change: it keeps its name for life.
type shardUse struct {
	rates                                  *shardRates
	records, bytes, calls, read, iterators bucket

	refusal *awserr.Error // of a record, made once; nil before the first
}

type operationKey struct {
	name   string
	stream state.StreamKey // without a name if the account shares the rate
}

// owned returns a key that does not lie in the memory of a request, which the
// next one is read into.
func (k operationKey) owned() operationKey {
	s := &k.stream
	k.name, s.Name, s.Account, s.Region = strings.Clone(k.name), strings.Clone(s.Name), strings.Clone(s.Account), strings.Clone(s.Region)
	return k
}

type operationUse struct {
	calls bucket
	rate  rate
}

type subscriptionKey struct {
	consumer string
	shard    int
}

type subscriptionUse struct {
	rates        *shardRates
	calls, bytes bucket
}

// override gives the shards of some streams other rates.
type override struct {
	pattern string
	rates   shardRates
}

// Throttled is told how many records (of a write) or calls of GetRecords a shard
// has refused. It is called on their way: it must not wait.
type Throttled func(s *state.Stream, shard int, write bool, n int)

// refusals counts what shards refuse of one call.
type refusals []struct{ shard, n int }

func (r refusals) add(shard int) refusals {
	for i := range r {
		if r[i].shard == shard {
			r[i].n++
			return r
		}
	}
	return append(r, struct{ shard, n int }{shard, 1})
}

// Limiter keeps the rates. It is safe for concurrent use.
type Limiter struct {
	now        func() time.Time
	throttle   Throttled
	rates      shardRates
	overrides  []override
	operations map[string]rate

	mu            sync.Mutex // guards what follows
	shards        table[shardKey, shardUse]
	called        table[operationKey, operationUse]
	subscriptions table[subscriptionKey, subscriptionUse]
}

// New returns a Limiter of rates and patterns that have been checked. The shards
// of a stream have the rates of the first of overrides that is for it, or else
// r. now is the server's clock. onThrottle may be nil.
func New(r Rates, overrides []Override, now func() time.Time, onThrottle Throttled) *Limiter {
	if onThrottle == nil {
		onThrottle = func(*state.Stream, int, bool, int) {}
	}
	l := &Limiter{now: now, throttle: onThrottle, rates: r.shard(), operations: make(map[string]rate)}
	for _, o := range overrides {
		l.overrides = append(l.overrides, override{o.Stream, o.Rates.shard()})
	}
	if r.Operations > 0 {
		for name, op := range operations {
			l.operations[name] = perSecond(op.perSecond * r.Operations)
		}
	}
	return l
}

func (l *Limiter) micros() int64 { return l.now().UnixMicro() }

// of returns the rates of a stream.
func (l *Limiter) of(s *state.Stream) *shardRates {
	for i := range l.overrides {
		if ok, _ := path.Match(l.overrides[i].pattern, s.Key.Name); ok {
			return &l.overrides[i].rates
		}
	}
	return &l.rates
}

// shardLocked returns the use of a shard. l.mu is held.
func (l *Limiter) shardLocked(s *state.Stream, shard int, now int64) *shardUse {
	u := l.shards.at(shardKey{s.ID, shard}, func(u *shardUse) bool {
		r := u.rates
		return u.records.full(r.records, now) && u.bytes.full(r.bytes, now) && u.calls.full(r.calls, now) &&
			u.read.full(r.read, now) && u.iterators.full(r.iterators, now)
	})
	if u.rates == nil {
		u.rates = l.of(s)
	}
	return u
}

// writeBytes is the rate of bytes into a shard of s: it takes the largest
// record of the stream at once. The factor of a slower profile counts there
// too.
func (r *shardRates) writeBytes(s *state.Stream) rate {
	const usual = 1 << 20
	b := r.bytes
	if largest := int64(s.MaxRecordBytes); largest > usual {
		b.depth = b.depth / usual * largest
	}
	return b
}

// Admit is an [api.Admit]. It decides about each record in order; one that is
// refused uses nothing up, and a smaller one after it may pass. Those that
// somebody else has refused are passed over. ON_DEMAND streams have no limit.
func (l *Limiter) Admit(_ context.Context, s *state.Stream, records []api.Incoming) (refused int) {
	if s.Mode == state.OnDemand {
		return 0
	}
	now := l.micros()
	l.mu.Lock()
	var u *shardUse
	last := -1
	var few [8]struct{ shard, n int } // shards that refuse in one call
	by := refusals(few[:0])
	for i := range records {
		r := &records[i]
		if r.Refused != nil {
			continue
		}
		if r.Shard != last {
			u, last = l.shardLocked(s, r.Shard, now), r.Shard
		}
		if u.take(s, int64(r.Size), now) {
			continue
		}
		if u.refusal == nil {
			u.refusal = writeExceeded(s, r.Shard)
		}
		r.Refused = u.refusal
		by = by.add(r.Shard)
		refused++
	}
	l.mu.Unlock()
	for _, b := range by {
		l.throttle(s, b.shard, true, b.n)
	}
	return refused
}

// take takes a record out of the buckets, or nothing.
func (u *shardUse) take(s *state.Stream, size, now int64) bool {
	records, bytes := u.rates.records, u.rates.writeBytes(s)
	if records.pace > 0 {
		if u.records.refill(records, now); !u.records.has(records, 1) {
			return false
		}
	}
	if bytes.pace > 0 {
		if u.bytes.refill(bytes, now); !u.bytes.has(bytes, size) {
			return false
		}
		u.bytes.take(size)
	}
	if records.pace > 0 {
		u.records.take(1)
	}
	return true
}

// AdmitRead decides about a call of GetRecords.
func (l *Limiter) AdmitRead(s *state.Stream, shard int) *awserr.Error {
	if s.Mode == state.OnDemand || l.readable(s, shard) {
		return nil
	}
	l.throttle(s, shard, false, 1)
	return awserr.New("ProvisionedThroughputExceededException", "Rate exceeded for Shard - %s/%s/%s", s.Key.Account, s.Key.Name, state.ShardID(shard))
}

func (l *Limiter) readable(s *state.Stream, shard int) bool {
	now := l.micros()
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.shardLocked(s, shard, now)
	if read := u.rates.read; read.pace > 0 {
		if u.read.refill(read, now); u.read.missing > read.depth {
			return false
		}
	}
	return u.calls.allow(u.rates.calls, now)
}

// Given counts the bytes of data that a call of GetRecords returned. An answer
// of more than comes in a second is paid for whole, by the calls after it: a
// shard that has rested does not make it cheaper.
func (l *Limiter) Given(s *state.Stream, shard, size int) {
	if s.Mode == state.OnDemand || size == 0 {
		return
	}
	now := l.micros()
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.shardLocked(s, shard, now)
	b, read := &u.read, u.rates.read
	if read.pace == 0 {
		return
	}
	b.refill(read, now)
	if int64(size)*nano > read.depth {
		b.missing = max(b.missing, read.depth)
	}
	b.take(int64(size))
	b.missing = min(b.missing, read.depth+read.debt)
}

// AdmitIterator decides about a call of GetShardIterator.
func (l *Limiter) AdmitIterator(s *state.Stream, shard int) *awserr.Error {
	if s.Mode == state.OnDemand {
		return nil
	}
	now := l.micros()
	l.mu.Lock()
	u := l.shardLocked(s, shard, now)
	ok := u.iterators.allow(u.rates.iterators, now)
	l.mu.Unlock()
	if ok {
		return nil
	}
	return writeExceeded(s, shard)
}

// writeExceeded has the older of AWS's two wordings, which all but GetRecords
// have.
func writeExceeded(s *state.Stream, shard int) *awserr.Error {
	return awserr.New("ProvisionedThroughputExceededException", "Rate exceeded for shard %s in stream %s under account %s.", state.ShardID(shard), s.Key.Name, s.Key.Account)
}

// Around is an [api.Around] that keeps the rates of the operations on the
// catalogue.
func (l *Limiter) Around(ctx context.Context, c api.Call, do func(context.Context) (shape.Output, error)) (shape.Output, error) {
	r, ok := l.operations[c.Operation]
	if !ok {
		return do(ctx)
	}
	key := operationKey{name: c.Operation, stream: state.StreamKey{Scope: c.Scope}}
	if operations[c.Operation].perStream {
		key.stream = c.Stream
	}
	now := l.micros()
	l.mu.Lock()
	if _, ok := l.called.entries[key]; !ok {
		key = key.owned()
	}
	u := l.called.at(key, func(u *operationUse) bool { return u.calls.full(u.rate, now) })
	u.rate = r
	ok = u.calls.allow(r, now)
	l.mu.Unlock()
	switch {
	case ok:
		return do(ctx)
	case c.Stream.Name == "":
		return nil, awserr.New("LimitExceededException", "Rate exceeded for account %s.", c.Scope.Account)
	}
	return nil, awserr.New("LimitExceededException", "Rate exceeded for stream %s under account %s.", c.Stream.Name, c.Stream.Account)
}

// Subscribe decides about a call of SubscribeToShard by a consumer, which is
// named by its ARN.
func (l *Limiter) Subscribe(s *state.Stream, consumer string, shard int) *awserr.Error {
	if s.Mode == state.OnDemand {
		return nil
	}
	now := l.micros()
	l.mu.Lock()
	u := l.subscriptionLocked(s, consumer, shard, now)
	ok := u.calls.allow(u.rates.subscribe, now)
	l.mu.Unlock()
	if ok {
		return nil
	}
	return awserr.New("LimitExceededException", "Rate exceeded for shard %s in stream %s under account %s.", state.ShardID(shard), s.Key.Name, s.Key.Account)
}

// Pace counts bytes of data that are about to be sent to a consumer of a shard,
// and returns how long to wait before the next.
func (l *Limiter) Pace(s *state.Stream, consumer string, shard, bytes int) time.Duration {
	if s.Mode == state.OnDemand {
		return 0
	}
	now := l.micros()
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.subscriptionLocked(s, consumer, shard, now)
	b, fanOut := &u.bytes, u.rates.fanOut
	if fanOut.pace == 0 {
		return 0
	}
	b.refill(fanOut, now)
	b.take(int64(bytes))
	over := b.missing - fanOut.depth
	if over <= 0 {
		return 0
	}
	return time.Duration((over+fanOut.pace-1)/fanOut.pace) * time.Microsecond
}

func (l *Limiter) subscriptionLocked(s *state.Stream, consumer string, shard int, now int64) *subscriptionUse {
	u := l.subscriptions.at(subscriptionKey{consumer, shard}, func(u *subscriptionUse) bool {
		return u.calls.full(u.rates.subscribe, now) && u.bytes.full(u.rates.fanOut, now)
	})
	if u.rates == nil {
		u.rates = l.of(s)
	}
	return u
}
