package consumer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// failedRounds is how many rounds in a row may fail before a leader gives up
// the lock.
//
// Source: amazon-kinesis-client 3.5, LeaseAssignmentManager.
const failedRounds = 3

// leading3 is what a worker of [ModeKCL3] knows as long as it leads. A worker
// that comes to lead knows nothing: it must have seen a lease unchanged for a
// failover time before it calls it expired.
type leading3 struct {
	k       *kcl3
	table   *table
	due     time.Time
	rounds  int
	failed  int // rounds in a row
	handing handOvers
	spilled bool // at the last round
}

func newLeading3(k *kcl3) *leading3 {
	return &leading3{k: k, table: k.c.newTable(), handing: handOvers{}}
}

// round assigns leases, if it is time. It reports whether it did.
func (l *leading3) round(ctx context.Context) bool {
	if time.Now().Before(l.due) {
		return false
	}
	l.due = time.Now().Add(l.k.assignEvery())
	if !l.assign(ctx) {
		if l.failed++; l.failed >= failedRounds && ctx.Err() == nil {
			l.k.c.log.Error("leases not assigned for several rounds; another worker is to lead", slog.Int("failed", l.failed))
			l.k.lock.release(ctx)
		}
		return false
	}
	l.failed = 0
	l.rounds++
	l.table.maintain(ctx)
	return true
}

func (l *leading3) assign(ctx context.Context) bool {
	c := l.k.c
	if !l.table.refresh(ctx) {
		return false
	}
	callCtx, cancel := context.WithTimeout(ctx, c.cfg.FailoverTime)
	rows, err := l.k.store.ListWorkers(callCtx)
	cancel()
	if err != nil {
		c.stats.listErrors.Add(1)
		c.log.Warn("workers not listed; trying again", errAttr(err))
		return false
	}
	now := time.Now()
	l.bury(ctx, rows, now)

	lim := limits{failover: c.cfg.FailoverTime, maxLeases: c.cfg.MaxLeasesForWorker}
	f := newFleet(l.table.seen, rows, now)
	late := l.handing.observe(l.table.seen, lim.failover, now)
	moves, unplaced := assignFree(l.table.seen, f, late, lim, l.table.at)
	if unplaced > 0 != l.spilled {
		if l.spilled = unplaced > 0; l.spilled {
			c.log.Warn("leases that no worker may have; start more workers, or raise MaxLeasesForWorker", slog.Int("leases", unplaced))
		}
	}
	if l.rounds%balanceEvery == balanceEvery-1 {
		moves = append(moves, balanceFleet(l.table.seen, f, lim, l.table.at, chance)...)
	}
	return l.write(ctx, moves)
}

// bury deletes rows of workers that have been silent for long.
func (l *leading3) bury(ctx context.Context, rows []WorkerRow, now time.Time) {
	for _, r := range rows {
		if r.Updated.IsZero() || now.Sub(r.Updated) < workerStale {
			continue
		}
		callCtx, cancel := context.WithTimeout(ctx, l.k.c.cfg.attemptTimeout())
		err := l.k.store.DeleteWorker(callCtx, r)
		cancel()
		if err == nil { // else the next round finds it again
			l.k.c.log.Debug("row of a worker of long ago deleted", slog.String("of", r.ID))
		}
	}
}

// write does what was decided. Leases that have changed meanwhile are left to
// the next round. It reports false if nothing could be written.
func (l *leading3) write(ctx context.Context, moves []move) bool {
	c := l.k.c
	var wg sync.WaitGroup
	var failed atomic.Int64
	for _, m := range moves {
		wg.Go(func() {
			c.writes <- struct{}{}
			defer func() { <-c.writes }()
			ctx, cancel := context.WithTimeout(ctx, c.cfg.attemptTimeout())
			defer cancel()
			var err error
			if m.gracious {
				_, err = l.k.store.StartHandOver(ctx, m.lease, m.to)
			} else {
				_, err = l.k.store.Assign(ctx, m.lease, Assignment{Owner: m.to, AnyCounter: m.any})
			}
			if _, changed := errors.AsType[*ConflictError](err); changed {
				return
			}
			if err != nil {
				failed.Add(1)
				c.log.Warn("lease not assigned; trying again", lease(m.lease.Key), errAttr(err))
				return
			}
			c.stats.assignments.Add(1)
			c.log.Info("lease assigned", lease(m.lease.Key), slog.String("to", m.to), slog.String("from", m.lease.Owner), slog.Bool("handover", m.gracious))
		})
	}
	wg.Wait()
	return len(moves) == 0 || int(failed.Load()) < len(moves)
}
