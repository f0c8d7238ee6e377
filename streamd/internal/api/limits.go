package api

import (
	"context"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// onDemandLimit is how many ON_DEMAND streams AWS lets an account have by
// default. Without Quotas it is reported only: here they take no more than
// others do, and their shards count against maxShards.
const onDemandLimit = 50

type describeLimitsInput struct{}

func (a *API) describeLimits(_ context.Context, scope arn.Scope, _ *describeLimitsInput) (shape.Output, error) {
	out := describeLimitsOutput{quotas: a.cfg.Quotas, region: scope.Region}
	out.open, out.onDemand = a.counts(scope)
	now := a.engine.Now()
	for _, s := range a.engine.Streams(scope) {
		out.channels += len(s.LiveChannels(now))
	}
	return &out, nil
}

type describeLimitsOutput struct {
	open, onDemand, channels int
	quotas                   Quotas
	region                   string
}

func (o *describeLimitsOutput) Size() int { return 128 }

func (o *describeLimitsOutput) Encode(e shape.Encoder) {
	e.Int("ShardLimit", int64(o.quotas.shards(o.region)))
	e.Int("OpenShardCount", int64(o.open))
	e.Int("OnDemandStreamCount", int64(o.onDemand))
	e.Int("OnDemandStreamCountLimit", int64(o.quotas.onDemand()))
	e.Int("ChannelCount", int64(o.channels))
	e.Int("ChannelCountLimit", int64(2*o.quotas.onDemand())) // one of each kind for each stream
}

// Quotas are what AWS lets an account and region have. Those that are 0 have no
// limit. All but those by the day are counted in the catalogue as it is when a
// request comes in: requests at the same time may pass together.
type Quotas struct {
	// Shards are the open ones. 0 means maxShards, or with ByRegion what AWS has
	// in the region.
	Shards   int
	ByRegion bool

	OnDemandStreams int
	Creating        int  // streams that are CREATING at once
	Scaling         bool // UpdateShardCount at most doubles or halves

	Consumers         int // of a stream
	CreatingConsumers int // of a stream that are CREATING at once

	// By the stream in 24 hours.
	ShardCountUpdates, ModeUpdates, EncryptionChanges int
}

// AWSQuotas returns the quotas that an account of AWS has by default.
//
// Source: Amazon Kinesis Data Streams developer guide, quotas and limits, and
// the API Reference of the operations.
func AWSQuotas() Quotas {
	return Quotas{
		ByRegion: true, OnDemandStreams: onDemandLimit, Creating: 5, Scaling: true,
		Consumers: 20, CreatingConsumers: 5,
		ShardCountUpdates: 10, ModeUpdates: 2, EncryptionChanges: 25,
	}
}

func (q Quotas) shards(region string) int {
	switch {
	case q.Shards != 0:
		return q.Shards
	case !q.ByRegion, region == "us-east-1", region == "us-west-2", region == "eu-west-1":
		return maxShards
	}
	return 1000
}

func (q Quotas) onDemand() int {
	if q.OnDemandStreams == 0 {
		return onDemandLimit
	}
	return q.OnDemandStreams
}

// checkStreams refuses to make a stream, or one ON_DEMAND, where there are as
// many as there may be.
func (a *API) checkStreams(scope arn.Scope, mode state.Mode) error {
	creating := 0
	for _, s := range a.engine.Streams(scope) {
		if s.Status == state.Creating {
			creating++
		}
	}
	if limit := a.cfg.Quotas.Creating; limit > 0 && creating >= limit {
		return awserr.New("LimitExceededException", "This request would exceed the limit on the number of streams in CREATING state for the account %s in %s. Limit: %d.", scope.Account, scope.Region, limit)
	}
	if mode != state.OnDemand {
		return nil
	}
	return a.checkOnDemand(scope)
}

// checkOnDemand refuses to have one more stream ON_DEMAND where there are as
// many as there may be.
//
// Source of the wording: hashicorp/terraform-provider-aws, issue 38094.
func (a *API) checkOnDemand(scope arn.Scope) error {
	_, onDemand := a.counts(scope)
	if limit := a.cfg.Quotas.OnDemandStreams; limit > 0 && onDemand >= limit {
		return awserr.New("LimitExceededException", "This request would exceed the limit on the number of On-Demand streams for the account `%s` in `%s`. Current On-Demand streams count: %d. Limit: %d.", scope.Account, scope.Region, onDemand, limit)
	}
	return nil
}

// checkScaling refuses to scale by more than double or half.
func (a *API) checkScaling(current, target int) error {
	switch {
	case !a.cfg.Quotas.Scaling:
	case target > 2*current:
		return invalidArgument("UpdateShardCount cannot scale up over double your current open shard count. Current open shard count: %d Target shard count: %d", current, target)
	case 2*target < current:
		return invalidArgument("UpdateShardCount cannot scale down below half your current open shard count. Current open shard count: %d Target shard count: %d", current, target)
	}
	return nil
}
