package consumer_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamkit/streamkit/consumer"
)

// simBreak is a rule that workers break on purpose, to see that it is noticed.
type simBreak struct {
	name    string
	mode    string // kcl2 unless it is set
	unacked bool   // what a processor was given counts as acknowledged when it is not
	cfg     func(*consumer.Config)
	plan    func(*simPlan)
	listed  func(*consumer.Lease) // as List and Get show it
	list    func(*consumer.Lease) // as List shows it
	create  func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease) (bool, error)
	take    func(l consumer.Lease, err error) (consumer.Lease, error)
	update  func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error)
	assign  func(l consumer.Lease, a *consumer.Assignment, me string)
	rows    func(*consumer.WorkerRow) // as they are read
	full    bool                      // the plan has all that may happen
	hasty   bool                      // what is being handed over to it counts as its own
	silent  bool                      // its row is never written
	deaf    bool                      // shards are not paused
	within  uint64                    // seeds that find it
	want    string
}

// simBrokenStore is a store that makes a worker break a rule.
type simBrokenStore struct {
	consumer.CoordinationStore
	b      *simBreak
	worker string
	inc    atomic.Pointer[string] // of the worker, once it has written its row
}

// show breaks a lease as it is read.
func (s *simBrokenStore) show(l *consumer.Lease, list bool) {
	if s.b.listed != nil {
		s.b.listed(l)
	}
	if s.b.list != nil && list {
		s.b.list(l)
	}
	if inc := s.inc.Load(); s.b.hasty && inc != nil && l.CheckpointOwner != "" && l.Owner == s.worker {
		l.CheckpointOwner, l.Incarnation = "", *inc
	}
}

func (s *simBrokenStore) showRows(rows []consumer.WorkerRow) {
	for i := range rows {
		if s.b.rows != nil {
			s.b.rows(&rows[i])
		}
	}
}

func (s *simBrokenStore) ListAll(ctx context.Context) ([]consumer.Lease, []consumer.WorkerRow, error) {
	all, rows, err := s.CoordinationStore.ListAll(ctx)
	for i := range all {
		s.show(&all[i], true)
	}
	s.showRows(rows)
	return all, rows, err
}

func (s *simBrokenStore) GetWorker(ctx context.Context, id string) (consumer.WorkerRow, bool, error) {
	row, ok, err := s.CoordinationStore.GetWorker(ctx, id)
	rows := []consumer.WorkerRow{row}
	s.showRows(rows)
	return rows[0], ok, err
}

func (s *simBrokenStore) Assign(ctx context.Context, l consumer.Lease, a consumer.Assignment) (consumer.Lease, error) {
	if s.b.assign != nil {
		s.b.assign(l, &a, s.worker)
	}
	return s.CoordinationStore.Assign(ctx, l, a)
}

func (s *simBrokenStore) PutWorker(ctx context.Context, row consumer.WorkerRow) error {
	if s.b.silent {
		return nil
	}
	if inc := row.Properties["g_inc"]; inc != "" {
		s.inc.Store(&inc)
	}
	return s.CoordinationStore.PutWorker(ctx, row)
}

func (s *simBrokenStore) List(ctx context.Context) ([]consumer.Lease, error) {
	all, err := s.CoordinationStore.List(ctx)
	for i := range all {
		s.show(&all[i], true)
	}
	return all, err
}

func (s *simBrokenStore) Get(ctx context.Context, key string) (consumer.Lease, bool, error) {
	l, ok, err := s.CoordinationStore.Get(ctx, key)
	if ok {
		s.show(&l, false)
	}
	return l, ok, err
}

func (s *simBrokenStore) Create(ctx context.Context, l consumer.Lease) (bool, error) {
	if s.b.create != nil {
		return s.b.create(s.CoordinationStore, ctx, l)
	}
	return s.CoordinationStore.Create(ctx, l)
}

func (s *simBrokenStore) Take(ctx context.Context, l consumer.Lease, owner, inc string) (consumer.Lease, error) {
	got, err := s.CoordinationStore.Take(ctx, l, owner, inc)
	if s.b.take != nil {
		return s.b.take(got, err)
	}
	return got, err
}

func (s *simBrokenStore) Update(ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
	if s.b.update != nil {
		return s.b.update(s.CoordinationStore, ctx, l, w)
	}
	return s.CoordinationStore.Update(ctx, l, w)
}

