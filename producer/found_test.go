package producer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/producer"
)

// settled fails the test if the service has a complaint.
func (s *simService) settled(t *testing.T, p *producer.Producer) {
	t.Helper()
	closeNow(t, p)
	s.pending.Wait()
	st := p.Stats()
	if problems := s.check(&st); len(problems) > 0 {
		t.Errorf("\n\t%s", strings.Join(problems, "\n\t"))
	}
}

func (s *simService) put(t *testing.T, p *producer.Producer, key string, n int) {
	t.Helper()
	data := payload(key, n)
	s.history.accept(data, false)
	put(t, p, record(key, data), func(r producer.Result) { s.history.report(data, r) })
}

// TestRecreatedStream: a stream that is deleted and created anew has shards of
// the same names, and the first of them has another range. An aggregated record
// made for the old one lands on a shard of the name that was predicted, and
// holds records that belong elsewhere all the same.
func TestRecreatedStream(t *testing.T) {
	for _, tt := range []struct {
		name string
		busy bool // something is put while the stream is away
	}{
		{name: "noticed by a put", busy: true},
		{name: "noticed by a look at the shards"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSimService(rand.New(rand.NewPCG(1, 1)), 1)
				s.history.resharded = true
				cfg := producer.Config{ShardRefreshInterval: 2 * time.Second, RecordTTL: -1}
				if tt.busy {
					cfg.ShardRefreshInterval = -1
				}
				p := start(t, s, cfg)
				low, high := keysIn(hashkey.Uniform(8)[0], 3), keysIn(hashkey.Uniform(8)[7], 3)
				n := 0
				all := func() {
					t.Helper()
					n++
					for i := range low {
						s.put(t, p, low[i], n)
						s.put(t, p, high[i], n)
					}
				}
				all()
				time.Sleep(2 * time.Second)
				s.remove()
				if tt.busy {
					all()
				}
				time.Sleep(5 * time.Second)
				s.mu.Lock()
				s.createLocked(4)
				s.mu.Unlock()
				for range 3 {
					all()
					time.Sleep(time.Second)
				}
				s.settled(t, p)
				if st := p.Stats(); st.Shards != 4 || st.ReshardResent != 0 {
					t.Errorf("Stats: %+v", st)
				}
			})
		})
	}
}

// TestSetOutOfOrder: with aggregation disabled a request carries many records of
// a shard, which the service may number in any order. The next request's are
// above them.
func TestSetOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimService(rand.New(rand.NewPCG(1, 1)), 1)
		p := start(t, s, producer.Config{DisableAggregation: true})
		for n := range 20 {
			for k := range 20 {
				s.put(t, p, fmt.Sprint("key-", k), n+1)
			}
		}
		s.settled(t, p)
		if st := p.Stats(); st.SequenceRegressions != 0 || st.Requests > 100 {
			t.Errorf("Stats: %+v", st)
		}
	})
}

// TestRegressionBehindStaleList: a list of shards from before a merge puts the
// lanes of the parents back in place. What they send lands on the child all the
// same, and there after what the child's lane had acknowledged.
func TestRegressionBehindStaleList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		h := &recorder{}
		p := start(t, f, producer.Config{ShardRefreshInterval: time.Minute, Hooks: []producer.Hook{h}})
		parents := f.listing()
		f.merge(0)
		put := func(key string) {
			t.Helper()
			if _, err := p.PutSync(t.Context(), record(key, "x")); err != nil {
				t.Fatal(err)
			}
		}
		halves := hashkey.Uniform(2)
		low, high := keysIn(halves[0], 1)[0], keysIn(halves[1], 1)[0]
		put(low)
		f.mu.Lock()
		f.listed = append(f.listed, parents)
		f.mu.Unlock()
		time.Sleep(time.Minute + 10*time.Second)
		if n := p.Stats().Shards; n != 2 {
			t.Fatalf("%d shards, want the two of the old list", n)
		}
		f.mu.Lock()
		f.next-- // the number of the last record once more
		f.mu.Unlock()
		put(high)
		closeNow(t, p)
		if st := p.Stats(); st.SequenceRegressions != 1 || st.WrongShard != 1 {
			t.Errorf("Stats: %+v", st)
		}
		if len(h.regress) != 1 || h.regress[0].Stream != "stream" || h.regress[0].ShardID != "shardId-000000000002" ||
			h.regress[0].SequenceNumber == "" || h.regress[0].SequenceNumber != h.regress[0].After || h.regress[0].UserRecords != 1 {
			t.Errorf("the hook is told of %+v", h.regress)
		}
	})
}

