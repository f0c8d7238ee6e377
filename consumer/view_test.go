package consumer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/streamkit/streamkit/consumer"
)

// tableView is one worker's way to a table: with counts, lost requests and answers,
// and a switch that cuts the worker off.
type tableView struct {
	consumer.CoordinationStore
	cut atomic.Bool // every call hangs until its context ends

	writes, rows, locks, reads atomic.Int64 // of leases, of the own row, of the lock

	mu    sync.Mutex // guards all below
	rng   *rand.Rand
	lost  float64 // share of writes whose request is lost
	reply float64 // share of writes whose answer is lost
}

// errLost is what a request without an answer ends with.
var errLost = fmt.Errorf("%w: %w", errFake, context.DeadlineExceeded)

// call does a call, or loses it or its answer.
func call[T any](ctx context.Context, s *tableView, n *atomic.Int64, faulty bool, f func() (T, error)) (T, error) {
	var none T
	if s.cut.Load() {
		<-ctx.Done()
		return none, ctx.Err()
	}
	n.Add(1)
	r := 1.0
	s.mu.Lock()
	if faulty && s.rng != nil {
		r = s.rng.Float64()
	}
	lost, reply := s.lost, s.reply
	s.mu.Unlock()
	if r < lost {
		return none, errLost
	}
	got, err := f()
	if err == nil && r < lost+reply {
		return none, errLost
	}
	return got, err
}

func (s *tableView) Get(ctx context.Context, key string) (consumer.Lease, bool, error) {
	ok := false
	l, err := call(ctx, s, &s.reads, false, func() (l consumer.Lease, err error) {
		l, ok, err = s.CoordinationStore.Get(ctx, key)
		return l, err
	})
	return l, ok, err
}

func (s *tableView) List(ctx context.Context) ([]consumer.Lease, error) {
	return call(ctx, s, &s.reads, false, func() ([]consumer.Lease, error) { return s.CoordinationStore.List(ctx) })
}

func (s *tableView) ListAll(ctx context.Context) ([]consumer.Lease, []consumer.WorkerRow, error) {
	var rows []consumer.WorkerRow
	leases, err := call(ctx, s, &s.reads, false, func() (l []consumer.Lease, err error) {
		l, rows, err = s.CoordinationStore.ListAll(ctx)
		return l, err
	})
	return leases, rows, err
}

func (s *tableView) GetWorker(ctx context.Context, id string) (consumer.WorkerRow, bool, error) {
	ok := false
	row, err := call(ctx, s, &s.reads, false, func() (row consumer.WorkerRow, err error) {
		row, ok, err = s.CoordinationStore.GetWorker(ctx, id)
		return row, err
	})
	return row, ok, err
}

func (s *tableView) GetLeader(ctx context.Context) (consumer.LeaderLock, bool, error) {
	ok := false
	lock, err := call(ctx, s, &s.reads, false, func() (lock consumer.LeaderLock, err error) {
		lock, ok, err = s.CoordinationStore.GetLeader(ctx)
		return lock, err
	})
	return lock, ok, err
}

func (s *tableView) PutWorker(ctx context.Context, row consumer.WorkerRow) error {
	_, err := call(ctx, s, &s.rows, true, func() (int, error) { return 0, s.CoordinationStore.PutWorker(ctx, row) })
	return err
}

func (s *tableView) DeleteWorker(ctx context.Context, row consumer.WorkerRow) error {
	_, err := call(ctx, s, &s.rows, true, func() (int, error) { return 0, s.CoordinationStore.DeleteWorker(ctx, row) })
	return err
}

func (s *tableView) AcquireLeader(ctx context.Context, seen *consumer.LeaderLock, l consumer.LeaderLock) (bool, error) {
	return call(ctx, s, &s.locks, true, func() (bool, error) { return s.CoordinationStore.AcquireLeader(ctx, seen, l) })
}

func (s *tableView) RenewLeader(ctx context.Context, before, after consumer.LeaderLock) (bool, error) {
	return call(ctx, s, &s.locks, true, func() (bool, error) { return s.CoordinationStore.RenewLeader(ctx, before, after) })
}

func (s *tableView) ReleaseLeader(ctx context.Context, l consumer.LeaderLock) (bool, error) {
	return call(ctx, s, &s.locks, true, func() (bool, error) { return s.CoordinationStore.ReleaseLeader(ctx, l) })
}

func (s *tableView) Create(ctx context.Context, l consumer.Lease) (bool, error) {
	return call(ctx, s, &s.writes, true, func() (bool, error) { return s.CoordinationStore.Create(ctx, l) })
}

func (s *tableView) Take(ctx context.Context, l consumer.Lease, owner, inc string) (consumer.Lease, error) {
	return call(ctx, s, &s.writes, true, func() (consumer.Lease, error) { return s.CoordinationStore.Take(ctx, l, owner, inc) })
}

func (s *tableView) Update(ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
	return call(ctx, s, &s.writes, true, func() (consumer.Lease, error) { return s.CoordinationStore.Update(ctx, l, w) })
}

func (s *tableView) Assign(ctx context.Context, l consumer.Lease, a consumer.Assignment) (consumer.Lease, error) {
	return call(ctx, s, &s.writes, true, func() (consumer.Lease, error) { return s.CoordinationStore.Assign(ctx, l, a) })
}

func (s *tableView) StartHandOver(ctx context.Context, l consumer.Lease, to string) (consumer.Lease, error) {
	return call(ctx, s, &s.writes, true, func() (consumer.Lease, error) { return s.CoordinationStore.StartHandOver(ctx, l, to) })
}

func (s *tableView) Owned(ctx context.Context, owner string) ([]string, error) {
	return call(ctx, s, &s.reads, false, func() ([]string, error) { return s.CoordinationStore.Owned(ctx, owner) })
}

func (s *tableView) ListWorkers(ctx context.Context) ([]consumer.WorkerRow, error) {
	return call(ctx, s, &s.reads, false, func() ([]consumer.WorkerRow, error) { return s.CoordinationStore.ListWorkers(ctx) })
}

func (s *tableView) Coordination(ctx context.Context) (consumer.Coordination, error) {
	return call(ctx, s, &s.reads, false, func() (consumer.Coordination, error) { return s.CoordinationStore.Coordination(ctx) })
}
