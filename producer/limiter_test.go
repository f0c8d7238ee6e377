package producer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// TestAggregatesDoNotStarve writes aggregated records into a shard that takes a
// twentieth of what AWS's take, a second of it at once, beside a neighbour
// whose small records would use all of that: the shard never saves up for 51,200
// bytes.
func TestAggregatesDoNotStarve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := streamdtest.New(t, streamdtest.Limits("aws:0.05"))
		srv.CreateStream(t, "stream", 1)
		client := srv.Kinesis()
		p := start(t, client, producer.Config{RecordTTL: 30 * time.Second})
		stop := make(chan struct{})
		var neighbour sync.WaitGroup
		neighbour.Go(func() {
			data := []byte(strings.Repeat("n", 1400))
			for {
				select {
				case <-stop:
					return
				case <-time.After(25 * time.Millisecond): // 56 kB/s
				}
				// Stored or refused: the neighbour does not retry.
				_, _ = client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("stream"), PartitionKey: aws.String("n"), Data: data}, func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} })
			}
		})
		var s sink
		const records = 150 // 75 kB
		data := strings.Repeat("x", 470)
		for i := range records {
			put(t, p, record(fmt.Sprint(i%50), data), s.done)
		}
		closeNow(t, p)
		close(stop)
		neighbour.Wait()
		st := p.Stats()
		if st.UserRecordsPut != records || st.UserRecordsExpired != 0 {
			t.Errorf("%d of %d records stored, %d expired", st.UserRecordsPut, records, st.UserRecordsExpired)
		}
	})
}

// throttle makes the first shard of f take so much a second, and a second's
// worth at once. The result counts what it refused.
func throttle(f *fakeStream, records, bytes float64) (refused func() int) {
	begin, n := time.Now(), 0
	haveRecords, haveBytes := records, bytes
	var last time.Duration
	f.onEntry = func(e *types.PutRecordsRequestEntry) string {
		now := time.Since(begin)
		dt := (now - last).Seconds()
		last = now
		haveRecords = min(records, haveRecords+dt*records)
		haveBytes = min(bytes, haveBytes+dt*bytes)
		size := float64(len(e.Data) + len(*e.PartitionKey))
		if haveRecords < 1 || haveBytes < min(size, bytes) {
			n++
			return "ProvisionedThroughputExceededException"
		}
		haveRecords--
		haveBytes -= size
		return ""
	}
	return func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return n
	}
}

// TestSharesOfAShard lets several producers, each with more to send than the
// shard takes, share one shard.
func TestSharesOfAShard(t *testing.T) {
	const warm, seconds = 10, 240
	for _, tt := range []struct {
		name      string
		producers int
		part      float64 // of an ordinary shard
		size      int     // of a record
		cfg       producer.Config
		refusals  float64 // most, a second
		spread    float64 // of the shares around their mean
	}{
		{name: "one", producers: 1, part: 1, size: 8000, refusals: 0.05, spread: 0},
		{name: "four", producers: 4, part: 1, size: 8000, refusals: 2, spread: 0.2},
		{name: "four, records of their own", producers: 4, part: 0.2, size: 200, cfg: producer.Config{DisableAggregation: true}, refusals: 5, spread: 0.3},
		{name: "four at a twentieth", producers: 4, part: 0.05, size: 400, refusals: 5, spread: 0.2},
		{name: "one at a hundredth", producers: 1, part: 0.01, size: 400, refusals: 1, spread: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				refused := throttle(f, 1000*tt.part, 1<<20*tt.part)
				f.latency = func() time.Duration { return 20 * time.Millisecond }
				stop := make(chan struct{})
				counts := make([]atomic.Int64, tt.producers)
				var ps []*producer.Producer
				var callers sync.WaitGroup
				data := strings.Repeat("x", tt.size)
				for i := range tt.producers {
					cfg := tt.cfg
					cfg.RecordTTL, cfg.MaxUserRecordSize, cfg.MaxBufferedBytes = -1, 400_000, 1_000_000
					p := start(t, f, producer.Seeded(cfg, uint64(i+1)))
					ps = append(ps, p)
					done := func(r producer.Result) {
						if r.Err == nil {
							counts[i].Add(1)
						}
					}
					ctx, cancel := context.WithCancel(t.Context())
					callers.Go(func() {
						<-stop
						cancel()
					})
					callers.Go(func() {
						for n := 0; ; n++ {
							if err := p.Put(ctx, record(fmt.Sprint("key-", n%50), data), done); err != nil {
								return
							}
						}
					})
				}
				time.Sleep(warm * time.Second)
				before := make([]int64, tt.producers)
				for i := range counts {
					before[i] = counts[i].Load()
				}
				refusals := refused()
				time.Sleep(seconds * time.Second)
				var all []float64
				sum := 0.0
				for i := range counts {
					n := float64(counts[i].Load() - before[i])
					all = append(all, n)
					sum += n
				}
				refusals = refused() - refusals
				close(stop)
				callers.Wait()
				for _, p := range ps {
					if err := p.Abort(t.Context()); err != nil {
						if _, ok := errors.AsType[*producer.UnsentError](err); !ok {
							t.Errorf("Abort: %v", err)
						}
					}
				}
				limit := 1 << 20 * tt.part * seconds / float64(tt.size)
				if tt.cfg.DisableAggregation {
					limit = min(limit, 1000*tt.part*seconds)
				}
				t.Logf("goodput %.3f of the limit, shares %.2v, %d refusals", sum/limit, all, refusals)
				if sum < 0.9*limit {
					t.Errorf("goodput is %.3f of the limit, want 0.9", sum/limit)
				}
				mean := sum / float64(tt.producers)
				if slices.Min(all) < (1-tt.spread)*mean || slices.Max(all) > (1+tt.spread)*mean {
					t.Errorf("shares %v, want them within %.2f of %.0f", all, tt.spread, mean)
				}
				if float64(refusals) > tt.refusals*seconds {
					t.Errorf("%d refusals in %d s, want %.1f a second at most", refusals, seconds, tt.refusals)
				}
			})
		})
	}
}

