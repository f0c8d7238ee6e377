package api

import (
	"context"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// recordSizeRules are the model's bounds of MaxRecordSizeInKiB.
var recordSizeRules = shape.Range(1024, 10240)

type updateMaxRecordSizeInput struct {
	streamRef // without a StreamName, which this operation does not have
	Size      shape.Int
}

// arnMembers returns the table rows of a streamRef whose operation takes no
// StreamName.
func arnMembers[S any](at func(*S) *streamRef, rules shape.Rules) shape.Struct {
	return shape.Struct{
		shape.Of("StreamARN", func(in *S) *shape.String { return &at(in).StreamARN }, rules),
		shape.Of("StreamId", func(in *S) *shape.String { return &at(in).StreamID }, streamIDRules),
	}
}

var updateMaxRecordSizeShape = append(arnMembers(func(in *updateMaxRecordSizeInput) *streamRef { return &in.streamRef }, streamARNRules),
	shape.Of("MaxRecordSizeInKiB", func(in *updateMaxRecordSizeInput) *shape.Int { return &in.Size }, recordSizeRules.Req()))

func (a *API) updateMaxRecordSize(ctx context.Context, scope arn.Scope, in *updateMaxRecordSizeInput) (shape.Output, error) {
	if !in.StreamARN.Set {
		return nil, invalidArgument("StreamARN must be specified.")
	}
	key, err := in.key(scope)
	if err != nil {
		return nil, err
	}
	_, err = a.engine.Command(ctx, state.ChangeMaxRecordSize{Key: key, MaxRecordBytes: int(in.Size.V) * kib, Delay: a.cfg.TransitionDelay})
	return nil, apiError(err)
}

type updateStreamModeInput struct {
	streamRef      // without a StreamName, which this operation does not have
	ModeDetails    shape.Opt[modeDetails]
	WarmThroughput shape.Int
}

var updateStreamModeShape = append(arnMembers(func(in *updateStreamModeInput) *streamRef { return &in.streamRef }, streamARNRules.Req()),
	shape.Of("StreamModeDetails", func(in *updateStreamModeInput) *shape.Opt[modeDetails] { return &in.ModeDetails }, shape.Rules{}.Req()).With(modeDetailsShape),
	shape.Of("WarmThroughputMiBps", func(in *updateStreamModeInput) *shape.Int { return &in.WarmThroughput }, warmRules))

func (a *API) updateStreamMode(ctx context.Context, scope arn.Scope, in *updateStreamModeInput) (shape.Output, error) {
	key, err := in.key(scope)
	if err != nil {
		return nil, err
	}
	mode := state.Mode(in.ModeDetails.V.StreamMode.V)
	if s, ok := a.engine.Stream(key); ok && s.Status == state.Active && s.Mode != mode && mode == state.OnDemand {
		if err := a.checkOnDemand(key.Scope); err != nil {
			return nil, err
		}
	}
	_, err = a.engine.Command(ctx, state.ChangeMode{
		Key: key, Mode: mode, Warm: optional(in.WarmThroughput), Delay: a.cfg.TransitionDelay, Daily: a.cfg.Quotas.ModeUpdates,
	})
	return nil, apiError(err)
}
