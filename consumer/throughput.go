package consumer

import (
	"math"
	"sync/atomic"
	"time"
)

// meter measures how much a shard's processor gets. bytes may be added to at
// any time; all else belongs to the goroutine that writes the lease.
type meter struct {
	bytes atomic.Int64
	since time.Time // when bytes was last taken
}

// read returns what the lease is to tell of throughput: the mean of before, in
// KiB a second, and of what came since the last time, rounded to six decimals. It
// returns nil if that was not long ago.
//
// Source: amazon-kinesis-client 3.x, DynamoDBLeaseRenewer, DynamoDBLeaseSerializer.
func (m *meter) read(before float64, now time.Time) *float64 {
	d := now.Sub(m.since)
	if d < time.Second {
		return nil
	}
	rate := float64(m.bytes.Swap(0)) / 1024 / d.Seconds()
	m.since = now
	if before > 0 {
		rate = (rate + before) / 2
	}
	rate = math.Floor(rate*1e6+0.5) / 1e6
	return &rate
}
