package consumer_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/memlease"
)

// upgradeTable is a view of a table in which official workers change from 2.x to 3.x.
type upgradeTable struct {
	*tableView

	mu      sync.Mutex // guards all below
	blind   bool       // Coordination fails
	noIndex bool
	asked   int    // calls of CreateIndex
	writes  int    // calls of SetClientVersion
	before  func() // called before the next of them
	lose    string // "request" or "answer" of the next of them
}

func (s *upgradeTable) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *upgradeTable) Coordination(ctx context.Context) (consumer.Coordination, error) {
	st, err := s.tableView.Coordination(ctx)
	s.set(func() {
		st.IndexActive = !s.noIndex
		if s.blind {
			err = errFake
		}
	})
	return st, err
}

func (s *upgradeTable) CreateIndex(context.Context) error {
	s.set(func() { s.asked++ })
	return nil
}

func (s *upgradeTable) SetClientVersion(ctx context.Context, seen consumer.Coordination, version, by string) (bool, error) {
	var before func()
	var lose string
	s.set(func() {
		s.writes++
		before, lose, s.before, s.lose = s.before, s.lose, nil, ""
	})
	if before != nil {
		before()
	}
	if lose == "request" {
		return false, errLost
	}
	ok, err := s.tableView.SetClientVersion(ctx, seen, version, by)
	if lose == "answer" {
		return false, errLost
	}
	return ok, err
}

// upgradeFleet is a worker of this package, named b, beside an official one, by the
// rules of 2.x. Of two the one is elected whose name comes first.
type upgradeFleet struct {
	t      *testing.T
	stream *fakeStream
	table  *memlease.Store
	view   *upgradeTable
	began  time.Time

	*consumer.Consumer
	stop func()

	mu     sync.Mutex // guards silent
	silent bool       // the official worker writes no row
}

