package consumer

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// counters are what Stats is made of.
type counters struct {
	decode decodeStats
	fetch  fetchStats

	batches, processorErrors, processorRestarts  atomic.Int64
	leasesTakenFree, leasesTakenExpired          atomic.Int64
	leasesStolen, leasesLost, leasesExpired      atomic.Int64
	leasesReleased, leasesCreated, leasesDeleted atomic.Int64
	renewals, checkpoints, leaseWriteErrors      atomic.Int64
	lostReplies, listErrors, shardsEnded         atomic.Int64
	invalidLeases, prepareErrors                 atomic.Int64
	marksEvicted                                 atomic.Int64
}

// Stats is what a [Consumer] has done since it was made. Counts only grow.
type Stats struct {
	KinesisRecords    int64 // records as the stream has them
	UserRecords       int64 // records that processors were to get: the former, de-aggregated
	Bytes             int64 // data of the Kinesis records
	Batches           int64 // batches that a processor has handled
	RepeatedRecords   int64 // Kinesis records that the stream gave once more, dropped
	OutOfRangeDropped int64 // user records outside their shard's range, dropped one by one
	OutOfRangeKept    int64 // the same, delivered
	AggregatesDropped int64 // aggregated records dropped under RangeDropAggregate
	CorruptAggregates int64 // aggregated records that could not be taken apart, delivered whole
	DuplicatesDropped int64 // copies of stamped user records, dropped under DropDuplicates
	MarksEvicted      int64 // lanes of producers that were forgotten because there were too many
	DecodeErrors      int64 // user records that Config.Decoder could not decode, delivered as they were

	ProcessorErrors   int64 // failed calls of processors, each followed by another
	ProcessorRestarts int64 // processors given up for a new one, see [Shard.Restart]

	Reads            int64 // GetRecords calls
	EmptyReads       int64 // those that brought nothing
	ReadErrors       int64 // failed calls to Kinesis, without the next two
	ThrottledReads   int64 // calls that Kinesis refused as too many
	ExpiredIterators int64 // iterators that had to be replaced

	Subscriptions       int64 // calls of SubscribeToShard that succeeded
	SubscriptionsInUse  int64 // those refused because the one before had not ended yet
	SubscriptionsLost   int64 // subscriptions that ended before their time, without the next
	SubscriptionsSilent int64 // those given up because nothing came for 35 s
	FanOutFallbacks     int64 // turns to polling because a subscription was refused
	Events              int64 // events that subscriptions have sent
	EmptyEvents         int64 // those without records

	LeasesTakenFree    int64 // taken without an owner
	LeasesTakenExpired int64 // taken from a worker that had stopped renewing
	LeasesStolen       int64 // taken from a worker that had too many
	LeasesLost         int64 // taken by another worker
	LeasesExpired      int64 // given up because renewals did not succeed in time
	LeasesReleased     int64 // given up at the stop
	LeasesCreated      int64
	LeasesDeleted      int64
	Renewals           int64 // writes that only renewed
	Checkpoints        int64 // writes that stored a checkpoint
	LeaseWriteErrors   int64 // failed writes, each followed by another try
	LostReplies        int64 // writes that were done though they seemed to fail
	ListErrors         int64 // failed listings of the leases
	PrepareErrors      int64 // failed tries to make the lease store ready, each followed by another
	InvalidLeases      int64 // leases not understood at the last look; their shards are not read
	ShardsEnded        int64 // shards read to their end

	BufferedBytes int64        // memory of records read and not acknowledged
	Shards        []ShardStats // those held now, in order of their ids
}

// ShardStats is the state of one shard that the worker reads.
type ShardStats struct {
	ShardID      string
	BehindLatest time.Duration // behind the newest record, at the last delivery
	Checkpoint   Checkpoint    // as stored
	Subscribed   bool          // read over a subscription, not by polling
}

// Stats returns the present counts. Each is exact; they are not read at one
// moment.
func (c *Consumer) Stats() Stats {
	s, d, f := &c.stats, &c.stats.decode, &c.stats.fetch
	st := Stats{
		KinesisRecords: d.kinesisRecords.Load(), UserRecords: d.userRecords.Load(), Bytes: d.bytes.Load(),
		Batches: s.batches.Load(), RepeatedRecords: d.repeated.Load(),
		OutOfRangeDropped: d.outOfRangeDropped.Load(), OutOfRangeKept: d.outOfRangeKept.Load(),
		AggregatesDropped: d.aggregatesDropped.Load(), CorruptAggregates: d.corruptAggregates.Load(),
		DuplicatesDropped: d.duplicates.Load(), MarksEvicted: s.marksEvicted.Load(), DecodeErrors: d.undecoded.Load(),
		ProcessorErrors: s.processorErrors.Load(), ProcessorRestarts: s.processorRestarts.Load(),
		Reads: f.reads.Load(), EmptyReads: f.empty.Load(), ReadErrors: f.failed.Load(),
		ThrottledReads: f.throttled.Load(), ExpiredIterators: f.iteratorsExpired.Load(),
		Subscriptions: f.subscriptions.Load(), SubscriptionsInUse: f.subscriptionsInUse.Load(),
		SubscriptionsLost: f.subscriptionsLost.Load(), SubscriptionsSilent: f.silent.Load(),
		FanOutFallbacks: f.fellBack.Load(), Events: f.events.Load(), EmptyEvents: f.emptyEvents.Load(),
		LeasesTakenFree: s.leasesTakenFree.Load(), LeasesTakenExpired: s.leasesTakenExpired.Load(),
		LeasesStolen: s.leasesStolen.Load(), LeasesLost: s.leasesLost.Load(), LeasesExpired: s.leasesExpired.Load(),
		LeasesReleased: s.leasesReleased.Load(), LeasesCreated: s.leasesCreated.Load(), LeasesDeleted: s.leasesDeleted.Load(),
		Renewals: s.renewals.Load(), Checkpoints: s.checkpoints.Load(), LeaseWriteErrors: s.leaseWriteErrors.Load(),
		LostReplies: s.lostReplies.Load(), ListErrors: s.listErrors.Load(), PrepareErrors: s.prepareErrors.Load(), InvalidLeases: s.invalidLeases.Load(), ShardsEnded: s.shardsEnded.Load(),
		BufferedBytes: c.budget.inUse(),
	}
	c.mu.Lock()
	for _, h := range c.held {
		if h != nil {
			st.Shards = append(st.Shards, ShardStats{h.key, time.Duration(h.behind.Load()), h.stored.Load().Checkpoint, h.subscribed.Load()})
		}
	}
	c.mu.Unlock()
	slices.SortFunc(st.Shards, func(a, b ShardStats) int { return cmp.Compare(a.ShardID, b.ShardID) })
	return st
}
