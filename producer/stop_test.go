package producer_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/vfs/vfstest"
	"github.com/streamkit/streamkit/producer"
)

// refusePoison refuses requests with a record that says poison.
func refusePoison(in *kinesis.PutRecordsInput) error {
	for i := range in.Records {
		if strings.Contains(string(in.Records[i].Data), "poison") {
			return apiError("ValidationException")
		}
	}
	return nil
}

// TestStopKeyed: what is put of a key after one of its records failed fails as
// well, until the key is resumed, and nothing of other keys does.
func TestStopKeyed(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  producer.Config
		mine producer.UserRecord
		same []producer.UserRecord // other records, which have nothing to do with it
	}{
		{name: "aggregated", mine: record("mine", "")},
		{name: "records of their own", cfg: producer.Config{DisableAggregation: true}, mine: record("mine", "")},
		{
			name: "explicit hash key", mine: producer.UserRecord{PartitionKey: "mine", ExplicitHashKey: "7"},
			same: []producer.UserRecord{record("mine", "x"), {PartitionKey: "mine", ExplicitHashKey: "8", Data: []byte("x")}},
		},
		{
			name: "hash key of the partition key", mine: record("mine", ""),
			same: []producer.UserRecord{{PartitionKey: "other", ExplicitHashKey: hashkey.Of("mine").String(), Data: []byte("x")}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				f.onRequest = refusePoison
				tt.cfg.OnFailure = producer.StopKeyed
				p := start(t, f, tt.cfg)
				var mine, others sink
				one := func(data string) {
					t.Helper()
					r := tt.mine
					r.Data = []byte(data)
					put(t, p, r, mine.done)
				}
				resume := func() bool { return p.ResumeKey(tt.mine.PartitionKey, tt.mine.ExplicitHashKey) }
				if resume() {
					t.Error("a key was stopped before anything failed")
				}
				one("before")
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				one("poison")
				one("behind")
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				one("later")
				batch := []producer.UserRecord{tt.mine, record("a", "x"), {Data: []byte("keyless")}, tt.mine}
				batch[0].Data, batch[3].Data = []byte("in a batch"), []byte("in a batch")
				var res producer.BatchResult
				if err := p.PutBatch(t.Context(), batch, func(r producer.BatchResult) { res = r }); err != nil {
					t.Fatal(err)
				}
				for _, r := range append(tt.same, record("b", "x")) {
					put(t, p, r, others.done)
				}
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(res.Failed) != 2 || res.Failed[0].Index != 0 || res.Failed[1].Index != 3 || !errors.Is(res.Failed[0].Err, producer.ErrEarlierFailed) {
					t.Errorf("result of the batch: %+v", res)
				}
				if !resume() || resume() {
					t.Error("the key was not stopped, or not resumed")
				}
				one("resumed")
				closeNow(t, p)
				var stored []string
				for _, data := range f.order(tt.mine.PartitionKey) {
					if data != "x" {
						stored = append(stored, data)
					}
				}
				if want := []string{"before", "resumed"}; !slices.Equal(stored, want) {
					t.Errorf("stored %q, want %q", stored, want)
				}
				errs := mine.errors()
				if len(errs) != 5 || errs[0] != nil || errs[1] == nil || errors.Is(errs[1], producer.ErrEarlierFailed) ||
					!errors.Is(errs[2], producer.ErrEarlierFailed) || !errors.Is(errs[3], producer.ErrEarlierFailed) || errs[4] != nil {
					t.Errorf("results: %v", errs)
				}
				if errs := others.errors(); len(errs) != 1+len(tt.same) || slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
					t.Errorf("results of the others: %v", errs)
				}
				if st := p.Stats(); st.UserRecordsFailed != 5 || st.UserRecordsPending != 0 || st.BufferedBytes != 0 ||
					st.UserRecordsReceived != st.UserRecordsPut+st.UserRecordsFailed {
					t.Errorf("Stats: %+v", st)
				}
			})
		})
	}
}

