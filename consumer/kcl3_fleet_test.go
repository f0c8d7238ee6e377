package consumer_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/internal/hashkey"
)

// fleetStore is one worker's view of a coordination store: a [tableView] that also
// notes what the worker asks for, and may lie about the index and the table.
type fleetStore struct {
	*tableView

	mu      sync.Mutex // guards all below
	state   consumer.Coordination
	stale   []string // keys that Owned adds
	rows    []time.Time
	row     consumer.WorkerRow // as last written
	takes   int
	writes  []consumer.Write
	updated []consumer.Lease // before each write
}

func newFleetStore(store consumer.CoordinationStore) *fleetStore {
	return &fleetStore{tableView: &tableView{CoordinationStore: store}}
}

func (s *fleetStore) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *fleetStore) Coordination(ctx context.Context) (consumer.Coordination, error) {
	if _, err := s.tableView.Coordination(ctx); err != nil {
		return consumer.Coordination{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, nil
}

func (s *fleetStore) Owned(ctx context.Context, owner string) ([]string, error) {
	keys, err := s.tableView.Owned(ctx, owner)
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(keys, s.stale...), err
}

func (s *fleetStore) PutWorker(ctx context.Context, row consumer.WorkerRow) error {
	err := s.tableView.PutWorker(ctx, row)
	if err == nil {
		s.set(func() { s.rows, s.row = append(s.rows, row.Updated), row })
	}
	return err
}

func (s *fleetStore) Take(ctx context.Context, l consumer.Lease, owner, incarnation string) (consumer.Lease, error) {
	s.set(func() { s.takes++ })
	return s.tableView.Take(ctx, l, owner, incarnation)
}

func (s *fleetStore) Update(ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
	got, err := s.tableView.Update(ctx, l, w)
	if err == nil {
		s.set(func() { s.writes, s.updated = append(s.writes, w), append(s.updated, l) })
	}
	return got, err
}

// startKCL3 starts a worker of the given name on a store.
func startKCL3(t *testing.T, stream consumer.API, store consumer.CoordinationStore, p consumer.Processor, cfg consumer.Config) (*consumer.Consumer, *fleetStore, func()) {
	t.Helper()
	view := newFleetStore(store)
	view.state.IndexActive = true
	if cfg.Mode == consumer.ModeAuto {
		cfg.Mode = consumer.ModeKCL3
	}
	cfg.Logger = quiet()
	c, err := consumer.New(stream, view, "app", "stream", func(*consumer.Shard) (consumer.Processor, error) { return p, nil }, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, view, run(t, c)
}

// official is a worker of the official library's 3.x, as far as others see it:
// it writes its row, renews what is its own, and hands over when it is told to.
type official struct {
	store  consumer.CoordinationStore
	id     string
	passed []string     // leases handed over
	knows  atomic.Int64 // its support code
}

func (o *official) run(ctx context.Context) {
	reported := time.Time{}
	for ctx.Err() == nil {
		if time.Since(reported) >= 30*time.Second {
			reported = time.Now()
			_ = o.store.PutWorker(ctx, consumer.WorkerRow{ID: o.id, Updated: reported, SupportCode: o.knows.Load(), Stats: map[string][]float64{}, OperatingRange: map[string][]int64{}})
		}
		all, _ := o.store.List(ctx)
		for _, l := range all {
			switch o.id {
			case l.CheckpointOwner:
				w := consumer.Write{Checkpoint: consumer.Checkpoint{SequenceNumber: "1001"}, EndHandOver: true}
				if _, err := o.store.Update(ctx, l, w); err == nil {
					o.passed = append(o.passed, l.Key)
				}
			case l.Owner:
				if l.CheckpointOwner == "" {
					_, _ = o.store.Update(ctx, l, consumer.Write{})
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(3308 * time.Millisecond):
		}
	}
}

func startOfficial(t *testing.T, store consumer.CoordinationStore, id string) (*official, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	o, done := &official{store: store, id: id}, make(chan struct{})
	go func() {
		defer close(done)
		o.run(ctx)
	}()
	return o, func() { cancel(); <-done }
}

func owners(t *testing.T, s consumer.LeaseStore) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, l := range leases(t, s) {
		n[l.Owner]++
	}
	return n
}

func ignore(context.Context, *consumer.Batch) error { return nil }

// mergeShards merges an open shard with the next one.
func mergeShards(f *fakeStream, i int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.shards[i]
	for _, b := range f.shards {
		if a.last == 0 && b.last == 0 && a.rng.Precedes(b.rng) {
			f.addLocked(hashkey.Range{Start: a.rng.Start, End: b.rng.End}, a, b)
			return true
		}
	}
	return false
}
