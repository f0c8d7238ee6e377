package consumer

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Lease is the right of one worker to read one shard, as it is stored. The
// fields stand for the attributes of the Kinesis Client Library's lease table.
type Lease struct {
	// Key is the shard's id, or what [LeaseKey] makes of it where the application
	// reads several streams: leaseKey.
	Key string

	// Owner is the worker that holds the lease, or "" if none does:
	// leaseOwner.
	Owner string

	// Counter grows with every write of an owner and every change of owner:
	// leaseCounter. Every such write is conditional on it, which makes it the
	// fencing token. An owner shows that it lives by changing it.
	Counter int64

	// Checkpoint is where the next owner goes on: checkpoint and
	// checkpointSubSequenceNumber.
	Checkpoint Checkpoint

	// OwnerSwitches counts changes of owner since the last checkpoint:
	// ownerSwitchesSinceCheckpoint.
	OwnerSwitches int64

	// Parents are the keys of the leases of the shard's parents. The official
	// library stores the ids of the shards, as parentShardId: of the same stream.
	Parents []string

	// Children are the keys of the leases of the shard's children, known once the
	// shard has been read to its end. What is said of Parents holds: childShardIds.
	Children []string

	// StartingHashKey and EndingHashKey are the ends of the shard's range, in
	// decimal and inclusive; both empty if not known.
	StartingHashKey, EndingHashKey string

	// CheckpointOwner is the old owner while the lease is handed over by the
	// rules of the official library's 3.x: checkpointOwner. Until it is removed
	// the lease is the old owner's, and Owner is who comes next.
	CheckpointOwner string

	// ThroughputKBps is how much is read from the shard, in KiB a second, by
	// its owner's latest estimate: throughputKBps. Zero if not known.
	ThroughputKBps float64

	// Busy is how much of the time calls of the processor take, by its owner's latest
	// estimate: g_busy, an attribute of ours. More than 1 with several lanes. Zero if not
	// known.
	Busy float64

	// Pending is a place that was prepared to become the checkpoint; nil if
	// there is none.
	Pending *PendingCheckpoint

	// Incarnation tells two processes with one worker id apart: g_inc, an
	// attribute of ours that the official libraries ignore. It stays when the
	// owner leaves.
	Incarnation string

	// LatestSince is when reading began, on a lease whose checkpoint is still
	// LATEST: g_latest_since, an attribute of ours. The next owner starts there
	// and misses nothing. Zero if not known. Milliseconds are kept.
	LatestSince time.Time

	// Marks is what is known of user records up to the checkpoint, under
	// Config.DropDuplicates, so that the next owner knows copies: g_marks, an
	// attribute of ours. A little more than 16 KiB at most; nil if nothing is.
	Marks []byte

	// Invalid says why what is stored cannot be understood, on a lease that a
	// store has read; the other fields are then what could be. Such a lease is
	// nobody's: it is neither taken nor written nor deleted, its shard is not
	// read, nor are the shard's children, until somebody repairs it.
	Invalid error
}

// Clone returns a copy that shares nothing with l.
func (l Lease) Clone() Lease {
	l.Parents = slices.Clone(l.Parents)
	l.Children = slices.Clone(l.Children)
	l.Marks = slices.Clone(l.Marks)
	if l.Pending != nil {
		l.Pending = &PendingCheckpoint{l.Pending.Checkpoint, slices.Clone(l.Pending.State)}
	}
	return l
}

// holder returns the worker that may read the shard now: while the lease is
// handed over, still the old owner.
func (l Lease) holder() string { return cmp.Or(l.CheckpointOwner, l.Owner) }

// ended reports whether the shard has been read to its end.
func (l Lease) ended() bool { return l.Checkpoint.SequenceNumber == ShardEnd && l.Invalid == nil }

