package firehose_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	awsfirehose "github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/producer/firehose"
)

// times returns a fault that comes n times.
func times(n int, err error) func(*awsfirehose.PutRecordBatchInput) error {
	return func(*awsfirehose.PutRecordBatchInput) error {
		if n == 0 {
			return nil
		}
		n--
		return err
	}
}

// TestRequestFaults has requests fail twice, and says what the record's fate is.
func TestRequestFaults(t *testing.T) {
	tooLarge := &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: http.StatusRequestEntityTooLarge}}, Err: errors.New("no JSON")}
	for _, tt := range []struct {
		name     string
		err      error
		cfg      firehose.Config
		code     string // that it is counted under
		attempts int
		fails    error // nil: stored in the end
		within   time.Duration
	}{
		{name: "throttled", err: apiError("ServiceUnavailableException"), code: "ServiceUnavailableException", attempts: 3, within: 500 * time.Millisecond},
		{name: "throttled by the gate", err: apiError("ThrottlingException"), code: "ThrottlingException", attempts: 3, within: 500 * time.Millisecond},
		{name: "server fault", err: apiError("InternalFailure"), code: "InternalFailure", attempts: 3, within: 500 * time.Millisecond},
		{name: "unknown", err: apiError("SurpriseException"), code: "SurpriseException", attempts: 3, within: 500 * time.Millisecond},
		{name: "reset", err: errors.New("connection reset"), code: "Transport", attempts: 3, within: 500 * time.Millisecond},
		{name: "not there yet", err: apiError("ResourceNotFoundException"), code: "ResourceNotFoundException", attempts: 3, within: 5 * time.Second},
		{name: "throttled, to fail", err: apiError("ServiceUnavailableException"), cfg: firehose.Config{FailIfThrottled: true}, code: "ServiceUnavailableException", attempts: 1, fails: producer.ErrThrottled},
		{name: "refused for what it holds", err: apiError("InvalidArgumentException"), code: "InvalidArgumentException", attempts: 1, fails: apiError("InvalidArgumentException")},
		{name: "refused by a proxy", err: tooLarge, code: "RequestEntityTooLarge", attempts: 1, fails: tooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeDelivery{onRequest: times(2, tt.err)}
				p := start(t, f, tt.cfg)
				defer closeNow(t, p)
				begin := time.Now()
				var res producer.Result
				if err := p.Put(t.Context(), record("a"), func(r producer.Result) { res = r }); err != nil {
					t.Fatal(err)
				}
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if res.Attempts != tt.attempts || (res.Err != nil) != (tt.fails != nil) {
					t.Errorf("result %+v, want %d attempts", res, tt.attempts)
				}
				if e, ok := errors.AsType[smithy.APIError](tt.fails); ok {
					if got, ok := errors.AsType[smithy.APIError](res.Err); !ok || got.ErrorCode() != e.ErrorCode() {
						t.Errorf("error %v does not wrap %v", res.Err, tt.fails)
					}
				} else if tt.fails != nil && !errors.Is(res.Err, tt.fails) {
					t.Errorf("error %v does not wrap %v", res.Err, tt.fails)
				}
				if pe, ok := errors.AsType[*producer.PutError](res.Err); tt.fails != nil && (!ok || pe.Stream != "delivery" || pe.Attempts != tt.attempts) {
					t.Errorf("error %#v is no PutError of it", res.Err)
				}
				if took := time.Since(begin); took > tt.within {
					t.Errorf("finished after %v, want %v at most", took, tt.within)
				}
				s := p.Stats()
				if n := s.ErrorsByCode[tt.code]; len(s.ErrorsByCode) != 1 || n != uint64(min(2, tt.attempts)) {
					t.Errorf("errors %v, want of %s", s.ErrorsByCode, tt.code)
				}
				if s.Paused || s.RequestsInFlight != 0 || s.Requests != uint64(tt.attempts) || s.Retries != uint64(tt.attempts-1) {
					t.Errorf("Stats: %+v", s)
				}
			})
		})
	}
}

