// Package cwsend sends sums of metrics to Amazon CloudWatch at intervals. What is
// measured, and under which names, is for those who use it.
package cwsend

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

const (
	// maxDatums is the metrics of one request. CloudWatch takes 1000, of at most
	// 1 MB together.
	//
	// Source: Amazon CloudWatch API Reference, PutMetricData.
	maxDatums = 500

	uploadTimeout = 30 * time.Second
)

// API is the call that is made. It should retry by itself, as the SDK's client does.
type API interface {
	PutMetricData(context.Context, *cloudwatch.PutMetricDataInput, ...func(*cloudwatch.Options)) (*cloudwatch.PutMetricDataOutput, error)
}

// Sum is what CloudWatch calls a statistic set. The zero Sum is of no values.
type Sum struct{ Count, Total, Least, Most float64 }

// Add adds a value, n times.
func (s *Sum) Add(value, n float64) {
	s.Join(Sum{Count: n, Total: value * n, Least: value, Most: value})
}

// Join adds the values of o.
func (s *Sum) Join(o Sum) {
	switch {
	case o.Count == 0:
	case s.Count == 0:
		*s = o
	default:
		*s = Sum{s.Count + o.Count, s.Total + o.Total, min(s.Least, o.Least), max(s.Most, o.Most)}
	}
}

// Datum returns the sum as CloudWatch takes it, which keeps v.
func Datum(name *string, unit types.StandardUnit, dims []types.Dimension, at time.Time, v *Sum) types.MetricDatum {
	return types.MetricDatum{
		MetricName: name, Unit: unit, Timestamp: &at, Dimensions: dims,
		StatisticValues: &types.StatisticSet{SampleCount: &v.Count, Sum: &v.Total, Minimum: &v.Least, Maximum: &v.Most},
	}
}

// Stats is what a [Sender] has done.
type Stats struct {
	Uploads  uint64 // requests that CloudWatch took
	Failures uint64 // requests that it did not take
	Datums   uint64 // metrics sent
	Dropped  uint64 // metrics of requests that failed
}

// Job is what a [Sender] does. All fields but Sample are required.
type Job struct {
	Namespace string
	Every     time.Duration              // between two uploads
	Gather    func() []types.MetricDatum // what was measured since the last call
	Logger    *slog.Logger

	// Sample is called each SampleEvery, if it is not nil, and never at the
	// same time as Gather.
	Sample      func()
	SampleEvery time.Duration
}

// Sender sends metrics until it is closed. It is safe for concurrent use.
type Sender struct {
	api API
	job Job

	mu      sync.Mutex // guards all below
	stats   Stats
	failing int // uploads in a row that failed

	cancel context.CancelFunc // ends the upload that run makes
	stop   chan struct{}      // closed by Close
	once   sync.Once          // guards the closing of stop
	done   chan struct{}      // closed when run is over
}

// Start returns a running Sender. The caller must Close it.
func Start(api API, job Job) *Sender {
	s := &Sender{api: api, job: job, stop: make(chan struct{}), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go s.run(ctx)
	return s
}

// Stats returns a snapshot.
func (s *Sender) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Close sends what was gathered since the last upload, and frees everything. If ctx
// ends before, the rest is dropped, and Close returns ctx's error. It may be called
// more than once.
func (s *Sender) Close(ctx context.Context) error {
	first := false
	s.once.Do(func() {
		first = true
		close(s.stop)
	})
	var late error
	select {
	case <-s.done:
	case <-ctx.Done():
		late = ctx.Err()
		s.cancel()
		<-s.done
	}
	s.cancel()
	if !first {
		return nil
	}
	return cmp.Or(s.upload(ctx), late)
}

func (s *Sender) run(ctx context.Context) {
	defer close(s.done)
	var sample <-chan time.Time // never, without Sample
	if s.job.Sample != nil {
		t := time.NewTicker(s.job.SampleEvery)
		defer t.Stop()
		sample = t.C
	}
	send := time.NewTicker(s.job.Every)
	defer send.Stop()
	for {
		select {
		case <-s.stop:
			return // also if an upload is due: that is Close's to make
		default:
		}
		select {
		case <-s.stop:
			return
		case <-sample:
			s.job.Sample()
		case <-send.C:
			_ = s.upload(ctx) // it has logged and counted what failed
		}
	}
}

// upload sends what was gathered. The error is that of the last request that failed.
func (s *Sender) upload(ctx context.Context) error {
	var failed error
	for datums := range slices.Chunk(s.job.Gather(), maxDatums) {
		err := s.send(ctx, datums)
		if err != nil {
			failed = fmt.Errorf("send metrics to namespace %q: %w", s.job.Namespace, err)
		}
		s.note(len(datums), err)
	}
	return failed
}

func (s *Sender) send(ctx context.Context, datums []types.MetricDatum) error {
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	_, err := s.api.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{Namespace: &s.job.Namespace, MetricData: datums})
	return err
}

// note counts a request, and logs the begin and the end of trouble.
func (s *Sender) note(datums int, err error) {
	s.mu.Lock()
	failing := s.failing
	if err != nil {
		s.failing++
		s.stats.Failures++
		s.stats.Dropped += uint64(datums)
	} else {
		s.failing = 0
		s.stats.Uploads++
		s.stats.Datums += uint64(datums)
	}
	s.mu.Unlock()
	switch {
	case err != nil && failing == 0:
		s.job.Logger.Warn("metrics are not sent, and dropped; check the permission cloudwatch:PutMetricData", slog.String("namespace", s.job.Namespace), slog.Any("err", err))
	case err == nil && failing > 0:
		s.job.Logger.Info("metrics are sent again", slog.String("namespace", s.job.Namespace), slog.Int("failed", failing))
	}
}
