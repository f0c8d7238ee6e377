package consumer

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// The times of workers' rows.
//
// Source: amazon-kinesis-client 3.x, WorkerMetricStats, WorkerUtilizationAwareAssignmentConfig.
const (
	workerReport = 30 * time.Second     // the longest time between two writes of a row
	workerActive = 2 * workerReport     // the age of a row up to which its worker gets leases
	workerStale  = 24 * time.Hour       // the age from which a row is deleted
	supportCode  = 1                    // one table for all is known here
	reportEvery  = workerReport * 5 / 6 // with its variation no longer than workerReport
)

// active reports whether a leader may count on the worker of a row.
func (r WorkerRow) active(now time.Time) bool {
	if r.Invalid != nil || r.Updated.IsZero() || now.Sub(r.Updated) >= workerActive {
		return false
	}
	for name, values := range r.Stats {
		limits := r.OperatingRange[name]
		if len(limits) == 0 || limits[0] <= 0 || len(values) == 0 {
			return false
		}
	}
	return true
}

// failing reports whether the last measurement of something has failed. Such a
// worker is left alone until the next.
func (r WorkerRow) failing() bool {
	for _, values := range r.Stats {
		if len(values) > 0 && values[len(values)-1] < 0 {
			return true
		}
	}
	return false
}

// official reports whether the row is one of the official library's.
func (r WorkerRow) official() bool { return r.Properties[propIncarnation] == "" }

// OfficialActive reports whether one of the rows is that of a worker of the official
// library that seems to live.
func OfficialActive(rows []WorkerRow, now time.Time) bool {
	return slices.ContainsFunc(rows, func(r WorkerRow) bool { return r.official() && r.active(now) })
}

// reporter keeps this worker's row up to date.
type reporter struct {
	c      *Consumer
	store  CoordinationStore
	failed streak
}

// report writes the row.
func (r *reporter) report(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.c.cfg.attemptTimeout())
	defer cancel()
	now := time.Now()
	err := r.store.PutWorker(ctx, WorkerRow{
		ID: r.c.cfg.WorkerID, Updated: now, SupportCode: supportCode, SupportUpdated: now,
		Properties: map[string]string{propIncarnation: r.c.incarnation},
	})
	if err != nil {
		if r.failed.fail() && ctx.Err() == nil {
			r.c.log.Warn("row of this worker not written; trying again, and it may get no leases meanwhile", errAttr(err))
		}
		return err
	}
	if n := r.failed.ok(); n > 0 {
		r.c.log.Info("row of this worker written again", slog.Int("failed", n))
	}
	return nil
}

// run writes the row until ctx ends, and removes it then, so that no leader
// gives leases to this worker any more.
func (r *reporter) run(ctx context.Context) {
	for {
		wait := jitter(reportEvery)
		if r.report(ctx) != nil {
			wait = readPolicy.Wait(r.failed.n, chance)
		}
		if sleep(ctx, wait) != nil {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.c.cfg.attemptTimeout())
	defer cancel()
	row, ok, err := r.store.GetWorker(ctx, r.c.cfg.WorkerID)
	if err == nil && ok && row.Properties[propIncarnation] == r.c.incarnation {
		err = r.store.DeleteWorker(ctx, row)
	}
	if err != nil {
		r.c.log.Warn("row of this worker not removed; it may be given leases for a minute", errAttr(err))
	}
}
