package api

import (
	"context"
	"sort"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

const (
	// defaultShards is how many shards a stream gets that names no number.
	//
	// Source: recorded on AWS.
	defaultShards = 4

	// maxShards bounds the open shards of an account and region, as in the
	// largest regions of AWS.
	maxShards = 20000

	kib = 1 << 10

	// describePage is the default and the most of DescribeStream's and
	// ListStreams' pages.
	describePage = 100
)

type modeDetails struct{ StreamMode shape.String }

var modeDetailsShape = shape.Struct{
	shape.Of("StreamMode", func(in *modeDetails) *shape.String { return &in.StreamMode },
		shape.OneOf(string(state.Provisioned), string(state.OnDemand)).Req()),
}

type createStreamInput struct {
	StreamName         shape.String
	ShardCount         shape.Int
	ModeDetails        shape.Opt[modeDetails]
	Tags               shape.Map
	WarmThroughput     shape.Int
	MaxRecordSizeInKiB shape.Int
	Distribution       shape.String
}

var createStreamShape = shape.Struct{
	shape.Of("StreamName", func(in *createStreamInput) *shape.String { return &in.StreamName }, nameRules.Req()),
	shape.Of("ShardCount", func(in *createStreamInput) *shape.Int { return &in.ShardCount }, shape.AtLeast(1)),
	shape.Of("StreamModeDetails", func(in *createStreamInput) *shape.Opt[modeDetails] { return &in.ModeDetails }, shape.Rules{}).With(modeDetailsShape),
	shape.Of("Tags", func(in *createStreamInput) *shape.Map { return &in.Tags }, tagMapRules),
	shape.Of("WarmThroughputMiBps", func(in *createStreamInput) *shape.Int { return &in.WarmThroughput }, warmRules),
	shape.Of("MaxRecordSizeInKiB", func(in *createStreamInput) *shape.Int { return &in.MaxRecordSizeInKiB }, recordSizeRules),
	shape.Of("RecordDistributionStrategy", func(in *createStreamInput) *shape.String { return &in.Distribution }, distributionRules),
}

func (a *API) createStream(ctx context.Context, scope arn.Scope, in *createStreamInput) (shape.Output, error) {
	// Source of the wording: an error that was reported from AWS.
	if in.WarmThroughput.Set && in.ShardCount.Set {
		return nil, awserr.New("ValidationException", "Either 'warmThroughputMiBps' or 'shardCount' can be set but not both")
	}
	cmd := state.CreateStream{
		Key:            state.StreamKey{Scope: scope, Name: in.StreamName.V},
		ShardCount:     int(in.ShardCount.Or(defaultShards)),
		Mode:           state.Provisioned,
		MaxRecordBytes: int(in.MaxRecordSizeInKiB.Or(1024)) * kib,
		Tags:           in.Tags.V,
		Warm:           optional(in.WarmThroughput),
		Delay:          a.cfg.TransitionDelay,
	}
	if err := checkTags(cmd.Key, cmd.Tags); err != nil {
		return nil, err
	}
	if in.ModeDetails.Set && in.ModeDetails.V.StreamMode.V == string(state.OnDemand) {
		cmd.Mode, cmd.ShardCount = state.OnDemand, defaultShards
	}
	if in.Distribution.V == string(state.Auto) {
		cmd.Distribution = state.Auto
	}
	if _, ok := a.engine.Stream(cmd.Key); !ok { // else the answer is that it exists
		if err := a.checkStreams(scope, cmd.Mode); err != nil {
			return nil, err
		}
		if err := a.checkShardLimit(scope, cmd.ShardCount); err != nil {
			return nil, err
		}
	}
	_, err := a.engine.Command(ctx, cmd)
	return nil, apiError(err)
}

// counts returns how many open shards a scope has, and how many of its streams
// are ON_DEMAND.
func (a *API) counts(scope arn.Scope) (open, onDemand int) {
	for _, s := range a.engine.Streams(scope) {
		open += len(s.Open())
		if s.Mode == state.OnDemand {
			onDemand++
		}
	}
	return open, onDemand
}

// checkShardLimit refuses to make more shards than an account may have. Those
// that streams get with the transitions under way count as open.
//
// Source of the wording: recorded from AWS.
func (a *API) checkShardLimit(scope arn.Scope, more int) error {
	open, limit := 0, a.cfg.Quotas.shards(scope.Region)
	for _, s := range a.engine.Streams(scope) {
		open += s.Promised()
	}
	if open+more <= limit {
		return nil
	}
	return awserr.New("LimitExceededException",
		"This request would exceed the shard limit for the account %s in %s. Current shard count for the account: %d. Limit: %d. Number of additional shards that would have resulted from this request: %d. Refer to the AWS Service Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how to request higher limits.",
		scope.Account, scope.Region, open, limit, more)
}

type deleteStreamInput struct {
	streamRef
	Enforce shape.Bool
}

var deleteStreamShape = streamMembers(func(in *deleteStreamInput) *streamRef { return &in.streamRef },
	shape.Of("EnforceConsumerDeletion", func(in *deleteStreamInput) *shape.Bool { return &in.Enforce }, shape.Rules{}))

func (a *API) deleteStream(ctx context.Context, scope arn.Scope, in *deleteStreamInput) (shape.Output, error) {
	s, err := a.find(scope, &in.streamRef)
	if err != nil {
		return nil, err
	}
	if s.Status == state.Deleting {
		return nil, notActive(s)
	}
	_, err = a.engine.Command(ctx, state.DeleteStream{Key: s.Key, Enforce: in.Enforce.V, Delay: a.cfg.TransitionDelay})
	return nil, apiError(err)
}

type describeStreamInput struct {
	streamRef
	Limit      shape.Int
	StartShard shape.String
}

var describeStreamShape = streamMembers(func(in *describeStreamInput) *streamRef { return &in.streamRef },
	shape.Of("Limit", func(in *describeStreamInput) *shape.Int { return &in.Limit }, pageRules),
	shape.Of("ExclusiveStartShardId", func(in *describeStreamInput) *shape.String { return &in.StartShard }, nameRules))

func (a *API) describeStream(_ context.Context, scope arn.Scope, in *describeStreamInput) (shape.Output, error) {
	s, err := a.find(scope, &in.streamRef)
	if err != nil {
		return nil, err
	}
	after := -1
	if in.StartShard.Set {
		if after, err = resolveShard(s.Key, in.StartShard.V); err != nil {
			return nil, err
		}
	}
	limit := min(int(in.Limit.Or(describePage)), describePage)
	shards, more := a.page(s, shardFilter{}, after, limit)
	return &describeStreamOutput{stream: s, shards: shards, more: more}, nil
}

type describeStreamOutput struct {
	stream *state.Stream
	shards []int
	more   bool
}

func (o *describeStreamOutput) Size() int { return 1024 + len(o.shards)*shardSize }

func (o *describeStreamOutput) Encode(e shape.Encoder) {
	e.Begin("StreamDescription")
	encodeStream(e, o.stream)
	encodeShards(e, o.stream, o.shards)
	e.Bool("HasMoreShards", o.more)
	e.End()
}

// encodeStream writes what both descriptions of a stream have. A StreamId is
// never written: clients that got one would send their requests to AWS.
func encodeStream(e shape.Encoder, s *state.Stream) {
	e.String("StreamName", s.Key.Name)
	e.String("StreamARN", s.Key.ARN())
	e.String("StreamStatus", string(s.Status))
	encodeMode(e, s)
	e.Time("StreamCreationTimestamp", s.Created)
	e.Int("RetentionPeriodHours", int64(s.Retention/time.Hour))
	e.BeginList("EnhancedMonitoring")
	e.BeginElem()
	encodeStrings(e, "ShardLevelMetrics", s.Metrics)
	e.End()
	e.EndList()
	encodeEncryption(e, s)
}

func encodeMode(e shape.Encoder, s *state.Stream) {
	e.Begin("StreamModeDetails")
	e.String("StreamMode", string(s.Mode))
	e.End()
}

type describeSummaryInput struct{ streamRef }

var describeSummaryShape = streamMembers(func(in *describeSummaryInput) *streamRef { return &in.streamRef })

func (a *API) describeStreamSummary(_ context.Context, scope arn.Scope, in *describeSummaryInput) (shape.Output, error) {
	s, err := a.find(scope, &in.streamRef)
	if err != nil {
		return nil, err
	}
	now := a.engine.Now()
	return &describeSummaryOutput{
		stream: s, channels: len(s.LiveChannels(now)), consumers: len(s.LiveConsumers(now)),
		warm: s.Mode == state.OnDemand && a.engine.Commitment(s.Key.Scope).InForce(now),
	}, nil
}

type describeSummaryOutput struct {
	stream    *state.Stream
	channels  int
	consumers int
	warm      bool // whether it has a warm throughput
}

func (o *describeSummaryOutput) Size() int { return 1024 }

func (o *describeSummaryOutput) Encode(e shape.Encoder) {
	e.Begin("StreamDescriptionSummary")
	encodeStream(e, o.stream)
	e.Int("OpenShardCount", int64(len(o.stream.Open())))
	e.Int("ConsumerCount", int64(o.consumers))
	if o.warm {
		encodeWarm(e, o.stream)
	}
	e.Int("MaxRecordSizeInKiB", int64(o.stream.MaxRecordBytes/kib))
	e.Int("ChannelCount", int64(o.channels))
	if o.stream.Mode == state.OnDemand {
		e.String("RecordDistributionStrategy", string(o.stream.Strategy()))
	}
	e.End()
}

type listStreamsInput struct {
	Limit     shape.Int
	Start     shape.String
	NextToken shape.String
}

var listStreamsShape = shape.Struct{
	shape.Of("Limit", func(in *listStreamsInput) *shape.Int { return &in.Limit }, pageRules),
	shape.Of("ExclusiveStartStreamName", func(in *listStreamsInput) *shape.String { return &in.Start }, nameRules),
	shape.Of("NextToken", func(in *listStreamsInput) *shape.String { return &in.NextToken }, tokenRules),
}

func (a *API) listStreams(_ context.Context, scope arn.Scope, in *listStreamsInput) (shape.Output, error) {
	after := in.Start.V
	if in.NextToken.Set {
		t, err := a.openPage(sealStreams, in.NextToken.V)
		if err != nil {
			return nil, err
		}
		after = max(after, t.After)
	}
	streams := a.engine.Streams(scope)
	streams = streams[sort.Search(len(streams), func(i int) bool { return streams[i].Key.Name > after }):]
	out := &listStreamsOutput{streams: streams}
	if limit := min(int(in.Limit.Or(describePage)), describePage); limit < len(streams) {
		out.streams = streams[:limit]
		out.next = a.sealPage(sealStreams, pageToken{Issued: a.engine.Now(), After: streams[limit-1].Key.Name})
	}
	return out, nil
}

type listStreamsOutput struct {
	streams []*state.Stream
	next    string // empty on the last page
}

func (o *listStreamsOutput) Size() int { return 256 + 400*len(o.streams) }

func (o *listStreamsOutput) Encode(e shape.Encoder) {
	e.BeginList("StreamNames")
	for _, s := range o.streams {
		e.String("", s.Key.Name)
	}
	e.EndList()
	e.Bool("HasMoreStreams", o.next != "")
	if o.next != "" {
		e.String("NextToken", o.next)
	}
	e.BeginList("StreamSummaries")
	for _, s := range o.streams {
		e.BeginElem()
		e.String("StreamName", s.Key.Name)
		e.String("StreamARN", s.Key.ARN())
		e.String("StreamStatus", string(s.Status))
		encodeMode(e, s)
		e.Time("StreamCreationTimestamp", s.Created)
		e.End()
	}
	e.EndList()
}