// TestAnswersLost: what was stored and not acknowledged is sent again, as it was.
func TestAnswersLost(t *testing.T) {
	for name, lost := range map[string]fate{"timeout": timeout, "reset": reset, "an entry too few": short} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				f := &fakeDelivery{afterStore: func() fate {
					if n++; n == 1 {
						return lost
					}
					return answer
				}}
				p := start(t, f, firehose.Config{})
				reports := 0
				if err := p.PutBatch(t.Context(), []producer.UserRecord{record("a"), record("b")}, func(r producer.BatchResult) {
					reports++
					if r.Err() != nil {
						t.Errorf("result: %+v", r)
					}
				}); err != nil {
					t.Fatal(err)
				}
				closeNow(t, p)
				if got := strings.Join(f.stored(), "|"); got != "a\nb\n|a\nb\n" || reports != 1 {
					t.Errorf("stored %q, %d reports", got, reports)
				}
			})
		})
	}
}

// TestPartialFailure: of a request only what was refused is sent again, and the
// rest of the stream does not wait for it.
func TestPartialFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusals := 3
		f := &fakeDelivery{onRecord: func(data []byte) string {
			if string(data) == "b\n" && refusals > 0 {
				refusals--
				return "InternalFailure"
			}
			return ""
		}}
		p := start(t, f, firehose.Config{DisableAggregation: true})
		begin := time.Now()
		var attempts [3]int
		var rest time.Duration
		for i, data := range []string{"a", "b", "c"} {
			if err := p.Put(t.Context(), record(data), func(r producer.Result) {
				if r.Err != nil {
					t.Errorf("result: %+v", r)
				}
				attempts[i] = r.Attempts
			}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if err := p.Put(t.Context(), record("d"), func(producer.Result) { rest = time.Since(begin) }); err != nil {
			t.Fatal(err)
		}
		closeNow(t, p)
		if attempts != [3]int{1, 4, 1} || rest != 0 {
			t.Errorf("attempts %v, and the next record was stored after %v", attempts, rest)
		}
		if s := p.Stats(); s.Retries != 3 || s.ErrorsByCode["InternalFailure"] != 3 || s.KinesisRecordsPut != 4 {
			t.Errorf("Stats: %+v", s)
		}
	})
}

// TestPoison: what the service refuses for what it holds is found, alone, among
// many records and in a packed one.
func TestPoison(t *testing.T) {
	for _, cfg := range []firehose.Config{{}, {DisableAggregation: true}, {AggregationMaxCount: 3}} {
		t.Run(fmt.Sprint(cfg.AggregationMaxCount, cfg.DisableAggregation), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeDelivery{onRequest: func(in *awsfirehose.PutRecordBatchInput) error {
					for i := range in.Records {
						if bytes.Contains(in.Records[i].Data, []byte("poison")) {
							return apiError("InvalidArgumentException")
						}
					}
					return nil
				}}
				p := start(t, f, cfg)
				var rs []producer.UserRecord
				for i := range 100 {
					data := fmt.Sprint(i)
					if i == 41 || i == 42 {
						data = "poison"
					}
					rs = append(rs, record(data))
				}
				if err := p.PutBatch(t.Context(), rs, func(r producer.BatchResult) {
					if len(r.Failed) != 2 || r.Failed[0].Index != 41 || r.Failed[1].Index != 42 {
						t.Errorf("result: %+v", r)
					}
				}); err != nil {
					t.Fatal(err)
				}
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n := strings.Count(strings.Join(f.stored(), ""), "\n"); n != 98 {
					t.Errorf("%d records stored, want 98", n)
				}
				closeNow(t, p)
				if s := p.Stats(); s.UserRecordsPut != 98 || s.UserRecordsFailed != 2 || s.BufferedBytes != 0 {
					t.Errorf("Stats: %+v", s)
				}
			})
		})
	}
}

// TestPaused: a delivery stream that refuses all for ten minutes is probed now and
// then, one request at a time, and takes everything afterwards.
func TestPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		f := &fakeDelivery{latency: 10 * time.Millisecond}
		f.onRequest = func(*awsfirehose.PutRecordBatchInput) error {
			if time.Since(begin) < 10*time.Minute {
				return apiError("AccessDeniedException")
			}
			return nil
		}
		var log bytes.Buffer
		p := start(t, f, firehose.Config{RecordTTL: -1, AggregationMaxSize: 1000, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for range 5000 {
			if err := p.Put(t.Context(), record(strings.Repeat("x", 100)), nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(9 * time.Minute)
		if s := p.Stats(); !s.Paused || s.Requests < 20 || s.Requests > 100 || s.UserRecordsPending != 5000 {
			t.Errorf("in the pause: %+v", s)
		}
		time.Sleep(90 * time.Second)
		if s := p.Stats(); s.Paused || s.UserRecordsPut != 5000 {
			t.Errorf("after the pause: %+v", s)
		}
		closeNow(t, p)
		if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "firehose:PutRecordBatch") || !strings.Contains(log.String(), "again") {
			t.Errorf("log:\n%s", log.String())
		}
	})
}

