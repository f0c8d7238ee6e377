package consumer

import (
	"math"
	"sync/atomic"
	"time"
)

// meter measures how much a shard's processor gets, and how long it takes. bytes may be
// added to at any time; all else belongs to the goroutine that writes the lease.
type meter struct {
	bytes atomic.Int64
	since time.Time     // when bytes was last taken
	took  time.Duration // by calls of the processor until then
}

// read returns what the lease is to tell of throughput, in KiB a second, and of how busy
// its processor is, which has taken took so far: means of before and of what came since
// the last time, rounded to six decimals. It returns nil if that was not long ago.
//
// Source: amazon-kinesis-client 3.x, DynamoDBLeaseRenewer, DynamoDBLeaseSerializer.
func (m *meter) read(before *Lease, took time.Duration, now time.Time) (rate, busy *float64) {
	d := now.Sub(m.since)
	if d < time.Second {
		return nil, nil
	}
	mean := func(before, v float64) *float64 {
		if before > 0 {
			v = (v + before) / 2
		}
		v = math.Floor(v*1e6+0.5) / 1e6
		return &v
	}
	rate = mean(before.ThroughputKBps, float64(m.bytes.Swap(0))/1024/d.Seconds())
	busy = mean(before.Busy, (took-m.took).Seconds()/d.Seconds())
	*busy = max(*busy, 1e-6) // 0 is not known
	m.since, m.took = now, took
	return rate, busy
}
