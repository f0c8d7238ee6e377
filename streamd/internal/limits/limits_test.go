package limits_test

import (
	"context"
	"flag"
	"maps"
	"math"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/arn"
	"github.com/streamkit/streamkit/streamd/internal/awserr"
	"github.com/streamkit/streamkit/streamd/internal/awsproto/shape"
	"github.com/streamkit/streamkit/streamd/internal/limits"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// rapid tells the same stories in each run; with -rapid.seed=0 it draws others.
var _ = flag.Set("rapid.seed", "1")

const mib = 1 << 20

// hand is a clock that is set by hand.
type hand struct{ t time.Time }

func newHand() *hand { return &hand{time.Unix(1_700_000_000, 123_456_789)} }

func (h *hand) now() time.Time        { return h.t }
func (h *hand) move(by time.Duration) { h.t = h.t.Add(by) }

func stream(id uint64, largest int) *state.Stream {
	return &state.Stream{
		Key: state.StreamKey{Scope: arn.Scope{Account: "111122223333", Region: "us-east-1"}, Name: "s"},
		ID:  id, Mode: state.Provisioned, MaxRecordBytes: largest,
	}
}

// admitted returns how many of n records of a size get through now.
func admitted(l *limits.Limiter, s *state.Stream, shard, n, size int) (ok int) {
	records := make([]api.Incoming, n)
	for i := range records {
		records[i] = api.Incoming{Shard: shard, Size: size}
	}
	refused := l.Admit(context.Background(), s, records)
	for i := range records {
		if records[i].Refused == nil {
			ok++
		}
	}
	if ok+refused != n {
		panic("the number of refusals is not that of the records refused")
	}
	return ok
}

// admit decides about one record.
func admit(l *limits.Limiter, s *state.Stream, shard, size int) *awserr.Error {
	records := []api.Incoming{{Shard: shard, Size: size}}
	l.Admit(context.Background(), s, records)
	return records[0].Refused
}

func expect(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

func TestWritesOfAShard(t *testing.T) {
	h := newHand()
	var refused int
	l := limits.New(limits.AWS(1), nil, h.now, func(_ *state.Stream, shard int, write bool, n int) {
		if write && shard == 0 {
			refused += n
		}
	})
	s, other := stream(1, mib), stream(2, mib)
	expect(t, "at first", admitted(l, s, 0, 1500, 1), 1000)
	expect(t, "refusals reported", refused, 500)
	expect(t, "another shard", admitted(l, s, 1, 1500, 1), 1000)
	expect(t, "another stream", admitted(l, other, 0, 1500, 1), 1000)
	h.move(time.Millisecond)
	expect(t, "a millisecond later", admitted(l, s, 0, 10, 1), 1)
	h.move(-time.Hour)
	expect(t, "an hour back", admitted(l, s, 0, 10, 1), 0)
	h.move(500 * time.Millisecond)
	expect(t, "half a second after that", admitted(l, s, 0, 1000, 1), 500)
	h.move(24 * time.Hour)
	expect(t, "a day later", admitted(l, s, 0, 1500, 1), 1000)

	h.move(time.Second)
	expect(t, "bytes", admitted(l, s, 0, 5, 300<<10), 3)
	expect(t, "a smaller record after refused ones", admitted(l, s, 0, 1, 100<<10), 1)
	want := &awserr.Error{Code: "ProvisionedThroughputExceededException", Message: "Rate exceeded for shard shardId-000000000000 in stream s under account 111122223333.", Status: 400}
	if got := admit(l, s, 0, 300<<10); got == nil || *got != *want {
		t.Errorf("refused with %v", got)
	}
	demand := stream(3, mib)
	demand.Mode = state.OnDemand
	expect(t, "on demand", admitted(l, demand, 0, 5000, 1000), 5000)
}

// TestRefusalsByShard has one call refused by more shards than usual, and by
// somebody else.
func TestRefusalsByShard(t *testing.T) {
	h := newHand()
	got := make(map[int]int)
	calls := 0
	l := limits.New(limits.Rates{WriteRecords: 1, ReadCalls: 1}, nil, h.now, func(_ *state.Stream, shard int, write bool, n int) {
		calls++
		if !write {
			n *= 100
		}
		got[shard] += n
	})
	s := stream(1, mib)
	const shards = 20
	records := make([]api.Incoming, 5*shards)
	for i := range records {
		records[i] = api.Incoming{Shard: i % shards, Size: 1}
	}
	records[3].Refused = new(awserr.Error)                                      // shard 3 takes one of the others
	expect(t, "refused", l.Admit(context.Background(), s, records), 4*shards-1) // the limit's own
	want := map[int]int{3: 3}
	for i := range shards {
		if i != 3 {
			want[i] = 4
		}
	}
	if !maps.Equal(got, want) || calls != shards {
		t.Errorf("%v in %d calls, want %v", got, calls, want)
	}
	for i := range 3 {
		if refused := l.AdmitRead(s, 7); (refused != nil) != (i > 0) {
			t.Errorf("read %d: %v", i, refused)
		}
	}
	expect(t, "reads of shard 7", got[7], 4+200)

	few := records[:4]
	if n := testing.AllocsPerRun(100, func() {
		for i := range few {
			few[i].Refused = nil
		}
		l.Admit(context.Background(), s, few)
	}); n != 0 {
		t.Errorf("%v allocations for refusals", n)
	}
}

func TestLargeRecords(t *testing.T) {
	h := newHand()
	l := limits.New(limits.AWS(1), nil, h.now, nil)
	s := stream(1, 10*mib)
	expect(t, "a burst of the largest", admitted(l, s, 0, 2, 10*mib), 1)
	h.move(9 * time.Second)
	expect(t, "nine seconds later", admitted(l, s, 0, 1, 10*mib), 0)
	expect(t, "what came in nine seconds", admitted(l, s, 0, 10, mib), 9)

	// However slow, each record passes at some time.
	slow := limits.New(limits.AWS(0.01), nil, h.now, nil)
	expect(t, "larger than the bucket", admitted(slow, stream(1, mib), 0, 2, mib), 1)
	h.move(98 * time.Second)
	expect(t, "before it is paid for", admitted(slow, stream(1, mib), 0, 1, 11000), 0)
	h.move(2 * time.Second)
	expect(t, "after", admitted(slow, stream(1, mib), 0, 1, mib), 1)
}

func TestReadsOfAShard(t *testing.T) {
	h := newHand()
	l := limits.New(limits.AWS(1), nil, h.now, nil)
	s := stream(1, mib)
	reads := func(n, size int) (ok int) {
		for range n {
			if l.AdmitRead(s, 0) == nil {
				l.Given(s, 0, size)
				ok++
			}
		}
		return ok
	}
	expect(t, "empty reads", reads(8, 0), 5)
	h.move(200 * time.Millisecond)
	expect(t, "a fifth of a second later", reads(8, 0), 1)
	h.move(time.Minute)
	expect(t, "a full answer", reads(3, 10*mib), 1)
	h.move(5*time.Second - time.Millisecond)
	expect(t, "within five seconds", reads(3, 0), 0)
	h.move(time.Millisecond)
	expect(t, "after five seconds", reads(8, 0), 5)
	want := "Rate exceeded for Shard - 111122223333/s/shardId-000000000000"
	if got := l.AdmitRead(s, 0); got == nil || got.Message != want || got.Code != "ProvisionedThroughputExceededException" {
		t.Errorf("refused with %v", got)
	}
	for range 5 {
		if err := l.AdmitIterator(s, 0); err != nil {
			t.Error(err)
		}
	}
	if got := l.AdmitIterator(s, 0); got == nil || got.Code != "ProvisionedThroughputExceededException" {
		t.Errorf("a sixth iterator: %v", got)
	}
}

func TestOperations(t *testing.T) {
	h := newHand()
	l := limits.New(limits.AWS(1), nil, h.now, nil)
	call := func(op, account, name string) error {
		scope := arn.Scope{Account: account, Region: "us-east-1"}
		c := api.Call{Operation: op, Scope: scope}
		if name != "" {
			c.Stream = state.StreamKey{Scope: scope, Name: name}
		}
		_, err := l.Around(t.Context(), c, func(context.Context) (shape.Output, error) { return nil, nil })
		return err
	}
	for _, tt := range []struct {
		op, name string
		want     int
		err      string
		shared   bool // by the streams of the account
	}{
		{"DescribeStream", "s", 10, "LimitExceededException: Rate exceeded for stream s under account 1.", true},
		{"ListStreams", "", 5, "LimitExceededException: Rate exceeded for account 1.", true},
		{"DescribeLimits", "", 1, "LimitExceededException: Rate exceeded for account 1.", true},
		{"ListShards", "s", 1000, "LimitExceededException: Rate exceeded for stream s under account 1.", false},
	} {
		for i := range tt.want {
			if err := call(tt.op, "1", tt.name); err != nil {
				t.Fatalf("%s, call %d: %v", tt.op, i+1, err)
			}
		}
		if err := call(tt.op, "1", tt.name); err == nil || err.Error() != tt.err {
			t.Errorf("%s: %v", tt.op, err)
		}
		if err := call(tt.op, "2", tt.name); err != nil {
			t.Errorf("%s of another account: %v", tt.op, err)
		}
		if err := call(tt.op, "1", "t"); (err != nil) != tt.shared {
			t.Errorf("%s of another stream: %v", tt.op, err)
		}
	}
	h.move(time.Second)
	if err := call("DescribeLimits", "1", ""); err != nil {
		t.Error(err)
	}
	for range 5000 {
		if err := call("PutRecords", "1", "s"); err != nil {
			t.Fatal(err)
		}
	}
}

// The names in a request lie in memory that the next request is read into.
func TestOperationsDoNotKeepTheRequest(t *testing.T) {
	h := newHand()
	l := limits.New(limits.Rates{Operations: 0.001}, nil, h.now, nil)
	buf := []byte("000000000000us-east-1orders")
	text := unsafe.String(&buf[0], len(buf))
	call := func(account, region, name string) bool {
		scope := arn.Scope{Account: account, Region: region}
		c := api.Call{Operation: "ListShards", Scope: scope, Stream: state.StreamKey{Scope: scope, Name: name}}
		_, err := l.Around(t.Context(), c, func(context.Context) (shape.Output, error) { return nil, nil })
		return err == nil
	}
	if !call(text[:12], text[12:21], text[21:]) {
		t.Fatal("the first call was refused")
	}
	copy(buf, "the next request, as it were")
	if call("000000000000", "us-east-1", "orders") {
		t.Error("the second call was not refused: the first has been forgotten")
	}
}

func TestSubscriptions(t *testing.T) {
	h := newHand()
	l := limits.New(limits.AWS(1), nil, h.now, nil)
	s := stream(1, mib)
	if err := l.Subscribe(s, "c", 0); err != nil {
		t.Error(err)
	}
	if err := l.Subscribe(s, "c", 0); err == nil || err.Code != "LimitExceededException" {
		t.Errorf("a second call: %v", err)
	}
	if err := l.Subscribe(s, "d", 0); err != nil {
		t.Errorf("another consumer: %v", err)
	}
	for i, want := range []time.Duration{0, 0, 500 * time.Millisecond, time.Second} {
		if got := l.Pace(s, "c", 0, mib); got != want {
			t.Errorf("MiB %d: wait %v, want %v", i+1, got, want)
		}
	}
	h.move(time.Second)
	if got := l.Pace(s, "c", 0, mib); got != 500*time.Millisecond {
		t.Errorf("a second later: wait %v", got)
	}
	if got := l.Pace(s, "d", 0, mib); got != 0 {
		t.Errorf("another consumer: wait %v", got)
	}
}

func TestIdleShardsAreForgotten(t *testing.T) {
	h := newHand()
	l := limits.New(limits.AWS(1), nil, h.now, nil)
	for id := range uint64(100_000) {
		if err := admit(l, stream(id, mib), 0, 100); err != nil {
			t.Fatal(err)
		}
		h.move(time.Millisecond)
	}
	if n := l.Entries(); n > 2048 {
		t.Errorf("%d shards remembered", n)
	}
}

func TestAdmitDoesNotAllocate(t *testing.T) {
	h := newHand()
	l := limits.New(limits.AWS(1), nil, h.now, nil)
	s := stream(1, mib)
	records := []api.Incoming{{Shard: 0, Size: 100}, {Shard: 1, Size: 100}}
	if n := testing.AllocsPerRun(100, func() {
		h.move(time.Second)
		if l.Admit(context.Background(), s, records) != 0 || l.AdmitRead(s, 0) != nil {
			t.Fatal("refused")
		}
		l.Given(s, 0, 100)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestNoWindowHasMoreThanItsRate checks, over any sequence of records in time,
// that no stretch of it took more than the rate times its length and the depth.
func TestNoWindowHasMoreThanItsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		factor := rapid.SampledFrom([]float64{0.001, 0.01, 0.3, 1, 7}).Draw(t, "factor")
		largest := rapid.SampledFrom([]int{mib, 3*mib + 5, 10 * mib}).Draw(t, "largest")
		h := newHand()
		l := limits.New(limits.AWS(factor), nil, h.now, nil)
		s := stream(1, largest)
		depth := max(factor*float64(largest), 1)
		type taken struct {
			at   time.Time
			size int
		}
		var all []taken
		for range rapid.IntRange(1, 150).Draw(t, "records") {
			h.move(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "pause")))
			size := rapid.IntRange(0, largest).Draw(t, "size")
			if admit(l, s, 0, size) == nil {
				all = append(all, taken{h.now(), size})
			}
		}
		for i := range all {
			records, bytes := 0.0, 0.0
			for _, last := range all[i:] {
				records++
				bytes += float64(last.size)
				seconds := last.at.Sub(all[i].at).Seconds() + 1e-6 // the clock's grain
				if most := 1000*factor*seconds + max(1000*factor, 1) + 1e-3; records > most {
					t.Fatalf("%v records in %v s, at most %v", records, seconds, most)
				}
				// The last record may be larger than the bucket.
				most := mib*factor*seconds + depth + math.Max(0, float64(last.size)-depth) + 1
				if i < len(all) && float64(all[i].size) > depth {
					most += float64(all[i].size) - depth
				}
				if bytes > most {
					t.Fatalf("%v bytes in %v s, at most %v", bytes, seconds, most)
				}
			}
		}
	})
}

