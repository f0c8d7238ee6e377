package producer_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/producer"
)

// TestServerThatHangs: the server takes requests for ten minutes and answers
// none, nor does it list shards. Memory stays at the budget, hardly anything is
// asked, and afterwards all is stored in order.
func TestServerThatHangs(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  producer.Config
		size int           // of a record
		back time.Duration // most, until all is stored
	}{
		{name: "small records", size: 100, back: 10 * time.Second},
		{name: "large records", size: 20_000, back: 10 * time.Second},
		{name: "records of their own", size: 1000, cfg: producer.Config{DisableAggregation: true}, back: 30 * time.Second},
		{name: "unordered", size: 1000, cfg: producer.Config{Order: producer.Unordered}, back: 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const budget = 8 << 20
				const stall = 10 * time.Minute
				f := newFake(4)
				var begin time.Time
				f.latency = func() time.Duration {
					if since := time.Since(begin); !begin.IsZero() && since < stall {
						return time.Hour
					}
					return 10 * time.Millisecond
				}
				tt.cfg.RecordTTL, tt.cfg.MaxBufferedBytes, tt.cfg.ShardRefreshInterval = -1, budget, 30*time.Second
				p := start(t, f, tt.cfg)
				loadMap(t, p, newLedger())
				var stored, wrong, accepted atomic.Int64
				var last [8]uint8 // of each caller's key; a key's callbacks come one by one
				data := []byte(strings.Repeat("x", tt.size))
				stop := make(chan struct{})
				var callers sync.WaitGroup
				before := heap()
				f.mu.Lock()
				f.requests = 0
				begin = time.Now()
				f.mu.Unlock()
				for c := range last {
					key := fmt.Sprint("key-", c)
					done := func(r producer.Result) {
						if r.Err != nil || last[c] != r.Tag.(uint8)-1 && tt.cfg.Order == producer.PerKey {
							wrong.Add(1)
						}
						last[c] = r.Tag.(uint8)
						stored.Add(1)
					}
					callers.Go(func() {
						for n := 1; ; n++ {
							select {
							case <-stop:
								return
							case <-time.After(time.Millisecond):
							}
							err := p.Put(t.Context(), producer.UserRecord{PartitionKey: key, Data: data, Tag: uint8(n)}, done)
							if err != nil {
								t.Errorf("Put: %v", err)
								return
							}
							accepted.Add(1)
						}
					})
				}
				time.Sleep(stall - time.Second)
				used := heap() - before
				st := p.Stats()
				if st.BufferedBytes > budget || st.BufferedBytes < budget*9/10 || stored.Load() != 0 {
					t.Errorf("%d bytes buffered of %d, %d records stored", st.BufferedBytes, budget, stored.Load())
				}
				t.Logf("%d records are buffered, %d bytes of heap more than before, %d requests", accepted.Load(), used, st.Requests)
				if used > budget*6/5 {
					t.Errorf("%d bytes of heap for a budget of %d", used, budget)
				}
				// Four shards, six seconds each, and the backoff between.
				f.mu.Lock()
				requests := f.requests
				f.mu.Unlock()
				if requests > 500 || st.MapFailures+st.MapRefreshes > 120 {
					t.Errorf("%d requests, %d lists of shards in ten minutes", requests, st.MapFailures+st.MapRefreshes)
				}
				time.Sleep(time.Second + tt.back)
				if n := stored.Load(); n < st.UserRecordsPending {
					t.Errorf("%d of %d records are stored %v after the end", n, st.UserRecordsPending, tt.back)
				}
				close(stop)
				callers.Wait()
				closeNow(t, p)
				if wrong.Load() > 0 || stored.Load() != accepted.Load() {
					t.Errorf("%d of %d records stored, %d of them failed or out of turn", stored.Load(), accepted.Load(), wrong.Load())
				}
				if st := p.Stats(); st.BufferedBytes != 0 || st.UserRecordsPending != 0 || st.SequenceRegressions != 0 {
					t.Errorf("Stats at the end: %+v", st)
				}
			})
		})
	}
}

