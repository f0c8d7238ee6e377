package producer_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/producer"
)

var _ producer.API = (*kinesis.Client)(nil)

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    producer.Config
		stream string
		want   []string // parts of the error; none means valid
	}{
		{name: "zero", stream: "s"},
		{name: "no stream", want: []string{"stream is empty"}},
		{
			name:   "all that is wrong at once",
			stream: "s",
			cfg:    producer.Config{CollectionMaxCount: 501, MaxConnections: -1, RecordTTL: 1, RequestTimeout: time.Hour},
			want:   []string{"CollectionMaxCount 501 is outside [1, 500]", "MaxConnections -1", "RecordTTL 1ns", "RequestTimeout 1h0m0s"},
		},
		{name: "aggregate beyond the record limit", stream: "s", cfg: producer.Config{MaxUserRecordSize: 1000, AggregationMaxSize: 1001}, want: []string{"greater than MaxUserRecordSize"}},
		{name: "small records", stream: "s", cfg: producer.Config{MaxUserRecordSize: 1000}},
		{name: "large records", stream: "s", cfg: producer.Config{MaxUserRecordSize: 10 << 20}},
		{name: "buffer too small", stream: "s", cfg: producer.Config{MaxBufferedBytes: 1 << 20}, want: []string{"MaxBufferedBytes 1048576 is less than twice"}},
		{name: "everything off", stream: "arn:aws:kinesis:eu-west-1:123456789012:stream/s", cfg: producer.Config{RecordTTL: -1, RecordMaxBufferedTime: -1, ShardRefreshInterval: -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.cfg.Logger = quiet()
				p, err := producer.New(newFake(1), tt.stream, tt.cfg)
				if (err != nil) != (len(tt.want) > 0) {
					t.Fatalf("New: %v", err)
				}
				for _, w := range tt.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("error %q does not mention %q", err, w)
					}
				}
				if err == nil {
					res, err := p.PutSync(t.Context(), record("k", "d"))
					if err != nil || res.ShardID == "" {
						t.Errorf("PutSync = %+v, %v", res, err)
					}
					closeNow(t, p)
				}
			})
		})
	}
}

func TestPutRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, newFake(1), producer.Config{})
		never := func(r producer.Result) { t.Errorf("callback of a refused record: %+v", r) }
		for _, tt := range []struct {
			name string
			r    producer.UserRecord
			want error
		}{
			{"key too long", producer.UserRecord{PartitionKey: strings.Repeat("é", 257)}, producer.ErrInvalidKey},
			{"key not UTF-8", producer.UserRecord{PartitionKey: "\xff"}, producer.ErrInvalidKey},
			{"explicit hash key", producer.UserRecord{PartitionKey: "k", ExplicitHashKey: "0x1"}, producer.ErrInvalidKey},
			{"explicit hash key too large", producer.UserRecord{PartitionKey: "k", ExplicitHashKey: "340282366920938463463374607431768211456"}, producer.ErrInvalidKey},
			{"data too large", producer.UserRecord{PartitionKey: "k", Data: make([]byte, 1<<20)}, producer.ErrTooLarge},
		} {
			if err := p.Put(t.Context(), tt.r, never); !errors.Is(err, tt.want) {
				t.Errorf("%s: Put = %v, want %v", tt.name, err, tt.want)
			}
			if err := p.TryPut(tt.r, never); !errors.Is(err, tt.want) {
				t.Errorf("%s: TryPut = %v, want %v", tt.name, err, tt.want)
			}
			if _, err := p.PutSync(t.Context(), tt.r); !errors.Is(err, tt.want) {
				t.Errorf("%s: PutSync = %v, want %v", tt.name, err, tt.want)
			}
			batch := []producer.UserRecord{record("k", "fine"), tt.r}
			if err := p.PutBatch(t.Context(), batch, func(producer.BatchResult) { t.Error("callback of a refused batch") }); !errors.Is(err, tt.want) {
				t.Errorf("%s: PutBatch = %v, want %v", tt.name, err, tt.want)
			}
			if s := tt.r.PartitionKey; len(s) > 1 && strings.Contains(fmt.Sprint(p.TryPut(tt.r, never)), s) {
				t.Errorf("%s: the error holds the key", tt.name)
			}
		}
		large := make([]producer.UserRecord, 20)
		for i := range large {
			large[i] = producer.UserRecord{PartitionKey: "k", Data: make([]byte, 1<<20-10)}
		}
		if err := p.PutBatch(t.Context(), large, nil); !errors.Is(err, producer.ErrTooLarge) {
			t.Errorf("PutBatch beyond the buffer = %v", err)
		}
		longest := producer.UserRecord{PartitionKey: strings.Repeat("é", 256), ExplicitHashKey: "340282366920938463463374607431768211455"}
		if res, err := p.PutSync(t.Context(), longest); err != nil {
			t.Errorf("PutSync of the longest key: %+v, %v", res, err)
		}
		if s := p.Stats(); s.UserRecordsReceived != 1 || s.BufferedBytes != 0 {
			t.Errorf("Stats: %+v", s)
		}
		closeNow(t, p)
	})
}

