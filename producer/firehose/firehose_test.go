package firehose_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/producer/firehose"
	"github.com/streamkit/streamkit/producer/producerprom"
)

var _ producerprom.Source = (*firehose.Producer)(nil)

// surface is what an agent's flow or an appender asks of its sink.
type surface interface {
	Put(context.Context, producer.UserRecord, func(producer.Result)) error
	TryPut(producer.UserRecord, func(producer.Result)) error
	PutSync(context.Context, producer.UserRecord) (producer.Result, error)
	PutBatch(context.Context, []producer.UserRecord, func(producer.BatchResult)) error
	Flush(context.Context) error
	Close(context.Context) error
	Abort(context.Context) error
	Stats() producer.Stats
}

var (
	_ surface = (*producer.Producer)(nil)
	_ surface = (*firehose.Producer)(nil)
)

func record(data string) producer.UserRecord { return producer.UserRecord{Data: []byte(data)} }

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stream string // "" stands for a good one
		cfg    firehose.Config
		want   []string // parts of the error; none means valid
	}{
		{name: "zero"},
		{name: "everything off", cfg: firehose.Config{DisableDelimiter: true, DisableAggregation: true, RecordMaxBufferedTime: -1, RecordTTL: -1}},
		{name: "an ARN", stream: "arn:aws:firehose:eu-west-1:123456789012:deliverystream/d", want: []string{"takes no ARN"}},
		{
			name: "all that is wrong at once", stream: "a b",
			cfg: firehose.Config{
				Delimiter: strings.Repeat("-", 65), AggregationMaxCount: -1, AggregationMaxSize: 63, CollectionMaxCount: 501, CollectionMaxSize: 1,
				RecordTTL: 1, MaxConnections: -1, RequestTimeout: time.Hour, MaxBufferedBytes: 100,
			},
			want: []string{
				`"a b" is no name`, "len(Delimiter) 65", "AggregationMaxCount -1", "AggregationMaxSize 63", "CollectionMaxCount 501 is outside [1, 500]",
				"CollectionMaxSize 1 ", "RecordTTL 1ns", "MaxConnections -1", "RequestTimeout 1h0m0s", "MaxBufferedBytes 100",
			},
		},
		{name: "older than it may get", cfg: firehose.Config{RecordTTL: time.Second, RecordMaxBufferedTime: time.Second}, want: []string{"not more than RecordMaxBufferedTime"}},
		{name: "budget too small", cfg: firehose.Config{Budget: producer.NewBudget(1 << 20)}, want: []string{"MaxBufferedBytes 1048576 is less"}},
		{name: "more than the budget", cfg: firehose.Config{Budget: producer.NewBudget(4 << 20), MaxBufferedBytes: 5 << 20}, want: []string{"greater than the Budget's"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.stream == "" {
				tt.stream = "delivery"
			}
			p, err := firehose.New(&fakeDelivery{}, tt.stream, tt.cfg)
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

func TestPacking(t *testing.T) {
	large := strings.Repeat("x", 1_023_999)
	for _, tt := range []struct {
		name string
		cfg  firehose.Config
		put  []string
		want []string // Firehose records
	}{
		{name: "one", put: []string{"a"}, want: []string{"a\n"}},
		{name: "many share", put: []string{"a", "b", "c"}, want: []string{"a\nb\nc\n"}},
		{name: "a delimiter is there already", put: []string{"a\n", "b", "\n"}, want: []string{"a\nb\n\n"}},
		{name: "empty", put: []string{"", "a"}, want: []string{"\na\n"}},
		{name: "own delimiter", cfg: firehose.Config{Delimiter: "||"}, put: []string{"a|", "b||", "c"}, want: []string{"a|||b||c||"}},
		{name: "no delimiter", cfg: firehose.Config{DisableDelimiter: true}, put: []string{"a", "b"}, want: []string{"ab"}},
		{name: "not packed", cfg: firehose.Config{DisableAggregation: true}, put: []string{"a", "b"}, want: []string{"a\n", "b\n"}},
		{name: "as it is", cfg: firehose.Config{DisableAggregation: true, DisableDelimiter: true}, put: []string{"a", ""}, want: []string{"a", ""}},
		{name: "by count", cfg: firehose.Config{AggregationMaxCount: 2}, put: []string{"a", "b", "c"}, want: []string{"a\nb\n", "c\n"}},
		{
			name: "up to the size, not beyond", cfg: firehose.Config{AggregationMaxSize: 64},
			put:  []string{strings.Repeat("a", 31), strings.Repeat("b", 31), strings.Repeat("c", 31), strings.Repeat("d", 32)},
			want: []string{strings.Repeat("a", 31) + "\n" + strings.Repeat("b", 31) + "\n", strings.Repeat("c", 31) + "\n", strings.Repeat("d", 32) + "\n"},
		},
		{
			name: "larger than the size: alone", cfg: firehose.Config{AggregationMaxSize: 64},
			put:  []string{"a", strings.Repeat("b", 100), "c"},
			want: []string{"a\n", strings.Repeat("b", 100) + "\n", "c\n"},
		},
		{name: "the largest", put: []string{"a", large, "b"}, want: []string{"a\n", large + "\n", "b\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// One request at a time keeps the order.
				tt.cfg.MaxConnections = 1
				f := &fakeDelivery{}
				p := start(t, f, tt.cfg)
				for i, data := range tt.put {
					r := record(data)
					r.Tag = i
					err := p.Put(t.Context(), r, func(res producer.Result) {
						if res.Err != nil || res.Tag != i || res.Attempts != 1 || !strings.HasPrefix(res.SequenceNumber, "id-") {
							t.Errorf("result of record %d: %+v", i, res)
						}
					})
					if err != nil {
						t.Fatal(err)
					}
					clear(r.Data) // it is the caller's again
				}
				closeNow(t, p)
				if got := f.stored(); !slices.Equal(got, tt.want) {
					t.Errorf("stored %q, want %q", got, tt.want)
				}
				s := p.Stats()
				if n := uint64(len(tt.put)); s.UserRecordsReceived != n || s.UserRecordsPut != n || s.UserRecordsPending != 0 || s.BufferedBytes != 0 ||
					s.KinesisRecordsPut != uint64(len(tt.want)) || s.KinesisRecordsDataPut != uint64(len(strings.Join(tt.want, ""))) {
					t.Errorf("Stats: %+v", s)
				}
			})
		})
	}
}

func TestPutRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, &fakeDelivery{}, firehose.Config{MaxBufferedBytes: 2_048_000})
		never := func(producer.Result) { t.Error("callback of a refused record") }
		neverBatch := func(producer.BatchResult) { t.Error("callback of a refused batch") }
		large := record(strings.Repeat("x", 1_024_000)) // and a delimiter
		for name, err := range map[string]error{
			"Put":               p.Put(t.Context(), large, never),
			"TryPut":            p.TryPut(large, never),
			"PutBatch":          p.PutBatch(t.Context(), []producer.UserRecord{record("a"), large}, neverBatch),
			"batch beyond all":  p.PutBatch(t.Context(), []producer.UserRecord{record(strings.Repeat("x", 1_023_990)), record(strings.Repeat("x", 1_023_990))}, neverBatch),
			"PutBatch, no done": p.PutBatch(t.Context(), []producer.UserRecord{large}, nil),
		} {
			if !errors.Is(err, producer.ErrTooLarge) {
				t.Errorf("%s = %v, want ErrTooLarge", name, err)
			}
		}
		if _, err := p.PutSync(t.Context(), large); !errors.Is(err, producer.ErrTooLarge) {
			t.Errorf("PutSync = %v, want ErrTooLarge", err)
		}
		closeNow(t, p)
		for name, err := range map[string]error{
			"Put":      p.Put(t.Context(), record("a"), never),
			"TryPut":   p.TryPut(record("a"), never),
			"PutBatch": p.PutBatch(t.Context(), []producer.UserRecord{record("a")}, neverBatch),
			"Flush":    p.Flush(t.Context()),
		} {
			if !errors.Is(err, producer.ErrClosed) {
				t.Errorf("%s after Close = %v, want ErrClosed", name, err)
			}
		}
		if s := p.Stats(); s.UserRecordsReceived != 0 || s.BufferedBytes != 0 {
			t.Errorf("Stats: %+v", s)
		}
	})
}

