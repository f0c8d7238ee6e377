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
// A worker is one running [Consumer], usually one in a process. A lease is the
// right to read one shard; leases are kept in a [LeaseStore]. A shard consumer
// is the part of a worker that reads one shard under one lease.
//
// # Parts
//
//	lease store ─ assigner: list, observe, plan ─▶ take ─▶ shard consumer, one for each lease held
//
//	shard consumer:  reader ─ fetch, byte budget, de-aggregate, range filter, marks ─▶ batch
//	                 processor ◀─ one batch at a time       acks ─▶ tracker: contiguous place
//	                 keeper ─ renewal or checkpoint, one conditional write at a time ─▶ lease store
//
// A shard consumer goes through these states:
//
//	         ┌──────────── lease lost ────────────▶ LeaseLost
//	taken ─▶ initializing ─▶ processing ─▶ stop ──▶ ShutdownRequested ─▶ checkpoint and release, one write
//	                             ├──▶ Restart ▶ another processor, initializing
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
// # Checkpoints
//
// What ProcessRecords has returned nil for is acknowledged, and stored within
// Config.CheckpointInterval. A processor that works on after its return calls
// [Batch.Detach], and [Batch.Ack] for each record. One that must know when a
// checkpoint is stored calls [Shard.Commit] or [Shard.CommitTo]; with
// Config.ExplicitCheckpoints only these acknowledge.
//
// # Sharing the table with the official library
//
// Leases have the KCL's attributes, and the rules are those of its versions 1
// and 2; see [ModeKCL2]. The attributes of this package's own, g_inc, g_latest_since
// and g_marks, are ignored by it.
package consumer
