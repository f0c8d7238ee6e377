package consumer

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// Health is how a [Consumer] fares, see [Consumer.Health].
type Health struct {
	Running  bool      // Run was called, and its context has not ended
	Problems []Problem // none if all is well
}

// Problem is one thing that is wrong.
type Problem struct {
	ShardID  string // "" if it concerns all
	Stream   string // with several streams: the one that it is about; "" if it concerns all
	LeaseKey string // of the shard's lease; that is its id but with several streams
	Text     string
}

// OK reports whether the worker runs and nothing is wrong.
func (h Health) OK() bool { return h.Running && len(h.Problems) == 0 }

// Health looks at this worker and the shards that it holds. A shard is a
// problem when nothing has moved for longer than limit although records wait:
// the processor fails or hangs, what it detached is not acknowledged, its
// checkpoints cannot be stored, or the shard cannot be read. A shard that
// nothing is put into is none: it is asked, and has nothing; nor is a paused one. That the leases
// could not be listed for that long is a problem too.
//
// A shard moves when a batch is handled or a checkpoint is stored, so limit
// should be a good deal longer than a batch takes, and than a processor under
// Config.ExplicitCheckpoints takes between two commits; a minute or more.
// Health makes no request.
func (c *Consumer) Health(limit time.Duration) Health {
	h := Health{Running: c.running()}
	if !h.Running {
		return h
	}
	if age := time.Since(c.looked.Load().at); age > limit {
		h.Problems = append(h.Problems, Problem{Text: fmt.Sprintf(
			"the leases could not be listed for %v: look at the log, and whether the lease store answers", age.Truncate(time.Second))})
	}
	h.Problems = append(h.Problems, c.streams.problems(limit)...)
	for _, held := range c.holdings() {
		if c.gate(held.key) != nil {
			continue // it is to stand still
		}
		if idle := held.progress.age(); idle > limit && c.gate(held.key) == nil {
			p := Problem{ShardID: held.shardID(), LeaseKey: held.key, Text: held.stuck(idle)}
			if c.streams.only == nil {
				p.Stream = held.source.name
			}
			h.Problems = append(h.Problems, p)
		}
	}
	return h
}

// stuck says for how long nothing moved and, where that is known, why.
func (h *holding) stuck(d time.Duration) string {
	text := fmt.Sprintf("nothing moved for %v", d.Truncate(time.Second))
	switch _, idle := h.tracker.state(); {
	case h.unreadable.Load():
		return text + ": the shard cannot be read, see the log"
	case h.failing.Load() > 0:
		return text + fmt.Sprintf(": the processor has failed %d times, see the log", h.failing.Load())
	case !idle:
		return text + ": the processor does not return, or does not acknowledge what it has"
	}
	return text + ": no memory is free for the next read (MaxBufferedBytes), or reading has come to a halt, see the log"
}

// holdings returns the leases that this worker holds, in order of their keys.
func (c *Consumer) holdings() []*holding {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*holding
	for _, key := range slices.Sorted(maps.Keys(c.held)) {
		if h := c.held[key]; h != nil {
			all = append(all, h)
		}
	}
	return all
}

// ShardLag is how far the reader of a shard is behind, see [Consumer.Lag].
type ShardLag struct {
	ShardID  string
	Stream   string // as it was named
	LeaseKey string // of the shard's lease; that is its id but with several streams

	// Behind is how far the last answer of the service was behind the shard's
	// newest record; 0 if nothing newer was there.
	Behind time.Duration

	// Age is how long ago that answer came. While the processor does not take
	// the next batch nobody asks: the lag is then Behind and up to Age more.
	Age time.Duration
}

// Lag returns how far behind the shards are that this worker reads, in order of
// the keys of their leases. It makes no request.
func (c *Consumer) Lag() []ShardLag {
	var lags []ShardLag
	for _, h := range c.holdings() {
		lags = append(lags, ShardLag{h.shardID(), h.source.name, h.key, time.Duration(h.behind.Load()), h.answered.age()})
	}
	return lags
}

// stamp is a moment that one goroutine sets and others ask the age of. The zero
// stamp was never set.
type stamp struct{ at atomic.Pointer[time.Time] }

func (s *stamp) set() {
	now := time.Now()
	s.at.Store(&now)
}

// age returns how long ago the stamp was set, by the monotonic clock; 0 if never.
func (s *stamp) age() time.Duration {
	if t := s.at.Load(); t != nil {
		return time.Since(*t)
	}
	return 0
}
