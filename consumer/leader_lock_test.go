package consumer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// lossyLock loses requests for the lock, or the answers to them.
type lossyLock struct {
	consumer.CoordinationStore
	lose, swallow int // calls from now on whose request, or answer, is lost
	gets          int
}

func (s *lossyLock) GetLeader(ctx context.Context) (consumer.LeaderLock, bool, error) {
	s.gets++
	return s.CoordinationStore.GetLeader(ctx)
}

func (s *lossyLock) pass(f func() (bool, error)) (bool, error) {
	if s.lose > 0 {
		s.lose--
		return false, errFake
	}
	ok, err := f()
	if s.swallow > 0 {
		s.swallow--
		return false, errFake
	}
	return ok, err
}

func (s *lossyLock) AcquireLeader(ctx context.Context, seen *consumer.LeaderLock, l consumer.LeaderLock) (bool, error) {
	return s.pass(func() (bool, error) { return s.CoordinationStore.AcquireLeader(ctx, seen, l) })
}

func (s *lossyLock) RenewLeader(ctx context.Context, before, after consumer.LeaderLock) (bool, error) {
	return s.pass(func() (bool, error) { return s.CoordinationStore.RenewLeader(ctx, before, after) })
}

// play steps locks each second for d, and fails the test if two workers lead at a
// time.
func play(t *testing.T, d time.Duration, locks ...consumer.LeaderLockOf) {
	t.Helper()
	for range int(d / time.Second) {
		leaders := 0
		for _, l := range locks {
			l.Step(t.Context())
			if l.Leads() {
				leaders++
			}
		}
		if leaders > 1 {
			t.Fatalf("%d workers lead", leaders)
		}
		time.Sleep(time.Second)
	}
}

func versionOf(t *testing.T, s consumer.CoordinationStore) string {
	t.Helper()
	l, ok, err := s.GetLeader(t.Context())
	if err != nil || !ok || l.Duration != 120*time.Second || len(l.Version) != 36 {
		t.Fatalf("lock %+v, %v, %v", l, ok, err)
	}
	return l.Version
}

func TestLeaderLock(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, mem *memlease.Store, a, b consumer.LeaderLockOf, lossy *lossyLock)
	}{
		{"one leads, and renews each 30 s", func(t *testing.T, mem *memlease.Store, a, b consumer.LeaderLockOf, _ *lossyLock) {
			play(t, time.Second, a, b)
			versions := map[string]bool{}
			for range 600 {
				play(t, time.Second, a, b)
				versions[versionOf(t, mem)] = true
			}
			if !a.Leads() || b.Leads() || len(versions) < 20 || len(versions) > 25 {
				t.Errorf("a leads: %v, b leads: %v, %d versions in 10 minutes", a.Leads(), b.Leads(), len(versions))
			}
		}},
		{"a dead leader's lock is taken after 120 s", func(t *testing.T, _ *memlease.Store, a, b consumer.LeaderLockOf, _ *lossyLock) {
			play(t, 45*time.Second, a, b) // renewed at 27 s
			play(t, 100*time.Second, b)
			if b.Leads() || !a.Leads() {
				t.Errorf("100 s after a's last word: a believes to lead: %v, b leads: %v", a.Leads(), b.Leads())
			}
			play(t, 10*time.Second, b)
			if !b.Leads() || a.Leads() {
				t.Errorf("110 s after: a believes to lead: %v, b leads: %v", a.Leads(), b.Leads())
			}
			play(t, time.Minute, a, b)
			if !b.Leads() || a.Leads() {
				t.Error("a leads again")
			}
		}},
		{"another's duration counts", func(t *testing.T, mem *memlease.Store, a, _ consumer.LeaderLockOf, _ *lossyLock) {
			if ok, err := mem.AcquireLeader(t.Context(), nil, consumer.LeaderLock{Owner: "java", Version: "1", Duration: 20 * time.Second}); err != nil || !ok {
				t.Fatal(ok, err)
			}
			play(t, 19*time.Second, a)
			if a.Leads() {
				t.Error("a leads too soon")
			}
			play(t, 3*time.Second, a)
			if !a.Leads() {
				t.Error("a does not lead in time")
			}
		}},
		{"a released row is taken at once", func(t *testing.T, mem *memlease.Store, a, _ consumer.LeaderLockOf, _ *lossyLock) {
			if ok, err := mem.AcquireLeader(t.Context(), nil, consumer.LeaderLock{Owner: "java", Version: "1", Duration: time.Hour, Released: true}); err != nil || !ok {
				t.Fatal(ok, err)
			}
			play(t, time.Second, a)
			if !a.Leads() {
				t.Error("a does not lead")
			}
		}},
		{"a leader that stops is followed", func(t *testing.T, _ *memlease.Store, a, b consumer.LeaderLockOf, _ *lossyLock) {
			play(t, 10*time.Second, a, b)
			a.Release(t.Context())
			play(t, 6*time.Second, a, b)
			if a.Leads() || !b.Leads() {
				t.Errorf("a leads: %v, b leads: %v", a.Leads(), b.Leads())
			}
		}},
		{"answers are lost", func(t *testing.T, mem *memlease.Store, _, b consumer.LeaderLockOf, lossy *lossyLock) {
			c := consumer.NewLeaderLock(lossy, "c")
			lossy.swallow = 1
			play(t, 6*time.Second, c, b)
			if !c.Leads() || b.Leads() {
				t.Errorf("after the answer to the first try was lost: c leads: %v, b leads: %v", c.Leads(), b.Leads())
			}
			before := versionOf(t, mem)
			lossy.swallow = 2
			play(t, 45*time.Second, c, b)
			if !c.Leads() || versionOf(t, mem) == before {
				t.Error("after answers to renewals were lost c does not lead")
			}
			lossy.lose = 3
			play(t, 10*time.Minute, c, b)
			if !c.Leads() {
				t.Error("after lost requests c does not lead")
			}
		}},
		{"a leader cut off stops believing first", func(t *testing.T, _ *memlease.Store, _, b consumer.LeaderLockOf, lossy *lossyLock) {
			c := consumer.NewLeaderLock(lossy, "c")
			play(t, 40*time.Second, c, b)
			lossy.lose = 1000
			play(t, 5*time.Minute, c, b) // fails if both lead at a time
			if c.Leads() || !b.Leads() {
				t.Errorf("c leads: %v, b leads: %v", c.Leads(), b.Leads())
			}
		}},
		{"the lock is not looked at all the time", func(t *testing.T, _ *memlease.Store, a, _ consumer.LeaderLockOf, lossy *lossyLock) {
			c := consumer.NewLeaderLock(lossy, "c")
			play(t, 5*time.Minute, a, c)
			if lossy.gets > 5*60/4 {
				t.Errorf("%d looks in 5 minutes", lossy.gets)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := memlease.New()
				lossy := &lossyLock{CoordinationStore: mem}
				tt.run(t, mem, consumer.NewLeaderLock(mem, "a"), consumer.NewLeaderLock(mem, "b"), lossy)
			})
		})
	}
}

