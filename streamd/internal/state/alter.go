package state

import (
	"slices"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/awserr"
)

// A change is a command that alters a stream apart from its shards, at the end
// of an UPDATING.
type change interface {
	Command
	// change alters next, a copy of the stream that is not published yet. What
	// next shares with its original must be copied before it is written to.
	change(next *Stream, st *State)
}

// alter checks a change of a stream and begins it. same says that the stream is
// already as the change wants it: the command succeeds without effect.
func (st *State) alter(key StreamKey, c change, delay time.Duration, check func(*Stream) (same bool, err error)) (*Stream, error) {
	s, ok := st.Stream(key)
	if !ok {
		return nil, notFound(key)
	}
	same, err := check(s)
	switch {
	case err != nil:
		return nil, err
	case s.Status != Active:
		return nil, notActive(s)
	case same:
		return s, nil
	}
	if s, err = st.count(s, c); err != nil {
		return nil, err
	}
	return st.schedule(s, Updating, c, delay), nil
}

// check compares with the retention that there is.
//
// Source of the wording: errors recorded from AWS.
func (c ChangeRetention) check(s *Stream) (same bool, err error) {
	current := int(s.Retention / time.Hour)
	switch {
	case c.Increase && c.Hours < current:
		return false, awserr.New("InvalidArgumentException", "Requested retention period (%d hours) for stream %s can not be shorter than existing retention period (%d hours). Use DecreaseRetentionPeriod API.", c.Hours, s.Key.Name, current)
	case !c.Increase && c.Hours > current:
		return false, awserr.New("InvalidArgumentException", "Requested retention period (%d hours) for stream %s can not be longer than existing retention period (%d hours). Use IncreaseRetentionPeriod API.", c.Hours, s.Key.Name, current)
	}
	return c.Hours == current, nil
}

func (c ChangeRetention) change(next *Stream, st *State) {
	retention := time.Duration(c.Hours) * time.Hour
	if retention > next.Retention {
		next.Floor = next.Horizon(st.now())
	}
	next.Retention = retention
}

// ShardMetrics returns the metrics that can be kept by shard, in the API's words
// and the order in which it lists them.
func ShardMetrics() []string {
	return []string{
		"IncomingBytes", "IncomingRecords", "OutgoingBytes", "OutgoingRecords",
		"WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded", "IteratorAgeMilliseconds",
	}
}

// Desired returns the metrics that a stream will have which has current now.
func (c ChangeMonitoring) Desired(current []string) []string {
	return slices.DeleteFunc(ShardMetrics(), func(name string) bool {
		if slices.Contains(c.Metrics, name) {
			return !c.Enable
		}
		return !slices.Contains(current, name)
	})
}

func (c ChangeMonitoring) check(s *Stream) (same bool, err error) {
	return slices.Equal(c.Desired(s.Metrics), s.Metrics), nil
}

func (c ChangeMonitoring) change(next *Stream, _ *State) { next.Metrics = c.Desired(next.Metrics) }

func (c ChangeMaxRecordSize) check(s *Stream) (same bool, err error) {
	return c.MaxRecordBytes == s.MaxRecordBytes, nil
}

func (c ChangeMaxRecordSize) change(next *Stream, _ *State) { next.MaxRecordBytes = c.MaxRecordBytes }
