// Package consumerprom shows the counters of consumers as Prometheus metrics.
//
//	registry.MustRegister(consumerprom.NewCollector("app", "orders", c, consumerprom.Config{}))
//
// All metrics begin with kinesis_consumer_ and have the labels app and stream. For a
// consumer of several streams the label stream of a worker's metrics is empty, and
// those of shards, and some besides, are told by stream.
package consumerprom

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/consumer"
)

// Source is a [consumer.Consumer], or what gives the same counters.
type Source interface {
	Stats() consumer.Stats
}

// Config holds the optional settings of a [Collector]. The zero Config is
// valid.
type Config struct {
	// PerShard adds behind_latest_seconds, shard_unacked_records and
	// shard_failures of every shard, with the label shard. The default, false,
	// has only the greatest, the sum and the number of them.
	PerShard bool
}

// Collector reads a consumer's counters when it is scraped. It is safe for
// concurrent use.
type Collector struct {
	source   Source
	cfg      Config
	metrics  []metric
	labelled []labelledMetric
	streams  []streamMetric // none with one stream
	perShard []shardMetric  // none without PerShard
	several  bool
}

// streamMetric is a metric with the label stream.
type streamMetric struct {
	desc  *prometheus.Desc
	typ   prometheus.ValueType
	value func(*consumer.StreamStats) float64
}

type metric struct {
	desc  *prometheus.Desc
	typ   prometheus.ValueType
	value func(*consumer.Stats) float64
}

// shardMetric is a gauge with the label shard. What is counted for a shard begins
// anew when its lease is taken, so nothing of it is a counter.
type shardMetric struct {
	desc  *prometheus.Desc
	value func(*consumer.ShardStats) float64
}

