package consumer_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// notes is what processors of several workers were given, in order.
type notes struct {
	mu  sync.Mutex // guards got
	got []string
}

func (n *notes) of(worker string) func(context.Context, *consumer.Batch) error {
	return func(_ context.Context, b *consumer.Batch) error {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, r := range b.Records {
			n.got = append(n.got, worker+" "+string(r.Data))
		}
		return nil
	}
}

// want checks what was given since the last call.
func (n *notes) want(t *testing.T, want ...string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if strings.Join(n.got, ",") != strings.Join(want, ",") {
		t.Errorf("got %q, want %q", n.got, want)
	}
	n.got = nil
}

// put stores a record in the first shard of a stream with one shard.
func putOne(t *testing.T, stream *fakeStream, data string) {
	t.Helper()
	stream.put("k", []byte(data))
	time.Sleep(2 * time.Second)
}

func ownerOf(t *testing.T, store consumer.LeaseStore, key string) string {
	t.Helper()
	return leases(t, store)[key].Owner
}

func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem, n := newFakeStream(1, 1), memlease.New(), &notes{}
		shard := shardID("0")
		a := startWorker(t, stream, &faultyStore{LeaseStore: mem}, n.of("a"), consumer.Config{WorkerID: "a"})
		defer a.wait(t)
		putOne(t, stream, "1")
		if err := a.Release(t.Context(), shard); err != nil {
			t.Fatal(err)
		}
		l := leases(t, mem)[shard]
		if l.Owner != "" || l.Checkpoint.IsSentinel() {
			t.Errorf("released: %+v", l)
		}
		putOne(t, stream, "2")
		n.want(t, "a 1")
		if err := a.Release(t.Context(), shard); !errors.Is(err, consumer.ErrNotHeld) || !strings.Contains(err.Error(), "nobody has it") {
			t.Errorf("released twice: %v", err)
		}
		if err := a.Release(t.Context(), "shardId-9"); !errors.Is(err, consumer.ErrNotHeld) || !strings.Contains(err.Error(), "there is no lease") {
			t.Errorf("no such shard: %v", err)
		}
		// Nobody else comes: after the failover time it takes the lease again.
		time.Sleep(5 * time.Second)
		if owner := ownerOf(t, mem, shard); owner != "" {
			t.Errorf("%q has the lease 7 s after it was released", owner)
		}
		time.Sleep(10 * time.Second)
		n.want(t, "a 2")

		// Another one takes it.
		b := startWorker(t, stream, &faultyStore{LeaseStore: mem}, n.of("b"), consumer.Config{WorkerID: "b"})
		defer b.wait(t)
		time.Sleep(5 * time.Second)
		if err := b.Release(t.Context(), shard); !errors.Is(err, consumer.ErrNotHeld) || !strings.Contains(err.Error(), `worker "a" has that`) {
			t.Errorf("another's: %v", err)
		}
		if err := a.Release(t.Context(), shard); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		putOne(t, stream, "3")
		n.want(t, "b 3")
	})
}

func TestTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Of three leases one has two: to give one away leaves a balance, so
		// nobody steals.
		stream, mem, n := newFakeStream(3, 1), memlease.New(), &notes{}
		workers := map[string]*worker{}
		for _, name := range []string{"a", "b"} {
			workers[name] = startWorker(t, stream, &faultyStore{LeaseStore: mem}, n.of(name), consumer.Config{WorkerID: name})
			defer workers[name].wait(t)
		}
		time.Sleep(20 * time.Second)
		var from, to, key string
		for k, l := range leases(t, mem) {
			if len(workers[l.Owner].Stats().Shards) == 2 {
				from, key = l.Owner, k
			} else {
				to = l.Owner
			}
		}
		giver, taker := workers[from], workers[to]
		if err := giver.Transfer(t.Context(), key, "c"); err == nil || !strings.Contains(err.Error(), `worker "c" is not known`) {
			t.Errorf("to nobody: %v", err)
		}
		if err := taker.Transfer(t.Context(), key, to); !errors.Is(err, consumer.ErrNotHeld) || !strings.Contains(err.Error(), `worker "`+from+`"`) {
			t.Errorf("of another: %v", err)
		}
		if err := giver.Transfer(t.Context(), key, from); err != nil {
			t.Errorf("to itself: %v", err)
		}
		put := func(data string) {
			stream.mu.Lock()
			defer stream.mu.Unlock()
			for _, s := range stream.shards {
				if s.id == key {
					stream.putLocked(s.rng.Start, "k", []byte(data))
				}
			}
		}
		put("1")
		time.Sleep(2 * time.Second)
		before := leases(t, mem)[key]
		if err := giver.Transfer(t.Context(), key, to); err != nil {
			t.Fatal(err)
		}
		after := leases(t, mem)[key]
		if after.Owner != to || after.Incarnation == before.Incarnation || after.Checkpoint == before.Checkpoint || after.Counter != before.Counter+1 {
			t.Errorf("before %+v, after %+v: want one write", before, after)
		}
		put("2")
		time.Sleep(5 * time.Second) // a look and a read
		n.want(t, from+" 1", to+" 2")

		// One that nobody has.
		if err := taker.Release(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if err := taker.Transfer(t.Context(), key, from); err != nil {
			t.Fatal(err)
		}
		put("3")
		time.Sleep(12 * time.Second) // the giver has left it to others for 10 s
		n.want(t, from+" 3")
	})
}

func TestResetCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem, n := newFakeStream(1, 1), memlease.New(), &notes{}
		shard := shardID("0")
		trim := consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}
		store := &faultyStore{LeaseStore: mem}
		a := startWorker(t, stream, store, n.of("a"), consumer.Config{WorkerID: "a"})
		for _, data := range []string{"1", "2", "3"} {
			putOne(t, stream, data)
		}
		n.want(t, "a 1", "a 2", "a 3")
		for _, tt := range []struct {
			at   consumer.Checkpoint
			want string
		}{
			{consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}, "cannot be reset to SHARD_END"},
			{consumer.Checkpoint{SequenceNumber: "yesterday"}, "neither a sequence number nor a sentinel"},
			{consumer.Checkpoint{}, "neither a sequence number nor a sentinel"},
		} {
			if err := a.ResetCheckpoint(t.Context(), shard, tt.at); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("to %v: %v", tt.at, err)
			}
		}

		// By the owner: back, and forward.
		if err := a.ResetCheckpoint(t.Context(), shard, trim); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		n.want(t, "a 1", "a 2", "a 3")
		first := stream.shards[0].records[0].SequenceNumber
		if err := a.ResetCheckpoint(t.Context(), shard, at(*first, 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		n.want(t, "a 2", "a 3")

		// By another, which is refused and changes nothing.
		b := startWorker(t, stream, store, n.of("b"), consumer.Config{WorkerID: "b", MaxLeasesForWorker: 1})
		before := leases(t, mem)[shard]
		if err := b.ResetCheckpoint(t.Context(), shard, trim); !errors.Is(err, consumer.ErrNotHeld) || !strings.Contains(err.Error(), `worker "a"`) {
			t.Errorf("of another: %v", err)
		}
		if now := leases(t, mem)[shard]; now.Checkpoint != before.Checkpoint || now.Owner != "a" {
			t.Errorf("before %+v, now %+v", before, now)
		}
		b.wait(t)
		a.wait(t)

		// By nobody's: one that does not run sets it.
		c, err := consumer.New(stream, mem, "app", "stream", puppets(puppet{}), consumer.Config{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.ResetCheckpoint(t.Context(), shard, consumer.Checkpoint{SequenceNumber: consumer.Latest}); err != nil {
			t.Fatal(err)
		}
		if l := leases(t, mem)[shard]; l.Checkpoint.SequenceNumber != consumer.Latest || time.Since(l.LatestSince) > time.Second {
			t.Errorf("latest: %+v", l)
		}
		time.Sleep(time.Second)
		stream.put("k", []byte("4")) // while nobody reads
		d := startWorker(t, stream, store, n.of("d"), consumer.Config{WorkerID: "d"})
		time.Sleep(5 * time.Second)
		n.want(t, "d 4")
		d.wait(t)

		// Of a shard that has been read to its end, perhaps between two looks.
		ended := leases(t, mem)[shard]
		if ended, err = mem.Update(t.Context(), ended, consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}}); err != nil {
			t.Fatal(err)
		}
		if err := c.ResetCheckpoint(t.Context(), shard, trim); !errors.Is(err, consumer.ErrNotHeld) || !strings.Contains(err.Error(), "lease reset --all") {
			t.Errorf("of a shard that was read to its end: %v", err)
		}
		if now := leases(t, mem)[shard]; now.Checkpoint != ended.Checkpoint || now.Counter != ended.Counter {
			t.Errorf("before %+v, now %+v", ended, now)
		}
	})
}

