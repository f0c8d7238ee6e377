// Package logappender sends a program's log to a stream: a core for zap, a
// handler for log/slog and a writer for everything else, over one producer.
//
// # The way of an entry
//
//	log call ─ encode ─ lock, copy, unlock ─ open chunk ─▶ full, or older than Linger
//	                        │ no room: dropped, counted         │
//	                        ▼                                   ▼
//	                   gap record                drainer ─ PutBatch ─▶ producer ─▶ stream
//	                                                │           │ callback: accounts, memory free
//	                 the circuit is open, or always │           │ not stored, for no fault of its own
//	                                                ▼           ▼
//	                                              disk (Config.SpillDir) ─ replayer ─ PutBatch ─▶
//
// # Promises
//
//   - P1: A log call does no I/O and never waits for the network. The worst
//     case is one short mutex and a copy. There are two exceptions: the policy
//     [Block], which waits for Config.BlockTimeout at most, and Panic and
//     Fatal entries, which wait for Config.FatalTimeout, the disk of
//     Config.SpillDir included, and if that fails as long again (a second at
//     least) for Config.Fallback.
//   - P2: Memory is bounded in bytes, by Config.BufferBytes, whatever the size
//     of entries. Beside it there are at most one open chunk, 16 empty ones,
//     and 64 KiB for Panic and Fatal entries; with a spill some MiB for what is
//     written and read back, and 100 bytes for each chunk on disk. The producer
//     has its own bound.
//   - P3: Every entry is exactly one of delivered, dropped (with a reason),
//     sampled (left out for Config.Sample), lost, pending or spilled. [Stats]
//     shows the six, and at any moment they add up to the accepted ones.
//   - P4: A drop is visible three ways: in Stats, in a gap record in the stream,
//     and in a [*DropError] to Config.OnError, at once and then every ten
//     seconds at most. It is never an error of the log call.
//   - P5: The last entry before a Panic or Fatal is delivered, on the disk of
//     Config.SpillDir and synced, or else written to Config.Fallback when the
//     process dies, if one of them works in time. For it there is room beyond
//     the budget.
//   - P6: Nothing that the appender says about itself can come back into it.
//     It has no logger. Entries of loggers named [ReservedLoggerName] are
//     dropped and counted. Give the producer slog.New(slog.DiscardHandler) as
//     its logger, or one that ends elsewhere, and likewise the SDK's client. New
//     refuses a producer that logs to the default of log/slog, or into an
//     appender over itself.
//
// # Gap records
//
// Where entries are missing, the stream holds a record in their place,
// once for each gap:
//
//	{"level":"warn","ts":1764115200.5,"logger":"logappender","msg":"log records dropped",
//	 "dropped":12,"by_level":{"info":12},"reason":{"full":12},"from":"…","to":"…"}
//
// A gap ends when ordinary entries find room again. Entries from Warn up, which
// have a reserve, do not end it. Drops as [DropSelf] and [DropClosed] make no
// gap. A gap record can fail like any other; Stats has the truth.
//
// Where Config.Sample has left entries out, the record says "log records sampled",
// has "sampled" for "dropped" and no reason, and comes once the buffer is half as
// full as where sampling begins.
//
// # Spill
//
// With Config.SpillDir, entries that the stream does not take go to the disk. The
// circuit opens after five batches in a row of which the stream has stored nothing,
// when an entry has been pending for ten seconds, or when half of the buffer is used.
// The producer gets a quarter of it at most: what it has accepted cannot go to the
// disk. The rest is for what is logged until the disk has taken what waits, 2.6 s at
// 5 MB/s with the default of 32 MiB. While the circuit is open every chunk goes there,
// a PutBatch that blocks is cancelled for it, and what the producer gives back goes
// there too, unless it is the entry's own fault. The replayer tries its first batch
// again and again, after 1 s to 30 s: the first success closes the circuit. Log
// calls never touch the disk, but for those of Panic and Fatal. What is on disk at
// the end of the process the next one sends.
//
// Of each chunk on disk some 100 bytes stay in memory: with the default Linger that is
// up to 85 MB for a day of an outage, if something is logged all the time and little.
// A longer Linger makes fewer chunks.
//
// What dies with the process, and what does not:
//
//	              end by …          without a spill   SpillOnPressure     SpillAlways
//	stream works  Fatal, Panic,
//	              HandleSignals     delivered         delivered           delivered or on disk
//	              Close             delivered         delivered           delivered
//	              os.Exit, SIGKILL  what is in        what is in          the last Linger
//	                                memory is lost    memory is lost      is lost
//	stream down   Fatal, Panic,
//	              HandleSignals     in Fallback       on disk             on disk
//	              Close             in Fallback       on disk             on disk
//	              os.Exit, SIGKILL  lost              on disk, but for    on disk, but for
//	                                                  what is in memory   the last Linger
//
// What a killed process has handed to the producer may be sent again by the next:
// of what was replayed, and so under SpillAlways of everything, that is one batch,
// of a MiB or little more.
//
// The order among entries of a key is that of the log under SpillAlways, and under
// SpillOnPressure as long as the stream takes them. In an outage those in memory and
// those from the disk come in two rows, each in its order; what the producer has
// given back comes behind what was spilled before. Where a stream stores only a part
// of a batch the rest comes later.
//
// A disk that is full or fails is reported in a [*SpillError], and tried again after
// 30 seconds; meanwhile the appender works as if it had none. When SpillMaxBytes are
// used the oldest file goes, and what was in it counts as [DropSpillFull]. What an
// earlier process has left and the disk has damaged is reported in a [*SpillError] too,
// and counted as Stats.SpillMissing as far as their number is known. It is not where
// the file was still written when the process was killed, and ends behind a block: that
// looks as if it never had more.
//
// # Caveats
//
//   - os.Exit, a signal and a crash of the runtime run nothing of the appender's.
//     Call Close in main, and before it returns, and have Appender.HandleSignals
//     catch SIGTERM. What was not delivered is gone, unless it was on disk.
//   - slog has no Fatal: give a level the meaning with Appender.FlushOnLevel, or
//     call Flush or Close before the program gives up.
//   - A panic may be recovered. Its entries are then in Config.Fallback and
//     still on their way to the stream, pending in the accounts. With a spill
//     they are on disk as copies, which the program acknowledges as it delivers
//     them; those that it has not read back by its Close are sent again by the
//     next.
//   - A spill directory belongs to one stream. Nothing stops a program from using
//     it for another.
//   - Delivery is at least once, as the producer's is. An entry counted as lost
//     at Close may yet be stored if its request was under way.
//   - Under [DropOldest] whole chunks go, with the errors in them. The reserve
//     for Warn and above protects them under the other policies.
//   - A sampler wraps cores: zap's production configuration samples before this
//     package sees an entry, and does not count here.
//   - A WithAttrs value of slog may be formatted again when calls overlap, so
//     it should not change.
//   - In a Tee, Sync calls the cores in turn: put this one last.
//   - Keys from many users or requests hinder aggregation; [RandomKey] does
//     not.
//
// # Locks
//
// Appender.mu guards the buffer and the accounts. Nothing is encoded, called,
// or waited for while it is held. A slog handler and a writer have a mutex of
// their own; the writer's is held around Appender.mu, never the other way. The
// spool logs under its lock, which comes to Appender.mu: none of its methods is
// called while that is held.
package logappender
