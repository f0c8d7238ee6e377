// Package aggregation writes and reads aggregated records: Kinesis records that
// hold many user records, in the format of the Kinesis Producer Library.
//
//	offset 0            4                            N-16            N
//	       +------------+----------------------------+---------------+
//	       | F3 89 9A C2| body: AggregatedRecord     | MD5 of body   |
//	       +------------+----------------------------+---------------+
//
// The body is a protocol buffer (proto2) of three message shapes:
//
//	AggregatedRecord  1: partition key (string, repeated: a table)
//	                  2: explicit hash key (string, repeated: a table)
//	                  3: Record (repeated)
//	                  100: Stamp (optional, ours)
//	Record            1: index into the first table (uint64, required)
//	                  2: index into the second table (uint64, optional)
//	                  3: data (bytes, required)
//	                  4: Tag (repeated; never written, skipped when read)
//	                  15: gap (uint64, optional, ours)
//	Tag               1: key (string, required)   2: value (string, optional)
//	Stamp             1: producer (8 bytes)
//	                  2: lane (uint64)
//	                  3: sequence of the first record (uint64)
//	                  4: range of hash keys (start and end, 16 bytes each,
//	                     big-endian; absent means all)
//
// [Builder] writes the fields in this order, because hand-written readers of
// the format exist that know no other. [Walk] accepts any order and skips
// unknown fields, as a protocol buffer library does.
//
// # Stamps
//
// Delivery is at least once: a request that timed out may have been stored, and
// a reshard makes the producer send whole aggregated records again. Stamps let
// a reader tell the copies. They are in fields that other readers skip.
//
// A producer has a lane for each shard, first in first out, with one aggregated
// record under way. A record takes the lane's next number as it is put, and
// keeps it, with the number of that lane, wherever it is sent from later. An
// aggregated record has records of one such origin, in order; the first has the
// stamp's sequence, each other one the next number, or the gap more, where
// records in between are missing or were sent elsewhere.
//
// When a reshard divides a lane, its records go on in several, and what comes
// first between two of those is chance, even if a later reshard joins their
// shards. Therefore the stamp of a moved record has a range: that of every lane
// that the record has been in, cut down to what they have in common. Within it
// the order holds. It does not shrink to nothing, because a record goes where
// its hash key belongs.
//
// [Marks] is what the reader of a shard keeps.
//
// Source of the format without stamps: awslabs/amazon-kinesis-producer, aggregation-format.md and
// messages.proto.
package aggregation
