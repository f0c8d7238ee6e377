package scenario_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/streamkit/streamkit/integration/interop/scenario"
)

func came(shard string, key int, n int64) scenario.Event {
	return scenario.Event{
		Event: "record", Shard: shard, Key: scenario.KeyName(key), Worker: "w",
		Data: scenario.Payload(key, n),
	}
}

func ended(shard string) scenario.Event { return scenario.Event{Event: "ended", Shard: shard} }

func TestFollow(t *testing.T) {
	other := came("a", 1, 0)
	other.Key = scenario.KeyName(2)
	changed := came("a", 1, 20)
	changed.Data = append(scenario.Payload(1, 20), 0)
	for name, c := range map[string]struct {
		events []scenario.Event
		err    string
		twice  int
	}{
		"in order":          {[]scenario.Event{came("a", 1, 0), came("b", 2, 0), came("a", 1, 1)}, "", 0},
		"again":             {[]scenario.Event{came("a", 1, 0), came("a", 1, 1), came("b", 1, 0), came("b", 1, 1), came("b", 1, 2)}, "", 2},
		"one is missing":    {[]scenario.Event{came("a", 1, 0), came("a", 1, 2)}, "before record 1", 0},
		"out of order":      {[]scenario.Event{came("a", 1, 1), came("a", 1, 0)}, "before record 0", 0},
		"another key":       {[]scenario.Event{other}, "not as it was put", 0},
		"another content":   {[]scenario.Event{changed}, "not as it was put", 0},
		"not of the run":    {[]scenario.Event{{Event: "record", Data: []byte{0, 0, 0}}}, "not put by this run", 0},
		"other events only": {[]scenario.Event{ended("a"), {Event: "begin"}}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			twice, err := scenario.Follow(c.events)
			if !says(err, c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if twice != c.twice {
				t.Errorf("%d came again, want %d", twice, c.twice)
			}
		})
	}
}

func TestLineage(t *testing.T) {
	open, closed := (*string)(nil), aws.String("9")
	shard := func(id string, end *string, parents ...string) types.Shard {
		s := types.Shard{ShardId: &id, SequenceNumberRange: &types.SequenceNumberRange{EndingSequenceNumber: end}}
		for i := range parents {
			*[]**string{&s.ParentShardId, &s.AdjacentParentShardId}[i] = &parents[i]
		}
		return s
	}
	merged := []types.Shard{shard("a", closed), shard("b", closed), shard("c", open, "a", "b")}
	for name, c := range map[string]struct {
		shards []types.Shard
		events []scenario.Event
		err    string
	}{
		"parents first":        {merged, []scenario.Event{came("a", 1, 0), ended("a"), ended("b"), came("c", 1, 1)}, ""},
		"nothing of the child": {merged, []scenario.Event{ended("b"), ended("a")}, ""},
		"too early":            {merged, []scenario.Event{ended("a"), came("c", 1, 0), ended("b")}, "before its parent b"},
		"an end untold":        {merged, []scenario.Event{ended("a"), came("c", 1, 0)}, "b has ended, and no processor was told"},
		"ended twice":          {merged, []scenario.Event{ended("a"), ended("b"), came("c", 1, 0), ended("b")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := scenario.Lineage(c.events, c.shards); !says(err, c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

// says reports whether err has a text, or is nil if that is empty.
func says(err error, text string) bool {
	if err == nil || text == "" {
		return err == nil && text == ""
	}
	return strings.Contains(err.Error(), text)
}
