package producer

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// shardRecords and shardBytes are what a shard takes in a second.
	//
	// Source: Amazon Kinesis API Reference, PutRecords.
	shardRecords = 1000
	shardBytes   = 1 << 20

	// A refusal cuts the allowed share to limitCut of itself; it grows by
	// limitGrowth of the ceiling a second, or by a quarter of itself if that is
	// less, so that a shard with little to give is not overrun every second.
	limitCut    = 0.7
	limitGrowth = 0.02
	// limitFloor is a record and a KiB a second of an ordinary shard.
	limitFloor = 0.001
	// limitMemory is how long a share at the ceiling, with nothing refused,
	// stays a limit.
	limitMemory = time.Minute

	// chunkTime is how much of the allowed bytes of a second one aggregated
	// record may have. A shard saves up for a second; who asks for all of that
	// at once waits behind everyone who asks for less.
	chunkTime = 250 * time.Millisecond
	minChunk  = 512
)

// limiter bounds what goes to a shard, once the shard has refused something:
// additive increase and multiplicative decrease let all who write to a shard
// come to equal shares, without knowing of each other. Until the first refusal
// it bounds nothing, because a server without limits must not be slowed down.
//
// Two token buckets, of records and of bytes, hold a second's worth. A Kinesis
// record that is larger than the bucket leaves when it is full, and the debt is
// waited for afterwards.
type limiter struct {
	percent int // ceiling, of what a shard takes; 0 if it holds only after a refusal

	mu           sync.Mutex // guards all below; a leaf
	records      float64    // ceiling, a second
	bytes        float64
	share        float64 // of the ceiling that is allowed; 0 means no limit
	recordTokens float64
	byteTokens   float64
	at           int64 // of the tokens
	cutAt        int64 // when a refusal last cut the share
	refusedAt    int64 // when the last refusal came
	meter        meter
}

// newLimiter returns the limiter of so many shards. percent is the ceiling; 0
// means that of one shard, after the first refusal.
func newLimiter(percent, shards int) *limiter {
	m := &limiter{percent: percent}
	m.scale(shards)
	if percent > 0 {
		m.share = 1
		m.recordTokens, m.byteTokens = m.records, m.bytes
	}
	return m
}

// scale sets the ceiling to that of so many shards.
func (m *limiter) scale(shards int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	part := float64(shards)
	if m.percent > 0 {
		part *= float64(m.percent) / 100
	}
	m.records, m.bytes = part*shardRecords, part*shardBytes
}

// refillLocked counts the time since the last look.
func (m *limiter) refillLocked(now int64) {
	dt := float64(now-m.at) / float64(time.Second)
	m.at = now
	if m.share == 0 || dt <= 0 {
		return
	}
	if m.share < 1 {
		m.share = min(1, m.share+dt*min(limitGrowth, m.share/4))
	} else if m.percent == 0 && now-m.refusedAt > int64(limitMemory) {
		m.share = 0
		return
	}
	m.recordTokens = min(m.recordTokens+dt*m.share*m.records, max(1, m.share*m.records))
	m.byteTokens = min(m.byteTokens+dt*m.share*m.bytes, m.share*m.bytes)
}

// when returns the earliest time at which a Kinesis record of so many bytes may
// leave: now, or later.
func (m *limiter) when(now int64, bytes int) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refillLocked(now)
	if m.share == 0 {
		return now
	}
	wait := max(
		(1-m.recordTokens)/(m.share*m.records),
		(min(float64(bytes), m.share*m.bytes)-m.byteTokens)/(m.share*m.bytes))
	if wait < 1e-6 { // the rest of a division
		return now
	}
	return now + int64(wait*float64(time.Second)) + 1
}

// take counts a Kinesis record that leaves.
func (m *limiter) take(bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.share > 0 {
		m.recordTokens--
		m.byteTokens -= float64(bytes)
	}
}

// chunk returns the most bytes of an aggregated record, 0 if there is no limit.
func (m *limiter) chunk() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.share == 0 {
		return 0
	}
	return max(minChunk, int(m.share*m.bytes*chunkTime.Seconds()))
}

// accepted counts what the shard has taken.
func (m *limiter) accepted(now int64, records, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.meter.add(now, max(float64(records)/m.records, float64(bytes)/m.bytes))
}

// refused notes that the shard has refused a set that was sent at the time
// given. Sets that were under way together count once.
func (m *limiter) refused(now, sent int64, r *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refillLocked(now)
	m.refusedAt = now
	switch {
	case m.share == 0:
		m.cutAt = now
		// No more than a part of what it took lately. A shard that nothing is
		// known of begins with nearly all.
		m.share = limitCut
		if rate := m.meter.rate(now); rate > 0 {
			m.share = min(1, limitCut*rate)
		}
	case sent >= m.cutAt:
		m.cutAt = now
		m.share *= limitCut
	}
	m.share = max(m.share, limitFloor)
	// The shard has nothing left. Not all who are refused come back together.
	m.recordTokens = min(m.recordTokens, 0)
	m.byteTokens = min(m.byteTokens, 0) - r.Float64()*m.share*m.bytes*chunkTime.Seconds()/2
}

// limited returns the allowed bytes a second, or 0 if there is no limit.
func (m *limiter) limited() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.share * m.bytes
}

// meter measures a rate over the last second or two.
type meter struct {
	begin     int64
	sum, last float64 // since begin; a second, of the time before it
}

func (m *meter) add(now int64, n float64) {
	m.roll(now)
	m.sum += n
}

func (m *meter) roll(now int64) {
	if d := now - m.begin; d >= int64(time.Second) {
		m.last = m.sum * float64(time.Second) / float64(d)
		m.sum, m.begin = 0, now
	}
}

func (m *meter) rate(now int64) float64 {
	m.roll(now)
	return max(m.last, m.sum)
}
