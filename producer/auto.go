package producer

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// Describer is what an [API] may have besides, as *kinesis.Client does. With it
// a producer knows from the start whether a stream distributes records itself.
type Describer interface {
	DescribeStreamSummary(context.Context, *kinesis.DescribeStreamSummaryInput, ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error)
}

const (
	// distributionInterval is the time between two looks at how the stream
	// distributes records, varied by a tenth.
	distributionInterval = time.Minute

	// autoLanes is how many lanes share a stream that distributes records
	// itself. Each has one set of records in flight.
	autoLanes = 8
)

// distribution is what is known of how the stream distributes records. The
// resharder's goroutine owns it.
type distribution struct {
	auto    bool
	byKey   bool // the stream has said that it is not auto
	assumed bool // nobody said so, but records landed as if
	silent  bool // it was logged that nothing can be learnt
	shards  int  // open ones, if auto
	limit   *limiter
}

// lookAtDistribution asks how the stream distributes records, and says whether
// it does so itself.
func (p *Producer) lookAtDistribution(ctx context.Context) (auto bool) {
	d := &p.distribution
	if api, ok := p.api.(Describer); ok {
		out, err := p.describe(ctx, api)
		switch {
		case err == nil && out != nil && out.StreamDescriptionSummary != nil:
			s := out.StreamDescriptionSummary
			d.auto = s.RecordDistributionStrategy == types.RecordDistributionStrategyAuto
			d.byKey = !d.auto
			d.assumed = false
			d.shards = 1
			if n := s.OpenShardCount; n != nil {
				d.shards = max(1, int(*n))
			}
		case ctx.Err() != nil || d.auto || d.byKey:
			// What was known still holds.
		case !d.silent && err != nil && !isNotFound(err):
			d.silent = true
			p.log.Warn("stream cannot be described, and is taken for one that distributes records by their keys; allow kinesis:DescribeStreamSummary",
				slog.String("stream", p.stream), slog.Any("err", err))
		}
	}
	if !d.auto && !d.byKey && p.unexplained.Load() >= maxUnexplained {
		// All that is stored elsewhere than predicted is lost to some readers
		// if it is aggregated, and nothing says that the stream is not AUTO.
		d.auto, d.assumed = true, true
		d.shards = len(p.shards.Load().lanes)
	}
	return d.auto
}

func (p *Producer) describe(ctx context.Context, api Describer) (*kinesis.DescribeStreamSummaryOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.RequestTimeout)
	defer cancel()
	return api.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: p.streamName, StreamARN: p.streamARN}, noSDKRetry)
}

// applyAuto puts lanes in place that predict nothing. They divide the hash space
// among them, so that a key keeps to one of them, and share the limit of the
// whole stream.
func (p *Producer) applyAuto(ctx context.Context) {
	d := &p.distribution
	if p.cfg.Order == Strict {
		p.fail(ErrNoOrder)
		return
	}
	if d.limit == nil {
		d.limit = newLimiter(p.cfg.RateLimit, d.shards)
	}
	d.limit.scale(d.shards)
	if p.autoShards.Swap(int64(d.shards)) == 0 {
		attrs := []any{slog.String("stream", p.stream), slog.Bool("assumed", d.assumed)}
		if p.cfg.Order == PerKey {
			p.log.Warn("stream distributes records over its shards itself: the order of keys is not kept, and records are not aggregated without AggregateOnAuto", attrs...)
		} else {
			p.log.Info("stream distributes records over its shards itself", attrs...)
		}
	}
	var shards []shard
	for _, r := range hashkey.Uniform(min(autoLanes, p.cfg.MaxConnections)) {
		shards = append(shards, shard{keys: r, auto: true})
	}
	p.apply(ctx, shards, true)
}

// leaveAuto notes that the stream distributes records by their keys.
func (p *Producer) leaveAuto() {
	if p.autoShards.Swap(0) != 0 {
		p.distribution.limit = nil
		p.log.Info("stream distributes records by their keys again", slog.String("stream", p.stream))
	}
}

// fail gives up all records, those that come from now on included, because the
// stream can never take them.
func (p *Producer) fail(err error) {
	if p.unfit.CompareAndSwap(nil, &err) {
		p.log.Error("stream cannot be written to with these settings", slog.String("stream", p.stream), slog.Any("err", err))
	}
	p.noteAll()
}
