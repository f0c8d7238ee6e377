package state

import (
	"fmt"
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
	"github.com/streamkit/streamkit/internal/seqno"
	"github.com/streamkit/streamkit/streamd/internal/arn"
)

// StreamKey names a stream.
type StreamKey struct {
	arn.Scope
	Name string
}

// ARN returns the stream's Amazon resource name.
func (k StreamKey) ARN() string { return k.Scope.Stream(k.Name) }

// Status is the state of a stream, in the API's words.
type Status string

// The states of a stream.
const (
	Creating Status = "CREATING"
	Active   Status = "ACTIVE"
	Updating Status = "UPDATING"
	Deleting Status = "DELETING"
)

// Mode is a stream's capacity mode, in the API's words.
type Mode string

// The capacity modes.
const (
	Provisioned Mode = "PROVISIONED"
	OnDemand    Mode = "ON_DEMAND"
)

// Stream describes a stream at one position of the journal. It is immutable:
// every change makes a new one.
type Stream struct {
	Key     StreamKey
	ID      uint64 // of this stream alone, for ever: a stream recreated under the same name has another
	Status  Status
	Created time.Time // millisecond precision
	Mode    Mode

	Retention      time.Duration // 24 h to 8760 h
	MaxRecordBytes int           // limit of data and partition key of one record, in bytes

	// Floor is where the horizon stood when the retention was last raised: what
	// had been trimmed by then does not come back. Zero before.
	Floor time.Time `json:",omitzero"`

	Tags map[string]string `json:",omitempty"` // not to be changed

	Metrics []string `json:",omitempty"` // that are kept by shard, in the order of ShardMetrics

	KeyID   string `json:",omitempty"` // of the key that records are encrypted with; empty if they are not
	Ciphers []Span `json:",omitempty"` // of the records that were written encrypted, in order; see Encrypted

	Warm         *int         `json:",omitempty"` // warm throughput that was asked for; see WarmThroughput
	Distribution Distribution `json:",omitempty"`

	// Policies holds the resource policies: that of the stream under "", those
	// of its consumers under their names as PutPolicy has them. Not to be
	// changed.
	Policies map[string]string `json:",omitempty"`

	// Changes holds when the stream was changed lately, of the kinds that are
	// limited by the day: milliseconds since the epoch, in order, no more than
	// the limit allows. Not to be changed.
	Changes map[string][]int64 `json:",omitempty"`

	Consumers     []*Consumer `json:",omitempty"` // in order of name; some may be gone: see LiveConsumers
	ConsumerFloor int64       `json:",omitempty"` // the latest second in the resource name of one that was deregistered

	Channels []*Channel `json:",omitempty"` // of which some may be gone; see LiveChannels

	// Shards holds every shard since the stream was created, by index; empty
	// while the stream is CREATING. A shard that has expired stays here, and
	// is to be left out of listings: see Expired.
	Shards []Shard

	open    []int // indexes of the open shards, in order of their ranges
	pending *Transition
}

// Open returns the indexes of the open shards in order of their hash key
// ranges, which cover the hash space exactly once. The caller must not change
// the slice.
func (s *Stream) Open() []int { return s.open }

// Promised returns how many open shards the stream has once the transition that
// is under way has ended, or now, if those are more.
func (s *Stream) Promised() int {
	n := len(s.open)
	if s.pending == nil {
		return n
	}
	switch c := s.pending.Do.(type) {
	case CreateStream:
		n = c.ShardCount
	case SplitShard:
		n++
	case UpdateShardCount:
		n = max(n, c.Target)
	}
	return n
}

// Route returns the index of the open shard that k belongs to. The stream must
// have shards.
func (s *Stream) Route(k hashkey.Key) int {
	lo, hi := 0, len(s.open)-1
	for lo < hi {
		mid := (lo + hi) / 2
		if s.Shards[s.open[mid]].Range.End.Less(k) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return s.open[lo]
}

// Horizon returns the instant at or before which records have left the stream
// at the given time.
func (s *Stream) Horizon(now time.Time) time.Time {
	if h := now.Add(-s.Retention); h.After(s.Floor) {
		return h
	}
	return s.Floor
}

// Expired reports whether shard i has left the stream at the given time: it is
// closed, and all its records are past retention.
func (s *Stream) Expired(i int, now time.Time) bool {
	sh := &s.Shards[i]
	return !sh.IsOpen() && sh.Closed.Before(s.Horizon(now))
}

// Children returns the indexes of the shards that shard i was split or merged
// into, in order; none while it is open.
func (s *Stream) Children(i int) []int {
	var children []int
	for c := i + 1; c < len(s.Shards); c++ {
		if s.Shards[c].Parent == i || s.Shards[c].AdjacentParent == i {
			children = append(children, c)
		}
	}
	return children
}

// A Transition is a change of a stream that takes effect at a later time.
type Transition struct {
	ID  uint64    // of this transition, for ever
	Due time.Time // when a [Complete] for it is to be issued
	Do  Command   // what takes effect then; nil when only the status changes
}

// Transition returns the transition that is under way, or nil.
func (s *Stream) Transition() *Transition { return s.pending }

// NoShard stands for the index of a parent that does not exist.
const NoShard = -1

// Shard describes one shard of a stream.
type Shard struct {
	Index          int
	Parent         int // NoShard if it has none
	AdjacentParent int // the second parent after a merge, else NoShard
	Range          hashkey.Range
	CreateSecond   int64     // creation time inside its sequence numbers, epoch seconds
	CloseSecond    int64     // time inside its EndingSequenceNumber; 0 while open
	Opened         time.Time // exact instants beside the seconds: a child opens when its parents close
	Closed         time.Time // zero while open
}

// IsOpen reports whether the shard takes records.
func (s *Shard) IsOpen() bool { return s.Closed.IsZero() }

// ID returns the shard's id: "shardId-" and twelve digits.
func (s *Shard) ID() string { return ShardID(s.Index) }

// ShardID returns the id of the shard with the given index.
func ShardID(index int) string { return fmt.Sprintf("shardId-%012d", index) }

// StartingSequenceNumber is below the number of every record of the shard.
func (s *Shard) StartingSequenceNumber() seqno.Number {
	return seqno.Number{Create: s.CreateSecond, Shard: uint32(s.Index), Time: s.CreateSecond}
}

// EndingSequenceNumber is above the number of every record of the shard, which
// must be closed.
func (s *Shard) EndingSequenceNumber() seqno.Number {
	return seqno.Number{Create: s.CreateSecond, Shard: uint32(s.Index), Index: seqno.MaxIndex, Time: s.CloseSecond}
}

// Number returns the sequence number of the record with the given sequence
// index that arrived at the given time.
func (s *Shard) Number(index uint64, arrival time.Time) seqno.Number {
	return seqno.Number{Create: s.CreateSecond, Shard: uint32(s.Index), Index: index, Time: max(arrival.Unix(), s.CreateSecond)}
}

// Position is a place in a shard between two records: before the first record
// whose (Index, Second) is not below it. The zero Position is before all.
//
// The number of a record that does not exist, such as the continuation number
// of an idle shard, decodes to a Position too.
type Position struct {
	Index  uint64 // sequence index
	Second int64  // epoch second inside the sequence number
}

// At returns the position before the record with number n.
func At(n seqno.Number) Position { return Position{Index: n.Index, Second: n.Time} }

// After returns the position behind the record with number n.
func After(n seqno.Number) Position { return Position{Index: n.Index, Second: n.Time + 1} }

// Before reports whether p comes before q.
func (p Position) Before(q Position) bool {
	return p.Index < q.Index || p.Index == q.Index && p.Second < q.Second
}
