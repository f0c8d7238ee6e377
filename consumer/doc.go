// Package consumer reads a Kinesis stream with a fleet of workers, in the way
// of the Kinesis Client Library (KCL), and can share its lease table.
//
//	c, err := consumer.New(kinesisClient, leaseStore, "orders-app", "orders",
//		func(s *consumer.Shard) (consumer.Processor, error) {
//			return &myProcessor{shard: s}, nil
//		}, consumer.Config{})
//	…
//	err = c.Run(ctx) // until ctx ends
//
// # Words
//
// A worker is a process of the application; to be exact, one running [Consumer],
// of which a process usually has one. A lease is the right to read one shard;
// leases are kept in a [LeaseStore]. A shard consumer is the part of a worker that
// reads one shard under one lease: a worker has as many as it holds leases.
//
// # Parts
//
//	lease store ─ table: list, observe ─ rules of the mode ─▶ take ─▶ shard consumer, one for each lease held
//
//	shard consumer:  reader ─ fetch, byte budget, de-aggregate, range filter, marks ─▶ batch
//	                 processor ◀─ one batch at a time       acks ─▶ tracker: contiguous place
//	                 keeper ─ renewal or checkpoint, one conditional write at a time ─▶ lease store
//
// A shard consumer goes through these states:
//
//	         ┌──────────── lease lost ────────────▶ LeaseLost
//	taken ─▶ initializing ─▶ processing ─▶ stop ──▶ ShutdownRequested ─▶ checkpoint and release, one write
//	                             ├──▶ Restart, panic, time over ▶ another processor, initializing
//	                             └──▶ shard's end ▶ ShardEnded ─▶ children created ─▶ SHARD_END and release, one write
//	                                                                                   └─▶ children taken
//
// # Invariants
//
//   - No record is skipped. The stored checkpoint passes a record only when it
//     is acknowledged, together with all before it in its shard. A processor
//     that fails is called again with the same batch.
//   - Every write of an owner is conditional on owner and counter, and moves
//     the counter. A worker that lost its lease without knowing cannot move the
//     checkpoint.
//   - A write that failed may have been done. After a conflict the stored lease
//     decides: the next counter with this process's incarnation is our own
//     write.
//   - A lease is trusted for 0.9 of Config.FailoverTime from before the last
//     write known to be done was sent. Others wait the whole of it from when
//     they saw the write's effect. No clock is compared with another; only the
//     rates must agree, to 5 %. (A machine that sleeps may stop its monotonic
//     clock; its worker can then repeat records, but not move a checkpoint.)
//   - A shard is read only when all its parents that have a lease are at
//     SHARD_END. That is stored after the children's leases were created, so
//     the leases cover all hash keys at all times.
//
// # Retrieval
//
// Config.RetrievalMode chooses. Polling reads at once while records wait, and
// else every 200 ms to one second. It holds back only when the service refuses
// a read: from then on it keeps to a rate that refusals halve and time lets grow.
//
// Fan-out subscribes to each shard. A subscription is replaced before the
// service ends it, and after 35 s of silence, and goes on at the number that its
// last event named; that number is also a place to checkpoint, so the lease of a
// shard that nothing is put into stays near the shard's end. A subscription is
// not opened within five seconds of the one before, which the service would
// refuse. What the processor does not take is left on the service's side.
//
// Mixed subscribes where it can and polls where it cannot, see [RetrievalMixed].
//
// # Delivery
//
// Every record is delivered at least once, and in order within its shard and
// its partition key. With a planned stop none is delivered twice. After a
// crash, or when another worker steals a lease for balance, records that were
// delivered since the last checkpoint are delivered again.
//
// Copies that the producer makes are another matter: a request whose answer is
// lost is sent again, and so are records that a reshard brought to another shard.
// With Config.DropDuplicates such copies are dropped, if the producer stamps its
// records. What is known of stamps belongs to a place in the shard; it is written
// with the checkpoint in one write, and a child begins with what its parents knew
// at their ends. Marks that do not fit the checkpoint, as after somebody has set
// it back, are not used: then copies may come, and nothing is lost.
//
// [NewReader] is for those who would rather loop over records than be called with
// them.
//
// # Several calls at a time
//
// A shard has one call of ProcessRecords at a time, unless Config.KeyConcurrency asks
// for more: then records go by their partition keys into lanes. Those of a key stay
// in order; the checkpoint is the place up to which all lanes are done. At the stop
// the lanes come to where the first of them is, so that nothing comes twice; what none
// has begun with is left to the next owner. The lanes of all shards share
// Config.MaxBusyLanes calls.
//
// [Consumer.Pause] holds the records of a shard back. [Shard.Token] is for sinks that
// want to refuse a worker that has lost its lease. Config.OnAssigned, OnRevoking and
// OnLost tell of leases apart from processors.
//
// # Peers
//
// Under [ModeNative] with Config.PeerAddr, workers hold connections to each other:
// each sends a beat to three others every 250 ms. The shards of a worker whose process
// has ended are read elsewhere after half a second, those of one whose host is lost
// or cut off after two, without more writes to the lease store. What peers say only
// makes the leader look, and take leases sooner; the store decides, as ever.
//
// A worker that none of its peers answers for 1.2 s hands nothing to its processors
// until it has written to each of its leases, so that two do not work on one shard.
// What it cannot write to within 150 ms it gives up, with the contexts of its
// processors. If it is only the peers that cannot be reached, it goes on, and the lease
// store alone shows that it lives.
//
// Peers must reach each other at the addresses that they publish. They know each other
// by secrets in the lease store; Config.PeerTLS encrypts what they say, which is names
// of workers and leases.
//
// # Failures of processors
//
// A processor says by its error what is to become of what it failed on:
//
//	plain error, Retry   the same batch again, after 100 ms … 30 s, for ever
//	Skip(rec, err)       rec is given up, the rest comes again
//	DeadLetter(rec, err) rec goes to Config.DeadLetter, and when that has it, the rest comes again
//	Stop(err)            the worker stops, Run returns the error
//
// Config.BisectAfter finds by halving the one record that makes a batch fail. Each
// shard is on its own: while one fails, the others go on. A processor that panics,
// or is told by the end of its context that it takes too long
// (Config.ProcessorTimeout), is replaced by another, which reads on from what is
// acknowledged; so is one whose reader has died. If that happens again and again
// without a record acknowledged, the pauses grow from 100 ms to 30 s. All is in
// [Stats], and [ShardStats] tells since when a shard is not well.
//
// # Checkpoints
//
// What ProcessRecords has returned nil for is acknowledged, and stored within
// Config.CheckpointInterval. A processor that works on after its return calls
// [Batch.Detach], and [Record.Ack] for each record; no more than Config.MaxUnacked
// of them are outstanding. One that must know when a
// checkpoint is stored calls [Shard.Commit] or [Shard.CommitTo]; with
// Config.ExplicitCheckpoints only these acknowledge, and [Shard.Prepare] stores one
// in two halves.
//
// # Several streams
//
// [NewMultiStream] reads several streams with one worker: one share of all their
// shards, one bound on memory, one set of leases. Which streams, a [StreamTracker]
// says, again each minute. A lease in the store is read by whichever worker has it,
// also when its list does not name the stream: so the list of one worker may be a
// little older than that of another. The list decides which leases are made, and
// which are deleted.
//
// A stream is known by account, name and the moment of its creation, so one that was
// deleted and created again under its name is another stream: the old leases are let
// go as soon as that is noticed, which reads that fail bring about, and deleted after
// Config.FormerStreamsWait.
//
// # Sharing the table with the official library
//
// Leases have the KCL's attributes. The attributes of this package's own, g_inc,
// g_latest_since, g_busy and g_marks, are ignored by it. By which rules workers share the
// leases is Config.Mode; by itself a worker finds out what fits the table.
//
// By the rules of versions 1 and 2, [ModeKCL2], each worker looks at all leases,
// takes what is free and steals what others have too many of.
//
// By those of version 3, [ModeKCL3], one worker leads: it assigns leases to workers
// whose rows are up to date, each lease once it is free or has not been renewed for
// Config.FailoverTime, and has workers that have too much hand leases over. A worker
// finds its leases by an index, within Config.FailoverTime, and never takes one. One
// that learns that its lease is to go elsewhere finishes what it has begun, and lets
// it go in the write that stores the last checkpoint: nothing is delivered twice.
// Leader, rows and index are those of the official library, whose workers may lead
// or be led. While they move to another way of sharing, one of them leads. When they
// change from 2.x to 3.x, that is ended by the one worker that is elected by the rules of 2.x:
// by one of this package under [ModeAuto] too, see Config.UpgradeWait.
//
// [ModeNative] is for workers of this package alone; it costs fewer writes and moves
// leases without delivering anything twice. It is what a new application gets. If a
// worker of the official library appears nevertheless, that is logged as an error and
// shows in [Stats], and no lease is given to anybody until it is gone.
package consumer
