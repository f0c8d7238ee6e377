package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/dynamolease"
)

// leaseTable is a table whose leases are to be changed. Every change is one
// conditional write: it is refused if the lease is no longer as it was read.
type leaseTable struct {
	*dynamolease.Store
	name string
}

// openLeases returns the table, and notes it for error messages.
func (a *app) openLeases(ctx context.Context, name string) (*leaseTable, error) {
	a.about.Table = name
	db, err := a.dynamodb(ctx)
	if err != nil {
		return nil, err
	}
	store, err := dynamolease.New(db, name, dynamolease.Config{})
	if err != nil {
		return nil, err
	}
	return &leaseTable{store, name}, nil
}

// lease returns the lease of a shard that can be changed.
func (t *leaseTable) lease(ctx context.Context, shard string) (consumer.Lease, error) {
	l, ok, err := t.Get(ctx, shard)
	switch {
	case err != nil:
		return l, err
	case !ok:
		return l, fmt.Errorf("table %s has no lease of shard %q: see \"streamctl lease list %s\"", t.name, shard, t.name)
	case l.Invalid != nil:
		return l, l.Invalid
	}
	return l, nil
}

// list returns all leases, in order of their keys.
func (t *leaseTable) list(ctx context.Context) ([]consumer.Lease, error) {
	all, err := t.List(ctx)
	slices.SortFunc(all, func(a, b consumer.Lease) int { return cmp.Compare(a.Key, b.Key) })
	return all, err
}

// changed says what came of a conditional write. The error of a lease that was
// not as it was read says how it is now.
func (t *leaseTable) changed(err error) error {
	conflict, ok := errors.AsType[*consumer.ConflictError](err)
	switch {
	case !ok:
		return err
	case conflict.Current == nil:
		return fmt.Errorf("the lease of shard %s is gone meanwhile, and nothing was changed: see \"streamctl lease list %s\"", conflict.Key, t.name)
	case conflict.Current.Owner == "":
		return fmt.Errorf("the lease of shard %s has changed meanwhile, nobody has it now, and nothing was changed: try again", conflict.Key)
	}
	return fmt.Errorf("worker %q wrote to the lease of shard %s meanwhile, and nothing was changed: try again", conflict.Current.Owner, conflict.Key)
}

// patiently repeats a change that a living owner's writes get ahead of, which
// happens each few seconds at most.
func (t *leaseTable) patiently(ctx context.Context, l consumer.Lease, change func(consumer.Lease) (consumer.Lease, error)) (consumer.Lease, error) {
	for range 5 {
		after, err := change(l)
		conflict, ok := errors.AsType[*consumer.ConflictError](err)
		if !ok || conflict.Current == nil || conflict.Current.Owner != l.Owner || conflict.Current.Invalid != nil || conflict.Current.Checkpoint.SequenceNumber == consumer.ShardEnd || ctx.Err() != nil {
			return after, t.changed(err)
		}
		l = *conflict.Current
	}
	return l, fmt.Errorf("worker %q writes to the lease of shard %s all the time, and nothing was changed: try again", l.Owner, l.Key)
}

// peer is a worker as the table shows it.
type peer struct {
	// incarnation is the mark by which its process knows a lease as its own; ""
	// for workers of other libraries.
	incarnation string

	// told says that the worker has a row of its own: it then looks for what it is
	// given, and lets go in order what it is asked for.
	told  bool
	fresh bool // that row is up to date
}

// openFleet opens a table, and returns its leases and workers as well.
func (a *app) openFleet(ctx context.Context, name string) (t *leaseTable, all []consumer.Lease, peers map[string]peer, err error) {
	if t, err = a.openLeases(ctx, name); err != nil {
		return nil, nil, nil, err
	}
	if all, err = t.list(ctx); err != nil {
		return nil, nil, nil, err
	}
	peers, err = t.peers(ctx, all)
	return t, all, peers, err
}

// peers returns the workers that have a lease, or a row of their own.
func (t *leaseTable) peers(ctx context.Context, all []consumer.Lease) (map[string]peer, error) {
	of := map[string]peer{}
	for _, l := range all {
		if l.Owner != "" && l.Invalid == nil {
			of[l.Owner] = peer{incarnation: cmp.Or(l.Incarnation, of[l.Owner].incarnation)}
		}
	}
	if _, err := t.Coordination(ctx); err != nil { // finds out where the rows are
		return nil, err
	}
	rows, err := t.ListWorkers(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Invalid == nil {
			p := of[r.ID]
			p.told, p.fresh = true, time.Since(r.Updated) < rowLife
			p.incarnation = cmp.Or(r.Properties["g_inc"], p.incarnation)
			of[r.ID] = p
		}
	}
	return of, nil
}

// rowLife is the age up to which a worker's row shows that it lives.
//
// Source: amazon-kinesis-client 3.5, LeaseAssignmentManager.
const rowLife = time.Minute