// Write is what an owner changes on its lease in one write. The zero Write is
// a renewal: it changes the counter only, as every Write does.
type Write struct {
	// Checkpoint, if not the zero Checkpoint, is stored; the count of owner
	// switches returns to 0, and a pending checkpoint is removed.
	Checkpoint Checkpoint

	// Pending, if not nil, is stored as the pending checkpoint. Not together
	// with Checkpoint.
	Pending *PendingCheckpoint

	// Children, if not empty, are stored.
	Children []string

	// LatestSince, if not zero, is stored.
	LatestSince time.Time

	// Marks, if not empty, are stored. They belong to Checkpoint, and come with
	// one only.
	Marks []byte

	// ThroughputKBps, if not nil, is stored.
	ThroughputKBps *float64

	// Busy, if not nil, is stored.
	Busy *float64

	// Incarnation, if not empty, is stored: of the writer, when it begins with
	// a lease that was assigned to it, or of NextOwner.
	Incarnation string

	// Release gives the lease up: the owner is removed.
	Release bool

	// NextOwner, if not empty, is the owner from then on. The count of owner
	// switches grows by 1, unless it returns to 0. Not together with Release.
	NextOwner string

	// EndHandOver removes the checkpoint owner, whose last write this is; the
	// owner stays. The count of owner switches grows by 1, from 0 if there is a
	// Checkpoint. Not together with Release or NextOwner.
	EndHandOver bool
}

// leaves reports whether w is the last write of a holder.
func (w Write) leaves() bool { return w.Release || w.EndHandOver || w.NextOwner != "" }

// empty reports whether w is only a renewal, whatever it tells of load.
func (w Write) empty() bool {
	return w.Checkpoint == Checkpoint{} && w.Pending == nil && len(w.Children) == 0 && len(w.Marks) == 0 && w.LatestSince.IsZero() &&
		w.Incarnation == "" && !w.leaves()
}

// Apply returns l as w leaves it.
func (w Write) Apply(l Lease) Lease {
	l = l.Clone()
	l.Counter++
	if w.Checkpoint != (Checkpoint{}) {
		l.Checkpoint = w.Checkpoint
		l.OwnerSwitches = 0
		l.Pending = nil
	}
	if w.Pending != nil {
		l.Pending = &PendingCheckpoint{w.Pending.Checkpoint, slices.Clone(w.Pending.State)}
	}
	if w.ThroughputKBps != nil {
		l.ThroughputKBps = *w.ThroughputKBps
	}
	if w.Busy != nil {
		l.Busy = *w.Busy
	}
	if w.Incarnation != "" {
		l.Incarnation = w.Incarnation
	}
	if len(w.Children) > 0 {
		l.Children = slices.Clone(w.Children)
	}
	if len(w.Marks) > 0 {
		l.Marks = slices.Clone(w.Marks)
	}
	if !w.LatestSince.IsZero() {
		l.LatestSince = w.LatestSince.Truncate(time.Millisecond)
	}
	switch {
	case w.Release:
		l.Owner = ""
	case w.EndHandOver:
		l.CheckpointOwner = ""
		l.OwnerSwitches++
	case w.NextOwner != "":
		l.Owner = w.NextOwner
		if w.Checkpoint == (Checkpoint{}) {
			l.OwnerSwitches++
		}
	}
	return l
}

// landedIn reports whether l, whose counter has moved on, shows what w stores.
func (w Write) landedIn(l Lease) bool {
	if w.Checkpoint != (Checkpoint{}) && l.Checkpoint != w.Checkpoint {
		return false
	}
	if len(w.Marks) > 0 && !bytes.Equal(l.Marks, w.Marks) {
		return false
	}
	if w.Pending != nil && (l.Pending == nil || l.Pending.Checkpoint != w.Pending.Checkpoint || !bytes.Equal(l.Pending.State, w.Pending.State)) {
		return false
	}
	if w.Release && l.Owner != "" || w.EndHandOver && l.CheckpointOwner != "" || w.NextOwner != "" && l.Owner != w.NextOwner {
		return false
	}
	if !w.LatestSince.IsZero() && !l.LatestSince.Equal(w.LatestSince.Truncate(time.Millisecond)) {
		return false
	}
	return len(w.Children) == 0 || slices.Equal(slices.Sorted(slices.Values(w.Children)), slices.Sorted(slices.Values(l.Children)))
}