// TestOutage: a delivery stream that is out of service for five minutes takes what
// has gathered within seconds afterwards.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		f := &fakeDelivery{latency: 20 * time.Millisecond}
		f.onRequest = func(*awsfirehose.PutRecordBatchInput) error {
			if at := time.Since(begin); at > 10*time.Second && at < 5*time.Minute {
				return apiError("ServiceUnavailableException")
			}
			return nil
		}
		p := start(t, f, firehose.Config{RecordTTL: -1})
		r := record(strings.Repeat("x", 10_000))
		if _, err := p.PutSync(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		for p.TryPut(r, nil) == nil {
		}
		time.Sleep(270 * time.Second)
		if s := p.Stats(); s.BufferedBytes > 16<<20 || s.BufferedBytes < 15<<20 || s.Requests > 1000 {
			t.Errorf("out of service: %+v", s)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 5*time.Minute+6*time.Second {
			t.Errorf("recovered after %v", took)
		}
		closeNow(t, p)
	})
}

func TestExpiry(t *testing.T) {
	for _, tt := range []struct {
		name string
		code string
	}{{"throttled", "ServiceUnavailableException"}, {"paused", "ResourceNotFoundException"}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeDelivery{onRequest: times(-1, apiError(tt.code))}
				p := start(t, f, firehose.Config{RecordTTL: 10 * time.Second})
				begin := time.Now()
				_, err := p.PutSync(t.Context(), record("a"))
				e, ok := errors.AsType[smithy.APIError](err)
				if !errors.Is(err, producer.ErrExpired) || !ok || e.ErrorCode() != tt.code {
					t.Errorf("PutSync = %v, want ErrExpired for %s", err, tt.code)
				}
				if took := time.Since(begin); took < 10*time.Second || took > 10*time.Second+time.Millisecond {
					t.Errorf("expired after %v", took)
				}
				closeNow(t, p)
				if s := p.Stats(); s.UserRecordsExpired != 1 || s.UserRecordsFailed != 1 || s.BufferedBytes != 0 {
					t.Errorf("Stats: %+v", s)
				}
			})
		})
	}
}

// TestCloseOfStuckStream: at the end of ctx every record is reported, and counted.
func TestCloseOfStuckStream(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fake  func(f *fakeDelivery)
		close func(p *firehose.Producer, ctx context.Context) error
		takes time.Duration
	}{
		{"hangs", func(f *fakeDelivery) { f.hold = make(chan struct{}) }, (*firehose.Producer).Close, 2 * time.Second},
		{"throttled", func(f *fakeDelivery) { f.onRequest = times(-1, apiError("ServiceUnavailableException")) }, (*firehose.Producer).Close, 2 * time.Second},
		{"refuses some", func(f *fakeDelivery) {
			f.onRecord = func(data []byte) string {
				if data[0] == 'x' {
					return "InternalFailure"
				}
				return ""
			}
		}, (*firehose.Producer).Close, 2 * time.Second},
		{"abort, throttled", func(f *fakeDelivery) { f.onRequest = times(-1, apiError("ServiceUnavailableException")) }, (*firehose.Producer).Abort, 0},
		{"abort, hangs", func(f *fakeDelivery) { f.hold = make(chan struct{}) }, (*firehose.Producer).Abort, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeDelivery{}
				tt.fake(f)
				p := start(t, f, firehose.Config{AggregationMaxSize: 1000, CollectionMaxCount: 10, RecordTTL: -1, RequestTimeout: time.Minute})
				var mu sync.Mutex
				ok, unsent := 0, 0
				for i := range 1000 {
					if err := p.Put(t.Context(), record(fmt.Sprintf("x%0100d", i)), func(r producer.Result) {
						mu.Lock()
						defer mu.Unlock()
						switch {
						case r.Err == nil:
							ok++
						case errors.Is(r.Err, producer.ErrClosed):
							unsent++
						default:
							t.Errorf("result: %+v", r)
						}
					}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(500 * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				begin := time.Now()
				err := tt.close(p, ctx)
				ue, is := errors.AsType[*producer.UnsentError](err)
				if !is || ue.Records != int64(unsent) || ok+unsent != 1000 || ue.Bytes != int64(unsent*(102+80)) {
					t.Errorf("Close = %v, %d stored, %d unsent", err, ok, unsent)
				}
				if took := time.Since(begin); took != tt.takes {
					t.Errorf("Close took %v, want %v", took, tt.takes)
				}
				if s := p.Stats(); s.UserRecordsPending != 0 || s.BufferedBytes != 0 {
					t.Errorf("Stats: %+v", s)
				}
			})
		})
	}
}

