package producer_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/streamd/streamdtest"
)

// TestPause: a stream that refuses everything for ten minutes is asked now and
// then, whatever the number of shards, says so in Stats, and gets all records in
// order when it is back.
func TestPause(t *testing.T) {
	for _, tt := range []struct {
		code     string
		requests int           // most, in ten minutes
		back     time.Duration // most, until the next probe
	}{
		{code: "AccessDeniedException", requests: 80, back: 35 * time.Second},
		{code: "KMSDisabledException", requests: 80, back: 35 * time.Second},
		{code: "ResourceNotFoundException", requests: 80, back: 35 * time.Second},
		{code: "ResourceInUseException", requests: 450, back: 6 * time.Second},
		{code: "ExpiredTokenException", requests: 400, back: 8 * time.Second},
	} {
		t.Run(tt.code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(32)
				logs := &strings.Builder{}
				p := start(t, f, producer.Config{RecordTTL: -1, Logger: textLogger(logs), CollectionMaxCount: 4})
				led := newLedger()
				n := 0
				write := func() {
					n++
					for k := range 100 {
						data := payload(fmt.Sprint("k", k), n)
						led.accept(data)
						put(t, p, record(fmt.Sprint("k", k), data), func(r producer.Result) { led.report(data, r) })
					}
				}
				write()
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.mu.Lock()
				before := f.requests
				f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError(tt.code) }
				f.mu.Unlock()
				for range 60 {
					write()
					time.Sleep(10 * time.Second)
				}
				f.mu.Lock()
				asked := f.requests - before
				f.onRequest = nil
				f.mu.Unlock()
				st := p.Stats()
				if !st.Paused || st.PausedBy != tt.code || st.UserRecordsPending != 6000 {
					t.Errorf("Stats: %+v", st)
				}
				if asked > tt.requests || asked < 10 {
					t.Errorf("%d requests in ten minutes, want %d at most", asked, tt.requests)
				}
				begin := time.Now()
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took > tt.back {
					t.Errorf("it took %v to notice that the stream is back", took)
				}
				closeNow(t, p)
				if st := p.Stats(); st.Paused || st.PausedBy != "" {
					t.Errorf("Stats at the end: %+v", st)
				}
				check(t, f, led, p.Stats(), true, false)
				if lines := strings.Count(logs.String(), "level=ERROR") + strings.Count(logs.String(), "level=WARN"); lines != 1 {
					t.Errorf("%d lines of errors in the log, want one:\n%s", lines, logs)
				}
			})
		})
	}
}

// TestStreamDeletedAndCreated deletes a stream of streamd and creates it with other
// shards: all that was not stored before is stored in the new one, in order.
func TestStreamDeletedAndCreated(t *testing.T) {
	for _, shards := range []int{1, 3, 8} {
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := streamdtest.New(t)
				srv.CreateStream(t, "stream", 4)
				client := srv.Kinesis()
				p := start(t, client, producer.Config{RecordTTL: -1, AggregationMaxSize: 1000})
				n := 0
				var s sink
				write := func() {
					n++
					for k := range 40 {
						put(t, p, record(fmt.Sprint("k", k), payload(fmt.Sprint("k", k), n)), s.done)
					}
				}
				write()
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				stored := n
				if _, err := client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String("stream")}); err != nil {
					t.Fatal(err)
				}
				w := kinesis.NewStreamNotExistsWaiter(client, func(o *kinesis.StreamNotExistsWaiterOptions) {
					o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
				})
				if err := w.Wait(t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String("stream")}, time.Minute); err != nil {
					t.Fatal(err)
				}
				for range 10 {
					write()
					time.Sleep(time.Second)
				}
				srv.CreateStream(t, "stream", shards)
				for range 10 {
					write()
					time.Sleep(time.Second)
				}
				closeNow(t, p)
				if st := p.Stats(); st.Shards != shards || st.UserRecordsFailed != 0 || st.UserRecordsPut != uint64(40*n) || st.SequenceRegressions != 0 {
					t.Errorf("Stats: %+v", st)
				}
				last := map[string]int{}
				seen := map[string]bool{}
				take := func(data string) {
					if seen[data] {
						return
					}
					seen[data] = true
					key, i := parsePayload(data)
					if last[key] == 0 {
						last[key] = stored
					}
					if i != last[key]+1 {
						t.Errorf("key %s: record %d after %d", key, i, last[key])
					}
					last[key] = i
				}
				for _, r := range srv.Records(t, "stream") {
					takeRecord(t, r, take)
				}
				if want := 40 * (n - stored); len(seen) != want {
					t.Errorf("%d records in the new stream, want %d", len(seen), want)
				}
			})
		})
	}
}

