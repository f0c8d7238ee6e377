package producer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

// order returns the data of the records of a key in the order of the stream.
func (f *fakeStream) order(key string) (all []string) {
	for _, rd := range f.readAll() {
		if rd.pk == key {
			all = append(all, rd.data)
		}
	}
	return all
}

// TestFailKeyed: with a record that fails, the later ones of its key that are
// buffered fail, wherever they are, and no others.
func TestFailKeyed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    producer.Config
		stored []string // of the key
	}{
		{name: "fail keyed", stored: []string{"0", "1", "later"}},
		{name: "skip one", cfg: producer.Config{OnFailure: producer.SkipOne}, stored: []string{"0", "1", "3", "4", "5", "6", "7", "8", "9", "later"}},
		{name: "unordered", cfg: producer.Config{Order: producer.Unordered}, stored: []string{"0", "1", "3", "4", "5", "6", "7", "8", "9", "later"}},
		{name: "fail keyed, records of their own", cfg: producer.Config{DisableAggregation: true}, stored: []string{"0", "1", "later"}},
		{name: "skip one, records of their own", cfg: producer.Config{DisableAggregation: true, OnFailure: producer.SkipOne}, stored: []string{"0", "1", "3", "4", "5", "6", "7", "8", "9", "later"}},
		{name: "several aggregated records", cfg: producer.Config{AggregationMaxCount: 7}, stored: []string{"0", "1", "later"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				f.onRequest = func(in *kinesis.PutRecordsInput) error {
					for i := range in.Records {
						if strings.Contains(string(in.Records[i].Data), "poison") {
							return apiError("ValidationException")
						}
					}
					return nil
				}
				p := start(t, f, tt.cfg)
				var mine, others sink
				for i := range 10 {
					data := fmt.Sprint(i)
					if i == 2 {
						data = "poison"
					}
					put(t, p, record("mine", data), mine.done)
					put(t, p, record(fmt.Sprint("other-", i), "x"), others.done)
					put(t, p, producer.UserRecord{Data: []byte("keyless")}, others.done)
				}
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				put(t, p, record("mine", "later"), mine.done)
				closeNow(t, p)
				got := f.order("mine")
				if tt.cfg.Order == producer.Unordered {
					slices.Sort(got)
				}
				if !slices.Equal(got, tt.stored) {
					t.Errorf("stored %v, want %v", got, tt.stored)
				}
				if n := len(others.errors()); n != 20 || slices.ContainsFunc(others.errors(), func(err error) bool { return err != nil }) {
					t.Errorf("the others: %v", others.errors())
				}
				failed := 0
				for i, err := range mine.errors() {
					if err == nil {
						continue
					}
					failed++
					if follows := errors.Is(err, producer.ErrEarlierFailed); follows == (failed == 1) {
						t.Errorf("result %d: %v", i, err)
					}
				}
				if want := 11 - len(tt.stored); failed != want {
					t.Errorf("%d of the key failed, want %d", failed, want)
				}
				if st := p.Stats(); st.UserRecordsFailed != uint64(failed) || st.UserRecordsPending != 0 || st.BufferedBytes != 0 {
					t.Errorf("Stats: %+v", st)
				}
			})
		})
	}
}

// A record that is put by the callback of one that failed is none of those that fail
// with it: the failure was reported.
func TestFailKeyedEndsWithTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.onRequest = func(in *kinesis.PutRecordsInput) error {
			if strings.Contains(string(in.Records[0].Data), "poison") {
				return apiError("ValidationException")
			}
			return nil
		}
		p := start(t, f, producer.Config{AggregationMaxCount: 1})
		var again sink
		put(t, p, record("mine", "poison"), func(producer.Result) {
			if err := p.TryPut(record("mine", "again"), again.done); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		closeNow(t, p)
		if got, errs := f.order("mine"), again.errors(); !slices.Equal(got, []string{"again"}) || len(errs) != 1 || errs[0] != nil {
			t.Errorf("stored %v, errors %v", got, errs)
		}
	})
}

// TestFailKeyedAtExpiry: a record that expires takes the later ones of its key
// with it, those in the same aggregated record and those behind it.
func TestFailKeyedAtExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		stuck := true
		f.onEntry = func(*types.PutRecordsRequestEntry) string {
			if stuck {
				return "InternalFailure"
			}
			return ""
		}
		p := start(t, f, producer.Config{RecordTTL: 10 * time.Second, RecordMaxBufferedTime: 6 * time.Second, AggregationMaxCount: 4})
		loadless := func(key, data string, s *sink) { put(t, p, record(key, data), s.done) }
		var a, b sink
		loadless("a", "1", &a)
		time.Sleep(5 * time.Second)
		loadless("a", "2", &a) // in the same aggregated record
		loadless("b", "1", &b)
		time.Sleep(3 * time.Second)
		loadless("a", "3", &a)
		loadless("b", "2", &b)
		time.Sleep(2500 * time.Millisecond) // the first is too old now
		f.mu.Lock()
		stuck = false
		f.mu.Unlock()
		closeNow(t, p)
		if errs := a.errors(); len(errs) != 3 || !errors.Is(errs[0], producer.ErrExpired) || !errors.Is(errs[1], producer.ErrEarlierFailed) || !errors.Is(errs[2], producer.ErrEarlierFailed) {
			t.Errorf("results of a: %v", errs)
		}
		if errs := b.errors(); len(errs) != 2 || errs[0] != nil || errs[1] != nil {
			t.Errorf("results of b: %v", errs)
		}
		if got := f.order("a"); len(got) != 0 {
			t.Errorf("stored of a: %v", got)
		}
	})
}

