package streamd

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/streamkit/streamkit/streamd/internal/state"
)

// maxStreamLabels bounds the streams that metrics name; all others share the
// label value otherStreams.
const (
	maxStreamLabels = 1000
	otherStreams    = "_other"
)

// metrics counts what the server does, in a registry of its own.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	records  *prometheus.CounterVec
	bytes    *prometheus.CounterVec

	writesThrottled, readsThrottled *prometheus.CounterVec

	mu     sync.Mutex // guards what follows
	labels map[string]bool
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamd_requests_total", Help: "Requests answered, by operation and code of the error (OK if none).",
		}, []string{"service", "operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "streamd_request_duration_seconds", Help: "Time from a request's headers to its answer.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"service", "operation"}),
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamd_stream_records_total", Help: "Records that a stream took (in) or gave (out).",
		}, []string{"stream", "direction"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamd_stream_bytes_total", Help: "Bytes of data in the records that a stream took (in) or gave (out).",
		}, []string{"stream", "direction"}),
		// As CloudWatch has them.
		writesThrottled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kinesis_write_provisioned_throughput_exceeded_total", Help: "Records that a stream refused because they came faster than its limits.",
		}, []string{"stream"}),
		readsThrottled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kinesis_read_provisioned_throughput_exceeded_total", Help: "Calls of GetRecords that a stream refused because they came faster than its limits.",
		}, []string{"stream"}),
		labels: make(map[string]bool),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.records, m.bytes, m.writesThrottled, m.readsThrottled)
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) observe(service, operation, code string, took time.Duration) {
	m.requests.WithLabelValues(service, operation, code).Inc()
	m.seconds.WithLabelValues(service, operation).Observe(took.Seconds())
}

func (m *metrics) in(key state.StreamKey, records, bytes int) { m.traffic(key, "in", records, bytes) }

func (m *metrics) out(key state.StreamKey, records, bytes int) { m.traffic(key, "out", records, bytes) }

func (m *metrics) traffic(key state.StreamKey, direction string, records, bytes int) {
	stream := m.label(key.Name)
	m.records.WithLabelValues(stream, direction).Add(float64(records))
	m.bytes.WithLabelValues(stream, direction).Add(float64(bytes))
}

// throttled counts records or reads that were refused for coming too fast.
func (m *metrics) throttled(key state.StreamKey, write bool, n int) {
	c := m.readsThrottled
	if write {
		c = m.writesThrottled
	}
	c.WithLabelValues(m.label(key.Name)).Add(float64(n))
}

// label returns the label value of a stream.
func (m *metrics) label(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.labels[name] {
		return name
	}
	if len(m.labels) == maxStreamLabels {
		return otherStreams
	}
	m.labels[name] = true
	return name
}