// TestRequestLimits: the fake refuses requests beyond the API's limits.
func TestRequestLimits(t *testing.T) {
	for _, tt := range []struct {
		name     string
		cfg      firehose.Config
		n, size  int
		requests int
	}{
		{name: "500 records", cfg: firehose.Config{DisableAggregation: true}, n: 1000, size: 10, requests: 2},
		{name: "4 MiB", cfg: firehose.Config{DisableAggregation: true}, n: 8, size: 1_000_000, requests: 2},
		{name: "packed", n: 40_000, size: 100, requests: 1},
		{name: "own bounds", cfg: firehose.Config{DisableAggregation: true, CollectionMaxCount: 7}, n: 70, size: 10, requests: 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeDelivery{hold: make(chan struct{})} // the first holds the rest back
				tt.cfg.MaxConnections = 1
				p := start(t, f, tt.cfg)
				first := make(chan error, 1)
				go func() {
					_, err := p.PutSync(t.Context(), record("first"))
					first <- err
				}()
				synctest.Wait()
				rs := make([]producer.UserRecord, tt.n)
				for i := range rs {
					rs[i] = record(strings.Repeat("x", tt.size))
				}
				if err := p.PutBatch(t.Context(), rs, func(r producer.BatchResult) {
					if r.Err() != nil || r.Records != tt.n {
						t.Errorf("result: %+v", r)
					}
				}); err != nil {
					t.Fatal(err)
				}
				close(f.hold)
				closeNow(t, p)
				if err := <-first; err != nil {
					t.Error(err)
				}
				if got := f.requests() - 1; got != tt.requests {
					t.Errorf("%d requests, want %d", got, tt.requests)
				}
				if s := p.Stats(); s.UserRecordsPut != uint64(tt.n+1) || len(s.ErrorsByCode) != 0 {
					t.Errorf("Stats: %+v", s)
				}
			})
		})
	}
}

