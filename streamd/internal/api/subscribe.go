package api

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

const (
	// subscriptionLife is how long a subscription lasts on AWS.
	subscriptionLife = 5 * time.Minute

	// subscriptionGrace is for how long after a call that succeeded another one
	// for the same consumer and shard is refused. Later it takes over.
	//
	// Source: the API reference of SubscribeToShard.
	subscriptionGrace = 5 * time.Second

	// heartbeat is after how much silence an event without records is sent: AWS
	// sends one at least every 5 seconds.
	heartbeat = 4 * time.Second

	// eventCount and eventBytes bound an event, which has one record at least.
	eventCount = 10000
	eventBytes = 1 << 20

	// eventGap is the least time between two events that are not full: what is
	// put meanwhile shares the second.
	eventGap = time.Millisecond
)

type subscribeInput struct {
	ConsumerARN, StreamID, ShardID shape.String
	Start                          shape.Opt[startInput]
	DryRun                         shape.Bool
}

var subscribeShape = shape.Struct{
	shape.Of("ConsumerARN", func(in *subscribeInput) *shape.String { return &in.ConsumerARN }, consumerARNRules.Req()),
	shape.Of("StreamId", func(in *subscribeInput) *shape.String { return &in.StreamID }, streamIDRules),
	shape.Of("ShardId", func(in *subscribeInput) *shape.String { return &in.ShardID }, nameRules.Req()),
	shape.Of("StartingPosition", func(in *subscribeInput) *shape.Opt[startInput] { return &in.Start }, shape.Rules{}.Req()).With(shape.Struct{
		shape.Of("Type", func(in *startInput) *shape.String { return &in.Type }, startTypeRules),
		shape.Of("SequenceNumber", func(in *startInput) *shape.String { return &in.Sequence }, sequenceRules),
		shape.Of("Timestamp", func(in *startInput) *shape.Time { return &in.Timestamp }, shape.Rules{}),
	}),
	shape.Of("DryRun", func(in *subscribeInput) *shape.Bool { return &in.DryRun }, shape.Rules{}),
}

func (in *subscribeInput) key() (state.StreamKey, error) {
	key, _, err := parseConsumerARN(in.ConsumerARN.V)
	return key, err
}

func (a *API) subscribeToShard(ctx context.Context, _ arn.Scope, in *subscribeInput) (shape.Output, error) {
	key, id, err := parseConsumerARN(in.ConsumerARN.V)
	if err != nil {
		return nil, err
	}
	s, ok := a.engine.Stream(key)
	if !ok {
		return nil, streamNotFound(key)
	}
	c, err := a.consumerByID(s, id)
	if err != nil {
		return nil, err
	}
	now := a.engine.Now()
	if !usable(s) {
		return nil, notActive(s)
	}
	if status, _ := c.At(now); status != state.Active {
		return nil, awserr.New("ResourceInUseException", "Consumer %s with creation timestamp %d under stream: %s , account %s is not in ACTIVE status.", c.Name, c.Second, key.Name, key.Account)
	}
	shard, err := resolveShard(key, in.ShardID.V)
	if err != nil {
		return nil, err
	}
	if shard >= len(s.Shards) || s.Expired(shard, a.engine.Aging()) {
		return nil, shardDoesNotExist(key, shard)
	}
	from, err := a.position("SubscribeToShard", s, shard, &in.Start.V)
	if err != nil {
		return nil, readError(err, key, shard)
	}
	if in.DryRun.V {
		return nil, dryRun()
	}
	if a.cfg.AdmitSubscription != nil {
		if refused := a.cfg.AdmitSubscription(s, c.ARN(key), shard); refused != nil {
			return nil, refused
		}
	}
	id = strings.Clone(id) // the request's memory does not last
	sub := &subscription{
		a: a, key: subscriptionKey{s.ID, shard, id}, stream: s, consumer: c, from: from,
		began: now, ends: now.Add(a.cfg.SubscriptionLife), taken: make(chan struct{}),
	}
	if a.cfg.CutSubscription != nil {
		if sub.cut = a.cfg.CutSubscription(ctx); sub.cut.Lifetime > 0 {
			sub.ends = now.Add(sub.cut.Lifetime)
		}
	}
	if !a.subscriptions.add(sub, now) {
		return nil, sub.another()
	}
	return sub, nil
}

// subscriptionKey is what one subscription can be open for at a time.
type subscriptionKey struct {
	stream   uint64
	shard    int
	consumer string
}

