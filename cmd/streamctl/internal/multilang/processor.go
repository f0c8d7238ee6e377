package multilang

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/internal/seqno"
)

// The names of Java's exceptions, by which children know what has become of a
// checkpoint.
const (
	nameShutdown        = "ShutdownException"                   // the lease is gone: stop
	nameThrottling      = "ThrottlingException"                 // try again later
	nameInvalidState    = "InvalidStateException"               // not at this time, or the table is gone
	nameDependency      = "KinesisClientLibDependencyException" // the table does not answer: try again later
	nameIllegalArgument = "IllegalArgumentException"            // no such place among what was delivered
)

// errorNames are the names for what the lease table answers.
var errorNames = map[string]string{
	"ProvisionedThroughputExceededException": nameThrottling,
	"ThrottlingException":                    nameThrottling,
	"RequestLimitExceeded":                   nameThrottling,
	"LimitExceededException":                 nameThrottling,
	"TooManyRequestsException":               nameThrottling,
	"ResourceNotFoundException":              nameInvalidState,
}

// errorName returns the name of the exception for a failed commit.
func errorName(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, consumer.ErrLeaseLost), errors.Is(err, consumer.ErrShutdown), errors.Is(err, consumer.ErrRestart):
		return nameShutdown
	}
	if _, ok := errors.AsType[*consumer.CommitRangeError](err); ok {
		return nameIllegalArgument
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		if name, ok := errorNames[api.ErrorCode()]; ok {
			return name
		}
	}
	return nameDependency
}

// errUnfinished is what a child is restarted for that has not done its duty.
var errUnfinished = errors.New("multilang: the child process has not checkpointed at the end of its shard; it must, in shardEnded (shutdown with the reason TERMINATE)")

// processor is the child of one shard.
type processor struct {
	b     *bridge
	shard *consumer.Shard
	log   *slog.Logger

	child    *child       // nil before Initialize and after the end
	retiring *atomic.Bool // the child is to end, so its end is nothing to report

	last consumer.Checkpoint // of the newest record delivered
	owes bool                // not everything delivered is stored
}

// Initialize implements [consumer.Initializer]: it starts the child.
func (p *processor) Initialize(ctx context.Context, start consumer.Checkpoint) error {
	line, err := encodeInitialize(p.shard.ID, start)
	if err != nil {
		return err
	}
	pr, err := p.b.start(ctx)
	if err != nil {
		return err
	}
	p.b.counts.children.Add(1)
	c := newChild(pr, p.log, p.b.timeout, &p.b.counts)
	if err := p.call(ctx, c, actionInitialize, line, nil); err != nil {
		c.kill()
		<-c.gone
		return err
	}
	retiring := new(atomic.Bool)
	p.child, p.retiring = c, retiring
	p.log.Info("child started", slog.Int("pid", pr.pid), slog.String("checkpoint", start.String()))
	shard := p.shard
	p.b.children.Go(func() {
		<-c.gone
		if !retiring.Load() { // it died while it was idle, or a call is about to find out
			shard.Restart(c.ended())
		}
	})
	return nil
}

// call is [child.call] for as long as the child may work under ctx: a child
// whose lease is lost has time to finish what it does.
func (p *processor) call(ctx context.Context, c *child, action string, line []byte, checkpoint func(*message) string) error {
	if checkpoint == nil {
		checkpoint = func(*message) string { return nameInvalidState }
	}
	patient, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	timer := time.AfterFunc(time.Hour, func() { cancel(context.Cause(ctx)) })
	timer.Stop()
	defer timer.Stop()
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), consumer.ErrLeaseLost) {
			timer.Reset(p.b.grace)
			return
		}
		cancel(context.Cause(ctx))
	})
	defer stop()
	return c.call(patient, action, line, checkpoint)
}

// failed ends a child that is of no use any more, and asks for another unless
// the shard is over anyway.
func (p *processor) failed(ctx context.Context, err error) error {
	c := p.child
	p.child = nil
	p.retiring.Store(true)
	c.kill()
	<-c.gone
	if ctx.Err() == nil {
		p.shard.Restart(err)
	}
	return err
}

// commit stores what the child asks for, and returns the name of the error.
func (p *processor) commit(ctx context.Context, m *message) string {
	p.b.counts.checkpoints.Add(1)
	err := p.tryCommit(ctx, m)
	if name := errorName(err); name != "" {
		p.b.counts.checkpointErrors.Add(1)
		p.log.Warn("checkpoint of the child not stored", slog.String("sequence_number", m.seq), slog.String("answer", name), slog.String("err", err.Error()))
		return name
	}
	return ""
}