func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		stuck := true
		f.onRequest = func(*kinesis.PutRecordsInput) error {
			if stuck {
				return apiError("ThrottlingException")
			}
			return nil
		}
		p := start(t, f, producer.Config{MaxUserRecordSize: 5000, MaxBufferedBytes: 10_000, RecordTTL: -1})
		data := strings.Repeat("x", 919)
		n := 0
		for ; ; n++ {
			err := p.TryPut(record("k", data), nil)
			if errors.Is(err, producer.ErrBufferFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if n != 10 {
			t.Errorf("%d records of 1000 bytes fit into 10000", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := p.Put(ctx, record("k", data), nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("Put = %v after %v", err, time.Since(begin))
		}
		if s := p.Stats(); s.PutsBlocked != 0 || s.PutWaits != 1 {
			t.Errorf("after one Put that waited: %d blocked, %d waited", s.PutsBlocked, s.PutWaits)
		}
		// Those who wait are served in order, also when a smaller one would
		// fit first.
		var order []string
		var mu sync.Mutex
		var waiters sync.WaitGroup
		for _, w := range []struct {
			name string
			size int
		}{{"large", 4000}, {"small", 10}, {"medium", 2000}} {
			waiters.Go(func() {
				if err := p.Put(t.Context(), record("k", strings.Repeat("y", w.size)), nil); err != nil {
					t.Errorf("Put: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, w.name)
			})
			synctest.Wait()
		}
		if err := p.TryPut(record("k", ""), nil); !errors.Is(err, producer.ErrBufferFull) {
			t.Errorf("TryPut overtakes: %v", err)
		}
		if n := p.Stats().PutsBlocked; n != 3 {
			t.Errorf("%d Puts blocked, want 3", n)
		}
		f.mu.Lock()
		stuck = false
		f.mu.Unlock()
		waiters.Wait()
		closeNow(t, p)
		if s := p.Stats(); s.UserRecordsPut != 13 || s.BufferedBytes != 0 || s.PutsBlocked != 0 || s.PutWaits != 4 {
			t.Errorf("Stats: %+v", s)
		}
		if len(order) != 3 {
			t.Errorf("served %v", order)
		}
	})
}

// TestStalledStreamKeepsBounds: the stream answers nothing for five minutes,
// then everything; memory stays within the budget and all arrives in order.
func TestStalledStreamKeepsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(4)
		begin := time.Now()
		f.latency = func() time.Duration {
			if left := 5*time.Minute - time.Since(begin); left > 0 && left < 299*time.Second {
				return time.Hour // until the timeout
			}
			return 10 * time.Millisecond
		}
		p := start(t, f, producer.Config{RecordTTL: -1, MaxUserRecordSize: 10_000, MaxBufferedBytes: 100_000})
		led := newLedger()
		var wg sync.WaitGroup
		for c := range 3 {
			wg.Go(func() {
				for i := range 1000 {
					data := payload(fmt.Sprint("caller-", c), i+1) + "|" + strings.Repeat("x", 400)
					led.accept(data)
					if err := p.Put(t.Context(), record(fmt.Sprint("caller-", c), data), func(r producer.Result) { led.report(data, r) }); err != nil {
						t.Errorf("Put: %v", err)
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		time.Sleep(4 * time.Minute)
		s := p.Stats()
		if s.BufferedBytes > 100_000 || s.BufferedBytes < 90_000 || s.Requests > 500 {
			t.Errorf("in the stall: %d bytes buffered, %d requests", s.BufferedBytes, s.Requests)
		}
		wg.Wait()
		closeNow(t, p)
		check(t, f, led, p.Stats(), true, true)
		if took := time.Since(begin); took > 6*time.Minute {
			t.Errorf("recovered after %v", took)
		}
	})
}

func TestPutSyncDoesNotLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		p := start(t, f, producer.Config{RecordMaxBufferedTime: time.Second})
		if _, err := p.PutSync(t.Context(), record("k", "first")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		res, err := p.PutSync(t.Context(), record("k", "second"))
		if took := time.Since(begin); err != nil || took > 10*time.Millisecond {
			t.Errorf("PutSync took %v, %v", took, err)
		}
		if res.SubSequenceNumber != 0 || res.Aggregated || res.Attempts != 1 || res.ShardID != "shardId-000000000000" {
			t.Errorf("result %+v", res)
		}
		var at time.Duration
		begin = time.Now()
		put(t, p, record("k", "third"), func(producer.Result) { at = time.Since(begin) })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if at < time.Second || at > 1010*time.Millisecond {
			t.Errorf("Put's record was reported after %v, want the linger of 1 s", at)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.PutSync(ctx, record("k", "fourth")); !errors.Is(err, context.Canceled) {
			t.Errorf("PutSync = %v", err)
		}
		closeNow(t, p)
	})
}

func TestFlushCutsLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(3)
		p := start(t, f, producer.Config{RecordMaxBufferedTime: time.Hour, RecordTTL: -1})
		loadMap(t, p, newLedger()) // what waits for the map does not linger after it
		var n atomic.Int64
		for i := range 30 {
			put(t, p, record(fmt.Sprint(i), "x"), func(producer.Result) { n.Add(1) })
		}
		begin := time.Now()
		if err := p.Flush(t.Context()); err != nil || n.Load() != 30 || time.Since(begin) > time.Second {
			t.Errorf("Flush = %v after %v, %d callbacks", err, time.Since(begin), n.Load())
		}
		// What was put after the flush lingers again, and does not hold up a
		// flush of nothing.
		put(t, p, record("late", "x"), nil)
		time.Sleep(time.Minute)
		if s := p.Stats(); s.UserRecordsPending != 1 {
			t.Errorf("%d records pending, want 1", s.UserRecordsPending)
		}
		f.mu.Lock()
		f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("ThrottlingException") }
		f.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush of a stuck stream = %v", err)
		}
		f.mu.Lock()
		f.onRequest = nil
		f.mu.Unlock()
		closeNow(t, p)
		if err := p.Flush(t.Context()); !errors.Is(err, producer.ErrClosed) {
			t.Errorf("Flush after Close = %v", err)
		}
	})
}