var simBreaks = []simBreak{
	{name: "commits what is not acknowledged", unacked: true, within: 3, want: "which is not acknowledged"},
	{
		name: "reads children before their parents have ended", within: 10, want: "has not ended",
		listed: func(l *consumer.Lease) { l.Parents = nil },
	},
	{
		name: "trusts a lease that it has lost", within: 20, want: "which was stolen",
		update: func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
			got, err := s.Update(ctx, l, w)
			if _, ok := errors.AsType[*consumer.ConflictError](err); ok {
				return w.Apply(l), nil
			}
			return got, err
		},
	},
	{
		name: "trusts a lease for too long", within: 5, want: "may believe in it for",
		cfg: func(c *consumer.Config) { c.FailoverTime *= 3 },
	},
	{
		name: "ends a shard before its children have leases", within: 10, want: "before there is a lease of its child",
		create: func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease) (bool, error) {
			if len(l.Parents) > 0 {
				return true, nil
			}
			return s.Create(ctx, l)
		},
	},
	{
		name: "writes whoever is the owner", within: 20, want: "writes the lease of",
		update: func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
			if now, ok, err := s.Get(ctx, l.Key); err == nil && ok {
				l.Counter, l.Owner = now.Counter, now.Owner
			}
			return s.Update(ctx, l, w)
		},
	},
	{
		name: "moves the checkpoint back as it stops", within: 10, want: "moves the checkpoint",
		update: func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
			if w.Release && w.Checkpoint.SequenceNumber != consumer.ShardEnd {
				w.Checkpoint = consumer.Checkpoint{SequenceNumber: consumer.TrimHorizon}
			}
			return s.Update(ctx, l, w)
		},
	},
	{
		name: "releases a lease without its checkpoint", within: 10, want: "without a fault", plan: (*simPlan).quieten,
		update: func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
			if w.Release && w.Checkpoint.SequenceNumber != consumer.ShardEnd {
				w.Checkpoint, w.Marks = consumer.Checkpoint{}, nil
			}
			return s.Update(ctx, l, w)
		},
	},
	{
		name: "begins at the newest record after a failover", within: 30, want: "is delivered",
		take: func(l consumer.Lease, err error) (consumer.Lease, error) {
			if err == nil && !l.Checkpoint.IsSentinel() {
				l.Checkpoint = consumer.Checkpoint{SequenceNumber: consumer.Latest}
			}
			return l, err
		},
	},
	{
		name: "steals where leases are handed over", within: 5, want: "which lived",
		plan: func(pl *simPlan) { pl.mode.steals = false },
	},
	{
		name: "hides the range of a lease", within: 10, want: "some hash keys", plan: (*simPlan).quieten,
		create: func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease) (bool, error) {
			if len(l.Parents) > 0 {
				l.StartingHashKey = l.EndingHashKey
			}
			return s.Create(ctx, l)
		},
	},
	{
		name: "ends a hand-over without its checkpoint", mode: "kcl3", within: 60, want: "without a fault", plan: simHandingOver,
		update: func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
			if l.CheckpointOwner != "" && w.EndHandOver {
				w.Checkpoint, w.Marks = consumer.Checkpoint{}, nil
			}
			return s.Update(ctx, l, w)
		},
	},
	{
		name: "reads what is being handed over to it", mode: "kcl3", within: 30, want: "whose lease",
		plan: func(pl *simPlan) {
			simHandingOver(pl)
			pl.slow = 4 * time.Second
		},
		listed: func(l *consumer.Lease) { l.CheckpointOwner = "" },
		update: func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
			got, err := s.Update(ctx, l, w)
			if c, ok := errors.AsType[*consumer.ConflictError](err); ok && c.Current != nil && c.Current.CheckpointOwner != "" && c.Current.CheckpointOwner != l.Owner {
				return w.Apply(l), nil
			}
			return got, err
		},
	},
	{
		name: "does not hear that it is to hand over", mode: "kcl3", within: 30, want: "without a fault",
		plan: func(pl *simPlan) {
			simHandingOver(pl)
			pl.java, pl.javaFirst, pl.stops, pl.launches, pl.span = 0, false, 0, 5, 3*time.Minute
		},
		update: func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
			if now, ok, err := s.Get(ctx, l.Key); err == nil && ok && now.CheckpointOwner == l.Owner && !w.Release {
				l.CheckpointOwner, l.Owner = now.CheckpointOwner, now.Owner
				got, err := s.Update(ctx, l, w)
				got.Owner, got.CheckpointOwner = l.CheckpointOwner, ""
				return got, err
			}
			return s.Update(ctx, l, w)
		},
	},
	{
		name: "gives itself what is renewed", mode: "kcl3", within: 10, want: "which lived",
		list: func(l *consumer.Lease) { l.Counter = 0 },
		plan: func(pl *simPlan) { pl.launches, pl.fleet, pl.shards = 30, 4, 4 },
		assign: func(l consumer.Lease, a *consumer.Assignment, me string) {
			if l.Owner != "" {
				a.Owner, a.AnyCounter = me, true
			}
		},
	},
	{
		name: "goes on with a paused shard", within: 5, want: "which has been paused", deaf: true,
		plan: func(pl *simPlan) { pl.holds = 20 },
	},
	{
		name: "never writes its row", mode: "kcl3", within: 3, want: "were never acknowledged", silent: true,
	},
	{
		name: "believes its peers of one that has verified itself", mode: "native", full: true, within: 60, want: "which lived",
		plan: func(pl *simPlan) {
			pl.peers, pl.partitions, pl.fleet, pl.launches, pl.outside = true, 40, max(pl.fleet, 4), 20, 0
		},
		rows: func(r *consumer.WorkerRow) {
			if r.Properties["g_term"] != "" {
				r.Properties["g_term"] = "1"
			}
		},
	},
	{
		name: "reads what somebody has handed over to it, and is not done with", mode: "native", full: true, hasty: true, within: 30, want: "whose lease",
		plan: func(pl *simPlan) { pl.outside, pl.slow = 15, 4*time.Second },
	},
	{
		name: "ends a hand-over without the reset that it was asked for", mode: "kcl3", full: true, within: 60, want: "and nothing was written",
		plan: func(pl *simPlan) {
			pl.outside, pl.resets, pl.copies, pl.slow, pl.cfg.DropDuplicates, pl.cfg.InitialPosition = 15, 30, 0, 2*time.Second, false, consumer.Position{}
		},
		update: func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
			if w.EndHandOver && w.Checkpoint != (consumer.Checkpoint{}) && w.Checkpoint.Compare(l.Checkpoint) < 0 {
				w.Checkpoint, w.LatestSince = consumer.Checkpoint{}, time.Time{}
			}
			return s.Update(ctx, l, w)
		},
	},
	{
		name: "commits to the lease of another stream", mode: "native", full: true, within: 10, want: "which is not acknowledged",
		plan: func(pl *simPlan) { pl.streams, pl.resets, pl.outside = 2, 0, 0 },
		update: func(s consumer.LeaseStore, ctx context.Context, l consumer.Lease, w consumer.Write) (consumer.Lease, error) {
			other := strings.Replace(l.Key, ":other:", ":stream:", 1)
			if twin, ok, err := s.Get(ctx, other); other != l.Key && err == nil && ok && twin.Owner == l.Owner && w.Checkpoint != (consumer.Checkpoint{}) && !w.Release {
				_, _ = s.Update(ctx, twin, consumer.Write{Checkpoint: w.Checkpoint})
			}
			return s.Update(ctx, l, w)
		},
	},
}

