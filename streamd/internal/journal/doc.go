package journal

// # Format on disk
//
// A [Local] journal is a directory of segments. A segment is called by the
// position of its first frame in 16 hexadecimal digits, and ".seg". All
// integers are little-endian; every checksum is a CRC-32C.
//
//	segment header, 64 bytes
//	 0  magic "sdjrnl", 0, version 1
//	 8  u64  position of the first frame
//	16  16 B id of the store
//	32  u32  checksum of bytes 0 to 31
//	36       zero
//
//	frame, from byte 64 on, one after another
//	 0  u32  checksum of bytes 4 to 63
//	 4  u32  length of the body, at most 64 MiB
//	 8  u64  position at which this frame begins
//	16  16 B gateway of the author
//	32  u64  session of the author
//	40  u64  number of the frame in its session
//	48  u32  checksum of the body of the author's previous frame
//	52  u32  checksum of the body
//	56  u8   flags; bit 0: acknowledged before it was synced
//	57       zero
//	64       body
//
// Frames are written one at a time, each followed by one fdatasync before the
// next is begun, so a crash can damage the last frame alone. An unreadable
// frame that nothing readable follows is therefore the torn tail, was never
// acknowledged, and is cut. An unreadable frame before a readable one, or in a
// segment that is not the last, is corruption, and the journal refuses to open.
// Frames that were acknowledged before they were synced, because the user asked
// for that, are no such evidence: the machine may have kept a later one and not
// an earlier one.
//
// The position that each frame repeats keeps the bytes of another place or time
// from being read as a frame.
