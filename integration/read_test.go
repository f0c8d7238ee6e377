package integration_test

import (
	"github.com/streamkit/streamkit/internal/aggregation"
)

// readUserRecords returns the data of all user records of a stream, those
// inside aggregated records one by one.
func (s *server) readUserRecords(stream string) [][]byte {
	s.t.Helper()
	var all [][]byte
	shards, err := s.shards(s.t.Context(), stream)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, sh := range shards {
		records, err := s.readShard(s.t.Context(), stream, *sh.ShardId)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, r := range records {
			packed, err := aggregation.Walk(r.Data, func(_ int, user aggregation.Record) bool {
				all = append(all, user.Data)
				return true
			})
			if err != nil {
				s.t.Fatalf("a broken aggregated record in %s: %v", *sh.ShardId, err)
			}
			if !packed {
				all = append(all, r.Data)
			}
		}
	}
	return all
}