// subscriptions are those that are open, or were within their grace.
type subscriptions struct {
	mu    sync.Mutex // guards what follows, and done of each
	open  map[subscriptionKey]*subscription
	swept time.Time
}

// add makes sub the one of its key, and ends the one before it. It returns
// false if that is too young.
func (ss *subscriptions) add(sub *subscription, now time.Time) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	old := ss.open[sub.key]
	if old != nil && now.Sub(old.began) < subscriptionGrace {
		return false
	}
	if ss.open == nil {
		ss.open = make(map[subscriptionKey]*subscription)
	}
	if old != nil {
		close(old.taken)
	}
	ss.open[sub.key] = sub
	// What has ended, or was never begun because its client had gone, is
	// forgotten here: at most once in a while.
	if now.Sub(ss.swept) >= subscriptionGrace {
		ss.swept = now
		for key, s := range ss.open {
			if s.done && now.Sub(s.began) >= subscriptionGrace || now.Sub(s.ends) > time.Minute {
				delete(ss.open, key)
			}
		}
	}
	return true
}

// end is called when sub sends no more. Within its grace it keeps its place.
func (ss *subscriptions) end(sub *subscription, now time.Time) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	sub.done = true
	if ss.open[sub.key] == sub && now.Sub(sub.began) >= subscriptionGrace {
		delete(ss.open, sub.key)
	}
}

// SubscriptionCut is when a subscription ends before its time, and how. The zero
// value is never.
type SubscriptionCut struct {
	Events   int           // after so many; 0 is any number
	Lifetime time.Duration // by the server's clock; 0 is its usual life
	Err      error         // what it ends with; nil is as at the end of its life
}

// subscription is one call of SubscribeToShard: a [shape.EventStream].
type subscription struct {
	a        *API
	key      subscriptionKey
	stream   *state.Stream
	consumer *state.Consumer
	from     state.Position
	began    time.Time
	ends     time.Time
	taken    chan struct{} // closed when another has taken its place
	done     bool          // guarded by subscriptions
	cut      SubscriptionCut
	sent     int // events

	number int64 // time inside the last continuation number
}

// Size implements [shape.Output].
func (sub *subscription) Size() int { return 0 }

// Encode implements [shape.Output]: the first message is empty.
func (sub *subscription) Encode(shape.Encoder) {}

// another is the answer where two subscriptions meet.
//
// Source of the wording: awslabs/amazon-kinesis-client, issue 391.
func (sub *subscription) another() *awserr.Error {
	key := sub.stream.Key
	return awserr.New("ResourceInUseException", "Another active subscription exists for this consumer: %s:%s:%s:%s", key.Account, key.Name, state.ShardID(sub.key.shard), sub.consumer.Name)
}

