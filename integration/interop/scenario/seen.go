package scenario

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// event is a line of what the processors of a consumer saw.
type event struct {
	Event  string `json:"event"` // begin, record, ended, lost, requested or halted
	Micros int64  `json:"us"`    // since 1970
	Worker string `json:"worker"`
	Shard  string `json:"shard"`
	Key    string `json:"key,omitempty"`
	Seq    string `json:"seq,omitempty"`
	Sub    int64  `json:"sub,omitempty"`
	Data   []byte `json:"data,omitempty"`
}

// seen is what came out of a run.
type seen struct {
	events []event
	next   map[int]int64 // by key: the least number that has not come
	twice  int           // records that came again
}

// follow reads events in their order, and fails at the first record that came
// before its predecessor of the same key, or is not as it was put.
func follow(events []event) (*seen, error) {
	s := &seen{events: events, next: make(map[int]int64)}
	for i, e := range events {
		if e.Event != "record" {
			continue
		}
		key, n, err := numbers(e.Data)
		if err != nil {
			return s, err
		}
		if e.Key != keyName(key) || !bytes.Equal(e.Data, payload(key, n)) {
			return s, fmt.Errorf("event %d: record %d of %s is not as it was put", i, n, e.Key)
		}
		switch {
		case n > s.next[key]:
			return s, fmt.Errorf("event %d: record %d of %s came to %s, on %s, before record %d", i, n, e.Key, e.Worker, e.Shard, s.next[key])
		case n == s.next[key]:
			s.next[key]++
		default:
			s.twice++
		}
	}
	return s, nil
}

// complete says whether all that l has stored has come.
func (s *seen) complete(l *load) error {
	for k := range l.put {
		if have, want := s.next[k], l.put[k].Load(); have < want {
			return fmt.Errorf("of %s, %d of %d records have come", keyName(k), have, want)
		}
	}
	return nil
}

// lineage fails if a processor saw a record of a shard before the shards that
// it comes of had ended, or if a shard that ended was not reported as ended.
func (s *seen) lineage(shards []types.Shard) error {
	first, ended := make(map[string]int), make(map[string]int)
	for i, e := range s.events {
		at := first
		if e.Event == "ended" {
			at = ended
		} else if e.Event != "record" {
			continue
		}
		if _, ok := at[e.Shard]; !ok {
			at[e.Shard] = i
		}
	}
	for _, shard := range shards {
		id := *shard.ShardId
		if _, ok := ended[id]; !ok && shard.SequenceNumberRange.EndingSequenceNumber != nil {
			return fmt.Errorf("%s has ended, and no processor was told", id)
		}
		begin, ok := first[id]
		if !ok {
			continue
		}
		for _, parent := range []*string{shard.ParentShardId, shard.AdjacentParentShardId} {
			if parent == nil {
				continue
			}
			if end, ok := ended[*parent]; !ok || end > begin {
				return fmt.Errorf("the first record of %s came before its parent %s had ended", id, *parent)
			}
		}
	}
	return nil
}

// workers returns who has had records.
func (s *seen) workers() []string {
	var all []string
	for _, e := range s.events {
		if e.Event == "record" && !slices.Contains(all, e.Worker) {
			all = append(all, e.Worker)
		}
	}
	slices.Sort(all)
	return all
}

// closed counts the shards that have ended.
func closed(shards []types.Shard) int {
	n := 0
	for _, s := range shards {
		if aws.ToString(s.SequenceNumberRange.EndingSequenceNumber) != "" {
			n++
		}
	}
	return n
}
