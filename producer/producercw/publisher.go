package producercw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/internal/cwsend"
	"github.com/streamkit/streamkit/producer"
)

const (
	// maxSeries bounds what is kept between two uploads, whatever happens. Metrics
	// of further shards are part of their stream's only.
	maxSeries = 20_000

	// sampling is the time between two looks at the records that wait.
	sampling = 200 * time.Millisecond
)

// API is what a [Publisher] needs of *cloudwatch.Client.
type API interface {
	PutMetricData(context.Context, *cloudwatch.PutMetricDataInput, ...func(*cloudwatch.Options)) (*cloudwatch.PutMetricDataOutput, error)
}

// Source is a [producer.Producer], or what gives the same counters.
type Source interface {
	Stats() producer.Stats
}

// A Publisher sends metrics of producers to CloudWatch. It is a [producer.Hook], of
// as many producers as wanted. It is safe for concurrent use.
type Publisher struct {
	cfg    Config
	sender *cwsend.Sender

	mu      sync.Mutex // guards all below
	sums    map[series]*cwsend.Sum
	sources map[string]*watched // by stream
	dropped uint64              // values beyond the bound of memory
}

// watched is a producer whose counters are read.
type watched struct {
	source   Source
	received uint64 // of it, as of the last upload
}

// Stats is a snapshot of what a [Publisher] has done.
type Stats struct {
	Uploads  uint64 // requests that CloudWatch took
	Failures uint64 // requests that it did not take
	Datums   uint64 // metrics sent
	Dropped  uint64 // metrics of requests that failed, and values beyond the bound of memory
}

var (
	_ producer.RequestHook = (*Publisher)(nil)
	_ producer.DoneHook    = (*Publisher)(nil)
)

// New returns a running Publisher that sends through api, which should retry by
// itself, as the SDK's client does. The caller must Close it.
func New(api API, cfg Config) (*Publisher, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("producercw: config: %w", err)
	}
	p := &Publisher{cfg: cfg, sums: make(map[series]*cwsend.Sum), sources: make(map[string]*watched)}
	p.sender = cwsend.Start(api, cwsend.Job{
		Namespace: cfg.MetricsNamespace, Every: cfg.MetricsUploadDelay, Gather: p.gather, Logger: cfg.Logger,
		Sample: p.samplePending, SampleEvery: sampling,
	})
	return p, nil
}

// Watch reads the counters of the producer of a stream, for UserRecordsReceived and
// UserRecordsPending. A stream has one producer; with nil it has none again.
func (p *Publisher) Watch(stream string, source Source) {
	stream = nameOf(stream)
	p.mu.Lock()
	defer p.mu.Unlock()
	if source == nil {
		delete(p.sources, stream)
		return
	}
	p.sources[stream] = &watched{source: source}
}

// Stats returns a snapshot.
func (p *Publisher) Stats() Stats {
	sent := p.sender.Stats()
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Uploads: sent.Uploads, Failures: sent.Failures, Datums: sent.Datums, Dropped: sent.Dropped + p.dropped}
}

// Close sends what was gathered since the last upload, and frees everything. Close
// the producers first. If ctx ends before, the rest is dropped, and Close returns
// ctx's error. It may be called more than once.
func (p *Publisher) Close(ctx context.Context) error {
	if err := p.sender.Close(ctx); err != nil {
		return fmt.Errorf("producercw: %w", err)
	}
	return nil
}

// addLocked adds a value to a metric, n times.
func (p *Publisher) addLocked(k *kind, code, stream, shard string, value float64, n int) {
	if k.detailed && p.cfg.MetricsLevel == Summary {
		return
	}
	key := series{kind: k, code: code, stream: stream}
	if k.perShard && p.cfg.MetricsGranularity == Shard {
		key.shard = shard
	}
	s := p.sums[key]
	if s == nil && len(p.sums) >= maxSeries {
		key.shard = ""
		s = p.sums[key]
	}
	if s == nil {
		// A few above the bound: those of streams.
		if len(p.sums) >= 2*maxSeries {
			p.dropped++
			return
		}
		s = new(cwsend.Sum)
		p.sums[key] = s
	}
	s.Add(value, float64(n))
}

// nameOf returns the name of a stream that is given as a name or an ARN.
func nameOf(stream string) string {
	if strings.HasPrefix(stream, "arn:") {
		return stream[strings.LastIndexByte(stream, '/')+1:]
	}
	return stream
}

// OnRequest implements [producer.RequestHook].
func (p *Publisher) OnRequest(_ context.Context, r producer.RequestInfo) (context.Context, func(producer.RequestResult)) {
	return nil, func(res producer.RequestResult) { p.request(&r, &res) }
}

