package memlease

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

// Owned implements [consumer.CoordinationStore]. It does not lag.
func (s *Store) Owned(ctx context.Context, owner string) ([]string, error) {
	all, err := s.List(ctx)
	var keys []string
	for _, l := range all {
		if l.Owner == owner {
			keys = append(keys, l.Key)
		}
	}
	return keys, err
}

// Assign implements [consumer.CoordinationStore].
func (s *Store) Assign(ctx context.Context, l consumer.Lease, a consumer.Assignment) (consumer.Lease, error) {
	return s.change(ctx, l.Key, func(now consumer.Lease) (consumer.Lease, bool) {
		if now.Owner != l.Owner || now.CheckpointOwner != l.CheckpointOwner || now.Counter != l.Counter && !a.AnyCounter {
			return now, false
		}
		return a.Apply(now), true
	})
}

// StartHandOver implements [consumer.CoordinationStore].
func (s *Store) StartHandOver(ctx context.Context, l consumer.Lease, to string) (consumer.Lease, error) {
	return s.change(ctx, l.Key, func(now consumer.Lease) (consumer.Lease, bool) {
		if now.Owner != l.Owner || now.CheckpointOwner != "" {
			return now, false
		}
		now.Owner, now.CheckpointOwner = to, l.Owner
		return now, true
	})
}

// PutWorker implements [consumer.CoordinationStore].
func (s *Store) PutWorker(ctx context.Context, row consumer.WorkerRow) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.workers == nil {
		s.workers = make(map[string]consumer.WorkerRow)
	}
	if row.Late(s.workers[row.ID]) {
		return fmt.Errorf("memlease: write row of worker %q: %w", row.ID, consumer.ErrLateRow)
	}
	s.workers[row.ID] = row.Merge(s.workers[row.ID])
	return nil
}

// GetWorker implements [consumer.CoordinationStore].
func (s *Store) GetWorker(ctx context.Context, id string) (consumer.WorkerRow, bool, error) {
	if err := ctx.Err(); err != nil {
		return consumer.WorkerRow{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.workers[id]
	return row.Clone(), ok, nil
}

// ListWorkers implements [consumer.CoordinationStore].
func (s *Store) ListWorkers(ctx context.Context) ([]consumer.WorkerRow, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []consumer.WorkerRow
	for _, row := range s.workers {
		rows = append(rows, row.Clone())
	}
	return rows, nil
}

// ListAll implements [consumer.CoordinationStore].
func (s *Store) ListAll(ctx context.Context) ([]consumer.Lease, []consumer.WorkerRow, error) {
	leases, err := s.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	rows, err := s.ListWorkers(ctx)
	return leases, rows, err
}

// DeleteWorker implements [consumer.CoordinationStore].
func (s *Store) DeleteWorker(ctx context.Context, row consumer.WorkerRow) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, ok := s.workers[row.ID]; ok && now.Updated.Equal(row.Updated) {
		delete(s.workers, row.ID)
	}
	return nil
}

// GetLeader implements [consumer.CoordinationStore].
func (s *Store) GetLeader(ctx context.Context) (consumer.LeaderLock, bool, error) {
	if err := ctx.Err(); err != nil {
		return consumer.LeaderLock{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader == nil {
		return consumer.LeaderLock{}, false, nil
	}
	return *s.leader, true, nil
}

// AcquireLeader implements [consumer.CoordinationStore].
func (s *Store) AcquireLeader(ctx context.Context, seen *consumer.LeaderLock, l consumer.LeaderLock) (bool, error) {
	return s.lead(ctx, func(now *consumer.LeaderLock) (*consumer.LeaderLock, bool) {
		if seen == nil {
			return &l, now == nil
		}
		return &l, now != nil && now.Version == seen.Version && (now.Released || !seen.Released)
	})
}

// RenewLeader implements [consumer.CoordinationStore].
func (s *Store) RenewLeader(ctx context.Context, before, after consumer.LeaderLock) (bool, error) {
	return s.lead(ctx, func(now *consumer.LeaderLock) (*consumer.LeaderLock, bool) {
		if !held(now, before) {
			return now, false
		}
		l := *now
		l.Duration, l.Version = after.Duration, after.Version
		if after.Data != nil {
			l.Data = after.Data
		}
		return &l, true
	})
}

// ReleaseLeader implements [consumer.CoordinationStore].
func (s *Store) ReleaseLeader(ctx context.Context, l consumer.LeaderLock) (bool, error) {
	return s.lead(ctx, func(now *consumer.LeaderLock) (*consumer.LeaderLock, bool) { return nil, held(now, l) })
}

func held(now *consumer.LeaderLock, l consumer.LeaderLock) bool {
	return now != nil && now.Owner == l.Owner && now.Version == l.Version
}

// lead replaces the lock by what f makes of it. f reports whether its condition
// holds.
func (s *Store) lead(ctx context.Context, f func(*consumer.LeaderLock) (*consumer.LeaderLock, bool)) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next, ok := f(s.leader)
	if !ok {
		return false, nil
	}
	if next != nil {
		l := *next
		l.Duration, l.Data = l.Duration.Truncate(time.Millisecond), slices.Clone(l.Data)
		next = &l
	}
	s.leader = next
	return true, nil
}

// Coordination implements [consumer.CoordinationStore]. No official worker has
// been at a table in memory.
func (s *Store) Coordination(ctx context.Context) (consumer.Coordination, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state
	st.IndexActive = true
	return st, ctx.Err()
}

// SetClientVersion implements [consumer.CoordinationStore]. It keeps no history.
func (s *Store) SetClientVersion(ctx context.Context, seen consumer.Coordination, version, _ string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.ClientVersion != seen.ClientVersion || !s.state.ClientVersionSet.Equal(seen.ClientVersionSet) {
		return false, nil
	}
	s.state = s.state.WithClientVersion(version, time.Now())
	return true, nil
}

// CreateIndex implements [consumer.CoordinationStore].
func (s *Store) CreateIndex(ctx context.Context) error { return ctx.Err() }
