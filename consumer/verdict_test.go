package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

var errPoison = errors.New("fake: poison")

// letters is a dead-letter hook that fails as often as it is told.
type letters struct {
	mu    sync.Mutex // guards all below
	fails int
	calls int
	got   []consumer.DeadLetterRecord
}

func (l *letters) take(_ context.Context, r consumer.DeadLetterRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls++; l.calls <= l.fails {
		if l.calls == 1 {
			panic("no letters yet")
		}
		return errFake
	}
	l.got = append(l.got, r)
	return nil
}

func (l *letters) keys() (keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.got {
		keys = append(keys, r.Key)
	}
	return keys
}

// TestVerdicts: what a processor says of a batch of five is done, and counted.
func TestVerdicts(t *testing.T) {
	type batch = *consumer.Batch
	for name, tt := range map[string]struct {
		first   func(b batch) error // what the first call says; later ones succeed
		noHook  bool
		second  []string // data of the second call
		wait    bool     // before the second call
		skipped int64
		letters []string // data of the dead letters
		errs    int64
	}{
		"plain": {
			first:  func(batch) error { return errPoison },
			second: []string{"0", "1", "2", "3", "4"}, wait: true, errs: 1,
		},
		"retry": {
			first:  func(batch) error { return consumer.Retry(errPoison) },
			second: []string{"0", "1", "2", "3", "4"}, wait: true, errs: 1,
		},
		"skip": {
			first:  func(b batch) error { return consumer.Skip(&b.Records[2], errPoison) },
			second: []string{"0", "1", "3", "4"}, skipped: 1,
		},
		"skip after acks": {
			first: func(b batch) error {
				b.Ack(0)
				one := b.Records[2]
				one.Ack()
				one = b.Records[1]
				return fmt.Errorf("wrapped: %w", consumer.Skip(&one, errPoison))
			},
			second: []string{"3", "4"}, skipped: 1,
		},
		"two": {
			first: func(b batch) error {
				return errors.Join(consumer.Skip(&b.Records[4], errPoison), consumer.DeadLetter(&b.Records[0], errPoison))
			},
			second: []string{"1", "2", "3"}, skipped: 1, letters: []string{"0"},
		},
		"skip and a fault": {
			first:  func(b batch) error { return errors.Join(consumer.Skip(&b.Records[0], errPoison), errFake) },
			second: []string{"1", "2", "3", "4"}, wait: true, skipped: 1, errs: 1,
		},
		"of another batch": {
			first: func(batch) error {
				return consumer.Skip(&consumer.Record{SequenceNumber: "1"}, errPoison)
			},
			second: []string{"0", "1", "2", "3", "4"}, wait: true, errs: 1,
		},
		"of no record": {
			first:  func(batch) error { return consumer.DeadLetter(nil, errPoison) },
			second: []string{"0", "1", "2", "3", "4"}, wait: true, errs: 1,
		},
		"dead letter": {
			first:  func(b batch) error { return consumer.DeadLetter(&b.Records[3], errPoison) },
			second: []string{"0", "1", "2", "4"}, letters: []string{"3"},
		},
		"dead letter without hook": {
			first:  func(b batch) error { return consumer.DeadLetter(&b.Records[3], errPoison) },
			noHook: true,
			second: []string{"0", "1", "2", "3", "4"}, wait: true, errs: 1,
		},
		"all skipped": {
			first: func(b batch) error {
				var err error
				for i := range b.Records {
					err = errors.Join(err, consumer.Skip(&b.Records[i], errPoison))
				}
				return err
			},
			skipped: 5,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream, mem := newFakeStream(1, 1), memlease.New()
				var last string
				for i := range 5 {
					_, last = stream.put("k", strconv.AppendInt(nil, int64(i), 10))
				}
				var calls [][]string
				var times []time.Time
				hook := new(letters)
				cfg := consumer.Config{DeadLetter: hook.take}
				if tt.noHook {
					cfg.DeadLetter = nil
				}
				w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
					var data []string
					for _, r := range b.Records {
						data = append(data, string(r.Data))
					}
					calls, times = append(calls, data), append(times, time.Now())
					if len(calls) == 1 {
						return tt.first(b)
					}
					return nil
				}, cfg)
				time.Sleep(6 * time.Second)
				synctest.Wait()
				if tt.second == nil && len(calls) != 1 || tt.second != nil && (len(calls) != 2 || !slices.Equal(calls[1], tt.second)) {
					t.Errorf("calls %q, want a second one with %q", calls, tt.second)
				}
				if len(times) > 1 && times[1].After(times[0]) != tt.wait {
					t.Errorf("the second call came after %v", times[1].Sub(times[0]))
				}
				st := w.Stats()
				if st.RecordsSkipped != tt.skipped || st.RecordsDeadLettered != int64(len(tt.letters)) || st.ProcessorErrors != tt.errs || st.ProcessorRestarts != 0 {
					t.Errorf("%d skipped, %d dead letters, %d errors, %d restarts", st.RecordsSkipped, st.RecordsDeadLettered, st.ProcessorErrors, st.ProcessorRestarts)
				}
				for i, r := range hook.got {
					if string(r.Record.Data) != tt.letters[i] || r.App != "app" || !errors.Is(r.Err, errPoison) || r.Failures != 1 {
						t.Errorf("dead letter %+v", r)
					}
					if want := "stream/" + firstShard + "/" + r.Record.SequenceNumber + "/0"; r.Key != want {
						t.Errorf("key %q, want %q", r.Key, want)
					}
				}
				if got := leases(t, mem)[firstShard].Checkpoint; got != at(last, 0) || st.BufferedBytes != 0 || st.Shards[0].Failures != 0 || !st.Shards[0].FailingSince.IsZero() {
					t.Errorf("stored %v, %d bytes held, %+v", got, st.BufferedBytes, st.Shards[0])
				}
				w.wait(t)
			})
		})
	}
}

