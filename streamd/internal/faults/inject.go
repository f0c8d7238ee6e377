package faults

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// Around is an [api.Around].
func (s *Set) Around(ctx context.Context, c api.Call, do func(context.Context) (shape.Output, error)) (shape.Output, error) {
	t := target{
		service: kinesis, operation: c.Operation, account: c.Scope.Account,
		stream: c.Stream.Name, shard: c.Shard, consumer: c.Consumer,
	}
	if c.Stream.Name != "" {
		t.account = c.Stream.Account
	}
	return inject(ctx, s, &t, do)
}

// TableFunc answers a DynamoDB operation, as in [awsproto.Config].
type TableFunc func(ctx context.Context, scope arn.Scope, op string, body []byte) (awsproto.TableResponse, error)

// Table puts a function inside the rules.
func (s *Set) Table(do TableFunc) TableFunc {
	return func(ctx context.Context, scope arn.Scope, op string, body []byte) (awsproto.TableResponse, error) {
		if !slices.Contains(tableOperations, op) {
			return do(ctx, scope, op, body) // says that there is none
		}
		t := target{service: dynamodb, operation: op, account: scope.Account, stream: tableName(body), shard: state.NoShard}
		return inject(ctx, s, &t, func(ctx context.Context) (awsproto.TableResponse, error) { return do(ctx, scope, op, body) })
	}
}

// tableName returns the name in a body, empty if there is none.
func tableName(body []byte) string {
	var in struct{ TableName string }
	if json.Unmarshal(body, &in) != nil {
		return "" // the operation says what is wrong
	}
	_, name, ok := strings.Cut(in.TableName, ":table/")
	if !ok {
		return in.TableName
	}
	return name
}

// inject carries a request out as the rules say.
func inject[T any](ctx context.Context, s *Set, t *target, do func(context.Context) (T, error)) (out T, err error) {
	d := s.decide(t)
	if d.delay > 0 {
		if err := wait(ctx, d.delay); err != nil {
			return out, err
		}
	}
	switch d.rule.Kind {
	case Throttle:
		err = throttled(t)
	case Internal:
		err = failed(t)
	case Unavailable:
		err = &awserr.Error{Code: "ServiceUnavailable", Message: "Service is unavailable.", Status: 503}
	case ExpiredIterator:
		now := s.now()
		err = api.IteratorExpired(now.Add(-5*time.Minute-time.Second), now)
	case Custom:
		err = &awserr.Error{Code: d.rule.Code, Message: d.rule.Message, Status: d.rule.Status}
	case Cut:
		err = awsproto.ErrCut
	case ReplyLost:
		// Whatever the answer is: nobody hears of it.
		_, _ = do(ctx)
		err = awsproto.ErrReplyLost
	case Partial:
		out, err = do(context.WithValue(ctx, partialKey{}, newPartial(d)))
	case FanOutCut:
		out, err = do(context.WithValue(ctx, fanOutKey{}, FanOut{Events: d.rule.Events, Lifetime: d.rule.Lifetime, Reset: d.rule.Reset}))
	default:
		out, err = do(ctx)
	}
	return out, err
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type partialKey struct{}

// partial chooses the records of one call of PutRecords that fail. It belongs
// to that call.
type partial struct {
	share   float64
	shard   int
	code    string
	message string
	sum     float64 // of the shares of the records so far
}

func newPartial(d decision) *partial {
	shard, _ := parseShard(d.rule.Shard)
	return &partial{share: d.rule.Share, shard: shard, code: d.rule.Code, message: d.rule.Message, sum: fraction(d.draw)}
}

// fails reports whether the next record fails. Those that do lie evenly spread
// over the request from where the draw has it begin, so that their number is
// the share, rounded up or down.
func (p *partial) fails() bool {
	before := math.Floor(p.sum)
	p.sum += p.share
	return math.Floor(p.sum) > before
}

// Admit is an [api.Admit].
func (s *Set) Admit(ctx context.Context, stream *state.Stream, records []api.Incoming) (refused int) {
	p, ok := ctx.Value(partialKey{}).(*partial)
	if !ok {
		return 0
	}
	for i := range records {
		r := &records[i]
		if p.shard != anyShard && p.shard != r.Shard || !p.fails() {
			continue
		}
		r.Refused = recordThrottled(stream.Key.Account, stream.Key.Name, state.ShardID(r.Shard))
		if p.code == internalFailure {
			r.Refused = awserr.Internal()
		}
		if p.message != "" {
			r.Refused.Message = p.message
		}
		refused++
	}
	return refused
}

type fanOutKey struct{}

// FanOut says when a subscription is cut: after so many events, or after a
// time by the server's clock, whichever comes first. 0 means not by that.
type FanOut struct {
	Events   int
	Lifetime time.Duration
	// Reset has the connection cut in the middle of the stream (see
	// [awsproto.ErrCut]); otherwise the stream ends as at the end of its life.
	Reset bool
}

// FanOutOf returns what the rules say of the subscription that a call of
// SubscribeToShard with this context makes.
func FanOutOf(ctx context.Context) (f FanOut, ok bool) {
	f, ok = ctx.Value(fanOutKey{}).(FanOut)
	return f, ok
}
