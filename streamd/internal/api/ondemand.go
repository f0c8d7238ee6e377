package api

import (
	"context"
	"math/rand/v2"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

var (
	warmRules         = shape.AtLeast(0)
	distributionRules = shape.OneOf(string(state.Auto), string(state.ByKeys))
)

// optional returns a copy of a number that was given, nil of one that was not.
func optional(n shape.Int) *int {
	if !n.Set {
		return nil
	}
	v := int(n.V)
	return &v
}

type updateWarmInput struct {
	streamRef
	Warm shape.Int
}

var updateWarmShape = shape.Struct{
	shape.Of("StreamARN", func(in *updateWarmInput) *shape.String { return &in.StreamARN }, streamARNRules),
	shape.Of("StreamName", func(in *updateWarmInput) *shape.String { return &in.StreamName }, nameRules),
	shape.Of("StreamId", func(in *updateWarmInput) *shape.String { return &in.StreamID }, streamIDRules),
	shape.Of("WarmThroughputMiBps", func(in *updateWarmInput) *shape.Int { return &in.Warm }, warmRules.Req()),
}

func (a *API) updateWarmThroughput(ctx context.Context, scope arn.Scope, in *updateWarmInput) (shape.Output, error) {
	key, err := in.key(scope)
	if err != nil {
		return nil, err
	}
	s, err := a.engine.Command(ctx, state.ChangeWarmThroughput{Key: key, MiBps: int(in.Warm.V), Delay: a.cfg.TransitionDelay})
	if err != nil {
		return nil, apiError(err)
	}
	return &updateWarmOutput{s}, nil
}

type updateWarmOutput struct{ stream *state.Stream }

func (o *updateWarmOutput) Size() int { return 256 }

func (o *updateWarmOutput) Encode(e shape.Encoder) {
	e.String("StreamARN", o.stream.Key.ARN())
	e.String("StreamName", o.stream.Key.Name)
	encodeWarm(e, o.stream)
}

func encodeWarm(e shape.Encoder, s *state.Stream) {
	current, target := s.WarmThroughput()
	e.Begin("WarmThroughput")
	e.Int("TargetMiBps", int64(target))
	e.Int("CurrentMiBps", int64(current))
	e.End()
}

type updateDistributionInput struct {
	streamRef    // without a StreamName, which this operation does not have
	Distribution shape.String
}

var updateDistributionShape = append(arnMembers(func(in *updateDistributionInput) *streamRef { return &in.streamRef }, streamARNRules.Req()),
	shape.Of("RecordDistributionStrategy", func(in *updateDistributionInput) *shape.String { return &in.Distribution }, distributionRules.Req()))

func (a *API) updateDistribution(ctx context.Context, scope arn.Scope, in *updateDistributionInput) (shape.Output, error) {
	key, err := in.key(scope)
	if err != nil {
		return nil, err
	}
	_, err = a.engine.Command(ctx, state.ChangeDistribution{Key: key, Distribution: state.Distribution(in.Distribution.V)})
	return nil, apiError(err)
}

// relaxed returns rules without partition keys for an input that names a stream
// which does not need them, else nil.
func (a *API) relaxed(scope arn.Scope, ref *streamRef, rules shape.Struct) shape.Struct {
	if s, err := a.find(scope, ref); err == nil && s.Spreads() {
		return rules
	}
	return nil
}

// A router gives the records of one request their hash keys: those that they ask
// for, or such as spread them evenly over the open shards of a stream that
// distributes them by itself. It gives hash keys, not shards, so that a record
// whose shard has closed by the time it is stored has another.
type router struct {
	s    *state.Stream
	next uint64 // of the open shards, where records are spread
}

// routeOf returns the router of a request to s. Where records are spread, each
// request begins at a shard of its own.
func routeOf(s *state.Stream) router {
	r := router{s: s}
	if s.Spreads() {
		r.next = rand.Uint64()
	}
	return r
}

// hash returns the hash key of a record. i is its index in PutRecords, -1 in
// PutRecord.
func (r *router) hash(partitionKey, explicit *shape.String, i int) (hashkey.Key, error) {
	k, fixed, err := r.fixed(partitionKey, explicit, i)
	if !fixed && err == nil {
		k = hashkey.Of(partitionKey.V)
	}
	return k, err
}

// fixed is hash without the work: not fixed means that of the partition key.
func (r *router) fixed(partitionKey, explicit *shape.String, i int) (k hashkey.Key, fixed bool, err error) {
	switch {
	case r.s.Spreads():
		open := r.s.Open()
		r.next++
		return r.s.Shards[open[r.next%uint64(len(open))]].Range.Start, true, nil
	case !partitionKey.Set: // the strategy has changed since the input was checked
		return k, false, awserr.New("ValidationException", "1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", recordPath(i, "partitionKey"))
	case !explicit.Set:
		return k, false, nil
	}
	if k, err = hashkey.Parse(explicit.V); err != nil {
		return k, false, invalidArgument("Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was %s", explicit.V)
	}
	return k, true, nil
}
