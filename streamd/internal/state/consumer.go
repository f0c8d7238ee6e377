package state

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// A Consumer is a reader of a stream that is registered for fan-out. It is
// immutable.
type Consumer struct {
	Name string
	// Second is the epoch second in its resource name: that of its creation, or
	// a later one if a consumer before it had that.
	Second int64
	Tags   map[string]string `json:",omitempty"` // not to be changed

	// Status is the consumer's state until Due, from which on it is what follows
	// that state: see At. A zero Due never comes.
	Status Status
	Due    time.Time `json:",omitzero"`
}

// RegisterConsumer adds a consumer to a stream.
type RegisterConsumer struct {
	Key   StreamKey
	Name  string
	Tags  map[string]string `json:",omitempty"`
	Delay time.Duration     // how long the consumer stays CREATING

	// Most is how many consumers the stream may have, and MostCreating how many
	// of them CREATING. 0 means any number. An account with a commitment to a
	// minimum of throughput may have two and a half times as many of the first.
	Most         int `json:",omitempty"`
	MostCreating int `json:",omitempty"`
}

// DeregisterConsumer takes a consumer away from a stream.
type DeregisterConsumer struct {
	Key      StreamKey
	Consumer string // what follows "/consumer/" in its resource name
	Delay    time.Duration
}

func (RegisterConsumer) command()   {}
func (DeregisterConsumer) command() {}

// consumerEnds says what follows a consumer's passing states: "" is that it is
// gone.
var consumerEnds = map[Status]Status{Creating: Active, Deleting: ""}

// At returns the state of the consumer at the given time; ok is false if it is
// gone by then.
func (c *Consumer) At(now time.Time) (status Status, ok bool) {
	if c.Due.IsZero() || now.Before(c.Due) {
		return c.Status, true
	}
	next := consumerEnds[c.Status]
	return next, next != ""
}

// ID returns what follows "/consumer/" in the consumer's resource name.
func (c *Consumer) ID() string { return c.Name + ":" + strconv.FormatInt(c.Second, 10) }

// ARN returns the Amazon resource name of a consumer of stream key.
func (c *Consumer) ARN(key StreamKey) string { return key.ARN() + "/consumer/" + c.ID() }

// LiveConsumers returns the consumers of the stream that are there at the given
// time, in order of name.
func (s *Stream) LiveConsumers(now time.Time) []*Consumer {
	var live []*Consumer
	for _, c := range s.Consumers {
		if _, ok := c.At(now); ok {
			live = append(live, c)
		}
	}
	return live
}

// Consumer returns the consumer with an [Consumer.ID] that is there at the given
// time.
func (s *Stream) Consumer(id string, now time.Time) (*Consumer, bool) {
	for _, c := range s.Consumers {
		if c.ID() == id {
			_, ok := c.At(now)
			return c, ok
		}
	}
	return nil, false
}

// NoConsumer is the answer to who names a consumer that does not exist.
func NoConsumer(key StreamKey, name string) error {
	return awserr.New("ResourceNotFoundException", "Consumer %s, account %s not found.", name, key.Account)
}

func (st *State) registerConsumer(c RegisterConsumer) (*Stream, error) {
	s, ok := st.Stream(c.Key)
	switch {
	case !ok:
		return nil, notFound(c.Key)
	case s.Status != Active && s.Status != Updating:
		return nil, notActive(s)
	}
	now := st.now()
	consumers := s.LiveConsumers(now)
	creating := 0
	for _, other := range consumers {
		if other.Name == c.Name {
			return nil, awserr.New("ResourceInUseException", "Consumer %s under stream %s already exists for account %s.", c.Name, s.Key.Name, s.Key.Account)
		}
		if status, _ := other.At(now); status == Creating {
			creating++
		}
	}
	limit := c.Most
	if st.commitments[c.Key.Scope].InForce(now) {
		limit = c.Most * 5 / 2 // 50 for 20
	}
	switch {
	case c.Most > 0 && len(consumers) >= limit:
		return nil, awserr.New("LimitExceededException", "This request would exceed the limit on the number of consumers of stream %s under account %s. Current count: %d. Limit: %d.", s.Key.Name, s.Key.Account, len(consumers), limit)
	case c.MostCreating > 0 && creating >= c.MostCreating:
		return nil, awserr.New("LimitExceededException", "This request would exceed the limit on the number of consumers in CREATING state of stream %s under account %s. Limit: %d.", s.Key.Name, s.Key.Account, c.MostCreating)
	case len(c.Tags) > MaxTags:
		return nil, tooManyConsumerTags(c.Name, c.Key)
	}
	made := &Consumer{Name: c.Name, Second: max(now.Unix(), s.ConsumerFloor+1), Tags: c.Tags}
	return st.setConsumers(s, append(consumers, made.become(Creating, now, c.Delay))), nil
}

