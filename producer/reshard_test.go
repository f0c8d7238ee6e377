package producer_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

// keysIn returns n partition keys whose hash keys lie in r.
func keysIn(r hashkey.Range, n int) (ks []string) {
	for i := 0; len(ks) < n; i++ {
		if k := fmt.Sprint("key-", i); r.Contains(hashkey.Of(k)) {
			ks = append(ks, k)
		}
	}
	return ks
}

// loadMap puts a record and waits for it: then the producer knows the shards.
func loadMap(t *testing.T, p *producer.Producer, led *ledger) {
	t.Helper()
	data := payload("first", 1)
	led.accept(data)
	res, err := p.PutSync(t.Context(), record("first", data))
	if err != nil {
		t.Fatal(err)
	}
	led.report(data, res)
}

// TestAggregateThatSpansChildren: an aggregated record made for a shard that
// has been split lands on one child. If it holds keys of the other one, a
// reader discards all of it, so all of it must be sent again, in order; if it
// does not, it must not be sent again.
func TestAggregateThatSpansChildren(t *testing.T) {
	halves := hashkey.Uniform(2)
	left, right := keysIn(halves[0], 2), keysIn(halves[1], 2)
	for _, tt := range []struct {
		name   string
		keys   []string
		resent uint64
	}{
		{name: "both children", keys: []string{left[0], right[0], left[1], left[0]}, resent: 4},
		{name: "one child", keys: []string{left[0], left[1], left[0], left[0]}},
		{name: "one record", keys: []string{right[0]}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				p := start(t, f, producer.Config{ShardRefreshInterval: -1})
				led := newLedger()
				loadMap(t, p, led)
				f.split(0)
				n := map[string]int{}
				for _, k := range tt.keys {
					n[k]++
					data := payload(k, n[k])
					led.accept(data)
					put(t, p, record(k, data), func(r producer.Result) { led.report(data, r) })
				}
				time.Sleep(time.Second) // the new map may come after the acknowledgement
				closeNow(t, p)
				s := p.Stats()
				if s.WrongShard != 1 || s.ReshardResent != tt.resent || s.Shards != 2 || s.UnexplainedShards != 0 {
					t.Errorf("Stats: %+v", s)
				}
				check(t, f, led, s, true, false)
				copies := 0
				for _, rd := range f.readAll() {
					if rd.pk != "first" {
						copies++
					}
				}
				if want := len(tt.keys) + int(tt.resent); copies != want {
					t.Errorf("%d copies in the stream, want %d", copies, want)
				}
			})
		})
	}
}

// TestListsBehindTheTimes: lists that do not know the new shard, or have a
// hole, leave the old map in place until a good one comes.
func TestListsBehindTheTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(3)
		p := start(t, f, producer.Config{ShardRefreshInterval: -1, RecordTTL: -1})
		led := newLedger()
		loadMap(t, p, led)
		old := f.listing()
		f.split(1)
		overlap := append(f.listing(), old[1])
		f.mu.Lock()
		f.listed = [][]types.Shard{old, old[1:], old[:2], {}, overlap, old}
		f.mu.Unlock()
		for i := range 60 {
			data := payload(fmt.Sprint("k", i%20), i/20+1)
			led.accept(data)
			put(t, p, record(fmt.Sprint("k", i%20), data), func(r producer.Result) { led.report(data, r) })
		}
		closeNow(t, p)
		s := p.Stats()
		// The four bad lists are counted as failures; the two old ones are
		// complete, but do not know the shard that the record landed on.
		if s.MapFailures != 4 || s.MapRefreshes != 4 || s.Shards != 4 || s.WrongShard != 1 {
			t.Errorf("Stats: %+v", s)
		}
		check(t, f, led, s, true, false)
	})
}

// TestOtherLanesDoNotStop: while a shard's lane waits for a new map, the
// records of other shards flow.
func TestOtherLanesDoNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		p := start(t, f, producer.Config{ShardRefreshInterval: -1, RecordTTL: -1})
		loadMap(t, p, newLedger())
		f.split(0)
		f.mu.Lock()
		f.onList = func() error { return apiError("LimitExceededException") }
		f.mu.Unlock()
		halves := hashkey.Uniform(2)
		closed, open := keysIn(halves[0], 3), keysIn(halves[1], 1)
		var stuck, flowing sink
		for _, k := range closed {
			put(t, p, record(k, "stuck"), stuck.done)
		}
		for range 100 {
			put(t, p, record(open[0], "flowing"), flowing.done)
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if n := len(flowing.errors()); n != 100 {
			t.Errorf("%d of 100 records of the open shard were reported", n)
		}
		f.mu.Lock()
		f.onList = nil
		f.mu.Unlock()
		closeNow(t, p)
		if n := len(stuck.errors()); n != 3 {
			t.Errorf("%d of 3 records of the closed shard were reported", n)
		}
	})
}

