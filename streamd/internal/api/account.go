package api

import (
	"context"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

type describeAccountInput struct{}

func (a *API) describeAccountSettings(_ context.Context, scope arn.Scope, _ *describeAccountInput) (shape.Output, error) {
	return a.account(scope), nil
}

type commitmentInput struct{ Status shape.String }

type updateAccountInput struct {
	Commitment shape.Opt[commitmentInput]
}

var updateAccountShape = shape.Struct{
	shape.Of("MinimumThroughputBillingCommitment", func(in *updateAccountInput) *shape.Opt[commitmentInput] { return &in.Commitment }, shape.Rules{}.Req()).With(shape.Struct{
		shape.Of("Status", func(in *commitmentInput) *shape.String { return &in.Status },
			shape.OneOf(string(state.CommitmentEnabled), string(state.CommitmentDisabled)).Req()),
	}),
}

func (a *API) updateAccountSettings(ctx context.Context, scope arn.Scope, in *updateAccountInput) (shape.Output, error) {
	enable := in.Commitment.V.Status.V == string(state.CommitmentEnabled)
	if _, err := a.engine.Command(ctx, state.ChangeCommitment{Scope: scope, Enable: enable}); err != nil {
		return nil, apiError(err)
	}
	return a.account(scope), nil
}

func (a *API) account(scope arn.Scope) *accountOutput {
	return &accountOutput{commitment: a.engine.Commitment(scope), now: a.engine.Now()}
}

// accountOutput tells an account's settings.
type accountOutput struct {
	commitment state.Commitment
	now        time.Time
}

func (o *accountOutput) Size() int { return 256 }

// Encode leaves out the instants that mean nothing: the earliest end of what has
// ended, and the end of what has not.
func (o *accountOutput) Encode(e shape.Encoder) {
	c, status := o.commitment, o.commitment.Status(o.now)
	e.Begin("MinimumThroughputBillingCommitment")
	e.String("Status", string(status))
	if !c.Started.IsZero() {
		e.Time("StartedAt", c.Started)
		if status == state.CommitmentDisabled {
			e.Time("EndedAt", c.Ended)
		} else {
			e.Time("EarliestAllowedEndAt", c.EarliestEnd())
		}
	}
	e.End()
}