// TestLinger looks at when records leave.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDelivery{}
		p := start(t, f, firehose.Config{})
		defer closeNow(t, p)
		begin := time.Now()
		put := func(data string) <-chan time.Duration {
			at := make(chan time.Duration, 1)
			if err := p.Put(t.Context(), record(data), func(producer.Result) { at <- time.Since(begin) }); err != nil {
				t.Fatal(err)
			}
			return at
		}
		if got := <-put("a"); got != 100*time.Millisecond {
			t.Errorf("a lone record left after %v, want 100ms", got)
		}
		begin = time.Now()
		at := put("b")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := <-at; got != 0 {
			t.Errorf("flushed after %v, want at once", got)
		}
		at = put("c")
		if res, err := p.PutSync(t.Context(), record("d")); err != nil || !res.Aggregated || res.SubSequenceNumber != 1 {
			t.Errorf("PutSync = %+v, %v, want the second of two", res, err)
		}
		if got := <-at; got != 0 {
			t.Errorf("PutSync took its company along after %v, want at once", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		put("e")
		if err := p.Flush(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Flush = %v, want ctx's error", err)
		}
	})
}

func TestBackPressureAndSharedBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := producer.NewBudget(2_048_000)
		f := &fakeDelivery{hold: make(chan struct{})}
		p := start(t, f, firehose.Config{Budget: b, RequestTimeout: time.Minute})
		big := record(strings.Repeat("x", 1_000_000))
		for range 2 {
			if err := p.Put(t.Context(), big, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.TryPut(big, nil); !errors.Is(err, producer.ErrBufferFull) {
			t.Errorf("TryPut = %v, want ErrBufferFull", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Put(ctx, big, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put = %v, want the deadline's error", err)
		}
		other := start(t, &fakeDelivery{}, firehose.Config{Budget: b})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := other.Put(t.Context(), big, nil); err != nil {
				t.Errorf("Put after the other producer's are stored: %v", err)
			}
		})
		waiting := make(chan error, 1)
		third := start(t, &fakeDelivery{}, firehose.Config{Budget: b})
		synctest.Wait()
		go func() { waiting <- third.Put(t.Context(), big, nil) }()
		synctest.Wait()
		closeNow(t, third)
		if err := <-waiting; !errors.Is(err, producer.ErrClosed) {
			t.Errorf("Put that waited for Close = %v, want ErrClosed", err)
		}
		close(f.hold)
		wg.Wait()
		closeNow(t, p)
		closeNow(t, other)
		if b.Used() != 0 {
			t.Errorf("%d bytes are taken in the end", b.Used())
		}
	})
}

// TestCallbacks: a panic is contained, and a callback may put.
func TestCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDelivery{}
		p := start(t, f, firehose.Config{})
		if err := p.PutBatch(t.Context(), nil, func(r producer.BatchResult) {
			if r.Records != 0 || r.Err() != nil {
				t.Errorf("result of an empty batch: %+v", r)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := p.Put(t.Context(), record("a"), func(producer.Result) { panic("user") }); err != nil {
			t.Fatal(err)
		}
		if err := p.PutBatch(t.Context(), []producer.UserRecord{record("b")}, func(producer.BatchResult) { panic("user") }); err != nil {
			t.Fatal(err)
		}
		if err := p.Put(t.Context(), record("c"), func(producer.Result) {
			if err := p.TryPut(record("d"), nil); err != nil {
				t.Errorf("TryPut in a callback: %v", err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		closeNow(t, p)
		closeNow(t, p) // once more does no harm
		if got := strings.Join(f.stored(), ""); got != "a\nb\nc\nd\n" || p.Stats().CallbackPanics != 2 {
			t.Errorf("stored %q, Stats: %+v", got, p.Stats())
		}
	})
}
