package api

import (
	"regexp"
	"strings"

	"github.com/streamkit/streamkit/streamd/internal/state"
)

// consumerName matches what follows "/consumer/" in a consumer's resource name:
// its name and the second of its creation.
var consumerName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}:[0-9]+$`)

// key returns the stream that ref is about, whether it exists or not.
func (ref *resourceRef) key() (state.StreamKey, error) {
	key, _, err := ref.parse()
	return key, err
}

// parse returns the stream that ref is about, and which of its consumers: what
// follows "/consumer/", empty if it is the stream itself.
func (ref *resourceRef) parse() (key state.StreamKey, consumer string, err error) {
	name, consumer, isConsumer := strings.Cut(ref.ResourceARN.V, "/consumer/")
	key, err = parseStreamARN(name)
	if err != nil || isConsumer && !consumerName.MatchString(consumer) {
		return key, "", invalidArgument("ResourceARN %s is not the name of a stream or consumer.", ref.ResourceARN.V)
	}
	return key, consumer, nil
}

// resource returns the stream that ref is about, and which of its consumers, as
// parse does. Both exist.
func (a *API) resource(ref *resourceRef) (s *state.Stream, consumer string, err error) {
	key, consumer, err := ref.parse()
	if err != nil {
		return nil, "", err
	}
	s, ok := a.engine.Stream(key)
	switch {
	case !ok:
		return nil, "", streamNotFound(key)
	case consumer != "":
		if _, err := a.consumerByID(s, consumer); err != nil {
			return nil, "", err
		}
	}
	return s, consumer, nil
}

// consumerByID returns a consumer of s by what follows "/consumer/" in its
// resource name.
func (a *API) consumerByID(s *state.Stream, id string) (*state.Consumer, error) {
	c, ok := s.Consumer(id, a.engine.Now())
	if !ok {
		name, _, _ := strings.Cut(id, ":")
		return nil, state.NoConsumer(s.Key, name)
	}
	return c, nil
}
