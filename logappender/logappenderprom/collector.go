// Package logappenderprom shows the accounts of log appenders as Prometheus
// metrics.
//
//	registry.MustRegister(logappenderprom.NewCollector("main", a))
//
// All metrics begin with logappender_ and have the label appender.
package logappenderprom

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"

	"github.com/streamkit/streamkit/logappender"
)

// Source is a [logappender.Appender], or what gives the same counters.
type Source interface {
	Stats() logappender.Stats
	Healthy() bool
}

// Collector reads an appender's counters when it is scraped. It is safe for
// concurrent use.
type Collector struct {
	source                    Source
	entries, dropped, pending *prometheus.Desc
	healthy, spilled          *prometheus.Desc
	values                    []value
	histograms                []histogram
}

type value struct {
	desc *prometheus.Desc
	typ  prometheus.ValueType
	of   func(*logappender.Stats) float64
}

type histogram struct {
	desc *prometheus.Desc
	of   func(*logappender.Stats) *logappender.Histogram
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns a collector of the counters of source, with the given
// value of the label appender. One registry takes one collector for each.
func NewCollector(name string, source Source) *Collector {
	labels := prometheus.Labels{"appender": name}
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc("logappender_"+name, help, variable, labels)
	}
	c := &Collector{
		source:  source,
		entries: desc("entries_total", "Entries by level: accepted, delivered, dropped, sampled, lost, and replayed: delivered for an earlier process.", "level", "result"),
		dropped: desc("dropped_total", "Entries dropped, by reason.", "reason"),
		pending: desc("pending_entries", "Entries in the buffer or with the producer.", "level"),
		spilled: desc("spilled_entries", "Entries on disk that are not delivered yet.", "level"),
		healthy: desc("healthy", "1 if the appender is open and delivers."),
	}
	add := func(typ prometheus.ValueType, name, help string, of func(*logappender.Stats) float64) {
		c.values = append(c.values, value{desc(name, help), typ, of})
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	add(gauge, "buffer_bytes", "Memory of entries that are not finished.", func(s *logappender.Stats) float64 { return float64(s.BufferBytes) })
	add(gauge, "buffer_capacity_bytes", "Bound of buffer_bytes.", func(s *logappender.Stats) float64 { return float64(s.BufferCapacity) })
	add(gauge, "oldest_pending_seconds", "Age of the oldest chunk that is not finished.", func(s *logappender.Stats) float64 { return s.OldestPending.Seconds() })
	add(counter, "blocked_seconds_total", "Time that log calls have waited for room.", func(s *logappender.Stats) float64 { return s.Blocked.Seconds() })
	add(counter, "flush_timeouts_total", "Flushes that ended before delivery.", func(s *logappender.Stats) float64 { return float64(s.FlushTimeouts) })
	add(counter, "gap_records_total", "Gap records written into the stream.", func(s *logappender.Stats) float64 { return float64(s.Gaps) })
	add(counter, "truncated_total", "Entries that were cut.", func(s *logappender.Stats) float64 { return float64(s.Truncated) })
	add(counter, "saved_total", "Entries written to the fallback.", func(s *logappender.Stats) float64 { return float64(s.Saved) })
	add(gauge, "spill_bytes", "Bytes of the files of the spill.", func(s *logappender.Stats) float64 { return float64(s.SpillBytes) })
	add(gauge, "spill_segments", "Files of the spill.", func(s *logappender.Stats) float64 { return float64(s.SpillSegments) })
	add(gauge, "spill_healthy", "1 if there is a spill, and its disk has taken the last chunk.", func(s *logappender.Stats) float64 { return one(s.SpillHealthy) })
	add(gauge, "circuit_open", "1 while entries go to the disk because the stream does not take them.", func(s *logappender.Stats) float64 { return one(s.CircuitOpen) })
	add(counter, "circuit_opened_total", "How often that has begun.", func(s *logappender.Stats) float64 { return float64(s.CircuitOpened) })
	add(counter, "spill_missing_total", "Entries of earlier processes that the files of the spill have lost, as far as that is known.", func(s *logappender.Stats) float64 { return float64(s.SpillMissing) })
	add(counter, "spill_torn_total", "Files of the spill that a crash has cut short.", func(s *logappender.Stats) float64 { return float64(s.SpillTorn) })
	add(counter, "spill_damaged_total", "Files of the spill that could not be read to their end.", func(s *logappender.Stats) float64 { return float64(s.SpillDamaged) })
	add(counter, "recovered_total", "Entries of earlier processes read from the spill.", func(s *logappender.Stats) float64 { return float64(s.Recovered) })
	add(gauge, "last_success_timestamp_seconds", "Time of the last delivery; 0 if there was none.", func(s *logappender.Stats) float64 {
		if s.LastSuccess.IsZero() {
			return 0
		}
		return float64(s.LastSuccess.UnixMilli()) / 1000
	})
	for _, h := range []struct {
		name, help string
		of         func(*logappender.Stats) *logappender.Histogram
	}{
		{"handover_chunk_bytes", "Chunks that went to the producer or to the disk, by size.", func(s *logappender.Stats) *logappender.Histogram { return &s.HandoverBytes }},
		{"delivery_seconds", "Delivered entries, by the time from the writing of the first in their chunk.", func(s *logappender.Stats) *logappender.Histogram { return &s.DeliverySeconds }},
		{"flush_seconds", "Flushes, those of Sync, Panic and Fatal among them, by how long they waited.", func(s *logappender.Stats) *logappender.Histogram { return &s.FlushSeconds }},
	} {
		c.histograms = append(c.histograms, histogram{desc(h.name, h.help), h.of})
	}
	return c
}

// one is 1 if b is set.
func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe sends the descriptions of all metrics.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.entries
	ch <- c.dropped
	ch <- c.pending
	ch <- c.healthy
	ch <- c.spilled
	for _, v := range c.values {
		ch <- v.desc
	}
	for _, h := range c.histograms {
		ch <- h.desc
	}
}

// Collect sends the metrics of one snapshot.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.source.Stats()
	var dropped logappender.LevelCounts
	for r, counts := range s.Dropped {
		ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(counts.Total()), logappender.DropReason(r).String())
		for i, n := range counts {
			dropped[i] += n
		}
	}
	for l := zapcore.DebugLevel; l <= zapcore.FatalLevel; l++ {
		for _, m := range []struct {
			result string
			counts logappender.LevelCounts
		}{{"accepted", s.Accepted}, {"delivered", s.Delivered}, {"dropped", dropped}, {"sampled", s.Sampled}, {"lost", s.Lost}, {"replayed", s.Replayed}} {
			ch <- prometheus.MustNewConstMetric(c.entries, prometheus.CounterValue, float64(m.counts.At(l)), l.String(), m.result)
		}
		ch <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(s.Pending.At(l)), l.String())
		ch <- prometheus.MustNewConstMetric(c.spilled, prometheus.GaugeValue, float64(s.Spilled.At(l)), l.String())
	}
	ch <- prometheus.MustNewConstMetric(c.healthy, prometheus.GaugeValue, one(c.source.Healthy()))
	for _, v := range c.values {
		ch <- prometheus.MustNewConstMetric(v.desc, v.typ, v.of(&s))
	}
	for _, h := range c.histograms {
		v := h.of(&s)
		ch <- prometheus.MustNewConstHistogram(h.desc, v.Count, v.Sum, v.Buckets())
	}
}