func tooManyConsumerTags(name string, key StreamKey) error {
	return awserr.New("InvalidArgumentException", "Failed to add tags to consumer %s of stream %s under account %s because a given consumer cannot have more than %d tags associated with it.", name, key.Name, key.Account, MaxTags)
}

// become returns the consumer in a passing state that lasts for delay, or in
// what follows it if that is 0; nil if that is nothing.
func (c *Consumer) become(status Status, now time.Time, delay time.Duration) *Consumer {
	next := *c
	next.Status, next.Due = status, now.Add(delay)
	if delay > 0 {
		return &next
	}
	next.Status, next.Due = consumerEnds[status], time.Time{}
	if next.Status == "" {
		return nil
	}
	return &next
}

// setConsumers publishes a stream with other consumers, in a slice of their own.
// Those that are nil are gone.
func (st *State) setConsumers(s *Stream, consumers []*Consumer) *Stream {
	next := *s
	next.Consumers = slices.DeleteFunc(consumers, func(c *Consumer) bool { return c == nil })
	slices.SortFunc(next.Consumers, func(a, b *Consumer) int { return strings.Compare(a.Name, b.Name) })
	st.streams[s.ID] = &next
	return &next
}

// changeConsumer replaces a consumer of a stream by what change makes of it.
func (st *State) changeConsumer(key StreamKey, id string, change func(c *Consumer, status Status) (*Consumer, error)) (*Stream, error) {
	now := st.now()
	name, _, _ := strings.Cut(id, ":")
	s, ok := st.Stream(key)
	if !ok {
		return nil, NoConsumer(key, name)
	}
	consumers := s.LiveConsumers(now)
	i := slices.IndexFunc(consumers, func(c *Consumer) bool { return c.ID() == id })
	if i < 0 {
		return nil, NoConsumer(key, name)
	}
	status, _ := consumers[i].At(now)
	next, err := change(consumers[i], status)
	if err != nil {
		return nil, err
	}
	consumers[i] = next
	return st.setConsumers(s, consumers), nil
}

// deregisterConsumer works on consumers in any state: to deregister twice is
// harmless. What hangs on the resource name goes at once.
func (st *State) deregisterConsumer(c DeregisterConsumer) (*Stream, error) {
	now := st.now()
	second := int64(0)
	s, err := st.changeConsumer(c.Key, c.Consumer, func(old *Consumer, status Status) (*Consumer, error) {
		second = old.Second
		if status == Deleting {
			return old, nil
		}
		return old.become(Deleting, now, c.Delay), nil
	})
	if err != nil {
		return nil, err
	}
	s.ConsumerFloor = max(s.ConsumerFloor, second) // s is new, and nobody has it yet
	if _, ok := s.Policies[c.Consumer]; ok {
		s.Policies = maps.Clone(s.Policies)
		delete(s.Policies, c.Consumer)
	}
	return s, nil
}

// tagConsumer changes the tags of a consumer. change is given a copy of its own.
func (st *State) tagConsumer(key StreamKey, id string, change func(tags map[string]string)) (*Stream, error) {
	return st.changeConsumer(key, id, func(c *Consumer, _ Status) (*Consumer, error) {
		next := *c
		next.Tags = make(map[string]string, len(c.Tags))
		maps.Copy(next.Tags, c.Tags)
		if change(next.Tags); len(next.Tags) > MaxTags {
			return nil, tooManyConsumerTags(c.Name, key)
		}
		return &next, nil
	})
}

// checkConsumers refuses to delete a stream that has consumers, unless it is
// said that they shall go with it.
//
// Source of the wording: hashicorp/terraform-provider-aws, issue 8420.
func (st *State) checkConsumers(s *Stream, enforce bool) error {
	now := st.now()
	for _, c := range s.LiveConsumers(now) {
		if status, _ := c.At(now); status != Deleting && !enforce {
			return awserr.New("ResourceInUseException", "DeleteStream can't delete %s:%s because there are consumers associated with this data stream. To delete %s anyway, set the EnforceConsumerDeletion parameter to true to force the deletion of all the consumers that are associated with it.",
				s.Key.Account, s.Key.Name, s.Key.Name)
		}
	}
	return nil
}
