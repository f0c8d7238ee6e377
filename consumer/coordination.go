package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// PendingCheckpoint is a place that was prepared to become the checkpoint, with
// bytes of the application: pendingCheckpoint,
// pendingCheckpointSubSequenceNumber and pendingCheckpointState.
type PendingCheckpoint struct {
	Checkpoint Checkpoint
	State      []byte
}

// CoordinationStore is a [LeaseStore] that keeps, beside the leases, what
// workers need when one of them assigns leases to all: a row for each worker,
// and the lock of the one that leads. [ModeKCL3] needs it. Packages
// dynamolease and memlease implement it, and package leasetest checks an
// implementation.
//
// What it keeps beside leases is never among what List, Get and Owned return.
type CoordinationStore interface {
	LeaseStore

	// Owned returns the keys of leases that show owner as their Owner, in any
	// order. It may lag behind, in both directions: whoever acts on a key must
	// look at the lease with Get.
	Owned(ctx context.Context, owner string) ([]string, error)

	// Assign gives l to another worker, by a leader's decision. The row must be
	// there, and its owner and checkpoint owner must still be l's; so must its
	// counter, unless a.AnyCounter. The counter grows by 1, the checkpoint
	// owner is removed; the owner switches grow by 1 if there was a checkpoint
	// owner, or an owner other than the new one. It returns the lease as
	// stored.
	Assign(ctx context.Context, l Lease, a Assignment) (Lease, error)

	// StartHandOver makes to the owner of l and the present owner the
	// checkpoint owner, which is to finish what it has begun and to end the
	// hand-over by [Write.EndHandOver]. Nothing else changes, not even the
	// counter. The owner must still be l's, and there must be no checkpoint
	// owner. It returns the lease as stored.
	StartHandOver(ctx context.Context, l Lease, to string) (Lease, error)

	// PutWorker stores what is set in row, and leaves other attributes of the
	// worker's row as they are. If the row has a later write of the same process, by
	// [WorkerRow.Write], it stores nothing and returns [ErrLateRow]: a request that
	// was given up has come late.
	PutWorker(ctx context.Context, row WorkerRow) error

	// ListWorkers returns the rows of all workers, in any order, with every
	// write that was finished before the call.
	ListWorkers(ctx context.Context) ([]WorkerRow, error)

	// GetWorker returns the row of one worker, with every write that was
	// finished before the call; ok is false if there is none.
	GetWorker(ctx context.Context, id string) (row WorkerRow, ok bool, err error)

	// ListAll returns what List and ListWorkers do, with one look where both
	// are in one table.
	ListAll(ctx context.Context) ([]Lease, []WorkerRow, error)

	// DeleteWorker removes a row if it was last updated at row.Updated. It is
	// no error if it was not, or is not there.
	DeleteWorker(ctx context.Context, row WorkerRow) error

	// GetLeader returns the leader's lock, with every write that was finished
	// before the call; ok is false if there is none.
	GetLeader(ctx context.Context) (l LeaderLock, ok bool, err error)

	// AcquireLeader stores l, unless the lock is no longer as seen: not there
	// if seen is nil, released if seen is, otherwise with the same Version.
	// ok tells. As with leases, an error leaves open whether it was stored.
	AcquireLeader(ctx context.Context, seen *LeaderLock, l LeaderLock) (ok bool, err error)

	// RenewLeader stores the Duration and the Version of after, and its Data
	// unless that is nil, if Owner and Version are still those of before.
	RenewLeader(ctx context.Context, before, after LeaderLock) (ok bool, err error)

	// ReleaseLeader removes the lock, if Owner and Version are still l's.
	ReleaseLeader(ctx context.Context, l LeaderLock) (ok bool, err error)

	// Coordination looks at how the table is used. It also makes up the store's
	// mind about where rows of workers and of the leader are kept, for all
	// later calls; so it is called before them, and now and then.
	Coordination(ctx context.Context) (Coordination, error)

	// SetClientVersion makes version the client version, if it is still as in seen,
	// which Coordination has returned: what it is and when it was set. If
	// seen has none, there must be none yet. What is replaced becomes the
	// newest of up to ten entries of a history; by is the worker that is noted as
	// the author. The time noted is later than that of before. ok tells whether
	// the condition held. As with leases, an error leaves open whether it was
	// stored.
	SetClientVersion(ctx context.Context, seen Coordination, version, by string) (ok bool, err error)

	// CreateIndex sees to it that Owned need not look at all leases. It asks
	// for an index if there is none, and does not wait until it can be used.
	CreateIndex(ctx context.Context) error
}

