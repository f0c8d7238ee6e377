// Package consumerprom shows the counters of consumers as Prometheus metrics.
//
//	registry.MustRegister(consumerprom.NewCollector("app", "orders", c, consumerprom.Config{}))
//
// All metrics begin with kinesis_consumer_ and have the labels app and stream.
package consumerprom

import (
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
	// PerShard adds behind_latest_seconds of every shard, with the label
	// shard. The default, false, has only the greatest of them.
	PerShard bool
}

// Collector reads a consumer's counters when it is scraped. It is safe for
// concurrent use.
type Collector struct {
	source   Source
	cfg      Config
	metrics  []metric
	labelled []labelledMetric
	behind   *prometheus.Desc // nil without PerShard
}

type metric struct {
	desc  *prometheus.Desc
	typ   prometheus.ValueType
	value func(*consumer.Stats) float64
}

// labelledMetric is a counter with one more label.
type labelledMetric struct {
	desc   *prometheus.Desc
	values func(*consumer.Stats) map[string]int64
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns a collector of the counters of source, with the given
// values of the labels app and stream. One registry takes one collector for
// both.
func NewCollector(app, stream string, source Source, cfg Config) *Collector {
	labels := prometheus.Labels{"app": app, "stream": stream}
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc("kinesis_consumer_"+name, help, variable, labels)
	}
	c := &Collector{source: source, cfg: cfg}
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
	counter("processor_errors_total", "Failed calls of processors.", func(s *consumer.Stats) int64 { return s.ProcessorErrors })
	counter("processor_restarts_total", "Processors given up for a new one that reads from the last checkpoint.", func(s *consumer.Stats) int64 { return s.ProcessorRestarts })
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
		return map[string]int64{"free": s.LeasesTakenFree, "expired": s.LeasesTakenExpired, "stolen": s.LeasesStolen}
	})
	by("reason", "lease_lost_total", "Leases lost to another worker, or given up because renewals failed.", func(s *consumer.Stats) map[string]int64 {
		return map[string]int64{"taken": s.LeasesLost, "expired": s.LeasesExpired}
	})
	counter("leases_released_total", "Leases released at the stop.", func(s *consumer.Stats) int64 { return s.LeasesReleased })
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
	gauge("buffered_bytes", "Memory of records read and not acknowledged.", func(s *consumer.Stats) float64 { return float64(s.BufferedBytes) })
	gauge("max_behind_latest_seconds", "How far the shard furthest behind is behind its newest record.", func(s *consumer.Stats) float64 {
		var most float64
		for _, sh := range s.Shards {
			most = max(most, sh.BehindLatest.Seconds())
		}
		return most
	})
	if cfg.PerShard {
		c.behind = desc("behind_latest_seconds", "How far the shard is behind its newest record.", "shard")
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
	if c.behind != nil {
		ch <- c.behind
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
	if c.behind == nil {
		return
	}
	for _, sh := range s.Shards {
		ch <- prometheus.MustNewConstMetric(c.behind, prometheus.GaugeValue, sh.BehindLatest.Seconds(), sh.ShardID)
	}
}
