package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// laneWork is a processor of a test with lanes: it takes time, fails now and then,
// and watches that no key is in two calls and no more calls run than may.
type laneWork struct {
	h      *history
	faults bool

	mu   sync.Mutex // guards all below
	rng  *rand.Rand
	busy map[string]bool // keys in a call
	now  int
	most int
}

func (l *laneWork) process(ctx context.Context, b *consumer.Batch) error {
	l.mu.Lock()
	l.now++
	l.most = max(l.most, l.now)
	for _, r := range b.Records {
		l.h.got(&r)
		if l.busy[r.PartitionKey] {
			l.h.mu.Lock()
			l.h.problemLocked("key %q is in two calls", r.PartitionKey)
			l.h.mu.Unlock()
		}
	}
	keys := map[string]bool{}
	for _, r := range b.Records {
		keys[r.PartitionKey], l.busy[r.PartitionKey] = true, true
	}
	d, fault, detach := time.Duration(l.rng.IntN(200))*time.Millisecond, l.rng.IntN(40), l.rng.IntN(4) == 0
	l.mu.Unlock()
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	l.mu.Lock()
	l.now--
	for k := range keys {
		delete(l.busy, k)
	}
	l.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case l.faults && fault == 0:
		panic("boom")
	case l.faults && fault < 5:
		return errFake
	case detach:
		b.Detach()
		for i := range b.Records {
			r := b.Records[i]
			time.AfterFunc(time.Duration(i%7)*50*time.Millisecond, func() {
				l.h.ack(&r)
				r.Ack()
			})
		}
		return nil
	}
	for i := range b.Records {
		l.h.ack(&b.Records[i])
	}
	return nil
}

// TestKeyConcurrency plays histories of two workers, the first of which stops while
// its lanes are busy: nothing is skipped, keys stay in order, and without faults
// nothing comes twice.
func TestKeyConcurrency(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 5))
				stream, mem := newFakeStream(2, seed), memlease.New()
				stream.limit = 1 + rng.IntN(100)
				h := newHistory(stream)
				h.store = mem
				n, keys := 100+rng.IntN(400), 1+rng.IntN(40)
				for i := range n {
					h.produce(i, keys)
				}
				work := &laneWork{h: h, faults: seed%2 == 1, rng: rand.New(rand.NewPCG(seed, 6)), busy: map[string]bool{}}
				cfg := consumer.Config{KeyConcurrency: 2 + rng.IntN(8), MaxBusyLanes: 1 + rng.IntN(8), MaxUnacked: 1 + rng.IntN(200), BisectAfter: 3}
				w := startWorker(t, stream, &faultyStore{LeaseStore: mem, history: h}, work.process, cfg)
				time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
				w.wait(t)
				for i := range 3 {
					stream.split(i)
					for i := range 50 {
						h.produce(n+i, keys)
					}
					n += 50
				}
				w = startWorker(t, stream, &faultyStore{LeaseStore: mem, history: h}, work.process, cfg)
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				if st := w.Stats(); st.BufferedBytes != 0 {
					t.Errorf("%d bytes held: %+v", st.BufferedBytes, st)
				}
				w.wait(t)
				if h.missing() != 0 {
					t.Errorf("%d records missing", h.missing())
				}
				if !work.faults && h.duplicates() != 0 {
					t.Errorf("%d records came twice", h.duplicates())
				}
				if work.most > cfg.MaxBusyLanes {
					t.Errorf("%d calls at a time, want at most %d", work.most, cfg.MaxBusyLanes)
				}
				for _, p := range h.problems {
					t.Error(p)
				}
			})
		})
	}
}