// Assignment is the decision of a leader about one lease.
type Assignment struct {
	Owner string // must not be empty

	// Incarnation, if not empty, is stored as the lease's.
	Incarnation string

	// AnyCounter assigns the lease although the present owner may have written
	// to it meanwhile, as the official library does.
	AnyCounter bool
}

// Apply returns l as a leaves it.
func (a Assignment) Apply(l Lease) Lease {
	l = l.Clone()
	if a.Switches(l) {
		l.OwnerSwitches++
	}
	l.Owner, l.CheckpointOwner = a.Owner, ""
	if a.Incarnation != "" {
		l.Incarnation = a.Incarnation
	}
	l.Counter++
	return l
}

// Switches reports whether a counts as a change of l's owner.
//
// Source: amazon-kinesis-client 3.x, DynamoDBLeaseSerializer.
func (a Assignment) Switches(l Lease) bool {
	return l.CheckpointOwner != "" || l.Owner != "" && l.Owner != a.Owner
}

// WorkerRow is what a worker tells of itself, as it is stored: the row that the
// official library (3.x) calls worker metric stats. A worker without an
// up-to-date row is given no lease by a leader.
//
// Source: amazon-kinesis-client 3.5, WorkerMetricStats.
type WorkerRow struct {
	// ID is the worker's name.
	ID string

	// Updated is when the row was last written, by the worker's clock: lut.
	// Seconds are kept.
	Updated time.Time

	// Stats are the last values of measures of the worker's load, newest last:
	// sts. A value of -1 is a measurement that failed.
	Stats map[string][]float64

	// OperatingRange has the highest value that a measure should have, first in
	// its list: opr.
	OperatingRange map[string][]int64

	// Properties are free: properties.
	Properties map[string]string

	// SupportCode tells what the worker knows of later changes of the table:
	// sup. 1 is the move of all rows into one table.
	SupportCode int64

	// SupportUpdated is when SupportCode was last written: slu. Seconds are
	// kept.
	SupportUpdated time.Time

	// Invalid says why what is stored cannot be understood, on a row that a
	// store has read; the other fields are then what could be.
	Invalid error
}

// ErrLateRow is returned by a [CoordinationStore] for a row that is older than the one
// that is stored.
var ErrLateRow = errors.New("consumer: the worker's row has a later write of the same process")

// Write returns which process under [ModeNative] has written r, and the number of that
// write: text of one length for one process, which grows. Rows of other modes have none,
// "" and "".
func (r WorkerRow) Write() (process, number string) {
	process, number = r.Properties[propIncarnation], r.Properties[propSeq]
	if process == "" || number == "" {
		return "", ""
	}
	return process, number
}

// Late reports whether stored is a later write of the process that has written r.
func (r WorkerRow) Late(stored WorkerRow) bool {
	process, number := r.Write()
	other, latest := stored.Write()
	return process != "" && process == other && number < latest
}

// Clone returns a copy that shares nothing with r.
func (r WorkerRow) Clone() WorkerRow {
	r.Stats, r.OperatingRange, r.Properties = maps.Clone(r.Stats), maps.Clone(r.OperatingRange), maps.Clone(r.Properties)
	for name, values := range r.Stats {
		r.Stats[name] = slices.Clone(values)
	}
	for name, values := range r.OperatingRange {
		r.OperatingRange[name] = slices.Clone(values)
	}
	return r
}

// Merge returns before with what is set in r, as PutWorker stores it.
func (r WorkerRow) Merge(before WorkerRow) WorkerRow {
	before, r = before.Clone(), r.Clone()
	before.ID = r.ID
	if !r.Updated.IsZero() {
		before.Updated = time.Unix(r.Updated.Unix(), 0)
	}
	if r.Stats != nil {
		before.Stats = r.Stats
	}
	if r.OperatingRange != nil {
		before.OperatingRange = r.OperatingRange
	}
	if r.Properties != nil {
		before.Properties = r.Properties
	}
	if r.SupportCode != 0 {
		before.SupportCode = r.SupportCode
	}
	if !r.SupportUpdated.IsZero() {
		before.SupportUpdated = time.Unix(r.SupportUpdated.Unix(), 0)
	}
	return before
}

