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
	processorPanics, processorTimeouts           atomic.Int64
	readerPanics, bisections                     atomic.Int64
	recordsSkipped, recordsDeadLettered          atomic.Int64
	deadLetterErrors                             atomic.Int64
	leasesTakenFree, leasesTakenExpired          atomic.Int64
	leasesStolen, leasesLost, leasesExpired      atomic.Int64
	leasesReleased, leasesCreated, leasesDeleted atomic.Int64
	renewals, checkpoints, leaseWriteErrors      atomic.Int64
	lostReplies, listErrors, shardsEnded         atomic.Int64
	processorTime                                atomic.Int64 // time.Duration
	invalidLeases, prepareErrors                 atomic.Int64
	marksEvicted                                 atomic.Int64
	leasesAssigned, assignments, handOvers       atomic.Int64
	beats, beatErrors, foreignWorkers            atomic.Int64
	peerPauses, peerDeaths, sleeps               atomic.Int64
	streamsDeleted                               atomic.Int64
	leader                                       atomic.Bool
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

	ProcessorTime     time.Duration // what the calls of ProcessRecords took together
	ProcessorErrors   int64         // failed calls of processors, each followed by another
	ProcessorRestarts int64         // processors given up for a new one: by [Shard.Restart], or for one of the next three
	ProcessorPanics   int64         // panics of processors and of the dead-letter hook; errors as well
	ProcessorTimeouts int64         // calls that took longer than Config.ProcessorTimeout
	ReaderPanics      int64         // panics of what reads a shard: of the client, or under it

	RecordsSkipped      int64 // user records given up by [Skip]
	RecordsDeadLettered int64 // user records that Config.DeadLetter has taken
	DeadLetterErrors    int64 // failed calls of Config.DeadLetter, each followed by another
	Bisections          int64 // runs of records halved to find the one that fails

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
	Sleeps             int64 // times that the machine was found to have slept, or its clock to be set forward, and all leases were given up
	LeasesReleased     int64 // given up at the stop
	LeasesAssigned     int64 // given to this worker by the leader
	Assignments        int64 // of leases to workers, by this worker as the leader
	HandOvers          int64 // leases given to another worker with the last write
	Beats              int64 // writes of the row by which this worker shows that it lives
	BeatErrors         int64 // failed writes of it, each followed by another try
	PeerPauses         int64 // times that no peer has answered, and this worker has verified its leases
	PeerDeaths         int64 // workers that this one has watched and, with their other watchers, found dead
	ForeignWorkers     int64 // workers now that do not know the rules of ModeNative; no lease moves while there is one
	Leader             bool  // whether this worker gives leases to all
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

	LeasesSeen      int64 // leases of shards still to be read, at the last look of this worker
	LeasesAvailable int64 // those of them that no living worker had, though their shards could be read
	WorkersSeen     int64 // workers that had one, this one included

	BufferedBytes int64         // memory of records read and not acknowledged
	Shards        []ShardStats  // those held now, in order of the keys of their leases
	Streams       []StreamStats // those known, in order of their ids
	// StreamsDeleted are the streams whose leases were deleted because they were not
	// listed any more.
	StreamsDeleted int64
}

// StreamStats is what a worker has done for one stream. Counts only grow, as long as
// the stream is listed or has leases.
type StreamStats struct {
	Stream   string   // as it was named
	StreamID StreamID // zero if the consumer reads one stream

	// Listed tells that the tracker names the stream. One that it does not name any
	// more is known as long as it has leases.
	Listed bool

	// Missing says why a stream that is listed, or has leases, cannot be read; "" if
	// it can.
	Missing string

	Shards      int           // held now
	Calls       int64         // calls of ProcessRecords that have returned
	FailedCalls int64         // those that failed
	CallTime    time.Duration // what all took together
	Records     int64         // user records of calls that did not fail
	Bytes       int64         // their data

	// BehindLatest is that of the shard furthest behind.
	BehindLatest time.Duration
}