// TestLanesWorkAtTheSameTime: what waits, waits together.
func TestLanesWorkAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		for i := range 64 {
			stream.put(fmt.Sprint(i), []byte("x"))
		}
		var mu sync.Mutex
		now, most := 0, 0
		start := time.Now()
		var end time.Duration
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Duration(len(b.Records)) * time.Second)
			mu.Lock()
			now--
			end = time.Since(start)
			mu.Unlock()
			return nil
		}, consumer.Config{KeyConcurrency: 16})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		// 64 keys fall on 16 lanes; one after the other they would take 64 s.
		if most < 10 || end > 20*time.Second {
			t.Errorf("at most %d calls at a time, done after %v", most, end)
		}
		w.wait(t)
	})
}

// TestStopWithLanes stops a worker whose lanes have a long way to go through what was
// read ahead: they come to where the first of them is, and what none has begun with is
// left to the next owner, which is given it once.
func TestStopWithLanes(t *testing.T) {
	const reads, keys, call = 40, 16, 100 * time.Millisecond
	for _, tt := range []struct {
		name  string
		slots int  // for calls
		fails bool // a lane, from the start
		most  time.Duration
	}{
		// Each read has each key, so no lane is ahead of others by more than a call.
		{"a slot for each", 0, false, 2 * call},
		{"one slot", 1, false, 2 * 4 * call},
		{"a lane fails", 0, true, 2 * call},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream, mem := newFakeStream(1, 1), memlease.New()
				stream.limit = keys
				h := newHistory(stream)
				h.store = mem
				for i := range reads * keys {
					h.produce(i, keys)
				}
				fails := tt.fails
				process := func(ctx context.Context, b *consumer.Batch) error {
					if fails && b.Records[0].PartitionKey == "key-0" {
						return errFake
					}
					time.Sleep(call)
					return h.process(ctx, b)
				}
				cfg := consumer.Config{KeyConcurrency: 4, MaxBusyLanes: tt.slots}
				w := startWorker(t, stream, &faultyStore{LeaseStore: mem, history: h}, process, cfg)
				time.Sleep(time.Second + call/2)
				if n := w.Stats().Shards[0].Unacked; n < reads/2*keys {
					t.Errorf("%d records are read ahead, which shows little", n)
				}
				start := time.Now()
				w.wait(t)
				if d := time.Since(start); d > tt.most {
					t.Errorf("the stop took %v, want at most %v", d, tt.most)
				}
				if l := leases(t, mem)[firstShard]; l.Owner != "" || !tt.fails && l.Checkpoint.IsSentinel() {
					t.Errorf("lease after the stop: %+v", l)
				}
				fails = false
				w = startWorker(t, stream, &faultyStore{LeaseStore: mem, history: h}, process, cfg)
				time.Sleep(time.Minute)
				w.wait(t)
				if n := h.missing(); n != 0 {
					t.Errorf("%d records were not acknowledged", n)
				}
				if n := h.duplicates(); n != 0 && !tt.fails {
					t.Errorf("%d records came twice", n)
				}
				for _, p := range h.problems {
					t.Error(p)
				}
			})
		})
	}
}

// TestCommitWithLanes acknowledges nothing that others are handling.
func TestCommitWithLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		var seqs []string
		for i := range 20 {
			_, seq := stream.put(fmt.Sprint(i), []byte("x"))
			seqs = append(seqs, seq)
		}
		let := make(chan struct{}) // closed for the first record's lane to go on
		var once sync.Once
		var outside, commit error
		checked := false
		w := startFactory(t, stream, &faultyStore{LeaseStore: mem}, puppets(puppet{process: func(ctx context.Context, p *puppet, b *consumer.Batch) error {
			if b.Records[0].SequenceNumber == seqs[0] {
				<-let
				return nil
			}
			once.Do(func() { // in whatever lane is first, but that one
				outside = p.shard.CommitTo(ctx, b.Records[len(b.Records)-1].Checkpoint())
				commit = p.shard.Commit(ctx)
				checked = true
			})
			return nil
		}}), consumer.Config{KeyConcurrency: 32})
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, ok := errors.AsType[*consumer.CommitRangeError](outside); !ok || commit != nil || !checked {
			t.Errorf("CommitTo with the first record in hand: %v; Commit: %v", outside, commit)
		}
		if got := leases(t, mem)[firstShard].Checkpoint; !got.IsSentinel() {
			t.Errorf("stored %v with the first record in hand", got)
		}
		close(let)
		w.wait(t)
		if got := leases(t, mem)[firstShard].Checkpoint; got != at(seqs[19], 0) {
			t.Errorf("stored %v", got)
		}
	})
}

