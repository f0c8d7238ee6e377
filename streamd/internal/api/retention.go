package api

import (
	"context"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// Bounds of a retention period in hours. The model has none: the operations
// check them.
const (
	minRetention = 24
	maxRetention = 8760
)

type retentionInput struct {
	streamRef
	Hours shape.Int
}

var retentionShape = streamMembers(func(in *retentionInput) *streamRef { return &in.streamRef },
	shape.Of("RetentionPeriodHours", func(in *retentionInput) *shape.Int { return &in.Hours }, shape.Rules{}.Req()))

func (a *API) increaseRetention(ctx context.Context, scope arn.Scope, in *retentionInput) (shape.Output, error) {
	return nil, a.changeRetention(ctx, scope, in, true)
}

func (a *API) decreaseRetention(ctx context.Context, scope arn.Scope, in *retentionInput) (shape.Output, error) {
	return nil, a.changeRetention(ctx, scope, in, false)
}

// Source of the wording: errors recorded from AWS.
func (a *API) changeRetention(ctx context.Context, scope arn.Scope, in *retentionInput, increase bool) error {
	s, err := a.find(scope, &in.streamRef)
	if err != nil {
		return err
	}
	switch hours := in.Hours.V; {
	case hours < minRetention:
		return invalidArgument("Minimum allowed retention period is %d hours. Requested retention period (%d hours) is too short.", minRetention, hours)
	case hours > maxRetention:
		return invalidArgument("Maximum allowed retention period is %d hours. Requested retention period (%d hours) is too long.", maxRetention, hours)
	}
	_, err = a.engine.Command(ctx, state.ChangeRetention{Key: s.Key, Hours: int(in.Hours.V), Increase: increase, Delay: a.cfg.TransitionDelay})
	return apiError(err)
}
