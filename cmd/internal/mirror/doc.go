// Package mirror copies streams from one Kinesis endpoint to another.
//
//	shard of the source ─ reader ─ queue ─ at most one record of a key in flight ─▶ target
//	                                 └ stored, with all before it: progress ─ state file
//
// A lane copies one shard. It begins when all parents of the shard are stored
// to their ends, so that the order of a partition key holds across reshards of
// the source. In a lane no two records of one partition key are under way at
// once, those inside aggregated records included: a request may fail in part,
// and PutRecords promises no order. So the order of a key depends neither on what
// the target refuses nor on how many shards it has.
//
// # What is copied
//
// Data and partition key, byte for byte; aggregated records as they are. A
// record is put with an explicit hash key in two cases:
//
//   - Its partition key's hash is not in the shard that it is read from: it was
//     put with an explicit hash key, which cannot be read back. It is given one
//     inside the shard's range that its partition key decides.
//   - It is aggregated. It goes where the first of its user records belongs.
//
// Who takes aggregated records apart leaves out user records whose own hash key
// is not in the shard that they are read from, or drops the whole record. So an
// aggregated record must be in a shard of the target that has room for all its
// user records. That is certain only where each shard of the source lies in one
// of the target. Those that are not whole are counted (Stats.Split), and the
// error of Run tells.
//
// # What may happen twice, and what may be lost
//
// A request without an answer is sent again, and so may be stored twice; that is
// counted. After a crash, what was stored since the state file was written is
// sent again: of each shard at most the records of a second, and those that went
// past one that was refused, 2000 at most.
//
// Nothing is lost by the mirror. What leaves the source by retention before it is
// read is found by time: if a read begins with more than the retention since the
// time up to which the shard had been read, and the last record that was read has
// left as well, then records may be missing, and that is told and counted.
//
// # State file
//
// One JSON object, replaced as a whole:
//
//	{"format":"streamkit-mirror-1","crc32c":"1a2b3c4d","state":{
//	  "from":"…","to":"…",
//	  "streams":{"NAME":{"to":"NAME","created":TIME,"targetCreated":TIME,"start":"trim-horizon","began":TIME,
//	    "shards":{"shardId-…":{"sequence":"…","done":true,"covered":TIME,"late":true}}}}}}
//
// crc32c is of the bytes of state, in hexadecimal. What the members are stands
// with their types.
package mirror
