package consumercw_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/consumercw"
	"github.com/streamkit/streamkit/consumer/memlease"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

var (
	_ consumercw.API    = (*cloudwatch.Client)(nil)
	_ consumercw.Source = (*consumer.Consumer)(nil)
)

// fakeCloudWatch keeps the metrics of each request.
type fakeCloudWatch struct {
	mu       sync.Mutex // guards all below
	err      error
	requests []map[string]string
	spaces   []string
}

func (f *fakeCloudWatch) PutMetricData(_ context.Context, in *cloudwatch.PutMetricDataInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.PutMetricDataOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	got := map[string]string{}
	for _, d := range in.MetricData {
		v := d.StatisticValues
		got[nameOf(d)] = fmt.Sprintf("n=%g sum=%g min=%g max=%g %s", *v.SampleCount, *v.Sum, *v.Minimum, *v.Maximum, d.Unit)
	}
	f.requests = append(f.requests, got)
	f.spaces = append(f.spaces, aws.ToString(in.Namespace))
	return &cloudwatch.PutMetricDataOutput{}, nil
}

func nameOf(d types.MetricDatum) string {
	var dims []string
	for _, dim := range d.Dimensions {
		dims = append(dims, *dim.Name+"="+*dim.Value)
	}
	return fmt.Sprintf("%s{%s}", *d.MetricName, strings.Join(dims, ","))
}

// take returns the metrics of all requests since the last call, which are one.
func (f *fakeCloudWatch) take(t *testing.T) map[string]string {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requests) != 1 {
		t.Fatalf("%d requests, want 1", len(f.requests))
	}
	got := f.requests[0]
	f.requests = nil
	return got
}

// fakeWorker tells what a test sets.
type fakeWorker struct {
	mu    sync.Mutex // guards stats
	stats consumer.Stats
}

func (*fakeWorker) WorkerID() string { return "w1" }

func (f *fakeWorker) Stats() consumer.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stats
	s.Shards = slices.Clone(s.Shards)
	return s
}

func (f *fakeWorker) set(change func(*consumer.Stats)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.stats)
}

