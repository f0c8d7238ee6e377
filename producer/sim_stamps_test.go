package producer_test

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/streamkit/streamkit/internal/aggregation"
)

// drawStamps says whether the records of a history are stamped, without a
// change to what else its seed draws.
func drawStamps(seed uint64, pl *simPlan) bool {
	found := slices.ContainsFunc(simFound, func(f simFind) bool { return f.seed == seed })
	return !found && !pl.cfg.DisableAggregation && rand.New(rand.NewPCG(seed, 4)).IntN(3) == 0
}

// checkStamped reads the stream as a consumer with marks does: each record that
// was reported stored comes once, and none twice.
func (s *simService) checkStamped(h *simHistory) {
	if !h.stamps {
		return
	}
	type copyOf struct {
		data string
		born int // a consumer of a stream created anew begins anew
	}
	times := map[copyOf]int{}
	last := map[string]int{}
	got := map[string]bool{}
	done := map[*simShard]*aggregation.Marks{}
	for _, sh := range s.shards {
		var parents []*aggregation.Marks
		for _, p := range sh.parents {
			parents = append(parents, done[p])
		}
		m := aggregation.NewMarks(sh.keys, parents...)
		done[sh] = m
		for _, e := range sh.entries {
			ok, err := aggregation.WalkStamped(e.data, func(_ int, r aggregation.Record, st *aggregation.Stamp) bool {
				if st == nil {
					h.complain("record %.40q has no stamp", r.Data)
				}
				if m.Admit(st, hashOf(r.PartitionKey, r.ExplicitHashKey), time.Unix(0, 0).Add(e.send.at)) != aggregation.Live {
					return true
				}
				data := string(r.Data)
				if times[copyOf{data, sh.born}]++; times[copyOf{data, sh.born}] == 2 {
					h.complain("stamps: record %.40q comes twice", data)
				}
				f := h.fates[data]
				if f == nil || f.result.Err != nil || got[data] {
					return true
				}
				got[data] = true
				if ordered(f.key) && f.n <= last[f.key] && s.faults.misnumber == 0 {
					h.complain("stamps: key %s: record %d comes after %d", f.key, f.n, last[f.key])
				}
				last[f.key] = max(last[f.key], f.n)
				return true
			})
			if !ok || err != nil {
				h.complain("stamps: a Kinesis record is not aggregated: %v", err)
			}
		}
	}
	for _, f := range h.fates {
		if f.reports > 0 && f.result.Err == nil && !got[f.data] {
			h.complain("stamps: record %.40q was reported stored, and its reader does not get it", f.data)
		}
	}
}
