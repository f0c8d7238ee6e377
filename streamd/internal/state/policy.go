package state

import (
	"maps"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// PutPolicy attaches a resource policy to a stream or to one of its consumers,
// in place of the one that is there.
type PutPolicy struct {
	Key      StreamKey
	Consumer string `json:",omitempty"` // what follows "/consumer/" in its resource name; empty: the stream itself
	Policy   string
}

// DeletePolicy takes a resource policy away.
type DeletePolicy struct {
	Key      StreamKey
	Consumer string `json:",omitempty"`
}

func (PutPolicy) command()    {}
func (DeletePolicy) command() {}

func (st *State) putPolicy(c PutPolicy) (*Stream, error) {
	return st.changePolicies(c.Key, func(policies map[string]string) error {
		policies[c.Consumer] = c.Policy
		return nil
	})
}

func (st *State) deletePolicy(c DeletePolicy) (*Stream, error) {
	return st.changePolicies(c.Key, func(policies map[string]string) error {
		if _, ok := policies[c.Consumer]; !ok {
			resource := c.Key.ARN()
			if c.Consumer != "" {
				resource += "/consumer/" + c.Consumer
			}
			return awserr.New("ResourceNotFoundException", "No resource policy found for resource ARN %s", resource)
		}
		delete(policies, c.Consumer)
		return nil
	})
}

// changePolicies changes the policies of a stream, which may be UPDATING
// meanwhile. change is given a copy of its own.
func (st *State) changePolicies(key StreamKey, change func(policies map[string]string) error) (*Stream, error) {
	s, ok := st.Stream(key)
	switch {
	case !ok:
		return nil, notFound(key)
	case s.Status != Active && s.Status != Updating:
		return nil, notActive(s)
	}
	next := *s
	next.Policies = make(map[string]string, len(s.Policies)+1)
	maps.Copy(next.Policies, s.Policies)
	if err := change(next.Policies); err != nil {
		return nil, err
	}
	st.streams[s.ID] = &next
	return &next, nil
}
