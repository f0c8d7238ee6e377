package api

import (
	"context"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
)

// onDemandLimit is how many ON_DEMAND streams AWS lets an account have by
// default. It is reported only: here they take no more than others do, and
// their shards count against maxShards.
const onDemandLimit = 50

// channelLimit is how many channels those streams can have: one of each kind.
const channelLimit = 2 * onDemandLimit

type describeLimitsInput struct{}

func (a *API) describeLimits(_ context.Context, scope arn.Scope, _ *describeLimitsInput) (shape.Output, error) {
	var out describeLimitsOutput
	out.open, out.onDemand = a.counts(scope)
	now := a.engine.Now()
	for _, s := range a.engine.Streams(scope) {
		out.channels += len(s.LiveChannels(now))
	}
	return &out, nil
}

type describeLimitsOutput struct{ open, onDemand, channels int }

func (o *describeLimitsOutput) Size() int { return 128 }

func (o *describeLimitsOutput) Encode(e shape.Encoder) {
	e.Int("ShardLimit", maxShards)
	e.Int("OpenShardCount", int64(o.open))
	e.Int("OnDemandStreamCount", int64(o.onDemand))
	e.Int("OnDemandStreamCountLimit", onDemandLimit)
	e.Int("ChannelCount", int64(o.channels))
	e.Int("ChannelCountLimit", channelLimit)
}
