// Package consumercw sends metrics of consumers to Amazon CloudWatch, under the
// names, dimensions and units of the Kinesis Client Library (KCL), so that its
// dashboards and alarms go on working. Who has no such thing is better served by
// package consumerprom.
//
//	metrics, err := consumercw.New(cloudwatchClient, "orders-app", c, consumercw.Config{})
//	…
//	err = c.Run(ctx)
//	metrics.Close(ctx) // sends the rest
//
// # Metrics
//
// Level "summary" leaves out what is marked detailed.
//
//	Operation           dimension          metric                              unit
//	ProcessTask         ShardId            RecordsProcessed                    count
//	                                       DataBytesProcessed                  bytes
//	                                       MillisBehindLatest                  ms     each second
//	                                       RecordProcessor.processRecords.Time ms
//	                                       Success                             count  1 for a call that did not fail, 0 for others
//	                                       Time                                ms
//	RenewAllLeases      WorkerIdentifier   CurrentLeases                       count  each second
//	                                       LostLeases                          count
//	                                       Success                             count  1 for an upload's time without a failed write, else 0
//	                                       RenewLease.Success                  count  detailed
//	TakeLeases          WorkerIdentifier   TakenLeases                         count
//	                                       ExpiredLeases                       count  each second: those that no living worker has
//	                                       NumWorkers                          count  each second
//	                                       TotalLeases                         count  each second, detailed
//	ApplicationTracker  none               MillisBehindLatest                  ms     each second, of the shard furthest behind
//
//	MultiStreamTracker  none               ActiveStreams.Count                 count  each second, with several streams
//	                                       StreamsPendingDeletion.Count        count  each second, likewise
//	                                       DeletedStreams.Count                count  likewise
//
// With several streams, metrics of a shard have the dimension StreamId as well:
// account:name:epoch.
//
// What the KCL has besides is about its own inside, such as the times of its calls
// to Kinesis and DynamoDB, and is not sent.
//
// Two things are less exact than the KCL's: of what a processor did between two
// uploads the least and the greatest value are those of the mean, and what
// happens to a shard between the last upload and the loss of its lease is not
// sent.
//
// # What it costs
//
// Nothing on the way of a record: a goroutine reads the consumer's counters each
// second, and sends sums. When CloudWatch does not take them they are dropped, and
// counted.
//
// Source: amazon-kinesis-client, ProcessTask, DynamoDBLeaseTaker,
// DynamoDBLeaseRenewer and MetricsUtil.
package consumercw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/internal/cwsend"
)

// sampling is the time between two looks at what has a state rather than a count.
const sampling = time.Second

// API is what a [Publisher] needs of *cloudwatch.Client. It should retry by itself,
// as that does.
type API interface {
	PutMetricData(context.Context, *cloudwatch.PutMetricDataInput, ...func(*cloudwatch.Options)) (*cloudwatch.PutMetricDataOutput, error)
}

// Source is a [consumer.Consumer], or what gives the same counters.
type Source interface {
	WorkerID() string
	Stats() consumer.Stats
}

// A Publisher sends metrics of one worker to CloudWatch. It is safe for concurrent
// use.
type Publisher struct {
	source Source
	cfg    Config
	sender *cwsend.Sender

	// Owned by the sender, which gathers and samples one after the other.
	sums   map[series]*cwsend.Sum
	before consumer.Stats                 // as of the last upload
	shards map[string]consumer.ShardStats // likewise
}

// Stats is what a [Publisher] has done.
type Stats struct {
	Uploads  uint64 // requests that CloudWatch took
	Failures uint64 // requests that it did not take
	Datums   uint64 // metrics sent
	Dropped  uint64 // metrics of requests that failed
}

// New returns a running Publisher that sends the metrics of source, a worker of the
// application app, through api. The caller must Close it.
func New(api API, app string, source Source, cfg Config) (*Publisher, error) {
	cfg, err := cfg.withDefaults(app)
	if api == nil || source == nil {
		err = errors.Join(err, errors.New("client and source must not be nil"))
	}
	if err != nil {
		return nil, fmt.Errorf("consumercw: config: %w", err)
	}
	p := &Publisher{
		source: source, cfg: cfg,
		sums: map[series]*cwsend.Sum{}, before: source.Stats(), shards: map[string]consumer.ShardStats{},
	}
	p.sender = cwsend.Start(api, cwsend.Job{
		Namespace: cfg.Namespace, Every: cfg.MetricsBufferTime, Gather: p.gather, Logger: cfg.Logger,
		Sample: p.sample, SampleEvery: sampling,
	})
	return p, nil
}

// Stats returns a snapshot.
func (p *Publisher) Stats() Stats { return Stats(p.sender.Stats()) }