// TestLandingShardThatIsGone: the shard on which a record landed has been
// split again before the lists show it; it is in no list of open shards.
func TestLandingShardThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		p := start(t, f, producer.Config{ShardRefreshInterval: -1, RecordTTL: -1})
		led := newLedger()
		loadMap(t, p, led)
		f.split(0)
		splitAgain := false
		f.mu.Lock()
		f.onList = func() error {
			if !splitAgain {
				splitAgain = true
				for _, s := range f.openLocked() {
					f.splitLocked(s)
				}
			}
			return nil
		}
		f.mu.Unlock()
		for i := range 20 {
			data := payload(fmt.Sprint("k", i), 1)
			led.accept(data)
			put(t, p, record(fmt.Sprint("k", i), data), func(r producer.Result) { led.report(data, r) })
		}
		closeNow(t, p)
		check(t, f, led, p.Stats(), true, false)
	})
}

// TestPeriodicRefresh: a merge of shards to which nothing is written shows
// only in the lists.
func TestPeriodicRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(4)
		f.pageSize = 1
		p := start(t, f, producer.Config{ShardRefreshInterval: time.Minute})
		time.Sleep(time.Second)
		if s := p.Stats(); s.Shards != 4 {
			t.Errorf("%d shards, want 4", s.Shards)
		}
		f.merge(0)
		time.Sleep(2 * time.Minute)
		if s := p.Stats(); s.Shards != 3 || s.MapRefreshes < 2 || s.MapRefreshes > 4 {
			t.Errorf("Stats: %+v", s)
		}
		closeNow(t, p)
	})
}

// TestKeyless: records without a key fill aggregated records one after another
// and spread over the shards; a split leaves nothing to resend.
func TestKeyless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(4)
		p := start(t, f, producer.Config{AggregationMaxSize: 2000, ShardRefreshInterval: -1})
		led := newLedger()
		n := 0
		fill := func(records int) {
			for range records {
				n++
				data := payload("keyless", n) + strings.Repeat("|x", 25)
				led.accept(data)
				put(t, p, producer.UserRecord{Data: []byte(data)}, func(r producer.Result) { led.report(data, r) })
			}
		}
		fill(3000)
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := map[string]int{}
		spread := func() {
			t.Helper()
			now := map[string]int{}
			for _, rd := range f.readAll() {
				now[rd.shard]++
			}
			for id, n := range now {
				// Some 120 aggregated records fall on four shards at random: these
				// are five standard deviations.
				if d := n - before[id]; d < 150 || d > 1350 {
					t.Errorf("shard %s got %d of 3000 records", id, d)
				}
			}
			before = now
		}
		spread()
		kinesisRecords := p.Stats().KinesisRecordsPut
		if kinesisRecords > 140 { // 3000 × 70 bytes in 2000 each, and the odd rest
			t.Errorf("%d Kinesis records", kinesisRecords)
		}
		fill(3000)
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		spread() // now that the shards are known
		f.split(0)
		f.split(2)
		fill(3000)
		closeNow(t, p)
		s := p.Stats()
		if s.ReshardResent != 0 || s.WrongShard == 0 {
			t.Errorf("%d records resent after %d wrong shards, want none after some", s.ReshardResent, s.WrongShard)
		}
		check(t, f, led, s, true, true)
	})
}