// TestDeadLetterThatFails: the position waits for it, and the shard is not well
// meanwhile.
func TestDeadLetterThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		_, first := stream.put("k", []byte("good"))
		stream.put("k", []byte("bad"))
		hook := &letters{fails: 12}
		start := time.Now()
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
			for i := range b.Records {
				if string(b.Records[i].Data) == "bad" {
					return consumer.DeadLetter(&b.Records[i], errPoison)
				}
				b.Records[i].Ack()
			}
			return nil
		}, consumer.Config{DeadLetter: hook.take})
		time.Sleep(6 * time.Second)
		synctest.Wait()
		st := w.Stats()
		if got := leases(t, mem)[firstShard].Checkpoint; got != at(first, 0) || st.Shards[0].Unacked != 1 {
			t.Errorf("stored %v while the hook fails, %d unacknowledged", got, st.Shards[0].Unacked)
		}
		if s := st.Shards[0]; s.Failures == 0 || s.FailingSince.Before(start) || s.FailingSince.After(start.Add(time.Second)) {
			t.Errorf("the shard looks well: %+v", s)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if st := w.Stats(); st.DeadLetterErrors != 12 || len(hook.got) != 1 || st.Shards[0].Failures != 0 || st.ProcessorRestarts != 0 {
			t.Errorf("%d failures, %d letters, %+v, %d restarts", st.DeadLetterErrors, len(hook.got), st.Shards[0], st.ProcessorRestarts)
		}
		w.wait(t)
	})
}

// TestStop: Run ends with the processor's error, and the lease is free, at what
// was acknowledged, without a wait for what was not.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(2, 1), memlease.New()
		for i := range 20 {
			stream.put(fmt.Sprint(i), []byte("x"))
		}
		calls := 0
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
			if b.Shard.ID != firstShard {
				return nil
			}
			calls++
			b.Ack(0)
			return consumer.Stop(errPoison)
		}, consumer.Config{})
		start := time.Now()
		<-w.done
		if !errors.Is(w.err, errPoison) || errors.Is(w.err, consumer.ErrShutdown) || time.Since(start) > 0 || calls != 1 {
			t.Errorf("Run: %v after %v and %d calls", w.err, time.Since(start), calls)
		}
		for key, l := range leases(t, mem) {
			if l.Owner != "" || key == firstShard && l.Checkpoint.IsSentinel() {
				t.Errorf("lease %s: %+v", key, l)
			}
		}
	})
}

