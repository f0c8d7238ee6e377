// Package api holds the operations of the Kinesis API as functions from typed
// inputs to typed outputs. It knows no encoding and no connection; what it
// changes and reads is behind [Engine].
package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
	"github.com/streamkit/streamkit/streamd/internal/table"
)

// Engine is what the operations need of the store.
type Engine interface {
	Now() time.Time
	// Aging returns the time by which records and shards expire.
	Aging() time.Time
	// Stream returns the stream of a name. It is there while it is DELETING.
	Stream(key state.StreamKey) (*state.Stream, bool)
	StreamByID(id uint64) (*state.Stream, bool)
	// Streams returns the streams of a scope in order of name.
	Streams(scope arn.Scope) []*state.Stream
	// Command changes the catalogue and returns the stream afterwards, nil if
	// it is gone.
	Command(ctx context.Context, cmd state.Command) (*state.Stream, error)
	// Put stores records durably and says where each went, in request order.
	PutInto(ctx context.Context, streamID uint64, recs []store.Record, into []store.Stored) ([]store.Stored, error)
	Read(ctx context.Context, req store.ReadRequest) (store.ReadResult, error)
	// Watch tells of news of a shard until stop is called; At calls f when the
	// server's time reaches t.
	Watch(streamID uint64, shard int) (news <-chan struct{}, stop func())
	At(t time.Time, f func())
	// Tip is the position behind the last record of a shard, Seek that before
	// the first record that arrived at t or later.
	Tip(streamID uint64, shard int) (state.Position, error)
	Seek(streamID uint64, shard int, t time.Time) (state.Position, error)
	// Commitment returns an account's commitment to a minimum of throughput.
	Commitment(scope arn.Scope) state.Commitment
	Table(ctx context.Context, scope arn.Scope, r *table.Request) (table.Response, error)
	// Secret is the key of iterators and tokens.
	Secret() [32]byte
}

// Config holds the optional settings of an [API].
type Config struct {
	// TransitionDelay is how long a stream stays CREATING, UPDATING or
	// DELETING. 0 means that it changes before the answer.
	TransitionDelay time.Duration
	// Meter is told what streams take and give. nil means nobody is told.
	Meter Meter
	// SubscriptionLife is how long a subscription to a shard lasts, by the
	// server's time. 0 means 5 minutes.
	SubscriptionLife time.Duration
	// AdmitSubscription is asked about each call of SubscribeToShard that would
	// succeed. Pace is told of the bytes of data that a consumer, by its resource
	// name, is about to be sent, and says how long to wait before the next. nil
	// takes all, and waits for nothing.
	AdmitSubscription func(s *state.Stream, consumer string, shard int) *awserr.Error
	Pace              func(s *state.Stream, consumer string, shard, bytes int) time.Duration
	// CutSubscription, if not nil, says of each subscription, by the context of
	// its call, whether it is to end before its time.
	CutSubscription func(ctx context.Context) SubscriptionCut
	// Around is called for each operation, the first outermost.
	Around []Around
	// AdmitTable, if not nil, is asked about each operation of DynamoDB. table is
	// empty if it names none.
	AdmitTable func(ctx context.Context, scope arn.Scope, op, table string) *awserr.Error
	// Admit is asked about the records that are put. nil takes all.
	Admit Admit
	// Quotas bound what accounts may have. The zero Quotas are the widest.
	Quotas Quotas
	// AdmitIterator and AdmitRead are asked about each call of GetShardIterator
	// and GetRecords that would succeed, Given is told of the bytes of data that
	// one of GetRecords returns. nil takes all, or tells nobody.
	AdmitIterator, AdmitRead func(s *state.Stream, shard int) *awserr.Error
	Given                    func(s *state.Stream, shard, bytes int)
	// AdmitAnswer is asked by GetRecords for room for its answer: with size 0
	// before it reads, and then with what its output says. nil has room for all.
	AdmitAnswer func(ctx context.Context, size int) *awserr.Error
}

// API carries operations out. It is safe for concurrent use.
type API struct {
	engine Engine
	cfg    Config
	sealer sealer

	subscriptions subscriptions
}

// New returns the operations over an engine.
func New(engine Engine, cfg Config) *API {
	if cfg.Meter == nil {
		cfg.Meter = nobody{}
	}
	if cfg.SubscriptionLife == 0 {
		cfg.SubscriptionLife = subscriptionLife
	}
	return &API{engine: engine, cfg: cfg, sealer: newSealer(engine.Secret())}
}