func takeRecord(t *testing.T, r types.Record, take func(data string)) {
	t.Helper()
	ok, err := aggregation.Walk(r.Data, func(_ int, u aggregation.Record) bool {
		take(string(u.Data))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		take(string(r.Data))
	}
}

// TestFailIfPaused: while nobody has acted records fail at once, with the cause, and
// few are sent; those put afterwards are stored. What passes by itself fails nothing.
func TestFailIfPaused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		code   string
		list   bool          // of ListShards, from the start; else of PutRecords
		linger time.Duration // longer than the time between two sweeps
		fails  bool
	}{
		{name: "denied", code: "AccessDeniedException", fails: true},
		{name: "denied, long linger", code: "AccessDeniedException", linger: 3 * time.Second, fails: true},
		{name: "no stream", code: "ResourceNotFoundException", fails: true},
		{name: "key disabled", code: "KMSDisabledException", fails: true},
		{name: "list denied", code: "AccessDeniedException", list: true, fails: true},
		{name: "being changed", code: "ResourceInUseException"},
		{name: "credentials expired", code: "ExpiredTokenException"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(4)
				refused := true
				refuse := func() error {
					if refused {
						return apiError(tt.code)
					}
					return nil
				}
				if tt.list || tt.code == "ResourceNotFoundException" {
					f.onList = refuse
				}
				if !tt.list {
					f.onRequest = func(*kinesis.PutRecordsInput) error { return refuse() }
				}
				p := start(t, f, producer.Config{RecordTTL: -1, FailIfPaused: true, RecordMaxBufferedTime: tt.linger})
				var slowest time.Duration
				failed := 0
				write := func(n int, done func(age time.Duration, err error)) {
					for i := range n {
						begin := time.Now()
						put(t, p, record(fmt.Sprint("k", i%20), "x"), func(r producer.Result) { done(time.Since(begin), r.Err) })
						time.Sleep(100 * time.Millisecond)
					}
				}
				var mu sync.Mutex
				write(1200, func(age time.Duration, err error) {
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						return
					}
					failed++
					slowest = max(slowest, age)
					if !errors.Is(err, producer.ErrPaused) && !errors.Is(err, producer.ErrEarlierFailed) || errors.Is(err, producer.ErrPaused) && !strings.Contains(err.Error(), tt.code) {
						t.Errorf("result %v", err)
					}
				})
				mu.Lock()
				if st := p.Stats(); tt.fails && (failed < 1150 || slowest > tt.linger+1100*time.Millisecond || st.Requests > 40) || !tt.fails && failed > 0 {
					t.Errorf("%d of 1200 records failed in two minutes, the slowest after %v, in %d requests", failed, slowest, st.Requests)
				}
				mu.Unlock()
				f.mu.Lock()
				refused = false
				f.mu.Unlock()
				write(400, func(time.Duration, error) {}) // a probe is due in 30 s at the latest
				stored := 0
				write(100, func(_ time.Duration, err error) {
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						stored++
					}
				})
				closeNow(t, p)
				if st := p.Stats(); stored != 100 || st.UserRecordsPending != 0 || st.BufferedBytes != 0 || st.Paused || st.UserRecordsPut+st.UserRecordsFailed != 1700 || !tt.fails && st.UserRecordsFailed > 0 {
					t.Errorf("%d of 100 records stored afterwards, Stats: %+v", stored, st)
				}
			})
		})
	}
	_, err := producer.New(newFake(1), "stream", producer.Config{FailIfPaused: true, Spool: producer.SpoolConfig{Dir: "d"}})
	if err == nil || !strings.Contains(err.Error(), "FailIfPaused") {
		t.Errorf("New with a spool = %v", err)
	}
}
