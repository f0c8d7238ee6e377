package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// watchEvery is the time between two looks at whether the rules still fit the
// table.
const watchEvery = time.Minute

// auto is [ModeAuto] on a store by which the workers of a table can be seen: it
// follows the rules that fit the table, and where those of the official library
// do, others as soon as these fit. Leases that are held stay held through such a
// change.
type auto struct {
	c       *Consumer
	store   CoordinationStore
	current atomic.Pointer[fitting]
}

// fitting is what fits a table.
type fitting struct {
	rules
	mode Mode

	// reports has a worker of ModeKCL2 write the row of one of ModeKCL3: it
	// must, for the official workers to end their change to 3.x.
	reports bool
}

func newAuto(c *Consumer, store CoordinationStore) *auto {
	a := &auto{c: c, store: store}
	a.current.Store(a.fit(ModeKCL2, false))
	return a
}

func (a *auto) fit(mode Mode, reports bool) *fitting {
	f := &fitting{mode: mode, reports: reports}
	switch mode {
	case ModeKCL3:
		f.rules = newKCL3(a.c, a.store)
	case ModeNative:
		f.rules = newNative(a.c, a.store)
	default:
		f.rules = &kcl2{c: a.c, table: a.c.newTable()}
	}
	a.c.measures.Store(mode != ModeKCL2)
	return f
}

// survey is what one look at a table has found.
type survey struct {
	state  Coordination
	leases []Lease
	rows   []WorkerRow
	lock   LeaderLock
}

func (a *auto) survey(ctx context.Context) (s survey, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.c.cfg.FailoverTime)
	defer cancel()
	if s.state, err = a.store.Coordination(ctx); err != nil {
		return s, err
	}
	// In this order: a native worker writes its row before it makes leases.
	if s.leases, err = a.store.List(ctx); err != nil {
		return s, err
	}
	if s.rows, err = a.store.ListWorkers(ctx); err != nil {
		return s, err
	}
	s.lock, _, err = a.store.GetLeader(ctx)
	return s, err
}

// fits returns what fits the table, for the worker named me. doubt tells that a
// second look may show something else: that of somebody who has just begun with the
// table.
func (s survey) fits(me string, now time.Time) (mode Mode, reports, doubt bool) {
	another := func(r WorkerRow) bool { return r.ID != me && r.active(now) }
	switch version := s.state.ClientVersion; {
	case slices.ContainsFunc(s.rows, func(r WorkerRow) bool { return another(r) && r.native() }):
		return ModeNative, false, false // whoever else comes: a mixture is what must not be
	case version == ClientVersion3X, version == ClientVersion3XRollback:
		return ModeKCL3, false, false
	case version == ClientVersionUpgradeFrom2X, version == ClientVersion2X:
		return ModeKCL2, version == ClientVersionUpgradeFrom2X, false
	case slices.ContainsFunc(s.rows, func(r WorkerRow) bool { return another(r) && (s.state.IndexActive || !r.official()) }):
		return ModeKCL3, false, false
	case slices.ContainsFunc(s.rows, WorkerRow.official):
		return ModeKCL2, false, false
	case leftByNative(s.leases, s.rows, s.lock):
		return ModeNative, false, false
	case !slices.ContainsFunc(s.leases, wasOwned):
		return ModeNative, false, len(s.leases) > 0
	}
	return ModeKCL2, false, slices.ContainsFunc(s.leases, func(l Lease) bool { return l.Incarnation != "" })
}

// leftByNative reports whether a table on which nobody of another mode seems to be
// at work was left by native workers.
func leftByNative(leases []Lease, rows []WorkerRow, lock LeaderLock) bool {
	for _, l := range leases {
		if l.Owner != "" && !slices.ContainsFunc(rows, func(r WorkerRow) bool { return r.native() && r.ID == l.Owner }) {
			return false
		}
	}
	_, told := readBulletin(lock.Data)
	return told || slices.ContainsFunc(rows, WorkerRow.native)
}

// wasOwned reports whether anybody has ever had the lease.
func wasOwned(l Lease) bool { return l.holder() != "" || l.Counter > 0 || l.Invalid != nil }