// TestRateLimit: a ceiling that was set holds without a refusal, also for
// records larger than a second's worth; one that was not set does not exist.
func TestRateLimit(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cfg     producer.Config
		size, n int
		least   time.Duration
		most    time.Duration
	}{
		{name: "none", size: 1000, n: 16_000, most: 2 * time.Second},
		{name: "half", cfg: producer.Config{RateLimit: 50}, size: 1000, n: 16_000, least: 29 * time.Second, most: 32 * time.Second},
		{name: "records of their own", cfg: producer.Config{RateLimit: 200, DisableAggregation: true}, size: 10, n: 20_000, least: 9 * time.Second, most: 10 * time.Second},
		{
			name: "large records", cfg: producer.Config{RateLimit: 100, MaxUserRecordSize: 10 << 20, MaxBufferedBytes: 64 << 20},
			size: 8 << 20, n: 4, least: 24 * time.Second, most: 26 * time.Second, // the first is free
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				tt.cfg.RecordTTL = -1
				p := start(t, f, tt.cfg)
				begin := time.Now()
				data := strings.Repeat("x", tt.size)
				for i := range tt.n {
					put(t, p, record(fmt.Sprint("key-", i), data), nil)
				}
				closeNow(t, p)
				if took := time.Since(begin); took < tt.least || took > tt.most {
					t.Errorf("took %v, want from %v to %v", took, tt.least, tt.most)
				}
			})
		})
	}
}

// TestRefusalIsForgotten: a minute after the last refusal nothing is limited.
func TestRefusalIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		refuse := true
		f.onEntry = func(*types.PutRecordsRequestEntry) string {
			if refuse {
				return "ProvisionedThroughputExceededException"
			}
			return ""
		}
		p := start(t, f, producer.Config{RecordTTL: -1, MaxBufferedBytes: 64 << 20})
		data := strings.Repeat("x", 1000)
		burst := func() time.Duration {
			begin := time.Now()
			for i := range 8000 {
				put(t, p, record(fmt.Sprint("key-", i), data), nil)
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			return time.Since(begin)
		}
		put(t, p, record("k", "refused"), nil)
		time.Sleep(100 * time.Millisecond)
		f.mu.Lock()
		refuse = false
		f.mu.Unlock()
		if took := burst(); took < 7*time.Second {
			t.Errorf("8 MB took %v after a refusal, want the limit of a shard", took)
		}
		time.Sleep(2 * time.Minute)
		if took := burst(); took > time.Second {
			t.Errorf("8 MB took %v two minutes later, want no limit", took)
		}
		closeNow(t, p)
	})
}
