package streamd

import (
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// metrics counts what the server does, in a registry of its own. What it counts
// by stream is in stream.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	retries  *prometheus.CounterVec
	open     prometheus.Gauge
	accepted prometheus.Counter
	syncs    prometheus.Histogram
	stream   *streamMetrics

	answers atomic.Pointer[awsproto.Handler] // nil before there is one
}

// newMetrics returns the metrics of a server of the given version.
func newMetrics(version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamd_requests_total", Help: "Requests answered, by operation and code of the error (OK if none).",
		}, []string{"service", "operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "streamd_request_duration_seconds", Help: "Time from a request's headers to its answer.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"service", "operation"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "streamd_request_retries_total", Help: "Requests that their SDK calls a second or later attempt.",
		}, []string{"service", "operation"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "streamd_connections", Help: "Connections of clients that are open.",
		}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "streamd_connections_accepted_total", Help: "Connections of clients that were accepted.",
		}),
		syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "streamd_journal_sync_duration_seconds", Help: "Time that each fsync of the journal took.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
		stream: newStreamMetrics(),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "streamd_build_info", Help: "Always 1: the version of the server is in the labels.",
		ConstLabels: prometheus.Labels{"version": versionOr(version), "go_version": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.seconds, m.retries, m.open, m.accepted, m.syncs, build)
	m.gauge("streamd_request_body_bytes", "Bytes of request bodies in memory.", func() float64 {
		if h := m.answers.Load(); h != nil {
			return float64(h.BodyBytes())
		}
		return 0
	})
	m.gauge("streamd_answer_bytes", "Bytes of answers that wait for their clients to read them.", func() float64 {
		if h := m.answers.Load(); h != nil {
			return float64(h.AnswerBytes())
		}
		return 0
	})
	m.counter("streamd_answers_refused_total", "Calls of GetRecords that were refused because too many answers wait for their clients.", func() float64 {
		if h := m.answers.Load(); h != nil {
			return float64(h.AnswersRefused())
		}
		return 0
	})
	return m
}

// versionOr returns the version given, or the one that the program was built
// from.
func versionOr(version string) string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// watch adds the metrics of a store, and those of streams, which end with them.
func (m *metrics) watch(st *store.Store) {
	m.gauge("streamd_journal_bytes", "Bytes of the journal's files; in memory, of all that is kept.", func() float64 { return float64(st.Disk().Journal) })
	m.gauge("streamd_runs_bytes", "Bytes of the files of records that checkpoints have written.", func() float64 { return float64(st.Disk().Runs) })
	m.gauge("streamd_runs", "Files of records.", func() float64 { return float64(st.Disk().RunFiles) })
	m.gauge("streamd_snapshots_bytes", "Bytes of the snapshots of streams and tables.", func() float64 { return float64(st.Disk().Snapshots) })
	m.gauge("streamd_disk_refused", "1 while records are refused for want of room on the disk.", func() float64 {
		if st.Disk().Refused {
			return 1
		}
		return 0
	})
	m.counter("streamd_journal_stalls_seconds_total", "Time that writes have waited for checkpoints to free the journal.", func() float64 { return st.Disk().Stalled.Seconds() })
	m.stream.catalogue, m.stream.stored, m.stream.now = st.All, st.Stored, st.Aging
	m.registry.MustRegister(m.stream)
}

// gauge adds a metric that is looked up when it is asked for.
func (m *metrics) gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// counter adds a counter that is looked up when it is asked for.
func (m *metrics) counter(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
}

// handler serves the metrics, and those of the process with them.
func (m *metrics) handler() http.Handler {
	process := prometheus.NewRegistry()
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(prometheus.Gatherers{m.registry, process}, promhttp.HandlerOpts{})
}

// observe counts a request that has been answered.
func (m *metrics) observe(e *awsproto.Exchange) {
	m.requests.WithLabelValues(e.Service, e.Operation, e.Code).Inc()
	m.seconds.WithLabelValues(e.Service, e.Operation).Observe(e.Took.Seconds())
	if e.Attempt() > 1 {
		m.retries.WithLabelValues(e.Service, e.Operation).Inc()
	}
	if e.Subject.Exists {
		m.stream.observe(e)
	}
}

func (m *metrics) synced(took time.Duration) { m.syncs.Observe(took.Seconds()) }

// connection is an [http.Server]'s ConnState.
func (m *metrics) connection(_ net.Conn, to http.ConnState) {
	switch to {
	case http.StateNew:
		m.accepted.Inc()
		m.open.Inc()
	case http.StateClosed, http.StateHijacked:
		m.open.Dec()
	case http.StateActive, http.StateIdle:
	}
}
