package streamd

// A metricName is one metric of streams: its name in Prometheus, and the one
// that Amazon CloudWatch knows it by.
type metricName struct{ name, aws, help string }

// The counters that have the label stream.
const (
	incomingBytes = iota
	incomingRecords
	putRecordBytes
	putRecordSuccess
	putRecordsBytes
	putRecordsSuccess
	putRecordsTotal
	putRecordsSuccessful
	putRecordsFailed
	putRecordsThrottled
	getRecordsBytes
	getRecordsRecords
	getRecordsSuccess
	subscribeSuccess
	subscribeExceeded
	writeExceeded
	readExceeded
	streamCounters
)

var streamCounterNames = [streamCounters]metricName{
	incomingBytes:        {"kinesis_incoming_bytes_total", "IncomingBytes", "Bytes of data in the records that the stream took."},
	incomingRecords:      {"kinesis_incoming_records_total", "IncomingRecords", "Records that the stream took."},
	putRecordBytes:       {"kinesis_put_record_bytes_total", "PutRecord.Bytes", "Bytes of data in the records that PutRecord stored."},
	putRecordSuccess:     {"kinesis_put_record_success_total", "PutRecord.Success", "Calls of PutRecord that succeeded."},
	putRecordsBytes:      {"kinesis_put_records_bytes_total", "PutRecords.Bytes", "Bytes of data in the records that PutRecords stored."},
	putRecordsSuccess:    {"kinesis_put_records_success_total", "PutRecords.Success", "Calls of PutRecords that stored a record at least."},
	putRecordsTotal:      {"kinesis_put_records_total_records_total", "PutRecords.TotalRecords", "Records that came with PutRecords, stored or not."},
	putRecordsSuccessful: {"kinesis_put_records_successful_records_total", "PutRecords.SuccessfulRecords", "Records that PutRecords stored."},
	putRecordsFailed:     {"kinesis_put_records_failed_records_total", "PutRecords.FailedRecords", "Records that PutRecords refused for an internal failure."},
	putRecordsThrottled:  {"kinesis_put_records_throttled_records_total", "PutRecords.ThrottledRecords", "Records that PutRecords refused for coming too fast."},
	getRecordsBytes:      {"kinesis_get_records_bytes_total", "GetRecords.Bytes", "Bytes of data in the records that GetRecords returned."},
	getRecordsRecords:    {"kinesis_get_records_records_total", "GetRecords.Records", "Records that GetRecords returned."},
	getRecordsSuccess:    {"kinesis_get_records_success_total", "GetRecords.Success", "Calls of GetRecords that succeeded."},
	subscribeSuccess:     {"kinesis_subscribe_to_shard_success_total", "SubscribeToShard.Success", "Subscriptions that were taken, counted as they end."},
	subscribeExceeded:    {"kinesis_subscribe_to_shard_rate_exceeded_total", "SubscribeToShard.RateExceeded", "Subscriptions that were refused: the consumer has one to the shard, or asks too often."},
	writeExceeded:        {"kinesis_write_provisioned_throughput_exceeded_total", "WriteProvisionedThroughputExceeded", "Records that the stream refused because they came faster than its limits."},
	readExceeded:         {"kinesis_read_provisioned_throughput_exceeded_total", "ReadProvisionedThroughputExceeded", "Calls of GetRecords that the stream refused because they came faster than its limits."},
}

// The histograms that have the label stream, of the time that calls took.
const (
	putRecordLatency = iota
	putRecordsLatency
	getRecordsLatency
	streamLatencies
)

var streamLatencyNames = [streamLatencies]metricName{
	putRecordLatency:  {"kinesis_put_record_latency_seconds", "PutRecord.Latency", "Time that calls of PutRecord took."},
	putRecordsLatency: {"kinesis_put_records_latency_seconds", "PutRecords.Latency", "Time that calls of PutRecords took."},
	getRecordsLatency: {"kinesis_get_records_latency_seconds", "GetRecords.Latency", "Time that calls of GetRecords took."},
}

// iteratorAgeName has the label stream.
var iteratorAgeName = metricName{
	"kinesis_get_records_iterator_age_milliseconds", "GetRecords.IteratorAgeMilliseconds",
	"Age of the last record that GetRecords returned, 0 at the tip: the greatest of this minute and the last.",
}

// The counters that have the labels stream and consumer.
const (
	eventBytes = iota
	eventRecords
	eventSuccess
	consumerCounters
)

var consumerCounterNames = [consumerCounters]metricName{
	eventBytes:   {"kinesis_subscribe_to_shard_event_bytes_total", "SubscribeToShardEvent.Bytes", "Bytes of data in the records that the consumer was sent."},
	eventRecords: {"kinesis_subscribe_to_shard_event_records_total", "SubscribeToShardEvent.Records", "Records that the consumer was sent."},
	eventSuccess: {"kinesis_subscribe_to_shard_event_success_total", "SubscribeToShardEvent.Success", "Events that the consumer was sent."},
}

// eventBehindName has the labels stream and consumer.
var eventBehindName = metricName{
	"kinesis_subscribe_to_shard_event_millis_behind_latest", "SubscribeToShardEvent.MillisBehindLatest",
	"How far behind the tip the consumer's events are: the greatest of this minute and the last.",
}

// The counters that have the labels stream and shard. A stream has those that
// EnableEnhancedMonitoring has switched on.
const (
	shardIncomingBytes = iota
	shardIncomingRecords
	shardOutgoingBytes
	shardOutgoingRecords
	shardWriteExceeded
	shardReadExceeded
	shardCounters
)

var shardCounterNames = [shardCounters]metricName{
	shardIncomingBytes:   {"kinesis_shard_incoming_bytes_total", "IncomingBytes", "Bytes of data in the records that the shard took."},
	shardIncomingRecords: {"kinesis_shard_incoming_records_total", "IncomingRecords", "Records that the shard took."},
	shardOutgoingBytes:   {"kinesis_shard_outgoing_bytes_total", "OutgoingBytes", "Bytes of data in the records that the shard gave."},
	shardOutgoingRecords: {"kinesis_shard_outgoing_records_total", "OutgoingRecords", "Records that the shard gave."},
	shardWriteExceeded:   {"kinesis_shard_write_provisioned_throughput_exceeded_total", "WriteProvisionedThroughputExceeded", "Records that the shard refused because they came faster than its limits."},
	shardReadExceeded:    {"kinesis_shard_read_provisioned_throughput_exceeded_total", "ReadProvisionedThroughputExceeded", "Calls of GetRecords that the shard refused because they came faster than its limits."},
}

// shardAgeName has the labels stream and shard.
var shardAgeName = metricName{
	"kinesis_shard_iterator_age_milliseconds", "IteratorAgeMilliseconds",
	"Age of the last record that GetRecords returned of the shard, 0 at the tip: the greatest of this minute and the last.",
}
