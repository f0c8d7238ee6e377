package producer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

// start runs a producer on f, to be closed by the test.
func start(t *testing.T, f producer.API, cfg producer.Config) *producer.Producer {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	p, err := producer.New(f, "stream", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func closeNow(t *testing.T, p *producer.Producer) {
	t.Helper()
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func record(key, data string) producer.UserRecord {
	return producer.UserRecord{PartitionKey: key, Data: []byte(data)}
}

// sink collects results.
type sink struct {
	mu      sync.Mutex
	results []producer.Result
}

func (s *sink) done(r producer.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results = append(s.results, r)
}

// errors returns the results' errors, nil for a record that was stored.
func (s *sink) errors() (errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.results {
		errs = append(errs, r.Err)
	}
	return errs
}

// TestEntryFaults: one record's entry is refused, its neighbour's in the same
// request is not.
func TestEntryFaults(t *testing.T) {
	for _, tt := range []struct {
		code     string
		failFast bool
		want     error // nil: retried until stored
	}{
		{code: "ProvisionedThroughputExceededException"},
		{code: "ProvisionedThroughputExceededException", failFast: true, want: producer.ErrThrottled},
		{code: "InternalFailure"},
		{code: "InternalFailure", failFast: true},
		{code: "ServiceUnavailable"},
		{code: "KMSThrottlingException"},
		{code: "SomethingNew"},
	} {
		t.Run(fmt.Sprintf("%s failFast=%v", tt.code, tt.failFast), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(2)
				refusals := 3
				f.onEntry = func(e *types.PutRecordsRequestEntry) string {
					if string(e.Data) == "bad" && refusals > 0 {
						refusals--
						return tt.code
					}
					return ""
				}
				p := start(t, f, producer.Config{FailIfThrottled: tt.failFast})
				var bad, good sink
				put(t, p, record("a", "bad"), bad.done)   // shard 0
				put(t, p, record("b", "good"), good.done) // shard 1
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if errs := good.errors(); len(errs) != 1 || errs[0] != nil || good.results[0].Attempts != 1 {
					t.Errorf("the neighbour: %+v", good.results)
				}
				r := bad.results[0]
				if tt.want == nil && (r.Err != nil || r.Attempts != 4) {
					t.Errorf("%d attempts, %v, want the fourth to succeed", r.Attempts, r.Err)
				}
				if tt.want != nil {
					pe, ok := errors.AsType[*producer.PutError](r.Err)
					ee, ok2 := errors.AsType[*producer.EntryError](r.Err)
					if !errors.Is(r.Err, tt.want) || !ok || !ok2 || pe.Attempts != 1 || ee.Code != tt.code || pe.ShardID != "shardId-000000000000" {
						t.Errorf("error %v, want %v", r.Err, tt.want)
					}
				}
				if n := p.Stats().ErrorsByCode[tt.code]; tt.want == nil && n != 3 || tt.want != nil && n != 1 {
					t.Errorf("%d errors counted", n)
				}
				closeNow(t, p)
			})
		})
	}
}

