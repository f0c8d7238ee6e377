package consumer_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

var errFake = errors.New("fake: no answer")

// faultyStore is one worker's view of a lease store, with lost requests and
// lost answers, delays, and a switch that cuts the worker off.
type faultyStore struct {
	consumer.LeaseStore
	history *history // told of every write, in order; may be nil

	cut   atomic.Bool // every call hangs until its context ends
	mu    sync.Mutex  // guards rng
	rng   *rand.Rand
	lost  float64       // share of writes whose request is lost
	reply float64       // share of writes whose answer is lost
	delay time.Duration // of a call, at most
}

// before returns whether to do the call and whether to lose the answer.
func (s *faultyStore) before(ctx context.Context) (do, lose bool, err error) {
	if s.cut.Load() {
		<-ctx.Done()
		return false, false, ctx.Err()
	}
	if s.rng == nil {
		return true, false, nil
	}
	s.mu.Lock()
	r, d := s.rng.Float64(), time.Duration(s.rng.Int64N(int64(s.delay)+1))
	s.mu.Unlock()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return false, false, ctx.Err()
	}
	return r >= s.lost, r < s.lost+s.reply, nil
}

func (s *faultyStore) List(ctx context.Context) ([]consumer.Lease, error) {
	if do, _, err := s.before(ctx); err != nil || !do {
		return nil, errors.Join(errFake, err)
	}
	return s.LeaseStore.List(ctx)
}

func (s *faultyStore) Take(ctx context.Context, l consumer.Lease, owner, inc string) (consumer.Lease, error) {
	do, lose, err := s.before(ctx)
	if err != nil || !do {
		return consumer.Lease{}, errors.Join(errFake, err)
	}
	got, err := s.LeaseStore.Take(ctx, l, owner, inc)
	if err == nil && lose {
		return consumer.Lease{}, errFake
	}
	return got, err
}

func (s *faultyStore) Update(ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
	do, lose, err := s.before(ctx)
	if err != nil || !do {
		return consumer.Lease{}, errors.Join(errFake, err)
	}
	update := s.LeaseStore.Update
	if s.history != nil {
		update = s.history.write
	}
	got, err := update(ctx, l, w)
	if err == nil && lose {
		return consumer.Lease{}, errFake
	}
	return got, err
}

func (s *faultyStore) Create(ctx context.Context, l consumer.Lease) (bool, error) {
	do, lose, err := s.before(ctx)
	if err != nil || !do {
		return false, errors.Join(errFake, err)
	}
	ok, err := s.LeaseStore.Create(ctx, l)
	if err == nil && lose {
		return false, errFake
	}
	return ok, err
}
