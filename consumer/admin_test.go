package consumer_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

func shardID(n string) string { return "shardId-00000000000" + n }

func TestWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(6, 1)
		stream.split(1) // 6 and 7
		stream.split(3) // 8 and 9
		mem := memlease.New()
		start, end := map[string]string{}, map[string]string{}
		for _, s := range stream.shards {
			start[s.id], end[s.id] = s.rng.Start.String(), s.rng.End.String()
		}
		create := func(n string, l consumer.Lease) {
			l.Key = shardID(n)
			l.StartingHashKey, l.EndingHashKey = start[l.Key], end[l.Key]
			if l.Checkpoint == (consumer.Checkpoint{}) {
				l.Checkpoint = consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}
			}
			if _, err := mem.Create(t.Context(), l); err != nil {
				t.Fatal(err)
			}
		}
		create("0", consumer.Lease{Owner: "me"}) // of an earlier run: taken first
		create("1", consumer.Lease{Owner: "other"})
		create("2", consumer.Lease{Owner: "dead"})
		create("4", consumer.Lease{Invalid: errors.New("checkpoint: not a number")})
		create("5", consumer.Lease{Owner: "new", CheckpointOwner: "old"})
		create("6", consumer.Lease{Parents: []string{shardID("1")}})
		create("8", consumer.Lease{Owner: "left"})
		create("9", consumer.Lease{Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}, Children: []string{"a", "b"}})

		create("10", consumer.Lease{})
		stopped, err := consumer.New(stream, mem, "app", "stream", puppets(puppet{}), consumer.Config{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		if w, err := stopped.Why(t.Context(), shardID("10")); err != nil || w.Reason != consumer.ReasonStopped {
			t.Errorf("before Run: %+v, %v", w, err)
		}

		if err := mem.Delete(t.Context(), leases(t, mem)[shardID("10")]); err != nil {
			t.Fatal(err)
		}

		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(context.Context, *consumer.Batch) error { return nil },
			consumer.Config{WorkerID: "me", MaxLeasesForWorker: 1})
		defer w.wait(t)
		synctest.Wait()
		if _, err := mem.Update(t.Context(), leases(t, mem)[shardID("8")], consumer.Write{Release: true}); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			time.Sleep(time.Second)
			l := leases(t, mem)[shardID("1")]
			if _, err := mem.Update(t.Context(), l, consumer.Write{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range []struct {
			shard  string
			reason consumer.Reason
			owner  string
			text   string
		}{
			{"0", consumer.ReasonReading, "me", "this worker reads it"},
			{"1", consumer.ReasonOther, "other", `worker "other" has the lease`},
			{"2", consumer.ReasonExpired, "dead", `worker "dead" has not renewed the lease for 12s`},
			{"3", consumer.ReasonSkipped, "", "not read"},
			{"4", consumer.ReasonInvalid, "", "checkpoint: not a number"},
			{"5", consumer.ReasonHandOver, "new", `worker "old" finishes, for worker "new"`},
			{"6", consumer.ReasonParents, "", "its parent " + shardID("1") + " has"},
			{"7", consumer.ReasonParents, "", "its lease is created when its parent " + shardID("1") + " has"},
			{"8", consumer.ReasonFull, "", "this worker has 1, as many as it may"},
			{"9", consumer.ReasonEnded, "", "its children are a, b"},
		} {
			got, err := w.Why(t.Context(), shardID(tt.shard))
			if err != nil {
				t.Fatal(err)
			}
			if got.ShardID != shardID(tt.shard) || got.Reason != tt.reason || got.Owner != tt.owner || !strings.Contains(got.Text, tt.text) {
				t.Errorf("shard %s: %+v, want %s, owner %q and %q", tt.shard, got, tt.reason, tt.owner, tt.text)
			}
			if waits := tt.reason == consumer.ReasonParents; waits != slices.Equal(got.Waiting, []string{shardID("1")}) {
				t.Errorf("shard %s waits for %q", tt.shard, got.Waiting)
			}
		}

		// A lease that is gone, though its shard is there: it would be made anew
		// after its parent's.
		if err := mem.Delete(t.Context(), leases(t, mem)[shardID("8")]); err != nil {
			t.Fatal(err)
		}
		all, err := w.WhyAll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var reasons []string
		for _, why := range all {
			reasons = append(reasons, why.ShardID[len(why.ShardID)-1:]+" "+string(why.Reason))
		}
		want := []string{"0 reading", "1 other", "2 expired", "3 hole", "4 invalid", "5 hand-over", "6 parents", "7 parents", "8 parents", "9 ended"}
		if !slices.Equal(reasons, want) {
			t.Errorf("all: %q, want %q", reasons, want)
		}

		if _, err := w.Why(t.Context(), "shardId-9"); !isUnknown(err) {
			t.Errorf("a shard that is not there: %v", err)
		}
		ls, err := w.Leases(t.Context())
		if err != nil || len(ls) != 7 || !slices.IsSortedFunc(ls, func(a, b consumer.Lease) int { return strings.Compare(a.Key, b.Key) }) {
			t.Errorf("Leases: %d, %v", len(ls), err)
		}
	})
}

