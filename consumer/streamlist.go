package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// MultiStreamAPI is what a [Consumer] that reads several streams calls of Kinesis.
// [kinesis.Client] has it.
type MultiStreamAPI interface {
	API
	DescribeStreamSummary(context.Context, *kinesis.DescribeStreamSummaryInput, ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error)
}

// StreamTracker says which streams an application reads. It is called at the start,
// each minute, and when a stream seems to be gone. After an error the streams of the
// call before are read on. All workers of an application should be told the same, but
// for a while. It is not called concurrently with itself.
type StreamTracker func(ctx context.Context) ([]StreamConfig, error)

// Streams returns a StreamTracker of streams, names or ARNs, that stay the same.
func Streams(streams ...string) StreamTracker {
	list := make([]StreamConfig, len(streams))
	for i, s := range streams {
		list[i].Stream = s
	}
	return func(context.Context) ([]StreamConfig, error) { return list, nil }
}

// StreamConfig is one of the streams that an application reads. A field left zero
// takes the default that its comment names.
type StreamConfig struct {
	// Stream is the stream's name or ARN. Default the name in ID.
	Stream string

	// ID is the stream's identity, which is part of the keys of its leases. By
	// default it is found out, with a request: the epoch is then when the stream was
	// created, so one that is deleted and created again has leases of its own, and
	// begins at its initial position. Set it where workers of the official library
	// share the leases and have another epoch, or to do without the request; it is
	// then up to the tracker to change it when the stream is created anew.
	ID StreamID

	// InitialPosition is where shards without a lease are read from. Default
	// Config.InitialPosition.
	InitialPosition *Position

	// ConsumerARN is a consumer of the stream that somebody has registered, to be
	// used for fan-out instead of one under the application's name. Default none.
	ConsumerARN string
}

func (s StreamConfig) validate(cfg *Config) error {
	var errs []error
	if s.Stream == "" && s.ID == (StreamID{}) {
		errs = append(errs, errors.New("it has neither Stream nor ID; name it"))
	}
	if s.ID != (StreamID{}) {
		errs = append(errs, s.ID.validate())
		if name := nameOf(s.Stream); name != "" && name != s.ID.Name {
			errs = append(errs, fmt.Errorf("the ID %v is of another name", s.ID))
		}
	}
	if p := s.InitialPosition; p != nil && p.Latest && !p.Time.IsZero() {
		errs = append(errs, errors.New("InitialPosition has both Latest and Time; leave one out"))
	}
	if s.ConsumerARN != "" && cfg.RetrievalMode == RetrievalPolling {
		errs = append(errs, errors.New("ConsumerARN has no meaning under RetrievalPolling; set Config.RetrievalMode, or leave it out"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stream %q: %w", s.label(), err)
	}
	return nil
}

// label returns what the stream is called in what is said to the user.
func (s StreamConfig) label() string {
	if s.Stream != "" {
		return s.Stream
	}
	return s.ID.Name
}

func (s StreamConfig) initial(cfg *Config) Position {
	if s.InitialPosition != nil {
		return *s.InitialPosition
	}
	return cfg.InitialPosition
}

// nameOf returns the name in a name or an ARN of a stream.
func nameOf(stream string) string { return stream[strings.LastIndexByte(stream, '/')+1:] }

// identity is what was found out about a stream.
type identity struct {
	id  StreamID
	ref streamRef
}

// describe finds out what a stream's identity is.
func (c *Consumer) describe(ctx context.Context, api MultiStreamAPI, ref streamRef) (identity, error) {
	// The SDK's retries stay on: the call is rare and repeatable.
	ctx, cancel := context.WithTimeout(ctx, c.cfg.KinesisRequestTimeout)
	defer cancel()
	out, err := api.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: ref.name, StreamARN: ref.arn})
	if err != nil {
		return identity{}, fmt.Errorf("describe the stream: %w", err)
	}
	d := out.StreamDescriptionSummary
	if d == nil || d.StreamCreationTimestamp == nil {
		return identity{}, errors.New("consumer: the description of the stream does not say when it was created; give the stream's ID")
	}
	arn := aws.ToString(d.StreamARN)
	parts := strings.Split(arn, ":") // arn:aws:kinesis:region:account:stream/name
	if len(parts) != 6 {
		return identity{}, fmt.Errorf("consumer: the stream has the ARN %q, which names no account; give the stream's ID", arn)
	}
	id := StreamID{parts[4], nameOf(arn), d.StreamCreationTimestamp.Unix()}
	if err := id.validate(); err != nil {
		return identity{}, fmt.Errorf("consumer: %w", err)
	}
	return identity{id, newStreamRef(arn)}, nil
}
