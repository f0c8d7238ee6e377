// Package seglog is an append-only file of checksummed records: what the agent
// keeps its positions in, and what a spool or a spill of records is made of. It
// stores payloads in order, gives them back in order, and tells apart the three
// ways in which such a file can end.
//
// # Format
//
// All integers are little-endian. A file is a header and frames behind it,
// without gaps.
//
//	header, 32 bytes
//	 0        4      5           8      12          16          24         28         32
//	 +--------+------+-----------+------+-----------+-----------+----------+----------+
//	 | "SKSL" | ver  | zero      | kind | zero      | salt      | zero     | crc      |
//	 +--------+------+-----------+------+-----------+-----------+----------+----------+
//
//	frame, 16 bytes and the payload
//	 0          4          8          16
//	 +----------+----------+----------+------------------------+
//	 | length   | crc      | synced   | payload, length bytes  |
//	 +----------+----------+----------+------------------------+
//
//	ver     version of the format, 1
//	kind    four bytes that the caller chooses, so that one kind of log is never
//	        read as another
//	salt    random for each file, so that blocks of an older file that the file
//	        system left in the tail never pass for frames
//	crc     of the header: CRC-32C of its first 28 bytes. Of a frame: CRC-32C of
//	        salt, offset of the frame in the file, length, synced, payload. With
//	        the offset in it, a payload that itself contains a log is no danger.
//	length  at least 1, at most [MaxPayload]
//	synced  the size up to which the file was known to be durable when the frame
//	        was written
//
// # Three ends
//
// A clean end: the last frame ends where the file ends.
//
// A torn tail: behind the last good frame lie bytes that make no frame, and
// nothing behind them proves that they had been durable. That is what a crash
// leaves; the bytes were never acknowledged by a Sync. [Open] keeps them in
// FILE.torn if the disk has room, cuts them off and goes on.
//
// Damage: a bad frame, and behind it a good one whose synced field says that the
// bad one had been durable. Or a bad header. No crash does that, so [Open] changes
// nothing and returns a [CorruptError].
//
// # Failed writes
//
// A failed write or fsync is final for the file: the kernel may have dropped the
// pages, and what a later fsync says about them means nothing. The [Log] then
// refuses Append and Sync with the first error, until [Log.Rewrite] has put
// another file in the place of the damaged one.
package seglog