// labelledMetric is a counter with one more label.
type labelledMetric struct {
	desc   *prometheus.Desc
	values func(*consumer.Stats) map[string]int64
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns a collector of the counters of source, with the given
// values of the labels app and stream. One registry takes one collector for
// both. stream is "" for a consumer of several streams; a registry that has such a
// collector takes none of one stream that has PerShard as well.
func NewCollector(app, stream string, source Source, cfg Config) *Collector {
	labels := prometheus.Labels{"app": app, "stream": stream}
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc("kinesis_consumer_"+name, help, variable, labels)
	}
	c := &Collector{source: source, cfg: cfg, several: stream == ""}
	counter := func(name, help string, value func(*consumer.Stats) int64) {
		c.metrics = append(c.metrics, metric{desc(name, help), prometheus.CounterValue, func(s *consumer.Stats) float64 { return float64(value(s)) }})
	}
	gauge := func(name, help string, value func(*consumer.Stats) float64) {
		c.metrics = append(c.metrics, metric{desc(name, help), prometheus.GaugeValue, value})
	}
	by := func(label, name, help string, values func(*consumer.Stats) map[string]int64) {
		c.labelled = append(c.labelled, labelledMetric{desc(name, help, label), values})
	}
	counter("records_total", "Kinesis records read.", func(s *consumer.Stats) int64 { return s.KinesisRecords })
	counter("user_records_total", "User records for processors.", func(s *consumer.Stats) int64 { return s.UserRecords })
	counter("bytes_total", "Bytes of data of Kinesis records read.", func(s *consumer.Stats) int64 { return s.Bytes })
	counter("batches_total", "Batches that a processor has handled.", func(s *consumer.Stats) int64 { return s.Batches })
	counter("repeated_records_total", "Kinesis records that the stream gave once more, dropped.", func(s *consumer.Stats) int64 { return s.RepeatedRecords })
	by("result", "out_of_range_total", "User records outside their shard's range.", func(s *consumer.Stats) map[string]int64 {
		return map[string]int64{"dropped": s.OutOfRangeDropped, "kept": s.OutOfRangeKept}
	})
	counter("aggregates_dropped_total", "Aggregated records dropped for one user record out of range.", func(s *consumer.Stats) int64 { return s.AggregatesDropped })
	counter("corrupt_aggregates_total", "Aggregated records that could not be taken apart.", func(s *consumer.Stats) int64 { return s.CorruptAggregates })
	counter("duplicates_dropped_total", "Copies of stamped user records, dropped.", func(s *consumer.Stats) int64 { return s.DuplicatesDropped })
	counter("marks_evicted_total", "Lanes of producers that were forgotten because there were too many.", func(s *consumer.Stats) int64 { return s.MarksEvicted })
	counter("decode_errors_total", "User records that the Decoder could not decode.", func(s *consumer.Stats) int64 { return s.DecodeErrors })
	c.metrics = append(c.metrics, metric{
		desc("processor_seconds_total", "What the calls of ProcessRecords took together."), prometheus.CounterValue,
		func(s *consumer.Stats) float64 { return s.ProcessorTime.Seconds() },
	})
	counter("processor_errors_total", "Failed calls of processors.", func(s *consumer.Stats) int64 { return s.ProcessorErrors })
	counter("processor_restarts_total", "Processors given up for a new one that reads from the last checkpoint.", func(s *consumer.Stats) int64 { return s.ProcessorRestarts })
	counter("processor_panics_total", "Panics of processors and of the dead-letter hook.", func(s *consumer.Stats) int64 { return s.ProcessorPanics })
	counter("processor_timeouts_total", "Calls of processors that took longer than ProcessorTimeout.", func(s *consumer.Stats) int64 { return s.ProcessorTimeouts })
	counter("reader_panics_total", "Panics of what reads a shard.", func(s *consumer.Stats) int64 { return s.ReaderPanics })
	counter("records_skipped_total", "User records given up by Skip.", func(s *consumer.Stats) int64 { return s.RecordsSkipped })
	counter("dead_letter_total", "User records that DeadLetter has taken.", func(s *consumer.Stats) int64 { return s.RecordsDeadLettered })
	counter("dead_letter_errors_total", "Failed calls of DeadLetter.", func(s *consumer.Stats) int64 { return s.DeadLetterErrors })
	counter("bisections_total", "Runs of records halved to find the one that fails.", func(s *consumer.Stats) int64 { return s.Bisections })
	counter("reads_total", "GetRecords calls.", func(s *consumer.Stats) int64 { return s.Reads })
	counter("empty_reads_total", "GetRecords calls that brought nothing.", func(s *consumer.Stats) int64 { return s.EmptyReads })
	counter("read_errors_total", "Failed calls to Kinesis.", func(s *consumer.Stats) int64 { return s.ReadErrors })
	counter("throttles_total", "Calls that Kinesis refused as too many.", func(s *consumer.Stats) int64 { return s.ThrottledReads })
	counter("iterator_expired_total", "Iterators that had to be replaced.", func(s *consumer.Stats) int64 { return s.ExpiredIterators })
	counter("subscriptions_total", "Subscriptions to shards.", func(s *consumer.Stats) int64 { return s.Subscriptions })
	by("reason", "subscriptions_lost_total", "Subscriptions that ended before their time.", func(s *consumer.Stats) map[string]int64 {
		return map[string]int64{"silent": s.SubscriptionsSilent, "ended": s.SubscriptionsLost}
	})
	counter("subscriptions_in_use_total", "Subscriptions refused because the one before had not ended yet.", func(s *consumer.Stats) int64 { return s.SubscriptionsInUse })
	counter("fan_out_fallbacks_total", "Turns from subscribing to polling.", func(s *consumer.Stats) int64 { return s.FanOutFallbacks })
	counter("events_total", "Events that subscriptions have sent.", func(s *consumer.Stats) int64 { return s.Events })
	counter("empty_events_total", "Events without records.", func(s *consumer.Stats) int64 { return s.EmptyEvents })
	by("how", "lease_taken_total", "Leases taken.", func(s *consumer.Stats) map[string]int64 {
		return map[string]int64{"free": s.LeasesTakenFree, "expired": s.LeasesTakenExpired, "stolen": s.LeasesStolen, "assigned": s.LeasesAssigned}
	})
	by("reason", "lease_lost_total", "Leases lost to another worker, or given up because renewals failed.", func(s *consumer.Stats) map[string]int64 {
		return map[string]int64{"taken": s.LeasesLost, "expired": s.LeasesExpired}
	})
	counter("leases_released_total", "Leases released at the stop.", func(s *consumer.Stats) int64 { return s.LeasesReleased })
	counter("lease_hand_overs_total", "Leases given to another worker with the last write.", func(s *consumer.Stats) int64 { return s.HandOvers })
	counter("lease_assignments_total", "Leases given to workers by this one as the leader.", func(s *consumer.Stats) int64 { return s.Assignments })
	counter("beats_total", "Writes of the row by which the worker shows that it lives.", func(s *consumer.Stats) int64 { return s.Beats })
	counter("sleeps_total", "Times that the machine was found to have slept, or its clock to be set forward, and all leases were given up.", func(s *consumer.Stats) int64 { return s.Sleeps })
	counter("peer_pauses_total", "Times that no peer has answered, and the worker has verified its leases.", func(s *consumer.Stats) int64 { return s.PeerPauses })
	counter("peer_deaths_total", "Workers that this one has watched and found dead.", func(s *consumer.Stats) int64 { return s.PeerDeaths })
	counter("beat_errors_total", "Failed writes of that row.", func(s *consumer.Stats) int64 { return s.BeatErrors })
	gauge("foreign_workers", "Workers that do not know the rules of this worker's mode; no lease moves while there is one.", func(s *consumer.Stats) float64 { return float64(s.ForeignWorkers) })
	gauge("leader", "Whether this worker gives leases to all.", func(s *consumer.Stats) float64 {
		if s.Leader {
			return 1
		}
		return 0
	})
	counter("leases_created_total", "Leases created.", func(s *consumer.Stats) int64 { return s.LeasesCreated })
	counter("leases_deleted_total", "Leases of finished shards deleted.", func(s *consumer.Stats) int64 { return s.LeasesDeleted })
	by("kind", "lease_writes_total", "Writes of held leases.", func(s *consumer.Stats) map[string]int64 {
		return map[string]int64{"renewal": s.Renewals, "checkpoint": s.Checkpoints}
	})
	counter("lease_write_errors_total", "Failed writes of leases.", func(s *consumer.Stats) int64 { return s.LeaseWriteErrors })
	counter("lost_replies_total", "Writes of leases that were done though they seemed to fail.", func(s *consumer.Stats) int64 { return s.LostReplies })
	counter("list_errors_total", "Failed listings of the leases.", func(s *consumer.Stats) int64 { return s.ListErrors })
	counter("prepare_errors_total", "Failed tries to make the lease store ready.", func(s *consumer.Stats) int64 { return s.PrepareErrors })
	gauge("invalid_leases", "Leases that are not understood, and whose shards are not read.", func(s *consumer.Stats) float64 { return float64(s.InvalidLeases) })
	counter("shards_ended_total", "Shards read to their end.", func(s *consumer.Stats) int64 { return s.ShardsEnded })
	gauge("leases_held", "Leases held.", func(s *consumer.Stats) float64 { return float64(len(s.Shards)) })
	gauge("leases_seen", "Leases of shards still to be read, at the worker's last look.", func(s *consumer.Stats) float64 { return float64(s.LeasesSeen) })
	gauge("leases_available", "Leases that no living worker had, at the worker's last look.", func(s *consumer.Stats) float64 { return float64(s.LeasesAvailable) })
	gauge("workers_seen", "Workers that had a lease, at the worker's last look.", func(s *consumer.Stats) float64 { return float64(s.WorkersSeen) })
	gauge("buffered_bytes", "Memory of records read and not acknowledged.", func(s *consumer.Stats) float64 { return float64(s.BufferedBytes) })
	sum := func(of func(*consumer.ShardStats) float64) func(*consumer.Stats) float64 {
		return func(s *consumer.Stats) (total float64) {
			for i := range s.Shards {
				total += of(&s.Shards[i])
			}
			return total
		}
	}
	if1 := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	gauge("unacked_records", "User records delivered and not acknowledged.", sum(func(s *consumer.ShardStats) float64 { return float64(s.Unacked) }))
	gauge("failing_shards", "Shards whose processor fails.", sum(func(s *consumer.ShardStats) float64 { return if1(s.Failures > 0) }))
	gauge("hung_shards", "Shards whose processor has not returned in time.", sum(func(s *consumer.ShardStats) float64 { return if1(s.Hung) }))
	gauge("max_behind_latest_seconds", "How far the shard furthest behind is behind its newest record.", func(s *consumer.Stats) float64 {
		var most float64
		for _, sh := range s.Shards {
			most = max(most, sh.BehindLatest.Seconds())
		}
		return most
	})
	counter("streams_deleted_total", "Streams whose leases were deleted as they were not listed any more.", func(s *consumer.Stats) int64 { return s.StreamsDeleted })
	if c.several {
		of := func(typ prometheus.ValueType, name, help string, value func(*consumer.StreamStats) float64) {
			desc := prometheus.NewDesc("kinesis_consumer_stream_"+name, help, []string{"stream"}, prometheus.Labels{"app": app})
			c.streams = append(c.streams, streamMetric{desc, typ, value})
		}
		of(prometheus.CounterValue, "records_total", "User records of the stream that a processor has handled.", func(s *consumer.StreamStats) float64 { return float64(s.Records) })
		of(prometheus.CounterValue, "bytes_total", "Their data.", func(s *consumer.StreamStats) float64 { return float64(s.Bytes) })
		of(prometheus.CounterValue, "calls_total", "Calls of the processors of the stream.", func(s *consumer.StreamStats) float64 { return float64(s.Calls) })
		of(prometheus.CounterValue, "failed_calls_total", "Calls of them that failed.", func(s *consumer.StreamStats) float64 { return float64(s.FailedCalls) })
		of(prometheus.CounterValue, "processor_seconds_total", "What the calls took together.", func(s *consumer.StreamStats) float64 { return s.CallTime.Seconds() })
		of(prometheus.GaugeValue, "leases_held", "Leases held of the stream.", func(s *consumer.StreamStats) float64 { return float64(s.Shards) })
		of(prometheus.GaugeValue, "max_behind_latest_seconds", "How far the shard of the stream that is furthest behind is behind its newest record.", func(s *consumer.StreamStats) float64 { return s.BehindLatest.Seconds() })
		of(prometheus.GaugeValue, "listed", "Whether the stream is one that is to be read; otherwise its leases are about to be deleted.", func(s *consumer.StreamStats) float64 { return if1(s.Listed) })
		of(prometheus.GaugeValue, "missing", "Whether the stream cannot be read, as it does not exist or is not the one that it was.", func(s *consumer.StreamStats) float64 { return if1(s.Missing != "") })
	}
	if cfg.PerShard {
		shard := func(name, help string, value func(*consumer.ShardStats) float64) {
			d := desc(name, help, "shard")
			if c.several {
				d = prometheus.NewDesc("kinesis_consumer_"+name, help, []string{"stream", "shard"}, prometheus.Labels{"app": app})
			}
			c.perShard = append(c.perShard, shardMetric{d, value})
		}
		shard("behind_latest_seconds", "How far the shard is behind its newest record.", func(s *consumer.ShardStats) float64 { return s.BehindLatest.Seconds() })
		shard("shard_unacked_records", "User records of the shard delivered and not acknowledged.", func(s *consumer.ShardStats) float64 { return float64(s.Unacked) })
		shard("shard_failures", "Failed calls of the shard's processor since one succeeded.", func(s *consumer.ShardStats) float64 { return float64(s.Failures) })
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
	for _, m := range c.labelled {
		ch <- m.desc
	}
	for _, m := range c.streams {
		ch <- m.desc
	}
	for _, m := range c.perShard {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.source.Stats()
	for _, m := range c.metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.typ, m.value(&s))
	}
	for _, m := range c.labelled {
		for label, n := range m.values(&s) {
			ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(n), label)
		}
	}
	var labels map[string]string
	if c.several {
		labels = labelsOf(&s)
		for i := range s.Streams {
			for _, m := range c.streams {
				ch <- prometheus.MustNewConstMetric(m.desc, m.typ, m.value(&s.Streams[i]), labels[s.Streams[i].StreamID.String()+s.Streams[i].Stream])
			}
		}
	}
	for i := range s.Shards {
		sh := &s.Shards[i]
		values := []string{sh.ShardID}
		if c.several {
			stream, _ := consumer.SplitLeaseKey(sh.LeaseKey)
			values = []string{cmp.Or(labels[stream+sh.Stream], sh.Stream), sh.ShardID}
		}
		for _, m := range c.perShard {
			ch <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, m.value(sh), values...)
		}
	}
}

// labelsOf returns the value of the label stream of each stream: how it was named, or
// its identity where that does not tell it from another.
func labelsOf(s *consumer.Stats) map[string]string {
	named := map[string]int{}
	for _, st := range s.Streams {
		named[st.Stream]++
	}
	labels := map[string]string{}
	for _, st := range s.Streams {
		label := st.Stream
		if id := st.StreamID.String(); named[label] > 1 && id != "" && !st.Listed {
			label = id
		}
		labels[st.StreamID.String()+st.Stream] = label
	}
	return labels
}