// prepare finds out what fits.
func (a *auto) prepare(ctx context.Context) error {
	mode, reports, doubt, err := a.decide(ctx)
	if err == nil && doubt {
		if err := sleep(ctx, a.c.cfg.lookEvery()); err != nil {
			return err
		}
		mode, reports, _, err = a.decide(ctx)
	}
	if err != nil {
		return fmt.Errorf("find out which rules fit the lease table; Config.Mode can say it instead: %w", err)
	}
	return a.follow(ctx, mode, reports)
}

// decide returns what fits the table, see survey.fits.
func (a *auto) decide(ctx context.Context) (mode Mode, reports, doubt bool, err error) {
	s, err := a.survey(ctx)
	if err == nil {
		mode, reports, doubt = s.fits(a.c.cfg.WorkerID, time.Now())
	}
	return mode, reports, doubt, err
}

// follow makes the rules of a mode those that are followed.
func (a *auto) follow(ctx context.Context, mode Mode, reports bool) error {
	f := a.fit(mode, reports)
	a.c.log.Info("rules found that fit the lease table", slog.String("mode", mode.String()))
	if p, ok := f.rules.(preparer); ok {
		if err := p.prepare(ctx); err != nil {
			f.rules.leave(ctx)
			return err
		}
	}
	a.current.Store(f)
	return nil
}

func (a *auto) attend(ctx, work context.Context) {
	for ctx.Err() == nil {
		f := a.current.Load()
		mode, reports := f.mode, f.reports
		fits, change := context.WithCancel(ctx)
		var beside sync.WaitGroup
		beside.Go(func() {
			mode, reports = a.watch(fits, f)
			change()
		})
		if f.reports {
			beside.Go(func() { (&reporter{c: a.c, store: a.store}).run(fits) })
		}
		f.rules.attend(fits, work)
		change()
		beside.Wait()
		for try := 0; ctx.Err() == nil; try++ {
			err := a.follow(ctx, mode, reports)
			if err == nil {
				break
			}
			a.c.log.Warn("lease store not ready for other rules; trying again", errAttr(err))
			_ = sleep(ctx, readPolicy.Wait(try, chance)) // the loop ends with ctx
		}
	}
}

// watch returns what fits as soon as it is something else, or when ctx ends. Meanwhile
// it has official workers end their change to 3.x, if that is this worker's to do. No
// worker comes to ModeNative, or leaves it, while it runs: others do not either, and
// two modes on one table are what must not be.
func (a *auto) watch(ctx context.Context, f *fitting) (mode Mode, reports bool) {
	change := &upgrade{c: a.c, store: a.store}
	for sleep(ctx, jitter(watchEvery)) == nil {
		if f.mode == ModeNative {
			continue
		}
		s, err := a.survey(ctx)
		if err != nil {
			continue
		}
		if mode, reports, _ = s.fits(a.c.cfg.WorkerID, time.Now()); reports && change.step(ctx, s) {
			if mode, reports, _, err = a.decide(ctx); err != nil {
				continue
			}
		}
		if mode != ModeNative && (mode != f.mode || reports != f.reports) {
			return mode, reports
		}
	}
	return f.mode, f.reports
}

// The rest of what rules are.

func (a *auto) renewAfter() time.Duration { return a.current.Load().renewAfter() }

func (a *auto) trustedUntil(written time.Time) time.Time {
	return a.current.Load().trustedUntil(written)
}

func (a *auto) ours(h *holding, now *Lease, w Write) bool {
	return a.current.Load().ours(h, now, w)
}

func (a *auto) parting(ctx context.Context, h *holding, w Write) Write {
	return a.current.Load().parting(ctx, h, w)
}

func (a *auto) child(l Lease, ready bool) Lease { return a.current.Load().child(l, ready) }

func (a *auto) takeChild(work context.Context, l Lease, asked time.Time) {
	a.current.Load().takeChild(work, l, asked)
}

func (a *auto) lives(o observed, now time.Time) bool { return a.current.Load().lives(o, now) }

func (a *auto) parts(l Lease) { a.current.Load().parts(l) }

func (a *auto) leave(ctx context.Context) { a.current.Load().leave(ctx) }
