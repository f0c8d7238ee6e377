// Package spool is a queue of records on disk: what a producer cannot send goes
// in, and comes out in its order, by the same process or a later one, until it is
// acknowledged. It knows no producer, so that tools can read its directories.
//
// # Directory
//
//	LOCK            held by the process that uses the directory
//	SPOOL           what the directory is, see [Identity]
//	<first>.seg     a segment: records in a row, first is the number of the first
//	                in 16 hexadecimal digits
//	<first>.front   a segment that goes before all others, the newest first; its
//	                numbers are later
//	acks            what of the segments is acknowledged
//
// Segments and acks are logs of package seglog. docs/formats.md draws what is in
// them.
//
// # Ends of segments
//
// A torn tail is what a crash leaves of a write that nobody was told of. It is
// counted and passed over. Any other fault is damage: it is logged, counted, and
// passed over to the next segment, and the file is kept as <first>.seg.damaged.
// A file that ends behind a block has no fault; acks says how many records there
// were when it was written no more, and those that are gone are counted as missing.
package spool
