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

type shardUse struct{ records, bytes, calls, read, iterators bucket }

type operationKey struct {
	name   string
	stream state.StreamKey // without a name if the account shares the rate
}

type operationUse struct {
	calls bucket
	rate  rate
}

type subscriptionKey struct {
	consumer string
	shard    int
}

type subscriptionUse struct{ calls, bytes bucket }

// Limiter keeps the rates. It is safe for concurrent use.
type Limiter struct {
	now      func() time.Time
	throttle func(stream state.StreamKey, shard int, write bool)

	records, bytes, calls, read, iterators rate
	subscribe, fanOut                      rate
	operations                             map[string]rate

	mu            sync.Mutex // guards what follows
	shards        table[shardKey, shardUse]
	called        table[operationKey, operationUse]
	subscriptions table[subscriptionKey, subscriptionUse]
}

// New returns a Limiter of rates that have been checked. now is the server's
// clock. onThrottle, which may be nil, is told of each record and each read
// that is refused.
func New(r Rates, now func() time.Time, onThrottle func(stream state.StreamKey, shard int, write bool)) *Limiter {
	if onThrottle == nil {
		onThrottle = func(state.StreamKey, int, bool) {}
	}
	l := &Limiter{
		now: now, throttle: onThrottle,
		records: perSecond(r.WriteRecords), bytes: perSecond(r.WriteBytes),
		calls: perSecond(r.ReadCalls), read: perSecond(r.ReadBytes).withDebt(), iterators: perSecond(r.Iterators),
		subscribe: perSecond(r.Subscribe), fanOut: perSecond(r.FanOutBytes),
		operations: make(map[string]rate),
	}
	if r.Operations > 0 {
		for name, op := range operations {
			l.operations[name] = perSecond(op.perSecond * r.Operations)
		}
	}
	return l
}

func (l *Limiter) micros() int64 { return l.now().UnixMicro() }

// shardLocked returns the use of a shard. l.mu is held.
func (l *Limiter) shardLocked(stream uint64, shard int, now int64) *shardUse {
	return l.shards.at(shardKey{stream, shard}, func(u *shardUse) bool {
		return u.records.full(l.records, now) && u.bytes.full(l.bytes, now) && u.calls.full(l.calls, now) &&
			u.read.full(l.read, now) && u.iterators.full(l.iterators, now)
	})
}

// writeBytes is the rate of bytes into a shard of s: it takes the largest
// record of the stream at once. The factor of a slower profile counts there
// too.
func (l *Limiter) writeBytes(s *state.Stream) rate {
	const usual = 1 << 20
	r := l.bytes
	if largest := int64(s.MaxRecordBytes); largest > usual {
		r.depth = r.depth / usual * largest
	}
	return r
}

// Admit is an [api.Admit]. A record that is refused uses nothing up. ON_DEMAND
// streams have no limit.
func (l *Limiter) Admit(s *state.Stream, shard, size int) *awserr.Error {
	if s.Mode == state.OnDemand || l.take(s, shard, int64(size)) {
		return nil
	}
	l.throttle(s.Key, shard, true)
	return writeExceeded(s, shard)
}

func (l *Limiter) take(s *state.Stream, shard int, size int64) bool {
	now := l.micros()
	bytes := l.writeBytes(s)
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.shardLocked(s.ID, shard, now)
	if l.records.pace > 0 {
		if u.records.refill(l.records, now); !u.records.has(l.records, 1) {
			return false
		}
	}
	if bytes.pace > 0 {
		if u.bytes.refill(bytes, now); !u.bytes.has(bytes, size) {
			return false
		}
		u.bytes.take(size)
	}
	if l.records.pace > 0 {
		u.records.take(1)
	}
	return true
}

// AdmitRead decides about a call of GetRecords.
func (l *Limiter) AdmitRead(s *state.Stream, shard int) *awserr.Error {
	if s.Mode == state.OnDemand || l.readable(s, shard) {
		return nil
	}
	l.throttle(s.Key, shard, false)
	return awserr.New("ProvisionedThroughputExceededException", "Rate exceeded for Shard - %s/%s/%s", s.Key.Account, s.Key.Name, state.ShardID(shard))
}

func (l *Limiter) readable(s *state.Stream, shard int) bool {
	now := l.micros()
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.shardLocked(s.ID, shard, now)
	if l.read.pace > 0 {
		if u.read.refill(l.read, now); u.read.missing > l.read.depth {
			return false
		}
	}
	return u.calls.allow(l.calls, now)
}

// Given counts the bytes of data that a call of GetRecords returned. An answer
// of more than comes in a second is paid for whole, by the calls after it: a
// shard that has rested does not make it cheaper.
func (l *Limiter) Given(s *state.Stream, shard, size int) {
	if s.Mode == state.OnDemand || l.read.pace == 0 || size == 0 {
		return
	}
	now := l.micros()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &l.shardLocked(s.ID, shard, now).read
	b.refill(l.read, now)
	if int64(size)*nano > l.read.depth {
		b.missing = max(b.missing, l.read.depth)
	}
	b.take(int64(size))
	b.missing = min(b.missing, l.read.depth+l.read.debt)
}

// AdmitIterator decides about a call of GetShardIterator.
func (l *Limiter) AdmitIterator(s *state.Stream, shard int) *awserr.Error {
	if s.Mode == state.OnDemand {
		return nil
	}
	now := l.micros()
	l.mu.Lock()
	ok := l.shardLocked(s.ID, shard, now).iterators.allow(l.iterators, now)
	l.mu.Unlock()
	if ok {
		return nil
	}
	l.throttle(s.Key, shard, false)
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
	now := l.micros()
	l.mu.Lock()
	ok := l.subscriptionLocked(consumer, shard, now).calls.allow(l.subscribe, now)
	l.mu.Unlock()
	if ok {
		return nil
	}
	l.throttle(s.Key, shard, false)
	return awserr.New("LimitExceededException", "Rate exceeded for shard %s in stream %s under account %s.", state.ShardID(shard), s.Key.Name, s.Key.Account)
}

// Pace counts bytes of data that are about to be sent to a consumer of a shard,
// and returns how long to wait before the next.
func (l *Limiter) Pace(consumer string, shard, bytes int) time.Duration {
	if l.fanOut.pace == 0 {
		return 0
	}
	now := l.micros()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &l.subscriptionLocked(consumer, shard, now).bytes
	b.refill(l.fanOut, now)
	b.take(int64(bytes))
	over := b.missing - l.fanOut.depth
	if over <= 0 {
		return 0
	}
	return time.Duration((over+l.fanOut.pace-1)/l.fanOut.pace) * time.Microsecond
}

func (l *Limiter) subscriptionLocked(consumer string, shard int, now int64) *subscriptionUse {
	return l.subscriptions.at(subscriptionKey{consumer, shard}, func(u *subscriptionUse) bool {
		return u.calls.full(l.subscribe, now) && u.bytes.full(l.fanOut, now)
	})
}