// ShardStats is the state of one shard that the worker reads.
type ShardStats struct {
	ShardID      string
	Stream       string        // as it was named
	LeaseKey     string        // of its lease; that is its id but with several streams
	BehindLatest time.Duration // behind the newest record, at the last delivery
	Checkpoint   Checkpoint    // as stored
	Subscribed   bool          // read over a subscription, not by polling
	Unacked      int           // user records delivered and not acknowledged
	Failures     int64         // calls that failed since one succeeded, of the processor or of Config.DeadLetter
	FailingSince time.Time     // when the first of them failed; zero if there is none: then the processor is well
	Paused       bool          // see [Consumer.Pause]
	Calls        int64         // calls of ProcessRecords that have returned, since the lease was taken
	FailedCalls  int64         // those that failed
	CallTime     time.Duration // what all took together
	Records      int64         // user records of calls that did not fail
	Bytes        int64         // their data
	Hung         bool          // a call has not returned in time, see Config.ProcessorTimeout, and not since
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
		ProcessorTime: time.Duration(s.processorTime.Load()), ProcessorErrors: s.processorErrors.Load(), ProcessorRestarts: s.processorRestarts.Load(),
		ProcessorPanics: s.processorPanics.Load(), ProcessorTimeouts: s.processorTimeouts.Load(), ReaderPanics: s.readerPanics.Load(),
		RecordsSkipped: s.recordsSkipped.Load(), RecordsDeadLettered: s.recordsDeadLettered.Load(),
		DeadLetterErrors: s.deadLetterErrors.Load(), Bisections: s.bisections.Load(),
		Reads: f.reads.Load(), EmptyReads: f.empty.Load(), ReadErrors: f.failed.Load(),
		ThrottledReads: f.throttled.Load(), ExpiredIterators: f.iteratorsExpired.Load(),
		Subscriptions: f.subscriptions.Load(), SubscriptionsInUse: f.subscriptionsInUse.Load(),
		SubscriptionsLost: f.subscriptionsLost.Load(), SubscriptionsSilent: f.silent.Load(),
		FanOutFallbacks: f.fellBack.Load(), Events: f.events.Load(), EmptyEvents: f.emptyEvents.Load(),
		LeasesTakenFree: s.leasesTakenFree.Load(), LeasesTakenExpired: s.leasesTakenExpired.Load(),
		LeasesStolen: s.leasesStolen.Load(), LeasesLost: s.leasesLost.Load(), LeasesExpired: s.leasesExpired.Load(),
		LeasesAssigned: s.leasesAssigned.Load(), Assignments: s.assignments.Load(), HandOvers: s.handOvers.Load(),
		Beats: s.beats.Load(), BeatErrors: s.beatErrors.Load(), PeerPauses: s.peerPauses.Load(), PeerDeaths: s.peerDeaths.Load(), Sleeps: s.sleeps.Load(), ForeignWorkers: s.foreignWorkers.Load(), Leader: s.leader.Load(),
		LeasesReleased: s.leasesReleased.Load(), LeasesCreated: s.leasesCreated.Load(), LeasesDeleted: s.leasesDeleted.Load(),
		Renewals: s.renewals.Load(), Checkpoints: s.checkpoints.Load(), LeaseWriteErrors: s.leaseWriteErrors.Load(),
		LostReplies: s.lostReplies.Load(), ListErrors: s.listErrors.Load(), PrepareErrors: s.prepareErrors.Load(), InvalidLeases: s.invalidLeases.Load(), ShardsEnded: s.shardsEnded.Load(),
		BufferedBytes: c.budget.inUse(), StreamsDeleted: s.streamsDeleted.Load(),
	}
	st.addSeen(c)
	c.mu.Lock()
	for _, h := range c.held {
		if h != nil {
			sh := h.stats()
			sh.Paused = c.paused[h.key] != nil
			st.Shards = append(st.Shards, sh)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(st.Shards, func(a, b ShardStats) int { return cmp.Compare(a.LeaseKey, b.LeaseKey) })
	st.Streams = c.streams.stats(st.Shards)
	return st
}

func (h *holding) stats() ShardStats {
	s := ShardStats{
		ShardID: h.shardID(), Stream: h.source.name, LeaseKey: h.key, BehindLatest: time.Duration(h.behind.Load()), Checkpoint: h.stored.Load().Checkpoint,
		Subscribed: h.subscribed.Load(), Unacked: h.tracker.waiting(),
		Failures: h.failing.Load(), Hung: h.hung.Load() > 0,
		Calls: h.calls.all.Load(), FailedCalls: h.calls.failed.Load(), CallTime: time.Duration(h.calls.took.Load()),
		Records: h.calls.records.Load(), Bytes: h.calls.bytes.Load(),
	}
	if t := h.failingFor.Load(); t != nil {
		s.FailingSince = *t
	}
	return s
}

// calls counts calls of one processor after the other, or of all of a stream.
type calls struct{ all, failed, took, records, bytes atomic.Int64 }

// count counts a call for a shard and its stream.
func (h *holding) count(b *Batch, took time.Duration, err error) {
	var bytes int64
	if err == nil {
		for i := range b.Records {
			bytes += int64(len(b.Records[i].Data))
		}
	}
	for _, c := range [...]*calls{&h.calls, h.source.calls} {
		c.took.Add(int64(took))
		if err != nil {
			c.failed.Add(1)
		} else {
			c.records.Add(int64(len(b.Records)))
			c.bytes.Add(bytes)
		}
		c.all.Add(1)
	}
}

// addSeen adds what the last look at the leases showed.
func (s *Stats) addSeen(c *Consumer) {
	l := c.looked.Load()
	if l == nil {
		return
	}
	now := time.Now()
	workers := map[string]bool{c.cfg.WorkerID: true}
	for key, o := range l.seen {
		if o.ended() || o.Invalid != nil {
			continue
		}
		s.LeasesSeen++
		switch {
		case c.holds(key):
		case o.Owner != "" && !c.silent(o, now):
			workers[o.Owner] = true
		case readable(o.Lease, l.seen):
			s.LeasesAvailable++
		}
	}
	s.WorkersSeen = int64(len(workers))
}
