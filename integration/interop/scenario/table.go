package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer"
)

// tableWatch looks at the rows of a lease table again and again: counters grow, no
// checkpoint goes back, and there are no rows but those of the official library's
// kinds.
type tableWatch struct {
	stop context.CancelFunc
	done chan struct{}

	mu    sync.Mutex // guards all below
	looks int
	wrong []error
	last  map[string]leaseSeen
}

type leaseSeen struct {
	counter int64
	at      consumer.Checkpoint
}

// kinds of rows that are no leases.
//
// Source: amazon-kinesis-client 3.5, EntityType.
var kinds = []string{"LEADER", "CLIENT_VERSION_MIGRATION", "TABLE_MIGRATION", "WORKER_METRIC_STATS", "STREAM"}

// watch begins to look. A table that is not there yet, or does not answer, is
// looked at again.
func (p *play) watch(ctx context.Context) *tableWatch {
	ctx, cancel := context.WithCancel(ctx)
	w := &tableWatch{stop: cancel, done: make(chan struct{}), last: make(map[string]leaseSeen)}
	go func() {
		defer close(w.done)
		for sleep(ctx, 300*time.Millisecond) == nil {
			leases, others, err := p.rows(ctx)
			if err == nil {
				w.look(leases, others)
			}
		}
	}()
	return w
}

// end stops the looks, and returns how many there were, and what was wrong.
func (w *tableWatch) end() (int, error) {
	w.stop()
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looks == 0 {
		w.wrong = append(w.wrong, errors.New("the table was never there"))
	}
	return w.looks, errors.Join(w.wrong[:min(len(w.wrong), 5)]...)
}

type row = map[string]ddbtypes.AttributeValue

func (w *tableWatch) look(leases, others map[string]row) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	for key, r := range leases {
		is := leaseSeen{number(r["leaseCounter"]), consumer.Checkpoint{
			SequenceNumber: text(r["checkpoint"]), SubSequenceNumber: number(r["checkpointSubSequenceNumber"]),
		}}
		was, ok := w.last[key]
		if ok && is.counter < was.counter {
			w.wrong = append(w.wrong, fmt.Errorf("the counter of %s went from %d to %d", key, was.counter, is.counter))
		}
		if ok && is.at.Compare(was.at) < 0 {
			w.wrong = append(w.wrong, fmt.Errorf("the checkpoint of %s went back from %v to %v", key, was.at, is.at))
		}
		w.last[key] = is
	}
	for key, r := range others {
		if kind := text(r["entityType"]); !slices.Contains(kinds, kind) {
			w.wrong = append(w.wrong, fmt.Errorf("row %s is of kind %q", key, kind))
		}
	}
}

// holders returns the owners of the leases of shards that have not ended, with
// those leases. A lease that is being handed over is its old owner's; one without
// an owner is that of "".
func holders(leases map[string]row) map[string][]string {
	out := make(map[string][]string)
	for _, key := range slices.Sorted(maps.Keys(leases)) {
		r := leases[key]
		if text(r["checkpoint"]) == consumer.ShardEnd {
			continue
		}
		owner := text(r["leaseOwner"])
		if old := text(r["checkpointOwner"]); old != "" {
			owner = old
		}
		out[owner] = append(out[owner], key)
	}
	return out
}

func number(v ddbtypes.AttributeValue) int64 {
	if n, ok := v.(*ddbtypes.AttributeValueMemberN); ok {
		i, _ := strconv.ParseInt(n.Value, 10, 64) // 0 is as wrong as any other
		return i
	}
	return 0
}

// leader returns who has the leader's lock; "" if nobody has.
func (p *play) leader(ctx context.Context) (string, error) {
	return p.entry(ctx, "Leader", "ownerName")
}