// TestHandOverIsTold: a worker knows the start of a hand-over from a lease that
// it has lost.
func TestHandOverIsTold(t *testing.T) {
	before := consumer.Lease{Key: "k", Owner: "w", Counter: 5, Incarnation: "i"}
	change := func(f func(*consumer.Lease)) *consumer.Lease {
		l := before
		l.Owner, l.CheckpointOwner = "next", "w"
		f(&l)
		return &l
	}
	handed := before
	handed.Owner, handed.CheckpointOwner = "next", "w"
	for _, tt := range []struct {
		name   string
		before consumer.Lease
		now    *consumer.Lease
		want   bool
	}{
		{"begun", before, change(func(*consumer.Lease) {}), true},
		{"begun after a write of ours", before, change(func(l *consumer.Lease) { l.Counter++ }), true},
		{"known", handed, change(func(l *consumer.Lease) { l.Counter++ }), false},
		{"two writes later", before, change(func(l *consumer.Lease) { l.Counter += 2 }), false},
		{"of another process", before, change(func(l *consumer.Lease) { l.Incarnation = "j" }), false},
		{"from another", before, change(func(l *consumer.Lease) { l.CheckpointOwner = "x" }), false},
		{"over", before, change(func(l *consumer.Lease) { l.CheckpointOwner = "" }), false},
		{"gone", before, nil, false},
	} {
		if got := consumer.NewAuthor("w", "i").HandsOver(tt.before, tt.now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}

	// And its own last writes, when the answer was lost.
	me := consumer.NewAuthor("w", "i")
	for _, tt := range []struct {
		name   string
		before consumer.Lease
		w      consumer.Write
		now    func(*consumer.Lease)
		want   bool
	}{
		{"renewed in a hand-over", handed, consumer.Write{}, func(*consumer.Lease) {}, true},
		{"ended", handed, consumer.Write{EndHandOver: true}, func(l *consumer.Lease) { l.CheckpointOwner = "" }, true},
		{"ended by another", handed, consumer.Write{}, func(l *consumer.Lease) { l.CheckpointOwner = "" }, false},
		{"moved", before, consumer.Write{NextOwner: "n", Incarnation: "ni"}, func(l *consumer.Lease) { l.Owner, l.Incarnation = "n", "ni" }, true},
		{"moved to another", before, consumer.Write{NextOwner: "n", Incarnation: "ni"}, func(l *consumer.Lease) { l.Owner, l.Incarnation = "m", "ni" }, false},
		{"released", before, consumer.Write{Release: true}, func(l *consumer.Lease) { l.Owner = "" }, true},
		{"ended", before, consumer.Write{Checkpoint: at("9", 0), Release: true}, func(l *consumer.Lease) { l.Owner, l.Checkpoint = "", at("9", 0) }, true},
		{"released by another at the end", before, consumer.Write{Checkpoint: at("9", 0), Release: true}, func(l *consumer.Lease) { l.Owner = "" }, false},
		{"evicted", before, consumer.Write{}, func(l *consumer.Lease) { l.Owner = "" }, false},
	} {
		now := tt.before
		now.Counter++
		tt.now(&now)
		if got := me.Left(tt.before, &now, tt.w); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
