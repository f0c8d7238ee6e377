package producer_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/producer"
)

// recorder is a hook of every kind that keeps what it is told.
type recorder struct {
	mu       sync.Mutex // guards all below
	put      []producer.UserRecord
	fates    []producer.Result
	batches  []producer.BatchInfo
	requests []producer.RequestInfo
	results  []producer.RequestResult
	retries  []producer.RetryInfo
	throttle []producer.RetryInfo
	maps     [][2][]producer.ShardInfo
	errors   []producer.StreamErrorInfo
	regress  []producer.RegressionInfo
	done     []producer.DoneInfo
}

type traceKey struct{}

func (h *recorder) OnPut(ctx context.Context, r producer.UserRecord) func(producer.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Data = slices.Clone(r.Data)
	if v := ctx.Value(traceKey{}); v != nil {
		r.Tag = v
	}
	h.put = append(h.put, r)
	return func(res producer.Result) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.fates = append(h.fates, res)
	}
}

func (h *recorder) OnBatchSealed(b producer.BatchInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.batches = append(h.batches, b)
}

func (h *recorder) OnRequest(ctx context.Context, r producer.RequestInfo) (context.Context, func(producer.RequestResult)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, r)
	return context.WithValue(ctx, traceKey{}, "span"), func(res producer.RequestResult) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.results = append(h.results, res)
	}
}

func (h *recorder) OnRetry(r producer.RetryInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retries = append(h.retries, r)
}

func (h *recorder) OnThrottle(r producer.RetryInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.throttle = append(h.throttle, r)
}

func (h *recorder) OnShardMap(before, after []producer.ShardInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.maps = append(h.maps, [2][]producer.ShardInfo{before, after})
}

func (h *recorder) OnStreamError(e producer.StreamErrorInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errors = append(h.errors, e)
}

func (h *recorder) OnSequenceRegression(r producer.RegressionInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.regress = append(h.regress, r)
}

func (h *recorder) OnDone(d producer.DoneInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = append(h.done, d)
}

// traced notes whether the context of requests is the hook's.
type traced struct {
	*fakeStream
	spans int
}

func (f *traced) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	if ctx.Value(traceKey{}) == "span" {
		f.mu.Lock()
		f.spans++
		f.mu.Unlock()
	}
	return f.fakeStream.PutRecords(ctx, in, opts...)
}

// TestHooks follows two records of one shard through a refused request, a throttled
// entry, and the answer at last.
func TestHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &traced{fakeStream: newFake(1)}
		n := 0
		f.onRequest = func(*kinesis.PutRecordsInput) error {
			if n++; n == 1 {
				return apiError("InternalFailure")
			}
			return nil
		}
		f.onEntry = func(*types.PutRecordsRequestEntry) string {
			if n == 2 {
				return "ProvisionedThroughputExceededException"
			}
			return ""
		}
		h := &recorder{}
		p := start(t, f, producer.Config{Hooks: []producer.Hook{h}})
		if err := p.Put(context.WithValue(t.Context(), traceKey{}, "trace"), record("k", "one"), nil); err != nil {
			t.Fatal(err)
		}
		if err := p.PutBatch(t.Context(), []producer.UserRecord{record("k", "three")}, func(producer.BatchResult) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.fates) != 2 {
				t.Errorf("the batch is done, and the hook knows of %d records", len(h.fates))
			}
		}); err != nil {
			t.Fatal(err)
		}
		closeNow(t, p)
		if err := p.TryPut(record("k", "late"), nil); !errors.Is(err, producer.ErrClosed) {
			t.Errorf("TryPut = %v", err)
		}

		if len(h.put) != 3 || h.put[0].Tag != "trace" || string(h.put[1].Data) != "three" {
			t.Errorf("put: %+v", h.put)
		}
		if len(h.fates) != 3 || h.fates[0].Err != nil || h.fates[0].Attempts != 3 || h.fates[1].SubSequenceNumber != 1 || !errors.Is(h.fates[2].Err, producer.ErrClosed) {
			t.Errorf("fates: %+v", h.fates)
		}
		if len(h.batches) != 1 || h.batches[0].UserRecords != 2 || !h.batches[0].Aggregated || h.batches[0].Stream != "stream" || h.batches[0].Age <= 0 {
			t.Errorf("batches: %+v", h.batches)
		}
		if len(h.requests) != 3 || f.spans != 3 || len(h.results) != 3 {
			t.Fatalf("%d requests, %d with the hook's context, %d results", len(h.requests), f.spans, len(h.results))
		}
		for i, r := range h.requests {
			e := r.Entries[0]
			if e.Attempt != i+1 || e.UserRecords != 2 || e.Bytes != h.batches[0].Bytes || e.ShardID != "shardId-000000000000" || e.Waited <= 0 {
				t.Errorf("request %d: %+v", i, r)
			}
		}
		if h.results[0].Err == nil || h.results[0].Entries != nil || h.results[1].Entries[0].ErrorCode != "ProvisionedThroughputExceededException" ||
			h.results[2].Err != nil || h.results[2].Entries[0].ShardID != "shardId-000000000000" || h.results[2].Duration != time.Millisecond {
			t.Errorf("results: %+v", h.results)
		}
		if len(h.retries) != 1 || h.retries[0].Attempts != 1 || h.retries[0].Err == nil || len(h.throttle) != 1 || h.throttle[0].UserRecords != 2 || !errors.Is(h.throttle[0].Err, producer.ErrThrottled) {
			t.Errorf("retries: %+v, throttled: %+v", h.retries, h.throttle)
		}
		if len(h.done) != 1 || h.done[0].UserRecords != 2 || h.done[0].DataBytes != len("onethree") || h.done[0].Attempts != 3 || h.done[0].Age < 10*time.Millisecond || h.done[0].SequenceNumber == "" || h.done[0].Err != nil {
			t.Errorf("done: %+v", h.done)
		}
		if len(h.maps) != 1 || len(h.maps[0][0]) != 0 || len(h.maps[0][1]) != 1 || h.maps[0][1][0].EndingHashKey != "340282366920938463463374607431768211455" {
			t.Errorf("maps: %+v", h.maps)
		}
	})
}

func TestHooksSeeReshardsAndFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		h := &recorder{}
		p := start(t, f, producer.Config{Hooks: []producer.Hook{h}, RecordTTL: time.Second, ShardRefreshInterval: time.Second})
		put(t, p, record("k", "d"), nil)
		time.Sleep(500 * time.Millisecond)
		f.split(0)
		time.Sleep(2 * time.Second)
		f.mu.Lock()
		f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("InternalFailure") }
		f.mu.Unlock()
		put(t, p, record("k", "lost"), nil)
		closeNow(t, p)
		if len(h.maps) != 2 || len(h.maps[1][0]) != 2 || len(h.maps[1][1]) != 3 || !reflect.DeepEqual(h.maps[1][0], h.maps[0][1]) {
			t.Errorf("maps: %+v", h.maps)
		}
		if len(h.done) != 2 || !errors.Is(h.done[1].Err, producer.ErrExpired) || h.done[1].SequenceNumber != "" || h.done[1].Attempts < 2 {
			t.Errorf("done: %+v", h.done)
		}
	})
}

// TestStreamErrors: who must act is told once, also if requests have failed for
// another reason before, and when it is over.
func TestStreamErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(4)
		denied, n := true, 0
		f.onList = func() error {
			if denied {
				return apiError("AccessDeniedException")
			}
			return nil
		}
		f.onRequest = func(*kinesis.PutRecordsInput) error {
			switch n++; {
			case n <= 2:
				return errors.New("connection reset")
			case n <= 6:
				return apiError("KMSDisabledException")
			}
			return nil
		}
		h, logs := &recorder{}, &strings.Builder{}
		p := start(t, f, producer.Config{Hooks: []producer.Hook{h}, RecordTTL: -1, Logger: textLogger(logs)})
		for i := range 40 {
			put(t, p, record(fmt.Sprint(i), "d"), nil)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(h.errors) != 1 || h.errors[0].Operation != "ListShards" || h.errors[0].Err == nil {
			t.Fatalf("without a list of shards: %+v", h.errors)
		}
		f.mu.Lock()
		denied = false
		f.mu.Unlock()
		closeNow(t, p)
		if len(h.errors) != 4 {
			t.Fatalf("%d calls: %+v", len(h.errors), h.errors)
		}
		list, refused, taken := h.errors[1], h.errors[2], h.errors[3]
		if list.Operation != "ListShards" || list.Err != nil || list.Failed < 2 {
			t.Errorf("the end of the first: %+v", list)
		}
		if refused.Operation != "PutRecords" || !strings.Contains(fmt.Sprint(refused.Err), "KMSDisabled") || refused.Failed != 0 || refused.Stream != "stream" {
			t.Errorf("the second: %+v", refused)
		}
		if taken.Operation != "PutRecords" || taken.Err != nil || taken.Failed != 6 {
			t.Errorf("the end of the second: %+v", taken)
		}
		// Two refusals, and a warning of what came before the second.
		if e, w := strings.Count(logs.String(), "level=ERROR"), strings.Count(logs.String(), "level=WARN"); e != 2 || w != 1 {
			t.Errorf("%d errors and %d warnings in the log:\n%s", e, w, logs)
		}
	})
}

// panics is a hook whose every method panics.
type panics struct{}

