package api

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

const (
	// maxPolicyBytes bounds a resource policy. The model has no bound; this is
	// that of other resource policies of AWS.
	maxPolicyBytes = 20 << 10

	// noPolicy is the policy of what has none.
	//
	// Source: recorded on AWS.
	noPolicy = "{}"
)

type putPolicyInput struct {
	resourceRef
	Policy shape.String
}

var putPolicyShape = append(resourceMembers(func(in *putPolicyInput) *resourceRef { return &in.resourceRef }),
	shape.Of("Policy", func(in *putPolicyInput) *shape.String { return &in.Policy }, shape.Rules{}.Req()))

func (a *API) putPolicy(ctx context.Context, _ arn.Scope, in *putPolicyInput) (shape.Output, error) {
	s, consumer, err := a.policied(&in.resourceRef)
	if err != nil {
		return nil, err
	}
	if err := checkPolicy(in.Policy.V); err != nil {
		return nil, err
	}
	_, err = a.engine.Command(ctx, state.PutPolicy{Key: s.Key, Consumer: consumer, Policy: in.Policy.V})
	return nil, apiError(err)
}

// policied is resource for what changes a policy, which a consumer has to be
// ACTIVE for.
//
// Source of the wording: aws-cloudformation/cloudformation-coverage-roadmap,
// issue 2442.
func (a *API) policied(ref *resourceRef) (s *state.Stream, consumer string, err error) {
	s, consumer, err = a.resource(ref)
	if err != nil || consumer == "" {
		return s, consumer, err
	}
	c, err := a.consumerByID(s, consumer)
	if err != nil {
		return nil, "", err
	}
	if status, _ := c.At(a.engine.Now()); status != state.Active {
		return nil, "", awserr.New("ResourceInUseException", "Consumer %s with creation timestamp %d under stream %s and account %s is not in ACTIVE status.", c.Name, c.Second, s.Key.Name, s.Key.Account)
	}
	return s, consumer, nil
}

// checkPolicy refuses what cannot be a policy. What it says is not looked at:
// policies are kept, not obeyed.
func checkPolicy(policy string) error {
	switch {
	case len(policy) > maxPolicyBytes:
		return invalidArgument("The resource policy must not be longer than %d bytes. Length: %d.", maxPolicyBytes, len(policy))
	case !strings.HasPrefix(strings.TrimSpace(policy), "{") || !json.Valid([]byte(policy)):
		return invalidArgument("The resource policy is not a valid JSON object.")
	}
	return nil
}

type policyInput struct{ resourceRef }

var policyShape = resourceMembers(func(in *policyInput) *resourceRef { return &in.resourceRef })

func (a *API) getPolicy(_ context.Context, _ arn.Scope, in *policyInput) (shape.Output, error) {
	s, consumer, err := a.resource(&in.resourceRef)
	if err != nil {
		return nil, err
	}
	policy, ok := s.Policies[consumer]
	if !ok {
		policy = noPolicy
	}
	return &policyOutput{policy}, nil
}

func (a *API) deletePolicy(ctx context.Context, _ arn.Scope, in *policyInput) (shape.Output, error) {
	s, consumer, err := a.policied(&in.resourceRef)
	if err != nil {
		return nil, err
	}
	_, err = a.engine.Command(ctx, state.DeletePolicy{Key: s.Key, Consumer: consumer})
	return nil, apiError(err)
}

type policyOutput struct{ policy string }

func (o *policyOutput) Size() int { return len(o.policy) + 64 }

func (o *policyOutput) Encode(e shape.Encoder) { e.String("Policy", o.policy) }
