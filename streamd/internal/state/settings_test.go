package state_test

import (
	"testing"
	"time"

	"github.com/streamkit/streamkit/streamd/internal/state"
)

func bucketChannel(name string) state.ChannelConfig {
	return state.ChannelConfig{
		Name: name, Role: "r", Format: "JSON", Logs: state.ChannelLogs{Enabled: true},
		Bucket: &state.BucketDestination{Bucket: "b", Owner: "o", Compression: "GZIP", Freshness: 300},
	}
}

func tableChannel(name string) state.ChannelConfig {
	return state.ChannelConfig{
		Name: name, Role: "r", Format: "JSON", Schema: "g",
		Table: &state.TableDestination{
			Bucket: "b", Namespace: "ns", Name: "t", Compression: "ZSTD", Freshness: 300,
			Partition: []state.PartitionField{{Transform: "TIME_HOUR", Source: "at"}},
			Failed:    state.FailedRecords{Bucket: "f", Owner: "o", Prefix: "p"},
		},
	}
}

func TestCommitment(t *testing.T) {
	m := newMachine(t)
	start := m.now
	for _, step := range []struct {
		name   string
		at     time.Duration
		enable bool
		do     bool
		want   state.CommitmentStatus
	}{
		{"never made", 0, false, false, state.CommitmentDisabled},
		{"ended before it was made", 0, false, true, state.CommitmentDisabled},
		{"made", 0, true, true, state.CommitmentEnabled},
		{"made again", time.Hour, true, true, state.CommitmentEnabled},
		{"ended early", 2 * time.Hour, false, true, state.CommitmentEnding},
		{"ended early again", 3 * time.Hour, false, true, state.CommitmentEnding},
		{"taken back", 4 * time.Hour, true, true, state.CommitmentEnabled},
		{"much later", 23 * time.Hour, false, false, state.CommitmentEnabled},
		{"ended early once more", 23 * time.Hour, false, true, state.CommitmentEnding},
		{"a moment before its term", 24*time.Hour - time.Millisecond, false, false, state.CommitmentEnding},
		{"at its term", 24 * time.Hour, false, false, state.CommitmentDisabled},
		{"made anew", 30 * time.Hour, true, true, state.CommitmentEnabled},
		{"ended late", 60 * time.Hour, false, true, state.CommitmentDisabled},
	} {
		m.now = start.Add(step.at)
		if step.do {
			m.must(state.ChangeCommitment{Scope: scope, Enable: step.enable})
		}
		if got := m.st.Commitment(scope).Status(m.now); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
	if c := m.st.Commitment(scope); !c.Ended.Equal(m.now) || !c.Started.Equal(start.Add(30*time.Hour)) {
		t.Errorf("ended late: %+v", c)
	}
}

func TestWhatOnlyOnDemandHas(t *testing.T) {
	m := newMachine(t)
	warm := 100
	c := create("s", 4)
	c.Mode, c.Warm, c.Distribution = state.OnDemand, &warm, state.Auto
	const validation = "ValidationException"
	const uncommitted = "WarmThroughputMiBps can only be set in accounts that have MinimumThroughputBillingCommitment enabled. Account 000000000000 has not enabled it in us-east-1."
	refused(t, m, c, validation, uncommitted)
	m.must(state.ChangeCommitment{Scope: scope, Enable: true})
	s := m.must(c)
	if current, target := s.WarmThroughput(); current != 100 || target != 100 || !s.Spreads() {
		t.Errorf("created with %d and %d MiB/s, %s", current, target, s.Strategy())
	}
	refused(t, m, state.ChangeWarmThroughput{Key: s.Key, MiBps: 10241}, validation, "WarmThroughputMiBps must not be more than 10240. Requested: 10241.")
	s = m.must(state.ChangeWarmThroughput{Key: s.Key, MiBps: 0, Delay: time.Second})
	if current, target := s.WarmThroughput(); s.Status != state.Updating || current != 100 || target != 0 {
		t.Errorf("UPDATING with %d and %d MiB/s", current, target)
	}
	s = m.must(state.Complete{StreamID: s.ID, Transition: s.Transition().ID})
	if current, target := s.WarmThroughput(); current != 0 || target != 0 {
		t.Errorf("updated to %d and %d MiB/s", current, target)
	}
	s = m.must(state.ChangeMode{Key: s.Key, Mode: state.OnDemand, Warm: &warm})
	if current, _ := s.WarmThroughput(); current != 100 {
		t.Errorf("the same mode with another throughput: %d", current)
	}
	refused(t, m, state.ChangeMode{Key: s.Key, Mode: state.Provisioned, Warm: &warm}, validation, "WarmThroughputMiBps can only be set when the mode of stream s under account 000000000000 is updated to ON_DEMAND.")
	s = m.must(state.ChangeMode{Key: s.Key, Mode: state.Provisioned})
	if s.Warm != nil || s.Spreads() {
		t.Errorf("PROVISIONED with %v MiB/s, %s", s.Warm, s.Strategy())
	}
	const provisioned = "Request is invalid. Stream s under account 000000000000 is in Provisioned mode."
	refused(t, m, state.ChangeWarmThroughput{Key: s.Key, MiBps: 1}, validation, provisioned)
	refused(t, m, state.ChangeDistribution{Key: s.Key, Distribution: state.Auto}, "InvalidArgumentException", "RecordDistributionStrategy AUTO is only supported for streams in On-Demand mode. Stream s under account 000000000000 is in Provisioned mode.")
	m.must(state.ChangeDistribution{Key: s.Key, Distribution: state.ByKeys})
	refused(t, m, state.CreateChannel{Key: s.Key, Channel: bucketChannel("n")}, validation, provisioned)
	s = m.must(state.ChangeMode{Key: s.Key, Mode: state.OnDemand})
	if current, _ := s.WarmThroughput(); current != 4 || s.Spreads() {
		t.Errorf("ON_DEMAND again with %d MiB/s, %s", current, s.Strategy())
	}
	m.now = m.now.Add(25 * time.Hour)
	m.must(state.ChangeCommitment{Scope: scope})
	refused(t, m, state.ChangeWarmThroughput{Key: s.Key, MiBps: 1}, validation, uncommitted)
}

func TestChannels(t *testing.T) {
	m := newMachine(t)
	c := create("s", 1)
	c.Mode = state.OnDemand
	s := m.must(c)
	c.Key = key("other")
	other := m.must(c)
	before := m.must(state.CreateChannel{Key: s.Key, Channel: bucketChannel("n"), Delay: time.Second})
	ch := before.Channels[0]
	expect := func(when string, want state.Status) {
		t.Helper()
		s, _ := m.st.Stream(key("s"))
		var got state.Status
		if live := s.LiveChannels(m.now); len(live) > 0 {
			got, _ = live[0].At(m.now)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	expect("created", state.Creating)
	if ch.Logs.Group != "/aws/kinesis/n/"+ch.ID || ch.Logs.Stream != "DestinationDelivery" || ch.Bucket.Failed.Prefix != "kinesis-channel/errors/n/"+ch.ID+"/" || len(ch.ID) != 18 {
		t.Errorf("filled in: %+v, %+v", ch, ch.Bucket)
	}
	update := state.UpdateChannel{Key: s.Key, ID: ch.ID, BucketFreshness: 900, Logs: &state.ChannelLogs{}, Delay: time.Second}
	refused(t, m, update, "ResourceInUseException", "Channel n under account 000000000000 not ACTIVE, instead in state CREATING")
	m.now = m.now.Add(time.Second)
	expect("a second later", state.Active)
	refused(t, m, state.CreateChannel{Key: other.Key, Channel: tableChannel("n")}, "ResourceInUseException", "Channel n under account 000000000000 already exists.")
	refused(t, m, state.CreateChannel{Key: s.Key, Channel: bucketChannel("m")}, "LimitExceededException", "This request would exceed the limit on the number of channels to a general purpose bucket for stream s under account 000000000000. Current count: 1. Limit: 1.")
	refused(t, m, state.UpdateChannel{Key: s.Key, ID: ch.ID, TableFreshness: 900}, "InvalidArgumentException", "S3TablesDestinationConfiguration cannot be updated: channel n under account 000000000000 has another destination.")
	s = m.must(update)
	expect("updated", state.Updating)
	if got := s.Channels[0]; got.Bucket.Freshness != 900 || got.Logs.Enabled {
		t.Errorf("updated: %+v", got)
	}
	if before.Channels[0] != ch || ch.Bucket.Freshness != 300 || !ch.Logs.Enabled {
		t.Error("a channel has changed")
	}
	const inUse = "DeleteStream can't delete 000000000000:s because there are channels associated with this data stream. To delete s, delete its channels first."
	refused(t, m, state.DeleteStream{Key: s.Key}, "ResourceInUseException", inUse)
	m.must(state.CreateChannel{Key: s.Key, Channel: tableChannel("m")})
	m.must(state.DeleteChannel{Key: s.Key, ID: ch.ID, Delay: time.Second})
	expect("deleted", state.Deleting)
	refused(t, m, state.DeleteChannel{Key: s.Key, ID: ch.ID}, "ResourceInUseException", "Channel n under account 000000000000 not ACTIVE, instead in state DELETING")
	refused(t, m, state.DeleteStream{Key: s.Key}, "ResourceInUseException", inUse)
	m.now = m.now.Add(time.Second)
	expect("a second after the deletion of the first", state.Active)
	refused(t, m, state.DeleteChannel{Key: s.Key, ID: ch.ID}, "ResourceNotFoundException", "Channel arn:aws:kinesis:us-east-1:000000000000:channel/"+ch.ID+" under account 000000000000 not found.")
	s = m.must(state.CreateChannel{Key: s.Key, Channel: bucketChannel("n")}) // the name is free again
	for _, ch := range s.LiveChannels(m.now) {
		m.must(state.DeleteChannel{Key: s.Key, ID: ch.ID})
	}
	expect("all deleted", "")
	m.must(state.DeleteStream{Key: s.Key})
}

func TestPolicies(t *testing.T) {
	m := newMachine(t)
	s := m.must(create("s", 1))
	const none = "No resource policy found for resource ARN arn:aws:kinesis:us-east-1:000000000000:stream/s"
	refused(t, m, state.DeletePolicy{Key: s.Key}, "ResourceNotFoundException", none)
	before := m.must(state.PutPolicy{Key: s.Key, Policy: "1"})
	m.must(state.PutPolicy{Key: s.Key, Consumer: "c:1", Policy: "2"})
	s = m.must(state.PutPolicy{Key: s.Key, Policy: "3"})
	if s.Policies[""] != "3" || s.Policies["c:1"] != "2" || before.Policies[""] != "1" {
		t.Errorf("policies %v, before %v", s.Policies, before.Policies)
	}
	m.must(state.DeletePolicy{Key: s.Key})
	refused(t, m, state.DeletePolicy{Key: s.Key}, "ResourceNotFoundException", none)
	refused(t, m, state.DeletePolicy{Key: s.Key, Consumer: "d:1"}, "ResourceNotFoundException", none+"/consumer/d:1")
	m.must(state.DeleteStream{Key: s.Key})
	if s = m.must(create("s", 1)); len(s.Policies) != 0 {
		t.Errorf("a stream made anew has policies %v", s.Policies)
	}
}
