package consumer

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"
)

// Mode is the set of rules by which workers share a lease table.
type Mode int

const (
	// ModeAuto finds out which rules fit the table when the worker starts.
	//
	//   - ModeNative if workers of that mode have it or have left it, or if nobody
	//     has ever had a lease of it: a new application needs nothing to be set.
	//   - ModeKCL3 if workers of the official library's 3.x have it, or of
	//     ModeKCL3.
	//   - ModeKCL2 otherwise, and on a lease store that does not implement
	//     [CoordinationStore].
	//
	// Between the last two it looks again each minute, and goes over to other
	// rules without letting its leases go. While official workers change from
	// 2.x to 3.x it tells them what they wait for, and ends the change if it is
	// the one elected, see Config.UpgradeWait. Workers of the official library
	// are to be started before the first one of this package, or Mode set, if they
	// are to share a table that is new.
	ModeAuto Mode = iota

	// ModeKCL2 follows the rules of versions 1 and 2 of the official library:
	// every worker looks at all leases, takes and steals. Workers of those
	// versions may share the table, and those of 3.x as long as they are
	// configured to be compatible with 2.x.
	ModeKCL2

	// ModeKCL3 follows the rules of version 3 of the official library: each
	// worker writes a row that says that it lives, one of them leads and assigns
	// leases to all, and one that has a lease which is to go elsewhere finishes
	// what it has begun first. Workers of version 3 may share the table; those of
	// 2.x, and of ModeKCL2, must not. It needs a lease store that implements
	// [CoordinationStore].
	ModeKCL3

	// ModeNative is for workers of this package alone. A worker shows that it
	// lives by one row, however many leases it has; one of them, the leader,
	// gives leases to workers. A lease of a worker that lives moves only when its
	// processor has finished, so nothing is delivered twice for it. A worker
	// that dies loses its leases after about 0.8 of FailoverTime. It needs a
	// lease store that implements [CoordinationStore].
	ModeNative
)