func (p *processor) tryCommit(ctx context.Context, m *message) error {
	at := consumer.Checkpoint{SequenceNumber: m.seq}
	if m.sub != nil {
		at.SubSequenceNumber = *m.sub
	}
	switch {
	case m.seq == "" || at == p.last || m.seq == consumer.ShardEnd:
		// SHARD_END is refused below unless the shard has ended.
	case !seqno.Valid(m.seq) || at.SubSequenceNumber < 0:
		return &consumer.CommitRangeError{At: at, High: p.last}
	default:
		return p.shard.CommitTo(ctx, at)
	}
	err := p.shard.Commit(ctx)
	p.owes = p.owes && err != nil
	return err
}

// ProcessRecords implements [consumer.Processor].
func (p *processor) ProcessRecords(ctx context.Context, b *consumer.Batch) error {
	if p.child == nil {
		return errGone
	}
	line, err := encodeRecords(b)
	if err != nil {
		return p.failed(ctx, err)
	}
	if n := len(b.Records); n > 0 {
		p.last, p.owes = b.Records[n-1].Checkpoint(), true
	}
	err = p.call(ctx, p.child, actionProcessRecords, line, func(m *message) string {
		if m.seq == consumer.ShardEnd {
			return nameIllegalArgument
		}
		return p.commit(ctx, m)
	})
	if err != nil {
		return p.failed(ctx, err)
	}
	p.b.counts.records.Add(int64(len(b.Records)))
	return nil
}

// errGone is returned to a consumer that calls a processor it has been told to
// give up.
var errGone = fmt.Errorf("multilang: the child process is gone: %w", consumer.ErrRestart)

// farewell returns the last request of a child and its action: of the KCL 1.x
// the reason tells what it is about.
func (p *processor) farewell(action, reason string) (string, []byte) {
	m := plainMessage{Action: action}
	if p.b.kcl1 {
		m = plainMessage{Action: actionShutdown, Reason: reason}
	}
	line, err := encode(m)
	if err != nil {
		return "", nil // not possible: the message is made of constants
	}
	return m.Action, line
}

// ShardEnded implements [consumer.ShardEnder].
func (p *processor) ShardEnded(ctx context.Context) error {
	if p.child == nil {
		return errGone
	}
	action, line := p.farewell(actionShardEnded, "TERMINATE")
	err := p.call(ctx, p.child, action, line, func(m *message) string { return p.commit(ctx, m) })
	switch {
	case err == nil && p.owes:
		err = errUnfinished
	case err == nil:
		// Records after the child's last one may have been dropped, as outside
		// the shard's range.
		err = p.shard.Commit(ctx)
	}
	if err != nil {
		return p.failed(ctx, err)
	}
	p.retire(ctx, "", nil)
	return nil
}

// LeaseLost implements [consumer.LeaseLoser].
func (p *processor) LeaseLost() {
	action, line := p.farewell(actionLeaseLost, "ZOMBIE")
	p.retire(context.Background(), action, line)
}

// ShutdownRequested implements [consumer.ShutdownRequester]. Afterwards the
// child is told that it has lost the lease, as with the KCL; that does not
// hold up the lease's release.
func (p *processor) ShutdownRequested(ctx context.Context) error {
	if p.child == nil {
		return nil
	}
	line, err := encode(plainMessage{Action: actionShutdownRequested})
	if err == nil {
		err = p.call(ctx, p.child, actionShutdownRequested, line, func(m *message) string {
			if m.seq == consumer.ShardEnd {
				return nameIllegalArgument
			}
			return p.commit(ctx, m)
		})
	}
	if err != nil {
		p.retiring.Store(true)
		p.child.kill()
		<-p.child.gone
		p.child = nil
		return fmt.Errorf("shutdownRequested, which processors of the KCL 1.x may not know: %w", err)
	}
	p.LeaseLost()
	return nil
}

// retire ends the child in the background. The bridge waits for it.
func (p *processor) retire(ctx context.Context, action string, last []byte) {
	c := p.child
	if c == nil {
		return
	}
	p.child = nil
	p.retiring.Store(true)
	p.b.children.Go(func() { c.retire(ctx, action, last, p.b.grace) })
}