// TestReleaseOfAStuckProcessor gives up what a processor does not finish in time.
func TestReleaseOfAStuckProcessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		cause := make(chan error, 1) // one call
		a := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(ctx context.Context, _ *consumer.Batch) error {
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return nil
		}, consumer.Config{ShutdownTimeout: 3 * time.Second})
		stream.put("k", []byte("x"))
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := a.Release(ctx, shardID("0")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("in a second: %v", err)
		}
		cancel()
		if err := a.Release(t.Context(), shardID("0")); !errors.Is(err, consumer.ErrNotHeld) || !strings.Contains(err.Error(), "being given up already") {
			t.Errorf("again: %v", err)
		}
		time.Sleep(3 * time.Second)
		if err := <-cause; !errors.Is(err, consumer.ErrReleased) {
			t.Errorf("cause %v", err)
		}
		if l := leases(t, mem)[shardID("0")]; l.Owner != "" {
			t.Errorf("lease %+v", l)
		}
		a.wait(t)
	})
}

// TestReleaseOfALostLease is asked for a lease that another worker takes meanwhile.
func TestReleaseOfALostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem := newFakeStream(1, 1), memlease.New()
		goOn := make(chan struct{})
		a := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(ctx context.Context, _ *consumer.Batch) error {
			<-goOn
			return nil
		}, consumer.Config{})
		defer a.wait(t)
		stream.put("k", []byte("x"))
		time.Sleep(time.Second)
		got := make(chan error, 1) // one answer
		go func() { got <- a.Release(t.Context(), shardID("0")) }()
		synctest.Wait()
		if _, err := mem.Take(t.Context(), leases(t, mem)[shardID("0")], "other", "i"); err != nil {
			t.Fatal(err)
		}
		close(goOn)
		if err := <-got; !errors.Is(err, consumer.ErrLeaseLost) {
			t.Errorf("released: %v", err)
		}
		if l := leases(t, mem)[shardID("0")]; l.Owner != "other" || !l.Checkpoint.IsSentinel() {
			t.Errorf("lease %+v", l)
		}
	})
}

// TestRequestsUnderTheRulesOfOneLeader asks workers that share leases by a plan.
func TestRequestsUnderTheRulesOfOneLeader(t *testing.T) {
	for _, mode := range []consumer.Mode{consumer.ModeNative, consumer.ModeKCL3} {
		t.Run(mode.String(), func(t *testing.T) { requestsUnder(t, mode) })
	}
}

func requestsUnder(t *testing.T, mode consumer.Mode) {
	synctest.Test(t, func(t *testing.T) {
		stream, mem, n := newFakeStream(3, 1), memlease.New(), &notes{}
		workers := map[string]*consumer.Consumer{}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer stop()
		for _, name := range []string{"a", "b"} {
			process := consumer.ProcessorFunc(n.of(name))
			c, err := consumer.New(stream, mem, "app", "stream", func(*consumer.Shard) (consumer.Processor, error) { return process, nil },
				consumer.Config{WorkerID: name, Mode: mode, Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			workers[name] = c
			running.Go(func() {
				if err := c.Run(ctx); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		time.Sleep(5 * time.Minute)
		var from, to, key string
		for k, l := range leases(t, mem) {
			if len(workers[l.Owner].Stats().Shards) == 2 {
				from, key = l.Owner, k
			} else {
				to = l.Owner
			}
		}
		whys, err := workers[to].WhyAll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range whys {
			if w.Reason != consumer.ReasonOther && w.Reason != consumer.ReasonReading {
				t.Errorf("%+v", w) // not each lease need be renewed, and all are read
			}
		}
		if err := workers[from].Transfer(t.Context(), key, to); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		if w, err := workers[to].Why(t.Context(), key); err != nil || w.Reason != consumer.ReasonReading {
			t.Errorf("%+v, %v", w, err)
		}
		first, _ := stream.put("k", []byte("x"))
		time.Sleep(3 * time.Second)
		owner := ownerOf(t, mem, first)
		n.want(t, owner+" x")
		trim := consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}
		if err := workers[owner].ResetCheckpoint(t.Context(), first, trim); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		n.want(t, ownerOf(t, mem, first)+" x")
		for _, name := range []string{"a", "b"} {
			if h := workers[name].Health(time.Minute); !h.OK() {
				t.Errorf("%s: %+v", name, h)
			}
		}
	})
}