// TestEvidenceDuringReshard: while the resharder waits for one shard's lane,
// another shard is split, and a record lands on its child. The map under way
// does not explain that, and must not set the lane going.
func TestEvidenceDuringReshard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		p := start(t, f, producer.Config{ShardRefreshInterval: time.Second})
		led := newLedger()
		loadMap(t, p, led)
		halves := hashkey.Uniform(2)
		quarters := hashkey.Uniform(4)
		first := keysIn(halves[0], 1)[0]
		low, high := keysIn(quarters[2], 1)[0], keysIn(quarters[3], 1)[0]
		num := map[string]int{}
		next := func(key string, release <-chan struct{}) {
			num[key]++
			data := payload(key, num[key])
			led.accept(data)
			put(t, p, record(key, data), func(r producer.Result) {
				led.report(data, r)
				if release != nil {
					<-release
				}
			})
		}
		f.split(0)
		release := make(chan struct{})
		next(first, release)        // lands on the child, and its callback keeps the lane busy
		time.Sleep(2 * time.Second) // the resharder waits for it
		f.mu.Lock()
		f.splitLocked(f.shards[1])
		f.mu.Unlock()
		for range 2 {
			next(low, nil)
			next(high, nil)
		}
		time.Sleep(time.Second) // disputed by now
		close(release)
		for range 3 {
			next(low, nil)
			next(high, nil)
			time.Sleep(15 * time.Millisecond)
		}
		closeNow(t, p)
		check(t, f, led, p.Stats(), true, false)
		if s := p.Stats(); s.ReshardResent != 4 || s.Shards != 4 {
			t.Errorf("Stats: %+v", s)
		}
	})
}

// TestPutDuringMove puts without pause while many records of the same keys
// move from a closed lane.
func TestPutDuringMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(4)
		hold := make(chan struct{})
		f.onList = func() error {
			<-hold
			return nil
		}
		// Callers that never block hold fake time still: nothing may need it.
		f.latency = func() time.Duration { return 0 }
		p := start(t, f, producer.Config{AggregationMaxSize: 200})
		time.Sleep(time.Millisecond) // the first list is being asked for
		led := newLedger()
		var callers sync.WaitGroup
		started := make(chan struct{}, 3) // one signal of each caller
		for c := range 3 {
			callers.Go(func() {
				key := fmt.Sprint("caller-", c)
				// Until the map is there, and some more: while the records move.
				for n, left := 0, 1000; left > 0; n++ {
					if n == 2000 {
						started <- struct{}{}
					}
					if n > 2000 && (left < 1000 || n%16 == 0 && p.Stats().Shards > 0) {
						left--
					}
					data := payload(key, n+1)
					led.accept(data)
					if err := p.Put(t.Context(), record(key, data), func(r producer.Result) { led.report(data, r) }); err != nil {
						t.Errorf("Put: %v", err)
						return
					}
				}
			})
		}
		for range 3 {
			<-started
		}
		close(hold)
		callers.Wait()
		closeNow(t, p)
		check(t, f, led, p.Stats(), true, true)
	})
}

// scatter is a stream that puts records on any shard, as the record
// distribution strategy AUTO does.
func scatter(f *fakeStream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	f.onRequest = func(in *kinesis.PutRecordsInput) error {
		open := f.openLocked()
		for i := range in.Records {
			n++
			in.Records[i].ExplicitHashKey = aws.String(open[n%len(open)].keys.Start.String())
		}
		return nil
	}
}

func TestScatteringStream(t *testing.T) {
	t.Run("records of their own", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(4)
			scatter(f)
			p := start(t, f, producer.Config{DisableAggregation: true})
			var s sink
			for i := range 500 {
				put(t, p, record(fmt.Sprint(i), "x"), s.done)
			}
			closeNow(t, p)
			st := p.Stats()
			if st.UserRecordsPut != 500 || st.ReshardResent != 0 || len(f.readAll()) != 500 || st.MapRefreshes > 10 {
				t.Errorf("Stats: %+v", st)
			}
		})
	})
	t.Run("aggregated records", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(4)
			scatter(f)
			p := start(t, f, producer.Config{RecordTTL: 10 * time.Second})
			var s sink
			for i := range 200 {
				put(t, p, record(fmt.Sprint(i), "x"), s.done)
			}
			closeNow(t, p)
			st := p.Stats()
			if len(s.errors()) != 200 || st.UnexplainedShards == 0 || st.Requests > 400 {
				t.Errorf("%d results, Stats: %+v", len(s.errors()), st)
			}
		})
	})
}