// Events implements [shape.EventStream]. It reads when there is something to
// read and its reader has taken the last event; between it holds no records.
func (sub *subscription) Events(ctx context.Context, send func(string, shape.Output) error) error {
	a := sub.a
	defer func() { a.subscriptions.end(sub, a.engine.Now()) }()
	news, stop := a.engine.Watch(sub.key.stream, sub.key.shard)
	defer stop()
	rang := make(chan struct{}, 1) // of the alarm; a value stands for all before
	var alarm time.Time            // what it is set for; zero if it is not
	last := sub.began              // when the last event was sent
	gap := time.NewTimer(0)        // runs after an event
	defer gap.Stop()
	first := true
	for {
		now := a.engine.Now()
		if !now.Before(sub.ends) || sub.cut.Events > 0 && sub.sent >= sub.cut.Events {
			return sub.cut.Err
		}
		event, err := sub.read(ctx, now)
		if err != nil {
			return err
		}
		silent := len(event.res.Records) == 0 && !event.res.Ended
		if !silent || !first && now.Sub(last) >= heartbeat {
			if err := sub.give(ctx, send, event); err != nil || event.res.Ended {
				return err
			}
			last = a.engine.Now()
			if sub.sent++; sub.sent == sub.cut.Events {
				continue // to the end
			}
		}
		first = false
		if event.res.BehindLatest > 0 { // there is more
			select {
			case <-sub.taken:
				return sub.another()
			case <-ctx.Done():
				return ctx.Err()
			default:
				continue
			}
		}
		if !silent {
			if err := sub.rest(ctx, gap); err != nil {
				return err
			}
		}
		// One alarm at a time: it cannot be taken back. One that rings early is
		// set again.
		due := last.Add(heartbeat)
		if sub.ends.Before(due) {
			due = sub.ends
		}
		if alarm.IsZero() || due.Before(alarm) {
			alarm = due
			a.engine.At(due, func() {
				select {
				case rang <- struct{}{}:
				default: // it has rung
				}
			})
		}
		select {
		case <-news:
		case <-rang:
			alarm = time.Time{}
		case <-sub.taken:
			return sub.another()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rest waits until the next event may be sent.
func (sub *subscription) rest(ctx context.Context, gap *time.Timer) error {
	gap.Reset(eventGap)
	select {
	case <-gap.C:
		return nil
	case <-sub.taken:
		return sub.another()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read returns the next event: without records if there are none.
func (sub *subscription) read(ctx context.Context, now time.Time) (*subscribeEvent, error) {
	s, ok := sub.a.engine.StreamByID(sub.key.stream)
	if !ok || s.Status == state.Deleting {
		return nil, streamNotFound(sub.stream.Key)
	}
	c, ok := s.Consumer(sub.key.consumer, now)
	if !ok {
		return nil, state.NoConsumer(s.Key, sub.consumer.Name)
	}
	if status, _ := c.At(now); status == state.Deleting {
		return nil, state.NoConsumer(s.Key, sub.consumer.Name)
	}
	res, err := sub.a.engine.Read(ctx, store.ReadRequest{
		StreamID: s.ID, Shard: sub.key.shard, From: sub.from, MaxRecords: eventCount, MaxBytes: eventBytes,
	})
	if errors.Is(err, store.ErrNoStream) { // deleted since it was looked up
		return nil, streamNotFound(s.Key)
	}
	if err != nil {
		return nil, readError(err, s.Key, sub.key.shard)
	}
	event := &subscribeEvent{stream: s, shard: sub.key.shard, res: res}
	if res.Ended {
		// The children came into being when the shard closed, maybe after s was
		// looked up.
		if event.stream, ok = sub.a.engine.StreamByID(s.ID); !ok {
			return nil, streamNotFound(s.Key)
		}
	}
	for i := range res.Records {
		event.data += len(res.Records[i].Data)
	}
	return event, nil
}

// give sends an event, and waits as long as its limit says.
func (sub *subscription) give(ctx context.Context, send func(string, shape.Output) error, event *subscribeEvent) error {
	a := sub.a
	sub.from = event.res.Next
	event.next = sub.continuation(&event.stream.Shards[sub.key.shard])
	if err := send("SubscribeToShardEvent", event); err != nil {
		return err
	}
	n := len(event.res.Records)
	a.cfg.Meter.Sent(event.stream, sub.consumer.Name, Event{Shard: sub.key.shard, Records: n, Bytes: event.data, Behind: event.res.BehindLatest})
	if a.cfg.Pace == nil || n == 0 {
		return nil
	}
	wait := a.cfg.Pace(event.stream, sub.consumer.ARN(event.stream.Key), sub.key.shard, event.data)
	if wait <= 0 {
		return nil
	}
	awake := make(chan struct{})
	a.engine.At(a.engine.Now().Add(wait), func() { close(awake) })
	select {
	case <-awake:
		return nil
	case <-sub.taken:
		return sub.another()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// continuation returns a number at which, or after which, a later subscription
// goes on: above those of the records that were sent, and below those of all to
// come, whose indexes are greater. It moves with the time, so that clients see
// that they get on.
func (sub *subscription) continuation(sh *state.Shard) seqno.Number {
	index := sub.from.Index
	if sub.from.Second == 0 && index > 0 {
		index-- // the position is before this record, not behind the one before it
	}
	sub.number = max(sub.number, sub.from.Second, sub.a.engine.Now().Unix()+1, sh.CreateSecond+1)
	return seqno.Number{Create: sh.CreateSecond, Shard: uint32(sh.Index), Index: index, Time: sub.number}
}

// subscribeEvent is one SubscribeToShardEvent.
type subscribeEvent struct {
	stream *state.Stream
	shard  int
	res    store.ReadResult
	next   seqno.Number
	data   int // bytes
}

// Size implements [shape.Output].
func (o *subscribeEvent) Size() int { return 512 + recordsSize(o.res.Records, o.data) }

// Encode implements [shape.Output]. The last event of a shard has its children
// and nowhere to go on; the others have it the other way round.
func (o *subscribeEvent) Encode(e shape.Encoder) {
	encodeRecords(e, o.stream, o.shard, o.res.Records)
	if !o.res.Ended {
		e.Sequence("ContinuationSequenceNumber", o.next)
	}
	e.Int("MillisBehindLatest", o.res.BehindLatest.Milliseconds())
	if o.res.Ended {
		encodeChildren(e, o.stream, o.shard)
	}
}
