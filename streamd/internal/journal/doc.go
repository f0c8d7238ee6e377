package journal

// # Format on disk
//
// A [Local] journal is a ring: a directory of a few files of equal size, called
// 00.ring, 01.ring and so on, that are written from end to end in turn and
// reused once what they hold was released. A file that was written before takes
// a new frame without a change of its metadata, so that an fdatasync costs one
// write of the disk and no more. The first file of a store grows as it is used;
// behind a small frame by as many zeros again as it has, 64 KiB to 1 MiB at a
// time, to the same end.
//
// A position counts bytes from the first frame of the store on. A frame begins
// on a block of 4 KiB, and ends anywhere: its position is its end, the next
// frame begins at the next block. A frame lies in one file. The position at
// which the first frame of a file begins is the file's base, so that position p
// is byte p - base of it; nothing else says where a file belongs.
//
// All integers are little-endian; every checksum is a CRC-32C.
//
//	 0  u32  checksum of bytes 4 to 95
//	 4  magic "SDJ", version 2
//	 8  u64  position at which this frame begins
//	16  u64  position up to which the journal was on disk when this was written
//	24  16 B id of the store, which is the gateway of the author
//	40  u64  session of the author
//	48  u64  number of the frame in its session
//	56  u32  checksum of the body of the author's previous frame
//	60  u32  checksum (bytes 0 to 3) of the frame before this one; 0 for the first
//	64  u32  length of the body
//	68  u32  checksum of the body
//	72       zero
//	96       body
//
// Opening reads the headers on all blocks of all files and follows the frames
// from the position of the last snapshot on, each by its place and by the
// checksum of the one before it, to the last that is whole. What a file holds
// of its earlier turns has lower positions, and is passed over.
//
// Frames are written one at a time, each followed by one fdatasync before the
// next is begun, so a crash can damage the last frame alone, and that was never
// acknowledged: it is passed over, and the next frame is written over it. A
// frame that is not whole although a later one says that it was on disk is
// corruption, and the journal refuses to open. Frames that were acknowledged
// before they were synced, because the user asked for that, say so by the same
// field: the machine may have kept a later one and not an earlier one.
//
// After a crash the frames in the last file are written once more, over
// themselves, and synced: after a failed fsync the page cache may show bytes
// that the disk does not have.
