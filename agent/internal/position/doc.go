// Package position keeps how far each file has been delivered, on an
// internal/seglog file.
//
// # Format
//
// The log has the kind "APOS". Each payload is one operation:
//
//	put     1, flow, uid, dev, ino, birth, path, prefix, committed, marker, size,
//	        mtime, header lines left, flags, updated
//	delete  2, flow, uid
//
// A string is its length as an uvarint and its bytes. uid has eight bytes,
// little-endian. A print (prefix, marker) is a length as an uvarint and eight
// bytes of hash. dev, ino and the header lines are uvarints; birth, committed, size,
// mtime and updated are zig-zag varints. flags is one byte: 1 rotated, 2 done,
// 4 lost. The last operation on a (flow, uid) counts. The uid 0 is not of a file: its
// birth is when the flow first looked for files, and its path what it could not see then.
package position