// TestExpiryBehindDispute: a record that landed on an unknown shard is the first
// of its lane. Those behind it do not expire before it does.
func TestExpiryBehindDispute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimService(rand.New(rand.NewPCG(1, 1)), 1)
		s.history.fails, s.history.ttl, s.history.resharded = true, 2*time.Second, true
		p := start(t, s, producer.Config{RecordTTL: 2 * time.Second, ShardRefreshInterval: -1, OnFailure: producer.SkipOne})
		ks := keysIn(hashkey.All, 4)
		for _, k := range ks {
			s.put(t, p, k, 1)
		}
		time.Sleep(time.Second)
		s.split()
		s.mu.Lock()
		s.faults.list = 1000
		s.mu.Unlock()
		for n := range 30 {
			for _, k := range ks {
				s.put(t, p, k, n+2)
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		if st := p.Stats(); st.UserRecordsExpired != 120 || st.UserRecordsPending != 0 {
			t.Errorf("Stats: %+v", st)
		}
		s.calm()
		s.settled(t, p)
	})
}

// TestGuardThroughReshard: what may arrive late is waited for also if the shard
// closes meanwhile.
func TestGuardThroughReshard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimService(rand.New(rand.NewPCG(1, 1)), 1)
		s.history.resharded, s.history.reshapes = true, true
		p := start(t, s, producer.Config{RecordTTL: -1, RequestTimeout: time.Second, ReorderGuard: 5 * time.Second, ShardRefreshInterval: time.Second})
		s.put(t, p, "key", 1)
		time.Sleep(time.Second)
		s.mu.Lock()
		s.faults.late = 1000
		s.mu.Unlock()
		s.put(t, p, "key", 2) // lands up to four seconds after its timeout
		time.Sleep(500 * time.Millisecond)
		s.calm()
		s.put(t, p, "key", 3)
		time.Sleep(time.Second)
		s.mu.Lock()
		s.splitLocked(s.shards[0])
		s.mu.Unlock()
		time.Sleep(2 * time.Second) // the map is replaced
		s.settled(t, p)
		s.checkLate(s.history)
		if len(s.history.problems) > 0 || p.Stats().Shards != 2 || time.Since(s.begin) < 7*time.Second {
			t.Errorf("after %v: %q, Stats %+v", time.Since(s.begin), s.history.problems, p.Stats())
		}
	})
}

// TestExpiryOfTheFirstRecord: a record that is put after a while, when nothing else is
// on its way and the shards are not known, or not any more, expires as all do.
func TestExpiryOfTheFirstRecord(t *testing.T) {
	for _, tt := range []struct {
		name  string
		known bool // the shards were, until the stream was deleted
	}{{name: "shards unknown"}, {name: "stream deleted", known: true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(2)
				if !tt.known {
					f.onList = func() error { return apiError("AccessDeniedException") }
				}
				p := start(t, f, producer.Config{RecordTTL: 5 * time.Second})
				if tt.known {
					loadMap(t, p, newLedger())
					f.mu.Lock()
					f.onList = func() error { return apiError("ResourceNotFoundException") }
					f.onRequest = func(*kinesis.PutRecordsInput) error { return apiError("ResourceNotFoundException") }
					f.mu.Unlock()
					put(t, p, record("k", "refused"), nil)
				}
				time.Sleep(10 * time.Second)
				var at time.Duration
				begin := time.Now()
				put(t, p, record("k", "x"), func(r producer.Result) {
					at = time.Since(begin)
					if !errors.Is(r.Err, producer.ErrExpired) {
						t.Errorf("result %v", r.Err)
					}
				})
				time.Sleep(time.Minute)
				synctest.Wait()
				if at < 5*time.Second || at > 7*time.Second {
					t.Errorf("the record was reported after %v, want from 5 s to 7 s", at)
				}
				closeNow(t, p)
			})
		})
	}
}