func (p *Publisher) request(r *producer.RequestInfo, res *producer.RequestResult) {
	stream := nameOf(r.Stream)
	p.mu.Lock()
	defer p.mu.Unlock()
	records := 0
	for _, e := range r.Entries {
		records += e.UserRecords
		p.addLocked(bufferingTime, "", stream, e.ShardID, inMillis(e.Waited), e.UserRecords)
	}
	p.addLocked(requestTime, "", stream, "", inMillis(res.Duration), 1)
	p.addLocked(kinesisPerRequest, "", stream, "", float64(len(r.Entries)), 1)
	p.addLocked(userPerRequest, "", stream, "", float64(records), 1)
	if res.Err != nil {
		p.addLocked(errorsByCode, codeOf(res.Err), stream, "", 1, 1)
		p.addLocked(allErrors, "", stream, "", 1, 1)
		return
	}
	for i, e := range r.Entries {
		if code := res.Entries[i].ErrorCode; code != "" {
			p.addLocked(errorsByCode, code, stream, e.ShardID, 1, 1)
			p.addLocked(allErrors, "", stream, e.ShardID, 1, 1)
			p.addLocked(kinesisRecordsPut, "", stream, e.ShardID, 0, 1)
			continue
		}
		p.addLocked(allErrors, "", stream, e.ShardID, 0, 1)
		p.addLocked(kinesisRecordsPut, "", stream, e.ShardID, 1, 1)
		p.addLocked(kinesisRecordsData, "", stream, e.ShardID, float64(e.Bytes), 1)
		p.addLocked(userPerKinesis, "", stream, e.ShardID, float64(e.UserRecords), 1)
	}
}

// OnDone implements [producer.DoneHook].
func (p *Publisher) OnDone(d producer.DoneInfo) {
	stream := nameOf(d.Stream)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addLocked(retriesPerRecord, "", stream, d.ShardID, float64(max(0, d.Attempts-1)), d.UserRecords)
	if d.Err != nil {
		p.addLocked(userRecordsPut, "", stream, d.ShardID, 0, d.UserRecords)
		if errors.Is(d.Err, producer.ErrExpired) {
			p.addLocked(userRecordExpired, "", stream, d.ShardID, 1, d.UserRecords)
		}
		return
	}
	p.addLocked(userRecordsPut, "", stream, d.ShardID, 1, d.UserRecords)
	p.addLocked(userRecordsDataPut, "", stream, d.ShardID, float64(d.DataBytes)/float64(d.UserRecords), d.UserRecords)
}

// codeOf names what a request failed with.
func codeOf(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "Timeout"
	}
	return "Transport"
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// read returns the counters of all that is watched.
func (p *Publisher) read() map[string]producer.Stats {
	p.mu.Lock()
	sources := make(map[string]Source, len(p.sources))
	for stream, w := range p.sources {
		sources[stream] = w.source
	}
	p.mu.Unlock()
	all := make(map[string]producer.Stats, len(sources))
	for stream, s := range sources {
		all[stream] = s.Stats()
	}
	return all
}

func (p *Publisher) samplePending() {
	for stream, s := range p.read() {
		p.mu.Lock()
		p.addLocked(userRecordsPending, "", stream, "", float64(s.UserRecordsPending), 1)
		p.mu.Unlock()
	}
}

// gather returns the metrics since the last upload.
func (p *Publisher) gather() []types.MetricDatum {
	counters := p.read()
	p.mu.Lock()
	for stream, s := range counters {
		w := p.sources[stream]
		if w == nil {
			continue
		}
		if n := s.UserRecordsReceived - min(w.received, s.UserRecordsReceived); n > 0 {
			p.addLocked(userRecordsReceived, "", stream, "", 1, int(n))
		}
		w.received = s.UserRecordsReceived
	}
	sums := p.sums
	p.sums = make(map[series]*cwsend.Sum, len(sums))
	p.mu.Unlock()
	return p.datums(rollUp(sums, p.cfg.MetricsGranularity))
}

// datums returns metrics as CloudWatch takes them, in a fixed order.
func (p *Publisher) datums(all map[series]*cwsend.Sum) []types.MetricDatum {
	now := time.Now()
	out := make([]types.MetricDatum, 0, len(all))
	keys := make([]series, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b series) int {
		return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.shard, b.shard), cmp.Compare(a.kind.name, b.kind.name), cmp.Compare(a.code, b.code))
	})
	for _, k := range keys {
		out = append(out, cwsend.Datum(&k.kind.name, k.kind.unit, p.dimensions(k), now, all[k]))
	}
	return out
}

// dimensions returns those of a metric in the KPL's order.
func (p *Publisher) dimensions(k series) (dims []types.Dimension) {
	more := func(g Granularity) {
		for _, d := range p.cfg.AdditionalMetricDims {
			if d.Granularity == g {
				dims = append(dims, types.Dimension{Name: aws.String(d.Name), Value: aws.String(d.Value)})
			}
		}
	}
	own := func(name, value string) {
		if value != "" {
			dims = append(dims, types.Dimension{Name: aws.String(name), Value: aws.String(value)})
		}
	}
	more(Global)
	own("ErrorCode", k.code)
	if k.stream != "" {
		own("StreamName", k.stream)
		more(Stream)
	}
	if k.shard != "" {
		own("ShardId", k.shard)
		more(Shard)
	}
	return dims
}