// give makes a worker the owner of a lease, so that its process takes it up at its
// next look.
func (t *leaseTable) give(ctx context.Context, l consumer.Lease, worker string, p peer) error {
	_, err := t.patiently(ctx, l, func(l consumer.Lease) (consumer.Lease, error) {
		if p.told {
			return t.Assign(ctx, l, consumer.Assignment{Owner: worker, Incarnation: p.incarnation})
		}
		return t.Take(ctx, l, worker, p.incarnation)
	})
	return err
}

// handOver asks the owner of a lease to finish what it has begun and to let the
// lease go to another worker, and waits until it has.
func (t *leaseTable) handOver(ctx context.Context, l consumer.Lease, worker string, limit time.Duration) error {
	if l.CheckpointOwner == "" {
		if _, err := t.StartHandOver(ctx, l, worker); err != nil {
			return t.changed(err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf(
		"worker %q has not let the lease of shard %s go within %v: it still may; or say --force to take it", cmp.Or(l.CheckpointOwner, l.Owner), l.Key, limit))
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		now, ok, err := t.Get(ctx, l.Key)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		case !ok || now.CheckpointOwner == "" && now.Owner != worker:
			return fmt.Errorf("the lease of shard %s went another way meanwhile: see \"streamctl lease list %s\"", l.Key, t.name)
		case now.CheckpointOwner == "":
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// release takes a lease from its owner. One that is being handed over has two: without
// them both nobody would end the hand-over, and the row would name a worker that is to
// finish what it cannot have.
func (t *leaseTable) release(ctx context.Context, l consumer.Lease) error {
	_, err := t.patiently(ctx, l, func(l consumer.Lease) (consumer.Lease, error) {
		if err := t.inHand(l); err != nil {
			return l, err
		}
		return t.Update(ctx, l, consumer.Write{Release: true})
	})
	return err
}

// inHand returns an error if a lease is being handed over.
func (t *leaseTable) inHand(l consumer.Lease) error {
	if l.CheckpointOwner == "" {
		return nil
	}
	return fmt.Errorf("the lease of shard %s is on its way from worker %q to %q: wait until it is there, or if worker %q is gone say \"streamctl lease transfer %s %s WORKER --force\"",
		l.Key, l.CheckpointOwner, l.Owner, l.CheckpointOwner, t.name, l.Key)
}

// again says what is processed twice when an owner loses its lease.
const again = "what it has read since its checkpoint is read again"

func (a *app) newLeaseRelease() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "release TABLE SHARD",
		Short: "Take a lease from its worker, for any to go on",
		Long: `Remove the owner of a shard's lease, so that the next worker that looks and has
room goes on at its checkpoint. The worker that had it notices at its next look at the
table, or write to it, and stops; what it has read since its checkpoint is read again.

This is for a worker that is gone, or hangs. One that runs and has fewer leases than
its share may take the lease again itself. A lease that is being handed over is not
released: wait until it is there, or give it to a worker by "transfer --force".`,
		Example: "  streamctl lease release billing shardId-000000000003",
		Args:    exactArgs("TABLE", "SHARD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			t, err := a.openLeases(ctx, args[0])
			if err != nil {
				return err
			}
			l, err := t.lease(ctx, args[1])
			if err != nil {
				return err
			}
			if l.Owner == "" && l.CheckpointOwner == "" {
				return fmt.Errorf("nobody has the lease of shard %s: there is nothing to release", l.Key)
			}
			if err := t.inHand(l); err != nil {
				return err
			}
			if err := a.confirm(ctx, yes, fmt.Sprintf("Take the lease of shard %s from worker %q at %s; %s?", l.Key, l.Owner, a.about.Where, again)); err != nil {
				return err
			}
			if err := t.release(ctx, l); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "released the lease of shard %s, which worker %s had\n", l.Key, l.Owner)
			return err
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *app) newLeaseTransfer() *cobra.Command {
	var (
		yes, force bool
		limit      time.Duration
	)
	cmd := &cobra.Command{
		Use:   "transfer TABLE SHARD WORKER",
		Short: "Give a lease to another worker",
		Long: `Make WORKER the owner of a shard's lease. It goes on at the checkpoint at its next
look at the table.

Where workers have rows of their own in the table, the one that has the lease is asked
to finish what it has begun and to store a checkpoint first, so that nothing is read
twice. Elsewhere, and with --force, it loses the lease at once, notices at its next
write, and what it has read since its checkpoint is read again.

WORKER must be known: by its row, or by a lease that it has, as a worker of this
project. Workers balance leases, so one that has more than its share gives some up
again.`,
		Example: "  streamctl lease transfer billing shardId-000000000003 host-b",
		Args:    exactArgs("TABLE", "SHARD", "WORKER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, worker := cmd.Context(), args[2]
			if limit <= 0 {
				return fmt.Errorf("--timeout %v is no time to wait: choose a duration such as 1m", limit)
			}
			t, _, peers, err := a.openFleet(ctx, args[0])
			if err != nil {
				return err
			}
			l, err := t.lease(ctx, args[1])
			if err != nil {
				return err
			}
			target, known := peers[worker]
			switch {
			case l.Checkpoint.SequenceNumber == consumer.ShardEnd:
				return fmt.Errorf("shard %s has been read to its end: there is nothing to transfer", l.Key)
			case l.Owner == worker && l.CheckpointOwner == "":
				return fmt.Errorf("worker %q has the lease of shard %s already", worker, l.Key)
			case l.CheckpointOwner != "" && l.Owner != worker && !force:
				return fmt.Errorf("the lease of shard %s is on its way from worker %q to %q: wait, or say --force", l.Key, l.CheckpointOwner, l.Owner)
			case !known:
				return fmt.Errorf("worker %q has no lease in table %s, so it may not be there: see the workers with \"streamctl lease list %s\"", worker, t.name, t.name)
			case target.incarnation == "" && !target.told:
				return fmt.Errorf("worker %q is of another library, which does not look for leases that it is given: release the lease instead", worker)
			}
			inOrder := !force && target.told && peers[cmp.Or(l.CheckpointOwner, l.Owner)].fresh
			from := "nobody"
			switch {
			case inOrder:
				from = fmt.Sprintf("worker %q, which finishes first", cmp.Or(l.CheckpointOwner, l.Owner))
			case l.Owner != "":
				from = fmt.Sprintf("worker %q, %s", l.Owner, again)
			}
			if err := a.confirm(ctx, yes, fmt.Sprintf("Give the lease of shard %s at %s to worker %q, from %s?", l.Key, a.about.Where, worker, from)); err != nil {
				return err
			}
			if inOrder {
				err = t.handOver(ctx, l, worker, limit)
			} else {
				err = t.give(ctx, l, worker, target)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "gave the lease of shard %s to worker %s\n", l.Key, worker)
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	f.BoolVar(&force, "force", false, "do not wait for the worker that has the lease")
	f.DurationVar(&limit, "timeout", time.Minute, "how long to wait for it")
	return cmd
}

// moveRow is one line of "lease drain".
type moveRow struct {
	Shard string `json:"leaseKey"`
	To    string `json:"leaseOwner,omitempty"` // "" if it was released
}

func (a *app) newLeaseDrain() *cobra.Command {
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "drain TABLE WORKER",
		Short: "Give all leases of a worker to the others",
		Long: `Give each lease that WORKER has to one of the other workers in the table, those
with the fewest leases first; without others the leases are released. What WORKER has
read since its checkpoints is read again.

This is for a worker that is gone, so that nobody waits until its leases expire, or
that hangs. Stop a worker that runs by a signal: it then finishes what it has begun,
and releases its leases itself. If it goes on running it gets leases again.`,
		Example: "  streamctl lease drain billing host-a",
		Args:    exactArgs("TABLE", "WORKER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, worker := cmd.Context(), args[1]
			t, all, peers, err := a.openFleet(ctx, args[0])
			if err != nil {
				return err
			}
			moves := drainPlan(all, peers, worker)
			if len(moves) == 0 {
				return fmt.Errorf("worker %q has no lease in table %s: see the workers with \"streamctl lease list %s\"", worker, t.name, t.name)
			}
			question := fmt.Sprintf("Give %s of worker %q at %s to the other workers; %s?", count(len(moves), "lease"), worker, a.about.Where, again)
			if err := a.confirm(ctx, yes, question); err != nil {
				return err
			}
			var done []moveRow
			for _, m := range moves {
				row := moveRow{m.lease.Key, m.to}
				if m.to == "" {
					err = t.release(ctx, m.lease)
				} else {
					err = t.give(ctx, m.lease, m.to, peers[m.to])
				}
				if err != nil {
					return fmt.Errorf("%s of %d moved, then: %w", count(len(done), "lease"), len(moves), err)
				}
				done = append(done, row)
			}
			if asJSON {
				return a.printJSON(done)
			}
			table := newTable("LEASE", "NEW OWNER")
			for _, m := range done {
				table.row(m.Shard, cmp.Or(m.To, "-"))
			}
			return table.write(a.out)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// move is a lease and who shall have it; "" is anybody.
type move struct {
	lease consumer.Lease
	to    string
}

// drainPlan spreads the leases of a worker over the others that look for what they
// are given, each to the one that has fewest. One that the worker is handing over goes
// where it was to go.
func drainPlan(all []consumer.Lease, peers map[string]peer, worker string) []move {
	counts := map[string]int{}
	for name, p := range peers {
		if name != worker && (p.fresh || !p.told && p.incarnation != "") {
			counts[name] = 0
		}
	}
	for _, l := range all {
		if _, ok := counts[l.Owner]; ok && l.Invalid == nil && l.Checkpoint.SequenceNumber != consumer.ShardEnd {
			counts[l.Owner]++
		}
	}
	var moves []move
	for _, l := range all {
		if l.Owner != worker && l.CheckpointOwner != worker || l.Invalid != nil {
			continue
		}
		m := move{lease: l}
		if _, ok := counts[l.Owner]; ok {
			m.to = l.Owner // it is on its way there
		} else if len(counts) > 0 && l.Checkpoint.SequenceNumber != consumer.ShardEnd {
			m.to = slices.MinFunc(slices.Sorted(maps.Keys(counts)), func(a, b string) int { return cmp.Compare(counts[a], counts[b]) })
			counts[m.to]++
		}
		moves = append(moves, m)
	}
	return moves
}
