// Package runs keeps records for good: in files that are written once, sorted by
// shard, and never changed. A checkpoint writes one from what the journal holds;
// it goes when nothing in it can be read any more. Files grow with bytes, not
// with shards, and trimming is removing a file.
//
// A [Run] is such a file, a [Set] all those of a store. What they keep in memory
// is a little for each run and stream, whatever is stored: the place of each
// shard is in the footers, which a [Cache] holds as far as it may.
//
// # Format on disk
//
// All integers are little-endian; every checksum is a CRC-32C.
//
//	header, 40 bytes
//	 0  magic "sdruns", 0, version 1
//	 8  u64  sequence index of the first record
//	16  u64  and of the last
//	24  u32  class
//	28  u32  how often its records have been merged
//	32       zero
//	36  u32  checksum of bytes 0 to 35
//
//	extents, one for each shard that has records, in order of stream and shard;
//	an extent is batches in order of their records. A batch is
//	 0  u32  checksum of bytes 4 to 43
//	 4  u32  length of the records
//	 8  u64  stream
//	16  u32  shard
//	20  u32  number of records
//	24  u64  sequence index of the first
//	32  i64  arrival, milliseconds since the epoch
//	40  u32  checksum of the records
//	44       records, as they lie in a frame of the journal
//
//	footer: uvarint number of extents, then for each, uvarints all:
//	    stream, less the one before; shard; offset; length; first index; last
//	    index less the first; first arrival; last arrival less the first; number
//	    of records; bytes of records; number of marks, and for each mark: index,
//	    offset and arrival, each less that of the mark before. The first mark is
//	    the extent's begin, and more follow every 64 KiB.
//
//	trailer, 40 bytes
//	 0  u64  offset of the footer
//	 8  u32  its length
//	12  u32  its checksum
//	16  u64  records
//	24  u64  bytes of records
//	32  u32  checksum of bytes 0 to 31
//	36  magic "sdr", version 1
package runs