// author is a worker as it appears in leases.
type author struct{ worker, incarnation string }

// left reports whether now can only be what an earlier try of w has left of
// before: the next counter, and our incarnation, which no other process uses.
// If the lease is not ours any more, it must be our last write, and show what that
// stores.
func (a author) left(before Lease, now *Lease, w Write) bool {
	if now == nil || now.Invalid != nil || now.Counter != before.Counter+1 {
		return false
	}
	if w.NextOwner != "" && now.Owner == w.NextOwner && now.Incarnation == w.Incarnation && now.CheckpointOwner == "" && w.Incarnation != "" {
		return w.landedIn(*now) // or it has stolen the lease, just before it was to be given it
	}
	if now.Incarnation != a.incarnation {
		return false
	}
	switch now.holder() {
	case a.worker:
		return true
	case "":
		// Somebody outside may have released it as well: then it is not ours to write to.
		return w.Release && w.landedIn(*now)
	}
	// What a leader leaves that has waited too long looks the same, but for the checkpoint.
	return w.EndHandOver && now.CheckpointOwner == "" && now.Owner == before.Owner && w.landedIn(*now)
}

// handsOver reports whether now is before, with the start of a hand-over from
// us to another worker, and perhaps one write of ours before that: then the
// lease is still ours, to be given up soon.
func (a author) handsOver(before Lease, now *Lease) bool {
	return now != nil && now.Invalid == nil && now.CheckpointOwner == a.worker && before.CheckpointOwner == "" &&
		now.Incarnation == a.incarnation && (now.Counter == before.Counter || now.Counter == before.Counter+1)
}

// took reports whether now can only be what an earlier try to take before has
// left.
func (a author) took(before Lease, now *Lease) bool {
	return a.left(before, now, Write{})
}

// LeaseStore keeps the leases of one application. Packages
// dynamolease and memlease implement it, and package leasetest checks an
// implementation. It must be safe for concurrent use.
//
// A write whose condition does not hold returns a [*ConflictError]. Any other
// error leaves open whether the write was done.
//
// Later abilities of a store will be optional interfaces, or fields of [Lease]
// and [Write], so that an implementation stays one.
type LeaseStore interface {
	// Prepare makes the store ready, for example by creating a table. It is
	// called once, before everything else, by every worker.
	Prepare(ctx context.Context) error

	// List returns all leases, in any order, with every write that was
	// finished before the call. One that it cannot understand is among them,
	// see [Lease.Invalid], and does not keep the others from being listed.
	List(ctx context.Context) ([]Lease, error)

	// Get returns one lease, with every write that was finished before the
	// call; ok is false if there is none.
	Get(ctx context.Context, key string) (l Lease, ok bool, err error)

	// Create stores l unless there is a lease with its key; created tells.
	Create(ctx context.Context, l Lease) (created bool, err error)

	// Take makes owner the owner of l, with the given incarnation, if the
	// stored counter is still l's. The counter grows by 1; the owner switches
	// grow by 1 if the lease had another owner. It returns the lease as
	// stored.
	Take(ctx context.Context, l Lease, owner, incarnation string) (Lease, error)

	// Update applies w if counter, owner and checkpoint owner are still l's. It
	// returns the lease as stored.
	Update(ctx context.Context, l Lease, w Write) (Lease, error)

	// Delete removes l if the stored counter is still l's. A lease that is not
	// there is no error.
	Delete(ctx context.Context, l Lease) error
}

// ConflictError reports that a lease is no longer as the writer of a
// conditional write believed.
type ConflictError struct {
	Key     string
	Current *Lease // as it is stored now; nil if it is not there
}

func (e *ConflictError) Error() string {
	if e.Current == nil {
		return fmt.Sprintf("consumer: lease %q is gone", e.Key)
	}
	return fmt.Sprintf("consumer: lease %q has changed: owner %q, counter %d", e.Key, e.Current.Owner, e.Current.Counter)
}
