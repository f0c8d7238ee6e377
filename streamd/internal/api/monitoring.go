package api

import (
	"context"
	"slices"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// allMetrics stands for all of state.ShardMetrics.
const allMetrics = "ALL"

type monitoringInput struct {
	streamRef
	Metrics shape.Strings
}

var monitoringShape = streamMembers(func(in *monitoringInput) *streamRef { return &in.streamRef },
	shape.Of("ShardLevelMetrics", func(in *monitoringInput) *shape.Strings { return &in.Metrics },
		shape.Length(1, 7).EachOf(shape.OneOf(append(state.ShardMetrics(), allMetrics)...)).Req()))

func (a *API) enableMonitoring(ctx context.Context, scope arn.Scope, in *monitoringInput) (shape.Output, error) {
	return a.changeMonitoring(ctx, scope, in, true)
}

func (a *API) disableMonitoring(ctx context.Context, scope arn.Scope, in *monitoringInput) (shape.Output, error) {
	return a.changeMonitoring(ctx, scope, in, false)
}

func (a *API) changeMonitoring(ctx context.Context, scope arn.Scope, in *monitoringInput, enable bool) (shape.Output, error) {
	s, err := a.find(scope, &in.streamRef)
	if err != nil {
		return nil, err
	}
	cmd := state.ChangeMonitoring{Key: s.Key, Metrics: in.Metrics.V, Enable: enable, Delay: a.cfg.TransitionDelay}
	if slices.Contains(cmd.Metrics, allMetrics) {
		cmd.Metrics = state.ShardMetrics()
	}
	if _, err := a.engine.Command(ctx, cmd); err != nil {
		return nil, apiError(err)
	}
	return &monitoringOutput{key: s.Key, current: s.Metrics, desired: cmd.Desired(s.Metrics)}, nil
}

// monitoringOutput tells the metrics before and after the change.
type monitoringOutput struct {
	key              state.StreamKey
	current, desired []string
}

func (o *monitoringOutput) Size() int { return 1024 }

func (o *monitoringOutput) Encode(e shape.Encoder) {
	e.String("StreamName", o.key.Name)
	encodeStrings(e, "CurrentShardLevelMetrics", o.current)
	encodeStrings(e, "DesiredShardLevelMetrics", o.desired)
	e.String("StreamARN", o.key.ARN())
}

func encodeStrings(e shape.Encoder, key string, all []string) {
	e.BeginList(key)
	for _, s := range all {
		e.String("", s)
	}
	e.EndList()
}