// TestUnordered: one request carries several aggregated records of a shard.
func TestUnordered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.latency = func() time.Duration { return 100 * time.Millisecond }
		largest := 0
		f.onRequest = func(in *kinesis.PutRecordsInput) error {
			largest = max(largest, len(in.Records))
			return nil
		}
		p := start(t, f, producer.Config{Order: producer.Unordered, AggregationMaxSize: 10_000})
		led := newLedger()
		begin := time.Now()
		for i := range 10_000 {
			data := payload(fmt.Sprint("keyless", i), 1) // no order to check
			led.accept(data)
			put(t, p, producer.UserRecord{PartitionKey: fmt.Sprint("keyless", i), ExplicitHashKey: "7", Data: []byte(data + "|" + strings.Repeat("x", 80))}, func(r producer.Result) { led.report(data, r) })
		}
		closeNow(t, p)
		if took := time.Since(begin); took > time.Second || largest < 10 {
			t.Errorf("took %v, the largest request had %d records", took, largest)
		}
		if st := p.Stats(); st.UserRecordsPut != 10_000 || st.SequenceRegressions != 0 {
			t.Errorf("Stats: %+v", st)
		}
	})
}

// TestUnorderedReshard: several aggregated records of one set land elsewhere.
func TestUnorderedReshard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		p := start(t, f, producer.Config{Order: producer.Unordered, AggregationMaxCount: 10, ShardRefreshInterval: -1})
		loadMap(t, p, newLedger())
		f.mu.Lock()
		f.latency = func() time.Duration { return 50 * time.Millisecond }
		f.mu.Unlock()
		put(t, p, record("ahead", "x"), nil)
		time.Sleep(45 * time.Millisecond) // it is stored, and keeps the lane busy
		f.split(0)
		var s sink
		halves := hashkey.Uniform(2)
		for _, k := range keysIn(halves[0], 40) { // four of one child
			put(t, p, record(k, "x"), s.done)
		}
		for _, k := range keysIn(hashkey.All, 60) { // six of both
			put(t, p, record(k, "x"), s.done)
		}
		closeNow(t, p)
		st := p.Stats()
		if st.UserRecordsPut != 102 || st.KinesisRecordsPut > 18 || st.ReshardResent == 0 || st.ReshardResent > 60 || st.Shards != 2 {
			t.Errorf("Stats: %+v", st)
		}
		kept := map[string]bool{}
		for _, rd := range f.readAll() {
			if !rd.discarded {
				kept[rd.pk] = true
			}
		}
		for _, k := range slices.Concat(keysIn(halves[0], 40), keysIn(hashkey.All, 60)) {
			if !kept[k] {
				t.Errorf("readers lose %s", k)
			}
		}
		if n := len(s.errors()); n != 100 {
			t.Errorf("%d results", n)
		}
	})
}

// TestStrict: each Kinesis record is sent alone, after the last one of its
// shard, also through faults, a reshard and a new stream.
func TestStrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &strict{described: &described{fakeStream: newFake(2)}}
		p := start(t, s, producer.Config{Order: producer.Strict, AggregationMaxCount: 5, ShardRefreshInterval: -1, RecordTTL: -1})
		led := newLedger()
		n := 0
		write := func(rounds int) {
			for range rounds {
				n++
				for k := range 20 {
					data := payload(fmt.Sprint("k", k), n)
					led.accept(data)
					put(t, p, record(fmt.Sprint("k", k), data), func(r producer.Result) { led.report(data, r) })
				}
			}
		}
		write(20)
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		fails := 0
		s.mu.Lock()
		s.onEntry = func(*types.PutRecordsRequestEntry) string {
			if fails++; fails%5 == 0 {
				return "ProvisionedThroughputExceededException"
			}
			return ""
		}
		s.mu.Unlock()
		write(20)
		s.split(0)
		write(20)
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The service does not know the number any more.
		refused := 0
		s.mu.Lock()
		s.onEntry = nil
		s.onRequest = func(*kinesis.PutRecordsInput) error {
			if s.afters[len(s.afters)-1] != "" {
				refused++
				return apiError("InvalidArgumentException")
			}
			return nil
		}
		s.mu.Unlock()
		write(1)
		closeNow(t, p)
		s.mu.Lock()
		first, after := 0, 0
		for _, a := range s.afters {
			if a == "" {
				first++
			} else {
				after++
			}
		}
		for _, size := range s.sizes {
			if size != 1 {
				t.Errorf("a request of %d Kinesis records", size)
			}
		}
		s.mu.Unlock()
		if refused == 0 || first < 4 || after < 100 {
			t.Errorf("%d sent after a number, %d without one, %d refused", after, first, refused)
		}
		check(t, s.fakeStream, led, p.Stats(), true, false)
	})
	if _, err := producer.New(newFake(1), "stream", producer.Config{Order: producer.Strict}); err == nil || !strings.Contains(err.Error(), "PutRecord") {
		t.Errorf("New without PutRecord = %v", err)
	}
}