// Close sends what was gathered since the last upload, and frees everything. Call it
// when Run has returned. If ctx ends before, the rest is dropped, and Close returns
// ctx's error. It may be called more than once.
func (p *Publisher) Close(ctx context.Context) error {
	if err := p.sender.Close(ctx); err != nil {
		return fmt.Errorf("consumercw: %w", err)
	}
	return nil
}

// kind is what is fixed about a metric.
type kind struct {
	operation, name string
	unit            types.StandardUnit
	by              Dimension // that it has besides Operation; "" for none
	detailed        bool
}

const (
	count  = types.StandardUnitCount
	millis = types.StandardUnitMilliseconds
)

var (
	recordsProcessed = &kind{"ProcessTask", "RecordsProcessed", count, ShardID, false}
	bytesProcessed   = &kind{"ProcessTask", "DataBytesProcessed", types.StandardUnitBytes, ShardID, false}
	behindLatest     = &kind{"ProcessTask", "MillisBehindLatest", millis, ShardID, false}
	processorTime    = &kind{"ProcessTask", "RecordProcessor.processRecords.Time", millis, ShardID, false}
	processSuccess   = &kind{"ProcessTask", "Success", count, ShardID, false}
	processTime      = &kind{"ProcessTask", "Time", millis, ShardID, false}
	currentLeases    = &kind{"RenewAllLeases", "CurrentLeases", count, WorkerIdentifier, false}
	lostLeases       = &kind{"RenewAllLeases", "LostLeases", count, WorkerIdentifier, false}
	renewAllSuccess  = &kind{"RenewAllLeases", "Success", count, WorkerIdentifier, false}
	renewSuccess     = &kind{"RenewAllLeases", "RenewLease.Success", count, WorkerIdentifier, true}
	takenLeases      = &kind{"TakeLeases", "TakenLeases", count, WorkerIdentifier, false}
	expiredLeases    = &kind{"TakeLeases", "ExpiredLeases", count, WorkerIdentifier, false}
	numWorkers       = &kind{"TakeLeases", "NumWorkers", count, WorkerIdentifier, false}
	totalLeases      = &kind{"TakeLeases", "TotalLeases", count, WorkerIdentifier, true}
	activeStreams    = &kind{"MultiStreamTracker", "ActiveStreams.Count", count, "", false}
	pendingStreams   = &kind{"MultiStreamTracker", "StreamsPendingDeletion.Count", count, "", false}
	deletedStreams   = &kind{"MultiStreamTracker", "DeletedStreams.Count", count, "", false}
	worstBehind      = &kind{"ApplicationTracker", "MillisBehindLatest", millis, "", false}
)

// series is a metric with the value of its dimension, "" if that is left out. Of a
// shard's it is the key of the lease.
type series struct {
	kind  *kind
	value string
}

// keyOf returns the value for the metrics of a shard.
func (p *Publisher) keyOf(s *consumer.ShardStats) string {
	key := cmp.Or(s.LeaseKey, s.ShardID)
	stream, shard := consumer.SplitLeaseKey(key)
	switch with := p.cfg.MetricsEnabledDimensions; {
	case !slices.Contains(with, StreamID):
		return shard
	case !slices.Contains(with, ShardID) && stream != "":
		return consumer.LeaseKey(stream, every)
	}
	return key
}

// every stands for the shards of a stream whose metrics are one.
const every = "*"

// dimensions returns those that a value stands for.
func (k series) dimensions() []types.Dimension {
	if k.value == "" {
		return nil
	}
	stream, shard := consumer.SplitLeaseKey(k.value)
	if k.kind.by != ShardID || stream == "" {
		return []types.Dimension{{Name: aws.String(string(k.kind.by)), Value: aws.String(k.value)}}
	}
	dims := []types.Dimension{{Name: aws.String(string(StreamID)), Value: aws.String(stream)}}
	if shard != every {
		dims = append(dims, types.Dimension{Name: aws.String(string(ShardID)), Value: aws.String(shard)})
	}
	return dims
}

// add adds n values, of which total is the sum, to a metric. Only their mean is
// known.
func (p *Publisher) add(k *kind, value string, total, n float64) {
	if n <= 0 || k.detailed && p.cfg.MetricsLevel == Summary {
		return
	}
	stream := ""
	if k.by == ShardID {
		stream, _ = consumer.SplitLeaseKey(value)
	}
	if stream == "" && !slices.Contains(p.cfg.MetricsEnabledDimensions, k.by) {
		value = ""
	}
	s := p.sums[series{k, value}]
	if s == nil {
		s = new(cwsend.Sum)
		p.sums[series{k, value}] = s
	}
	s.Join(cwsend.Sum{Count: n, Total: total, Least: total / n, Most: total / n})
}

