package state

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// A Channel is the configuration of a delivery from a stream to a bucket or to
// a table. It is kept and shown: nothing is delivered. It is immutable.
type Channel struct {
	ID      string    // of this channel alone, for ever
	Created time.Time // millisecond precision
	ChannelConfig

	// Status is the channel's state until Due, from which on it is what follows
	// that state: see At. A zero Due never comes.
	Status Status
	Due    time.Time `json:",omitzero"`
}

// ChannelConfig is what a channel is asked to do. Exactly one of Bucket and Table
// is set.
type ChannelConfig struct {
	Name   string
	Role   string // whose permissions the channel has
	Format string // of the records, in the API's words
	Schema string `json:",omitempty"`
	Bucket *BucketDestination
	Table  *TableDestination
	KeyID  string `json:",omitempty"` // of the key that what is delivered is encrypted with
	Logs   ChannelLogs
	Tags   map[string]string `json:",omitempty"` // not to be changed
}

// BucketDestination delivers to a bucket.
type BucketDestination struct {
	Bucket, Owner string
	Compression   string
	Template      string `json:",omitempty"` // of the names of objects
	Class         string `json:",omitempty"` // of storage
	Freshness     int    // seconds until what arrived is delivered
	Failed        FailedRecords
}

// TableDestination delivers to a table.
type TableDestination struct {
	Bucket, Namespace, Name string
	Compression             string
	Partition               []PartitionField `json:",omitempty"`
	Freshness               int              // seconds until what arrived is delivered
	Failed                  FailedRecords
}

// PartitionField is a column that a table is partitioned by.
type PartitionField struct{ Transform, Source string }

// FailedRecords is the bucket of records that cannot be delivered.
type FailedRecords struct {
	Bucket, Owner string
	Prefix        string `json:",omitempty"`
}

// ChannelLogs is where a channel logs to.
type ChannelLogs struct {
	Enabled bool
	Group   string `json:",omitempty"`
	Stream  string `json:",omitempty"`
}

// CreateChannel adds a channel to a stream.
type CreateChannel struct {
	Key     StreamKey
	Channel ChannelConfig
	Delay   time.Duration // how long the channel stays CREATING
}

// UpdateChannel changes a channel of a stream. What is zero stays.
type UpdateChannel struct {
	Key             StreamKey
	ID              string
	BucketFreshness int          `json:",omitempty"`
	TableFreshness  int          `json:",omitempty"`
	Logs            *ChannelLogs `json:",omitempty"`
	Delay           time.Duration
}

// DeleteChannel takes a channel away from a stream.
type DeleteChannel struct {
	Key   StreamKey
	ID    string
	Delay time.Duration
}

func (CreateChannel) command() {}
func (UpdateChannel) command() {}
func (DeleteChannel) command() {}

// channelEnds says what follows a channel's passing states: "" is that it is
// gone.
var channelEnds = map[Status]Status{Creating: Active, Updating: Active, Deleting: ""}

// channelMoves says in which states a channel can be brought into another.
var channelMoves = map[Status][]Status{
	Updating: {Active},
	Deleting: {Creating, Active, Updating},
}

// At returns the state of the channel at the given time; ok is false if it is
// gone by then.
func (c *Channel) At(now time.Time) (status Status, ok bool) {
	if c.Due.IsZero() || now.Before(c.Due) {
		return c.Status, true
	}
	next := channelEnds[c.Status]
	return next, next != ""
}

// ARN returns the Amazon resource name of a channel of stream key.
func (c *Channel) ARN(key StreamKey) string { return key.Scope.Channel(c.ID) }

// LiveChannels returns the channels of the stream that are there at the given
// time, in order of their creation.
func (s *Stream) LiveChannels(now time.Time) []*Channel {
	var live []*Channel
	for _, c := range s.Channels {
		if _, ok := c.At(now); ok {
			live = append(live, c)
		}
	}
	return live
}

// maxChannels is how many channels of each kind a stream has at most.
//
// Source: the developer guide's quotas, 2026.
const maxChannels = 1

// quotaName names the kind of the channel's destination.
func (c *ChannelConfig) quotaName() string {
	if c.Table != nil {
		return "streaming table"
	}
	return "general purpose bucket"
}

func (st *State) createChannel(c CreateChannel) (*Stream, error) {
	s, ok := st.Stream(c.Key)
	switch {
	case !ok:
		return nil, notFound(c.Key)
	case s.Mode != OnDemand:
		return nil, awserr.New("ValidationException", "Request is invalid. Stream %s under account %s is in Provisioned mode.", s.Key.Name, s.Key.Account)
	case s.Status != Active && s.Status != Updating:
		return nil, notActive(s)
	}
	now := st.now()
	for _, other := range st.streams {
		if other.Key.Scope == c.Key.Scope && slices.ContainsFunc(other.LiveChannels(now), func(ch *Channel) bool { return ch.Name == c.Channel.Name }) {
			return nil, awserr.New("ResourceInUseException", "Channel %s under account %s already exists.", c.Channel.Name, c.Key.Account)
		}
	}
	channels := s.LiveChannels(now)
	same := 0
	for _, ch := range channels {
		if (ch.Table != nil) == (c.Channel.Table != nil) {
			same++
		}
	}
	if same >= maxChannels {
		return nil, awserr.New("LimitExceededException", "This request would exceed the limit on the number of channels to a %s for stream %s under account %s. Current count: %d. Limit: %d.",
			c.Channel.quotaName(), s.Key.Name, s.Key.Account, same, maxChannels)
	}
	st.ids++
	ch := &Channel{ID: channelID(now, st.ids), Created: now, ChannelConfig: c.Channel}
	ch.fillIn()
	return st.setChannels(s, append(channels, ch.become(Creating, now, c.Delay))), nil
}

