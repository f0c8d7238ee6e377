// Package logappender sends a program's log to a stream: a core for zap, a
// handler for log/slog and a writer for everything else, over one producer.
//
// # The way of an entry
//
//	log call ─ encode ─ lock, copy, unlock ─ open chunk ─▶ full, or older than Linger
//	                        │ no room: dropped, counted         │
//	                        ▼                                   ▼
//	                   gap record                drainer ─ PutBatch ─▶ producer ─▶ stream
//	                                                            │ callback: accounts, memory free
//
// # Promises
//
//   - P1: A log call does no I/O and never waits for the network. The worst
//     case is one short mutex and a copy. There are two exceptions: the policy
//     [Block], which waits for Config.BlockTimeout at most, and Panic and
//     Fatal entries, which wait for Config.FatalTimeout and as long again (a
//     second at least) for Config.Fallback.
//   - P2: Memory is bounded in bytes, by Config.BufferBytes, whatever the size
//     of entries. Beside it there are at most one open chunk, 16 empty ones,
//     and 64 KiB for Panic and Fatal entries. The producer has its own bound.
//   - P3: Every entry is exactly one of delivered, dropped (with a reason),
//     lost or pending. [Stats] shows the four, and at any moment they add up
//     to the accepted ones.
//   - P4: A drop is visible three ways: in Stats, in a gap record in the stream,
//     and in a [*DropError] to Config.OnError, at once and then every ten
//     seconds at most. It is never an error of the log call.
//   - P5: The last entry before a Panic or Fatal is delivered or written to
//     Config.Fallback when the process dies, if either works in time. For it
//     there is room beyond the budget.
//   - P6: Nothing that the appender says about itself can come back into it.
//     It has no logger. Entries of loggers named [ReservedLoggerName] are
//     dropped and counted. Give the producer slog.New(slog.DiscardHandler) as
//     its logger, or one that ends elsewhere, and likewise the SDK's client.
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
// # Caveats
//
//   - os.Exit, a signal and a crash of the runtime run nothing of the appender's.
//     Call Close in main, and before it returns. What was not delivered is
//     gone.
//   - slog has no Fatal: call Flush or Close before the program gives up.
//   - A panic may be recovered. Its entries are then in Config.Fallback and
//     still on their way to the stream, pending in the accounts.
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
// their own; the writer's is held around Appender.mu, never the other way.
//
// # Leaving memory
//
// An accepted entry leaves memory undelivered in three places: as the victim of
// DropOldest, in the failed part of a delivery, and in the tail at Close. All
// work on chunks, whose bytes do not change once they are closed; keeping
// entries on disk instead would begin there.
package logappender
