package streamd

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/streamd/internal/state"
)

// agePeriod is the period of a recentMax: that of CloudWatch.
const agePeriod = time.Minute

// idlePeriods is how long a consumer's labels outlive its last event. While it
// is subscribed it is sent one every five seconds.
const idlePeriods = 60

// recentMax is the greatest value of this period and the last. The zero
// recentMax has seen none.
type recentMax struct {
	mu      sync.Mutex // guards what follows
	started bool
	period  int64 // of now
	now     int64 // the greatest of that period
	before  int64 // of the period before, -1 if there was none
}

func currentPeriod() int64 { return time.Now().UnixNano() / int64(agePeriod) }

func (r *recentMax) add(v int64) {
	p := currentPeriod()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.started && p == r.period:
	case r.started && p == r.period+1:
		r.period, r.before, r.now = p, r.now, -1
	default:
		r.started, r.period, r.before, r.now = true, p, -1, -1
	}
	r.now = max(r.now, v)
}

// get returns the greatest value; ok is false if there was none.
func (r *recentMax) get() (v int64, ok bool) {
	p := currentPeriod()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.started && p == r.period:
		return max(r.now, r.before), true
	case r.started && p == r.period+1:
		return r.now, true
	}
	return 0, false
}

// idle reports whether there was no value for long.
func (r *recentMax) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return currentPeriod()-r.period > idlePeriods
}

func (r *recentMax) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = false
}

// What is looked up when it is asked for.
var (
	iteratorAge = desc(iteratorAgeName, "stream")
	eventBehind = desc(eventBehindName, "stream", "consumer")
	shardAge    = desc(shardAgeName, "stream", "shard")
	streamsDesc = prometheus.NewDesc("streamd_streams", "Streams that there are.", nil, nil)
	storedBytes = prometheus.NewDesc("streamd_stream_stored_bytes", "Bytes that the records of a stream take, with their keys.", []string{"stream"}, nil)
	openShards  = prometheus.NewDesc("streamd_open_shards", "Shards that take records.", nil, nil)
)

func desc(n metricName, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(n.name, n.help, labels, nil)
}

// vectors returns the metrics that are counted.
func (m *streamMetrics) vectors() []prometheus.Collector {
	var all []prometheus.Collector
	for _, vec := range m.counters {
		all = append(all, vec)
	}
	for _, vec := range m.latencies {
		all = append(all, vec)
	}
	for _, vec := range m.consumers {
		all = append(all, vec)
	}
	for _, vec := range m.shards {
		all = append(all, vec)
	}
	return all
}