// channelID returns the id of a channel: 18 letters and digits.
func channelID(now time.Time, n uint64) string {
	half := func(n uint64) string {
		text := strconv.FormatUint(n, 36)
		return strings.Repeat("0", max(0, 9-len(text))) + text
	}
	return half(uint64(now.UnixMilli())) + half(n)
}

// fillIn gives a new channel what its configuration leaves open.
//
// Source of the names: the API's documentation of AWS::Kinesis::Channel.
func (c *Channel) fillIn() {
	c.Logs = c.logs(c.Logs)
	if c.Bucket == nil || c.Bucket.Failed.Bucket != "" {
		return
	}
	b := *c.Bucket
	b.Failed = FailedRecords{Bucket: b.Bucket, Owner: b.Owner, Prefix: "kinesis-channel/errors/" + c.Name + "/" + c.ID + "/"}
	c.Bucket = &b
}

// logs returns where the channel logs to if it is told to log to l.
func (c *Channel) logs(l ChannelLogs) ChannelLogs {
	if l.Enabled {
		if l.Group == "" {
			l.Group = "/aws/kinesis/" + c.Name + "/" + c.ID
		}
		if l.Stream == "" {
			l.Stream = "DestinationDelivery"
		}
	}
	return l
}

// become returns the channel in a passing state that lasts for delay, or in what
// follows it if that is 0; nil if that is nothing.
func (c *Channel) become(status Status, now time.Time, delay time.Duration) *Channel {
	next := *c
	next.Status, next.Due = status, now.Add(delay)
	if delay > 0 {
		return &next
	}
	next.Status, next.Due = channelEnds[status], time.Time{}
	if next.Status == "" {
		return nil
	}
	return &next
}

// setChannels publishes a stream with other channels. Those that are nil are
// gone.
func (st *State) setChannels(s *Stream, channels []*Channel) *Stream {
	next := *s
	next.Channels = slices.DeleteFunc(channels, func(c *Channel) bool { return c == nil })
	st.streams[s.ID] = &next
	return &next
}

// moveChannel brings a channel into another state, changed by change, which is
// given a copy of its own.
func (st *State) moveChannel(key StreamKey, id string, to Status, delay time.Duration, change func(*Channel) error) (*Stream, error) {
	now := st.now()
	s, ok := st.Stream(key)
	if !ok {
		return nil, NoChannel(key, id)
	}
	channels := s.LiveChannels(now)
	i := slices.IndexFunc(channels, func(c *Channel) bool { return c.ID == id })
	if i < 0 {
		return nil, NoChannel(key, id)
	}
	if status, _ := channels[i].At(now); !slices.Contains(channelMoves[to], status) {
		return nil, awserr.New("ResourceInUseException", "Channel %s under account %s not ACTIVE, instead in state %s", channels[i].Name, key.Account, status)
	}
	next := *channels[i]
	if err := change(&next); err != nil {
		return nil, err
	}
	channels[i] = next.become(to, now, delay)
	return st.setChannels(s, channels), nil
}

// NoChannel is the answer to who names a channel that does not exist.
func NoChannel(key StreamKey, id string) error {
	return awserr.New("ResourceNotFoundException", "Channel %s under account %s not found.", key.Scope.Channel(id), key.Account)
}

func (st *State) updateChannel(c UpdateChannel) (*Stream, error) {
	return st.moveChannel(c.Key, c.ID, Updating, c.Delay, func(ch *Channel) error {
		for _, d := range []struct {
			name      string
			has, asks bool
		}{
			{"S3DestinationConfiguration", ch.Bucket != nil, c.BucketFreshness != 0},
			{"S3TablesDestinationConfiguration", ch.Table != nil, c.TableFreshness != 0},
		} {
			if d.asks && !d.has {
				return awserr.New("InvalidArgumentException", "%s cannot be updated: channel %s under account %s has another destination.", d.name, ch.Name, c.Key.Account)
			}
		}
		if c.BucketFreshness != 0 {
			b := *ch.Bucket
			b.Freshness, ch.Bucket = c.BucketFreshness, &b
		}
		if c.TableFreshness != 0 {
			t := *ch.Table
			t.Freshness, ch.Table = c.TableFreshness, &t
		}
		if c.Logs != nil {
			ch.Logs = ch.logs(*c.Logs)
		}
		return nil
	})
}

func (st *State) deleteChannel(c DeleteChannel) (*Stream, error) {
	return st.moveChannel(c.Key, c.ID, Deleting, c.Delay, func(*Channel) error { return nil })
}

// checkChannels refuses to delete a stream that a channel still reads.
func (st *State) checkChannels(s *Stream) error {
	now := st.now()
	for _, c := range s.LiveChannels(now) {
		if status, _ := c.At(now); status != Deleting {
			return awserr.New("ResourceInUseException", "DeleteStream can't delete %s:%s because there are channels associated with this data stream. To delete %s, delete its channels first.", s.Key.Account, s.Key.Name, s.Key.Name)
		}
	}
	return nil
}