// TestPause: nothing is delivered meanwhile, not even again, the lease stays, and
// a stop does not wait.
func TestPause(t *testing.T) {
	for _, lanes := range []int{1, 8} {
		t.Run(strconv.Itoa(lanes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream, mem := newFakeStream(2, 1), memlease.New()
				var mu sync.Mutex // guards both
				got := map[string]int{}
				fail := false
				w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
					mu.Lock()
					defer mu.Unlock()
					got[b.Shard.ID] += len(b.Records)
					if fail {
						return errFake
					}
					return nil
				}, consumer.Config{KeyConcurrency: lanes})
				count := func() int {
					mu.Lock()
					defer mu.Unlock()
					return got[firstShard]
				}
				w.Pause(firstShard) // before it is held
				for i := range 50 {
					stream.put(fmt.Sprint(i), []byte("x"))
				}
				time.Sleep(10 * time.Minute)
				if st := w.Stats(); count() != 0 || got["shardId-000000000001"] == 0 || !st.Shards[0].Paused || st.Shards[1].Paused {
					t.Errorf("delivered %v, %+v", got, st.Shards)
				}
				if h := w.Health(time.Minute); !h.OK() {
					t.Errorf("a paused shard is taken for a sick one: %+v", h)
				}
				w.Pause(firstShard)
				w.Resume(firstShard)
				w.Resume(firstShard)
				time.Sleep(time.Second)
				n := count()
				if n == 0 || w.Stats().Shards[0].Paused || w.Stats().LeasesTakenFree != 2 {
					t.Errorf("nothing delivered after Resume: %+v", w.Stats())
				}
				mu.Lock()
				fail = true
				mu.Unlock()
				for i := range 50 {
					stream.put(fmt.Sprint(i), []byte("x"))
				}
				time.Sleep(5 * time.Second)
				w.Pause(firstShard)
				time.Sleep(time.Second)
				n = count()
				time.Sleep(10 * time.Minute)
				if m := count(); m != n {
					t.Errorf("%d records delivered in a pause", m-n)
				}
				start := time.Now()
				w.wait(t)
				if d := time.Since(start); d > time.Second {
					t.Errorf("the stop took %v", d)
				}
				for key, l := range leases(t, mem) {
					if l.Owner != "" || l.Checkpoint.IsSentinel() {
						t.Errorf("lease %s after the stop: %+v", key, l)
					}
				}
			})
		})
	}
}

// TestPauseBehindASlot pauses a shard whose lanes wait for the one slot that the
// worker has.
func TestPauseBehindASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(1, 1)
		for i := range 50 {
			stream.put(fmt.Sprint(i), []byte("x"))
		}
		var calls atomic.Int64
		w := startWorker(t, stream, &faultyStore{LeaseStore: memlease.New()}, func(context.Context, *consumer.Batch) error {
			calls.Add(1)
			time.Sleep(time.Minute)
			return nil
		}, consumer.Config{KeyConcurrency: 8, MaxBusyLanes: 1})
		time.Sleep(30 * time.Second) // one lane is called, the others wait
		w.Pause(firstShard)
		time.Sleep(10 * time.Minute)
		if n := calls.Load(); n != 1 {
			t.Errorf("%d calls, of which all but one began in the pause", n)
		}
		w.Resume(firstShard)
		time.Sleep(10 * time.Minute)
		if n := calls.Load(); n < 4 {
			t.Errorf("%d calls after the pause", n)
		}
		w.wait(t)
	})
}