func put(t *testing.T, p *producer.Producer, r producer.UserRecord, done func(producer.Result)) {
	t.Helper()
	if err := p.Put(t.Context(), r, done); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

// TestRequestFaults: whole requests fail a number of times.
func TestRequestFaults(t *testing.T) {
	entityTooLarge := &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: http.StatusRequestEntityTooLarge}},
		Err:      errors.New("not XML"),
	}
	for _, tt := range []struct {
		name     string
		err      error
		failFast bool
		within   time.Duration // most
		paused   bool
		want     error
	}{
		{name: "connection reset", err: errors.New("connection reset"), within: 400 * time.Millisecond},
		{name: "server fault", err: apiError("InternalFailure"), within: 400 * time.Millisecond},
		{name: "throttled", err: apiError("ThrottlingException"), within: 400 * time.Millisecond},
		{name: "limit", err: apiError("LimitExceededException"), within: 400 * time.Millisecond},
		{name: "KMS throttled", err: apiError("KMSThrottlingException"), within: 400 * time.Millisecond},
		{name: "expired credentials", err: apiError("ExpiredTokenException"), within: 400 * time.Millisecond, paused: true},
		{name: "request expired", err: apiError("RequestExpired"), within: 400 * time.Millisecond, paused: true},
		{name: "clock", err: apiError("RequestTimeTooSkewed"), within: 400 * time.Millisecond, paused: true},
		{name: "signature", err: apiError("InvalidSignatureException"), within: 400 * time.Millisecond, paused: true},
		{name: "service unavailable", err: apiError("ServiceUnavailable"), within: 400 * time.Millisecond},
		{name: "unknown code", err: apiError("SomethingNew"), within: 400 * time.Millisecond},
		{name: "timeout", err: context.DeadlineExceeded, within: 400 * time.Millisecond},
		{name: "unknown client", err: apiError("UnrecognizedClientException"), within: 400 * time.Millisecond, paused: true},
		{name: "throughput", err: apiError("ProvisionedThroughputExceededException"), within: 400 * time.Millisecond},
		{name: "throughput, fail fast", err: apiError("ProvisionedThroughputExceededException"), failFast: true, want: producer.ErrThrottled},
		{name: "being changed", err: apiError("ResourceInUseException"), within: 8 * time.Second, paused: true},
		{name: "no stream", err: apiError("ResourceNotFoundException"), within: 8 * time.Second, paused: true},
		{name: "denied", err: apiError("AccessDeniedException"), within: 8 * time.Second, paused: true},
		{name: "key disabled", err: apiError("KMSDisabledException"), within: 8 * time.Second, paused: true},
		{name: "key missing", err: apiError("KMSNotFoundException"), within: 8 * time.Second, paused: true},
		{name: "key state", err: apiError("KMSInvalidStateException"), within: 8 * time.Second, paused: true},
		{name: "no subscription", err: apiError("KMSOptInRequired"), within: 8 * time.Second, paused: true},
		{name: "key denied", err: apiError("KMSAccessDeniedException"), within: 8 * time.Second, paused: true},
		{name: "invalid", err: apiError("ValidationException"), want: apiError("ValidationException")},
		{name: "invalid argument", err: apiError("InvalidArgumentException"), want: apiError("InvalidArgumentException")},
		{name: "too large", err: entityTooLarge, want: entityTooLarge},
		{name: "too large, with a code", err: apiError("RequestEntityTooLarge"), want: apiError("RequestEntityTooLarge")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				failures, pausedSeen := 3, false
				f.onRequest = func(in *kinesis.PutRecordsInput) error {
					if failures == 0 {
						return nil
					}
					failures--
					return tt.err
				}
				p := start(t, f, producer.Config{RecordTTL: -1, FailIfThrottled: tt.failFast})
				var s sink
				begin := time.Now()
				put(t, p, record("a", "data"), s.done)
				var watch sync.WaitGroup
				ctx, cancel := context.WithCancel(t.Context())
				watch.Go(func() {
					for ctx.Err() == nil {
						pausedSeen = pausedSeen || p.Stats().Paused
						time.Sleep(10 * time.Millisecond)
					}
				})
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				took := time.Since(begin)
				cancel()
				watch.Wait()
				r := s.results[0]
				if tt.want != nil {
					if !errors.Is(r.Err, tt.want) && !strings.Contains(fmt.Sprint(r.Err), tt.want.Error()) || r.Attempts != 1 {
						t.Errorf("%d attempts, %v, want %v at once", r.Attempts, r.Err, tt.want)
					}
				} else if r.Err != nil || r.Attempts != 4 || took > tt.within {
					t.Errorf("%d attempts in %v, %v, want four within %v", r.Attempts, took, r.Err, tt.within)
				}
				if pausedSeen != tt.paused || p.Stats().Paused {
					t.Errorf("paused = %v, want %v; paused at the end: %v", pausedSeen, tt.paused, p.Stats().Paused)
				}
				closeNow(t, p)
			})
		})
	}
}

// TestAmbiguousFaults: the request was served, and the producer does not learn
// it. It must send the same bytes again.
func TestAmbiguousFaults(t *testing.T) {
	for name, what := range map[string]fate{"timeout": timeout, "reset": reset, "entry missing": short, "entry blank": blank} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				left := 2
				f.afterStore = func() fate {
					if left > 0 {
						left--
						return what
					}
					return answer
				}
				p := start(t, f, producer.Config{RequestTimeout: 200 * time.Millisecond})
				var s sink
				put(t, p, record("a", "1"), s.done)
				put(t, p, record("b", "2"), s.done)
				closeNow(t, p)
				if errs := s.errors(); len(errs) != 2 || errs[0] != nil || errs[1] != nil || s.results[0].Attempts != 3 {
					t.Errorf("results %+v", s.results)
				}
				counted := uint64(0)
				for _, n := range p.Stats().ErrorsByCode {
					counted += n
				}
				if counted != 2 {
					t.Errorf("%d errors counted, want 2: %v", counted, p.Stats().ErrorsByCode)
				}
				entries := f.shards[0].entries
				if len(entries) != 3 || string(entries[0].data) != string(entries[1].data) || string(entries[1].data) != string(entries[2].data) {
					t.Errorf("the stream holds %d Kinesis records, want three times the same bytes", len(entries))
				}
			})
		})
	}
}

