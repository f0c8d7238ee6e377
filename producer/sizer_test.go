package producer_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/producer"
)

// TestSizeFollowsLoad loads one shard that answers after 50 ms: what a lane has
// in flight, one aggregated record, must grow with the load, and shrink again.
func TestSizeFollowsLoad(t *testing.T) {
	largest := func(f *fakeStream, from int) (n int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, e := range f.shards[0].entries[from:] {
			n = max(n, len(e.data))
		}
		return n
	}
	for _, tt := range []struct {
		name   string
		cfg    producer.Config
		most   int // bytes of an aggregated record
		within time.Duration
		least  time.Duration
	}{
		{name: "adaptive", cfg: producer.Config{MaxBufferedBytes: 64 << 20}, most: 1_024_000, within: 3 * time.Second},
		{name: "adaptive, little memory", most: 16 << 20 / 32, within: 6 * time.Second},
		{name: "adaptive, records at the limit", cfg: producer.Config{MaxUserRecordSize: 100_000}, most: 100_000, within: 20 * time.Second},
		{name: "fixed", cfg: producer.Config{AggregationMaxSize: 51_200}, most: 51_200, within: 50 * time.Second, least: 25 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				f.latency = func() time.Duration { return 50 * time.Millisecond }
				p := start(t, f, tt.cfg)
				data := strings.Repeat("x", 1000)
				burst := func(n int) {
					for i := range n {
						put(t, p, record(fmt.Sprint("key-", i%100), data), nil)
					}
				}
				begin := time.Now()
				burst(30_000)
				if err := p.Flush(t.Context()); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took > tt.within || took < tt.least {
					t.Errorf("30 MB took %v, want from %v to %v", took, tt.least, tt.within)
				}
				if n := largest(f, 0); n > tt.most || n < tt.most*9/10 {
					t.Errorf("the largest aggregated record has %d bytes, want nearly %d", n, tt.most)
				}
				// Two hundred records a second are no load.
				for range 400 {
					burst(1)
					time.Sleep(5 * time.Millisecond)
				}
				// A burst of no more than that fits the smallest size again.
				f.mu.Lock()
				before := len(f.shards[0].entries)
				f.mu.Unlock()
				burst(100)
				closeNow(t, p)
				if n := largest(f, before); n > 51_200 {
					t.Errorf("an aggregated record of the quiet lane has %d bytes", n)
				}
			})
		})
	}
}

// TestCountLimit: an aggregated record that has the most user records leaves at
// once.
func TestCountLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		p := start(t, f, producer.Config{AggregationMaxCount: 5, RecordMaxBufferedTime: time.Minute, RecordTTL: -1})
		loadMap(t, p, newLedger())
		begin := time.Now()
		var at time.Duration
		for i := range 5 {
			put(t, p, record(fmt.Sprint("key-", i), "x"), func(producer.Result) { at = time.Since(begin) })
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if at == 0 || at > 100*time.Millisecond {
			t.Errorf("stored after %v", at)
		}
		closeNow(t, p)
	})
}
