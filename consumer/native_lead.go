package consumer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// foreignFor is for how long a worker that does not know the rules of
// [ModeNative] counts as there after it was last seen to write.
const foreignFor = time.Minute

// seenWorker is what was seen of a worker's row.
type seenWorker struct {
	incarnation string
	seq         string
	stopping    bool
	max         int
	not         []string  // leases that it leaves to others
	silent      bool      // it did not live when its row was first seen so, or is not known to have
	first       time.Time // when the row was first seen so, by this worker's clock
	row         WorkerRow // zero if only a bulletin has told of it
}

// same reports whether the row has not been written since.
func (s seenWorker) same(o seenWorker) bool {
	return s.incarnation == o.incarnation && s.seq == o.seq
}

// before reports whether the row is of an earlier process than o under the same name.
// A beat that was on its way when that one died may come late, over the row of the
// other.
func (s seenWorker) before(o seenWorker) bool {
	a, err := strconv.ParseInt(s.seq, 10, 64)
	b, err2 := strconv.ParseInt(o.seq, 10, 64)
	return err == nil && err2 == nil && s.incarnation != o.incarnation && a < b
}

func newSeenWorker(row WorkerRow, now time.Time) seenWorker {
	p := row.Properties
	most, _ := strconv.Atoi(p[propMaxLeases]) // 0 is no bound
	var not []string
	if keys := p[propNot]; keys != "" {
		not = strings.Split(keys, ",")
	}
	return seenWorker{not: not, incarnation: p[propIncarnation], seq: p[propSeq], stopping: p[propStopping] != "", max: most, first: now, row: row}
}

// leading is what the leader knows beside what it has seen.
type leading struct {
	moves     map[string]pendingMove
	moved     map[string]time.Time     // when leases were last seen to have moved between live workers
	strange   map[string]Lease         // leases of owners without a row, as they were last seen
	foreign   map[string]time.Time     // workers that do not know the rules, and when they were last seen to write
	stopped   map[string]bool          // incarnations that were seen to stop, and whose rows are gone
	gave      map[string]string        // who was given leases after the last look
	tell      []string                 // workers that are to look when all is published
	released  map[string]releasedLease // by somebody outside
	published bulletin
	own       int64 // sequence number of the own row in it
	kept      time.Time
	listed    time.Time
}

// releasedLease is a lease as it was before, and when it was seen to be released.
type releasedLease struct {
	before Lease
	at     time.Time
}

type pendingMove struct {
	bulletinMove
	since time.Time
}

func newLeading() leading {
	return leading{
		moves: map[string]pendingMove{}, moved: map[string]time.Time{}, strange: map[string]Lease{},
		foreign: map[string]time.Time{}, stopped: map[string]bool{}, released: map[string]releasedLease{},
	}
}

// remember keeps which workers have stopped as they should.
func (d *leading) remember(before, after map[string]seenWorker) {
	for id, w := range before {
		if now, ok := after[id]; w.stopping && (!ok || now.incarnation != w.incarnation) {
			d.stopped[w.incarnation] = true
		}
	}
}

// candidate tries to become the leader.
func (n *native) candidate(ctx context.Context) {
	b := *n.news.Load()
	if ok, err := n.lock.claim(ctx, encode(b)); err != nil || !ok {
		return // somebody else was faster, or the next look tells
	}
	n.c.log.Info("this worker leads")
	stopped := n.lead.stopped
	n.lead = newLeading()
	n.lead.published, n.lead.stopped = b, stopped
	n.lead.published.Number++   // what the leader before did last, it may not have told
	for _, m := range b.Moves { // of the leader before, which may be under way
		n.lead.moves[m.Lease] = pendingMove{m, time.Now()}
	}
}

func encode(b bulletin) []byte {
	data, _ := json.Marshal(b) // strings and numbers: no error
	return data
}

// govern does a round of the leader. It reports whether it has listed the
// leases.
func (n *native) govern(ctx, work context.Context) bool {
	d := &n.lead
	every := n.times.beat
	if len(d.moves) > 0 || n.stopping() {
		every = n.times.busy
	}
	suspect := n.suspect.Swap(false)
	due := time.Since(d.listed) >= every || suspect
	for _, w := range n.workers {
		due = due || !w.first.IsZero() && d.listed.Before(w.first.Add(n.times.dead)) && time.Since(w.first) >= n.times.dead
	}
	if due {
		due = n.survey(ctx, work)
	}
	n.publish(ctx)
	n.peers.tell(d.tell) // not before it is there to be read
	d.tell = nil
	return due
}

