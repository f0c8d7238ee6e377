package producercw_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/smithy-go"

	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/producer/producercw"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

var _ producercw.API = (*cloudwatch.Client)(nil)

// fakeCloudWatch keeps what it is sent, and holds requests to CloudWatch's limits.
type fakeCloudWatch struct {
	latency time.Duration

	mu       sync.Mutex // guards all below
	err      error
	requests []*cloudwatch.PutMetricDataInput
	at       []time.Time
}

func (f *fakeCloudWatch) PutMetricData(ctx context.Context, in *cloudwatch.PutMetricDataInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.PutMetricDataOutput, error) {
	select {
	case <-time.After(f.latency):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := valid(in); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	f.requests = append(f.requests, in)
	f.at = append(f.at, time.Now())
	return &cloudwatch.PutMetricDataOutput{}, nil
}

func valid(in *cloudwatch.PutMetricDataInput) error {
	bad := func(format string, args ...any) error {
		return &smithy.GenericAPIError{Code: "InvalidParameterValue", Message: fmt.Sprintf(format, args...)}
	}
	if ns := aws.ToString(in.Namespace); ns == "" || strings.HasPrefix(ns, "AWS/") || len(in.MetricData) == 0 || len(in.MetricData) > 1000 {
		return bad("namespace %q, %d metrics", ns, len(in.MetricData))
	}
	seen := map[string]bool{}
	for _, d := range in.MetricData {
		s := d.StatisticValues
		if aws.ToString(d.MetricName) == "" || d.Unit == "" || d.Timestamp == nil || s == nil || *s.SampleCount < 1 || *s.Minimum > *s.Maximum ||
			*s.Sum < *s.Minimum**s.SampleCount-1e-6 || *s.Sum > *s.Maximum**s.SampleCount+1e-6 || len(d.Dimensions) > 30 {
			return bad("metric %s", keyOf(d))
		}
		if k := keyOf(d); seen[k] {
			return bad("%s twice", k)
		} else {
			seen[k] = true
		}
		for _, dim := range d.Dimensions {
			if aws.ToString(dim.Name) == "" || aws.ToString(dim.Value) == "" || len(*dim.Value) > 1024 {
				return bad("dimension of %s", keyOf(d))
			}
		}
	}
	return nil
}

// keyOf writes a metric as Name{Dimension=value,…}.
func keyOf(d types.MetricDatum) string {
	var dims []string
	for _, dim := range d.Dimensions {
		dims = append(dims, *dim.Name+"="+*dim.Value)
	}
	return fmt.Sprintf("%s{%s}", *d.MetricName, strings.Join(dims, ","))
}

// all joins what was sent by metric.
func (f *fakeCloudWatch) all() map[string]types.MetricDatum {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]types.MetricDatum{}
	for _, r := range f.requests {
		for _, d := range r.MetricData {
			k := keyOf(d)
			if o, ok := out[k]; ok {
				a, b := o.StatisticValues, d.StatisticValues
				d.StatisticValues = &types.StatisticSet{
					SampleCount: aws.Float64(*a.SampleCount + *b.SampleCount), Sum: aws.Float64(*a.Sum + *b.Sum),
					Minimum: aws.Float64(min(*a.Minimum, *b.Minimum)), Maximum: aws.Float64(max(*a.Maximum, *b.Maximum)),
				}
			}
			out[k] = d
		}
	}
	return out
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func start(t *testing.T, f *fakeCloudWatch, cfg producercw.Config) *producercw.Publisher {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	p, err := producercw.New(f, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func closeNow(t *testing.T, p interface{ Close(context.Context) error }) {
	t.Helper()
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  producercw.Config
		want []string // parts of the error; none means valid
	}{
		{name: "zero"},
		{name: "all", cfg: producercw.Config{MetricsNamespace: "N", MetricsLevel: producercw.Summary, MetricsGranularity: producercw.Global, MetricsUploadDelay: time.Second}},
		{
			name: "all that is wrong at once",
			cfg: producercw.Config{
				MetricsNamespace: "AWS/Kinesis", MetricsLevel: 2, MetricsGranularity: -1, MetricsUploadDelay: time.Millisecond,
				AdditionalMetricDims: slices.Repeat([]producercw.Dimension{{Name: "", Value: "v", Granularity: 3}}, 21),
			},
			want: []string{"MetricsNamespace", "MetricsLevel 2", "MetricsGranularity -1", "MetricsUploadDelay 1ms", "21 entries", "AdditionalMetricDims[0]: name", "granularity 3"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := producercw.New(&fakeCloudWatch{}, tt.cfg)
			if err == nil {
				closeNow(t, p)
			}
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("New: %v", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not mention %q", err, w)
				}
			}
		})
	}
}

// play tells p of a small history: two streams, the first with two shards.
func play(p *producercw.Publisher) {
	request := func(stream string, entries []producer.EntryInfo, res producer.RequestResult) {
		_, told := p.OnRequest(context.Background(), producer.RequestInfo{Stream: stream, Entries: entries})
		told(res)
	}
	request("orders", []producer.EntryInfo{
		{ShardID: "shard-0", UserRecords: 10, Bytes: 1000, Attempt: 1, Waited: 20 * time.Millisecond},
		{ShardID: "shard-1", UserRecords: 5, Bytes: 400, Attempt: 1, Waited: 10 * time.Millisecond},
	}, producer.RequestResult{Duration: 50 * time.Millisecond, Entries: []producer.EntryResult{
		{ShardID: "shard-0", SequenceNumber: "1"}, {ErrorCode: "InternalFailure"},
	}})
	p.OnDone(producer.DoneInfo{Stream: "orders", ShardID: "shard-0", UserRecords: 10, DataBytes: 900, Attempts: 1})
	request("orders", []producer.EntryInfo{{ShardID: "shard-1", UserRecords: 5, Bytes: 400, Attempt: 2, Waited: 30 * time.Millisecond}}, producer.RequestResult{
		Duration: 150 * time.Millisecond, Err: &smithy.GenericAPIError{Code: "ThrottlingException"},
	})
	p.OnDone(producer.DoneInfo{Stream: "orders", ShardID: "shard-1", UserRecords: 5, DataBytes: 350, Attempts: 2, Err: fmt.Errorf("%w: for long", producer.ErrExpired)})
	request("arn:aws:kinesis:eu-west-1:123456789012:stream/payments", []producer.EntryInfo{{ShardID: "shard-0", UserRecords: 1, Bytes: 7, Attempt: 1}}, producer.RequestResult{
		Duration: 10 * time.Millisecond, Entries: []producer.EntryResult{{ShardID: "shard-0", SequenceNumber: "1"}},
	})
	p.OnDone(producer.DoneInfo{Stream: "arn:aws:kinesis:eu-west-1:123456789012:stream/payments", ShardID: "shard-0", UserRecords: 1, DataBytes: 7, Attempts: 1})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeCloudWatch{}
		p := start(t, f, producercw.Config{})
		play(p)
		closeNow(t, p)
		got := map[string]string{}
		for k, d := range f.all() {
			s := d.StatisticValues
			got[k] = fmt.Sprintf("%v sum %v min %v max %v %s", *s.SampleCount, *s.Sum, *s.Minimum, *s.Maximum, d.Unit)
		}
		for k, want := range map[string]string{
			"UserRecordsPut{}":                                                          "16 sum 11 min 0 max 1 Count",
			"UserRecordsPut{StreamName=orders}":                                         "15 sum 10 min 0 max 1 Count",
			"UserRecordsPut{StreamName=orders,ShardId=shard-0}":                         "10 sum 10 min 1 max 1 Count",
			"UserRecordsPut{StreamName=orders,ShardId=shard-1}":                         "5 sum 0 min 0 max 0 Count",
			"UserRecordsPut{StreamName=payments}":                                       "1 sum 1 min 1 max 1 Count",
			"UserRecordsPut{StreamName=payments,ShardId=shard-0}":                       "1 sum 1 min 1 max 1 Count",
			"UserRecordsDataPut{StreamName=orders}":                                     "10 sum 900 min 90 max 90 Bytes",
			"UserRecordExpired{StreamName=orders,ShardId=shard-1}":                      "5 sum 5 min 1 max 1 Count",
			"RetriesPerRecord{StreamName=orders}":                                       "15 sum 5 min 0 max 1 Count",
			"BufferingTime{StreamName=orders}":                                          "20 sum 400 min 10 max 30 Milliseconds",
			"KinesisRecordsPut{StreamName=orders}":                                      "2 sum 1 min 0 max 1 Count",
			"KinesisRecordsDataPut{}":                                                   "2 sum 1007 min 7 max 1000 Bytes",
			"UserRecordsPerKinesisRecord{StreamName=orders,ShardId=shard-0}":            "1 sum 10 min 10 max 10 Count",
			"ErrorsByCode{ErrorCode=InternalFailure}":                                   "1 sum 1 min 1 max 1 Count",
			"ErrorsByCode{ErrorCode=InternalFailure,StreamName=orders,ShardId=shard-1}": "1 sum 1 min 1 max 1 Count",
			"ErrorsByCode{ErrorCode=ThrottlingException,StreamName=orders}":             "1 sum 1 min 1 max 1 Count",
			"AllErrors{StreamName=orders}":                                              "3 sum 2 min 0 max 1 Count",
			"RequestTime{}":                                                             "3 sum 210 min 10 max 150 Milliseconds",
			"RequestTime{StreamName=orders}":                                            "2 sum 200 min 50 max 150 Milliseconds",
			"KinesisRecordsPerPutRecordsRequest{StreamName=orders}":                     "2 sum 3 min 1 max 2 Count",
			"UserRecordsPerPutRecordsRequest{StreamName=orders}":                        "2 sum 20 min 5 max 15 Count",
		} {
			if got[k] != want {
				t.Errorf("%s = %q, want %q", k, got[k], want)
			}
		}
		for k := range got {
			if strings.Contains(k, "ShardId") && (strings.HasPrefix(k, "RequestTime") || strings.Contains(k, "PerPutRecords") || strings.Contains(k, "ThrottlingException")) {
				t.Errorf("%s is not a metric of shards", k)
			}
		}
		if s := p.Stats(); s.Uploads != 1 || s.Datums != uint64(len(got)) || s.Dropped != 0 {
			t.Errorf("Stats: %+v of %d", s, len(got))
		}
		if ns := *f.requests[0].Namespace; ns != "KinesisProducerLibrary" {
			t.Errorf("namespace %q", ns)
		}
	})
}

