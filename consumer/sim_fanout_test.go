package consumer_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/consumer"
)

var _ interface {
	consumer.FanOutAPI
	consumer.Subscriber
} = (*simAPI)(nil)

const (
	simAccount  = "000000000000"
	simARNStart = "arn:aws:kinesis:us-east-1:" + simAccount + ":stream/"
)

func (s *simStream) arn() string { return simARNStart + s.name }

// simConsumer is an application that is registered with the stream.
type simConsumer struct {
	arn, name string
	active    time.Time
	subs      map[string]*simSubscription // the last one of each shard
}

// simCuts are what goes wrong with subscriptions, each in a thousand events.
type simCuts struct{ end, fail, silent int }

// simSubscription sends the records of a shard as they come.
type simSubscription struct {
	api      *simAPI
	stream   *simStream
	shard    *simShard
	next     int
	accepted time.Time
	events   chan types.SubscribeToShardEventStream
	closed   chan struct{} // by the reader
	over     chan struct{} // another one has taken its place
	err      atomic.Value  // why it ended, an error
}

func (a *simAPI) DescribeStreamSummary(ctx context.Context, in *kinesis.DescribeStreamSummaryInput, _ ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error) {
	return simRead(ctx, a, a.of(in.StreamName, in.StreamARN), "", func(s *simStream) (*kinesis.DescribeStreamSummaryOutput, error) {
		return &kinesis.DescribeStreamSummaryOutput{StreamDescriptionSummary: &types.StreamDescriptionSummary{StreamARN: aws.String(s.arn()), StreamCreationTimestamp: &s.created}}, nil
	})
}

func (a *simAPI) RegisterStreamConsumer(ctx context.Context, in *kinesis.RegisterStreamConsumerInput, _ ...func(*kinesis.Options)) (*kinesis.RegisterStreamConsumerOutput, error) {
	return simRead(ctx, a, a.of(nil, in.StreamARN), "", func(s *simStream) (*kinesis.RegisterStreamConsumerOutput, error) {
		for _, c := range s.consumers {
			if c.name == *in.ConsumerName {
				return nil, &types.ResourceInUseException{Message: aws.String("there is one")}
			}
		}
		c := &simConsumer{
			arn: fmt.Sprintf("%s/consumer/%s:%d", s.arn(), *in.ConsumerName, len(s.consumers)), name: *in.ConsumerName,
			active: time.Now().Add(s.creating), subs: map[string]*simSubscription{},
		}
		s.consumers[c.arn] = c
		return &kinesis.RegisterStreamConsumerOutput{Consumer: &types.Consumer{ConsumerARN: &c.arn, ConsumerName: &c.name, ConsumerStatus: types.ConsumerStatusCreating}}, nil
	})
}

func (a *simAPI) DescribeStreamConsumer(ctx context.Context, in *kinesis.DescribeStreamConsumerInput, _ ...func(*kinesis.Options)) (*kinesis.DescribeStreamConsumerOutput, error) {
	return simRead(ctx, a, a.ofConsumer(in.StreamARN, in.ConsumerARN), "", func(s *simStream) (*kinesis.DescribeStreamConsumerOutput, error) {
		for _, c := range s.consumers {
			if c.arn == aws.ToString(in.ConsumerARN) || c.name == aws.ToString(in.ConsumerName) {
				status := types.ConsumerStatusActive
				if time.Now().Before(c.active) {
					status = types.ConsumerStatusCreating
				}
				return &kinesis.DescribeStreamConsumerOutput{ConsumerDescription: &types.ConsumerDescription{ConsumerARN: &c.arn, ConsumerName: &c.name, ConsumerStatus: status}}, nil
			}
		}
		return nil, &types.ResourceNotFoundException{Message: aws.String("no such consumer")}
	})
}

func (a *simAPI) DeregisterStreamConsumer(ctx context.Context, in *kinesis.DeregisterStreamConsumerInput, _ ...func(*kinesis.Options)) (*kinesis.DeregisterStreamConsumerOutput, error) {
	return simRead(ctx, a, a.ofConsumer(in.StreamARN, in.ConsumerARN), "", func(s *simStream) (*kinesis.DeregisterStreamConsumerOutput, error) {
		if s.consumers[aws.ToString(in.ConsumerARN)] == nil {
			return nil, &types.ResourceNotFoundException{Message: aws.String("no such consumer")}
		}
		delete(s.consumers, *in.ConsumerARN)
		return new(kinesis.DeregisterStreamConsumerOutput), nil
	})
}

// ofConsumer returns the stream of an ARN, or that of a consumer's.
func (a *simAPI) ofConsumer(stream, consumerARN *string) *simStream {
	if stream == nil {
		arn, _, _ := strings.Cut(aws.ToString(consumerARN), "/consumer/")
		stream = &arn
	}
	return a.of(nil, stream)
}

