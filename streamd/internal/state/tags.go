package state

import (
	"maps"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// MaxTags is how many tags a stream has at most.
const MaxTags = 50

// tooManyTags is the answer to more.
//
// Source of the wording: errors recorded from AWS.
func tooManyTags(key StreamKey) error {
	return awserr.New("InvalidArgumentException", "Failed to add tags to stream %s under account %s because a given stream cannot have more than %d tags associated with it.", key.Name, key.Account, MaxTags)
}

// tag changes the tags of a stream, which may be UPDATING meanwhile, or of one
// of its consumers. change is given a copy of its own.
func (st *State) tag(key StreamKey, consumer string, change func(tags map[string]string)) (*Stream, error) {
	if consumer != "" {
		return st.tagConsumer(key, consumer, change)
	}
	s, ok := st.Stream(key)
	if !ok {
		return nil, notFound(key)
	}
	if s.Status != Active && s.Status != Updating {
		return nil, notActive(s)
	}
	tags := make(map[string]string, len(s.Tags))
	maps.Copy(tags, s.Tags)
	change(tags)
	if len(tags) > MaxTags {
		return nil, tooManyTags(key)
	}
	next := *s
	next.Tags = tags
	st.streams[s.ID] = &next
	return &next, nil
}

func (c Tag) change(tags map[string]string) { maps.Copy(tags, c.Tags) }

func (c Untag) change(tags map[string]string) {
	for _, k := range c.TagKeys {
		delete(tags, k)
	}
}
