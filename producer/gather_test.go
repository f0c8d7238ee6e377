package producer_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/producer"
)

// TestGather: full aggregated records wait for those of other shards that fill at
// the same pace, for no longer than RecordMaxBufferedTime.
func TestGather(t *testing.T) {
	const ms = time.Millisecond
	type step struct {
		at      time.Duration
		shard   int // of two
		records int // of 10 KB: ten fill an aggregated record, and begin another
		flush   bool
	}
	for _, tt := range []struct {
		name  string
		steps []step
		want  []string // when a request came, and how many Kinesis records it had
	}{
		{"alone", []step{{0, 0, 10, false}, {12 * ms, 0, 10, false}}, []string{"500µs 1", "10.5ms 1", "12.5ms 1", "22.5ms 1"}},
		{"with another one", []step{{0, 0, 10, false}, {2 * ms, 1, 10, false}, {4 * ms, 0, 9, false}}, []string{"500µs 1", "4.5ms 2", "12.5ms 1", "14.5ms 1"}},
		{"in vain", []step{{0, 0, 10, false}, {1 * ms, 0, 0, true}, {3 * ms, 1, 10, false}}, []string{"500µs 1", "1.5ms 1", "13.5ms 1", "14.5ms 1"}},
		{"until something else leaves", []step{{0, 0, 10, false}, {2 * ms, 1, 10, false}}, []string{"500µs 1", "10.5ms 2", "12.5ms 1"}},
		{"with one that is nearly full", []step{{0, 0, 17, false}, {2 * ms, 1, 10, false}}, []string{"500µs 1", "2.5ms 2", "12.5ms 1"}},
		{"until more is behind it", []step{{0, 0, 10, false}, {2 * ms, 1, 10, false}, {3 * ms, 1, 9, false}}, []string{"500µs 1", "3.5ms 1", "10.5ms 2", "13.5ms 1"}},
		{"a moment, if both are behind", []step{{0, 0, 28, false}, {ms / 10, 1, 28, false}}, []string{"500µs 1", "600µs 1", "1.6ms 2", "2.6ms 2", "10.5ms 1", "10.6ms 1"}},
		{"a moment each time, until they meet", []step{{0, 0, 28, false}, {ms / 2, 1, 28, false}}, []string{"500µs 1", "1ms 1", "1.7ms 1", "2ms 1", "3ms 2", "10.5ms 1", "11ms 1"}},
		{"until a flush", []step{{0, 0, 10, false}, {2 * ms, 1, 10, false}, {3 * ms, 0, 0, true}}, []string{"500µs 1", "3.5ms 2", "4.5ms 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(2)
				f.latency = func() time.Duration { return ms } // half of it on the way there
				p := start(t, f, producer.Config{AggregationMaxSize: 100_000, RecordMaxBufferedTime: 10 * ms})
				if _, err := p.PutSync(t.Context(), producer.UserRecord{Data: []byte("the shards are known")}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				var got []string
				begin := time.Now()
				f.mu.Lock()
				f.onRequest = func(in *kinesis.PutRecordsInput) error {
					got = append(got, fmt.Sprint(time.Since(begin), " ", len(in.Records)))
					return nil
				}
				f.mu.Unlock()
				for _, s := range tt.steps {
					time.Sleep(s.at - time.Since(begin))
					for range s.records {
						r := producer.UserRecord{PartitionKey: "key", ExplicitHashKey: []string{"0", "340282366920938463463374607431768211455"}[s.shard], Data: make([]byte, 10_000)}
						if err := p.Put(t.Context(), r, nil); err != nil {
							t.Fatal(err)
						}
					}
					if s.flush {
						if err := p.Flush(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
				}
				time.Sleep(time.Second)
				f.mu.Lock()
				if got = slices.Clone(got); !slices.Equal(got, tt.want) {
					t.Errorf("requests came %q, want %q", got, tt.want)
				}
				f.mu.Unlock()
				closeNow(t, p)
			})
		})
	}
}

// TestSealAhead: what fills the last four of an MD5 is what leaves next, and gives its
// memory back when the stream fails and that has to wait.
func TestSealAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.latency = func() time.Duration { return 10 * time.Millisecond }
		p := start(t, f, producer.Config{AggregationMaxSize: 100_000})
		var ahead []int // as requests end
		f.mu.Lock()
		f.onRequest = func(in *kinesis.PutRecordsInput) error {
			if len(in.Records[0].Data) < 50_000 {
				return nil
			}
			ahead = append(ahead, p.SealedAhead())
			if len(ahead) == 2 {
				return errors.New("connection reset")
			}
			return nil
		}
		f.mu.Unlock()
		stored := 0
		for i := range 60 { // ten fill an aggregated record
			r := producer.UserRecord{PartitionKey: "key", Data: fmt.Appendf(make([]byte, 10_000), "%d", i)}
			err := p.Put(t.Context(), r, func(r producer.Result) {
				if r.Err == nil {
					stored++
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		closeNow(t, p)
		// Seven aggregated records, of which the second comes twice; the last is small.
		if want := []int{3, 2, 3, 2, 1, 0, 0, 0}; !slices.Equal(ahead, want) || stored != 60 {
			t.Errorf("%d of 60 stored, and %d sealed ahead at each request, want %d", stored, ahead, want)
		}
	})
}