// TestFlushThatEndsEarly: a lane that a Flush made ready, and that found no
// connection before the Flush ended, is sent when its linger is over.
func TestFlushThatEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		var slow atomic.Bool
		f.latency = func() time.Duration {
			if slow.Load() {
				return 2 * time.Second
			}
			return time.Millisecond
		}
		p := start(t, f, producer.Config{MaxConnections: 1, CollectionMaxCount: 1, RecordMaxBufferedTime: 5 * time.Second})
		loadMap(t, p, newLedger())
		slow.Store(true)
		var s sink
		put(t, p, record("a", "in the first shard"), s.done)
		put(t, p, record("b", "in the second"), s.done)
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			if err := p.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Flush = %v", err)
			}
			cancel()
			put(t, p, record("b", "more"), s.done)
		}
		time.Sleep(20 * time.Second)
		if n := len(s.errors()); n != 4 {
			t.Errorf("%d of 4 records were reported", n)
		}
		closeNow(t, p)
	})
}

// TestCloseRace: every Put that returns nil has one callback, whatever Close
// does at the same time.
func TestCloseRace(t *testing.T) {
	for _, how := range []string{"Close", "Close cut short", "Abort"} {
		t.Run(how, func(t *testing.T) {
			for i := range 30 {
				synctest.Test(t, func(t *testing.T) {
					f := newFake(3)
					p := start(t, f, producer.Config{MaxUserRecordSize: 100, MaxBufferedBytes: 5000, RecordTTL: -1})
					var accepted, reported, failed atomic.Int64
					var callers sync.WaitGroup
					for c := range 4 {
						callers.Go(func() {
							for n := 0; ; n++ {
								k := int64(1)
								var err error
								if n%3 == 0 {
									k = 3
									err = p.PutBatch(t.Context(), []producer.UserRecord{record("a", "1"), record("b", "2"), record("c", "3")}, func(b producer.BatchResult) {
										reported.Add(int64(b.Records))
										failed.Add(int64(len(b.Failed)))
										if err := b.Err(); err != nil && !errors.Is(err, producer.ErrClosed) {
											t.Errorf("batch failed: %v", err)
										}
									})
								} else {
									err = p.Put(t.Context(), record(fmt.Sprint(c, n), "x"), func(r producer.Result) {
										reported.Add(1)
										if r.Err != nil {
											failed.Add(1)
											if !errors.Is(r.Err, producer.ErrClosed) {
												t.Errorf("record failed: %v", r.Err)
											}
										}
									})
								}
								if err != nil {
									if !errors.Is(err, producer.ErrClosed) {
										t.Errorf("Put: %v", err)
									}
									return
								}
								accepted.Add(k)
							}
						})
					}
					time.Sleep(time.Duration(i) * time.Millisecond / 2)
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%5)*time.Millisecond)
					defer cancel()
					var err error
					switch how {
					case "Close":
						err = p.Close(t.Context())
					case "Close cut short":
						err = p.Close(ctx)
					case "Abort":
						err = p.Abort(t.Context())
					}
					callers.Wait()
					if accepted.Load() != reported.Load() {
						t.Errorf("%d accepted, %d reported", accepted.Load(), reported.Load())
					}
					var unsent int64
					if ue, ok := errors.AsType[*producer.UnsentError](err); ok {
						unsent = ue.Records
					} else if err != nil {
						t.Errorf("%s: %v", how, err)
					}
					if unsent != failed.Load() || how == "Close" && unsent > 0 {
						t.Errorf("%d unsent, %d failed", unsent, failed.Load())
					}
					if s := p.Stats(); s.BufferedBytes != 0 || s.UserRecordsPending != 0 {
						t.Errorf("Stats after the end: %+v", s)
					}
				})
			}
		})
	}
}

