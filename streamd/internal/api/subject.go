package api

import (
	"context"
	"slices"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// Call says what a request is about, for those who decide whether it goes on.
type Call struct {
	Operation string
	Scope     arn.Scope // of the caller
	// Stream is the stream that the request names, whether it exists or not;
	// zero if it names none, or not in a way that can be read.
	Stream state.StreamKey
	// Shard is the one that the request names, or that PutRecord goes to;
	// [state.NoShard] if none.
	Shard    int
	Consumer string // the name of that which the request names, if any
	// Unread is why the stream that the request names could not be read: it is
	// the answer of the operation itself.
	Unread error
}

// Around carries a request out through do, or does not. It may change what
// comes of it.
type Around func(ctx context.Context, c Call, do func(context.Context) (shape.Output, error)) (shape.Output, error)

// Incoming is a record that is about to be stored.
type Incoming struct {
	Shard, Size int // bytes of data and partition key

	Refused *awserr.Error // why it is not, which Admit says; nil if it is
}

// Admit decides about the records of one request, in their order, before they
// are stored, and returns how many it has refused. A refusal is the error of the
// request in PutRecord, and that of the record alone in PutRecords.
type Admit func(ctx context.Context, s *state.Stream, records []Incoming) (refused int)

// around puts op inside the functions of the configuration.
func (a *API) around(op *shape.Operation) {
	for _, around := range slices.Backward(a.cfg.Around) {
		do := op.Do
		op.Do = func(ctx context.Context, scope arn.Scope, in any) (shape.Output, error) {
			c := Call{Operation: op.Name, Scope: scope}
			c.Stream, c.Shard, c.Unread = a.subject(scope, in)
			if in, ok := in.(interface{ consumerName() string }); ok {
				c.Consumer = in.consumerName()
			}
			return around(ctx, c, func(ctx context.Context) (shape.Output, error) { return do(ctx, scope, in) })
		}
	}
}

// about returns what an input is about, for those who keep it.
func (a *API) about(scope arn.Scope, in any) shape.Subject {
	key, _, _ := a.subject(scope, in)
	if key.Name == "" {
		return shape.Subject{}
	}
	if s, ok := a.engine.Stream(key); ok {
		return shape.Subject{Scope: s.Key.Scope, Stream: s.Key.Name, Exists: true}
	}
	// The parts of a resource name, and names, lie in the request's body.
	key.Account, key.Region = strings.Clone(key.Account), strings.Clone(key.Region)
	return shape.Subject{Scope: key.Scope, Stream: strings.Clone(key.Name)}
}

// subject returns what an input is about, or why that cannot be read.
func (a *API) subject(scope arn.Scope, in any) (key state.StreamKey, shard int, err error) {
	shard = state.NoShard
	switch in := in.(type) {
	case *getRecordsInput:
		if err = in.open(a); err == nil {
			if s, ok := a.engine.StreamByID(in.at.Stream); ok {
				return s.Key, in.at.Shard, nil
			}
			err = shardDoesNotExist(in.at.Key, in.at.Shard)
		}
	case *listShardsInput:
		if !in.NextToken.Set {
			key, err = in.key(scope)
			break
		}
		var t pageToken
		if t, err = a.openPage(sealShards, in.NextToken.V); err == nil {
			if s, ok := a.engine.StreamByID(t.Stream); ok {
				return s.Key, shard, nil
			}
			err = invalidArgument("Invalid NextToken.")
		}
	case *listConsumersInput:
		key, err = parseStreamARN(in.StreamARN.V)
	case interface{ named() *channelInput }:
		if s, _, err := a.channel(in.named()); err == nil {
			return s.Key, shard, nil
		}
	case *createStreamInput:
		key = state.StreamKey{Scope: scope, Name: in.StreamName.V}
	case interface {
		key(arn.Scope) (state.StreamKey, error)
	}:
		key, err = in.key(scope)
	case interface {
		key() (state.StreamKey, error)
	}:
		key, err = in.key()
	}
	if err != nil {
		return state.StreamKey{}, shard, err
	}
	if in, ok := in.(*putRecordInput); ok {
		return key, a.destination(key, in), nil
	}
	if id, ok := in.(interface{ shardID() string }); ok {
		if n, err := resolveShard(key, id.shardID()); err == nil {
			shard = n
		}
	}
	return key, shard, nil
}

// destination returns the shard that a record goes to by its key.
func (a *API) destination(key state.StreamKey, in *putRecordInput) int {
	s, ok := a.engine.Stream(key)
	if !ok || !usable(s) || s.Spreads() {
		return state.NoShard
	}
	to := routeOf(s)
	hash, err := to.hash(&in.PartitionKey, &in.ExplicitHashKey, -1)
	if err != nil {
		return state.NoShard
	}
	return s.Route(hash)
}

func (in *getIteratorInput) shardID() string { return in.ShardID.V }
func (in *splitShardInput) shardID() string  { return in.Shard.V }
func (in *mergeShardsInput) shardID() string { return in.Shard.V }
func (in *subscribeInput) shardID() string   { return in.ShardID.V }
