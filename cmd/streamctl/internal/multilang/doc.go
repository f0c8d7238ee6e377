// Package multilang runs record processors that were written for the Kinesis
// Client Library in Python, Ruby, Node or .NET, in the place of its
// MultiLangDaemon.
//
// # Protocol
//
// Every shard has a child process of its own. Both sides write lines, each one
// JSON object with the field "action", the bridge to the child's standard
// input, the child to its standard output. The bridge speaks first, one
// request at a time; the child may ask for checkpoints while it handles one,
// and ends it with a status.
//
//	bridge ─▶ child   initialize, processRecords, leaseLost, shardEnded, shutdownRequested
//	bridge ◀─ child   checkpoint      bridge ─▶ child   checkpoint, with the name of an error or null
//	bridge ◀─ child   status, responseFor the request
//
// The end of its standard input tells the child to exit. Other lines on
// standard output, and all on standard error, are logged.
//
// Source: amazon-kinesis-client, module multilang: messages, MultiLangProtocol
// and MultiLangShardRecordProcessor; amazon_kclpy.
//
// # Faults
//
// A child that dies, answers what was not asked, writes a line without end, or
// does not answer within timeoutInSeconds, is killed, and another one reads on
// from the last checkpoint, after a pause that grows. The other shards go on.
// (The MultiLangDaemon exits.)
package multilang