// TestCloseOfStuckStream: at the end of ctx what is left fails, in flight or
// not, with or without a shard map; a second Close says the same.
func TestCloseOfStuckStream(t *testing.T) {
	for _, mapless := range []bool{false, true} {
		t.Run(fmt.Sprint("mapless=", mapless), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(2)
				if mapless {
					f.onList = func() error { return apiError("ResourceNotFoundException") }
				}
				f.afterStore = func() fate { return timeout }
				p := start(t, f, producer.Config{RecordTTL: -1})
				var s sink
				for i := range 100 {
					put(t, p, record(fmt.Sprint(i), "x"), s.done)
				}
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				err := p.Close(ctx)
				ue, ok := errors.AsType[*producer.UnsentError](err)
				if !ok || ue.Records != 100 || ue.Bytes < 100*80 || !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 2*time.Second {
					t.Errorf("Close = %v after %v", err, time.Since(begin))
				}
				for _, err := range s.errors() {
					if !errors.Is(err, producer.ErrClosed) {
						t.Fatalf("result %v, want ErrClosed", err)
					}
				}
				if len(s.results) != 100 {
					t.Errorf("%d results", len(s.results))
				}
				if _, ok := errors.AsType[*producer.UnsentError](p.Close(t.Context())); !ok {
					t.Error("the second Close reports nothing")
				}
				if err := p.Put(t.Context(), record("k", "x"), nil); !errors.Is(err, producer.ErrClosed) {
					t.Errorf("Put after Close = %v", err)
				}
				if err := p.TryPut(record("k", "x"), nil); !errors.Is(err, producer.ErrClosed) {
					t.Errorf("TryPut after Close = %v", err)
				}
			})
		})
	}
}

func TestPutWaitingForSpaceGivesUpAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("ThrottlingException") }
		p := start(t, f, producer.Config{MaxUserRecordSize: 1000, MaxBufferedBytes: 2000, RecordTTL: time.Second})
		put(t, p, record("k", strings.Repeat("x", 900)), nil)
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { err = p.Put(t.Context(), record("k", strings.Repeat("x", 999)), nil) })
		synctest.Wait()
		closeNow(t, p)
		wg.Wait()
		if !errors.Is(err, producer.ErrClosed) {
			t.Errorf("Put = %v", err)
		}
	})
}

// TestCallbacks: a panic is contained, a slow callback holds up its own shard
// only, and one may put.
func TestCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		p := start(t, f, producer.Config{MaxConnections: 1})
		release := make(chan struct{})
		var slow, quick, nested atomic.Int64
		// "a" is in the first shard, "b" in the second; both in one request.
		put(t, p, record("a", "1"), func(producer.Result) { <-release; slow.Add(1) })
		put(t, p, record("b", "1"), func(producer.Result) { panic("a bug of the application") })
		put(t, p, record("b", "2"), func(producer.Result) {
			if err := p.TryPut(record("b", "3"), func(producer.Result) { nested.Add(1) }); err != nil {
				t.Errorf("TryPut: %v", err)
			}
		})
		time.Sleep(time.Second)
		put(t, p, record("a", "2"), func(producer.Result) { slow.Add(1) })
		put(t, p, record("b", "4"), func(producer.Result) { quick.Add(1) })
		time.Sleep(time.Second)
		if slow.Load() != 0 || quick.Load() != 1 || nested.Load() != 1 {
			t.Errorf("callbacks: %d of the slow shard, %d of the other, %d nested", slow.Load(), quick.Load(), nested.Load())
		}
		close(release)
		closeNow(t, p)
		if s := p.Stats(); slow.Load() != 2 || s.CallbackPanics != 1 || s.UserRecordsPut != 6 {
			t.Errorf("slow %d, Stats %+v", slow.Load(), s)
		}
	})
}

func TestPutBatchReportsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(4)
		f.onRequest = func(in *kinesis.PutRecordsInput) error {
			for i := range in.Records {
				if strings.Contains(string(in.Records[i].Data), "poison") {
					return apiError("ValidationException")
				}
			}
			return nil
		}
		p := start(t, f, producer.Config{})
		batch := make([]producer.UserRecord, 50)
		for i := range batch {
			batch[i] = record(fmt.Sprint(i), fmt.Sprint("data ", i))
		}
		batch[40].Data, batch[7].Data = []byte("poison"), []byte("more poison")
		var got []producer.BatchResult
		if err := p.PutBatch(t.Context(), batch, func(b producer.BatchResult) { got = append(got, b) }); err != nil {
			t.Fatal(err)
		}
		clear(batch) // the slice is the caller's again
		if err := p.PutBatch(t.Context(), nil, func(b producer.BatchResult) { got = append(got, b) }); err != nil {
			t.Fatal(err)
		}
		closeNow(t, p)
		if len(got) != 2 || got[0].Records != 0 || got[1].Records != 50 || len(got[1].Failed) != 2 ||
			got[1].Failed[0].Index != 7 || got[1].Failed[1].Index != 40 || got[1].Err() == nil {
			t.Errorf("results %+v", got)
		}
	})
}

// TestPutBatchWithoutKeys: records without a key fill one aggregated record after the
// other, in order, between others that have a key.
func TestPutBatchWithoutKeys(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  producer.Config
		want []int // user records in each Kinesis record, of those without a key
	}{
		{"by size", producer.Config{AggregationMaxSize: 100_000}, []int{9, 9, 9, 9, 4}},
		{"by count", producer.Config{AggregationMaxCount: 15, AggregationMaxSize: 200_000}, []int{15, 15, 10}},
		{"with stamps", producer.Config{AggregationMaxSize: 100_000, DuplicateStamps: true}, []int{9, 9, 9, 9, 4}},
		{"alone", producer.Config{DisableAggregation: true}, slices.Repeat([]int{1}, 40)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(4)
				p := start(t, f, tt.cfg)
				if _, err := p.PutSync(t.Context(), record("k", "the shards are known")); err != nil {
					t.Fatal(err)
				}
				batch := make([]producer.UserRecord, 0, 42)
				for i := range 40 {
					if i == 0 || i == 20 {
						batch = append(batch, record("k", fmt.Sprint("keyed ", i)))
					}
					batch = append(batch, producer.UserRecord{Data: fmt.Appendf(nil, "%02d%s", i, strings.Repeat("x", 9_998))})
				}
				var got []producer.BatchResult
				if err := p.PutBatch(t.Context(), batch, func(b producer.BatchResult) { got = append(got, b) }); err != nil {
					t.Fatal(err)
				}
				clear(batch)
				closeNow(t, p)
				if len(got) != 1 || got[0].Records != 42 || got[0].Err() != nil {
					t.Errorf("results %+v", got)
				}
				if s := p.Stats(); s.UserRecordsReceived != 43 || s.UserRecordsPut != 43 || s.UserRecordsPending != 0 || s.BufferedBytes != 0 {
					t.Errorf("Stats %+v", s)
				}
				together := map[string][]string{} // by Kinesis record
				var all []string
				for _, r := range f.readAll() {
					if r.discarded {
						t.Errorf("record %.9q is outside of its shard", r.data)
					}
					if len(r.data) == 10_000 {
						id := r.shard + r.seq
						together[id] = append(together[id], r.data[:2])
						all = append(all, r.data[:2])
					}
				}
				slices.Sort(all)
				if len(all) != 40 || len(slices.Compact(all)) != 40 {
					t.Errorf("stored %q", all)
				}
				var counts []int
				for _, rs := range slices.SortedFunc(maps.Values(together), slices.Compare) {
					counts = append(counts, len(rs))
					if !slices.IsSorted(rs) {
						t.Errorf("one Kinesis record holds %q", rs)
					}
				}
				if !slices.Equal(counts, tt.want) {
					t.Errorf("Kinesis records hold %d records, want %d", counts, tt.want)
				}
			})
		})
	}
}