func TestLevelsAndGranularities(t *testing.T) {
	summary := []string{"AllErrors", "BufferingTime", "ErrorsByCode", "KinesisRecordsPut", "UserRecordExpired", "UserRecordsPut"}
	for _, tt := range []struct {
		name string
		cfg  producercw.Config
		most string // the finest series of UserRecordsPut
		n    int    // of them
		all  bool
	}{
		{"detailed, shards", producercw.Config{}, "UserRecordsPut{StreamName=orders,ShardId=shard-1}", 6, true},
		{"summary, streams", producercw.Config{MetricsLevel: producercw.Summary, MetricsGranularity: producercw.Stream}, "UserRecordsPut{StreamName=orders}", 3, false},
		{"global", producercw.Config{MetricsGranularity: producercw.Global}, "UserRecordsPut{}", 1, true},
		{"more dimensions", producercw.Config{AdditionalMetricDims: []producercw.Dimension{
			{Name: "Host", Value: "h", Granularity: producercw.Global}, {Name: "Team", Value: "t", Granularity: producercw.Stream}, {Name: "Rack", Value: "r"},
		}}, "UserRecordsPut{Host=h,StreamName=orders,Team=t,ShardId=shard-1,Rack=r}", 6, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeCloudWatch{}
				p := start(t, f, tt.cfg)
				play(p)
				closeNow(t, p)
				all := f.all()
				if _, ok := all[tt.most]; !ok {
					t.Errorf("no %s", tt.most)
				}
				n := 0
				for k, d := range all {
					if strings.HasPrefix(k, "UserRecordsPut{") {
						n++
					}
					if !tt.all && !slices.Contains(summary, *d.MetricName) {
						t.Errorf("%s is not of level summary", k)
					}
				}
				if n != tt.n {
					t.Errorf("%d series of UserRecordsPut, want %d", n, tt.n)
				}
			})
		})
	}
}