func (n *native) stopping() bool {
	for _, w := range n.workers {
		if w.stopping {
			return true
		}
	}
	return false
}

// survey looks at all leases and workers, and decides.
func (n *native) survey(ctx, work context.Context) bool {
	d, before := &n.lead, n.table.seen
	var rows []WorkerRow
	ok := n.table.refreshBy(ctx, func(ctx context.Context) (leases []Lease, err error) {
		leases, rows, err = n.store.ListAll(ctx)
		return leases, err
	})
	if !ok {
		return false
	}
	d.listed = n.table.at
	n.observeWorkers(rows)
	told := false
	for key, o := range n.table.seen {
		if b, ok := before[key]; ok && n.unforeseen(b.Lease, o.Lease) {
			d.tell = append(d.tell, b.Owner, o.Owner)
			told = true
			if o.Owner == "" {
				d.released[key] = releasedLease{b.Lease, n.table.at}
			} else {
				d.moved[key] = n.table.at // who gave it there did not mean it to move on
			}
		}
	}
	if told {
		d.published.Number++
		d.own = 0 // publish
	}
	in := n.input(ctx)
	if len(d.foreign) == 0 {
		moves := balance(in)
		if len(moves) > 0 {
			plan, _ := json.Marshal(balancePlan{in, moves}) // no error
			n.c.log.Debug("leases are to move", slog.String("plan", string(plan)))
		}
		n.execute(work, moves)
	}
	if n.table.at.Sub(d.kept) >= n.c.cfg.lookEvery() {
		d.kept = n.table.at
		n.table.maintain(ctx)
	}
	return true
}

// unforeseen reports whether a lease has changed its owner in a way that may be news
// to the new one, or to the old one.
func (n *native) unforeseen(before, now Lease) bool {
	switch {
	case now.ended():
		return false
	case now.Owner == before.Owner:
		// It is the end of a hand-over that somebody outside has asked for, or another
		// had the lease in between: he may have begun with it.
		return now.OwnerSwitches > 0 && now.Counter != before.Counter
	case now.Owner != "":
		return n.lead.gave[now.Key] != now.Owner // the last assignments have been told
	}
	return n.unaware(before)
}

// unaware reports whether the worker that had a lease may not know that it was
// released: it is there, and does not seem to have done it itself.
func (n *native) unaware(before Lease) bool {
	w, ok := n.workers[before.Owner]
	return ok && w.incarnation == before.Incarnation && !w.stopping && !slices.Contains(w.not, before.Key)
}

// observeWorkers takes in the rows as they were just listed.
func (n *native) observeWorkers(rows []WorkerRow) {
	d, now := &n.lead, n.table.at
	workers := make(map[string]seenWorker, len(rows))
	for _, row := range rows {
		if row.Invalid != nil {
			continue
		}
		w := newSeenWorker(row, now)
		if w.incarnation == "" || w.seq == "" { // those of ModeKCL3 have the first alone
			if time.Since(row.Updated) < foreignFor {
				n.strange(row.ID, "its row is not of this mode")
			}
			continue
		}
		if row.ID == n.c.cfg.WorkerID {
			n.usurped(row)
		}
		old, known := n.workers[row.ID]
		switch {
		case known && old.same(w):
			w.first, w.silent = old.first, old.silent
		case known && w.before(old) && now.Sub(old.first) < n.times.dead:
			workers[row.ID] = old // whose next beat brings it back; if none comes, the row tells
			continue
		case !known:
			// It may have died before this worker looked. Its own clock is good
			// enough to be careful by: whoever lives writes soon.
			w.silent = now.Sub(row.Updated) > n.times.dead
		}
		n.peers.seen(w)
		workers[row.ID] = w
		if now.Sub(w.first) > 60*n.c.cfg.FailoverTime {
			n.forget(row)
		}
	}
	d.remember(n.workers, workers)
	n.workers = workers
}

// forget deletes the row of a worker that died long ago.
func (n *native) forget(row WorkerRow) {
	ctx, cancel := context.WithTimeout(context.Background(), n.times.attempt)
	defer cancel()
	_ = n.store.DeleteWorker(ctx, row) // the next look finds it again
}

// strange notes a worker that does not know the rules.
func (n *native) strange(id, why string) {
	if _, known := n.lead.foreign[id]; !known {
		n.c.log.Error("a worker that does not know the rules of ModeNative shares the leases; no lease moves while it does. Stop it, or run all workers in its mode",
			slog.String("foreign", id), slog.String("why", why))
	}
	n.lead.foreign[id] = n.table.at
}

