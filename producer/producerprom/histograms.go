package producerprom

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/producer"
)

// Histograms shows how long records take, and how large what carries them is: what
// counters do not tell. It is a [producer.Hook] of one producer and a collector:
//
//	h := producerprom.NewHistograms("orders")
//	registry.MustRegister(h)
//	p, err := producer.New(client, "orders", producer.Config{Hooks: []producer.Hook{h}})
//
// Histograms have the buckets of this package, and native ones for servers that ask
// for them. It is safe for concurrent use.
type Histograms struct {
	buffering, request, latency            prometheus.Histogram
	entries, requestRecords, records, size prometheus.Histogram
	bytes                                  prometheus.Counter
	all                                    []prometheus.Collector
}

var (
	_ prometheus.Collector = (*Histograms)(nil)
	_ producer.RequestHook = (*Histograms)(nil)
	_ producer.DoneHook    = (*Histograms)(nil)
)

// NewHistograms returns the histograms of a producer, with the given value of the
// label stream. One registry takes one of them for a stream.
func NewHistograms(stream string) *Histograms {
	h := &Histograms{}
	labels := prometheus.Labels{"stream": stream}
	add := func(name, help string, buckets []float64) prometheus.Histogram {
		one := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kinesis_producer_" + name, Help: help, ConstLabels: labels,
			Buckets: buckets, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		})
		h.all = append(h.all, one)
		return one
	}
	seconds := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	counts := prometheus.ExponentialBuckets(1, 2, 10)  // 1 to 512
	records := prometheus.ExponentialBuckets(1, 4, 9)  // 1 to 65,536
	sizes := prometheus.ExponentialBuckets(1024, 4, 7) // 1 KiB to 4 MiB
	h.buffering = add("buffering_seconds", "Time that a Kinesis record waited for a request, since its oldest user record was put or the attempt before ended.", seconds)
	h.request = add("request_duration_seconds", "Time that a PutRecords request took.", seconds)
	h.latency = add("record_latency_seconds", "Time from the put of the oldest user record of a Kinesis record until it was stored.", seconds)
	h.entries = add("request_kinesis_records", "Kinesis records in a PutRecords request.", counts)
	h.requestRecords = add("request_user_records", "User records in a PutRecords request.", records)
	h.records = add("kinesis_record_user_records", "User records in a Kinesis record that was stored.", records)
	h.size = add("kinesis_record_size_bytes", "Size of a Kinesis record that was stored.", sizes)
	h.bytes = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kinesis_producer_record_bytes_total", Help: "Bytes of user records stored, without keys.", ConstLabels: labels,
	})
	h.all = append(h.all, h.bytes)
	return h
}

// OnRequest implements [producer.RequestHook].
func (h *Histograms) OnRequest(_ context.Context, r producer.RequestInfo) (context.Context, func(producer.RequestResult)) {
	return nil, func(res producer.RequestResult) {
		records := 0
		for i := range r.Entries {
			e := &r.Entries[i]
			records += e.UserRecords
			h.buffering.Observe(e.Waited.Seconds())
			if res.Err == nil && res.Entries[i].ErrorCode == "" {
				h.records.Observe(float64(e.UserRecords))
				h.size.Observe(float64(e.Bytes))
			}
		}
		h.request.Observe(res.Duration.Seconds())
		h.entries.Observe(float64(len(r.Entries)))
		h.requestRecords.Observe(float64(records))
	}
}

// OnDone implements [producer.DoneHook].
func (h *Histograms) OnDone(d producer.DoneInfo) {
	if d.Err == nil {
		h.latency.Observe(d.Age.Seconds())
		h.bytes.Add(float64(d.DataBytes))
	}
}

// Describe implements [prometheus.Collector].
func (h *Histograms) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range h.all {
		c.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (h *Histograms) Collect(ch chan<- prometheus.Metric) {
	for _, c := range h.all {
		c.Collect(ch)
	}
}
