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
//	Record            1: index into the first table (uint64, required)
//	                  2: index into the second table (uint64, optional)
//	                  3: data (bytes, required)
//	                  4: Tag (repeated; never written, skipped when read)
//	Tag               1: key (string, required)   2: value (string, optional)
//
// [Builder] writes the fields in this order, because hand-written readers of
// the format exist that know no other. [Walk] accepts any order and skips
// unknown fields, as a protocol buffer library does.
//
// Source: awslabs/amazon-kinesis-producer, aggregation-format.md and
// messages.proto.
package aggregation
