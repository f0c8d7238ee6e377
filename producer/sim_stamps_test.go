package producer_test

import (
	"math/rand/v2"
	"time"

	"github.com/streamkit/streamkit/internal/aggregation"
	"github.com/streamkit/streamkit/internal/blockrec"
	"github.com/streamkit/streamkit/producer"
)

// simDecoder is made outside of all bubbles.
var simDecoder = func() *blockrec.Decoder {
	d, err := blockrec.NewDecoder()
	if err != nil {
		panic(err)
	}
	return d
}()

// drawForm says whether the records of a history are stamped, and compressed,
// without a change to what else its seed draws.
func drawForm(seed uint64, pl *simPlan) {
	if isPlain(seed) {
		return
	}
	if seed%2 == 1 {
		pl.cfg = producer.Gathering(pl.cfg)
	}
	if pl.cfg.DisableAggregation {
		return
	}
	r := rand.New(rand.NewPCG(seed, 4))
	pl.cfg.DuplicateStamps = r.IntN(3) == 0
	if r.IntN(4) == 0 && !pl.poison { // the service looks for poison in plain text
		pl.cfg.Compression = []producer.Compression{producer.CompressionZstd, producer.CompressionS2}[r.IntN(2)]
		pl.cfg.AggregationMaxSize = 100 + r.IntN(800)
	}
}

// openBlock takes a block apart that a reader without knowledge of blocks has
// got as a user record.
func openBlock(sh *simShard, e *simEntry, block string) (ds []simDelivery) {
	raw, _, _, err := simDecoder.Open(nil, []byte(block), blockrec.MaxRaw)
	if err != nil {
		panic(err)
	}
	_, err = aggregation.WalkBody(raw, nil, func(_ int, r aggregation.Record, _ *aggregation.Stamp) bool {
		ds = append(ds, simDelivery{data: string(r.Data), pk: r.PartitionKey, seq: e.seq(), shard: sh.id})
		return true
	})
	if err != nil {
		panic(err)
	}
	return ds
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
			ok, err := blockrec.NewReader(simDecoder).Walk(e.data, func(_ blockrec.Index, r aggregation.Record, st *aggregation.Stamp) bool {
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
