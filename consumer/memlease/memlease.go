// Package memlease keeps leases in memory: for tests, and for an application
// that runs in one process and starts over when it is restarted.
package memlease

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/streamkit/streamkit/consumer"
)

// Store is a [consumer.CoordinationStore] in memory. The zero Store is empty and
// ready. Consumers that share it divide the shards among themselves. It is
// safe for concurrent use and must not be copied.
type Store struct {
	mu      sync.Mutex // guards all below
	leases  map[string]consumer.Lease
	workers map[string]consumer.WorkerRow
	leader  *consumer.LeaderLock
	state   consumer.Coordination // the client version alone
}

var _ consumer.CoordinationStore = (*Store)(nil)

// New returns an empty Store.
func New() *Store { return new(Store) }

// Prepare implements [consumer.LeaseStore].
func (s *Store) Prepare(ctx context.Context) error { return ctx.Err() }

// List implements [consumer.LeaseStore]. The leases come in order of their
// keys.
func (s *Store) List(ctx context.Context) ([]consumer.Lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]consumer.Lease, 0, len(s.leases))
	for _, l := range s.leases {
		all = append(all, l.Clone())
	}
	slices.SortFunc(all, func(a, b consumer.Lease) int { return cmp.Compare(a.Key, b.Key) })
	return all, nil
}

// Get implements [consumer.LeaseStore].
func (s *Store) Get(ctx context.Context, key string) (consumer.Lease, bool, error) {
	if err := ctx.Err(); err != nil {
		return consumer.Lease{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.leases[key]
	return l.Clone(), ok, nil
}

// Create implements [consumer.LeaseStore].
func (s *Store) Create(ctx context.Context, l consumer.Lease) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.leases[l.Key]; ok {
		return false, nil
	}
	if s.leases == nil {
		s.leases = make(map[string]consumer.Lease)
	}
	s.leases[l.Key] = l.Clone()
	return true, nil
}

// Take implements [consumer.LeaseStore].
func (s *Store) Take(ctx context.Context, l consumer.Lease, owner, incarnation string) (consumer.Lease, error) {
	return s.change(ctx, l.Key, func(now consumer.Lease) (consumer.Lease, bool) {
		if now.Counter != l.Counter {
			return now, false
		}
		if now.Owner != "" && now.Owner != owner {
			now.OwnerSwitches++
		}
		now.Owner, now.Incarnation, now.CheckpointOwner = owner, incarnation, ""
		now.Counter++
		return now, true
	})
}

// Update implements [consumer.LeaseStore].
func (s *Store) Update(ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
	return s.change(ctx, l.Key, func(now consumer.Lease) (consumer.Lease, bool) {
		if now.Counter != l.Counter || now.Owner != l.Owner || now.CheckpointOwner != l.CheckpointOwner {
			return now, false
		}
		return w.Apply(now), true
	})
}

// Delete implements [consumer.LeaseStore].
func (s *Store) Delete(ctx context.Context, l consumer.Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.leases[l.Key]
	if !ok {
		return nil
	}
	if now.Counter != l.Counter {
		now = now.Clone()
		return &consumer.ConflictError{Key: l.Key, Current: &now}
	}
	delete(s.leases, l.Key)
	return nil
}

// change replaces a lease by what f makes of it. f reports whether its
// condition holds.
func (s *Store) change(ctx context.Context, key string, f func(consumer.Lease) (consumer.Lease, bool)) (consumer.Lease, error) {
	if err := ctx.Err(); err != nil {
		return consumer.Lease{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.leases[key]
	if !ok {
		return consumer.Lease{}, &consumer.ConflictError{Key: key}
	}
	next, ok := f(now.Clone())
	if !ok {
		return consumer.Lease{}, &consumer.ConflictError{Key: key, Current: &next}
	}
	s.leases[key] = next
	return next.Clone(), nil
}
