// Package agent tails files into Kinesis streams. It reads the agent.json of the
// official Kinesis Agent, and keeps what that one may lose: the rest of a file
// that was rotated away, a batch that failed while a later one succeeded, a last
// line without an end.
//
//	cfg, warnings, err := agent.LoadConfig("/etc/aws-kinesis/agent.json")
//	a, err := agent.New(cfg, func(f agent.FlowConfig, memory int64) (agent.Sink, error) {
//		return producer.New(client, f.KinesisStream, producer.Config{RecordTTL: -1})
//	})
//	err = a.Run(ctx)
//
// # The path of a line
//
//	directory ─ scan ─▶ file (a generation: inode, birth, prefix, marker)
//	                      │ poll or event: it grew
//	                      ▼
//	                    turn: read up to one chunk ─ the bytes before must be those read last
//	                      │
//	                      ▼
//	                    cut: lines, header, multi-line, options, key ─▶ span = range of the file
//	                      │
//	                      ▼
//	      sender ─ PutBatch ─▶ sink           failed: kept, sent again, later spans wait
//	                             │ acknowledged, in any order
//	                             ▼
//	                    committed = end of the leading run of acknowledged spans
//	                      │ once a second
//	                      ▼
//	                    checkpoint file: append, fsync
//
// One goroutine a flow, its loop, owns the files and does everything down to the
// span. It never waits for the sink: while that has no room, files are still
// found, followed and held open. A chunk goes back to the pool when its spans are
// acknowledged; when the pool is empty, reading stops. That is the back-pressure,
// and all the memory there is.
//
// The reading position is always the start of a record, so nothing is carried
// from one chunk to the next: what a chunk ends with is read again.
//
// # Guarantees
//
//   - G1. A byte that was readable through a handle or a path that the agent had
//     discovered is delivered at least once, or counted as lost under a reason:
//     truncated, missing, oversize, hole.
//   - G2. A stored position never passes a record that is not acknowledged, left
//     out by configuration, or dropped by an explicit rule.
//   - G3. After a kill, records are repeated that were acknowledged since the last
//     checkpoint, a second by default, or were on their way. After a graceful stop
//     with a stream that answers, none.
//   - G4. Memory is bounded by Config.MaxMemoryBytes, whatever the number of files,
//     the length of lines, or the state of the stream. A single record larger than
//     a flow's share is read all the same.
//   - G5. No error in a file or a flow stops another.
//
// With KeyFile the records of a file have one partition key, which survives
// renames and restarts, so they keep their order; only records that a stream
// refuses for good, and takes later, come after others that it took at once.
//
// # Which file is which
//
// A file that is found is compared with what is known. The inode with the same
// content is the same file, whatever its name. The same inode with other content
// is a file that was truncated or an inode that was given again: a new generation,
// read from its start. Another inode with the content of a generation that has
// just lost its own is its copy, as copytruncate makes it, or the file moved from
// another file system: reading goes on in it. A file that begins as a live one
// does, under a longer name, is left alone until it is clear which of these it is,
// for RotateWait at most after its last growth.
//
// Two cases remain where records arrive twice: a copy that is made within the
// agent's very first look at a directory, and the copy of a file of less than 64
// bytes that is truncated much later. None is known where they are lost silently:
// a file that is truncated and filled again with the same first 1024 bytes and
// the same 64 bytes before the reading position cannot be told from one that
// grew, by this or any other tailer.
//
// # Limits
//
// Compressed files are not read, so what was unread when a file was compressed in
// place counts as missing once its handle is gone, after a restart. A flow has one
// directory; its pattern is for names. LOGTOJSON and a few other options are
// refused with a message.
package agent