// Operations returns the Kinesis operations by name.
func (a *API) Operations() map[string]*shape.Operation {
	ops := make(map[string]*shape.Operation)
	for _, op := range []*shape.Operation{
		operation("CreateStream", createStreamShape, a.createStream),
		operation("DeleteStream", deleteStreamShape, a.deleteStream),
		operation("DescribeStream", describeStreamShape, a.describeStream),
		operation("DescribeStreamSummary", describeSummaryShape, a.describeStreamSummary),
		operation("ListStreams", listStreamsShape, a.listStreams),
		operation("ListShards", listShardsShape, a.listShards),
		a.putRecordOperation(),
		a.putRecordsOperation(),
		operation("GetShardIterator", getIteratorShape, a.getShardIterator),
		large(operation("GetRecords", getRecordsShape, a.getRecords)),
		operation("SplitShard", splitShardShape, a.splitShard),
		operation("MergeShards", mergeShardsShape, a.mergeShards),
		operation("UpdateShardCount", updateShardCountShape, a.updateShardCount),
		operation("IncreaseStreamRetentionPeriod", retentionShape, a.increaseRetention),
		operation("DecreaseStreamRetentionPeriod", retentionShape, a.decreaseRetention),
		operation("AddTagsToStream", addTagsShape, a.addTags),
		operation("RemoveTagsFromStream", removeTagsShape, a.removeTags),
		operation("ListTagsForStream", listTagsShape, a.listTags),
		operation("TagResource", tagResourceShape, a.tagResource),
		operation("UntagResource", untagResourceShape, a.untagResource),
		operation("ListTagsForResource", listResourceTagsShape, a.listResourceTags),
		operation("EnableEnhancedMonitoring", monitoringShape, a.enableMonitoring),
		operation("DisableEnhancedMonitoring", monitoringShape, a.disableMonitoring),
		operation("StartStreamEncryption", encryptionShape, a.startEncryption),
		operation("StopStreamEncryption", encryptionShape, a.stopEncryption),
		operation("UpdateMaxRecordSize", updateMaxRecordSizeShape, a.updateMaxRecordSize),
		operation("UpdateStreamMode", updateStreamModeShape, a.updateStreamMode),
		operation("DescribeLimits", nil, a.describeLimits),
		operation("DescribeAccountSettings", nil, a.describeAccountSettings),
		operation("UpdateAccountSettings", updateAccountShape, a.updateAccountSettings),
		operation("UpdateStreamWarmThroughput", updateWarmShape, a.updateWarmThroughput),
		operation("UpdateStreamRecordDistributionStrategy", updateDistributionShape, a.updateDistribution),
		operation("PutResourcePolicy", putPolicyShape, a.putPolicy),
		operation("GetResourcePolicy", policyShape, a.getPolicy),
		operation("DeleteResourcePolicy", policyShape, a.deletePolicy),
		operation("RegisterStreamConsumer", registerConsumerShape, a.registerConsumer),
		operation("DescribeStreamConsumer", consumerShape, a.describeConsumer),
		operation("ListStreamConsumers", listConsumersShape, a.listConsumers),
		operation("DeregisterStreamConsumer", consumerShape, a.deregisterConsumer),
		operation("SubscribeToShard", subscribeShape, a.subscribeToShard),
		operation("CreateChannel", createChannelShape, a.createChannel),
		operation("DescribeChannel", channelShape, a.describeChannel),
		operation("ListChannels", listChannelsShape, a.listChannels),
		operation("UpdateChannel", updateChannelShape, a.updateChannel),
		operation("DeleteChannel", channelShape, a.deleteChannel),
	} {
		a.around(op)
		op.Subject = a.about
		ops[op.Name] = op
	}
	return ops
}

// operation makes an [shape.Operation] of a function with its own types.
func operation[I any](name string, s shape.Struct, do func(context.Context, arn.Scope, *I) (shape.Output, error)) *shape.Operation {
	return &shape.Operation{
		Name: name, Input: s,
		New:  func() any { return new(I) },
		Free: func(any) {},
		Do: func(ctx context.Context, scope arn.Scope, in any) (shape.Output, error) {
			return do(ctx, scope, in.(*I))
		},
	}
}

// Table answers a DynamoDB operation.
func (a *API) Table(ctx context.Context, scope arn.Scope, op string, body []byte) (resp table.Response, err error) {
	r, err := table.Accept(op, body)
	if err != nil {
		return resp, err
	}
	if a.cfg.AdmitTable != nil {
		names := r.Tables()
		if len(names) == 0 {
			names = []string{""}
		}
		for _, name := range names {
			if refused := a.cfg.AdmitTable(ctx, scope, op, name); refused != nil {
				return resp, refused
			}
		}
	}
	resp, err = a.engine.Table(ctx, scope, r)
	return resp, writeError(err)
}

// writeError is [apiError] for what writes records or items: that there is no
// room is said in the words that clients slow down for.
func writeError(err error) error {
	if errors.Is(err, store.ErrFull) {
		return awserr.New("ProvisionedThroughputExceededException", "%s", noRoom)
	}
	return apiError(err)
}

const noRoom = "The server takes no more data for now: its disk is full, or more is waiting to be written than it will hold."

// apiError turns the engine's errors into the API's. What is left is a fault of
// the server, for the log.
func apiError(err error) error {
	if errors.Is(err, store.ErrFull) {
		return &awserr.Error{Code: "ServiceUnavailable", Status: http.StatusServiceUnavailable, Message: noRoom}
	}
	if errors.Is(err, store.ErrClosed) {
		return &awserr.Error{Code: "ServiceUnavailable", Status: http.StatusServiceUnavailable, Message: "The server is shutting down."}
	}
	return err
}