// Describe implements [prometheus.Collector].
func (m *streamMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, vec := range m.vectors() {
		vec.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{iteratorAge, eventBehind, shardAge, streamsDesc, openShards, storedBytes} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (m *streamMetrics) Collect(ch chan<- prometheus.Metric) {
	m.prune()
	for _, vec := range m.vectors() {
		vec.Collect(ch)
	}
	gauge := func(d *prometheus.Desc, r *recentMax, labels ...string) {
		if v, ok := r.get(); ok {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
		}
	}
	for _, c := range m.all() {
		gauge(iteratorAge, &c.age, c.label)
		consumers, shards := c.parts()
		for name, cc := range consumers {
			gauge(eventBehind, &cc.behind, c.label, name)
		}
		for shard, sc := range shards {
			gauge(shardAge, &sc.age, c.label, state.ShardID(shard))
		}
	}
	streams := m.catalogue()
	open := 0
	for _, s := range streams {
		open += len(s.Open())
	}
	for name, bytes := range m.storedByName(streams) {
		ch <- prometheus.MustNewConstMetric(storedBytes, prometheus.GaugeValue, float64(bytes), name)
	}
	ch <- prometheus.MustNewConstMetric(streamsDesc, prometheus.GaugeValue, float64(len(streams)))
	ch <- prometheus.MustNewConstMetric(openShards, prometheus.GaugeValue, float64(open))
}

// storedByName returns what the records of streams take, by their names; those of
// the names beyond maxStreamLabels together.
func (m *streamMetrics) storedByName(streams []*state.Stream) map[string]uint64 {
	stored := m.stored()
	byName := make(map[string]uint64)
	for _, s := range streams {
		byName[s.Key.Name] += stored[s.ID]
	}
	if len(byName) > maxStreamLabels {
		for _, name := range slices.Sorted(maps.Keys(byName))[maxStreamLabels:] {
			byName[otherLabel] += byName[name]
			delete(byName, name)
		}
	}
	return byName
}

// all returns every count.
func (m *streamMetrics) all() []*streamCount {
	m.mu.RLock()
	defer m.mu.RUnlock()
	counts := slices.Collect(maps.Values(m.byName))
	if m.other != nil {
		counts = append(counts, m.other)
	}
	return counts
}

// parts returns the counts of consumers and shards.
func (c *streamCount) parts() (map[string]*consumerCount, map[int]*shardCount) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return maps.Clone(c.consumers), maps.Clone(c.shards)
}

// prune forgets the labels of what is no more: streams that were deleted,
// shards that have expired or whose metrics were switched off, consumers that
// have not been sent anything for long.
func (m *streamMetrics) prune() {
	// Before the catalogue is read: a stream that is counted after that may be
	// younger than the catalogue.
	counts := m.all()
	live := make(map[string][]*state.Stream)
	for _, s := range m.catalogue() {
		live[s.Key.Name] = append(live[s.Key.Name], s)
	}
	for _, c := range counts {
		streams := live[c.label]
		if len(streams) == 0 && c.label != otherLabel {
			m.forget(c)
			continue
		}
		consumers, shards := c.parts()
		for name, cc := range consumers {
			if cc.behind.idle() {
				m.forgetConsumer(c, name)
			}
		}
		for shard, sc := range shards {
			m.pruneShard(c, streams, shard, sc)
		}
	}
}

// forget drops a stream.
func (m *streamMetrics) forget(c *streamCount) {
	m.mu.Lock()
	delete(m.byName, c.label)
	m.mu.Unlock()
	for _, vec := range m.counters {
		vec.DeleteLabelValues(c.label)
	}
	for _, vec := range m.latencies {
		vec.DeleteLabelValues(c.label)
	}
	consumers, shards := c.parts()
	for name := range consumers {
		m.forgetConsumer(c, name)
	}
	for shard := range shards {
		m.forgetShard(c, shard)
	}
}

func (m *streamMetrics) forgetConsumer(c *streamCount, name string) {
	c.mu.Lock()
	delete(c.consumers, name)
	c.mu.Unlock()
	for _, vec := range m.consumers {
		vec.DeleteLabelValues(c.label, name)
	}
}

func (m *streamMetrics) forgetShard(c *streamCount, shard int) {
	c.mu.Lock()
	delete(c.shards, shard)
	c.mu.Unlock()
	m.shardLabels.Add(-1)
	for _, vec := range m.shards {
		vec.DeleteLabelValues(c.label, state.ShardID(shard))
	}
}

// pruneShard drops what the streams of a name do not keep of a shard any more.
func (m *streamMetrics) pruneShard(c *streamCount, streams []*state.Stream, shard int, sc *shardCount) {
	kept := func(metric string) bool {
		return slices.ContainsFunc(streams, func(s *state.Stream) bool {
			return slices.Contains(s.Metrics, metric) && shard < len(s.Shards) && !s.Expired(shard, m.now())
		})
	}
	some := kept(shardAgeName.aws)
	if !some {
		sc.age.reset()
	}
	for i, n := range shardCounterNames {
		if kept(n.aws) {
			some = true
			continue
		}
		sc.counters[i].Store(nil)
		m.shards[i].DeleteLabelValues(c.label, state.ShardID(shard))
	}
	if !some {
		m.forgetShard(c, shard)
	}
}