func want(t *testing.T, got, want map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if want[name] != got[name] {
			t.Errorf("%s is %q, want %q", name, got[name], want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is not sent, want %q", name, want[name])
		}
	}
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cw, w := &fakeCloudWatch{}, &fakeWorker{}
		w.set(func(s *consumer.Stats) {
			s.LeasesTakenFree, s.LeasesLost, s.Renewals = 10, 3, 100 // before New: not sent
			s.LeasesSeen, s.LeasesAvailable, s.WorkersSeen = 8, 1, 2
			s.Shards = []consumer.ShardStats{{ShardID: "s1", BehindLatest: 2 * time.Second}, {ShardID: "s2"}}
		})
		p, err := consumercw.New(cw, "orders-app", w, consumercw.Config{MetricsLevel: consumercw.Detailed})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5500 * time.Millisecond) // five samples
		w.set(func(s *consumer.Stats) {
			s.LeasesTakenFree, s.LeasesTakenExpired, s.LeasesStolen = 11, 2, 3
			s.LeasesLost, s.LeasesExpired, s.Renewals, s.Checkpoints = 4, 1, 103, 5
			s.LeasesAvailable = 0
			s.Shards[0] = consumer.ShardStats{ShardID: "s1", Calls: 4, FailedCalls: 1, CallTime: 200 * time.Millisecond, Records: 30, Bytes: 3000}
		})
		time.Sleep(4600 * time.Millisecond)
		first := cw.take(t)
		// Whether the last sample falls before the upload of the same moment is
		// open: nine or ten.
		n, zeros := "n=10", 10
		if strings.HasPrefix(first["CurrentLeases{Operation=RenewAllLeases,WorkerIdentifier=w1}"], "n=9") {
			n, zeros = "n=9", 9
		}
		want(t, first, map[string]string{
			"RecordsProcessed{Operation=ProcessTask,ShardId=s1}":                    "n=3 sum=30 min=10 max=10 Count",
			"RecordsProcessed{Operation=ProcessTask,ShardId=s2}":                    "n=1 sum=0 min=0 max=0 Count",
			"DataBytesProcessed{Operation=ProcessTask,ShardId=s1}":                  "n=3 sum=3000 min=1000 max=1000 Bytes",
			"DataBytesProcessed{Operation=ProcessTask,ShardId=s2}":                  "n=1 sum=0 min=0 max=0 Bytes",
			"MillisBehindLatest{Operation=ProcessTask,ShardId=s1}":                  n + " sum=10000 min=0 max=2000 Milliseconds",
			"MillisBehindLatest{Operation=ProcessTask,ShardId=s2}":                  n + " sum=0 min=0 max=0 Milliseconds",
			"RecordProcessor.processRecords.Time{Operation=ProcessTask,ShardId=s1}": "n=4 sum=200 min=50 max=50 Milliseconds",
			"Time{Operation=ProcessTask,ShardId=s1}":                                "n=4 sum=200 min=50 max=50 Milliseconds",
			"Success{Operation=ProcessTask,ShardId=s1}":                             "n=4 sum=3 min=0 max=1 Count",
			"MillisBehindLatest{Operation=ApplicationTracker}":                      n + " sum=10000 min=0 max=2000 Milliseconds",
			"CurrentLeases{Operation=RenewAllLeases,WorkerIdentifier=w1}":           fmt.Sprintf("%s sum=%d min=2 max=2 Count", n, 2*zeros),
			"LostLeases{Operation=RenewAllLeases,WorkerIdentifier=w1}":              "n=1 sum=2 min=2 max=2 Count",
			"RenewLease.Success{Operation=RenewAllLeases,WorkerIdentifier=w1}":      "n=8 sum=8 min=1 max=1 Count",
			"Success{Operation=RenewAllLeases,WorkerIdentifier=w1}":                 "n=1 sum=1 min=1 max=1 Count",
			"TakenLeases{Operation=TakeLeases,WorkerIdentifier=w1}":                 "n=1 sum=6 min=6 max=6 Count",
			"ExpiredLeases{Operation=TakeLeases,WorkerIdentifier=w1}":               n + " sum=5 min=0 max=1 Count",
			"NumWorkers{Operation=TakeLeases,WorkerIdentifier=w1}":                  fmt.Sprintf("%s sum=%d min=2 max=2 Count", n, 2*zeros),
			"TotalLeases{Operation=TakeLeases,WorkerIdentifier=w1}":                 fmt.Sprintf("%s sum=%d min=8 max=8 Count", n, 8*zeros),
		})

		// A lease lost and taken again counts from the beginning; a write fails.
		w.set(func(s *consumer.Stats) {
			s.LeaseWriteErrors = 1
			s.Shards = []consumer.ShardStats{{ShardID: "s1", Calls: 1, CallTime: time.Millisecond, Records: 2, Bytes: 7}}
		})
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		last := cw.take(t)
		for name, value := range map[string]string{
			"RecordsProcessed{Operation=ProcessTask,ShardId=s1}":               "n=1 sum=2 min=2 max=2 Count",
			"Success{Operation=RenewAllLeases,WorkerIdentifier=w1}":            "n=1 sum=0 min=0 max=0 Count",
			"RenewLease.Success{Operation=RenewAllLeases,WorkerIdentifier=w1}": "n=1 sum=0 min=0 max=0 Count",
			"LostLeases{Operation=RenewAllLeases,WorkerIdentifier=w1}":         "n=1 sum=0 min=0 max=0 Count",
		} {
			if last[name] != value {
				t.Errorf("at last %s is %q, want %q", name, last[name], value)
			}
		}
		if _, ok := last["RecordsProcessed{Operation=ProcessTask,ShardId=s2}"]; ok {
			t.Error("a shard that is gone is sent")
		}
		if s := p.Stats(); s.Uploads != 2 || s.Datums == 0 || s.Failures != 0 || s.Dropped != 0 {
			t.Errorf("%+v", s)
		}
		if cw.spaces[0] != "orders-app" {
			t.Errorf("namespace %q", cw.spaces[0])
		}
	})
}

