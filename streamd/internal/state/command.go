package state

import (
	"time"

	"github.com/streamkit/streamkit/internal/hashkey"
)

// A Command changes the catalogue of streams. It carries everything that is
// not in the state already, except the time, which is its frame's, so that
// applying it is a pure function. Its fields are checked for syntax by the API;
// conditions on the state are checked where it is applied, in journal order,
// and answered with an [awserr.Error].
//
// Commands are stored as JSON under their names: field names are a format.
type Command interface{ command() }

// CreateStream makes a stream with ShardCount open shards.
type CreateStream struct {
	Key            StreamKey
	ShardCount     int
	Mode           Mode
	MaxRecordBytes int
	Tags           map[string]string `json:",omitempty"`
	Warm           *int              `json:",omitempty"` // warm throughput in MiB/s
	Distribution   Distribution      `json:",omitempty"`
	Delay          time.Duration     // how long the stream stays CREATING; 0 means not at all
}

// DeleteStream removes a stream and its records.
type DeleteStream struct {
	Key     StreamKey
	Enforce bool          `json:",omitempty"` // even if it has consumers
	Delay   time.Duration // how long it stays DELETING
}

// SplitShard closes a shard and opens two with its range.
type SplitShard struct {
	Key             StreamKey
	Shard           int
	NewStartingHash hashkey.Key
	Delay           time.Duration // how long the stream stays UPDATING before the shard closes
}

// MergeShards closes two adjacent shards and opens one with both ranges.
type MergeShards struct {
	Key             StreamKey
	Shard, Adjacent int
	Delay           time.Duration
}

// UpdateShardCount splits and merges until Target open shards divide the hash
// space evenly.
type UpdateShardCount struct {
	Key    StreamKey
	Target int
	Delay  time.Duration
	Daily  int `json:",omitempty"` // how many there may be in 24 hours; 0 means any number
}

// ChangeRetention sets for how long records are kept. Increase says which of the
// two operations it is: neither does the other's work.
type ChangeRetention struct {
	Key      StreamKey
	Hours    int
	Increase bool
	Delay    time.Duration
}

// Tag adds tags to a stream or to one of its consumers, or changes their values.
type Tag struct {
	Key      StreamKey
	Consumer string `json:",omitempty"` // what follows "/consumer/" in its resource name; empty: the stream itself
	Tags     map[string]string
}

// Untag takes tags off a stream or one of its consumers. It does not matter
// whether they are there.
type Untag struct {
	Key      StreamKey
	Consumer string `json:",omitempty"`
	TagKeys  []string
}

// ChangeMonitoring switches metrics of a stream's shards on or off.
type ChangeMonitoring struct {
	Key     StreamKey
	Metrics []string // out of ShardMetrics
	Enable  bool
	Delay   time.Duration
}

// ChangeEncryption says with which key records are encrypted from now on.
type ChangeEncryption struct {
	Key   StreamKey
	KeyID string // empty: they are not
	Delay time.Duration
	Daily int `json:",omitempty"` // how many there may be in 24 hours; 0 means any number
}

// ChangeMaxRecordSize sets the limit of one record of a stream. It does not touch
// records that are stored.
type ChangeMaxRecordSize struct {
	Key            StreamKey
	MaxRecordBytes int
	Delay          time.Duration
}

// ChangeMode sets the capacity mode of a stream. Its shards stay.
type ChangeMode struct {
	Key   StreamKey
	Mode  Mode
	Warm  *int `json:",omitempty"` // warm throughput in MiB/s, which only ON_DEMAND has
	Delay time.Duration
	Daily int `json:",omitempty"` // how many there may be in 24 hours; 0 means any number
}

// Complete ends a transition that is due: CREATING and UPDATING become ACTIVE,
// DELETING becomes nothing. It does nothing if the transition has ended.
type Complete struct {
	StreamID   uint64
	Transition uint64
}

func (CreateStream) command()        {}
func (DeleteStream) command()        {}
func (SplitShard) command()          {}
func (MergeShards) command()         {}
func (UpdateShardCount) command()    {}
func (ChangeRetention) command()     {}
func (Tag) command()                 {}
func (Untag) command()               {}
func (ChangeMonitoring) command()    {}
func (ChangeEncryption) command()    {}
func (ChangeMaxRecordSize) command() {}
func (ChangeMode) command()          {}
func (Complete) command()            {}
