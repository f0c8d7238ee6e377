package state

import (
	"time"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// What only streams ON_DEMAND have: warm throughput, and another way to
// distribute records than by their keys. Both go when the stream becomes
// PROVISIONED, and do not come back with the mode.

// Distribution is how records are distributed over a stream's shards, in the
// API's words. The zero Distribution is that by partition keys.
type Distribution string

// The ways to distribute records.
const (
	Auto   Distribution = "AUTO"
	ByKeys Distribution = "USER_PARTITION_KEY"
)

// Spreads reports whether records go to any open shard, whatever their keys.
func (s *Stream) Spreads() bool { return s.Distribution == Auto }

// MaxWarmThroughput is the most that a stream can be warmed to, in MiB/s.
//
// Source: the API's documentation of UpdateStreamWarmThroughput.
const MaxWarmThroughput = 10 << 10

// ChangeWarmThroughput sets the warm throughput of a stream. It is kept and
// shown: the stream's shards stay as they are.
type ChangeWarmThroughput struct {
	Key   StreamKey
	MiBps int
	Delay time.Duration
}

// ChangeDistribution sets how a stream's records are distributed, from the next
// record on.
type ChangeDistribution struct {
	Key          StreamKey
	Distribution Distribution
}

func (ChangeWarmThroughput) command() {}
func (ChangeDistribution) command()   {}

// WarmThroughput returns the warm throughput of a stream in MiB/s: what it is,
// and what it becomes with the transition under way. Without one it is what the
// stream's shards take, 1 MiB/s each.
func (s *Stream) WarmThroughput() (current, target int) {
	current = len(s.open)
	if s.Warm != nil {
		current = *s.Warm
	}
	target = current
	if s.pending == nil {
		return current, target
	}
	switch c := s.pending.Do.(type) {
	case CreateStream:
		if s.Warm == nil {
			return c.ShardCount, c.ShardCount
		}
	case ChangeWarmThroughput:
		target = c.MiBps
	case ChangeMode:
		if c.Warm != nil {
			target = *c.Warm
		}
	}
	return current, target
}

// checkWarm refuses a warm throughput that the account may not have. Of the mode
// it knows nothing.
func (st *State) checkWarm(key StreamKey, mibps int) error {
	if !st.commitments[key.Scope].InForce(st.now()) {
		return notCommitted(key.Scope)
	}
	if mibps > MaxWarmThroughput {
		return awserr.New("ValidationException", "WarmThroughputMiBps must not be more than %d. Requested: %d.", MaxWarmThroughput, mibps)
	}
	return nil
}

// checkOnDemand refuses what a new stream has that only streams ON_DEMAND can
// have.
//
// Source of the first text: an error that was reported from AWS.
func (st *State) checkOnDemand(c CreateStream) error {
	switch {
	case c.Warm != nil && c.Mode != OnDemand:
		return awserr.New("ValidationException", "WarmThroughputMiBps cannot be set while creating stream in Provisioned StreamMode")
	case c.Warm != nil:
		return st.checkWarm(c.Key, *c.Warm)
	case c.Distribution == Auto && c.Mode != OnDemand:
		return notSpread(c.Key)
	}
	return nil
}

// notSpread is the answer to AUTO where it cannot be.
func notSpread(key StreamKey) error {
	return awserr.New("InvalidArgumentException", "RecordDistributionStrategy AUTO is only supported for streams in On-Demand mode. Stream %s under account %s is in Provisioned mode.", key.Name, key.Account)
}

func (c ChangeWarmThroughput) check(st *State) func(*Stream) (same bool, err error) {
	return func(s *Stream) (same bool, err error) {
		if s.Mode != OnDemand {
			return false, awserr.New("ValidationException", "Request is invalid. Stream %s under account %s is in Provisioned mode.", s.Key.Name, s.Key.Account)
		}
		return s.Warm != nil && *s.Warm == c.MiBps, st.checkWarm(s.Key, c.MiBps)
	}
}

func (c ChangeWarmThroughput) change(next *Stream, _ *State) { next.Warm = &c.MiBps }

func (c ChangeMode) check(st *State) func(*Stream) (same bool, err error) {
	return func(s *Stream) (same bool, err error) {
		switch {
		case c.Warm == nil:
			return c.Mode == s.Mode, nil
		case c.Mode != OnDemand:
			return false, awserr.New("ValidationException", "WarmThroughputMiBps can only be set when the mode of stream %s under account %s is updated to %s.", s.Key.Name, s.Key.Account, OnDemand)
		}
		return c.Mode == s.Mode && s.Warm != nil && *s.Warm == *c.Warm, st.checkWarm(s.Key, *c.Warm)
	}
}

func (c ChangeMode) change(next *Stream, _ *State) {
	next.Mode = c.Mode
	if c.Mode != OnDemand {
		next.Warm, next.Distribution = nil, ""
	} else if c.Warm != nil {
		next.Warm = c.Warm
	}
}

func (st *State) changeDistribution(c ChangeDistribution) (*Stream, error) {
	s, ok := st.Stream(c.Key)
	switch {
	case !ok:
		return nil, notFound(c.Key)
	case c.Distribution == Auto && s.Mode != OnDemand:
		return nil, notSpread(c.Key)
	case s.Status != Active && s.Status != Updating:
		return nil, notActive(s)
	}
	next := *s
	if next.Distribution = c.Distribution; next.Distribution == ByKeys {
		next.Distribution = "" // as streams have it that never had another
	}
	st.streams[s.ID] = &next
	return &next, nil
}

// Strategy returns the way in which the stream's records are distributed.
func (s *Stream) Strategy() Distribution {
	if s.Spreads() {
		return Auto
	}
	return ByKeys
}
