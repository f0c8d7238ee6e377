package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
)

// registeringPause is how often a consumer that is not yet active is looked at.
const registeringPause = time.Second

// registration is the application as a consumer of the stream, which all
// workers share. It is safe for concurrent use.
type registration struct {
	api     FanOutAPI
	ref     streamRef
	name    string
	fixed   string // the consumer's ARN, if it was given
	patient bool   // shards are polled meanwhile
	timeout time.Duration
	log     *slog.Logger
	lost    chan struct{} // capacity 1: the consumer is gone, find out

	streamARN string // owned by run

	mu     sync.Mutex    // guards all below
	arn    string        // of the consumer, while it is active
	active chan struct{} // closed when arn is set
	own    string        // of the consumer that this worker has registered
}

func newRegistration(api FanOutAPI, src *source, app string, cfg *Config, log *slog.Logger) *registration {
	r := &registration{
		api: api, ref: src.ref, name: cfg.ConsumerName, fixed: src.consumerARN,
		patient: cfg.RetrievalMode == RetrievalMixed, timeout: cfg.KinesisRequestTimeout,
		log: log, lost: make(chan struct{}, 1), active: make(chan struct{}),
	}
	if r.name == "" {
		r.name = app
	}
	return r
}

// run registers the consumer and waits until it is active, again whenever it is
// lost, until ctx ends.
func (r *registration) run(ctx context.Context) {
	var failures streak
	for {
		arn, err := r.find(ctx)
		pause := jitter(registeringPause)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if failures.fail() {
				r.log.Warn("not registered as a consumer of the stream; trying again",
					slog.String("consumer", r.name), slog.Bool("polling", r.patient), errAttr(err))
			}
			pause = readPolicy.Wait(failures.n, chance)
			if r.patient && refused(err) {
				pause = jitter(retryFanOut)
			}
		case arn != "":
			r.log.Info("registered as a consumer of the stream", slog.String("consumer", arn), slog.Int("failed", failures.ok()))
			r.set(arn)
			select {
			case <-r.lost:
				pause = 0
			case <-ctx.Done():
				return
			}
		}
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

// find returns the ARN of the consumer, which it registers if need be; "" if it
// is not active yet.
func (r *registration) find(ctx context.Context) (arn string, err error) {
	in := &kinesis.DescribeStreamConsumerInput{ConsumerARN: &r.fixed}
	if r.fixed == "" {
		if err := r.findStream(ctx); err != nil {
			return "", err
		}
		in = &kinesis.DescribeStreamConsumerInput{StreamARN: &r.streamARN, ConsumerName: &r.name}
	}
	callCtx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	out, err := r.api.DescribeStreamConsumer(callCtx, in, noRetries)
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		if r.fixed != "" {
			return "", fmt.Errorf("no consumer has the ARN %q; register it, or give a name instead: %w", r.fixed, err)
		}
		return "", r.register(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("describe consumer %q: %w", r.name, err)
	}
	if d := out.ConsumerDescription; d.ConsumerStatus == types.ConsumerStatusActive {
		return aws.ToString(d.ConsumerARN), nil
	}
	return "", nil
}

// findStream sets streamARN.
func (r *registration) findStream(ctx context.Context) error {
	if r.ref.arn != nil {
		r.streamARN = *r.ref.arn
	}
	if r.streamARN != "" {
		return nil
	}
	callCtx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	out, err := r.api.DescribeStreamSummary(callCtx, &kinesis.DescribeStreamSummaryInput{StreamName: r.ref.name}, noRetries)
	if err != nil {
		return fmt.Errorf("find the ARN of the stream: %w", err)
	}
	r.streamARN = aws.ToString(out.StreamDescriptionSummary.StreamARN)
	return nil
}

// register registers the consumer. It is not active at once.
func (r *registration) register(ctx context.Context) error {
	callCtx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	out, err := r.api.RegisterStreamConsumer(callCtx, &kinesis.RegisterStreamConsumerInput{StreamARN: &r.streamARN, ConsumerName: &r.name}, noRetries)
	if _, other := errors.AsType[*types.ResourceInUseException](err); other {
		return nil // another worker was quicker
	}
	if err != nil {
		return fmt.Errorf("register consumer %q: %w", r.name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = aws.ToString(out.Consumer.ConsumerARN)
	return nil
}

// set makes arn the active consumer.
func (r *registration) set(arn string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.arn == "" { // else this is another run
		close(r.active)
	}
	r.arn = arn
}

// current returns the ARN of the consumer, or "" while it is not active.
func (r *registration) current() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arn
}

// wait returns the ARN of the consumer when it is active.
func (r *registration) wait(ctx context.Context) (string, error) {
	for {
		r.mu.Lock()
		arn, active := r.arn, r.active
		r.mu.Unlock()
		if arn != "" {
			return arn, nil
		}
		select {
		case <-active:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// check reports whether the stream still has the consumer, after a subscription
// was refused because something does not exist. If not, it is registered again.
func (r *registration) check(ctx context.Context, arn string) bool {
	callCtx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	out, err := r.api.DescribeStreamConsumer(callCtx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: &arn}, noRetries)
	_, missing := errors.AsType[*types.ResourceNotFoundException](err)
	if !missing && (err != nil || out.ConsumerDescription.ConsumerStatus == types.ConsumerStatusActive) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.arn == arn {
		r.arn, r.active = "", make(chan struct{})
		r.log.Warn("the stream no longer has the consumer; registering it again", slog.String("consumer", arn))
		select {
		case r.lost <- struct{}{}:
		default: // run is about to look
		}
	}
	return false
}

// deregister removes the consumer if this worker has registered it.
func (r *registration) deregister(ctx context.Context) error {
	r.mu.Lock()
	arn := r.own
	r.mu.Unlock()
	if arn == "" {
		return nil
	}
	callCtx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	_, err := r.api.DeregisterStreamConsumer(callCtx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: &arn}, noRetries)
	return err
}

// refused reports whether the service does not let this application have fan-out
// at present: there are too many consumers or subscriptions, permission is
// missing, or the server does not have it.
func refused(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	switch api.ErrorCode() {
	case "AccessDeniedException",
		"UnknownOperationException": // not every server has fan-out
		return true
	}
	return classify(err) == faultThrottled
}
