// Package producer writes records to an Amazon Kinesis stream, or to streamd,
// at high rates: it packs many user records into one Kinesis record in the
// format of the Kinesis Producer Library, sends those of many shards in one
// request, retries, and tells the application the fate of every record.
//
// # The way of a record
//
//	Put ─ check ─ byte budget ─ hash key (cached MD5) ─ shard map ─ lane
//	                                                                  │
//	lane, one for each shard:   open batch (wire format) ─▶ sealed batches, FIFO
//	                                                                  │ head, one in flight
//	collector:   PutRecords request, heads of many lanes ─────────────┘
//	                  │
//	              stream ──▶ stored where predicted:   callbacks, next batch
//	                    ├──▶ not stored:               back to the head, lane waits, same bytes
//	                    └──▶ stored on another shard:  lane fenced, map refreshed (below)
//
// Put blocks only while Config.MaxBufferedBytes are taken, or all of the
// Config.Budget that several producers may share. Records that are
// put before the shards are known wait in one fenced lane that covers the
// whole hash space; the first shard map splits it as a reshard does.
//
// # Guarantees
//
// Each record that Put accepts is reported exactly once: stored, or failed
// with the reason. Delivery is at least once, because a request that timed out
// may have been stored. The records of one partition key are stored in the
// order in which they were put, through throttling, retries and reshards. The
// order rests on four invariants:
//
//   - A hash key maps to one lane.
//   - A lane has at most one aggregated record in flight. With aggregation
//     disabled it has one set of records in flight, with no partition key twice;
//     records without a key have no order.
//   - An aggregated record that may have been stored is resent with identical
//     bytes, so a duplicate is a whole Kinesis record. One that was certainly
//     refused may be cut in parts, which leave in order.
//   - A lane's next aggregated record leaves after the one before it was
//     acknowledged and its callbacks have returned.
//
// One thing loosens them, and it is not silent: a request that timed out may be
// stored late, after its resend. Stats.SequenceRegressions counts what of this
// can be seen, Config.ReorderGuard waits for it, and with the [Strict] order the
// service is told what comes after what. With a record that fails (too old,
// refused) the later ones of its key that are buffered fail, too, unless
// Config.OnFailure is [SkipOne]; with [StopKeyed] those put later as well, until
// [Producer.ResumeKey]. [Unordered] has none of all this: a lane may
// have several aggregated records in flight.
//
// # Resharding
//
// The consumers of the Kinesis Client Library discard an aggregated record as
// a whole if one of its user records has a hash key outside the shard's range.
// Therefore an aggregated record that was stored on another shard than
// predicted counts as stored only if the hash keys of all its user records lie
// in that shard's range. Otherwise all of them are sent again.
//
// When a shard of the map closes, its lane is fenced: nothing more leaves it.
// When nothing of the closing lanes is in flight, the new map is published, and
// the records of the closed lanes move, in order, before whatever was put to
// the new lanes meanwhile. Put never waits for a reshard, and the lanes of
// other shards do not stop. A new map is accepted only if it covers the hash
// space exactly once; until then the old one stays in use.
//
// While a stream refuses everything (it is not there or not active, its key is
// disabled, permission is missing, credentials have run out) the producer pauses:
// one request at a time probes it, every 30 seconds in the end, or more often
// where the cause is known to pass. Stats.PausedBy says why; records wait until
// RecordTTL, or fail at once with Config.FailIfPaused if the cause does not pass.
//
// A stream that is not found may come back with other shards of the same names.
// Therefore nothing is sent until its shards are known anew.
//
// # Streams that distribute records themselves
//
// On a stream whose record distribution strategy is AUTO a record's keys have no
// bearing on its shard. The KCL discards aggregated records there. So nothing is
// predicted on such a stream, records are not aggregated unless
// Config.AggregateOnAuto is set, the limits of all shards are taken together,
// and no order is kept; Config.Order [Strict] is refused. How a stream is
// distributed is asked at the start, once a minute, and when a record lands on
// an unexpected shard, if the API is a [Describer] and it is allowed. Else it
// shows: three sets of records that land elsewhere than complete shard maps say.
//
// # Requests
//
// With the SDK's *kinesis.Client the producer writes PutRecords requests itself,
// in JSON or, by Config.Encoding, in CBOR, into memory that the next request
// uses again; all else of the call is the SDK's, the client's middleware
// included. Any other implementation of [API] gets plain calls. So does a client
// that was given a Protocol: it goes on to speak that.
//
// # Sizes
//
// A lane that keeps up sends what came in RecordMaxBufferedTime, or while the
// record before it was in flight, up to 51,200 bytes. As soon as two aggregated
// records wait, those that follow get twice as large, up to 1,024,000 bytes or a 32nd of
// MaxBufferedBytes: one in flight is all that a lane has, so its size is the
// lane's throughput. One of 64 KiB and more that is full waits for those of other lanes
// that fill at the same pace, but no record for longer than RecordMaxBufferedTime: they
// share a request, and their MD5 is taken together. An eighth of MaxBufferedBytes may be in flight on all lanes. They
// shrink again when the lane keeps up. Config.AggregationMaxSize fixes the size.
//
// # Throttling
//
// A shard that refuses records for their rate is sent less. Each shard has a
// limit of its own, which does not exist until the first refusal: then it is 0.7
// of what the shard took, falls to 0.7 of itself with each further refusal, and
// grows by 2 % of what an ordinary shard takes a second. Producers that share a
// shard come to equal shares of it in this way, without knowing of each other.
// While a limit holds, an aggregated record has at most a quarter of the bytes
// that it allows in a second: a shard saves up for one second, and would never
// have room for a large record beside somebody's small ones. A minute after the
// last refusal the limit is gone. Config.RateLimit sets a fixed ceiling.
//
// # Compression
//
// With Config.Compression the records of a batch are compressed as the batch is
// sent, not as they are put: into a block, which is one user record of the
// aggregated record. All else stays as it is. A batch has its records as they
// were put, so whatever takes it apart, a reshard or a refusal, makes new blocks;
// an aggregated record with a block counts as stored by the hash keys of the
// records inside, and each of those has its own callback, and its own number if
// there are stamps. How many fit is learnt from the lane's last blocks. A block
// that comes out too large is divided, and the records behind wait for the next
// request. Where a block is no smaller, the aggregated record is an ordinary one.
//
// # Duplicates
//
// With Config.DuplicateStamps each user record has a number: that of its lane
// among all lanes that the producer ever had, and its own in the lane, drawn
// under the lane's mutex as it is appended. It keeps both when a reshard moves
// it, and an aggregated record holds records of one lane's numbers, in order.
// That the lanes are first in first out is what makes numbers useful to a
// reader: whatever is sent for the first time has a greater number than all
// that came before, within the range of hash keys that every lane on the
// record's way had in common. The stamp of a moved record names that range.
//
// Three things follow. When two lanes of one origin are merged into one, their
// records stay in aggregated records of their own. A record without a key keeps
// the hash key that its lane gave it once it has been sent: under another one
// its copy would come to another reader. And a single record is wrapped, for
// the stamp has no other place.
//
// # Spool
//
// With Config.Spool records that the stream does not take go to a directory, beyond
// what memory holds, and with [SpoolAlways] every record does before Put returns.
// They come to the lanes from there, in their order; new ones queue up behind them
// as long as any are on the way. What a process leaves, by a crash or because Close
// was not given the time, the next producer on the directory sends before anything
// else.
//
// # Encoder and hooks
//
// Config.Encoder stands before the check of a record: what it makes is what counts
// and what is packed. Config.Hooks are told of records, Kinesis records, requests,
// retries and reshards, by small interfaces that a hook implements as it likes.
// None of it costs anything that is not used.
//
// # Locks
//
// Each lane has a mutex, held for an append or a hand-over. Inside it only the
// flush tracker's mutex and a limit's are taken, one at a time. Nothing is
// locked during a callback, a request or a wait.
package producer
