// Package producerprom shows the counters of producers as Prometheus metrics.
//
//	registry.MustRegister(producerprom.NewCollector("orders", p))
//
// All metrics begin with kinesis_producer_ and have the label stream. [Histograms] has
// those of times and sizes.
package producerprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/producer"
)

// Source is a [producer.Producer], or what gives the same counters.
type Source interface {
	Stats() producer.Stats
}

// Collector reads a producer's counters when it is scraped. It is safe for
// concurrent use.
type Collector struct {
	source Source
	sums   []metric
	errors *prometheus.Desc
	result *prometheus.Desc
	lists  *prometheus.Desc
}

type metric struct {
	desc  *prometheus.Desc
	typ   prometheus.ValueType
	value func(*producer.Stats) float64
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns a collector of the counters of source, with the given
// value of the label stream. One registry takes one collector for a stream.
func NewCollector(stream string, source Source) *Collector {
	labels := prometheus.Labels{"stream": stream}
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc("kinesis_producer_"+name, help, variable, labels)
	}
	c := &Collector{
		source: source,
		errors: desc("errors_total", "Requests and single Kinesis records refused, by error code.", "code"),
		result: desc("records_total", "User records finished: stored, failed, or expired.", "result"),
		lists:  desc("shard_map_refresh_total", "Lists of shards asked for.", "result"),
	}
	add := func(typ prometheus.ValueType, name, help string, value func(*producer.Stats) float64) {
		c.sums = append(c.sums, metric{desc: desc(name, help), typ: typ, value: value})
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	add(counter, "received_total", "User records accepted by Put.", func(s *producer.Stats) float64 { return float64(s.UserRecordsReceived) })
	add(gauge, "buffered_records", "User records neither stored nor given up.", func(s *producer.Stats) float64 { return float64(s.UserRecordsPending) })
	add(gauge, "buffered_bytes", "Bytes that these take of MaxBufferedBytes.", func(s *producer.Stats) float64 { return float64(s.BufferedBytes) })
	add(gauge, "blocked_puts", "Puts that wait for memory, or for the disk.", func(s *producer.Stats) float64 { return float64(s.PutsBlocked) })
	add(counter, "put_waits_total", "Puts that have waited so, or do.", func(s *producer.Stats) float64 { return float64(s.PutWaits) })
	add(counter, "kinesis_records_total", "Kinesis records stored.", func(s *producer.Stats) float64 { return float64(s.KinesisRecordsPut) })
	add(counter, "kinesis_record_bytes_total", "Bytes of Kinesis records stored.", func(s *producer.Stats) float64 { return float64(s.KinesisRecordsDataPut) })
	add(counter, "retries_total", "Kinesis records sent and not stored, to be sent again.", func(s *producer.Stats) float64 { return float64(s.Retries) })
	add(counter, "requests_total", "PutRecords requests.", func(s *producer.Stats) float64 { return float64(s.Requests) })
	add(counter, "request_seconds_total", "Time that these took.", func(s *producer.Stats) float64 { return s.RequestTime.Seconds() })
	add(gauge, "inflight_requests", "Requests under way.", func(s *producer.Stats) float64 { return float64(s.RequestsInFlight) })
	add(gauge, "paused", "1 while the stream refuses all requests.", func(s *producer.Stats) float64 {
		if s.Paused {
			return 1
		}
		return 0
	})
	add(gauge, "shards", "Open shards in the shard map.", func(s *producer.Stats) float64 { return float64(s.Shards) })
	add(gauge, "auto", "1 while the stream distributes records over its shards itself.", func(s *producer.Stats) float64 {
		if s.Auto {
			return 1
		}
		return 0
	})
	add(gauge, "limited_shards", "Shards that get less than there is, because they refused records, or by RateLimit.", func(s *producer.Stats) float64 { return float64(s.ShardsLimited) })
	add(counter, "wrong_shard_total", "Sets of Kinesis records stored elsewhere than predicted.", func(s *producer.Stats) float64 { return float64(s.WrongShard) })
	add(counter, "resend_reshard_total", "User records sent again for that reason.", func(s *producer.Stats) float64 { return float64(s.ReshardResent) })
	add(counter, "unexplained_shard_total", "Kinesis records stored elsewhere although the shard map was right.", func(s *producer.Stats) float64 { return float64(s.UnexplainedShards) })
	add(counter, "sequence_regressions_total", "Acknowledgements out of order in one shard.", func(s *producer.Stats) float64 { return float64(s.SequenceRegressions) })
	add(gauge, "spooling", "1 while records go to the disk.", func(s *producer.Stats) float64 {
		if s.Spooling {
			return 1
		}
		return 0
	})
	add(gauge, "spool_records", "User records in the spool that are not finished.", func(s *producer.Stats) float64 { return float64(s.SpoolRecords) })
	add(gauge, "spool_bytes", "Size of the spool's files.", func(s *producer.Stats) float64 { return float64(s.SpoolBytes) })
	add(counter, "spool_appended_total", "User records put on disk.", func(s *producer.Stats) float64 { return float64(s.SpoolAppended) })
	add(counter, "spool_replayed_total", "User records of earlier processes that were read back.", func(s *producer.Stats) float64 { return float64(s.SpoolReplayed) })
	add(counter, "spool_dropped_total", "User records that the spool had no room for.", func(s *producer.Stats) float64 { return float64(s.SpoolDropped) })
	add(counter, "spool_lost_total", "User records that could not be read back.", func(s *producer.Stats) float64 { return float64(s.SpoolLost) })
	add(counter, "spool_missing_total", "User records of earlier processes that the spool's files have lost, as far as that is known.", func(s *producer.Stats) float64 { return float64(s.SpoolMissing) })
	add(counter, "spool_torn_total", "Files of the spool whose end a crash has cut short.", func(s *producer.Stats) float64 { return float64(s.SpoolTorn) })
	add(counter, "spool_damaged_total", "Files of the spool that could not be read to their end.", func(s *producer.Stats) float64 { return float64(s.SpoolDamaged) })
	add(counter, "spool_failures_total", "Writes of the spool that failed.", func(s *producer.Stats) float64 { return float64(s.SpoolFailures) })
	add(counter, "callback_panics_total", "Callbacks that panicked.", func(s *producer.Stats) float64 { return float64(s.CallbackPanics) })
	return c
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.errors
	ch <- c.result
	ch <- c.lists
	for i := range c.sums {
		ch <- c.sums[i].desc
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.source.Stats()
	for i := range c.sums {
		m := &c.sums[i]
		ch <- prometheus.MustNewConstMetric(m.desc, m.typ, m.value(&s))
	}
	labelled := func(desc *prometheus.Desc, value uint64, label string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), label)
	}
	labelled(c.result, s.UserRecordsPut, "ok")
	labelled(c.result, s.UserRecordsFailed-min(s.UserRecordsExpired, s.UserRecordsFailed), "failed")
	labelled(c.result, s.UserRecordsExpired, "expired")
	labelled(c.lists, s.MapRefreshes, "ok")
	labelled(c.lists, s.MapFailures, "failed")
	for code, n := range s.ErrorsByCode {
		labelled(c.errors, n, code)
	}
}