// input makes the planner's of what was seen.
func (n *native) input(ctx context.Context) balanceInput {
	d, now := &n.lead, n.table.at
	in, weight := balanceInput{Limits: defaultBalanceLimits()}, weigh(n.table.seen, true)
	verdicts := map[string]bool{}
	strange := map[string]Lease{}
	for _, key := range slices.Sorted(maps.Keys(n.table.seen)) {
		o := n.table.seen[key]
		if o.ended() || o.Invalid != nil || !readable(o.Lease, n.table.seen) {
			delete(d.moves, key)
			continue
		}
		if r, ok := d.released[key]; ok {
			if o.holder() == "" && now.Sub(r.at) < 2*n.times.look && n.unaware(r.before) {
				continue // its old owner is to notice first
			}
			delete(d.released, key)
		}
		l := balanceLease{Key: key, Load: weight(o.Lease), Rested: now.Sub(d.moved[key])}
		for _, id := range slices.Sorted(maps.Keys(n.workers)) {
			if slices.Contains(n.workers[id].not, key) {
				l.Not = append(l.Not, id)
			}
		}
		move, pending := d.moves[key]
		holder := o.holder()
		lives := holder != "" && n.alive(ctx, o, verdicts, strange)
		switch {
		case lives && o.CheckpointOwner != "":
			l.Owner, l.Moving = o.Owner, true
		case lives && pending && move.From == holder && now.Sub(move.since) <= n.c.cfg.ShutdownTimeout+n.c.cfg.FailoverTime:
			l.Owner, l.Moving = move.To, true
			if !n.fit(move.To) {
				l.Owner = holder // it goes there, and from there elsewhere
			}
			in.Leases = append(in.Leases, l)
			continue
		case lives:
			l.Owner = holder
		}
		if pending {
			d.moved[key], l.Rested = now, 0
			delete(d.moves, key)
		}
		in.Leases = append(in.Leases, l)
	}
	d.strange = strange
	owners := map[string]bool{}
	for _, l := range strange {
		owners[l.holder()] = true
	}
	for id, seen := range d.foreign {
		if seen != now && (!owners[id] || now.Sub(seen) > foreignFor) {
			delete(d.foreign, id)
			n.c.log.Info("worker that does not know the rules of ModeNative is gone", slog.String("foreign", id))
		}
	}
	for key := range d.moves {
		if _, ok := n.table.seen[key]; !ok {
			delete(d.moves, key)
		}
	}
	for id, w := range n.workers {
		if n.fit(id) {
			in.Workers = append(in.Workers, balanceWorker{ID: id, MaxLeases: w.max})
		}
	}
	slices.SortFunc(in.Workers, func(a, b balanceWorker) int { return cmp.Compare(a.ID, b.ID) })
	return in
}

// fit reports whether a worker may get leases.
func (n *native) fit(id string) bool {
	w, ok := n.workers[id]
	return ok && !w.stopping && !w.silent && !n.peers.lost(w.incarnation) && n.table.at.Sub(w.first) < n.times.dead
}

// alive reports whether the holder of a lease lives, or has to be thought to.
func (n *native) alive(ctx context.Context, o observed, verdicts map[string]bool, strange map[string]Lease) bool {
	d, now := &n.lead, n.table.at
	holder := o.holder()
	w, ok := n.workers[holder]
	if n.peers.lost(o.Incarnation) {
		key := "peers/" + o.Incarnation
		dead, asked := verdicts[key]
		if !asked {
			dead = n.peers.gone(ctx, holder, o.Incarnation)
			verdicts[key] = dead
		}
		if dead {
			return false
		}
	}
	switch {
	case ok && w.incarnation == o.Incarnation && now.Sub(w.first) < n.times.dead:
		return true
	case !ok && d.stopped[o.Incarnation]:
		return false
	case !ok:
		// A worker of another mode, or one whose row was deleted. The counter
		// tells.
		strange[o.Key] = o.Lease
		if before, ok := d.strange[o.Key]; ok && before.Owner == o.Owner && before.Counter != o.Counter {
			n.strange(holder, "it writes to leases, and has no row")
		}
		if now.Sub(o.changed) < n.c.cfg.FailoverTime {
			return true
		}
	}
	// The row may have been listed before the lease was, and the worker have
	// come to life between.
	id := holder + "/" + o.Incarnation
	dead, known := verdicts[id]
	if !known {
		dead = n.confirm(ctx, holder, o.Incarnation)
		verdicts[id] = dead
	}
	return !dead
}