// A Put that waits for memory while an earlier record of its key is on its way is
// behind it, whenever it gets the memory: nothing of it is stored if that one fails.
func TestStopKeyedMeetsPutsThatWait(t *testing.T) {
	for _, policy := range []producer.FailurePolicy{producer.StopKeyed, producer.FailKeyed} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				f.onRequest = refusePoison
				f.latency = func() time.Duration { return time.Second }
				p := start(t, f, producer.Config{OnFailure: policy, MaxBufferedBytes: 10_000, MaxUserRecordSize: 5000})
				var mine sink
				put(t, p, record("mine", "poison"+strings.Repeat("x", 4900)), mine.done)
				put(t, p, record("other", strings.Repeat("x", 1000)), nil)
				time.Sleep(500 * time.Millisecond) // it is in flight
				var waiting sync.WaitGroup
				waiting.Go(func() {
					if err := p.Put(t.Context(), record("mine", strings.Repeat("y", 4900)), mine.done); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
				if p.Stats().PutsBlocked != 1 {
					t.Error("the second Put does not wait")
				}
				waiting.Wait()
				closeNow(t, p)
				errs := mine.errors()
				if len(errs) != 2 || errs[0] == nil {
					t.Fatalf("results: %v", errs)
				}
				if refused := errors.Is(errs[1], producer.ErrEarlierFailed); refused != (policy == producer.StopKeyed) || refused == (len(f.order("mine")) == 1) {
					t.Errorf("results: %v; %d stored", errs, len(f.order("mine")))
				}
			})
		})
	}
}

// The callbacks of a key come in the order of its Puts, and none while another of the
// shard runs, though some records are refused while they are put.
func TestStopKeyedReportsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.onRequest = refusePoison
		f.latency = func() time.Duration { return 100 * time.Millisecond }
		p := start(t, f, producer.Config{OnFailure: producer.StopKeyed, RecordMaxBufferedTime: 10 * time.Millisecond})
		var mu sync.Mutex
		var told []int
		running, most := 0, 0
		done := func(i int) func(producer.Result) {
			return func(producer.Result) {
				mu.Lock()
				running++
				most = max(most, running)
				told = append(told, i)
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
				mu.Lock()
				running--
				mu.Unlock()
			}
		}
		for i := range 100 {
			r := record("mine", fmt.Sprint(i))
			if i == 3 {
				r.Data = []byte("poison")
			}
			put(t, p, r, done(i))
			put(t, p, record("other", "x"), func(producer.Result) {})
			time.Sleep(7 * time.Millisecond)
		}
		closeNow(t, p)
		if len(told) != 100 || !slices.IsSorted(told) || most != 1 {
			t.Errorf("%d callbacks, %d at once, in the order %v", len(told), most, told)
		}
		if got := f.order("mine"); len(got) != 3 {
			t.Errorf("stored %v", got)
		}
	})
}

// What waits in the spool behind a record that fails is not stored either, and the
// spool forgets it.
func TestStopKeyedInTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.onRequest = refusePoison
		disk := vfstest.NewDisk()
		p := spoolTo(t, f, disk, producer.Config{OnFailure: producer.StopKeyed, AggregationMaxCount: 1, Spool: producer.SpoolConfig{Mode: producer.SpoolAlways}})
		var mine, others sink
		for i := range 50 {
			r := record("mine", fmt.Sprint(i))
			if i == 3 {
				r.Data = []byte("poison")
			}
			put(t, p, r, mine.done)
			put(t, p, record("other", fmt.Sprint(i)), others.done)
		}
		closeNow(t, p)
		if got := f.order("mine"); !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("stored %v", got)
		}
		if got := f.order("other"); len(got) != 50 {
			t.Errorf("stored of the other key %v", got)
		}
		if len(mine.errors()) != 50 || len(others.errors()) != 50 {
			t.Errorf("%d and %d results, want 50", len(mine.errors()), len(others.errors()))
		}
		if st := p.Stats(); st.SpoolRecords != 0 || st.UserRecordsFailed != 47 {
			t.Errorf("Stats: %+v", st)
		}
	})
}

func TestResumeKeyOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, policy := range []producer.FailurePolicy{producer.StopKeyed, producer.FailKeyed, producer.SkipOne} {
			p := start(t, newFake(1), producer.Config{OnFailure: policy})
			for _, key := range []string{"", "mine", "\xff", strings.Repeat("x", 257)} {
				if p.ResumeKey(key, "") || p.ResumeKey(key, "7") || p.ResumeKey(key, "no number") {
					t.Errorf("policy %d: key %q was stopped", policy, key)
				}
			}
			closeNow(t, p)
		}
	})
}
