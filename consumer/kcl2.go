package consumer

import (
	"context"
	"sync"
	"time"
)

// kcl2 is [ModeKCL2]: each lease is renewed by itself, and each worker looks at
// all of them, takes and steals.
type kcl2 struct {
	c       *Consumer
	table   *table
	planned bool // at least once
}

func (k *kcl2) attend(ctx, work context.Context) {
	k.c.loop(ctx, func() time.Duration { return k.look(ctx, work) })
}

// look does one round and returns the time until the next.
func (k *kcl2) look(ctx, work context.Context) time.Duration {
	cfg := &k.c.cfg
	if !k.table.refresh(ctx) {
		return cfg.lookEvery()
	}
	lim := limits{failover: cfg.FailoverTime, maxLeases: cfg.MaxLeasesForWorker, maxSteal: cfg.MaxLeasesToStealAtOneTime}
	me := worker{name: cfg.WorkerID, incarnation: k.c.incarnation, held: k.c.holds, fresh: !k.planned}
	takes := plan(k.table.seen, me, k.table.at, lim, chance)
	k.planned = true
	var wg sync.WaitGroup
	for _, t := range takes {
		wg.Go(func() { k.c.take(work, t) })
	}
	wg.Wait()

	k.table.maintain(ctx)
	if k.table.waits() {
		return min(waitingLook, cfg.lookEvery())
	}
	return cfg.lookEvery()
}

func (k *kcl2) renewAfter() time.Duration { return k.c.cfg.renewAfter() }

func (k *kcl2) trustedUntil(written time.Time) time.Time {
	return written.Add(k.c.cfg.trustFor())
}

func (k *kcl2) ours(h *holding, now *Lease, w Write) bool {
	return k.c.me().left(*h.stored.Load(), now, w)
}

func (k *kcl2) parting(_ context.Context, _ *holding, w Write) Write {
	w.Release = true
	return w
}

func (k *kcl2) child(l Lease, _ bool) Lease { return l }

func (k *kcl2) takeChild(work context.Context, l Lease, _ time.Time) {
	k.c.take(work, take{l, takeFree})
}

func (k *kcl2) lives(o observed, now time.Time) bool {
	return now.Sub(o.changed) <= k.c.cfg.FailoverTime
}

func (k *kcl2) parts(Lease) {}

func (k *kcl2) leave(context.Context) {}