// confirm looks at the row of a worker once more.
func (n *native) confirm(ctx context.Context, id, incarnation string) (dead bool) {
	ctx, cancel := context.WithTimeout(ctx, n.times.attempt)
	defer cancel()
	row, ok, err := n.store.GetWorker(ctx, id)
	if err != nil {
		return false
	}
	if !ok {
		return true
	}
	now := newSeenWorker(row, time.Now())
	before, known := n.workers[id]
	switch {
	case known && before.same(now):
		return true
	case known && now.before(before) && time.Since(before.first) < n.times.dead:
		return before.incarnation != incarnation
	}
	n.workers[id] = now
	return now.incarnation != incarnation
}

// execute does what the planner proposes.
func (n *native) execute(work context.Context, moves []balanceMove) {
	d := &n.lead
	now := n.table.at
	d.gave = map[string]string{}
	var wg sync.WaitGroup
	for _, m := range moves {
		if m.From != "" {
			d.tell = append(d.tell, m.From)
			d.moves[m.Lease] = pendingMove{bulletinMove(m), now}
			continue
		}
		l, incarnation := n.table.seen[m.Lease].Lease, n.workers[m.To].incarnation
		d.gave[m.Lease] = m.To
		wg.Go(func() { n.assign(work, l, Assignment{Owner: m.To, Incarnation: incarnation}) })
	}
	wg.Wait()
	d.tell = append(d.tell, slices.Collect(maps.Values(d.gave))...)
	if len(d.gave) > 0 {
		d.published.Number++
		d.own = 0 // publish
	}
}

// assign gives a lease to a worker.
func (n *native) assign(work context.Context, l Lease, a Assignment) {
	c := n.c
	mine := a.Owner == c.cfg.WorkerID && a.Incarnation == c.incarnation // not that of a namesake
	if mine && (c.isStopping() || !c.reserve(l.Key)) {
		return
	}
	sent := time.Now()
	got, err := n.tryAssign(work, l, a)
	if err != nil {
		if mine {
			c.unreserve(l.Key)
		}
		if _, ok := errors.AsType[*ConflictError](err); !ok {
			// If it was done all the same, the next look shows it.
			c.stats.leaseWriteErrors.Add(1)
			c.log.Warn("lease not assigned", lease(l.Key), errAttr(err))
		}
		return
	}
	c.stats.assignments.Add(1)
	c.log.Info("lease assigned", lease(l.Key), slog.String("from", l.Owner), slog.String("to", a.Owner))
	if mine {
		c.stats.leasesAssigned.Add(1)
		c.start(work, got, sent)
	}
}

func (n *native) tryAssign(work context.Context, l Lease, a Assignment) (Lease, error) {
	n.c.writes <- struct{}{} // every holder of a place is bounded by a timeout
	defer func() { <-n.c.writes }()
	ctx, cancel := context.WithTimeout(work, n.c.cfg.attemptTimeout())
	defer cancel()
	return n.store.Assign(ctx, l, a)
}

// publish renews the lock, and tells all workers what there is to tell.
func (n *native) publish(ctx context.Context) {
	d := &n.lead
	own := n.row.trust.Load().seq
	b := bulletin{Workers: []bulletinWorker{}, Number: d.published.Number, Foreign: int64(len(d.foreign))}
	for _, id := range slices.Sorted(maps.Keys(n.workers)) {
		w := n.workers[id]
		if time.Since(w.first) > 3*n.times.dead {
			continue // dead, and not in any doubt
		}
		if id == n.c.cfg.WorkerID {
			w.seq = strconv.FormatInt(own, 10)
		}
		silent := w.silent || time.Since(w.first) >= n.times.dead || n.peers.lost(w.incarnation)
		b.Workers = append(b.Workers, bulletinWorker{id, w.incarnation, w.seq, w.stopping, silent})
	}
	for _, key := range slices.Sorted(maps.Keys(d.moves)) {
		b.Moves = append(b.Moves, d.moves[key].bulletinMove)
	}
	same := own == d.own && b.Foreign == d.published.Foreign && slices.Equal(b.Moves, d.published.Moves) && time.Since(n.lock.sent) < n.times.beat*3/2 // the next beat comes sooner
	if same {
		return
	}
	ok, err := n.lock.renew(ctx, encode(b))
	if err != nil || !ok {
		n.c.stats.listErrors.Add(1)
		if err == nil {
			n.c.log.Info("this worker does not lead any more")
		}
		return
	}
	d.published, d.own = b, own
	n.news.Store(&b)
}