// LeaderLock is the lock of the worker that leads, as it is stored. It is valid
// for Duration after each write of a new Version, by the clock of the one that
// looks: no time is stored.
//
// Source: amazon-dynamodb-lock-client, AmazonDynamoDBLockClient.
type LeaderLock struct {
	Owner    string        // ownerName
	Version  string        // recordVersionNumber: random, new with each write
	Duration time.Duration // leaseDuration; milliseconds are kept
	Released bool          // isReleased
	Data     []byte        // data
}

// Client versions, see [Coordination.ClientVersion].
const (
	ClientVersionUpgradeFrom2X = "CLIENT_VERSION_UPGRADE_FROM_2X"
	ClientVersion2X            = "CLIENT_VERSION_2X"
	ClientVersion3XRollback    = "CLIENT_VERSION_3X_WITH_ROLLBACK"
	ClientVersion3X            = "CLIENT_VERSION_3X"
)

// States of the move into one table, see [Coordination.TableMigration].
const (
	TableMigrationInit     = "TABLE_MIGRATION_STATUS_INIT"
	TableMigrationDeployed = "TABLE_MIGRATION_STATUS_DEPLOYED"
	TableMigrationPending  = "TABLE_MIGRATION_STATUS_PENDING"
	TableMigrationComplete = "TABLE_MIGRATION_STATUS_COMPLETE"
)

// Coordination is how a table is used, as far as it can be seen without looking
// at leases and workers.
type Coordination struct {
	// ClientVersion is by which rules official workers share the leases: the
	// attribute cv of the row Migration3.0. It is empty if none of version 3
	// has been at work.
	ClientVersion string

	// ClientVersionSet is when ClientVersion was stored, by the clock of who did: the
	// attribute mts. Milliseconds are kept.
	ClientVersionSet time.Time

	// TableMigration is how far official workers have come in moving all rows
	// into the lease table: the attribute tm of the row TableMigration3.5.
	TableMigration string

	// OfficialMoved tells, where TableMigration is TableMigrationDeployed, that an
	// official worker that seems to live writes its row to the lease table.
	OfficialMoved bool

	// LegacyTables tells that there are tables of their own for what is beside
	// leases, as versions 3.0 to 3.4 have them.
	LegacyTables bool

	// IndexActive tells that leases can be found by their owners without
	// looking at all.
	IndexActive bool
}

// WithClientVersion returns c as SetClientVersion leaves it at the given time.
func (c Coordination) WithClientVersion(version string, now time.Time) Coordination {
	now = time.UnixMilli(now.UnixMilli())
	if next := c.ClientVersionSet.Add(time.Millisecond); now.Before(next) { // clocks differ
		now = time.UnixMilli(next.UnixMilli())
	}
	c.ClientVersion, c.ClientVersionSet = version, now
	return c
}

// SingleTable reports whether the rows of workers are to be written to the lease
// table. Official workers go over one by one, as they are configured, and the move
// goes on when none is left behind: a worker that has no such setting goes with
// them.
//
// Source: amazon-kinesis-client 3.5, WorkerMetricStatsDAO,
// TableMigrationStateMachineImpl.
func (c Coordination) SingleTable() bool {
	switch c.TableMigration {
	case TableMigrationPending, TableMigrationComplete:
		return true
	case TableMigrationDeployed:
		return !c.LegacyTables || c.OfficialMoved
	}
	return !c.LegacyTables
}

// LockMoved reports whether the leader's lock is in the lease table: it is the last
// to go there.
//
// Source: amazon-kinesis-client 3.5, TableMigrationStateMachineImpl.
func (c Coordination) LockMoved() bool {
	return !c.LegacyTables || c.TableMigration == TableMigrationComplete
}

// Migrating reports whether official workers are on the way from one way of
// sharing the table to another.
func (c Coordination) Migrating() bool {
	if c.ClientVersion == ClientVersionUpgradeFrom2X {
		return true
	}
	switch c.TableMigration {
	case TableMigrationInit, TableMigrationDeployed, TableMigrationPending:
		return true
	}
	return false
}

func (c Coordination) String() string {
	return fmt.Sprintf("client version %q, table migration %q, official workers moved %v, legacy tables %v, index %v",
		c.ClientVersion, c.TableMigration, c.OfficialMoved, c.LegacyTables, c.IndexActive)
}
