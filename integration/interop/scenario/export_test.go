package scenario

import (
	"strconv"

	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

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

// Of histories and tables, for their tests.
type (
	Fate struct{ Official, Killed bool }
	// Again is again.
	Again struct{ Killed, Dropped, Taken, Overlaps int }
	// Look is what a look at a table finds.
	Look struct {
		Owner, From, Checkpoint string
		Counter, Sub            int64
		Kind                    string // of a row that is no lease
	}
)

// CheckHistory puts events in order and checks them.
func CheckHistory(events []Event, workers map[string]Fate, strict bool) (Again, error) {
	h := &history{events: inOrder(events), fate: make(map[string]fate)}
	for name, f := range workers {
		h.fate[name] = fate{official: f.Official, killed: f.Killed}
	}
	a, err := h.check(nil, rules{strict: strict})
	return Again{a.killed, a.dropped, a.taken, a.overlaps}, err
}

func (l Look) row() row {
	n := func(i int64) ddbtypes.AttributeValue {
		return &ddbtypes.AttributeValueMemberN{Value: strconv.FormatInt(i, 10)}
	}
	r := row{"checkpoint": str(l.Checkpoint), "leaseCounter": n(l.Counter), "checkpointSubSequenceNumber": n(l.Sub)}
	if l.Owner != "" {
		r["leaseOwner"] = str(l.Owner)
	}
	if l.From != "" {
		r["checkpointOwner"] = str(l.From)
	}
	return r
}

// WatchTable looks at a table again and again.
func WatchTable(looks []Look) error {
	w := &tableWatch{stop: func() {}, done: make(chan struct{}), last: make(map[string]leaseSeen)}
	close(w.done)
	for _, l := range looks {
		others := make(map[string]row)
		if l.Kind != "" {
			others["other"] = row{"entityType": str(l.Kind)}
		}
		w.look(map[string]row{"a": l.row()}, others)
	}
	_, err := w.end()
	return err
}

// Holders calls holders.
func Holders(looks []Look) map[string][]string {
	leases := make(map[string]row)
	for i, l := range looks {
		leases[strconv.Itoa(i)] = l.row()
	}
	return holders(leases)
}

// StreamOrder calls streamOrder.
func StreamOrder(events []Event) (again, behind int, err error) { return streamOrder(events) }

// Delivered calls delivered.
func Delivered(said []Told, events []Event) error { return delivered(said, events) }