// TestThrottledStreamIsShared: four producers offer four times the quota of one
// delivery stream. They use it up, alike, and do not storm.
func TestThrottledStreamIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const quota, seconds = 1 << 20, 60
		f := &fakeDelivery{latency: 20 * time.Millisecond, quota: quota}
		var wg sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
		defer cancel()
		var ps []*firehose.Producer
		for range 4 {
			p := start(t, f, firehose.Config{AggregationMaxSize: 32 << 10, RecordTTL: -1, MaxBufferedBytes: 2_048_000})
			ps = append(ps, p)
			wg.Go(func() {
				r := record(strings.Repeat("x", 8<<10-1))
				for p.Put(ctx, r, nil) == nil {
				}
			})
		}
		wg.Wait()
		goodput := 0
		f.mu.Lock()
		for _, r := range f.records {
			goodput += len(r)
		}
		offered := f.offered
		f.mu.Unlock()
		share := float64(goodput) / (quota * seconds)
		waste := float64(offered)/float64(goodput) - 1
		t.Logf("goodput %.2f of the quota, %.2f of the bytes were sent in vain", share, waste)
		if share < 0.9 || waste > 0.5 {
			t.Errorf("goodput %.2f of the quota, %.2f of the bytes were sent in vain", share, waste)
		}
		for i, p := range ps {
			own := float64(p.Stats().KinesisRecordsDataPut) / float64(goodput)
			t.Logf("producer %d: %.2f of it", i, own)
			// A quarter is fair; of 1,200 shares the extremes were 0.17 and 0.36.
			if own < 0.1 || own > 0.5 {
				t.Errorf("producer %d has %.2f of what was stored", i, own)
			}
			if err := p.Abort(t.Context()); err != nil {
				if _, ok := errors.AsType[*producer.UnsentError](err); !ok {
					t.Error(err)
				}
			}
		}
	})
}