// sample adds what has a state.
func (p *Publisher) sample() {
	s := p.source.Stats()
	worker := p.source.WorkerID()
	var worst float64
	for i := range s.Shards {
		ms := float64(s.Shards[i].BehindLatest.Milliseconds())
		p.add(behindLatest, p.keyOf(&s.Shards[i]), ms, 1)
		worst = max(worst, ms)
	}
	if len(s.Shards) > 0 {
		p.add(worstBehind, "", worst, 1)
	}
	if several(&s) {
		listed := 0
		for _, st := range s.Streams {
			if st.Listed {
				listed++
			}
		}
		p.add(activeStreams, "", float64(listed), 1)
		p.add(pendingStreams, "", float64(len(s.Streams)-listed), 1)
	}
	p.add(currentLeases, worker, float64(len(s.Shards)), 1)
	p.add(expiredLeases, worker, float64(s.LeasesAvailable), 1)
	p.add(numWorkers, worker, float64(s.WorkersSeen), 1)
	p.add(totalLeases, worker, float64(s.LeasesSeen), 1)
}

// several reports whether the consumer reads several streams.
func several(s *consumer.Stats) bool {
	return len(s.Streams) > 1 || len(s.Streams) == 1 && s.Streams[0].StreamID != (consumer.StreamID{})
}

// gather returns the metrics since the last upload.
func (p *Publisher) gather() []types.MetricDatum {
	now := p.source.Stats()
	shards := make(map[string]consumer.ShardStats, len(now.Shards))
	for _, s := range now.Shards {
		key := cmp.Or(s.LeaseKey, s.ShardID)
		before := p.shards[key]
		if s.Calls < before.Calls {
			before = consumer.ShardStats{} // the lease was taken anew
		}
		p.addShard(&s, &before)
		shards[key] = s
	}
	worker, b := p.source.WorkerID(), &p.before
	if several(&now) {
		p.add(deletedStreams, "", float64(now.StreamsDeleted-b.StreamsDeleted), 1)
	}
	p.add(lostLeases, worker, float64(now.LeasesLost+now.LeasesExpired-b.LeasesLost-b.LeasesExpired), 1)
	taken := func(s *consumer.Stats) int64 {
		return s.LeasesTakenFree + s.LeasesTakenExpired + s.LeasesStolen + s.LeasesAssigned
	}
	p.add(takenLeases, worker, float64(taken(&now)-taken(b)), 1)
	renewed := float64(now.Renewals + now.Checkpoints - b.Renewals - b.Checkpoints)
	failed := float64(now.LeaseWriteErrors - b.LeaseWriteErrors)
	p.add(renewSuccess, worker, renewed, renewed)
	p.add(renewSuccess, worker, 0, failed)
	if renewed+failed > 0 {
		success := 1.0
		if failed > 0 {
			success = 0
		}
		p.add(renewAllSuccess, worker, success, 1)
	}
	p.before, p.shards = now, shards

	sums := p.sums
	p.sums = make(map[series]*cwsend.Sum, len(sums))
	return p.datums(sums)
}

// addShard adds what the processor of a shard has done since before.
func (p *Publisher) addShard(s, before *consumer.ShardStats) {
	key := p.keyOf(s)
	calls := float64(s.Calls - before.Calls)
	failed := float64(s.FailedCalls - before.FailedCalls)
	// The KCL sends zeros for a shard that nothing comes from, and alarms count
	// on them.
	p.add(recordsProcessed, key, float64(s.Records-before.Records), max(1, calls-failed))
	p.add(bytesProcessed, key, float64(s.Bytes-before.Bytes), max(1, calls-failed))
	took := float64(s.CallTime-before.CallTime) / float64(time.Millisecond)
	p.add(processorTime, key, took, calls)
	p.add(processTime, key, took, calls)
	p.add(processSuccess, key, calls-failed, calls-failed)
	p.add(processSuccess, key, 0, failed)
}

// datums returns metrics as CloudWatch takes them, in a fixed order.
func (p *Publisher) datums(sums map[series]*cwsend.Sum) []types.MetricDatum {
	keys := slices.SortedFunc(maps.Keys(sums), func(a, b series) int {
		return cmp.Or(cmp.Compare(a.kind.operation, b.kind.operation), cmp.Compare(a.kind.name, b.kind.name), cmp.Compare(a.value, b.value))
	})
	now := time.Now()
	out := make([]types.MetricDatum, 0, len(keys))
	for _, k := range keys {
		dims := []types.Dimension{{Name: aws.String(string(Operation)), Value: &k.kind.operation}}
		dims = append(dims, k.dimensions()...)
		out = append(out, cwsend.Datum(&k.kind.name, k.kind.unit, dims, now, sums[k]))
	}
	return out
}
