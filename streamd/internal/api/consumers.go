package api

import (
	"context"
	"strings"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// consumerPage is the default and the most of ListStreamConsumers' pages.
const consumerPage = 100

// consumerARNRules are the model's.
//
// Source: botocore's service model of Kinesis, 2026-08.
var consumerARNRules = shape.Length(1, 2048).Matching(&shape.Pattern{
	Text:  `^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+`,
	Match: pattern(`(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+`).Match,
})

// parseConsumerARN reads <resource name of a stream>/consumer/<name>:<second>.
func parseConsumerARN(s string) (key state.StreamKey, id string, err error) {
	name, id, _ := strings.Cut(s, "/consumer/")
	key, err = parseStreamARN(name)
	if err != nil || !consumerName.MatchString(id) {
		return key, "", invalidArgument("ConsumerARN %s is not the name of a consumer.", s)
	}
	return key, id, nil
}

type registerConsumerInput struct {
	StreamARN, Name, StreamID shape.String
	Tags                      shape.Map
}

var registerConsumerShape = shape.Struct{
	shape.Of("StreamARN", func(in *registerConsumerInput) *shape.String { return &in.StreamARN }, streamARNRules.Req()),
	shape.Of("ConsumerName", func(in *registerConsumerInput) *shape.String { return &in.Name }, nameRules.Req()),
	shape.Of("StreamId", func(in *registerConsumerInput) *shape.String { return &in.StreamID }, streamIDRules),
	shape.Of("Tags", func(in *registerConsumerInput) *shape.Map { return &in.Tags }, tagMapRules),
}

func (in *registerConsumerInput) key() (state.StreamKey, error) {
	return parseStreamARN(in.StreamARN.V)
}

func (a *API) registerConsumer(ctx context.Context, _ arn.Scope, in *registerConsumerInput) (shape.Output, error) {
	key, err := in.key()
	if err != nil {
		return nil, err
	}
	if err := checkTags(key, in.Tags.V); err != nil {
		return nil, err
	}
	s, err := a.engine.Command(ctx, state.RegisterConsumer{
		Key: key, Name: in.Name.V, Tags: in.Tags.V, Delay: a.cfg.TransitionDelay,
		Most: a.cfg.Quotas.Consumers, MostCreating: a.cfg.Quotas.CreatingConsumers,
	})
	if err != nil {
		return nil, apiError(err)
	}
	now := a.engine.Now()
	for _, c := range s.LiveConsumers(now) {
		if c.Name == in.Name.V {
			return &consumerOutput{consumerView{s, c, now}, "Consumer", false}, nil
		}
	}
	return nil, state.NoConsumer(key, in.Name.V) // deregistered at once
}

// consumerInput names a consumer by its resource name, or by that of the stream
// and its own name.
type consumerInput struct {
	StreamARN, Name, ConsumerARN, StreamID shape.String
}

var consumerShape = shape.Struct{
	shape.Of("StreamARN", func(in *consumerInput) *shape.String { return &in.StreamARN }, streamARNRules),
	shape.Of("ConsumerName", func(in *consumerInput) *shape.String { return &in.Name }, nameRules),
	shape.Of("ConsumerARN", func(in *consumerInput) *shape.String { return &in.ConsumerARN }, consumerARNRules),
	shape.Of("StreamId", func(in *consumerInput) *shape.String { return &in.StreamID }, streamIDRules),
}

func (in *consumerInput) key() (state.StreamKey, error) {
	if in.ConsumerARN.Set {
		key, _, err := parseConsumerARN(in.ConsumerARN.V)
		return key, err
	}
	return parseStreamARN(in.StreamARN.V)
}

// consumer returns the consumer that in names, and its stream.
func (a *API) consumer(in *consumerInput) (*state.Stream, *state.Consumer, error) {
	if !in.ConsumerARN.Set && (!in.StreamARN.Set || !in.Name.Set) {
		return nil, nil, invalidArgument("Either ConsumerARN, or StreamARN and ConsumerName, must be specified.")
	}
	key, err := in.key()
	if err != nil {
		return nil, nil, err
	}
	id := ""
	if in.ConsumerARN.Set {
		_, id, _ = parseConsumerARN(in.ConsumerARN.V)
		if in.StreamARN.Set && in.StreamARN.V != key.ARN() {
			return nil, nil, invalidArgument("ConsumerARN %s and StreamARN %s name different streams.", in.ConsumerARN.V, in.StreamARN.V)
		}
		if name, _, _ := strings.Cut(id, ":"); in.Name.Set && in.Name.V != name {
			return nil, nil, invalidArgument("ConsumerARN %s and ConsumerName %s name different consumers.", in.ConsumerARN.V, in.Name.V)
		}
	}
	s, ok := a.engine.Stream(key)
	if !ok {
		return nil, nil, streamNotFound(key)
	}
	if id != "" {
		c, err := a.consumerByID(s, id)
		return s, c, err
	}
	for _, c := range s.LiveConsumers(a.engine.Now()) {
		if c.Name == in.Name.V {
			return s, c, nil
		}
	}
	return nil, nil, state.NoConsumer(key, in.Name.V)
}

func (a *API) describeConsumer(_ context.Context, _ arn.Scope, in *consumerInput) (shape.Output, error) {
	s, c, err := a.consumer(in)
	if err != nil {
		return nil, err
	}
	return &consumerOutput{consumerView{s, c, a.engine.Now()}, "ConsumerDescription", true}, nil
}

func (a *API) deregisterConsumer(ctx context.Context, _ arn.Scope, in *consumerInput) (shape.Output, error) {
	s, c, err := a.consumer(in)
	if err != nil {
		return nil, err
	}
	_, err = a.engine.Command(ctx, state.DeregisterConsumer{Key: s.Key, Consumer: c.ID(), Delay: a.cfg.TransitionDelay})
	return nil, apiError(err)
}

// consumerView is a consumer of a stream at one time.
type consumerView struct {
	stream *state.Stream
	*state.Consumer
	now time.Time
}

func (v *consumerView) encode(e shape.Encoder) {
	status, _ := v.At(v.now)
	e.String("ConsumerName", v.Name)
	e.String("ConsumerARN", v.ARN(v.stream.Key))
	e.String("ConsumerStatus", string(status))
	e.Time("ConsumerCreationTimestamp", time.Unix(v.Second, 0))
}

type consumerOutput struct {
	consumerView
	member string // that holds it
	whole  bool   // with the stream
}

func (o *consumerOutput) Size() int { return 512 }

func (o *consumerOutput) Encode(e shape.Encoder) {
	e.Begin(o.member)
	o.encode(e)
	if o.whole {
		e.String("StreamARN", o.stream.Key.ARN())
	}
	e.End()
}

type listConsumersInput struct {
	StreamARN, NextToken, StreamID shape.String
	MaxResults                     shape.Int
	Created                        shape.Time
}

var listConsumersShape = shape.Struct{
	shape.Of("StreamARN", func(in *listConsumersInput) *shape.String { return &in.StreamARN }, streamARNRules.Req()),
	shape.Of("NextToken", func(in *listConsumersInput) *shape.String { return &in.NextToken }, tokenRules),
	shape.Of("MaxResults", func(in *listConsumersInput) *shape.Int { return &in.MaxResults }, pageRules),
	shape.Of("StreamCreationTimestamp", func(in *listConsumersInput) *shape.Time { return &in.Created }, shape.Rules{}),
	shape.Of("StreamId", func(in *listConsumersInput) *shape.String { return &in.StreamID }, streamIDRules),
}

func (a *API) listConsumers(_ context.Context, _ arn.Scope, in *listConsumersInput) (shape.Output, error) {
	key, err := parseStreamARN(in.StreamARN.V)
	if err != nil {
		return nil, err
	}
	if in.NextToken.Set && in.Created.Set {
		return nil, invalidArgument("NextToken and StreamCreationTimestamp cannot be provided together.")
	}
	s, ok := a.engine.Stream(key)
	// Clients remember the creation in whole seconds.
	if !ok || in.Created.Set && int64(in.Created.V)/1000 != s.Created.Unix() {
		return nil, streamNotFound(key)
	}
	if s.Status == state.Deleting {
		return nil, notActive(s)
	}
	after := ""
	if in.NextToken.Set {
		t, err := a.openPage(sealConsumers, in.NextToken.V)
		if err != nil {
			return nil, err
		}
		if t.Stream != s.ID {
			return nil, invalidArgument("Invalid NextToken.")
		}
		after = t.After
	}
	now := a.engine.Now()
	out := new(listConsumersOutput)
	limit := min(int(in.MaxResults.Or(consumerPage)), consumerPage)
	for _, c := range s.LiveConsumers(now) {
		if c.Name <= after {
			continue
		}
		if len(out.consumers) == limit {
			out.next = a.sealPage(sealConsumers, pageToken{Issued: now, Stream: s.ID, After: out.consumers[limit-1].Name})
			break
		}
		out.consumers = append(out.consumers, consumerView{s, c, now})
	}
	return out, nil
}

type listConsumersOutput struct {
	consumers []consumerView
	next      string // empty on the last page
}

func (o *listConsumersOutput) Size() int { return 64 + 384*len(o.consumers) }

func (o *listConsumersOutput) Encode(e shape.Encoder) {
	e.BeginList("Consumers")
	for i := range o.consumers {
		e.BeginElem()
		o.consumers[i].encode(e)
		e.End()
	}
	e.EndList()
	if o.next != "" {
		e.String("NextToken", o.next)
	}
}
