// Package blockrec writes and reads block records: user records that hold many
// logical records, compressed together.
//
//	0             4       5                              (crc)
//	+-------------+-------+---------+------------+-------+--------------------+
//	| B5 5A 4B 01 | codec | count   | raw length | crc   | payload, to the end|
//	+-------------+-------+---------+------------+-------+--------------------+
//	  magic         1 B     uvarint   uvarint      4 B
//
// codec is 0 for none, 1 for Zstandard, 2 for S2 (the block format, without a
// stream around it). crc is the CRC-32C, little-endian, of codec, count, raw
// length and payload. The payload is the compressed form of raw length bytes,
// at most 10 MiB: an AggregatedRecord message as package aggregation describes
// it, with the keys and the data of count records. A Zstandard payload is one
// frame that says its content's size.
//
// # Where a block lies
//
// A block is a user record of an aggregated record, and nothing else: data with
// the magic that comes as a Kinesis record of its own is what it is. Readers
// that do not know blocks see one opaque user record. Its partition key and
// explicit hash key are for them; they name a place in the shard and say nothing
// of what is inside.
//
// A reader that opens blocks takes the records out first, and then treats each
// as if it had been in the aggregated record itself: it is filtered by its own
// hash key and has a number of its own in its lane (aggregation.Stamp). The
// first record of a block has the number of the user record that is the block,
// the others count on from it, with gaps as in an aggregated record; the block
// as such has none, and must not leave a mark. A stamp inside does not count.
//
// All records of a block have the same index in the aggregated record, the
// block's. A position between two of them cannot be told to a reader that does
// not open blocks.
//
// A producer that finds a block on another shard than it predicted treats it as
// it does an aggregated record: unless the hash keys of all its records lie in
// that shard, it takes the block apart and makes new ones.
package blockrec