func TestLevelAndDimensions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cw, w := &fakeCloudWatch{}, &fakeWorker{}
		w.set(func(s *consumer.Stats) {
			s.Shards = []consumer.ShardStats{
				{ShardID: "s1", Calls: 1, Records: 4, Bytes: 4, CallTime: time.Second},
				{ShardID: "s2", Calls: 2, Records: 4, Bytes: 4, CallTime: time.Second},
			}
		})
		p, err := consumercw.New(cw, "app", w, consumercw.Config{
			Namespace: "mine", MetricsEnabledDimensions: []consumercw.Dimension{consumercw.Operation},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, cw.take(t), map[string]string{
			"RecordsProcessed{Operation=ProcessTask}":                    "n=3 sum=8 min=2 max=4 Count",
			"DataBytesProcessed{Operation=ProcessTask}":                  "n=3 sum=8 min=2 max=4 Bytes",
			"RecordProcessor.processRecords.Time{Operation=ProcessTask}": "n=3 sum=2000 min=500 max=1000 Milliseconds",
			"Time{Operation=ProcessTask}":                                "n=3 sum=2000 min=500 max=1000 Milliseconds",
			"Success{Operation=ProcessTask}":                             "n=3 sum=3 min=1 max=1 Count",
			"LostLeases{Operation=RenewAllLeases}":                       "n=1 sum=0 min=0 max=0 Count",
			"TakenLeases{Operation=TakeLeases}":                          "n=1 sum=0 min=0 max=0 Count",
		})
		if cw.spaces[0] != "mine" {
			t.Errorf("namespace %q", cw.spaces[0])
		}
	})
}

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cw := &fakeCloudWatch{err: errors.New("no answer")}
		p, err := consumercw.New(cw, "app", &fakeWorker{}, consumercw.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Second)
		if s := p.Stats(); s.Failures != 2 || s.Dropped == 0 || s.Uploads != 0 {
			t.Errorf("%+v", s)
		}
		if err := p.Close(t.Context()); err == nil || !strings.Contains(err.Error(), `consumercw: send metrics to namespace "app": no answer`) {
			t.Errorf("Close: %v", err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("Close again: %v", err)
		}
	})
}

func TestConfig(t *testing.T) {
	_, err := consumercw.New(nil, "", nil, consumercw.Config{
		Namespace: "AWS/Kinesis", MetricsLevel: 7, MetricsBufferTime: time.Hour, MetricsEnabledDimensions: []consumercw.Dimension{"Region"},
	})
	for _, text := range []string{
		"consumercw: config: ", "application must have a name", `namespace "AWS/Kinesis"`, "MetricsLevel 7", "MetricsBufferTime 1h0m0s is outside [1s, 1m]",
		`MetricsEnabledDimensions has "Region"`, "client and source must not be nil",
	} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q in it", err, text)
		}
	}
}

