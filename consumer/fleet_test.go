package consumer_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// nativeFleet is workers of one application under ModeNative, with what their
// processors have seen.
type nativeFleet struct {
	t      *testing.T
	mode   consumer.Mode
	stream *fakeStream
	table  *memlease.Store

	slow map[string]time.Duration // calls for a shard take so long; set while nothing is fed

	mu        sync.Mutex // guards all below
	delivered map[string]int
	last      map[string]time.Time // last delivery by shard
	gap       map[string]time.Duration
	reading   map[string]string // worker by shard, from Initialize until its context ends or it lets go
	overlaps  []string
	put       []string
}

func newNativeFleet(t *testing.T, shards int) *nativeFleet {
	return &nativeFleet{
		t: t, mode: consumer.ModeNative, stream: newFakeStream(shards, 1), table: memlease.New(), delivered: map[string]int{},
		last: map[string]time.Time{}, gap: map[string]time.Duration{}, reading: map[string]string{},
	}
}

type nativeWorker struct {
	*consumer.Consumer
	fleet *nativeFleet
	name  string
	view  *tableView
	dead  atomic.Bool
	hang  chan struct{} // what calls for hungShard wait for

	hungShard atomic.Pointer[string]

	stop context.CancelFunc
	done chan struct{}
	err  error
}

func (f *nativeFleet) start(name string, cfg consumer.Config) *nativeWorker {
	return f.startWith(name, cfg, &tableView{CoordinationStore: f.table})
}

func (f *nativeFleet) startWith(name string, cfg consumer.Config, view *tableView) *nativeWorker {
	f.t.Helper()
	w := f.startOn(name, cfg, view)
	w.view = view
	return w
}

// startOn starts a worker on any store.
func (f *nativeFleet) startOn(name string, cfg consumer.Config, store consumer.LeaseStore) *nativeWorker {
	f.t.Helper()
	w := &nativeWorker{fleet: f, name: name, done: make(chan struct{})}
	cfg.WorkerID, cfg.Mode = name, f.mode
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	c, err := consumer.New(f.stream, store, "app", "stream", func(*consumer.Shard) (consumer.Processor, error) {
		return &nativeProcessor{w: w}, nil
	}, cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	w.Consumer = c
	ctx, cancel := context.WithCancel(f.t.Context())
	w.stop = cancel
	go func() {
		defer close(w.done)
		w.err = c.Run(ctx)
	}()
	return w
}

// kill has the worker do nothing any more that anybody else could see.
func (w *nativeWorker) kill() {
	w.dead.Store(true)
	w.view.cut.Store(true)
}

func (w *nativeWorker) wait() {
	w.fleet.t.Helper()
	w.stop()
	<-w.done
	if w.err != nil {
		w.fleet.t.Errorf("%s: %v", w.name, w.err)
	}
}

// nativeProcessor notes what it gets.
type nativeProcessor struct {
	w     *nativeWorker
	shard string
}

func (p *nativeProcessor) ProcessRecords(ctx context.Context, b *consumer.Batch) error {
	f := p.w.fleet
	if p.w.dead.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if hung := p.w.hungShard.Load(); hung != nil && *hung == b.Shard.ID {
		<-p.w.hang
		return ctx.Err()
	}
	time.Sleep(f.slow[b.Shard.ID])
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.shard == "" {
		p.shard = b.Shard.ID
		if other := f.reading[p.shard]; other != "" {
			f.overlaps = append(f.overlaps, fmt.Sprintf("%s is read by %s and %s", p.shard, other, p.w.name))
		}
		f.reading[p.shard] = p.w.name
		context.AfterFunc(ctx, p.leave)
	}
	if last, ok := f.last[p.shard]; ok {
		f.gap[p.shard] = max(f.gap[p.shard], time.Since(last))
	}
	f.last[p.shard] = time.Now()
	for _, r := range b.Records {
		f.delivered[r.SequenceNumber]++
	}
	return nil
}

func (p *nativeProcessor) leave() {
	f := p.w.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reading[p.shard] == p.w.name {
		delete(f.reading, p.shard)
	}
}

func (p *nativeProcessor) ShutdownRequested(context.Context) error { p.leave(); return nil }

func (p *nativeProcessor) ShardEnded(context.Context) error { p.leave(); return nil }

func (p *nativeProcessor) LeaseLost() { p.leave() }

// feed puts a record into each shard, again and again, until the returned
// function is called.
func (f *nativeFleet) feed(every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-time.After(every):
			case <-ctx.Done():
				return
			}
			f.stream.mu.Lock()
			var seqs []string
			for _, s := range f.stream.shards {
				if s.last == 0 {
					_, seq := f.stream.putLocked(s.rng.Start, fmt.Sprint(i), nil)
					seqs = append(seqs, seq)
				}
			}
			f.stream.mu.Unlock()
			f.mu.Lock()
			f.put = append(f.put, seqs...)
			f.mu.Unlock()
		}
	}()
	return func() { cancel(); <-done }
}

// merge merges an open shard with the next one.
func (f *nativeFleet) merge(i int) {
	f.t.Helper()
	if !mergeShards(f.stream, i) {
		f.t.Fatal("nothing to merge with")
	}
}

// owners returns how many leases each worker has.
func (f *nativeFleet) owners() map[string]int {
	f.t.Helper()
	n := map[string]int{}
	for _, l := range leases(f.t, f.table) {
		if l.Checkpoint.SequenceNumber != consumer.ShardEnd {
			n[l.Owner]++
		}
	}
	return n
}

// until waits until ok, and returns how long that took.
func (f *nativeFleet) until(limit time.Duration, what string, ok func() bool) time.Duration {
	f.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			f.t.Fatalf("%s: not within %v; leases of workers: %v", what, limit, f.owners())
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
	}
	return time.Since(began)
}

func (f *nativeFleet) shared(counts ...int) func() bool {
	return func() bool {
		owners := f.owners()
		got := slices.Sorted(maps.Values(owners))
		return owners[""] == 0 && slices.Equal(got, counts)
	}
}

// check looks at what came of all records.
func (f *nativeFleet) check(duplicates bool) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	lost, again := 0, 0
	for _, seq := range f.put {
		switch n := f.delivered[seq]; {
		case n == 0:
			lost++
		case n > 1:
			again++
		}
	}
	if lost > 0 || again > 0 && !duplicates {
		f.t.Errorf("of %d records %d were not delivered, and %d more than once", len(f.put), lost, again)
	}
	for _, o := range f.overlaps {
		f.t.Error(o)
	}
}

// longest returns the longest time between two deliveries of a shard since it
// was last asked.
func (f *nativeFleet) longest() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var most time.Duration
	for shard, last := range f.last {
		most = max(most, f.gap[shard], time.Since(last))
	}
	clear(f.gap)
	return most
}

func (f *nativeFleet) shared2(a string, n int, b string, m int) func() bool {
	return func() bool { o := f.owners(); return o[a] == n && o[b] == m }
}
