package streamd

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/awsproto"
	"github.com/streamkit/streamkit/streamd/internal/state"
)

// Bounds of what metrics name. Streams beyond theirs share the label value
// otherLabel, and so do consumers; shards beyond theirs are left out.
const (
	maxStreamLabels   = 1000
	maxConsumerLabels = 20 // of one stream: as many as AWS lets it have by default
	maxShardLabels    = 10000
	otherLabel        = "_other"
)

// streamMetrics counts by stream, by consumer and by shard, under names taken
// from Amazon CloudWatch. It is an [api.Meter]. Streams of the same name in
// several accounts or regions are counted together.
type streamMetrics struct {
	counters  [streamCounters]*prometheus.CounterVec
	latencies [streamLatencies]*prometheus.HistogramVec
	consumers [consumerCounters]*prometheus.CounterVec
	shards    [shardCounters]*prometheus.CounterVec

	// catalogue returns the streams that there are, stored how many bytes each has
	// by its id, now the time by which shards expire. Set before the first scrape.
	catalogue func() []*state.Stream
	stored    func() map[uint64]uint64
	now       func() time.Time

	shardLabels atomic.Int64 // how many shards are named

	mu     sync.RWMutex // guards what follows
	byName map[string]*streamCount
	other  *streamCount // of the streams beyond maxStreamLabels; nil until there are any
}

// streamCount holds what is counted of one stream: a request finds it once, and
// then adds without looking anything up.
type streamCount struct {
	label     string
	counters  [streamCounters]prometheus.Counter
	latencies [streamLatencies]atomic.Pointer[prometheus.Observer] // nil until there is one
	age       recentMax

	mu        sync.RWMutex // guards what follows
	consumers map[string]*consumerCount
	shards    map[int]*shardCount
}

type consumerCount struct {
	counters [consumerCounters]prometheus.Counter
	behind   recentMax
}

// shardCount has nil for what is not switched on.
type shardCount struct {
	counters [shardCounters]atomic.Pointer[prometheus.Counter]
	age      recentMax
}

func counterVec(n metricName, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: n.name, Help: n.help}, labels)
}

func newStreamMetrics() *streamMetrics {
	m := &streamMetrics{byName: make(map[string]*streamCount)}
	for i, n := range streamCounterNames {
		m.counters[i] = counterVec(n, "stream")
	}
	for i, n := range streamLatencyNames {
		m.latencies[i] = prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: n.name, Help: n.help, Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5},
		}, []string{"stream"})
	}
	for i, n := range consumerCounterNames {
		m.consumers[i] = counterVec(n, "stream", "consumer")
	}
	for i, n := range shardCounterNames {
		m.shards[i] = counterVec(n, "stream", "shard")
	}
	return m
}

