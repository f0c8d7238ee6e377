package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// diary is a processor with all optional methods; it notes their calls.
type diary struct {
	mu    *sync.Mutex // guards calls
	calls *[]string
	shard *consumer.Shard
	fail  map[string]int // calls that fail first
	batch func(*consumer.Batch)
}

func (d *diary) note(call string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	*d.calls = append(*d.calls, d.shard.ID[len(d.shard.ID)-1:]+" "+call)
	if d.fail[call] > 0 {
		d.fail[call]--
		return errors.New("not yet")
	}
	return nil
}

func (d *diary) Initialize(_ context.Context, at consumer.Checkpoint) error {
	return d.note("Initialize " + at.String())
}

func (d *diary) ProcessRecords(_ context.Context, b *consumer.Batch) error {
	if d.batch != nil {
		d.batch(b)
	}
	return d.note(fmt.Sprint("ProcessRecords ", len(b.Records)))
}
func (d *diary) LeaseLost()                              { _ = d.note("LeaseLost") }
func (d *diary) ShardEnded(context.Context) error        { return d.note("ShardEnded") }
func (d *diary) ShutdownRequested(context.Context) error { return d.note("ShutdownRequested") }

func TestLifeOfAProcessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(1, 1)
		mem := memlease.New()
		var mu sync.Mutex
		var calls []string
		fail := map[string]int{"Initialize TRIM_HORIZON": 1, "ShardEnded": 2}
		var made atomic.Int64
		store := &faultyStore{LeaseStore: mem}
		w := startFactory(t, stream, store, func(s *consumer.Shard) (consumer.Processor, error) {
			if made.Add(1) == 1 {
				return nil, errors.New("no processor yet")
			}
			return &diary{mu: &mu, calls: &calls, shard: s, fail: fail}, nil
		}, consumer.Config{})
		stream.put("k", []byte("x"))
		time.Sleep(5 * time.Second)
		stream.split(0)
		time.Sleep(5 * time.Second)
		want := []string{
			"0 Initialize TRIM_HORIZON", "0 Initialize TRIM_HORIZON", "0 ProcessRecords 1", "0 ShardEnded", "0 ShardEnded", "0 ShardEnded",
		}
		mu.Lock()
		if !slices.Equal(calls[:min(len(calls), len(want))], want) {
			t.Errorf("calls %q, want %q first", calls, want)
		}
		rest := slices.Sorted(slices.Values(calls[len(want):]))
		if !slices.Equal(rest, []string{"1 Initialize TRIM_HORIZON", "2 Initialize TRIM_HORIZON"}) {
			t.Errorf("then %q", rest)
		}
		calls = nil
		mu.Unlock()

		// One of the two leases goes to another worker, then the consumer stops.
		l := leases(t, mem)["shardId-000000000001"]
		if _, err := mem.Take(t.Context(), l, "other", "i"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		w.wait(t)
		if got := slices.Sorted(slices.Values(calls)); !slices.Equal(got, []string{"1 LeaseLost", "2 ShutdownRequested"}) {
			t.Errorf("at the end %q", got)
		}
	})
}

func TestDetachedRecordsHoldTheCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(1, 1)
		mem := memlease.New()
		var seqs []string
		for i := range 6 {
			_, seq := stream.put("k", fmt.Append(nil, i))
			seqs = append(seqs, seq)
		}
		var batch *consumer.Batch
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, func(_ context.Context, b *consumer.Batch) error {
			b.Detach()
			batch = b
			return nil
		}, consumer.Config{})
		stored := func(want string) {
			t.Helper()
			time.Sleep(6 * time.Second)
			synctest.Wait()
			if got := leases(t, mem)["shardId-000000000000"].Checkpoint.SequenceNumber; got != want {
				t.Errorf("checkpoint %s, want %s", got, want)
			}
		}
		stored(consumer.TrimHorizon)
		batch.Ack(1)
		batch.Ack(2)
		stored(consumer.TrimHorizon)
		batch.Ack(0)
		stored(seqs[2])
		batch.Ack(4)
		batch.Ack(4)
		stored(seqs[2])
		if n := w.Stats().BufferedBytes; n == 0 {
			t.Error("memory of unacknowledged records is not counted")
		}
		// The stop waits for what is outstanding.
		time.AfterFunc(2*time.Second, func() { batch.Ack(3); batch.Ack(5) })
		w.wait(t)
		if got := leases(t, mem)["shardId-000000000000"]; got.Checkpoint.SequenceNumber != seqs[5] || got.Owner != "" {
			t.Errorf("after the stop: %+v", got)
		}
		batch.Ack(0) // too late, and harmless
		if n := w.Stats().BufferedBytes; n != 0 {
			t.Errorf("%d bytes charged after the stop", n)
		}
	})
}

func TestStableNameHasItsLeasesBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(3, 1)
		mem := memlease.New()
		cfg := consumer.Config{WorkerID: "w"}
		nothing := func(context.Context, *consumer.Batch) error { return nil }
		old := startWorker(t, stream, &faultyStore{LeaseStore: mem}, nothing, cfg)
		time.Sleep(time.Second)
		old.store.cut.Store(true) // dies, as far as the table knows
		again := startWorker(t, stream, &faultyStore{LeaseStore: mem}, nothing, cfg)
		time.Sleep(time.Millisecond)
		if n := len(again.Stats().Shards); n != 3 {
			t.Errorf("%d leases at once, want 3", n)
		}
		// The old process wakes up. It must not take the new one's writes for
		// its own.
		old.store.cut.Store(false)
		time.Sleep(4700 * time.Millisecond)
		if n := len(again.Stats().Shards); n < 2 {
			t.Errorf("the new process holds %d leases after the old one woke up", n)
		}
		time.Sleep(30 * time.Second) // whatever moves between the two has moved
		writes := again.Stats().LeasesLost + old.Stats().LeasesLost
		time.Sleep(30 * time.Second)
		if n := again.Stats().LeasesLost + old.Stats().LeasesLost; n != writes {
			t.Errorf("the leases go back and forth: %d losses, then %d", writes, n)
		}
		old.stop()
		<-old.done
		if n := old.Stats().LeasesLost + old.Stats().LeasesExpired; n < 3 {
			t.Errorf("the old process lost %d leases, want 3 or more", n)
		}
		again.wait(t)
	})
}

func TestConfigReportsAllFaults(t *testing.T) {
	_, err := consumer.New(nil, nil, "", "", nil, consumer.Config{
		FailoverTime: time.Millisecond, MaxRecords: 20000, MaxBufferedBytes: 1, MaxLeasesForWorker: -1, CheckpointInterval: -1,
		InitialPosition: consumer.Position{Latest: true, Time: time.Now()}, Mode: 9, RangePolicy: -1,
		MaxUnacked: -1, KeyConcurrency: 2000, ExplicitCheckpoints: true, MaxBusyLanes: -1, ProcessorTimeout: -1, BisectAfter: -1,
	})
	for _, want := range []string{"client", "application", "FailoverTime", "MaxRecords", "MaxBufferedBytes", "MaxLeasesForWorker", "CheckpointInterval", "InitialPosition", "Mode", "RangePolicy", "MaxUnacked", "KeyConcurrency 2000", "KeyConcurrency cannot", "MaxBusyLanes", "ProcessorTimeout", "BisectAfter"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not mention %s: %v", want, err)
		}
	}
	c, err := consumer.New(newFakeStream(1, 1), memlease.New(), "a", "s", func(*consumer.Shard) (consumer.Processor, error) { return nil, nil }, consumer.Config{})
	if err != nil || c.WorkerID() == "" {
		t.Errorf("zero Config: %v", err)
	}
}

func TestLostShardLeaseIsHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := newFakeStream(2, 1)
		mem := memlease.New()
		h := newHistory(stream)
		h.store = mem
		w := startWorker(t, stream, &faultyStore{LeaseStore: mem}, h.process, consumer.Config{})
		time.Sleep(time.Second)
		l := leases(t, mem)["shardId-000000000001"]
		if err := mem.Delete(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		for i := range 20 {
			h.produce(i, 20)
		}
		time.Sleep(5 * time.Second)
		w.wait(t)
		if h.missing() != 0 {
			t.Errorf("%d records not read after a lease was deleted", h.missing())
		}
	})
}