var (
	_ producer.RecordPutter = (*kinesis.Client)(nil)
	_ producer.Describer    = (*kinesis.Client)(nil)
)

// TestAckInRange: what belongs to the shard that an aggregated record landed on
// is stored, the rest is sent again, and places in the stream are told right.
func TestAckInRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		p := start(t, f, producer.Config{AckInRange: true, ShardRefreshInterval: -1})
		led := newLedger()
		loadMap(t, p, led)
		halves := hashkey.Uniform(2)
		left, right := keysIn(halves[0], 3), keysIn(halves[1], 3)
		f.split(0)
		results := map[string]producer.Result{}
		for i := range 3 {
			for _, k := range []string{right[i], left[i]} {
				put(t, p, record(k, k), func(r producer.Result) { results[k] = r })
			}
		}
		closeNow(t, p)
		st := p.Stats()
		if st.ReshardResent != 3 || st.UserRecordsPut != 7 {
			t.Errorf("Stats: %+v", st)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for k, r := range results {
			found := false
			for _, sh := range f.shards {
				for _, e := range sh.entries {
					if sh.id != r.ShardID || e.seq != r.SequenceNumber {
						continue
					}
					if !sh.keys.Contains(hashkey.Of(k)) {
						t.Errorf("record %s was acknowledged on %s, where it does not belong", k, sh.id)
					}
					_, err := aggregation.Walk(e.data, func(i int, u aggregation.Record) bool {
						found = found || i == r.SubSequenceNumber && string(u.Data) == k
						return true
					})
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			if !found {
				t.Errorf("record %s is not at %+v", k, r)
			}
		}
	})
}

// TestReorderGuard: after an attempt that may be stored late, the shard gets
// nothing for the time that is set; after one that was refused it does.
func TestReorderGuard(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		guard bool
	}{
		{name: "timeout", guard: true},
		{name: "reset", err: errors.New("connection reset"), guard: true},
		{name: "server fault", err: apiError("InternalFailure"), guard: true},
		{name: "rate of the account", err: apiError("LimitExceededException")},
		{name: "rate of the shard", err: apiError("ProvisionedThroughputExceededException")},
		{name: "expired credentials", err: apiError("ExpiredTokenException")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				first := true
				if tt.err == nil {
					f.afterStore = func() fate {
						if first {
							first = false
							return timeout
						}
						return answer
					}
				} else {
					f.onRequest = func(*kinesis.PutRecordsInput) error {
						if first {
							first = false
							return tt.err
						}
						return nil
					}
				}
				p := start(t, f, producer.Config{ReorderGuard: 3 * time.Second, RequestTimeout: time.Second})
				begin := time.Now()
				if _, err := p.PutSync(t.Context(), record("k", "x")); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); tt.guard != (took >= 3*time.Second) || took > 5*time.Second {
					t.Errorf("stored after %v, guarded: %v", took, tt.guard)
				}
				closeNow(t, p)
			})
		})
	}
}

// withCredentials is an API with a client's options.
type withCredentials struct {
	*fakeStream
	creds *renewable
}

func (w *withCredentials) Options() kinesis.Options {
	return kinesis.Options{Credentials: w.creds}
}

type renewable struct{ invalidated int }

func (r *renewable) Invalidate() { r.invalidated++ }

func (r *renewable) Retrieve(context.Context) (aws.Credentials, error) { return aws.Credentials{}, nil }

// TestRenewal: credentials that the service refuses are asked for again.
func TestRenewal(t *testing.T) {
	for code, want := range map[string]int{"ExpiredTokenException": 3, "RequestTimeTooSkewed": 3, "ThrottlingException": 0} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				left := 3
				f.onRequest = func(*kinesis.PutRecordsInput) error {
					if left--; left >= 0 {
						return apiError(code)
					}
					return nil
				}
				w := &withCredentials{fakeStream: f, creds: &renewable{}}
				p := start(t, w, producer.Config{})
				if res, err := p.PutSync(t.Context(), record("k", "x")); err != nil || res.Attempts != 4 {
					t.Errorf("%d attempts, %v", res.Attempts, err)
				}
				if w.creds.invalidated != want {
					t.Errorf("invalidated %d times, want %d", w.creds.invalidated, want)
				}
				closeNow(t, p)
			})
		})
	}
}
