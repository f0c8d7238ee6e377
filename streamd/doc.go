// Package streamd is a server that speaks the API of Amazon Kinesis streams,
// and the part of the DynamoDB API that leases need. It keeps its data in one
// directory, or in memory, and needs nothing else.
//
//	srv, err := streamd.New(streamd.Config{DataDir: "/var/lib/streamd"})
//	…
//	err = srv.Run(ctx) // until ctx ends
//
// # Listeners
//
// One port, 4567, serves everything that a client speaks. Another, 4568, is
// for those who run the server: metrics, health, profiles. Both bind to
// loopback unless told otherwise.
//
// A client may come to the first one with or without TLS, and speak HTTP/1.1 or
// HTTP/2 in both cases. The server's certificate is one that it has signed
// itself: Server.CACertificate is what clients have to trust.
//
// # Acknowledgements
//
// An answer that reports success is durable: it is sent after the journal's
// fsync has returned. Config.Fsync can weaken that, and a server in memory
// keeps nothing.
//
// # Tables
//
// The part of DynamoDB is what leases and their like need: items, conditions,
// updates, indexes, batches, transactions. Reads see what was acknowledged before
// they came. docs/operations.md lists the operations, and how their answers were
// compared with other servers'.
//
// # Limits
//
// A server takes what comes. With Config.Limits it refuses what comes faster
// than they say, as AWS does: by shard, record by record inside PutRecords, and
// by operation; some streams may have rates of their own. How much has come is
// kept in memory, by the server's clock: a server that starts again begins anew.
// What AWS limits in 24 hours, such as UpdateShardCount, is counted with the
// stream, while Limits.Quotas is set, and stays.
//
// # Capture
//
// With Config.Capture a server writes down what it is asked, and how it ended,
// each request before its answer leaves, and a subscription once more as it ends.
// The file has the data of records and items, and no credentials. Requests do not wait for it: those that it could
// not take, or that are beyond Config.CaptureLimit, are counted in the metric
// streamd_capture_dropped_total. docs/formats.md has the format.
//
// # Copies and damage
//
// [FetchSnapshot] copies what a running server has stored, by its admin address,
// and [Restore] makes a data directory of the copy. [Check], [Repair] and [Dump] are
// for a directory that no server uses. docs/recovery.md says when to use which.
//
// # What can be seen
//
// The admin listener serves metrics to Prometheus: of streams, under names taken
// from those of CloudWatch, and of the server. Shards have metrics of their own
// where EnableEnhancedMonitoring has switched them on. The number of streams,
// consumers and shards that labels name is bounded, and what is deleted is
// forgotten. Config.RequestLog takes a line for each request.
//
// # Who may ask
//
// By default requests need no signature and belong to account 000000000000 and
// region us-east-1; those that are signed belong to the region of their
// credential, and to the account that their access key names, if it is made of
// twelve digits. With Config.Auth "verify" each request must be signed by one of
// Config.Keys, and do what the rules of its key allow. Server.SetKeys replaces
// the keys while the server runs. A server that listens elsewhere than on loopback
// must verify, or be started with Config.Insecure.
package streamd