func (panics) OnPut(context.Context, producer.UserRecord) func(producer.Result) { panic("hook") }
func (panics) OnBatchSealed(producer.BatchInfo)                                 { panic("hook") }
func (panics) OnRequest(context.Context, producer.RequestInfo) (context.Context, func(producer.RequestResult)) {
	panic("hook")
}
func (panics) OnRetry(producer.RetryInfo)           { panic("hook") }
func (panics) OnShardMap(_, _ []producer.ShardInfo) { panic("hook") }
func (panics) OnDone(producer.DoneInfo)             { panic("hook") }

// quietHook wants to know nothing of what it is told.
type quietHook struct{}

func (quietHook) OnPut(context.Context, producer.UserRecord) func(producer.Result) { return nil }
func (quietHook) OnRequest(context.Context, producer.RequestInfo) (context.Context, func(producer.RequestResult)) {
	return nil, nil
}

func TestHooksThatPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		n := 0
		f.onRequest = func(*kinesis.PutRecordsInput) error {
			if n++; n == 1 {
				return apiError("InternalFailure")
			}
			return nil
		}
		p := start(t, f, producer.Config{Hooks: []producer.Hook{panics{}, quietHook{}}})
		if _, err := p.PutSync(t.Context(), record("k", "d")); err != nil {
			t.Error(err)
		}
		closeNow(t, p)
		// Put, sealed, two requests, retry, shard map, done.
		if s := p.Stats(); s.CallbackPanics != 7 || s.UserRecordsPut != 1 {
			t.Errorf("Stats: %+v", s)
		}
	})
}

func TestHooksThatAreNone(t *testing.T) {
	_, err := producer.New(newFake(1), "s", producer.Config{Hooks: []producer.Hook{&recorder{}, 42, nil}})
	if err == nil || !strings.Contains(err.Error(), "hook 1 of Hooks is a int") || !strings.Contains(err.Error(), "hook 2 of Hooks") || strings.Contains(err.Error(), "hook 0 of Hooks") {
		t.Errorf("New = %v", err)
	}
}

// TestAttemptHistory follows records through failures and a split.
func TestAttemptHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		n := 0
		f.onRequest = func(*kinesis.PutRecordsInput) error {
			switch n++; n {
			case 1:
				return apiError("InternalFailure")
			case 3:
				f.splitLocked(f.shards[0]) // while the request is on its way
			}
			return nil
		}
		f.onEntry = func(*types.PutRecordsRequestEntry) string {
			if n == 2 {
				return "ServiceUnavailable"
			}
			return ""
		}
		var mu sync.Mutex
		results := map[string]producer.Result{}
		begin := time.Now()
		p := start(t, f, producer.Config{AttemptHistory: true})
		for i := range 20 {
			r := record(fmt.Sprint("key-", i), "d")
			put(t, p, r, func(res producer.Result) {
				mu.Lock()
				defer mu.Unlock()
				results[r.PartitionKey] = res
			})
		}
		closeNow(t, p)
		for key, res := range results {
			var codes []string
			end := begin
			for _, a := range res.History {
				codes = append(codes, a.ErrorCode)
				if a.Start.Before(end) || a.Duration <= 0 && a.ErrorCode != "InternalFailure" || (a.ErrorCode == "") != (a.ShardID != "") {
					t.Errorf("%s: attempt %+v", key, a)
				}
				end = a.Start.Add(a.Duration)
			}
			if want := []string{"InternalFailure", "ServiceUnavailable", "", ""}; !slices.Equal(codes, want) || res.Attempts != 4 || res.Err != nil {
				t.Errorf("%s: %q after %d attempts, want %q; %v", key, codes, res.Attempts, want, res.Err)
			}
			if last := res.History[len(res.History)-1]; last.ShardID != res.ShardID {
				t.Errorf("%s: stored in %s, the last attempt in %s", key, res.ShardID, last.ShardID)
			}
		}
		if len(results) != 20 {
			t.Errorf("%d results", len(results))
		}
	})
}

func TestAttemptHistoryOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.afterStore = func() fate { return timeout }
		p := start(t, f, producer.Config{AttemptHistory: true, RequestTimeout: time.Second, RecordTTL: 3 * time.Second})
		var failed *producer.PutError
		if err := p.PutBatch(t.Context(), []producer.UserRecord{record("k", "d")}, func(r producer.BatchResult) {
			failed, _ = errors.AsType[*producer.PutError](r.Err())
		}); err != nil {
			t.Fatal(err)
		}
		closeNow(t, p)
		if failed == nil || len(failed.History) != failed.Attempts || failed.Attempts < 2 {
			t.Fatalf("failed: %+v", failed)
		}
		for _, a := range failed.History {
			if a.ErrorCode != "Timeout" || a.Duration != time.Second || a.ErrorMessage == "" {
				t.Errorf("attempt: %+v", a)
			}
		}
	})
}