func TestCheckNamesEachBadRate(t *testing.T) {
	for _, r := range []limits.Rates{{WriteRecords: -1}, {ReadBytes: math.NaN()}, {Iterators: math.Inf(1)}, {Operations: 0.0001}} {
		if r.Check() == nil {
			t.Errorf("%+v passes", r)
		}
	}
	for _, factor := range []float64{0.001, 1, 100} {
		if err := limits.AWS(factor).Check(); err != nil {
			t.Errorf("%v times AWS: %v", factor, err)
		}
	}
}

// TestNoWindowIsReadFasterThanItsRate checks, over any sequence of reads in
// time, that no stretch of it gave more than the rate times its length, what
// comes in a second, and the one answer that leaves it in debt.
func TestNoWindowIsReadFasterThanItsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		factor := rapid.SampledFrom([]float64{0.001, 0.05, 0.3, 1, 7}).Draw(t, "factor")
		h := newHand()
		l := limits.New(limits.AWS(factor), nil, h.now, nil)
		s := stream(1, mib)
		type given struct {
			at   time.Time
			size int
		}
		var all []given
		longest := rapid.SampledFrom([]int64{int64(10 / factor * float64(time.Second)), int64(8 * time.Second), int64(time.Second)}).Draw(t, "longest pause")
		for range rapid.IntRange(1, 150).Draw(t, "reads") {
			h.move(time.Duration(rapid.Int64Range(0, longest).Draw(t, "pause")))
			size := rapid.OneOf(rapid.IntRange(0, 10*mib), rapid.Just(10*mib)).Draw(t, "size")
			if l.AdmitRead(s, 0) == nil {
				l.Given(s, 0, size)
				all = append(all, given{h.now(), size})
			}
		}
		for i := range all {
			calls, bytes := 0.0, 0.0
			for _, last := range all[i:] {
				seconds := last.at.Sub(all[i].at).Seconds() + 1e-6 // the clock's grain
				// bytes are those before the last answer, which nobody knew the size of.
				if most := 2*mib*factor*seconds + 2*mib*factor + 10*mib + 1; bytes > most {
					t.Fatalf("%v bytes in %v s, at most %v", bytes, seconds, most)
				}
				calls++
				bytes += float64(last.size)
				if most := 5*factor*seconds + max(5*factor, 1) + 1e-3; calls > most {
					t.Fatalf("%v calls in %v s, at most %v", calls, seconds, most)
				}
			}
		}
	})
}

