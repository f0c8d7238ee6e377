// Package producercw sends metrics of producers to Amazon CloudWatch, under the
// names, dimensions and units of the Kinesis Producer Library (KPL), so that its
// dashboards and alarms go on working. Who has no such thing is better served by
// package producerprom.
//
//	metrics, err := producercw.New(cloudwatchClient, producercw.Config{})
//	…
//	p, err := producer.New(kinesisClient, "orders", producer.Config{Hooks: []producer.Hook{metrics}})
//	…
//	metrics.Watch("orders", p)
//	…
//	p.Close(ctx)
//	metrics.Close(ctx) // sends the last minute's
//
// # Metrics
//
// Each is sent for all streams together, for each stream, and for each shard where
// the table says so, as far as Config.MetricsGranularity allows. Level "summary"
// leaves out what is marked detailed.
//
//	UserRecordsReceived                  count  detailed
//	UserRecordsPending                   count  detailed  every 200 ms
//	UserRecordsPut                       count            shard  1 for one that was stored, 0 for one that was given up
//	UserRecordsDataPut                   bytes  detailed  shard
//	UserRecordExpired                    count            shard
//	RetriesPerRecord                     count  detailed  shard
//	BufferingTime                        ms               shard  before each attempt
//	KinesisRecordsPut                    count            shard  1 for each attempt that was stored, 0 for others
//	KinesisRecordsDataPut                bytes  detailed  shard
//	UserRecordsPerKinesisRecord          count  detailed  shard
//	ErrorsByCode                         count            shard  dimension ErrorCode
//	AllErrors                            count            shard  1 for each failed attempt, 0 for others
//	RequestTime                          ms     detailed
//	KinesisRecordsPerPutRecordsRequest   count  detailed
//	UserRecordsPerPutRecordsRequest      count  detailed
//
// Two things are less exact than the KPL's. User records that share a Kinesis record
// are told of together: the least and the greatest of UserRecordsDataPut are those
// of means, and BufferingTime is that of the oldest. And codes of requests that got
// no answer are Timeout and Transport.
//
// # What it costs
//
// A producer adds to sums in memory, once for each request and each Kinesis record.
// A goroutine sends them; when CloudWatch does not take them they are dropped, and
// counted. Nothing of it holds a producer up.
//
// Source: amazon-kinesis-producer, metrics.md and metrics_constants.cc.
package producercw
