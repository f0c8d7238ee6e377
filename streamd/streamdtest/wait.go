package streamdtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// StreamGone is the status that [Server.WaitForStream] waits for when a stream
// is to be deleted: AWS has none for it.
const StreamGone types.StreamStatus = "GONE"

const (
	// waitTimeout bounds a wait whose context has no deadline. In a bubble it
	// is fake time, and costs nothing.
	waitTimeout = 10 * time.Second
	// deadlineMargin is how long before the deadline of the whole test binary a
	// wait gives up, so that its message is printed and not a dump of all
	// goroutines.
	deadlineMargin = time.Second

	// The pause between two looks grows from the one to the other.
	firstPause = 10 * time.Millisecond
	lastPause  = 100 * time.Millisecond
)

// WaitForStream waits until a stream has the status, or is not there any more:
// [StreamGone]. It fails the test, and says which status the stream has, when
// ctx ends, ten seconds have passed if ctx has no deadline, or the test binary
// is about to be stopped.
//
// It waits in the time of the test: in a bubble of testing/synctest it returns
// at once, and streams change as the bubble's time passes. [Server.Advance]
// before it spares the wait elsewhere.
func (s *Server) WaitForStream(ctx context.Context, t testing.TB, stream string, status types.StreamStatus) {
	t.Helper()
	client := s.Kinesis()
	var last string
	err := wait(ctx, t, func(ctx context.Context) (bool, error) {
		now, err := statusOf(ctx, client, stream)
		if err == nil {
			last = fmt.Sprintf("it is %s", now)
		}
		return now == status, err
	})
	if err != nil {
		t.Fatalf("streamdtest: wait for stream %s to be %s: %s: %v", stream, status, orUnknown(last), err)
	}
}

func statusOf(ctx context.Context, client *kinesis.Client, stream string) (types.StreamStatus, error) {
	out, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
	if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
		return StreamGone, nil
	}
	if err != nil {
		return "", err
	}
	return out.StreamDescriptionSummary.StreamStatus, nil
}

// WaitForRecords waits until a stream has given at least n records, and returns
// all that it has, in the order of [Server.Records]. A record that the producer
// has aggregated is one. Records that are trimmed while it waits count if they
// were read before.
//
// It fails the test, and says how many records each shard has, when the wait
// ends as that of [Server.WaitForStream] does.
func (s *Server) WaitForRecords(ctx context.Context, t testing.TB, stream string, n int) []types.Record {
	t.Helper()
	r := &reader{client: s.Kinesis(), stream: stream}
	err := wait(ctx, t, func(ctx context.Context) (bool, error) {
		err := r.advance(ctx)
		return len(r.records()) >= n, err
	})
	if err != nil {
		t.Fatalf("streamdtest: wait for %d records of stream %s: %s: %v", n, stream, r.describe(), err)
	}
	return r.records()
}

// wait calls done until it reports true, an error that waiting does not mend,
// or the time is over. The error says which.
func wait(ctx context.Context, t testing.TB, done func(context.Context) (bool, error)) error {
	began := time.Now()
	ctx, cancel := bounded(ctx, t)
	defer cancel()
	var refused error
	for next := firstPause; ; next = min(2*next, lastPause) {
		ok, err := done(ctx)
		switch {
		case ok && err == nil:
			return nil
		case ctx.Err() != nil: // err follows from it
		case err != nil && !passing(err):
			return err
		case err != nil:
			refused = err
		default:
			refused = nil
		}
		pause := time.NewTimer(next)
		select {
		case <-pause.C:
			continue
		case <-ctx.Done():
			pause.Stop()
		}
		err = fmt.Errorf("gave up after %v: %w", time.Since(began).Round(time.Millisecond), context.Cause(ctx))
		return errors.Join(err, refused)
	}
}

// bounded returns ctx with the deadlines of a wait.
func bounded(ctx context.Context, t testing.TB) (context.Context, context.CancelFunc) {
	end, given := ctx.Deadline()
	if !given {
		end = time.Now().Add(waitTimeout)
	}
	if last := deadline(t); !last.IsZero() && last.Add(-deadlineMargin).Before(end) {
		end = last.Add(-deadlineMargin)
	}
	return context.WithDeadline(ctx, end)
}

// deadline returns when the test binary will be stopped, zero if it will not or
// that is not known. In a bubble, where the real time means nothing, the method
// panics, and there is no other way to ask.
func deadline(t testing.TB) (end time.Time) {
	defer func() { _ = recover() }()
	if test, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		end, _ = test.Deadline()
	}
	return end
}

// passing reports whether err is one that another attempt may not meet: the
// server has limits, or the stream is not there yet.
func passing(err error) bool {
	if _, ok := errors.AsType[*types.ProvisionedThroughputExceededException](err); ok {
		return true
	}
	if _, ok := errors.AsType[*types.LimitExceededException](err); ok {
		return true
	}
	_, ok := errors.AsType[*types.ResourceNotFoundException](err)
	return ok
}

func orUnknown(s string) string {
	if s == "" {
		return "its status is not known"
	}
	return s
}
