// Package tail holds what the agent knows about one file: which file it is,
// whatever its name, how its bytes are read, and how they are cut into records.
//
// A path is no identity: rotation moves files, and an inode number is given
// again once its file is deleted. A file is told from others by device, inode and
// time of birth where the file system has them, and by two hashes of its
// content: of its first bytes, up to 1024 of them as it grows (the prefix), and of
// the up to 64 bytes just before the place up to which it has been read (the
// marker).
package tail
