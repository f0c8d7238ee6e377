package consumer

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"
)

// Lease is the right of one worker to read one shard, as it is stored. The
// fields stand for the attributes of the Kinesis Client Library's lease table.
type Lease struct {
	// Key is the shard's id: leaseKey.
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

	// Parents are the ids of the shard's parents: parentShardIds.
	Parents []string

	// Children are the ids of the shard's children, known once the shard has
	// been read to its end: childShardIds.
	Children []string

	// StartingHashKey and EndingHashKey are the ends of the shard's range, in
	// decimal and inclusive; both empty if not known.
	StartingHashKey, EndingHashKey string

	// CheckpointOwner is the old owner while the official library (3.x) hands
	// the lease over: checkpointOwner.
	CheckpointOwner string

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
	return l
}

// ended reports whether the shard has been read to its end.
func (l Lease) ended() bool { return l.Checkpoint.SequenceNumber == ShardEnd && l.Invalid == nil }

// Write is what an owner changes on its lease in one write. The zero Write is
// a renewal: it changes the counter only, as every Write does.
type Write struct {
	// Checkpoint, if not the zero Checkpoint, is stored; the count of owner
	// switches returns to 0, and a pending checkpoint of the official library
	// is removed.
	Checkpoint Checkpoint

	// Children, if not empty, are stored.
	Children []string

	// LatestSince, if not zero, is stored.
	LatestSince time.Time

	// Marks, if not empty, are stored. They belong to Checkpoint, and come with
	// one only.
	Marks []byte

	// Release gives the lease up: the owner is removed.
	Release bool
}

// empty reports whether w is only a renewal.
func (w Write) empty() bool {
	return w.Checkpoint == Checkpoint{} && len(w.Children) == 0 && len(w.Marks) == 0 && w.LatestSince.IsZero() && !w.Release
}

// Apply returns l as w leaves it.
func (w Write) Apply(l Lease) Lease {
	l = l.Clone()
	l.Counter++
	if w.Checkpoint != (Checkpoint{}) {
		l.Checkpoint = w.Checkpoint
		l.OwnerSwitches = 0
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
	if w.Release {
		l.Owner = ""
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
	if !w.LatestSince.IsZero() && !l.LatestSince.Equal(w.LatestSince.Truncate(time.Millisecond)) {
		return false
	}
	return len(w.Children) == 0 || slices.Equal(slices.Sorted(slices.Values(w.Children)), slices.Sorted(slices.Values(l.Children)))
}

// author is a worker as it appears in leases.
type author struct{ worker, incarnation string }

// left reports whether now can only be what an earlier try of w has left of
// before: the next counter, and our incarnation, which no other process uses.
// Without an owner it must be our release.
func (a author) left(before Lease, now *Lease, w Write) bool {
	if now == nil || now.Invalid != nil || now.Counter != before.Counter+1 || now.Incarnation != a.incarnation {
		return false
	}
	return now.Owner == a.worker || now.Owner == "" && w.Release
}

// took reports whether now can only be what an earlier try to take before has
// left.
func (a author) took(before Lease, now *Lease) bool {
	return a.left(before, now, Write{})
}

// LeaseStore keeps the leases of one application and stream. Packages
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

	// Update applies w if counter and owner are still l's. It returns the
	// lease as stored.
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
