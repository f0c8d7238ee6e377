package api

import (
	"time"

	"github.com/streamkit/streamkit/streamd/internal/state"
	"github.com/streamkit/streamkit/streamd/internal/store"
)

// Meter is told what streams take and give. Its methods are called on the way
// of the records: they must not wait, and keep nothing of what they are given.
type Meter interface {
	// Put is told of each call of PutRecord and PutRecords whose records were
	// looked at one by one.
	Put(s *state.Stream, p Put)
	// Got is told of each call of GetRecords that succeeded: how much it
	// returned, and how old the last record is, 0 at the tip of the shard.
	Got(s *state.Stream, shard, records, bytes int, age time.Duration)
	// Sent is told of each event that a consumer with enhanced fan-out was sent,
	// those without records too.
	Sent(s *state.Stream, consumer string, e Event)
}

// Put is what came of the records of a call.
type Put struct {
	Batch     bool           // of PutRecords
	Records   []store.Record // that were stored
	Stored    []store.Stored // where each went
	Throttled int            // records that were refused for coming too fast
	Failed    int            // records that were refused for another reason
}

// Event is one of SubscribeToShard.
type Event struct {
	Shard   int
	Records int
	Bytes   int           // of data
	Behind  time.Duration // MillisBehindLatest
}

// nobody is the Meter of those who have none.
type nobody struct{}

func (nobody) Put(*state.Stream, Put)                          {}
func (nobody) Got(*state.Stream, int, int, int, time.Duration) {}
func (nobody) Sent(*state.Stream, string, Event)               {}

// count adds up what came of the records that in had and that were looked at.
func (in *putRecordsInput) count(stored []store.Record) Put {
	p := Put{Batch: true, Records: stored, Stored: in.stored.stored}
	for i := range in.stored.coming {
		switch e := in.stored.coming[i].Refused; {
		case e == nil:
		case e.Code == "ProvisionedThroughputExceededException":
			p.Throttled++
		default:
			p.Failed++
		}
	}
	return p
}
