package firehose

import (
	"maps"
	"time"

	"github.com/streamkit/streamkit/producer"
)

// Stats returns a snapshot of the producer's counters since its start and of its
// present state. Kinesis records in it are Firehose records. What is said of
// shards stays zero.
func (p *Producer) Stats() producer.Stats {
	c := &p.stats
	s := producer.Stats{
		UserRecordsPut:        c.put.Load(),
		UserRecordsFailed:     c.failed.Load(),
		UserRecordsExpired:    c.expired.Load(),
		BufferedBytes:         p.own.Used(),
		KinesisRecordsPut:     c.recordsPut.Load(),
		KinesisRecordsDataPut: c.bytesPut.Load(),
		Retries:               c.retries.Load(),
		Requests:              c.requests.Load(),
		RequestTime:           time.Duration(c.requestNanos.Load()),
		CallbackPanics:        c.panics.Load(),
	}
	// Last, so that no more records are finished than were received.
	s.UserRecordsReceived = c.received.Load()
	s.UserRecordsPending = int64(s.UserRecordsReceived - s.UserRecordsPut - s.UserRecordsFailed)
	c.mu.Lock()
	s.ErrorsByCode = maps.Clone(c.codes)
	c.mu.Unlock()
	p.mu.Lock()
	s.RequestsInFlight, s.Paused = p.requests, p.flow.paused
	p.mu.Unlock()
	return s
}

func (c *counters) countCode(code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.codes == nil {
		c.codes = make(map[string]uint64)
	}
	c.codes[code]++
}