func isUnknown(err error) bool {
	e, ok := errors.AsType[*consumer.UnknownShardError](err)
	return ok && e.ShardID == "shardId-9"
}

func TestWhyUnowned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Taking fails, so the leases stay without an owner.
		stream := newFakeStream(2, 1)
		mem := memlease.New()
		w := startWorker(t, stream, &faultyStore{LeaseStore: noTakes{mem}}, nil, consumer.Config{})
		defer w.wait(t)
		time.Sleep(15 * time.Second)
		got, err := w.Why(t.Context(), shardID("0"))
		if err != nil || got.Reason != consumer.ReasonUnowned || got.Since != 15*time.Second || !strings.Contains(got.Text, "for 15s") {
			t.Errorf("%+v, %v", got, err)
		}
		if err := mem.Delete(t.Context(), leases(t, mem)[shardID("0")]); err != nil {
			t.Fatal(err)
		}
		if got, err = w.Why(t.Context(), shardID("0")); err != nil || got.Reason != consumer.ReasonHole {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestWhyForeign shares a table with a worker that does not know the mode's rules.
func TestWhyForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memlease.New()
		ctx, stop := context.WithCancel(t.Context())
		c, err := consumer.New(newFakeStream(1, 1), mem, "app", "stream", puppets(puppet{}), consumer.Config{Mode: consumer.ModeNative, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1) // one run
		for i := range 3 {
			if err := mem.PutWorker(t.Context(), consumer.WorkerRow{ID: "java", Updated: time.Now()}); err != nil {
				t.Fatal(err)
			}
			if i == 0 { // not before the row is there
				go func() { done <- c.Run(ctx) }()
			}
			time.Sleep(10 * time.Second)
			if got, err := c.Why(t.Context(), shardID("0")); err != nil || got.Reason != consumer.ReasonForeign || !strings.Contains(got.Text, "workers that do not know the rules of ModeNative (1) share the table") {
				t.Errorf("%+v, %v", got, err)
			}
		}
		time.Sleep(2 * time.Minute) // it is gone
		if got, err := c.Why(t.Context(), shardID("0")); err != nil || got.Reason != consumer.ReasonReading {
			t.Errorf("%+v, %v", got, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

type noTakes struct{ consumer.LeaseStore }

func (noTakes) Take(context.Context, consumer.Lease, string, string) (consumer.Lease, error) {
	return consumer.Lease{}, errFake
}

func TestHealth(t *testing.T) {
	const limit = time.Minute
	check := func(t *testing.T, w *worker, want ...string) {
		t.Helper()
		h := w.Health(limit)
		if len(h.Problems) != len(want) || h.OK() != (len(want) == 0) || !h.Running {
			t.Fatalf("%+v, want %q", h, want)
		}
		for i, p := range h.Problems {
			if text := p.ShardID + ": " + p.Text; !strings.Contains(text, want[i]) {
				t.Errorf("%q, want %q in it", text, want[i])
			}
		}
	}
	for _, tt := range []struct {
		name    string
		process func(ctx context.Context, b *consumer.Batch) error
		want    string
	}{
		{"hangs", func(ctx context.Context, _ *consumer.Batch) error { <-ctx.Done(); return nil }, "does not return"},
		{"fails", func(context.Context, *consumer.Batch) error { return errFake }, "the processor has failed"},
		{"does not acknowledge", func(_ context.Context, b *consumer.Batch) error { b.Detach(); return nil }, "does not acknowledge"},
	} {
		t.Run("a processor that "+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream := newFakeStream(2, 1)
				w := startWorker(t, stream, &faultyStore{LeaseStore: memlease.New()}, tt.process, consumer.Config{ShutdownTimeout: time.Second})
				defer func() { w.stop(); <-w.done }()
				time.Sleep(10 * time.Minute)
				check(t, w) // no traffic
				shard, _ := stream.put("k", []byte("x"))
				time.Sleep(limit - 2*time.Second)
				check(t, w)
				time.Sleep(4 * time.Second)
				check(t, w, shard+": nothing moved for 1m")
				check(t, w, tt.want)
			})
		})
	}

	t.Run("a slow but steady processor", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			stream := newFakeStream(1, 1)
			for range 100 {
				stream.put("k", []byte("x"))
			}
			w := startWorker(t, stream, &faultyStore{LeaseStore: memlease.New()}, func(context.Context, *consumer.Batch) error {
				time.Sleep(50 * time.Second)
				return nil
			}, consumer.Config{MaxRecords: 1, ShutdownTimeout: 2 * time.Minute})
			defer w.wait(t)
			for range 20 {
				time.Sleep(41 * time.Second)
				check(t, w)
			}
			lag := w.Lag()
			if len(lag) != 1 || lag[0].ShardID != shardID("0") || lag[0].Behind != time.Second || lag[0].Age == 0 || lag[0].Age > time.Minute {
				t.Errorf("lag %+v", lag)
			}
		})
	})

	t.Run("a paused shard", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			stream := newFakeStream(1, 1)
			w := startWorker(t, stream, &faultyStore{LeaseStore: memlease.New()}, func(context.Context, *consumer.Batch) error {
				time.Sleep(10 * time.Second)
				return nil
			}, consumer.Config{})
			defer w.wait(t)
			w.Pause(shardID("0"))
			stream.put("k", []byte("x"))
			time.Sleep(10 * time.Minute)
			check(t, w)
			w.Resume(shardID("0"))
			check(t, w)
		})
	})

	t.Run("a shard that cannot be read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			api := &brokenReads{fakeStream: newFakeStream(1, 1)}
			w := startWorker(t, api, &faultyStore{LeaseStore: memlease.New()}, nil, consumer.Config{})
			defer w.wait(t)
			time.Sleep(time.Minute)
			check(t, w)
			api.broken.Store(true)
			time.Sleep(2 * time.Minute)
			check(t, w, shardID("0")+": nothing moved for 2m")
			check(t, w, "the shard cannot be read")
			api.broken.Store(false)
			time.Sleep(20 * time.Second)
			check(t, w)
		})
	})

	t.Run("leases that cannot be listed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := &faultyStore{LeaseStore: memlease.New()}
			w := startWorker(t, newFakeStream(1, 1), store, nil, consumer.Config{})
			time.Sleep(time.Minute)
			check(t, w)
			store.cut.Store(true)
			time.Sleep(2 * time.Minute)
			check(t, w, "the leases could not be listed")
			store.cut.Store(false)
			time.Sleep(10 * time.Second)
			check(t, w)
			w.wait(t)
			if h := w.Health(limit); h.Running || h.OK() {
				t.Errorf("after Run: %+v", h)
			}
		})
	})
}

type brokenReads struct {
	*fakeStream
	broken atomic.Bool
}

func (b *brokenReads) GetRecords(ctx context.Context, in *kinesis.GetRecordsInput, opts ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error) {
	if b.broken.Load() {
		return nil, errFake
	}
	return b.fakeStream.GetRecords(ctx, in, opts...)
}
