package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/backoff"
)

const (
	// silence is for how long a subscription may send nothing while it is waited
	// for. The service sends an event at least every five seconds.
	silence = 35 * time.Second

	// subscriptionLife is when a subscription is replaced, at the latest: the
	// service ends it after five minutes. Up to subscriptionSpread earlier, so
	// that those of many shards do not come to be replaced at one moment.
	subscriptionLife   = 5*time.Minute - 10*time.Second
	subscriptionSpread = 30 * time.Second

	// subscriptionGrace is for how long after a call that succeeded the service
	// refuses another for the same shard and consumer.
	//
	// Source: the API reference of SubscribeToShard.
	subscriptionGrace = 5 * time.Second

	// inUseFloor is the least wait after such a refusal: one call a second is
	// allowed.
	inUseFloor = time.Second
)

// brokenPolicy spaces subscriptions that were accepted and died without an
// event, on top of subscriptionGrace.
var brokenPolicy = backoff.Policy{Base: 500 * time.Millisecond, Max: 30 * time.Second}

// errSilent means that a subscription sent nothing for too long.
var errSilent = errors.New("consumer: the subscription has fallen silent")

// subscriber fetches with SubscribeToShard.
//
// It takes the next event only when the one before was taken from it, and waits
// for the budget with the event in hand, so that a subscription that waits for
// records reserves no memory. What a slow processor does not take stays on the
// service's side of the connection, but for the two events that the SDK decodes
// ahead.
type subscriber struct {
	open    subscribeFunc
	reg     *registration
	shard   string
	timeout time.Duration
	memory  *share
	stats   *fetchStats
	place   *place

	subscribed *atomic.Bool // whether a subscription is open, for others to see

	stream *kinesis.SubscribeToShardEventStream // nil without one
	cancel context.CancelFunc                   // of stream
	arn    string                               // of the consumer that stream is for
	until  time.Time                            // when stream is to be replaced
	events int                                  // that stream has sent

	accepted time.Time // when the last call that succeeded was sent
	due      time.Time // when the next may be
	broken   int       // subscriptions in a row that died without an event
}

// fetch implements fetcher.
func (s *subscriber) fetch(ctx context.Context) (page, error) {
	if s.stream != nil && !time.Now().Before(s.until) {
		// What the old one has sent and was not taken comes again: the new one
		// begins behind what was.
		s.close()
	}
	if s.stream == nil {
		if err := s.subscribe(ctx); err != nil {
			return page{}, err
		}
	}
	event, err := s.next(ctx)
	if err != nil {
		return page{}, err
	}
	if event == nil { // the end of the subscription's life
		return page{}, nil
	}
	pg := page{
		records:  event.Records,
		behind:   time.Duration(aws.ToInt64(event.MillisBehindLatest)) * time.Millisecond,
		bytes:    bytesOf(event.Records),
		next:     aws.ToString(event.ContinuationSequenceNumber),
		children: event.ChildShards,
	}
	pg.ended = pg.next == ""
	taken, _, err := s.memory.acquire(ctx, pg.bytes)
	if err != nil {
		return page{}, err
	}
	s.memory.charge(pg.bytes - taken)
	if n := len(event.Records); n == 0 {
		s.stats.emptyEvents.Add(1)
	} else if pg.ended {
		s.place.received = aws.ToString(event.Records[n-1].SequenceNumber)
	}
	if pg.ended {
		s.close()
	} else {
		s.place.received = pg.next
	}
	return pg, nil
}

