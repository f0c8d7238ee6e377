package gen_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/integration/load/gen"
	"github.com/streamkit/streamkit/integration/load/nullserver"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

func TestPercentile(t *testing.T) {
	to := func(n int) []time.Duration { // n..1
		var out []time.Duration
		for i := n; i > 0; i-- {
			out = append(out, time.Duration(i))
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		values []time.Duration
		p      int
		want   time.Duration
	}{
		{"none", nil, 50, 0},
		{"one", to(1), 99, 1},
		{"one, lowest", to(1), 0, 1},
		{"two, half", to(2), 50, 1},
		{"two, more than half", to(2), 51, 2},
		{"hundred", to(100), 99, 99},
		{"hundred, all", to(100), 100, 100},
		{"hundred and one", to(101), 99, 100},
		{"thousand", to(1000), 50, 500},
		{"equal", []time.Duration{5, 5, 5}, 99, 5},
	} {
		if got := gen.Percentile(tt.values, tt.p); got != tt.want {
			t.Errorf("%s: percentile %d is %d, want %d", tt.name, tt.p, got, tt.want)
		}
	}
}

func TestResult(t *testing.T) {
	r := gen.Result{Count: 2000, Elapsed: 2 * time.Second, CPU: time.Second}
	if r.Rate() != 1000 || r.CPUEach() != 500*time.Microsecond || r.Busy() != 0.5 {
		t.Errorf("rate %v, CPU %v, busy %v", r.Rate(), r.CPUEach(), r.Busy())
	}
	var zero gen.Result
	if zero.Rate() != 0 || zero.CPUEach() != 0 || zero.Busy() != 0 {
		t.Errorf("the zero Result: rate %v, CPU %v, busy %v", zero.Rate(), zero.CPUEach(), zero.Busy())
	}
}

// env runs loads on handler, with a server process whose CPU clock runs as the
// wall clock does.
func env(t *testing.T, handler http.Handler) *gen.Env {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	begin := time.Now()
	return &gen.Env{
		Duration: 60 * time.Millisecond, Shards: 2,
		Start: func(context.Context, ...string) (*gen.Server, error) {
			return &gen.Server{
				Endpoint: srv.URL, Launch: time.Now(),
				Usage: func() (gen.Usage, error) { return gen.Usage{CPU: time.Since(begin), RSS: 1, Peak: 2}, nil },
				Stop:  func(bool) error { return nil },
			}, nil
		},
	}
}

func TestLoads(t *testing.T) {
	for _, tt := range []struct {
		name string
		load gen.Load
		unit int64 // of which the count is a multiple
	}{
		{"sdk batch", gen.Puts{Client: gen.SDK, Callers: 2, Batch: 7, Size: 20}, 7},
		{"raw batch", gen.Puts{Client: gen.Raw, Callers: 2, Batch: 7, Size: 20}, 7},
		{"cbor batch", gen.Puts{Client: gen.RawCBOR, Callers: 2, Batch: 7, Size: 20, Before: 600}, 7},
		{"sdk single", gen.Puts{Client: gen.SDK, Callers: 1, Batch: 1, Size: 20}, 1},
		{"raw single", gen.Puts{Client: gen.Raw, Callers: 2, Batch: 1, Size: 20}, 1},
		{"cbor single", gen.Puts{Client: gen.RawCBOR, Callers: 1, Batch: 1, Size: 20}, 1},
		{"sdk get", gen.Gets{Client: gen.SDK, Records: 500}, 11},
		{"raw get", gen.Gets{Client: gen.Raw, Records: 500}, 11},
		{"leases", gen.Leases{Callers: 2}, 1},
		{"delay", gen.Delay{}, 1},
		{"fan-out", gen.FanOut{Subscribers: 3}, 1},
		{"raw fan-out", gen.FanOut{Client: gen.Raw, Subscribers: 3}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			null := nullserver.New(nullserver.Config{Shards: 2, PageRecords: 11, RecordBytes: 20})
			r, err := tt.load.Run(t.Context(), env(t, null))
			if err != nil {
				t.Fatal(err)
			}
			if r.Count <= 0 || r.Count%tt.unit != 0 || r.Elapsed < 60*time.Millisecond || r.CPU <= 0 || r.RSS != 1 || r.P50 > r.P99 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestProducer: what a record takes beyond its data is said beside what it needs.
func TestProducer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		load    gen.Producer
		optimum float64
	}{
		{"keyed", gen.Producer{Callers: 2, Size: 100, Keys: 50}, 6},
		{"hot key", gen.Producer{Encoding: producer.EncodingCBOR, Callers: 1, Size: 100, Keys: 1}, 6},
		{"keyless", gen.Producer{Callers: 2, Size: 100}, 8},
		{"large", gen.Producer{Callers: 1, Size: 1000, Keys: 50}, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := tt.load.Run(t.Context(), env(t, nullserver.New(nullserver.Config{Shards: 2})))
			if err != nil {
				t.Fatal(err)
			}
			if r.Count <= 0 || r.Bytes < r.Count*int64(tt.load.Size) || r.Optimum != tt.optimum || r.Overhead < r.Optimum {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestLife(t *testing.T) {
	null := nullserver.New(nullserver.Config{Shards: 2})
	r, err := gen.Start{Records: 500, Kill: true}.Run(t.Context(), env(t, null))
	if err != nil || r.StartTime <= 0 {
		t.Errorf("Start: %+v, %v", r, err)
	}
	if r, err = (gen.Idle{Records: 500}).Run(t.Context(), env(t, null)); err != nil || r.RSS != 1 || r.Count != 0 {
		t.Errorf("Idle: %+v, %v", r, err)
	}
	if _, err = (gen.Idle{Shards: 3}).Run(t.Context(), env(t, null)); err == nil || !strings.Contains(err.Error(), "2 shards, not 3") {
		t.Errorf("a server with other shards than were asked for: %v", err)
	}
}

// TestWrongAnswers gives loads a server whose answer to one operation is not
// what it should be: none may count it.
func TestWrongAnswers(t *testing.T) {
	const json = "application/x-amz-json-1.1"
	null := nullserver.New(nullserver.Config{Shards: 2, PageRecords: 1})
	for _, tt := range []struct {
		name   string
		op     string
		status int
		body   string
		load   gen.Load
		want   string
	}{
		{"failed records", "PutRecords", 200, `{"FailedRecordCount":1,"Records":[{},{}]}`, gen.Puts{Client: gen.Raw, Callers: 1, Batch: 2}, "some records failed"},
		{"failed records, SDK", "PutRecords", 200, `{"FailedRecordCount":1,"Records":[{},{}]}`, gen.Puts{Client: gen.SDK, Callers: 1, Batch: 2}, "1 failed"},
		{"records missing", "PutRecords", 200, `{"FailedRecordCount":0,"Records":[]}`, gen.Puts{Client: gen.Raw, Callers: 1, Batch: 2}, "0 answered"},
		{"error", "PutRecord", 500, `{"__type":"InternalFailure"}`, gen.Puts{Client: gen.Raw, Callers: 1, Batch: 1}, "answer 500"},
		{"no iterator", "GetRecords", 200, `{"Records":[{"SequenceNumber":"1"}]}`, gen.Gets{Client: gen.Raw, Records: 1}, "no next iterator"},
		{"lost lease", "UpdateItem", 400, `{"__type":"ConditionalCheckFailedException"}`, gen.Leases{Callers: 1}, "ConditionalCheckFailed"},
		{"no subscriptions", "SubscribeToShard", 400, `{"__type":"UnknownOperationException"}`, gen.Delay{}, "not served"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), "."+tt.op) {
					null.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", json)
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			})
			_, err := tt.load.Run(t.Context(), env(t, handler))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
			if (tt.want == "not served") != errors.Is(err, gen.ErrNotServed) {
				t.Errorf("not served or not: %v", err)
			}
		})
	}
}

// TestConsumer reads from a real server: the records of the null server have all
// one sequence number.
func TestConsumer(t *testing.T) {
	srv := streamdtest.New(t, streamdtest.Listen())
	begin := time.Now()
	e := &gen.Env{
		Duration: 60 * time.Millisecond, Shards: 2,
		Start: func(context.Context, ...string) (*gen.Server, error) {
			return &gen.Server{
				Endpoint: srv.Endpoint(), Launch: time.Now(),
				Usage: func() (gen.Usage, error) { return gen.Usage{CPU: time.Since(begin), RSS: 1, Peak: 2}, nil },
				Stop:  func(bool) error { return nil },
			}, nil
		},
	}
	r, err := gen.Consumer{Records: 1000}.Run(t.Context(), e)
	if err != nil || r.Count <= 0 || r.Elapsed < 60*time.Millisecond || r.CPU <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
