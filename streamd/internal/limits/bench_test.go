package limits_test

import (
	"testing"

	"github.com/streamkit/streamkit/streamd/internal/api"
	"github.com/streamkit/streamkit/streamd/internal/clock"
	"github.com/streamkit/streamkit/streamd/internal/limits"
)

// BenchmarkAdmit decides about a request of 500 records for four shards in
// turn.
func BenchmarkAdmit(b *testing.B) {
	var c clock.Clock
	l := limits.New(limits.Rates{WriteRecords: 1 << 28, WriteBytes: 1 << 28}, nil, c.Now, nil)
	s := stream(1, mib)
	records := make([]api.Incoming, 500)
	for i := range records {
		records[i] = api.Incoming{Shard: i % 4, Size: 100}
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Admit(b.Context(), s, records)
	}
}
