package multilang

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/consumer"
	"github.com/streamkit/streamkit/consumer/consumerprom"
)

// collector shows a bridge's counters beside those of its consumer.
type collector struct {
	prometheus.Collector // of the consumer
	bridge               *Bridge
	metrics              []metric
}

type metric struct {
	desc  *prometheus.Desc
	value func(*Stats) int64
}

// consumerStats is the consumer of a bridge as a source of metrics.
type consumerStats struct{ b *Bridge }

func (s consumerStats) Stats() consumer.Stats { return s.b.c.Stats() }

// NewCollector returns a collector of the counters of b: those of package
// consumerprom, and others that begin with kinesis_multilang_.
func NewCollector(app, stream string, b *Bridge) prometheus.Collector {
	labels := prometheus.Labels{"app": app, "stream": stream}
	c := &collector{
		Collector: consumerprom.NewCollector(app, stream, consumerStats{b}, consumerprom.Config{PerShard: true}),
		bridge:    b,
	}
	for _, m := range []struct {
		name, help string
		value      func(*Stats) int64
	}{
		{"children_total", "Child processes started.", func(s *Stats) int64 { return s.Children }},
		{"records_total", "Records that child processes have handled.", func(s *Stats) int64 { return s.Records }},
		{"checkpoints_total", "Checkpoints that child processes have asked for.", func(s *Stats) int64 { return s.Checkpoints }},
		{"checkpoint_errors_total", "Checkpoints that were answered with an error.", func(s *Stats) int64 { return s.CheckpointErrors }},
		{"timeouts_total", "Child processes killed because they did not answer in time.", func(s *Stats) int64 { return s.Timeouts }},
		{"floods_total", "Child processes killed for a line without end.", func(s *Stats) int64 { return s.Floods }},
		{"stray_lines_total", "Lines on standard output that were no messages.", func(s *Stats) int64 { return s.StrayLines }},
	} {
		c.metrics = append(c.metrics, metric{prometheus.NewDesc("kinesis_multilang_"+m.name, m.help, nil, labels), m.value})
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	c.Collector.Describe(ch)
	for _, m := range c.metrics {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.Collector.Collect(ch)
	s := c.bridge.Stats()
	for _, m := range c.metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(m.value(&s)))
	}
}
