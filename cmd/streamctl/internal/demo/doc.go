// Package demo shows the whole product at work on real text, with real
// processes, through splits, merges and kills, and judges the outcome.
//
// # The way of a line
//
//	input ─ Replayer ┬ app-N.log, rotated by rename ─ streamagent ─┐
//	                 └ stdin of the logging service ─ zap, appender ┴▶ stream ─ two workers ─ receipts
//	                 │                                                                        │
//	                 └ Ledger: file, line, hash of what was written          Judge ◀──────────┘
//
// Each line carries its identity, so that nothing has to be counted on the
// way: "f<file> <line> <text>", where file numbers a file from its creation
// through its rotation to its end, and lines start at 1 in each. The logging
// service is file 0.
//
// # Receipts
//
// A worker appends what it was given to a file of its own, in one write for
// each batch and before it acknowledges the batch. So a kill loses no receipt
// of an acknowledged batch; a torn frame at the end belongs to a batch that
// another worker will get. A frame is, in little endian:
//
//	u32 length of the payload
//	u32 CRC-32C of the payload
//	payload: i64 time, u8 length and text of the shard id, then groups
//	group:   u8 length and text of the sequence number, u32 n, n deliveries
//	delivery: u32 file, u32 sub-sequence number, u64 line, u64 hash
//
// The time orders the frames of different workers. It comes from a clock that
// all processes of the machine share.
package demo