func (m Mode) String() string {
	switch m {
	case ModeAuto:
		return "ModeAuto"
	case ModeKCL2:
		return "ModeKCL2"
	case ModeKCL3:
		return "ModeKCL3"
	case ModeNative:
		return "ModeNative"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}

// RangePolicy says what happens to a user record whose hash key is not in the
// range of the shard that it came from. There it can only be inside an
// aggregated record: one that was put across a reshard, or by a producer that
// aggregates without regard to shards.
type RangePolicy int

const (
	// RangeAuto drops such a user record from an aggregated record whose own
	// partition key is "a": the official producer, and this project's, write
	// that key and put such records again. It keeps all others, flagged.
	RangeAuto RangePolicy = iota

	// RangeKeepAll keeps and flags.
	RangeKeepAll

	// RangeDropRecord drops each such user record.
	RangeDropRecord

	// RangeDropAggregate drops the whole aggregated record, as the official
	// library does. It loses records unless the producer puts all of them
	// again.
	RangeDropAggregate
)

// Position is where an application begins to read a stream that it has no
// leases for. The zero Position is the oldest record.
type Position struct {
	// Latest begins with records put from now on.
	Latest bool

	// Time, if not zero, begins with the first record that arrived at it or
	// later. It must not be combined with Latest.
	Time time.Time
}

// checkpoint returns the sentinel that stands for p in a lease.
func (p Position) checkpoint() Checkpoint {
	switch {
	case p.Latest:
		return Checkpoint{SequenceNumber: Latest}
	case !p.Time.IsZero():
		return Checkpoint{SequenceNumber: AtTimestamp}
	}
	return Checkpoint{SequenceNumber: TrimHorizon}
}

// Config holds the optional settings of a [Consumer]. The zero Config is
// valid: a field left zero takes the default that its comment names. Where a
// setting has the name of one of the Kinesis Client Library (KCL), it means
// the same.
type Config struct {
	// WorkerID names this worker, which is one running Consumer, in the leases. No two
	// running workers may share a name. A worker that is restarted with the
	// name it had has its leases back at once. Default: host name and a
	// random part.
	WorkerID string

	// Mode is the set of rules for sharing the leases. Default ModeAuto.
	Mode Mode

	// UpgradeWait is, under ModeAuto, for how long all workers must have been ready for
	// the rules of version 3 before this one, where it is the one elected, has
	// those of the official library go over to them. Looks are a minute apart. Default
	// 10m, as in the KCL, which has no setting for it; at least 1s.
	UpgradeWait time.Duration

	// PeerAddr is the host:port at which this worker listens for its peers, if the
	// rules are those of ModeNative: workers that reach each other find out within a second that one
	// has crashed, and within three that a host is lost, instead of after
	// FailoverTime. A port of 0 is any. Connections are authenticated by what only
	// those know who can read the lease store. Default none: nothing listens.
	PeerAddr string

	// PeerAdvertiseAddr is the host:port at which peers reach this worker, which
	// it publishes in the lease store. Default where it listens, with the name of
	// the host if that is everywhere.
	PeerAdvertiseAddr string

	// PeerTLS, if not nil, secures connections between peers, in both directions:
	// so it needs a certificate, and to say whom to trust. Default none.
	PeerTLS *tls.Config

	// InitialPosition is where shards without a lease are read from, when the
	// application is new. Default the oldest record. (KCL: LATEST in most of
	// its constructors.)
	InitialPosition Position

	// FormerStreamsWait is, with [NewMultiStream], for how long a stream must not have
	// been listed, as far as a worker knows, before its leases are let go and deleted,
	// and with them what was read. Until then it is read on, so that a worker which is
	// told of a change late does no harm. Default 1h; negative means never.
	FormerStreamsWait time.Duration

	// FailoverTime is how long a lease stays with a worker that does not renew
	// it. All workers of an application must have the same. Default 10s; from 1s to 1h.
	FailoverTime time.Duration

	// MaxLeasesForWorker bounds the leases of this worker. Shards may stay
	// unread if all workers are bounded. Default no bound; from 1.
	MaxLeasesForWorker int

	// MaxLeasesToStealAtOneTime bounds the leases that this worker takes from
	// others in one look at the table. A record in flight when its lease is
	// stolen is delivered twice. Default no bound (KCL: 1); from 1.
	MaxLeasesToStealAtOneTime int

	// MaxLeaseRenewalThreads bounds the writes to the lease store in flight.
	// Default 20; from 1.
	MaxLeaseRenewalThreads int

	// DisableCleanupLeasesUponShardCompletion keeps the leases of finished
	// shards. The default, false, deletes them once their children are being
	// read.
	DisableCleanupLeasesUponShardCompletion bool

	// CheckpointInterval is the time between two checkpoints of a shard on
	// which records were acknowledged. What was acknowledged since the last
	// one is delivered again after a crash. Renewals carry the checkpoint as
	// well, so it is never longer than 0.45 of FailoverTime, but under ModeNative,
	// which renews no leases. Default 5s; at least 10ms.
	CheckpointInterval time.Duration

	// ExplicitCheckpoints leaves it to the processors to say what is
	// acknowledged, by [Shard.Commit] and [Shard.CommitTo], as processors of
	// the KCL do. That ProcessRecords returns nil then only means that the next
	// batch may come; Batch.Ack and Batch.Detach have no effect, and a batch
	// counts against MaxBufferedBytes only until ProcessRecords returns. What is
	// not committed when the lease goes is delivered again. ShardEnded must not
	// return nil before everything is committed, or it is called again. The
	// default, false, stores by itself what is acknowledged.
	ExplicitCheckpoints bool

	// CallProcessRecordsEvenForEmptyRecordList calls ProcessRecords after reads
	// that bring nothing as well, with a batch without records, so that a
	// processor can finish what it has begun by time. Default false.
	CallProcessRecordsEvenForEmptyRecordList bool

	// ShutdownTimeout bounds the graceful stop, from the end of Run's context.
	// Default 30s; at least 1ms.
	ShutdownTimeout time.Duration

	// RetrievalMode is how records are brought from the stream. Default
	// RetrievalPolling. (KCL: fan-out.)
	RetrievalMode RetrievalMode

	// ConsumerName is the name under which the application is registered as a
	// consumer of the stream, for fan-out. All its workers must have the same.
	// Default the application's name.
	ConsumerName string

	// ConsumerARN is a consumer that somebody has registered, to be used
	// instead of a name. Default none.
	ConsumerARN string

	// OwnRegistration has a worker that has registered the consumer deregister it
	// when it stops and no other worker has a lease. The default, false, leaves
	// it registered, as the KCL does, and AWS goes on to charge for it.
	OwnRegistration bool

	// MaxRecords is the most Kinesis records of one read, and so of one batch;
	// aggregated ones hold more user records. Default 10000; from 1 to 10000.
	MaxRecords int

	// IdleTimeBetweenReads is the longest pause between two reads of a shard
	// that has nothing new. The pause begins at a fifth of it, and there is
	// none while records wait. Default 1s (KCL: 1.5s, always); at least 1ms.
	IdleTimeBetweenReads time.Duration

	// KinesisRequestTimeout bounds one request to Kinesis. Default 30s; at
	// least 10ms.
	KinesisRequestTimeout time.Duration

	// MaxBufferedBytes bounds the memory of records that were read and not
	// acknowledged, over all shards. A quarter of it is for shards that have nothing
	// in memory. If others hold all, a shard that has waited for a second reads 64 KiB
	// or one record over the bound: processors that fail or hang do not keep other
	// shards from being read. A response is never cut, so the bound can be exceeded
	// by one of each shard that is just being read. Default 268435456 (KCL: 8 MiB a
	// shard and one response more); at least 1048576.
	MaxBufferedBytes int64

	// MaxUnacked bounds the user records of a shard that are delivered and not
	// acknowledged: while there are as many, no other batch is delivered. A batch
	// is never cut for it, so the bound can be exceeded by one. It has no meaning
	// with ExplicitCheckpoints. Default 10000; from 1.
	MaxUnacked int

	// KeyConcurrency is how many calls of ProcessRecords a shard may have at a time.
	// With more than one, the records of a read are divided by their partition keys
	// into as many lanes, each of which has one call at a time: the records of a key
	// stay in order, and the checkpoint passes what is acknowledged without a gap.
	// A processor that keeps what it shares between calls under a lock then uses
	// more than one CPU, or waits for more than one answer. It cannot go with
	// ExplicitCheckpoints, by which a place says that all before it is done. Default
	// 1; to 1024.
	KeyConcurrency int

	// MaxBusyLanes bounds the calls of ProcessRecords that lanes have at a time,
	// over all shards of this worker. It has no meaning without KeyConcurrency.
	// Default 256; from 1.
	MaxBusyLanes int

	// ProcessorTimeout is how long one call of a processor, or of DeadLetter, may
	// take. When it is over, the context of the call ends, with a cause that wraps
	// [ErrProcessorTimeout], and as soon as the call has returned another processor
	// is made, which reads on from what is acknowledged. One that does not return
	// within as long again, or 30 s, has its lease given up, so that another worker
	// may go on; this worker does not take it before the call has returned, as
	// nothing can end the call. Default none (KCL: none), because renewals do not
	// depend on processors: a call may take as long as the work does. At least 1ms.
	ProcessorTimeout time.Duration

	// BisectAfter is how many calls in a row must fail with the same records,
	// other than by [Retry], for the batch to be halved: first halves are tried
	// first, and halved again when they fail, until one record is left that fails
	// alone. One that has failed as often goes to DeadLetter; without DeadLetter it
	// is tried for ever. An outage of what the processor writes to looks like a
	// record that fails, unless the processor answers it with Retry. Default never;
	// from 1.
	BisectAfter int

	// DeadLetter, if not nil, takes records that the processor gives up with
	// [DeadLetter], or that BisectAfter has found. The record is acknowledged when
	// it returns nil; an error, or a panic, makes it be called again, after a wait
	// as for ProcessRecords. It is called for several shards at once. Default none.
	DeadLetter func(ctx context.Context, r DeadLetterRecord) error

	// OnAssigned, if not nil, is called when the worker has taken a lease, before a
	// processor is made. After it comes OnRevoking, or OnLost, or one after the
	// other. They may be called for several shards at once, but for one shard they
	// come one by one, and nothing is delivered meanwhile.
	OnAssigned func(s *Shard)

	// OnRevoking, if not nil, is called when the worker is about to give a lease up
	// in order: at the stop, when the lease is to go to another worker, and at the
	// shard's end. The processor has heard of it by then. What is acknowledged when
	// it returns is stored. ctx ends when the time for that is over, or the lease is
	// lost meanwhile.
	OnRevoking func(ctx context.Context, s *Shard)

	// OnLost, if not nil, is called when a lease was lost, after LeaseLost of the
	// processor.
	OnLost func(s *Shard)

	// Decoder, if not nil, makes of each user record's data what is delivered: the
	// inverse of the producer's Encoder. Default none.
	Decoder Decoder

	// DropDuplicates drops copies of user records that a producer has stamped
	// (its DuplicateStamps), as timeouts and reshards make them. For that the
	// lease keeps what is known of the producers, up to 16 KiB, and each
	// checkpoint writes it: DynamoDB asks the price of a write of that size, and
	// of a read of it for each look at the leases. All workers of an application
	// should have the same. The default, false, delivers all.
	DropDuplicates bool

	// RangePolicy says what happens to user records outside their shard's
	// range. Default RangeAuto.
	RangePolicy RangePolicy

	// Logger receives what an operator should know; nil means slog.Default().
	Logger *slog.Logger
}

// unbounded is a limit that is none.
const unbounded = math.MaxInt

// withDefaults returns c with defaults filled in, and an error that joins one
// error for each setting out of range.
func (c Config) withDefaults() (Config, error) {
	if c.WorkerID == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "worker"
		}
		c.WorkerID = host + "-" + strings.ToLower(rand.Text()[:13])
	}
	c.FailoverTime = cmp.Or(c.FailoverTime, 10*time.Second)
	c.UpgradeWait = cmp.Or(c.UpgradeWait, 10*time.Minute)
	c.FormerStreamsWait = cmp.Or(c.FormerStreamsWait, time.Hour)
	c.MaxLeasesForWorker = cmp.Or(c.MaxLeasesForWorker, unbounded)
	c.MaxLeasesToStealAtOneTime = cmp.Or(c.MaxLeasesToStealAtOneTime, math.MaxInt)
	c.MaxLeaseRenewalThreads = cmp.Or(c.MaxLeaseRenewalThreads, 20)
	c.CheckpointInterval = cmp.Or(c.CheckpointInterval, 5*time.Second)
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, 30*time.Second)
	c.MaxRecords = cmp.Or(c.MaxRecords, 10000)
	c.IdleTimeBetweenReads = cmp.Or(c.IdleTimeBetweenReads, time.Second)
	c.KinesisRequestTimeout = cmp.Or(c.KinesisRequestTimeout, 30*time.Second)
	c.MaxBufferedBytes = cmp.Or(c.MaxBufferedBytes, 256<<20)
	c.MaxUnacked = cmp.Or(c.MaxUnacked, 10000)
	c.KeyConcurrency = cmp.Or(c.KeyConcurrency, 1)
	c.MaxBusyLanes = cmp.Or(c.MaxBusyLanes, 256)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}

	var errs []error
	atLeast := func(name string, v, low time.Duration) {
		if v < low {
			errs = append(errs, fmt.Errorf("%s %v is less than %v", name, v, low))
		}
	}
	positive := func(name string, v int) {
		if v < 1 {
			errs = append(errs, fmt.Errorf("%s %d is less than 1", name, v))
		}
	}
	if c.Mode < ModeAuto || c.Mode > ModeNative {
		errs = append(errs, fmt.Errorf("Mode %d is unknown", c.Mode))
	}
	if c.PeerAddr != "" && c.Mode != ModeNative && c.Mode != ModeAuto {
		errs = append(errs, errors.New("PeerAddr has a meaning under ModeNative and ModeAuto only; set Mode, or leave it out"))
	}
	if c.PeerAddr == "" && (c.PeerAdvertiseAddr != "" || c.PeerTLS != nil) {
		errs = append(errs, errors.New("PeerAdvertiseAddr and PeerTLS have no meaning without PeerAddr; set it, or leave them out"))
	}
	if c.RetrievalMode < RetrievalPolling || c.RetrievalMode > RetrievalMixed {
		errs = append(errs, fmt.Errorf("RetrievalMode %d is unknown", c.RetrievalMode))
	}
	if c.RetrievalMode == RetrievalPolling && (c.ConsumerName != "" || c.ConsumerARN != "" || c.OwnRegistration) {
		errs = append(errs, errors.New("ConsumerName, ConsumerARN and OwnRegistration have no meaning under RetrievalPolling; set RetrievalMode, or leave them out"))
	}
	if c.ConsumerARN != "" && (c.ConsumerName != "" || c.OwnRegistration) {
		errs = append(errs, errors.New("ConsumerARN names a registered consumer; leave ConsumerName and OwnRegistration out"))
	}
	if c.RangePolicy < RangeAuto || c.RangePolicy > RangeDropAggregate {
		errs = append(errs, fmt.Errorf("RangePolicy %d is unknown", c.RangePolicy))
	}
	if c.DropDuplicates && c.RangePolicy == RangeDropAggregate {
		errs = append(errs, errors.New("DropDuplicates cannot go with RangeDropAggregate, which drops records that have left a mark; choose another RangePolicy"))
	}
	if c.InitialPosition.Latest && !c.InitialPosition.Time.IsZero() {
		errs = append(errs, errors.New("InitialPosition has both Latest and Time; set one"))
	}
	if d := c.FailoverTime; d < time.Second || d > time.Hour {
		errs = append(errs, fmt.Errorf("FailoverTime %v is outside [1s, 1h]", d))
	}
	atLeast("UpgradeWait", c.UpgradeWait, time.Second)
	positive("MaxLeasesForWorker", c.MaxLeasesForWorker)
	positive("MaxLeasesToStealAtOneTime", c.MaxLeasesToStealAtOneTime)
	positive("MaxLeaseRenewalThreads", c.MaxLeaseRenewalThreads)
	atLeast("CheckpointInterval", c.CheckpointInterval, 10*time.Millisecond)
	atLeast("ShutdownTimeout", c.ShutdownTimeout, time.Millisecond)
	atLeast("IdleTimeBetweenReads", c.IdleTimeBetweenReads, time.Millisecond)
	atLeast("KinesisRequestTimeout", c.KinesisRequestTimeout, 10*time.Millisecond)
	if n := c.MaxRecords; n < 1 || n > 10000 {
		errs = append(errs, fmt.Errorf("MaxRecords %d is outside [1, 10000]", n))
	}
	positive("MaxUnacked", c.MaxUnacked)
	positive("MaxBusyLanes", c.MaxBusyLanes)
	if n := c.KeyConcurrency; n < 1 || n > 1024 {
		errs = append(errs, fmt.Errorf("KeyConcurrency %d is outside [1, 1024]", n))
	}
	if c.KeyConcurrency > 1 && c.ExplicitCheckpoints {
		errs = append(errs, errors.New("KeyConcurrency cannot go with ExplicitCheckpoints, by which a place says that all before it is done; let ProcessRecords, or Record.Ack, acknowledge"))
	}
	if c.ProcessorTimeout != 0 {
		atLeast("ProcessorTimeout", c.ProcessorTimeout, time.Millisecond)
	}
	if n := c.BisectAfter; n < 0 {
		errs = append(errs, fmt.Errorf("BisectAfter %d is less than 0", n))
	}
	if n := c.MaxBufferedBytes; n < 1<<20 {
		errs = append(errs, fmt.Errorf("MaxBufferedBytes %d is less than 1048576", n))
	}
	return c, errors.Join(errs...)
}

// The times that follow from FailoverTime, F.

// renewAfter is the age of the last write at which a lease is renewed: 0.45 F,
// so that several tries fit before the lease is given up.
func (c *Config) renewAfter() time.Duration { return c.FailoverTime * 45 / 100 }

// trustFor is how long a lease is believed in, from before the write that
// proved it was sent: 0.9 F. Another worker waits F from when it saw that
// write's effect, so the two do not overlap unless clocks differ in rate by 5 %.
func (c *Config) trustFor() time.Duration { return c.FailoverTime * 9 / 10 }

// lookEvery is the time between two looks at the lease table: F/4.
func (c *Config) lookEvery() time.Duration { return c.FailoverTime / 4 }

// attemptTimeout bounds one write to the lease store, so that a lost answer
// leaves time for other tries.
func (c *Config) attemptTimeout() time.Duration { return c.FailoverTime / 5 }
