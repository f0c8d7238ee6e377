// Package firehose writes records to a delivery stream of Amazon Data Firehose.
// It has the surface of package producer, whose records, results and errors it
// takes and gives: Put, TryPut, PutSync, PutBatch, Flush, Close, Abort, Stats.
//
// # The way of a record
//
//	Put ─ check ─ byte budget ─ open Firehose record ─ full, or Config.RecordMaxBufferedTime ─▶ queue
//	                                                                                     │ oldest first
//	PutRecordBatch request, as many at once as the delivery stream bears ◀───────────────┘
//	          │
//	          ├──▶ stored:      callbacks
//	          └──▶ not stored:  back to the head of the queue, same bytes
//
// # Packing
//
// Firehose bills each record as if it had a multiple of 5 KB, and bounds the
// records in a request and in a second. So many user records share a Firehose
// record, each followed by Config.Delimiter, a newline. Firehose writes its
// records to a file one behind another, so that what is in the file is the same,
// packed or not.
//
// Destinations that look into a record see the difference. Set
// Config.DisableAggregation for Amazon OpenSearch Service and Apache Iceberg,
// which want one JSON document in a record, and where a Lambda function that
// transforms records expects the same. Where dynamic partitioning takes records
// apart, set Config.AggregationMaxCount to 500: that is how many it finds.
//
// # Guarantees
//
// Each record that Put accepts is reported exactly once: stored, or failed with
// the reason. Delivery is at least once, because a request that timed out may have
// been stored. User records that share a Firehose record share its fate, unless
// the service refuses it for what it holds; then it is taken apart until the one
// at fault is found.
//
// There are no shards, and no order: records go in the order of their Puts as
// long as nothing fails and no two requests are under way together. Partition keys
// and explicit hash keys are ignored.
//
// # Throttling
//
// A delivery stream takes so many bytes, records and requests in a second, and
// answers ServiceUnavailableException to what is beyond. From then on the producer
// keeps to a rate: seven tenths of what was stored in a second, or of the rate so
// far, and more by and by as long as nothing is refused. So several producers share
// a delivery stream without a storm of retries.
//
// # Locks
//
// One mutex guards the open record, the queue and what is under way; nothing else
// is locked inside it, and it is not held during a callback, a request or a wait.
package firehose