// subscribe opens a subscription.
func (s *subscriber) subscribe(ctx context.Context) error {
	arn, err := s.reg.wait(ctx)
	if err != nil {
		return err
	}
	if err := sleepUntil(ctx, s.due); err != nil {
		return err
	}
	pos := s.place.position()
	// The context of the call is that of the subscription, so the time that the
	// call may take is bounded apart.
	subCtx, cancel := context.WithCancelCause(ctx)
	limit := time.AfterFunc(s.timeout, func() { cancel(context.DeadlineExceeded) })
	asked := time.Now()
	stream, err := s.open(subCtx, &kinesis.SubscribeToShardInput{
		ConsumerARN: &arn, ShardId: &s.shard,
		StartingPosition: &types.StartingPosition{Type: pos.kind, SequenceNumber: pos.number, Timestamp: pos.at},
	})
	if !limit.Stop() && err == nil {
		_ = stream.Close()
		err = context.DeadlineExceeded
	}
	if err != nil {
		if subCtx.Err() != nil && ctx.Err() == nil {
			err = context.Cause(subCtx)
		}
		cancel(nil)
		return s.refused(ctx, arn, fmt.Errorf("subscribe to shard %q: %w", s.shard, err))
	}
	s.place.granted(pos, asked)
	s.stats.subscriptions.Add(1)
	s.stream, s.cancel, s.arn, s.events = stream, func() { cancel(nil) }, arn, 0
	s.accepted = asked
	s.until = asked.Add(subscriptionLife - time.Duration(chance.Int64N(int64(subscriptionSpread))))
	s.subscribed.Store(true)
	return nil
}

// refused notes a call that failed.
func (s *subscriber) refused(ctx context.Context, arn string, err error) error {
	if stopped(ctx) {
		return ctx.Err()
	}
	s.due = time.Now()
	if _, ok := errors.AsType[*types.ResourceInUseException](err); ok {
		// The one before is still known, be it ours, or that of a worker that
		// had the shard: within its grace it keeps its place. The wait does not
		// grow, as the next call has the same prospects.
		s.stats.subscriptionsInUse.Add(1)
		s.due = s.due.Add(inUseFloor + time.Duration(chance.Int64N(int64(inUseFloor/2))))
		return &handledError{err}
	}
	if classify(err) == faultNotFound {
		if s.reg.check(ctx, arn) {
			return fmt.Errorf("%w: %w", errShardGone, err)
		}
		return &handledError{err} // to be registered again
	}
	if classify(err) == faultThrottled {
		s.stats.throttled.Add(1)
	} else {
		s.stats.failed.Add(1)
	}
	return err
}

// next returns the next event, or nil when the subscription is over as it has
// to be.
func (s *subscriber) next(ctx context.Context) (*types.SubscribeToShardEvent, error) {
	watchdog := time.NewTimer(silence)
	defer watchdog.Stop()
	replace := time.NewTimer(time.Until(s.until))
	defer replace.Stop()
	for {
		select {
		case event, ok := <-s.stream.Events():
			if !ok {
				return nil, s.ended(ctx)
			}
			if e, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent); ok {
				s.events++
				s.broken = 0
				s.stats.events.Add(1)
				return &e.Value, nil
			}
			watchdog.Reset(silence) // an event of a kind that is not known
		case <-replace.C:
			s.close()
			return nil, nil
		case <-watchdog.C:
			s.stats.silent.Add(1)
			return nil, s.dead(fmt.Errorf("read shard %q: %w", s.shard, errSilent))
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ended notes that the subscription has ended by itself.
func (s *subscriber) ended(ctx context.Context) error {
	err := s.stream.Err()
	arn := s.arn
	if stopped(ctx) {
		return ctx.Err()
	}
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
		s.close()
		return s.refused(ctx, arn, fmt.Errorf("read shard %q: %w", s.shard, err))
	}
	if err == nil {
		if time.Since(s.accepted) >= subscriptionLife-subscriptionSpread {
			s.close()
			return nil
		}
		// The SDK takes a broken connection for an end like others.
		err = errors.New("the subscription has ended before its time")
	}
	s.stats.subscriptionsLost.Add(1)
	return s.dead(fmt.Errorf("read shard %q: %w", s.shard, err))
}

// dead closes a subscription that failed and says when there may be another.
func (s *subscriber) dead(err error) error {
	failed := s.events == 0
	s.close()
	if !failed {
		return &handledError{err}
	}
	s.broken++
	s.due = s.due.Add(brokenPolicy.Wait(s.broken-1, chance))
	if s.broken == 1 {
		return &handledError{err} // once is no news
	}
	return err
}

// close implements fetcher.
func (s *subscriber) close() {
	if s.stream == nil {
		return
	}
	s.cancel()
	_ = s.stream.Close() // what it says is known, or of no use any more
	s.stream = nil
	s.subscribed.Store(false)
	s.due = time.Now()
	if grace := s.accepted.Add(subscriptionGrace); grace.After(s.due) {
		s.due = grace
	}
}
