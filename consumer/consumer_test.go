package consumer_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// worker is a running consumer of a test.
type worker struct {
	*consumer.Consumer
	store *faultyStore
	stop  context.CancelFunc
	done  chan struct{} // closed when Run has returned
	err   error
}

func startWorker(t *testing.T, api consumer.API, store *faultyStore, process func(context.Context, *consumer.Batch) error, cfg consumer.Config) *worker {
	t.Helper()
	return startFactory(t, api, store, func(*consumer.Shard) (consumer.Processor, error) {
		return consumer.ProcessorFunc(process), nil
	}, cfg)
}

func startFactory(t *testing.T, api consumer.API, store *faultyStore, f func(*consumer.Shard) (consumer.Processor, error), cfg consumer.Config) *worker {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	c, err := consumer.New(api, store, "app", "stream", f, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &worker{Consumer: c, store: store, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.err = c.Run(ctx)
	}()
	return w
}

func (w *worker) wait(t *testing.T) {
	t.Helper()
	w.stop()
	<-w.done
	if w.err != nil {
		t.Errorf("Run: %v", w.err)
	}
}

func leases(t *testing.T, s consumer.LeaseStore) map[string]consumer.Lease {
	t.Helper()
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]consumer.Lease{}
	for _, l := range all {
		m[l.Key] = l
	}
	return m
}

func TestReadsEverythingAndReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(4, 1)
		h := newHistory(stream)
		mem := memlease.New()
		h.store = mem
		for i := range 1000 {
			h.produce(i, 50)
		}
		start := time.Now()
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem, history: h}, h.process, consumer.Config{})
		synctest.Wait()
		if h.missing() != 0 || time.Since(start) > 0 {
			t.Errorf("%d records not read at once", h.missing())
		}
		w.wait(t)
		for key, l := range leases(t, mem) {
			if l.Owner != "" || l.Checkpoint.IsSentinel() {
				t.Errorf("lease %s has owner %q and checkpoint %v after the stop", key, l.Owner, l.Checkpoint)
			}
			if l.Counter != 2 {
				t.Errorf("lease %s was written %d times, want 2: taken, and committed with the release", key, l.Counter)
			}
		}
		// A second worker goes on without a record twice.
		for i := range 100 {
			h.produce(1000+i, 50)
		}
		w = startWorker(t, stream, &faultyStore{LeaseStore: mem, history: h}, h.process, consumer.Config{})
		time.Sleep(time.Second)
		w.wait(t)
		if h.missing() != 0 || h.duplicates() != 0 {
			t.Errorf("%d records missing, %d twice", h.missing(), h.duplicates())
		}
		for _, p := range h.problems {
			t.Error(p)
		}
	})
}

func TestBalanceAndFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(8, 1)
		mem := memlease.New()
		h := newHistory(stream)
		h.store = mem
		cfg := func(id string) consumer.Config { return consumer.Config{WorkerID: id, Logger: quiet()} }
		a := startWorker(t, stream, &faultyStore{LeaseStore: mem}, h.process, cfg("a"))
		time.Sleep(time.Second)
		b := startWorker(t, stream, &faultyStore{LeaseStore: mem}, h.process, cfg("b"))
		time.Sleep(5 * time.Second)
		count := func() map[string]int {
			n := map[string]int{}
			for _, l := range leases(t, mem) {
				n[l.Owner]++
			}
			return n
		}
		if n := count(); n["a"] != 4 || n["b"] != 4 {
			t.Errorf("after 5 s the leases are divided %v, want 4 and 4", n)
		}
		a.store.cut.Store(true) // a stops renewing, as if it had died
		killed := time.Now()
		for count()["b"] != 8 && time.Since(killed) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		if d := time.Since(killed); d > 14*time.Second {
			t.Errorf("take-over took %v", d)
		}
		if n := len(a.Stats().Shards); n != 0 {
			t.Errorf("a still reads %d shards", n)
		}
		a.store.cut.Store(false)
		a.wait(t)
		b.wait(t)
	})
}

func TestFailedBatchIsDeliveredAgainUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(1, 1)
		mem := memlease.New()
		stream.put("k", []byte("one"))
		calls := 0
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
			calls++
			if len(b.Records) != 1 || string(b.Records[0].Data) != "one" {
				t.Errorf("call %d got %d records", calls, len(b.Records))
			}
			if calls == 1 {
				panic("boom")
			}
			if calls < 4 {
				return errors.New("not yet")
			}
			return nil
		}, consumer.Config{})
		time.Sleep(time.Minute)
		w.wait(t)
		if calls != 4 {
			t.Errorf("%d calls, want 4", calls)
		}
		if n := w.Stats().ProcessorErrors; n != 3 {
			t.Errorf("ProcessorErrors = %d, want 3", n)
		}
	})
}

func TestStopGivesUpAfterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(1, 1)
		mem := memlease.New()
		stream.put("k", []byte("one"))
		var cause error
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(ctx context.Context, _ *consumer.Batch) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		}, consumer.Config{ShutdownTimeout: 3 * time.Second})
		time.Sleep(time.Second)
		start := time.Now()
		w.stop()
		<-w.done
		if !errors.Is(w.err, consumer.ErrShutdown) || !errors.Is(cause, consumer.ErrShutdown) {
			t.Errorf("Run: %v, cause: %v; want both ErrShutdown", w.err, cause)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("stop took %v, want 3s", d)
		}
		if l := leases(t, mem)["shardId-000000000000"]; l.Owner != "" || l.Checkpoint.SequenceNumber != consumer.TrimHorizon {
			t.Errorf("lease after the stop: %+v", l)
		}
	})
}

func TestLeaseLossEndsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(1, 1)
		mem := memlease.New()
		stream.put("k", []byte("one"))
		var cause error
		var after time.Duration
		start := time.Now()
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(ctx context.Context, _ *consumer.Batch) error {
			if cause == nil {
				<-ctx.Done()
				cause, after = context.Cause(ctx), time.Since(start)
			}
			return nil
		}, consumer.Config{})
		time.Sleep(100 * time.Millisecond)
		w.store.cut.Store(true)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if !errors.Is(cause, consumer.ErrLeaseLost) || after != 9*time.Second {
			t.Errorf("cause %v after %v, want ErrLeaseLost after 9s", cause, after)
		}
		w.store.cut.Store(false)
		w.wait(t)
	})
}