// TestOfARunningWorker counts the records of a consumer.
func TestOfARunningWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t)
		srv.CreateStream(t, "orders", 1)
		c, err := consumer.New(srv.Kinesis(), memlease.New(), "app", "orders", func(*consumer.Shard) (consumer.Processor, error) {
			return consumer.ProcessorFunc(func(context.Context, *consumer.Batch) error { time.Sleep(100 * time.Millisecond); return nil }), nil
		}, consumer.Config{WorkerID: "w", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		cw := &fakeCloudWatch{}
		p, err := consumercw.New(cw, "app", c, consumercw.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := c.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		for range 3 {
			if _, err := srv.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: []byte("1234")}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		time.Sleep(5 * time.Second)
		got := cw.take(t)
		for name, value := range map[string]string{
			"RecordsProcessed{Operation=ProcessTask,ShardId=shardId-000000000000}":                    "n=3 sum=3 min=1 max=1 Count",
			"DataBytesProcessed{Operation=ProcessTask,ShardId=shardId-000000000000}":                  "n=3 sum=12 min=4 max=4 Bytes",
			"RecordProcessor.processRecords.Time{Operation=ProcessTask,ShardId=shardId-000000000000}": "n=3 sum=300 min=100 max=100 Milliseconds",
			"TakenLeases{Operation=TakeLeases,WorkerIdentifier=w}":                                    "n=1 sum=1 min=1 max=1 Count",
		} {
			if got[name] != value {
				t.Errorf("%s is %q, want %q", name, got[name], value)
			}
		}
		stop()
		<-done
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestStreams: metrics of a shard name the stream where there are several.
func TestStreams(t *testing.T) {
	const orders, returns = "123456789012:orders:5", "123456789012:returns:6"
	for _, tt := range []struct {
		name string
		dims []consumercw.Dimension
		want map[string]string
	}{
		{"all", nil, map[string]string{
			"RecordsProcessed{Operation=ProcessTask,StreamId=" + orders + ",ShardId=s}":  "n=1 sum=1 min=1 max=1 Count",
			"RecordsProcessed{Operation=ProcessTask,StreamId=" + returns + ",ShardId=s}": "n=1 sum=10 min=10 max=10 Count",
		}},
		{"without shards", []consumercw.Dimension{consumercw.StreamID}, map[string]string{
			"RecordsProcessed{Operation=ProcessTask,StreamId=" + orders + "}":  "n=1 sum=1 min=1 max=1 Count",
			"RecordsProcessed{Operation=ProcessTask,StreamId=" + returns + "}": "n=1 sum=10 min=10 max=10 Count",
		}},
		{"without streams", []consumercw.Dimension{consumercw.ShardID}, map[string]string{
			"RecordsProcessed{Operation=ProcessTask,ShardId=s}": "n=2 sum=11 min=1 max=10 Count",
		}},
		{"without either", []consumercw.Dimension{consumercw.Operation}, map[string]string{
			"RecordsProcessed{Operation=ProcessTask}": "n=2 sum=11 min=1 max=10 Count",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cw, w := &fakeCloudWatch{}, &fakeWorker{}
				p, err := consumercw.New(cw, "app", w, consumercw.Config{MetricsEnabledDimensions: tt.dims})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(500 * time.Millisecond)
				w.set(func(s *consumer.Stats) {
					for i, stream := range []string{orders, returns} {
						id, err := consumer.ParseStreamID(stream)
						if err != nil {
							t.Error(err)
						}
						s.Shards = append(s.Shards, consumer.ShardStats{ShardID: "s", Stream: id.Name, LeaseKey: consumer.LeaseKey(stream, "s"), Calls: 1, Records: int64(1 + 9*i)})
						s.Streams = append(s.Streams, consumer.StreamStats{Stream: id.Name, StreamID: id, Listed: i == 0})
					}
					s.StreamsDeleted = 3
				})
				time.Sleep(2 * time.Second)
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := cw.take(t)
				for name, v := range tt.want {
					if got[name] != v {
						t.Errorf("%s is %q, want %q; sent: %q", name, got[name], v, slices.Sorted(maps.Keys(got)))
					}
				}
				for _, name := range []string{"ActiveStreams", "StreamsPendingDeletion", "DeletedStreams"} {
					want := "n=2 sum=2 min=1 max=1 Count"
					if name == "DeletedStreams" {
						want = "n=1 sum=3 min=3 max=3 Count"
					}
					if v := got[name+".Count{Operation=MultiStreamTracker}"]; v != want {
						t.Errorf("%s.Count is %q, want %q", name, v, want)
					}
				}
			})
		})
	}
}