func newUpgradeFleet(t *testing.T, official string, cfg consumer.Config) *upgradeFleet {
	f := &upgradeFleet{t: t, stream: newFakeStream(4, 1), table: memlease.New(), began: time.Now()}
	f.view = &upgradeTable{tableView: &tableView{CoordinationStore: f.table}}
	for i, s := range f.stream.shards {
		l := consumer.Lease{Key: s.id, Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}}
		if i < 2 {
			l.Owner = official
		}
		if _, err := f.table.Create(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	f.operator(consumer.ClientVersionUpgradeFrom2X)
	f.start(cfg)
	return f
}

func (f *upgradeFleet) start(cfg consumer.Config) {
	f.t.Helper()
	cfg.WorkerID, cfg.Logger = "b", quiet()
	c, err := consumer.New(f.stream, f.view, "app", "stream", func(*consumer.Shard) (consumer.Processor, error) {
		return consumer.ProcessorFunc(ignore), nil
	}, cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.Consumer, f.stop = c, run(f.t, c)
}

// renew has the official worker live until ctx ends.
func (f *upgradeFleet) renew(ctx context.Context, name string) {
	for tick := 0; ctx.Err() == nil; tick++ {
		all, _ := f.table.List(ctx)
		for _, l := range all {
			if l.Owner == name {
				_, _ = f.table.Update(ctx, l, consumer.Write{})
			}
		}
		f.mu.Lock()
		silent := f.silent
		f.mu.Unlock()
		if tick%10 == 0 && !silent {
			_ = f.table.PutWorker(ctx, consumer.WorkerRow{ID: name, Updated: time.Now()})
		}
		select {
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
		}
	}
}

// operator sets the client version from outside.
func (f *upgradeFleet) operator(version string) {
	f.t.Helper()
	st, err := f.table.Coordination(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if ok, err := f.table.SetClientVersion(f.t.Context(), st, version, "operator"); err != nil || !ok {
		f.t.Fatalf("SetClientVersion: %v, %v", ok, err)
	}
}

// is fails the test unless the client version is the given one at this time, which is
// counted from the beginning.
func (f *upgradeFleet) is(at time.Duration, want string) consumer.Coordination {
	f.t.Helper()
	time.Sleep(time.Until(f.began.Add(at)))
	st, err := f.table.Coordination(f.t.Context())
	if err != nil || st.ClientVersion != want {
		f.t.Errorf("after %v the client version is %s, %v; want %s", at, st.ClientVersion, err, want)
	}
	return st
}

// TestUpgrade has a worker of this package end the change of official ones from 2.x to
// 3.x, ten minutes after all are ready, and not before. Looks are a minute apart, more or less.
func TestUpgrade(t *testing.T) {
	const before, after = consumer.ClientVersionUpgradeFrom2X, consumer.ClientVersion3XRollback
	for _, tt := range []struct {
		name     string
		official string // its name; "c" unless set
		wait     time.Duration
		play     func(f *upgradeFleet)
	}{
		{name: "ready from the beginning", play: func(f *upgradeFleet) {
			f.is(10*time.Minute, before)
			f.is(13*time.Minute, after)
			if f.view.writes != 1 {
				t.Errorf("%d writes", f.view.writes)
			}
		}},
		{name: "a shorter wait", wait: time.Second, play: func(f *upgradeFleet) {
			f.is(50*time.Second, before)
			f.is(3*time.Minute, after)
		}},
		{name: "another is elected", official: "a", play: func(f *upgradeFleet) { f.is(time.Hour, before) }},
		{name: "a row becomes stale", play: func(f *upgradeFleet) {
			f.is(5*time.Minute, before)
			f.quiet(true)
			f.is(9*time.Minute, before)
			f.quiet(false)
			f.is(19*time.Minute, before)
			f.is(22*time.Minute, after)
		}},
		{name: "an owner never writes a row", play: func(f *upgradeFleet) {
			f.quiet(true)
			f.is(time.Hour, before)
		}},
		{name: "the index is not there", play: func(f *upgradeFleet) {
			f.view.set(func() { f.view.noIndex = true })
			f.is(20*time.Minute, before)
			f.view.set(func() { f.view.noIndex = false })
			f.is(30*time.Minute, before)
			f.is(33*time.Minute, after)
			if f.view.asked == 0 {
				t.Error("the index was not asked for")
			}
		}},
		{name: "no lease without an owner", play: func(f *upgradeFleet) {
			f.is(5*time.Minute, before)
			l := consumer.Lease{Key: "elsewhere", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}, Invalid: errFake}
			if _, err := f.table.Create(t.Context(), l); err != nil { // which nobody takes
				t.Fatal(err)
			}
			f.is(20*time.Minute, before)
			if err := f.table.Delete(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			f.is(30*time.Minute, before)
			f.is(33*time.Minute, after)
		}},
		{name: "the lease of an ended shard has no owner", play: func(f *upgradeFleet) {
			l := consumer.Lease{Key: "ended", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}}
			if _, err := f.table.Create(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			f.is(13*time.Minute, after)
		}},
		{name: "an ended shard belongs to a worker without a row", play: func(f *upgradeFleet) {
			l := consumer.Lease{Key: "ended", Owner: "d", Checkpoint: consumer.Checkpoint{SequenceNumber: consumer.ShardEnd}}
			if _, err := f.table.Create(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			f.is(time.Hour, before)
		}},
		{name: "the request is lost", play: func(f *upgradeFleet) {
			f.view.set(func() { f.view.lose = "request" })
			f.is(10*time.Minute, before)
			f.is(15*time.Minute, after)
			if f.view.writes != 2 {
				t.Errorf("%d writes", f.view.writes)
			}
		}},
		{name: "the answer is lost", play: func(f *upgradeFleet) {
			f.view.set(func() { f.view.lose = "answer" })
			f.is(15*time.Minute, after)
			if f.view.writes != 1 {
				t.Errorf("%d writes", f.view.writes)
			}
		}},
		{name: "an operator goes back, and on again", play: func(f *upgradeFleet) {
			f.is(5*time.Minute, before)
			f.operator(consumer.ClientVersion2X)
			f.is(20*time.Minute, consumer.ClientVersion2X)
			f.operator(before)
			f.is(30*time.Minute, before)
			f.is(34*time.Minute, after)
		}},
		{name: "an operator goes back, and on again, between two looks", play: func(f *upgradeFleet) {
			f.is(8*time.Minute, before)
			f.operator(consumer.ClientVersion2X)
			f.operator(before)
			f.is(18*time.Minute, before)
			f.is(21*time.Minute, after)
		}},
		{name: "an operator goes back while the write is on its way", play: func(f *upgradeFleet) {
			f.view.set(func() { f.view.before = func() { f.operator(consumer.ClientVersion2X) } })
			f.is(time.Hour, consumer.ClientVersion2X)
			if f.view.writes != 1 {
				t.Errorf("%d writes", f.view.writes)
			}
		}},
		{name: "an operator goes back, and on again, while the write is on its way", play: func(f *upgradeFleet) {
			f.view.set(func() {
				f.view.before = func() { f.operator(consumer.ClientVersion2X); f.operator(before) }
			})
			f.is(20*time.Minute, before)
			f.is(26*time.Minute, after)
		}},
		{name: "an operator goes back afterwards", play: func(f *upgradeFleet) {
			f.is(13*time.Minute, after)
			f.operator(consumer.ClientVersion2X)
			f.is(time.Hour, consumer.ClientVersion2X)
		}},
		{name: "an official worker is faster", play: func(f *upgradeFleet) {
			f.view.set(func() { f.view.before = func() { f.operator(after) } })
			f.is(13*time.Minute, after)
			if st := f.is(time.Hour, after); f.view.writes != 1 || st.ClientVersionSet.After(f.began.Add(13*time.Minute)) {
				t.Errorf("%d writes, the last at %v", f.view.writes, st.ClientVersionSet)
			}
		}},
		{name: "restarted in the middle", play: func(f *upgradeFleet) {
			f.is(9*time.Minute, before)
			f.stop()
			f.start(consumer.Config{})
			f.is(19*time.Minute, before)
			f.is(22*time.Minute, after)
		}},
		{name: "nobody has looked for a while", play: func(f *upgradeFleet) {
			f.is(5*time.Minute, before)
			f.view.set(func() { f.view.blind = true })
			f.is(11*time.Minute, before)
			f.view.set(func() { f.view.blind = false })
			f.is(21*time.Minute, before)
			f.is(24*time.Minute, after)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				official := tt.official
				if official == "" {
					official = "c"
				}
				f := newUpgradeFleet(t, official, consumer.Config{UpgradeWait: tt.wait})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); f.renew(ctx, official) }()
				f.play(tt.play)
				f.stop()
				cancel()
				<-done
			})
		})
	}
}

// play plays, and looks whether this worker has gone over to the rules that fit by then.
func (f *upgradeFleet) play(p func(*upgradeFleet)) {
	f.t.Helper()
	p(f)
	st, err := f.table.Coordination(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	time.Sleep(3 * time.Minute)
	if s := f.Stats(); s.Leader != (st.ClientVersion == consumer.ClientVersion3XRollback) || s.LeasesLost+s.LeasesExpired > 0 {
		f.t.Errorf("under %s: leads %v, %d leases lost, %d expired", st.ClientVersion, s.Leader, s.LeasesLost, s.LeasesExpired)
	}
}

// quiet has the official worker write no row any more, or again.
func (f *upgradeFleet) quiet(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silent = yes
}