// TestBisection plays histories of a processor that fails whenever one of some
// records is in the batch, by an error, a panic or a hang: each of these becomes a
// dead letter, once, and no other; all others are handled, in order.
func TestBisection(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { bisection(t, seed) })
		})
	}
}

func bisection(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	stream, mem := newFakeStream(1, seed), memlease.New()
	stream.limit = 1 + rng.IntN(300)
	n, after := 1+rng.IntN(400), 1+rng.IntN(4)
	poison := map[string]string{} // how it fails
	for range 1 + rng.IntN(4) {
		poison[strconv.Itoa(rng.IntN(n))] = []string{"error", "panic", "hang"}[rng.IntN(3)]
	}
	var last string
	for i := range n {
		_, last = stream.put("k", strconv.AppendInt(nil, int64(i), 10))
	}
	hook := &letters{fails: rng.IntN(3)}
	var handled []int
	calls := 0
	w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(ctx context.Context, b *consumer.Batch) error {
		calls++
		for _, r := range b.Records {
			switch poison[string(r.Data)] {
			case "error":
				return errPoison
			case "panic":
				panic(errPoison)
			case "hang":
				<-ctx.Done()
				return ctx.Err()
			}
		}
		for _, r := range b.Records {
			i, _ := strconv.Atoi(string(r.Data))
			handled = append(handled, i)
		}
		return nil
	}, consumer.Config{BisectAfter: after, DeadLetter: hook.take, ProcessorTimeout: time.Second})
	time.Sleep(20 * time.Minute)
	synctest.Wait()
	want := 0
	for _, i := range handled {
		for poison[strconv.Itoa(want)] != "" {
			want++
		}
		if i != want {
			t.Fatalf("record %d handled, want %d", i, want)
		}
		want++
	}
	if len(handled) != n-len(poison) {
		t.Errorf("%d records handled, want %d", len(handled), n-len(poison))
	}
	keys := hook.keys()
	slices.Sort(keys)
	if len(keys) != len(poison) || len(slices.Compact(keys)) != len(poison) {
		t.Errorf("%d dead letters, want %d: %q", len(keys), len(poison), keys)
	}
	for _, r := range hook.got {
		if poison[string(r.Record.Data)] == "" || r.Failures < after || r.Err == nil {
			t.Errorf("dead letter %s after %d failures: %v", r.Record.Data, r.Failures, r.Err)
		}
	}
	// Halving 400 records nine times, twice for each poison, and the tries.
	if most := len(poison)*(20+2*after) + 2*(n/stream.limit+1) + 10; calls > most {
		t.Errorf("%d calls for %d poisoned records of %d, want at most %d", calls, len(poison), n, most)
	}
	if got := leases(t, mem)[firstShard]; got.Checkpoint != at(last, 0) {
		t.Errorf("stored %v, want %s", got.Checkpoint, last)
	}
	st := w.Stats()
	if st.RecordsDeadLettered != int64(len(poison)) || st.BufferedBytes != 0 || st.Shards[0].Failures != 0 || st.Shards[0].Hung {
		t.Errorf("%d dead letters, %d bytes, %+v", st.RecordsDeadLettered, st.BufferedBytes, st.Shards[0])
	}
	w.wait(t)
}

// TestRetryIsNotBisected: an outage halves nothing and buries nothing.
func TestRetryIsNotBisected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		for range 8 {
			stream.put("k", []byte("x"))
		}
		hook := new(letters)
		start := time.Now()
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
			if len(b.Records) != 8 {
				t.Errorf("a batch of %d", len(b.Records))
			}
			if time.Since(start) < 10*time.Minute {
				return consumer.Retry(errFake)
			}
			return nil
		}, consumer.Config{BisectAfter: 1, DeadLetter: hook.take})
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if st := w.Stats(); st.Bisections != 0 || len(hook.got) != 0 || st.Batches != 1 {
			t.Errorf("%d bisections, %d letters, %d batches", st.Bisections, len(hook.got), st.Batches)
		}
		w.wait(t)
	})
}