// weighed is a fake that knows how many bytes are under way to it.
type weighed struct {
	*fakeStream
	wmu       sync.Mutex // guards all below
	now, most int
}

func (w *weighed) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	n := 0
	for i := range in.Records {
		n += len(in.Records[i].Data)
	}
	add := func(n int) {
		w.wmu.Lock()
		defer w.wmu.Unlock()
		w.now += n
		w.most = max(w.most, w.now)
	}
	add(n)
	defer add(-n)
	return w.fakeStream.PutRecords(ctx, in, opts...)
}

// TestBytesInFlight: however many shards have full aggregated records, an eighth of the
// memory is under way at most, and not much less.
func TestBytesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &weighed{fakeStream: newFake(64)}
		w.latency = func() time.Duration { return 100 * time.Millisecond }
		const budget = 8 << 20
		p := start(t, w, producer.Config{RecordTTL: -1, MaxBufferedBytes: budget, CollectionMaxSize: 200_000})
		data := strings.Repeat("x", 1000)
		for i := range 30_000 {
			put(t, p, record(fmt.Sprint("key-", i%5000), data), nil)
		}
		closeNow(t, p)
		if w.most > budget/8 || w.most < budget/10 {
			t.Errorf("%d bytes were in flight, of %d", w.most, budget)
		}
	})
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what a pool let go of in the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestCloseInTime: whatever the server does, Close with a deadline returns at
// it, with exact counts, after each callback has run once.
func TestCloseInTime(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(f *fakeStream)
		cfg  producer.Config
	}{
		{name: "no answers", set: func(f *fakeStream) { f.latency = func() time.Duration { return time.Hour } }},
		{name: "refused", set: func(f *fakeStream) { f.onRequest = refuseAll("AccessDeniedException") }},
		{name: "throttled", set: func(f *fakeStream) { throttle(f, 1, 100) }},
		{name: "throttled, records of their own", set: func(f *fakeStream) { throttle(f, 1, 100) }, cfg: producer.Config{DisableAggregation: true}},
		{name: "answers lost", set: func(f *fakeStream) { f.afterStore = func() fate { return timeout } }},
		{name: "shards that do not explain", set: func(f *fakeStream) {
			f.onList = func() error { return apiError("LimitExceededException") }
			f.splitLocked(f.shards[0])
		}},
		{name: "unordered", set: func(f *fakeStream) { f.latency = func() time.Duration { return time.Hour } }, cfg: producer.Config{Order: producer.Unordered}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(2)
				tt.cfg.RecordTTL = -1
				p := start(t, f, tt.cfg)
				loadMap(t, p, newLedger())
				f.mu.Lock()
				tt.set(f)
				f.mu.Unlock()
				const records = 2000
				reports := make([]int, records)
				var mu sync.Mutex
				failed := int64(0)
				for i := range records {
					put(t, p, producer.UserRecord{PartitionKey: fmt.Sprint("key-", i%50), Data: []byte("some data"), Tag: i}, func(r producer.Result) {
						mu.Lock()
						defer mu.Unlock()
						reports[r.Tag.(int)]++
						if r.Err != nil {
							failed++
							if !errors.Is(r.Err, producer.ErrClosed) {
								t.Errorf("result %v", r.Err)
							}
						}
					})
				}
				time.Sleep(3 * time.Second)
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
				defer cancel()
				err := p.Close(ctx)
				if took := time.Since(begin); took != 1500*time.Millisecond {
					t.Errorf("Close took %v, want the 1.5 s of its ctx", took)
				}
				ue, ok := errors.AsType[*producer.UnsentError](err)
				if !ok || ue.Records != failed || failed == 0 {
					t.Errorf("Close = %v, and %d records failed", err, failed)
				}
				for i, n := range reports {
					if n != 1 {
						t.Fatalf("record %d was reported %d times", i, n)
					}
				}
				st := p.Stats()
				if st.UserRecordsPut+st.UserRecordsFailed != records+1 || int64(st.UserRecordsFailed) != failed || st.BufferedBytes != 0 || st.RequestsInFlight != 0 {
					t.Errorf("Stats: %+v", st)
				}
			}) // and a goroutine that is left fails the bubble
		})
	}
}