// TestPoisonRecord: a record that the stream refuses with the whole request is
// found and fails alone, whatever it was packed with.
func TestPoisonRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(8)
		f.onRequest = func(in *kinesis.PutRecordsInput) error {
			for i := range in.Records {
				if strings.Contains(string(in.Records[i].Data), "poison") {
					return apiError("ValidationException")
				}
			}
			return nil
		}
		p := start(t, f, producer.Config{OnFailure: producer.SkipOne})
		var s sink
		for i := range 400 {
			data := fmt.Sprint("good ", i)
			if i == 123 {
				data = "poison"
			}
			put(t, p, record(fmt.Sprint("key ", i%40), data), s.done)
		}
		closeNow(t, p)
		var failed int
		for _, r := range s.results {
			if r.Err != nil {
				failed++
			}
		}
		if len(s.results) != 400 || failed != 1 || len(f.readAll()) != 399 {
			t.Errorf("%d results, %d failed, %d stored, want 400, 1, 399", len(s.results), failed, len(f.readAll()))
		}
		if f.requests > 40 {
			t.Errorf("it took %d requests", f.requests)
		}
	})
}

// TestPausedStreamIsProbed: while the stream refuses everything, one request
// at a time and ever fewer of them.
func TestPausedStreamIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(16)
		var at []time.Duration
		begin := time.Now()
		f.onRequest = func(*kinesis.PutRecordsInput) error {
			at = append(at, time.Since(begin))
			return apiError("AccessDeniedException")
		}
		p := start(t, f, producer.Config{RecordTTL: -1, CollectionMaxCount: 1})
		var s sink
		for i := range 100 {
			put(t, p, record(fmt.Sprint(i), "data"), s.done)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Minute)
		f.mu.Lock()
		n, last := len(at), at[len(at)-1]
		f.onRequest = nil
		f.mu.Unlock()
		// The probes of the last eight minutes wait 15 s on average.
		if n < 20 || n > 80 || last < 9*time.Minute {
			t.Errorf("%d requests in ten minutes, the last at %v: %v", n, last, at)
		}
		closeNow(t, p)
		if errs := s.errors(); len(errs) != 100 || slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
			t.Errorf("%d results", len(errs))
		}
	})
}

// TestRefusedTogether: requests that are under way together, and refused together, are
// one refusal, after which the first probe leaves within a second.
func TestRefusedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(16)
		p := start(t, f, producer.Seeded(producer.Config{RecordTTL: -1, CollectionMaxCount: 1}, 1))
		loadMap(t, p, newLedger())
		refused := 0
		f.mu.Lock()
		f.latency = func() time.Duration { return 100 * time.Millisecond }
		f.onRequest = func(*kinesis.PutRecordsInput) error {
			if refused < 16 {
				refused++
				return apiError("AccessDeniedException")
			}
			return nil
		}
		f.mu.Unlock()
		begin := time.Now()
		for _, r := range hashkey.Uniform(16) {
			put(t, p, record(keysIn(r, 1)[0], "data"), nil)
		}
		closeNow(t, p)
		// Two round trips of requests, the pause, and those of the others.
		if took := time.Since(begin); refused != 16 || took > 1500*time.Millisecond {
			t.Errorf("%d requests were refused, and all was stored after %v", refused, took)
		}
	})
}

func TestExpiry(t *testing.T) {
	for _, tt := range []struct {
		name  string
		set   func(f *fakeStream)
		cause string // in the error
	}{
		{name: "throttled", cause: "ProvisionedThroughputExceeded", set: func(f *fakeStream) {
			f.onEntry = func(*types.PutRecordsRequestEntry) string { return "ProvisionedThroughputExceededException" }
		}},
		{name: "paused", cause: "AccessDenied", set: func(f *fakeStream) {
			f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("AccessDeniedException") }
		}},
		{name: "no shard map", cause: "AccessDenied", set: func(f *fakeStream) {
			f.onList = func() error { return apiError("AccessDeniedException") }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(2)
				tt.set(f)
				p := start(t, f, producer.Config{RecordTTL: 5 * time.Second, OnFailure: producer.SkipOne})
				begin := time.Now()
				var s sink
				var at []time.Duration
				done := func(r producer.Result) {
					s.done(r)
					at = append(at, time.Since(begin))
				}
				put(t, p, record("a", "first"), done)
				time.Sleep(3 * time.Second)
				put(t, p, record("a", "second"), done)
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				for i, err := range s.errors() {
					if !errors.Is(err, producer.ErrExpired) || i == 0 && !strings.Contains(err.Error(), tt.cause) {
						t.Errorf("record %d: %v, want ErrExpired for %s", i, err, tt.cause)
					}
				}
				if len(at) != 2 || at[0] < 5*time.Second || at[0] > 7*time.Second || at[1] < 8*time.Second || at[1] > 10*time.Second {
					t.Errorf("expired at %v, want 5 s and 8 s", at)
				}
				if st := p.Stats(); st.UserRecordsExpired != 2 || st.UserRecordsFailed != 2 || st.BufferedBytes != 0 {
					t.Errorf("Stats: %+v", st)
				}
				closeNow(t, p)
			})
		})
	}
}

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