// TestSlowReadsArePaidInFull has one large answer at a twentieth of AWS.
func TestSlowReadsArePaidInFull(t *testing.T) {
	h := newHand()
	l := limits.New(limits.AWS(0.05), nil, h.now, nil)
	s := stream(1, mib)
	if err := l.AdmitRead(s, 0); err != nil {
		t.Fatal(err)
	}
	l.Given(s, 0, 10*mib)
	h.move(99 * time.Second)
	if l.AdmitRead(s, 0) == nil {
		t.Error("read again after 99 s")
	}
	h.move(2 * time.Second)
	if err := l.AdmitRead(s, 0); err != nil {
		t.Errorf("after 101 s: %v", err)
	}
}

func TestOverrides(t *testing.T) {
	h := newHand()
	l := limits.New(limits.Rates{WriteRecords: 3, ReadCalls: 2}, []limits.Override{
		{Stream: "orders", Rates: limits.Rates{WriteRecords: 5}},
		{Stream: "o*", Rates: limits.Rates{ReadCalls: 1, Iterators: 1}},
	}, h.now, nil)
	for i, tt := range []struct {
		name                   string
		writes, reads, iterate int
	}{
		{"orders", 5, 10, 10},
		{"orders-2", 10, 1, 1},
		{"x", 3, 2, 10},
	} {
		s := stream(uint64(i), mib)
		s.Key.Name = tt.name
		reads, iterators := 0, 0
		for range 10 {
			if l.AdmitRead(s, 0) == nil {
				reads++
			}
			if l.AdmitIterator(s, 0) == nil {
				iterators++
			}
		}
		expect(t, tt.name+", writes", admitted(l, s, 0, 10, 1), tt.writes)
		expect(t, tt.name+", reads", reads, tt.reads)
		expect(t, tt.name+", iterators", iterators, tt.iterate)
	}
}