// simHandingOver makes a plan in which leases are handed over without faults, between
// workers of ours and the official library's.
func simHandingOver(pl *simPlan) {
	pl.quieten()
	pl.java, pl.javaFirst, pl.byCount = 50, true, true
	pl.cfg.FailoverTime, pl.span, pl.launches, pl.fleet, pl.shards = 2*time.Second, 2*time.Minute, 20, 4, 4
	pl.stops, pl.slow = 8, 500*time.Millisecond
}

// TestSimulationFindsBrokenRules breaks rules, one at a time: within so many seeds
// each is found.
func TestSimulationFindsBrokenRules(t *testing.T) {
	singly(t)
	for i := range simBreaks {
		b := &simBreaks[i]
		t.Run(b.name, func(t *testing.T) {
			others := ""
			for seed := uint64(1); seed <= b.within; seed++ {
				pl := drawSimPlanOf(seed, simModeOf(cmp.Or(b.mode, "kcl2")))
				pl.broken, pl.java, pl.javaFirst = b, 0, false
				if b.full {
					pl.fill(seed)
				}
				if b.plan != nil {
					b.plan(&pl)
				}
				_, c := simSeeded(t, seed, pl)
				for _, p := range c.problems {
					if strings.Contains(p, b.want) {
						t.Logf("found by seed %d: %s", seed, p)
						return
					}
					others = p
				}
			}
			t.Errorf("not found by %d seeds; instead: %q", b.within, others)
		})
	}
}