// of returns the count of a stream that exists.
func (m *streamMetrics) of(name string) *streamCount {
	m.mu.RLock()
	c, ok := m.byName[name]
	if !ok && len(m.byName) >= maxStreamLabels {
		c = m.other
	}
	m.mu.RUnlock()
	if c != nil {
		return c
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch c := m.byName[name]; {
	case c != nil:
		return c
	case len(m.byName) < maxStreamLabels:
		c = m.newCount(name)
		m.byName[name] = c
		return c
	case m.other == nil:
		m.other = m.newCount(otherLabel)
	}
	return m.other
}

func (m *streamMetrics) newCount(label string) *streamCount {
	c := &streamCount{label: label}
	for i, vec := range m.counters {
		c.counters[i] = vec.WithLabelValues(label)
	}
	return c
}

// observe counts a request about a stream that exists.
func (m *streamMetrics) observe(e *awsproto.Exchange) {
	ok := e.Code == awsproto.CodeOK
	switch e.Operation {
	case "PutRecord":
		m.called(e, putRecordLatency, putRecordSuccess, ok)
	case "PutRecords":
		m.called(e, putRecordsLatency, putRecordsSuccess, false) // by its records: see Put
	case "GetRecords":
		m.called(e, getRecordsLatency, getRecordsSuccess, ok)
	case "SubscribeToShard":
		switch c := m.of(e.Subject.Stream); {
		case e.Status == http.StatusOK: // whatever ended it
			c.counters[subscribeSuccess].Inc()
		case e.Code == "LimitExceededException" || e.Code == "ResourceInUseException":
			c.counters[subscribeExceeded].Inc()
		}
	}
}

func (m *streamMetrics) called(e *awsproto.Exchange, latency, success int, ok bool) {
	c := m.of(e.Subject.Stream)
	if ok {
		c.counters[success].Inc()
	}
	h := c.latencies[latency].Load()
	if h == nil {
		child := m.latencies[latency].WithLabelValues(c.label)
		h = &child
		c.latencies[latency].Store(h)
	}
	(*h).Observe(e.Took.Seconds())
}

// Put implements [api.Meter].
func (m *streamMetrics) Put(s *state.Stream, p api.Put) {
	c := m.of(s.Key.Name)
	stored, bytes := float64(len(p.Records)), 0
	for i := range p.Records {
		bytes += len(p.Records[i].Data)
	}
	c.counters[incomingBytes].Add(float64(bytes))
	c.counters[incomingRecords].Add(stored)
	if p.Batch {
		c.counters[putRecordsBytes].Add(float64(bytes))
		c.counters[putRecordsTotal].Add(stored + float64(p.Throttled+p.Failed))
		c.counters[putRecordsSuccessful].Add(stored)
		c.counters[putRecordsThrottled].Add(float64(p.Throttled))
		c.counters[putRecordsFailed].Add(float64(p.Failed))
		if len(p.Records) > 0 {
			c.counters[putRecordsSuccess].Inc()
		}
	} else {
		c.counters[putRecordBytes].Add(float64(bytes))
	}
	if len(s.Metrics) == 0 || c.label == otherLabel {
		return
	}
	for i := range p.Stored {
		m.addShard(c, s, p.Stored[i].Shard, shardIncomingRecords, 1)
		m.addShard(c, s, p.Stored[i].Shard, shardIncomingBytes, len(p.Records[i].Data))
	}
}

// Got implements [api.Meter].
func (m *streamMetrics) Got(s *state.Stream, shard, records, bytes int, age time.Duration) {
	c := m.of(s.Key.Name)
	c.counters[getRecordsBytes].Add(float64(bytes))
	c.counters[getRecordsRecords].Add(float64(records))
	c.age.add(age.Milliseconds())
	if len(s.Metrics) == 0 || c.label == otherLabel {
		return
	}
	m.addShard(c, s, shard, shardOutgoingRecords, records)
	m.addShard(c, s, shard, shardOutgoingBytes, bytes)
	if slices.Contains(s.Metrics, shardAgeName.aws) {
		if sc := m.shard(c, shard); sc != nil {
			sc.age.add(age.Milliseconds())
		}
	}
}

// throttled counts records or reads that were refused for coming too fast. It is
// a [limits.Throttled].
func (m *streamMetrics) throttled(s *state.Stream, shard int, write bool, n int) {
	which, ofShard := readExceeded, shardReadExceeded
	if write {
		which, ofShard = writeExceeded, shardWriteExceeded
	}
	c := m.of(s.Key.Name)
	c.counters[which].Add(float64(n))
	if len(s.Metrics) > 0 && c.label != otherLabel {
		m.addShard(c, s, shard, ofShard, n)
	}
}

// Sent implements [api.Meter].
func (m *streamMetrics) Sent(s *state.Stream, consumer string, e api.Event) {
	c := m.of(s.Key.Name)
	cc := m.consumer(c, consumer)
	cc.counters[eventBytes].Add(float64(e.Bytes))
	cc.counters[eventRecords].Add(float64(e.Records))
	cc.counters[eventSuccess].Inc()
	cc.behind.add(e.Behind.Milliseconds())
	if len(s.Metrics) == 0 || c.label == otherLabel {
		return
	}
	m.addShard(c, s, e.Shard, shardOutgoingRecords, e.Records)
	m.addShard(c, s, e.Shard, shardOutgoingBytes, e.Bytes)
}

// consumer returns the count of a consumer.
func (m *streamMetrics) consumer(c *streamCount, name string) *consumerCount {
	if c.label == otherLabel {
		name = otherLabel
	}
	c.mu.RLock()
	cc, ok := c.consumers[name]
	if !ok && len(c.consumers) >= maxConsumerLabels {
		name = otherLabel
		cc = c.consumers[name]
	}
	c.mu.RUnlock()
	if cc != nil {
		return cc
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if cc = c.consumers[name]; cc != nil {
		return cc
	}
	cc = new(consumerCount)
	for i, vec := range m.consumers {
		cc.counters[i] = vec.WithLabelValues(c.label, name)
	}
	if c.consumers == nil {
		c.consumers = make(map[string]*consumerCount)
	}
	c.consumers[name] = cc
	return cc
}

// shard returns the count of a shard, nil if too many are counted already.
func (m *streamMetrics) shard(c *streamCount, shard int) *shardCount {
	c.mu.RLock()
	sc := c.shards[shard]
	c.mu.RUnlock()
	if sc != nil || m.shardLabels.Load() >= maxShardLabels {
		return sc
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if sc = c.shards[shard]; sc == nil {
		if c.shards == nil {
			c.shards = make(map[int]*shardCount)
		}
		sc = new(shardCount)
		c.shards[shard] = sc
		m.shardLabels.Add(1)
	}
	return sc
}

// addShard counts n of one metric of a shard, if that is switched on.
func (m *streamMetrics) addShard(c *streamCount, s *state.Stream, shard, metric, n int) {
	if !slices.Contains(s.Metrics, shardCounterNames[metric].aws) {
		return
	}
	sc := m.shard(c, shard)
	if sc == nil {
		return
	}
	counter := sc.counters[metric].Load()
	if counter == nil {
		child := m.shards[metric].WithLabelValues(c.label, state.ShardID(shard))
		counter = &child
		sc.counters[metric].Store(counter)
	}
	(*counter).Add(float64(n))
}
