package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// history is what the workers of a fleet in several languages saw, in the order
// of time, and what there is to know of the workers.
//
// It is checked for what the consumer's own histories are checked for: nothing is
// lost, the records of a key come in their order, those of a shard after those of
// its parents, and none comes twice without a reason.
type history struct {
	events []event
	fate   map[string]fate // by worker
}

// fate is what became of a worker.
type fate struct {
	official bool // of the official library
	killed   bool
}

// again counts the records that came more than once, by what made them do so.
type again struct {
	killed   int // the worker that had them first was killed
	dropped  int // a worker of the official library let go of a lease without a checkpoint
	taken    int // a worker of this module had its lease taken, by the rules of version 2
	copies   int // the producer put them twice
	overlaps int // of all: came from a worker that did not know yet that another had begun
}

func (a again) String() string {
	return fmt.Sprintf("%d after a kill, %d that the official library had not checkpointed, %d of leases taken from this module, %d put twice; %d came late to a worker that had lost its lease",
		a.killed, a.dropped, a.taken, a.copies, a.overlaps)
}

// inOrder puts the events of workers in the order of time. Those of one worker stay
// in theirs.
func inOrder(lists ...[]event) []event {
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b event) int { return int(a.Micros - b.Micros) })
	return all
}

// rules is what a history may have.
type rules struct {
	// strict allows no lease of this module's to be taken: by the rules of version
	// 3 it is handed over.
	strict bool
	// copies allows records to be stored twice, by producers that put again what
	// has landed on another shard.
	copies bool
}

// check returns how often records came again, and what must not be.
func (h *history) check(shards []types.Shard, r rules) (again, error) {
	s, err := follow(h.events)
	errs := []error{err, s.lineage(shards)}
	count, err := h.again(r)
	return count, errors.Join(append(errs, err)...)
}

func (h *history) again(allowed rules) (count again, err error) {
	var errs []error
	last := make(map[string]int)   // delivery of each record
	has := make(map[string]string) // worker that has begun a shard as the last one
	for i, e := range h.events {
		switch e.Event {
		case "begin":
			has[e.Shard] = e.Worker
			continue
		case "record":
		default:
			continue
		}
		late := has[e.Shard] != e.Worker
		j, twice := last[string(e.Data)]
		if !late || !twice {
			last[string(e.Data)] = i // what comes next is that worker's doing, not a late one's
		}
		if late {
			count.overlaps++
			if allowed.strict && !h.fate[e.Worker].official {
				errs = append(errs, fmt.Errorf("%s had a record of %s after %s had begun there", e.Worker, e.Shard, has[e.Shard]))
			}
		}
		if !twice {
			continue
		}
		before := h.events[j]
		switch had := h.fate[before.Worker]; {
		case allowed.copies && before.Seq != e.Seq:
			count.copies++
		case before.Shard != e.Shard || before.Seq != e.Seq || before.Sub != e.Sub:
			errs = append(errs, fmt.Errorf("%s came from %s at %s/%d and from %s at %s/%d: it is stored twice", e.Key, before.Shard, before.Seq, before.Sub, e.Shard, e.Seq, e.Sub))
		case late && h.lost(e.Worker, e.Shard, i):
			// Counted already: it had the shard no longer, and was told so after that.
		case had.killed:
			count.killed++
		case had.official:
			count.dropped++
		case h.lost(before.Worker, e.Shard, j) && !allowed.strict:
			count.taken++
		default:
			errs = append(errs, fmt.Errorf("%s of %s at %s came to %s and again to %s, and neither a kill nor a lost lease says why", e.Key, e.Shard, e.Seq, before.Worker, e.Worker))
		}
	}
	if len(errs) > 5 {
		errs = append(errs[:5], fmt.Errorf("and %d more", len(errs)-5))
	}
	return count, errors.Join(errs...)
}

// lost says whether a worker was told that it had lost a shard, after event i.
func (h *history) lost(worker, shard string, i int) bool {
	return slices.ContainsFunc(h.events[i:], func(e event) bool {
		return e.Event == "lost" && e.Worker == worker && e.Shard == shard
	})
}

// who returns the workers that have had records, and how many.
func (h *history) who() string {
	count := make(map[string]int)
	var names []string
	for _, e := range h.events {
		if e.Event == "record" {
			if count[e.Worker]++; count[e.Worker] == 1 {
				names = append(names, e.Worker)
			}
		}
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, count[name])
	}
	return strings.Join(names, ", ")
}
