package api

import (
	"context"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

type splitShardInput struct {
	streamRef
	Shard shape.String
	Hash  shape.String
}

var splitShardShape = streamMembers(func(in *splitShardInput) *streamRef { return &in.streamRef },
	shape.Of("ShardToSplit", func(in *splitShardInput) *shape.String { return &in.Shard }, nameRules.Req()),
	shape.Of("NewStartingHashKey", func(in *splitShardInput) *shape.String { return &in.Hash }, hashKeyRules.Req()))

func (a *API) splitShard(ctx context.Context, scope arn.Scope, in *splitShardInput) (shape.Output, error) {
	s, err := a.find(scope, &in.streamRef)
	if err != nil {
		return nil, err
	}
	shard, err := resolveShard(s.Key, in.Shard.V)
	if err != nil {
		return nil, err
	}
	hash, err := hashkey.Parse(in.Hash.V)
	if err != nil { // 39 digits may be more than 2^128-1, which no shard reaches
		return nil, invalidArgument("NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is not a hash key: it must be in the range: [0, 2^128-1].",
			in.Hash.V, state.ShardID(shard), s.Key.Name, s.Key.Account)
	}
	if usable(s) {
		if err := a.checkShardLimit(s.Key.Scope, 1); err != nil {
			return nil, err
		}
	}
	_, err = a.engine.Command(ctx, state.SplitShard{Key: s.Key, Shard: shard, NewStartingHash: hash, Delay: a.cfg.TransitionDelay})
	return nil, apiError(err)
}

type mergeShardsInput struct {
	streamRef
	Shard    shape.String
	Adjacent shape.String
}

var mergeShardsShape = streamMembers(func(in *mergeShardsInput) *streamRef { return &in.streamRef },
	shape.Of("ShardToMerge", func(in *mergeShardsInput) *shape.String { return &in.Shard }, nameRules.Req()),
	shape.Of("AdjacentShardToMerge", func(in *mergeShardsInput) *shape.String { return &in.Adjacent }, nameRules.Req()))

func (a *API) mergeShards(ctx context.Context, scope arn.Scope, in *mergeShardsInput) (shape.Output, error) {
	s, err := a.find(scope, &in.streamRef)
	if err != nil {
		return nil, err
	}
	shard, err := resolveShard(s.Key, in.Shard.V)
	if err != nil {
		return nil, err
	}
	adjacent, err := resolveShard(s.Key, in.Adjacent.V)
	if err != nil {
		return nil, err
	}
	_, err = a.engine.Command(ctx, state.MergeShards{Key: s.Key, Shard: shard, Adjacent: adjacent, Delay: a.cfg.TransitionDelay})
	return nil, apiError(err)
}

// maxTarget is the most that UpdateShardCount scales to.
const maxTarget = 10000

type updateShardCountInput struct {
	streamRef
	Target  shape.Int
	Scaling shape.String
}

var updateShardCountShape = streamMembers(func(in *updateShardCountInput) *streamRef { return &in.streamRef },
	shape.Of("TargetShardCount", func(in *updateShardCountInput) *shape.Int { return &in.Target }, shape.AtLeast(1).Req()),
	shape.Of("ScalingType", func(in *updateShardCountInput) *shape.String { return &in.Scaling }, shape.OneOf("UNIFORM_SCALING").Req()))

func (a *API) updateShardCount(ctx context.Context, scope arn.Scope, in *updateShardCountInput) (shape.Output, error) {
	s, err := a.find(scope, &in.streamRef)
	if err != nil {
		return nil, err
	}
	target, current := int(in.Target.V), len(s.Open())
	if target > maxTarget {
		return nil, invalidArgument("TargetShardCount %d is above the maximum of %d.", target, maxTarget)
	}
	if s.Status == state.Active && s.Mode == state.Provisioned { // else the answer is that it is not
		if err := a.checkScaling(current, target); err != nil {
			return nil, err
		}
	}
	if usable(s) && target > current {
		if err := a.checkShardLimit(s.Key.Scope, target-current); err != nil {
			return nil, err
		}
	}
	if _, err := a.engine.Command(ctx, state.UpdateShardCount{Key: s.Key, Target: target, Delay: a.cfg.TransitionDelay, Daily: a.cfg.Quotas.ShardCountUpdates}); err != nil {
		return nil, apiError(err)
	}
	return &updateShardCountOutput{key: s.Key, current: current, target: target}, nil
}

type updateShardCountOutput struct {
	key             state.StreamKey
	current, target int
}

func (o *updateShardCountOutput) Size() int { return 256 }

func (o *updateShardCountOutput) Encode(e shape.Encoder) {
	e.String("StreamName", o.key.Name)
	e.Int("CurrentShardCount", int64(o.current))
	e.Int("TargetShardCount", int64(o.target))
	e.String("StreamARN", o.key.ARN())
}
