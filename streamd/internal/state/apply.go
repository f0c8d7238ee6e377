package state

import (
	"time"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// MaxShards bounds the open shards of a stream, against requests that would
// fill the memory.
const MaxShards = 100_000

// checkCount refuses a number of shards that no stream can have.
func checkCount(n int) error {
	if n < 1 || n > MaxShards {
		return awserr.New("InvalidArgumentException", "The number of shards must be between 1 and %d. Requested: %d.", MaxShards, n)
	}
	return nil
}

// DefaultRetention is the retention of a new stream.
const DefaultRetention = 24 * time.Hour

// applyCommand changes the catalogue. The error is an [*awserr.Error]: the
// command is refused, and changes nothing.
func (st *State) applyCommand(c Command) (*Stream, error) {
	switch c := c.(type) {
	case CreateStream:
		return st.createStream(c)
	case DeleteStream:
		s, ok := st.Stream(c.Key)
		if !ok {
			return nil, notFound(c.Key)
		}
		if err := st.checkConsumers(s, c.Enforce); err != nil {
			return nil, err
		}
		if err := st.checkChannels(s); err != nil {
			return nil, err
		}
		return st.schedule(s, Deleting, c, c.Delay), nil
	case SplitShard:
		return st.reshard(c.Key, c, c.Delay, c.check)
	case MergeShards:
		return st.reshard(c.Key, c, c.Delay, c.check)
	case UpdateShardCount:
		return st.reshard(c.Key, c, c.Delay, func(*Stream) error { return checkCount(c.Target) })
	case ChangeRetention:
		return st.alter(c.Key, c, c.Delay, c.check)
	case ChangeMonitoring:
		return st.alter(c.Key, c, c.Delay, c.check)
	case ChangeEncryption:
		return st.alter(c.Key, c, c.Delay, c.check)
	case ChangeMaxRecordSize:
		return st.alter(c.Key, c, c.Delay, c.check)
	case ChangeMode:
		return st.alter(c.Key, c, c.Delay, c.check(st))
	case ChangeWarmThroughput:
		return st.alter(c.Key, c, c.Delay, c.check(st))
	case ChangeDistribution:
		return st.changeDistribution(c)
	case ChangeCommitment:
		st.changeCommitment(c)
		return nil, nil
	case PutPolicy:
		return st.putPolicy(c)
	case DeletePolicy:
		return st.deletePolicy(c)
	case CreateChannel:
		return st.createChannel(c)
	case UpdateChannel:
		return st.updateChannel(c)
	case DeleteChannel:
		return st.deleteChannel(c)
	case RegisterConsumer:
		return st.registerConsumer(c)
	case DeregisterConsumer:
		return st.deregisterConsumer(c)
	case Tag:
		return st.tag(c.Key, c.Consumer, c.change)
	case Untag:
		return st.tag(c.Key, c.Consumer, c.change)
	case Skip:
		st.skip(c)
		return nil, nil
	case Complete:
		if s, ok := st.streams[c.StreamID]; ok && s.pending != nil && s.pending.ID == c.Transition {
			return st.finish(s), nil
		}
		return st.streams[c.StreamID], nil
	}
	return nil, awserr.Internal() // every command is listed above
}

func (st *State) now() time.Time { return time.UnixMilli(st.arrival) }

func (st *State) createStream(c CreateStream) (*Stream, error) {
	if _, ok := st.Stream(c.Key); ok {
		return nil, awserr.New("ResourceInUseException", "Stream %s under account %s already exists.", c.Key.Name, c.Key.Account)
	}
	if err := checkCount(c.ShardCount); err != nil {
		return nil, err
	}
	if len(c.Tags) > MaxTags {
		return nil, tooManyTags(c.Key)
	}
	if err := st.checkOnDemand(c); err != nil {
		return nil, err
	}
	st.ids++
	s := &Stream{
		Key: c.Key, ID: st.ids, Created: st.now(), Mode: c.Mode,
		Retention: DefaultRetention, MaxRecordBytes: c.MaxRecordBytes, Tags: c.Tags,
		Warm: c.Warm, Distribution: c.Distribution,
	}
	st.byKey[c.Key] = s.ID
	return st.schedule(s, Creating, c, c.Delay), nil
}

// notActive is the answer to a change of a stream that cannot be changed now.
func notActive(s *Stream) error {
	return awserr.New("ResourceInUseException", "Stream %s under account %s not ACTIVE, instead in state %s", s.Key.Name, s.Key.Account, s.Status)
}

// reshard checks a change of the shards and begins it.
func (st *State) reshard(key StreamKey, c Command, delay time.Duration, check func(*Stream) error) (*Stream, error) {
	s, ok := st.Stream(key)
	if !ok {
		return nil, notFound(key)
	}
	if s.Status != Active {
		return nil, notActive(s)
	}
	if s.Mode == OnDemand {
		return nil, awserr.New("ValidationException", "Request is invalid. Stream %s under account %s is in On-Demand mode.", key.Name, key.Account)
	}
	if err := check(s); err != nil {
		return nil, err
	}
	s, err := st.count(s, c)
	if err != nil {
		return nil, err
	}
	return st.schedule(s, Updating, c, delay), nil
}

// schedule puts s into a status that ends when do takes effect, after delay; at
// once if that is 0.
func (st *State) schedule(s *Stream, status Status, do Command, delay time.Duration) *Stream {
	st.ids++
	next := *s
	next.Status = status
	next.pending = &Transition{ID: st.ids, Due: st.now().Add(delay), Do: do}
	st.streams[s.ID] = &next
	if delay > 0 {
		return &next
	}
	return st.finish(&next)
}

// finish lets the transition of s take effect. It returns nil if the stream is
// gone with it.
func (st *State) finish(s *Stream) *Stream {
	next := *s
	next.Status, next.pending = Active, nil
	r := s.reshape(st.now())
	switch c := s.pending.Do.(type) {
	case DeleteStream:
		delete(st.streams, s.ID)
		delete(st.byKey, s.Key)
		delete(st.logs, s.ID)
		return nil
	case CreateStream:
		r.openInitial(c.ShardCount)
	case SplitShard:
		r.split(place(s, c.Shard), c.NewStartingHash)
	case MergeShards:
		r.merge(place(s, c.Shard))
	case UpdateShardCount:
		r.uniform(c.Target)
	case change:
		c.change(&next, st)
	}
	r.apply(&next)
	st.streams[s.ID] = &next
	for len(st.logs[s.ID]) < len(next.Shards) {
		st.logs[s.ID] = append(st.logs[s.ID], new(Log))
	}
	return &next
}

// place returns where an open shard stands in the order of ranges.
func place(s *Stream, shard int) int {
	for p, i := range s.open {
		if i == shard {
			return p
		}
	}
	return -1
}

// openShard checks that a shard can be split or merged.
func (s *Stream) openShard(i int) (*Shard, error) {
	if i < 0 || i >= len(s.Shards) {
		return nil, awserr.New("ResourceNotFoundException", "Could not find shard %s in stream %s under account %s.", ShardID(i), s.Key.Name, s.Key.Account)
	}
	if !s.Shards[i].IsOpen() {
		return nil, awserr.New("InvalidArgumentException", "Shard %s in stream %s under account %s has already been merged or split, and thus is not eligible for merging or splitting.", ShardID(i), s.Key.Name, s.Key.Account)
	}
	return &s.Shards[i], nil
}

func (c SplitShard) check(s *Stream) error {
	sh, err := s.openShard(c.Shard)
	if err != nil {
		return err
	}
	if !splittable(sh.Range, c.NewStartingHash) {
		return awserr.New("InvalidArgumentException", "NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is not both greater than one plus the shard's StartingHashKey %s and less than the shard's EndingHashKey %s.",
			c.NewStartingHash, sh.ID(), s.Key.Name, s.Key.Account, sh.Range.Start, sh.Range.End)
	}
	return nil
}

func (c MergeShards) check(s *Stream) error {
	a, err := s.openShard(c.Shard)
	if err != nil {
		return err
	}
	b, err := s.openShard(c.Adjacent)
	if err != nil {
		return err
	}
	if !a.Range.Precedes(b.Range) {
		return awserr.New("InvalidArgumentException", "Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible for merging", a.ID(), b.ID(), s.Key.Name, s.Key.Account)
	}
	return nil
}
