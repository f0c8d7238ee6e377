package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// upgradeGap is the time without a look after which nobody knows whether the fleet was
// ready all the while.
const upgradeGap = 3 * watchEvery

// upgrade ends the change of official workers from 2.x to 3.x, as the one of them
// does that is elected by the rules of 2.x: where a worker of this package is elected,
// nobody else would. It is for one goroutine.
//
// What it knows is in memory, so a process that starts anew begins to wait anew, as does
// one that is elected anew.
//
// Source: amazon-kinesis-client 3.x, MigrationReadyMonitor,
// MigrationClientVersionUpgradeFrom2xState.
type upgrade struct {
	c     *Consumer
	store CoordinationStore

	ready time.Time // from when on each look has found the fleet ready; zero if the last has not
	last  time.Time // the last look
	begun time.Time // ClientVersionSet at it
	why   string    // it was not ready
}

// step takes note of a look at the table, and ends the change if it is time. It reports
// whether it has tried to: what came of it is in the table, whatever the answer was.
func (u *upgrade) step(ctx context.Context, s survey) bool {
	now := time.Now()
	why := s.unready(u.c.cfg.WorkerID, now)
	if why != u.why {
		u.c.log.Info("change of official workers from 2.x to 3.x: readiness has changed", slog.Bool("ready", why == ""), slog.String("why_not", why))
	}
	switch {
	case why != "":
		u.ready = time.Time{}
	case u.ready.IsZero(), now.Sub(u.last) > upgradeGap, !s.state.ClientVersionSet.Equal(u.begun):
		u.ready = now
	}
	u.last, u.begun, u.why = now, s.state.ClientVersionSet, why

	callCtx, cancel := context.WithTimeout(ctx, u.c.cfg.FailoverTime)
	defer cancel()
	if why == whyIndex {
		// Official workers ask for it as they start, unless they may not.
		if err := u.store.CreateIndex(callCtx); err != nil {
			u.c.log.Warn("index of leases by owner not created; official workers wait for it before they change to 3.x. Grant UpdateTable, or create the index", errAttr(err))
		}
	}
	if why != "" || now.Sub(u.ready) < u.c.cfg.UpgradeWait {
		return false
	}
	ok, err := u.store.SetClientVersion(callCtx, s.state, ClientVersion3XRollback, u.c.cfg.WorkerID)
	switch {
	case err != nil:
		u.c.log.Warn("change of official workers from 2.x to 3.x may not have been ended; looking at what is stored", errAttr(err))
	case ok:
		u.c.log.Info("change of official workers from 2.x to 3.x ended", slog.String("client_version", ClientVersion3XRollback))
	}
	return true
}

// Why a fleet is not ready, where it has no names.
const (
	whyElected = "another worker is elected"
	whyIndex   = "the index of leases by owner is not active"
	whyFree    = "a lease has no owner"
)

// unready returns why the worker named me is not to end the change from 2.x to 3.x; "" if it
// is.
//
// A lease without an owner holds the official library up as well: whoever takes it may
// know nothing of 3.x. One whose shard has ended does not here, as nobody takes it.
func (s survey) unready(me string, now time.Time) string {
	if elected(s.leases) != me {
		return whyElected
	}
	if !s.state.IndexActive {
		return whyIndex
	}
	fresh := make(map[string]bool)
	for _, r := range s.rows {
		fresh[r.ID] = r.Invalid == nil && !r.Updated.IsZero() && now.Sub(r.Updated) < workerActive
	}
	var silent []string
	for _, l := range s.leases {
		switch {
		case l.Owner == "" && !l.ended():
			return whyFree
		case l.Owner != "" && !fresh[l.Owner] && !slices.Contains(silent, l.Owner):
			silent = append(silent, l.Owner)
		}
	}
	if len(silent) > 0 {
		slices.Sort(silent)
		return fmt.Sprintf("owners of leases without an up-to-date row: %s", strings.Join(silent, ", "))
	}
	return ""
}
