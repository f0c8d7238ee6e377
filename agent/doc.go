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
//     truncated, missing, deleted, oversize, hole, unparsed, expired.
//   - G2. A stored position never passes a record that is not acknowledged, left
//     out by configuration, or dropped by an explicit rule.
//   - G3. After a kill, records are repeated that were acknowledged since the last
//     checkpoint, a second by default, or were on their way. After a graceful stop
//     with a stream that answers, none.
//   - G4. Memory is bounded by Config.MaxMemoryBytes, whatever the number of files,
//     the length of lines, or the state of the stream. Flows share it: each has room
//     for two chunks of its own, the rest is for who needs it. A single record larger
//     than what a flow may have is read all the same.
//   - G5. No error in a file or a flow stops another.
//
// With KeyFile the records of a file have one partition key, which survives
// renames and restarts, so they keep their order; only records that a stream
// refuses for good, and takes later, come after others that it took at once.
//
// # Which file is which
//
// A file that is found is compared with what is known. The inode with the same
// content is the same file, whatever its name; at a start, so is the inode with the same
// path, size and time of change of a file that was delivered to its end, which is not
// opened to be compared before there is time for that. The same inode with other content
// is a file that was truncated or an inode that was given again: a new generation,
// read from its start. Another inode with the content of a generation that has
// just lost its own is its copy, as copytruncate makes it, or the file moved from
// another file system: reading goes on in it. A file that begins as a live one
// does, under a longer name, is left alone until it is clear which of these it is:
// for RotateWait at most after its last growth, or, while the other can neither be read
// nor looked at, for twelve times as long.
//
// Cases remain where records arrive twice without a crash, all of a file that is copied
// and then truncated:
//   - it is truncated later than RotateWait after the copy was whole, or the copying took
//     twelve times as long;
//   - it is closed when that happens, on a network file system or because others take all
//     of MaxOpenFiles, and cannot be opened for twelve times RotateWait;
//   - it has less than 64 bytes, or nothing of it has been read, or the copy is found while
//     it has less than 64 bytes, and the name of the copy is not one that rotation makes of
//     a name, by adding to its end or before its extension.
//
// None is known where they are lost silently:
// a file that is truncated and filled again with the same first 1024 bytes and
// the same 64 bytes before the reading position cannot be told from one that
// grew, by this or any other tailer.
//
// # Where the rest of a file is looked for
//
// A file that lost its name is read through its open handle, wherever it went. One
// that was rotated while the agent did not run, or truncated before it was read, is
// looked for by its content for RotateWait: among the files of the flow, under names
// like its own in the same directory and in RotatedDirs, and in compressed files
// (.gz), which are read from the place that was reached. What is not found is counted
// and logged; while a directory in which it may be cannot be looked at, that waits.
//
// # Directories and events
//
// Patterns may name many directories, and new ones. A scan of them is what counts;
// the system's file events only make it come sooner, and a directory that gives none
// is polled: on network file systems, when the system has no more watches, when
// events are lost. On a network file system files are closed once they are read, and
// are what their path and content say.
//
// Of the files that are read to their end, those that have been quiet for longest are
// closed when more than MaxOpenFiles are open. A deleted file of which nothing is
// read for CloseDeletedAfter is closed, so that a stream that never answers does not
// fill the disk; what is lost by that is counted as deleted.
//
// # Limits
//
// A file that came, was filled and compressed while the agent did not run is not
// read: only the rest of a known one is. The target of a symbolic link is followed by
// its handle; targets that are swapped faster than the agent looks, 50 ms with file
// events, are not noticed unless their own names match. On Windows a file is known by
// its path and content alone.
// Regular expressions of the configuration are Java's as far as Go can do them;
// what it cannot do is refused by name.
package agent