// TestRandomFaults draws faults of every kind while several callers put, flush and
// close, and compares the reports with what was stored.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 7))
				f := &fakeDelivery{latency: time.Duration(r.IntN(30)) * time.Millisecond}
				f.onRequest = func(in *awsfirehose.PutRecordBatchInput) error {
					for i := range in.Records {
						if bytes.Contains(in.Records[i].Data, []byte("poison")) {
							return apiError("InvalidArgumentException")
						}
					}
					codes := []string{"ServiceUnavailableException", "InternalFailure", "ResourceNotFoundException", "ThrottlingException"}
					if n := r.IntN(20); n < len(codes) {
						return apiError(codes[n])
					}
					return nil
				}
				f.onRecord = func([]byte) string {
					switch r.IntN(30) {
					case 0:
						return "InternalFailure"
					case 1:
						return "ServiceUnavailableException"
					}
					return ""
				}
				f.afterStore = func() fate {
					if n := r.IntN(20); n < 4 {
						return fate(n)
					}
					return answer
				}
				p := start(t, f, firehose.Config{
					DisableAggregation: seed%4 == 0, AggregationMaxSize: 64 << r.IntN(5), CollectionMaxCount: 1 + r.IntN(20),
					RecordTTL: []time.Duration{-1, 2 * time.Second}[seed%2], MaxConnections: 1 + r.IntN(5),
				})
				var mu sync.Mutex
				reports := map[string][]error{}
				note := func(data string, err error) {
					mu.Lock()
					defer mu.Unlock()
					reports[data] = append(reports[data], err)
				}
				accepted := map[string]bool{}
				var wg sync.WaitGroup
				for c := range 3 {
					wg.Go(func() {
						own := rand.New(rand.NewPCG(seed, uint64(c)))
						for i := range 100 {
							data := fmt.Sprintf("<%d-%d>", c, i)
							if own.IntN(40) == 0 {
								data += "poison"
							}
							mu.Lock()
							accepted[data] = true
							mu.Unlock()
							switch own.IntN(4) {
							case 0:
								if err := p.PutBatch(t.Context(), []producer.UserRecord{record(data), record(data + "+")}, func(r producer.BatchResult) {
									errs := [2]error{}
									for _, f := range r.Failed {
										errs[f.Index] = f.Err
									}
									note(data, errs[0])
									note(data+"+", errs[1])
								}); err != nil {
									t.Errorf("PutBatch: %v", err)
								}
								mu.Lock()
								accepted[data+"+"] = true
								mu.Unlock()
							default:
								if err := p.Put(t.Context(), record(data), func(r producer.Result) { note(data, r.Err) }); err != nil {
									t.Errorf("Put: %v", err)
								}
							}
							if own.IntN(10) == 0 {
								time.Sleep(time.Duration(own.IntN(100)) * time.Millisecond)
							}
							if own.IntN(50) == 0 {
								mu.Lock()
								before := []string{data}
								mu.Unlock()
								if err := p.Flush(t.Context()); err != nil {
									t.Errorf("Flush: %v", err)
								}
								mu.Lock()
								for _, d := range before {
									if len(reports[d]) != 1 {
										t.Errorf("%s was put before the Flush and has %d reports after it", d, len(reports[d]))
									}
								}
								mu.Unlock()
							}
						}
					})
				}
				wg.Wait()
				closeNow(t, p)
				stored := strings.Join(f.stored(), "")
				for data := range accepted {
					errs := reports[data]
					if len(errs) != 1 {
						t.Fatalf("%s has %d reports", data, len(errs))
					}
					in := strings.Contains("\n"+stored, "\n"+data+"\n")
					switch {
					case errs[0] == nil && !in:
						t.Errorf("%s was reported as stored and is not", data)
					case errs[0] != nil && strings.Contains(data, "poison") && in:
						t.Errorf("%s was stored and refused", data)
					case errs[0] != nil && !strings.Contains(data, "poison") && !errors.Is(errs[0], producer.ErrExpired):
						t.Errorf("%s failed for %v", data, errs[0])
					}
				}
				if s := p.Stats(); s.UserRecordsReceived != uint64(len(accepted)) || s.UserRecordsPut+s.UserRecordsFailed != uint64(len(accepted)) || s.BufferedBytes != 0 {
					t.Errorf("Stats of %d records: %+v", len(accepted), s)
				}
			})
		})
	}
}

// stub acknowledges everything at once.
type stub struct {
	out awsfirehose.PutRecordBatchOutput
}

func (s *stub) PutRecordBatch(_ context.Context, in *awsfirehose.PutRecordBatchInput, _ ...func(*awsfirehose.Options)) (*awsfirehose.PutRecordBatchOutput, error) {
	return &awsfirehose.PutRecordBatchOutput{RequestResponses: s.out.RequestResponses[:len(in.Records)]}, nil
}

// TestPutAllocations holds all of the producer, requests included, to 0.01
// allocations a record.
func TestPutAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random")
	}
	id := "id"
	s := &stub{}
	s.out.RequestResponses = make([]types.PutRecordBatchResponseEntry, 500)
	for i := range s.out.RequestResponses {
		s.out.RequestResponses[i].RecordId = &id
	}
	p := start(t, s, firehose.Config{AggregationMaxSize: 64 << 10})
	defer closeNow(t, p)
	done := func(r producer.Result) {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
	data := bytes.Repeat([]byte("x"), 100)
	run := func() {
		for range 10_000 {
			if err := p.Put(t.Context(), producer.UserRecord{Data: data}, done); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	run()
	n := testing.AllocsPerRun(20, run) / 10_000
	t.Logf("%.4f allocations a record", n)
	if n > 0.01 {
		t.Errorf("%.4f allocations a record", n)
	}
}
