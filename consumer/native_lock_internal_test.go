package consumer

import (
	"context"
	"errors"
	"testing"
	"time"
)

// lockStore keeps a leader's lock. Writes may land with their answer lost.
type lockStore struct {
	CoordinationStore
	lock   LeaderLock
	silent bool // the next write lands, and nobody hears of it
}

func (s *lockStore) GetLeader(context.Context) (LeaderLock, bool, error) {
	return s.lock, s.lock.Version != "", nil
}

func (s *lockStore) AcquireLeader(_ context.Context, _ *LeaderLock, next LeaderLock) (bool, error) {
	s.lock = next
	return true, nil
}

func (s *lockStore) RenewLeader(ctx context.Context, mine, next LeaderLock) (bool, error) {
	if mine.Version != s.lock.Version {
		return false, ctx.Err()
	}
	s.lock = next
	if s.silent {
		s.silent = false
		return false, errors.New("answer lost")
	}
	return true, ctx.Err()
}

// TestReleaseAfterLostAnswer has a leader stop after a renewal whose answer was lost:
// a stop cuts off what is under way. The lock is to be free all the same, whether it
// was the renewal that landed unseen, or the release itself.
func TestReleaseAfterLostAnswer(t *testing.T) {
	for _, which := range []string{"renewal", "release", "none"} {
		s := &lockStore{}
		l := &leaderClaim{store: s, me: "a", duration: time.Minute, attempt: time.Second}
		if ok, err := l.claim(t.Context(), []byte("1")); !ok || err != nil {
			t.Fatal(ok, err)
		}
		s.silent = which == "renewal"
		if ok, err := l.renew(t.Context(), []byte("2")); ok == s.silent && err == nil {
			t.Fatal(ok, err)
		}
		s.silent = which == "release"
		if err := l.release(t.Context()); err != nil {
			t.Errorf("%s: %v", which, err)
		}
		if s.lock.Duration != time.Millisecond || string(s.lock.Data) != "2" || l.leads() {
			t.Errorf("%s: the lock is not free: %+v", which, s.lock)
		}
	}
}

// TestReleaseOfAnothersLock leaves a lock alone that somebody else has got meanwhile.
func TestReleaseOfAnothersLock(t *testing.T) {
	s := &lockStore{}
	l := &leaderClaim{store: s, me: "a", duration: time.Minute, attempt: time.Second}
	if ok, err := l.claim(t.Context(), nil); !ok || err != nil {
		t.Fatal(ok, err)
	}
	s.lock = LeaderLock{Owner: "b", Version: "of b", Duration: time.Minute}
	if err := l.release(t.Context()); err != nil || s.lock.Owner != "b" || s.lock.Version != "of b" || l.leads() {
		t.Errorf("%v: %+v", err, s.lock)
	}
}