// TestUnaggregated: with aggregation disabled many records of one shard are in
// flight, but never two of one key.
func TestUnaggregated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.onEntry = func(e *types.PutRecordsRequestEntry) string {
			if len(f.shards[0].entries)%7 == 3 && f.requests%2 == 0 {
				return "InternalFailure"
			}
			return ""
		}
		f.onRequest = func(in *kinesis.PutRecordsInput) error {
			seen := map[string]bool{}
			for i := range in.Records {
				if k := *in.Records[i].PartitionKey; seen[k] {
					t.Errorf("key %q twice in one request", k)
				} else {
					seen[k] = true
				}
			}
			return nil
		}
		p := start(t, f, producer.Config{DisableAggregation: true})
		led := newLedger()
		for i := range 400 {
			key := fmt.Sprint("key ", i%100)
			data := payload(key, i/100+1)
			led.accept(data)
			put(t, p, record(key, data), func(r producer.Result) {
				if r.Aggregated {
					t.Errorf("record %q was aggregated", data)
				}
				led.report(data, r)
			})
		}
		closeNow(t, p)
		check(t, f, led, p.Stats(), true, true)
		if largest := slices.Max(f.sizes); largest < 50 || p.Stats().Retries == 0 {
			t.Errorf("largest request has %d entries, %d retries", largest, p.Stats().Retries)
		}
	})
}

// TestUnaggregatedWithoutKeys: records without a key have no order to keep, so
// one request carries many of them.
func TestUnaggregatedWithoutKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const records = 4000
		f := newFake(4)
		f.latency = func() time.Duration { return 10 * time.Millisecond }
		p := start(t, f, producer.Config{DisableAggregation: true})
		var s sink
		for range records {
			put(t, p, producer.UserRecord{Data: []byte("x")}, s.done)
		}
		closeNow(t, p)
		if st := p.Stats(); st.UserRecordsPut != records || st.Requests > records/20 {
			t.Errorf("%d records put in %d requests, want at least 20 to a request", st.UserRecordsPut, st.Requests)
		}
		for _, shard := range f.shards {
			if n := len(shard.entries); n < records/8 {
				t.Errorf("shard %s has %d of %d records", shard.id, n, records)
			}
		}
	})
}

// TestLargestAggregate fills aggregated records up to the stream's own limit,
// which counts the partition key.
func TestLargestAggregate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		largest := 0
		f.onRequest = func(in *kinesis.PutRecordsInput) error {
			for i := range in.Records {
				largest = max(largest, len(in.Records[i].Data)+len(*in.Records[i].PartitionKey))
			}
			return nil
		}
		p := start(t, f, producer.Config{MaxUserRecordSize: 1000, AggregationMaxSize: 1000})
		r := rand.New(rand.NewPCG(1, 1))
		for range 20_000 {
			put(t, p, record("k", strings.Repeat("x", r.IntN(8))), nil)
		}
		closeNow(t, p)
		if largest != 1000 {
			t.Errorf("the largest Kinesis record has %d bytes, the limit is 1000", largest)
		}
	})
}

// TestRequestLimits: no request exceeds the count or the size, and none is
// held back for them.
func TestRequestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(64)
		f.onRequest = func(in *kinesis.PutRecordsInput) error {
			size := 0
			for i := range in.Records {
				size += len(in.Records[i].Data) + len(*in.Records[i].PartitionKey)
				if len(in.Records[i].Data) > 20_000 && !strings.HasPrefix(string(in.Records[i].Data), "alone") {
					t.Errorf("aggregated record of %d bytes", len(in.Records[i].Data))
				}
			}
			if len(in.Records) > 10 || size > 52_224 && len(in.Records) > 1 {
				t.Errorf("request of %d entries, %d bytes", len(in.Records), size)
			}
			return nil
		}
		p := start(t, f, producer.Config{AggregationMaxSize: 20_000, CollectionMaxCount: 10, CollectionMaxSize: 52_224, AggregationMaxCount: 30})
		for i := range 3000 {
			data := strings.Repeat("x", i%1500)
			if i%500 == 0 {
				data = "alone" + strings.Repeat("y", 60_000)
			}
			put(t, p, record(fmt.Sprint(i), data), func(r producer.Result) {
				if r.Err != nil || r.SubSequenceNumber >= 30 {
					t.Errorf("result %+v", r)
				}
			})
		}
		closeNow(t, p)
		if s := p.Stats(); s.UserRecordsPut != 3000 {
			t.Errorf("Stats: %+v", s)
		}
	})
}