// TestTokens: each holding has a greater one.
func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		last := consumer.Token{LeaseKey: firstShard}
		for range 3 {
			var tokens []consumer.Token
			w := startFactory(t, stream, &faultyStore{LeaseStore: mem}, puppets(puppet{process: func(_ context.Context, p *puppet, _ *consumer.Batch) error {
				tokens = append(tokens, p.shard.Token())
				return nil
			}}), consumer.Config{})
			for range 3 {
				stream.put("k", []byte("x"))
				time.Sleep(10 * time.Second) // with checkpoints in between
			}
			w.wait(t)
			if len(tokens) != 3 || tokens[0] != tokens[1] || tokens[0] != tokens[2] || tokens[0].LeaseKey != firstShard || tokens[0].Counter <= last.Counter {
				t.Errorf("tokens %v after %v", tokens, last)
			}
			last = tokens[0]
		}
		if got := (&consumer.Shard{ID: "x"}).Token(); got != (consumer.Token{LeaseKey: "x"}) {
			t.Errorf("token %v of a Shard made by hand", got)
		}
	})
}

// TestHooks follows the calls about leases through a reshard, a loss and a stop.
func TestHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		var mu sync.Mutex // guards calls and batches
		var calls []string
		batches := map[string]*consumer.Batch{}
		note := func(call string, s *consumer.Shard) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, s.ID[len(s.ID)-1:]+" "+call)
		}
		w := startFactory(t, stream, &faultyStore{LeaseStore: mem}, func(s *consumer.Shard) (consumer.Processor, error) {
			note("NewProcessor", s)
			return &puppet{
				shard: s, process: func(_ context.Context, _ *puppet, b *consumer.Batch) error {
					b.Detach()
					mu.Lock()
					defer mu.Unlock()
					batches[s.ID] = b
					if s.ID == firstShard {
						b.Ack(0)
					}
					return nil
				}, ended: func(context.Context, *puppet) error { note("ShardEnded", s); return nil },
				shutdown: func(context.Context, *puppet) error { note("ShutdownRequested", s); return nil },
				lost:     func(*puppet) { note("LeaseLost", s) },
			}, nil
		}, consumer.Config{
			OnAssigned: func(s *consumer.Shard) { note("OnAssigned", s); panic("boom") },
			OnRevoking: func(ctx context.Context, s *consumer.Shard) {
				note("OnRevoking", s)
				if b := batches[s.ID]; b != nil && s.ID != firstShard {
					b.Ack(0)
					if err := s.Commit(ctx); err != nil {
						t.Errorf("commit in OnRevoking: %v", err)
					}
				}
				panic("boom")
			},
			OnLost: func(s *consumer.Shard) { note("OnLost", s); panic("boom") },
		})
		stream.put("k", []byte("x"))
		time.Sleep(time.Second)
		stream.split(0)
		time.Sleep(5 * time.Second)
		child, seq := stream.put("k", []byte("x"))
		other := "shardId-000000000001"
		if child == other {
			other = "shardId-000000000002"
		}
		time.Sleep(5 * time.Second)
		if _, err := mem.Take(t.Context(), leases(t, mem)[other], "other", "i"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		w.wait(t)
		if got := leases(t, mem)[child].Checkpoint; got != at(seq, 0) {
			t.Errorf("what was acknowledged in OnRevoking is not stored: %v", got)
		}
		of := func(shard string) (list []string) {
			for _, c := range calls {
				if n, call, _ := strings.Cut(c, " "); strings.HasSuffix(shard, n) {
					list = append(list, call)
				}
			}
			return list
		}
		for shard, want := range map[string][]string{
			firstShard: {"OnAssigned", "NewProcessor", "ShardEnded", "OnRevoking"},
			child:      {"OnAssigned", "NewProcessor", "ShutdownRequested", "OnRevoking"},
			other:      {"OnAssigned", "NewProcessor", "LeaseLost", "OnLost"},
		} {
			if got := of(shard); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", shard, got, want)
			}
		}
	})
}