// SubscribeToShard implements [consumer.FanOutAPI]; Subscribe is called instead.
func (a *simAPI) SubscribeToShard(context.Context, *kinesis.SubscribeToShardInput, ...func(*kinesis.Options)) (*kinesis.SubscribeToShardOutput, error) {
	panic("not called")
}

// Subscribe implements [consumer.Subscriber]. A call within five seconds after one
// that succeeded is refused while that one's subscription is open, and later takes its
// place.
func (a *simAPI) Subscribe(ctx context.Context, in *kinesis.SubscribeToShardInput) (*kinesis.SubscribeToShardEventStream, error) {
	of := a.ofConsumer(nil, in.ConsumerARN)
	sub, err := simRead(ctx, a, of, consumer.LeaseKey(of.id, *in.ShardId), func(s *simStream) (*simSubscription, error) {
		c := s.consumers[*in.ConsumerARN]
		if c == nil || time.Now().Before(c.active) {
			return nil, &types.ResourceNotFoundException{Message: aws.String("no such consumer, or not yet")}
		}
		sh, err := s.shardLocked(in.ShardId)
		if err != nil {
			return nil, err
		}
		if old := c.subs[sh.id]; old != nil {
			if time.Since(old.accepted) < 5*time.Second {
				return nil, &types.ResourceInUseException{Message: aws.String("another subscription is active")}
			}
			close(old.over)
		}
		p := in.StartingPosition
		sub := &simSubscription{
			api: a, stream: s, shard: sh, next: sh.find(p.Type, p.SequenceNumber, p.Timestamp), accepted: time.Now(),
			events: make(chan types.SubscribeToShardEventStream), closed: make(chan struct{}), over: make(chan struct{}),
		}
		c.subs[sh.id] = sub
		return sub, nil
	})
	if err != nil {
		return nil, err
	}
	go sub.run(ctx)
	return kinesis.NewSubscribeToShardEventStream(func(es *kinesis.SubscribeToShardEventStream) { es.Reader = &simEvents{sub: sub} }), nil
}

// run sends until the subscription ends, in one way or another.
func (b *simSubscription) run(ctx context.Context) {
	defer close(b.events)
	s := b.stream
	life := time.NewTimer(5 * time.Minute)
	defer life.Stop()
	for {
		s.mu.Lock()
		s.trimLocked()
		cuts := s.cuts
		event, news := b.eventLocked()
		s.mu.Unlock()
		if b.api.gate.pass(ctx) != nil {
			return
		}
		if !b.api.calm() {
			switch r := b.api.roll(b.shard.key, 1000); {
			case r < cuts.end:
				return
			case r < cuts.end+cuts.fail:
				b.err.Store(error(&types.InternalFailureException{Message: aws.String("internal failure")}))
				return
			case r < cuts.end+cuts.fail+cuts.silent:
				select {
				case <-time.After(40 * time.Second):
				case <-b.closed:
				case <-ctx.Done():
				}
			}
		}
		select {
		case b.events <- &types.SubscribeToShardEventStreamMemberSubscribeToShardEvent{Value: *event}:
		case <-b.closed:
			return
		case <-b.over:
			b.err.Store(error(&types.InternalFailureException{Message: aws.String("another subscription has taken the place")}))
			return
		case <-ctx.Done():
			return
		case <-life.C:
			return
		}
		if event.ContinuationSequenceNumber == nil {
			return
		}
		if news == nil {
			continue // there is more
		}
		beat := time.NewTimer(5 * time.Second)
		select {
		case <-news:
		case <-beat.C:
		case <-b.closed:
		case <-b.over:
		case <-ctx.Done():
		case <-life.C:
			beat.Stop()
			return
		}
		beat.Stop()
	}
}

// eventLocked returns the next event, and what is closed when there is news; nil if
// there is more.
func (b *simSubscription) eventLocked() (*types.SubscribeToShardEvent, <-chan struct{}) {
	s, sh := b.stream, b.shard
	next := sh.next(b.next)
	end := min(next+s.limit, len(sh.records))
	e := &types.SubscribeToShardEvent{MillisBehindLatest: aws.Int64(sh.behind(end)), Records: sh.records[next:end:end]}
	b.next = end
	switch {
	case end < len(sh.records):
		e.ContinuationSequenceNumber = sh.records[end-1].SequenceNumber
		return e, nil
	case sh.last != 0:
		if b.api.names(s, sh) {
			e.ChildShards = s.childrenOf(sh)
		}
		return e, sh.news
	}
	e.ContinuationSequenceNumber = aws.String(strconv.FormatInt(s.seq, 10))
	return e, sh.news
}

// simEvents is the reader's end of a subscription.
type simEvents struct {
	sub  *simSubscription
	once sync.Once
}

func (r *simEvents) Events() <-chan types.SubscribeToShardEventStream { return r.sub.events }

func (r *simEvents) Close() error {
	r.once.Do(func() { close(r.sub.closed) })
	return nil
}

func (r *simEvents) Err() error {
	err, _ := r.sub.err.Load().(error)
	return err
}
