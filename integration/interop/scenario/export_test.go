package scenario

import "github.com/aws/aws-sdk-go-v2/service/kinesis/types"

// Of the checks, for their tests.
type (
	Event  = event
	Told   = told
	Stored = stored
)

var (
	Payload = payload
	KeyName = keyName
)

// Lost calls lost.
func Lost(s *Stored, said []Told, got map[string]bool) (int, error) { return s.lost(said, got) }

// Compare calls compare.
func Compare(s *Stored, said []Told) error { return s.compare(said) }

// Follow calls follow, and returns how many records came again.
func Follow(events []Event) (int, error) {
	s, err := follow(events)
	return s.twice, err
}

// Lineage calls lineage.
func Lineage(events []Event, shards []types.Shard) error {
	return (&seen{events: events}).lineage(shards)
}

// StoredIn returns what streams hold that are given as their records by shard.
func StoredIn(shards []types.Shard, records map[string][]types.Record) (*Stored, error) {
	s := &stored{by: make(map[string][]placement), shards: shards}
	for _, shard := range shards {
		for _, r := range records[*shard.ShardId] {
			if err := s.add(shard, r); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}