// TestWithProducer runs a producer against a server, for three minutes.
func TestWithProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 2)
		f := &fakeCloudWatch{latency: 100 * time.Millisecond}
		begin := time.Now()
		cw := start(t, f, producercw.Config{})
		p, err := producer.New(srv.Kinesis(), "orders", producer.Config{Logger: quiet(), Hooks: []producer.Hook{cw}})
		if err != nil {
			t.Fatal(err)
		}
		cw.Watch("orders", p)
		for i := range 150 {
			for range 10 {
				if err := p.Put(t.Context(), producer.UserRecord{PartitionKey: fmt.Sprint(i), Data: []byte("0123456789")}, nil); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		closeNow(t, p)
		cw.Watch("orders", nil)
		cw.Watch("orders", p)
		closeNow(t, cw)
		closeNow(t, cw)
		all := f.all()
		sum := func(k string) float64 {
			d, ok := all[k]
			if !ok {
				t.Errorf("no %s", k)
				return 0
			}
			return *d.StatisticValues.Sum
		}
		if sum("UserRecordsPut{}") != 1500 || sum("UserRecordsDataPut{StreamName=orders}") != 15000 ||
			sum("UserRecordsPut{StreamName=orders,ShardId=shardId-000000000000}")+sum("UserRecordsPut{StreamName=orders,ShardId=shardId-000000000001}") != 1500 {
			t.Errorf("sums of %d metrics do not fit", len(all))
		}
		if n := uint64(sum("KinesisRecordsPut{}")); n != p.Stats().KinesisRecordsPut {
			t.Errorf("%d Kinesis records, the producer says %d", n, p.Stats().KinesisRecordsPut)
		}
		if n := *all["UserRecordsPending{}"].StatisticValues.SampleCount; n < 700 || n > 751 {
			t.Errorf("UserRecordsPending was sampled %v times in 150s", n)
		}
		var at []time.Duration
		for _, a := range f.at {
			at = append(at, a.Sub(begin).Round(time.Second))
		}
		if len(at) != 3 || at[0] != time.Minute || at[1] != 2*time.Minute {
			t.Errorf("uploads after %v", at)
		}
	})
}

func TestReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeCloudWatch{}
		p := start(t, f, producercw.Config{})
		s := &counter{}
		p.Watch("arn:aws:kinesis:eu-west-1:123456789012:stream/orders", s)
		s.set(100)
		time.Sleep(time.Minute + time.Second)
		s.set(130)
		closeNow(t, p)
		if got := *f.all()["UserRecordsReceived{StreamName=orders}"].StatisticValues; *got.Sum != 130 || *got.SampleCount != 130 || *got.Maximum != 1 {
			t.Errorf("received: %v of %v", *got.Sum, *got.SampleCount)
		}
	})
}

type counter struct {
	mu sync.Mutex
	n  uint64
}

func (c *counter) set(n uint64) { c.mu.Lock(); c.n = n; c.mu.Unlock() }

func (c *counter) Stats() producer.Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return producer.Stats{UserRecordsReceived: c.n}
}

// TestFailures: what CloudWatch refuses is dropped and counted, the log tells once,
// and later uploads go on.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeCloudWatch{err: errors.New("no permission")}
		var log bytes.Buffer
		p := start(t, f, producercw.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		time.Sleep(30 * time.Second)
		for range 3 {
			play(p)
			time.Sleep(time.Minute)
		}
		f.mu.Lock()
		f.err = nil
		f.mu.Unlock()
		play(p)
		time.Sleep(time.Minute)
		if n := *f.all()["UserRecordsPut{}"].StatisticValues.SampleCount; n != 16 {
			t.Errorf("%v records in the upload that went through, want those of its minute", n)
		}
		if s := p.Stats(); s.Failures != 3 || s.Uploads != 1 || s.Dropped != 3*s.Datums {
			t.Errorf("Stats: %+v", s)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "cloudwatch:PutMetricData") || !strings.Contains(log.String(), "failed=3") {
			t.Errorf("log:\n%s", log.String())
		}
		f.mu.Lock()
		f.err = errors.New("gone")
		f.mu.Unlock()
		play(p)
		if err := p.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "gone") {
			t.Errorf("Close = %v, want the failure of the last upload", err)
		}
	})
}

// TestCloseInTime: CloudWatch answers nothing.
func TestCloseInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeCloudWatch{latency: time.Hour}
		p := start(t, f, producercw.Config{MetricsUploadDelay: time.Second})
		play(p)
		time.Sleep(5 * time.Second)
		play(p)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begin := time.Now()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close = %v", err)
		}
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

// TestBounds: a stream of 70,000 shards takes no more than the bound, and requests
// keep to CloudWatch's limits.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeCloudWatch{}
		p := start(t, f, producercw.Config{})
		const shards = 70_000
		for i := range shards {
			p.OnDone(producer.DoneInfo{Stream: "s", ShardID: fmt.Sprint("shard-", i), UserRecords: 1, DataBytes: 10, Attempts: 1})
		}
		closeNow(t, p)
		s := p.Stats()
		if s.Datums > 20_100 || s.Datums < 20_000 || s.Dropped != 0 || s.Uploads != (s.Datums+499)/500 {
			t.Errorf("Stats: %+v", s)
		}
		if n := *f.all()["UserRecordsPut{StreamName=s}"].StatisticValues.Sum; n != shards {
			t.Errorf("%v records of the stream, want all", n)
		}
	})
}
