package logcheck_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/streamkit/streamkit/internal/logcheck"
)

func at(second int) time.Time { return time.Unix(int64(second), 0) }

func record(value, seq string, second int) logcheck.Record {
	return logcheck.Record{Value: value, Seq: seq, Arrival: at(second)}
}

func hash(first byte) logcheck.Hash { return logcheck.Hash{first} }

// good is a stream whose only shard was split: three records in the parent, two
// in its lower child, one put without an answer that is stored, one that is not,
// and one that was refused.
func good() *logcheck.History {
	top := logcheck.Hash(slices.Repeat([]byte{0xff}, 16))
	half := top
	half[0] = 0x7f
	h := &logcheck.History{
		Shards: []logcheck.Shard{
			{ID: "parent", To: top, Starting: "100", Ending: "199"},
			{ID: "low", Parents: []string{"parent"}, To: half, Starting: "200"},
			{ID: "high", Parents: []string{"parent"}, From: hash(0x80), To: top, Starting: "200"},
		},
		Final: map[string][]logcheck.Record{
			"parent": {record("a", "110", 1), record("b", "120", 2), record("c", "130", 2)},
			"low":    {record("d", "210", 3), record("e", "1000", 4)},
			"high":   nil,
		},
	}
	put := func(value, shard, seq string, start, end int, outcome logcheck.Outcome) {
		h.Puts = append(h.Puts, logcheck.Put{
			Value: value, Hash: hash(1), Shard: shard, Seq: seq, Outcome: outcome,
			Start: time.Duration(start), End: time.Duration(end),
		})
	}
	put("a", "parent", "110", 1, 3, logcheck.Acked)
	put("b", "parent", "120", 2, 5, logcheck.Acked)
	put("c", "", "", 4, 9, logcheck.Unknown)
	put("d", "low", "210", 10, 11, logcheck.Acked)
	put("e", "low", "1000", 12, 13, logcheck.Acked)
	put("f", "", "", 12, 14, logcheck.Unknown)
	put("g", "", "", 12, 14, logcheck.Refused)
	read := func(shard, after string, start, end int, tip bool, records ...logcheck.Record) {
		h.Reads = append(h.Reads, logcheck.Read{
			Shard: shard, After: after, Start: time.Duration(start), End: time.Duration(end), Tip: tip, Records: records,
		})
	}
	parent, low := h.Final["parent"], h.Final["low"]
	read("parent", "", 5, 6, false, parent[:2]...)
	read("parent", "120", 20, 21, true, parent[2:]...)
	read("low", "", 11, 12, true, low[:1]...)
	read("low", "210", 22, 23, true, low[1:]...)
	read("low", "1000", 24, 25, true)
	h.Reads = append(h.Reads, logcheck.Read{Shard: "low", Somewhere: true, Start: 14, End: 15, Records: low[1:], Tip: true})
	return h
}

func texts(bad []logcheck.Violation) string {
	var lines []string
	for _, v := range bad {
		lines = append(lines, v.String())
	}
	return strings.Join(lines, "\n")
}

// retained is good with the first two records past retention: they are gone from
// the end, and from a late read.
func retained() *logcheck.History {
	h := good()
	h.Shards[0].Horizon = 3
	h.Final["parent"] = h.Final["parent"][2:]
	h.Reads = append(h.Reads,
		logcheck.Read{Shard: "parent", Start: 30, End: 31, Records: h.Final["parent"], Tip: true},
		logcheck.Read{Shard: "parent", After: "100", Start: 30, End: 31, Records: h.Final["parent"], Tip: true})
	return h
}

// TestGoodHistories are histories that a stream can have.
func TestGoodHistories(t *testing.T) {
	for name, h := range map[string]*logcheck.History{
		"nothing":  {},
		"good":     good(),
		"retained": retained(),
	} {
		if bad := h.Check(); len(bad) > 0 {
			t.Errorf("%s: %s", name, logcheck.Describe(bad))
		}
	}
	for _, tt := range []struct {
		name   string
		change func(h *logcheck.History)
	}{
		{"two puts at once in any order", func(h *logcheck.History) { h.Puts[0].Start, h.Puts[0].End = 2, 6 }},
		{"a whole shard past retention", func(h *logcheck.History) {
			h.Shards[0].Horizon = 40
			h.Final["parent"] = nil
			h.Reads = append(h.Reads, logcheck.Read{Shard: "parent", Start: 50, End: 51, Tip: true})
		}},
		{"a read that did not reach the tip", func(h *logcheck.History) {
			h.Reads = append(h.Reads, logcheck.Read{Shard: "low", Start: 30, End: 31, Records: h.Final["low"][:1]})
		}},
		{"a read from a place without a record", func(h *logcheck.History) {
			h.Reads = append(h.Reads, logcheck.Read{Shard: "low", After: "205", Start: 30, End: 31, Records: h.Final["low"], Tip: true})
		}},
		{"an acknowledgement that came too late for the read", func(h *logcheck.History) {
			h.Puts[4].End = 26
			h.Reads[5].Somewhere, h.Reads[5].Records, h.Reads[5].After = false, nil, "210"
		}},
	} {
		h := good()
		tt.change(h)
		if bad := h.Check(); len(bad) > 0 {
			t.Errorf("%s: %s", tt.name, logcheck.Describe(bad))
		}
	}
}

// TestChecks breaks a good history in every way that a check knows.
func TestChecks(t *testing.T) {
	for _, tt := range []struct {
		check      int
		name, want string
		harm       func(h *logcheck.History)
	}{
		{1, "lost", `lost: "e" was acknowledged in low at 1000`, func(h *logcheck.History) { h.Final["low"] = h.Final["low"][:1] }},
		{1, "doubled", `doubled: "a"`, func(h *logcheck.History) { h.Final["low"][0].Value, h.Puts[3].Outcome = "a", logcheck.Unknown }},
		{1, "moved to another number", `moved: "a"`, func(h *logcheck.History) { h.Puts[0].Seq = "111" }},
		{1, "moved to another shard", `moved: "d"`, func(h *logcheck.History) { h.Puts[3].Shard = "high" }},
		{1, "one number for two", `number 1000 of low is "e" and "x"`, func(h *logcheck.History) {
			h.Reads = append(h.Reads, logcheck.Read{Shard: "low", After: "210", Start: 30, End: 31, Records: []logcheck.Record{record("x", "1000", 4)}})
		}},
		{1, "lost though young", `lost: "b"`, func(h *logcheck.History) {
			h.Shards[0].Horizon = 1
			h.Final["parent"] = h.Final["parent"][2:]
		}},
		{2, "stored twice without an answer", `doubled: "c"`, func(h *logcheck.History) {
			h.Final["parent"] = append(h.Final["parent"], record("c", "140", 3))
		}},
		{3, "invented", `invented: "d"`, func(h *logcheck.History) { h.Puts[3].Value = "x" }},
		{3, "refused and stored", `"g" was refused`, func(h *logcheck.History) { h.Final["low"] = append(h.Final["low"], record("g", "1001", 5)) }},
		{3, "invented for a reader alone", `invented: "x"`, func(h *logcheck.History) {
			h.Reads[4].Records = []logcheck.Record{record("x", "1001", 5)}
		}},
		{4, "order", `order: "e" was acknowledged before "d" was put`, func(h *logcheck.History) { h.Puts[3].Start, h.Puts[3].End = 20, 21 }},
		{4, "order of an unanswered put", `order: "b" was acknowledged before "c" was put`, func(h *logcheck.History) {
			h.Final["parent"][1].Value, h.Final["parent"][2].Value = "c", "b"
			h.Puts[1].Seq, h.Puts[2].Start, h.Reads = "130", 8, nil
		}},
		{5, "gap", `read with a gap: "c" at 130`, func(h *logcheck.History) { h.Reads[1].After = "110" }},
		{5, "skipped at the start", `read with a gap: "d" at 210 after the start of low, where the log has 205`, func(h *logcheck.History) {
			h.Final["low"] = slices.Insert(h.Final["low"], 0, record("f", "205", 3))
		}},
		{5, "one too early", `read with a gap: "e" at 1000 after 1000`, func(h *logcheck.History) { h.Reads[3].After = "1000" }},
		{5, "numbers fall", `numbers fall in low: 210, then 210`, func(h *logcheck.History) { h.Final["low"][1].Seq = "210" }},
		{6, "read and gone", `read and gone: "c" of parent at 130`, func(h *logcheck.History) { h.Final["parent"] = h.Final["parent"][:2] }},
		{6, "shown to one reader, not to the next", `reads go back: a read of parent from 120 on ended at the tip without 130`, func(h *logcheck.History) {
			h.Reads = append(h.Reads, logcheck.Read{Shard: "parent", After: "120", Start: 30, End: 31, Tip: true})
		}},
		{6, "acknowledged, not shown", `reads go back: a read of low from 210 on ended at the tip without 1000`, func(h *logcheck.History) {
			h.Reads = append(h.Reads[:3], logcheck.Read{Shard: "low", After: "210", Start: 14, End: 15, Tip: true})
		}},
		{7, "before the start", "before the start: parent", func(h *logcheck.History) { h.Shards[0].Starting = "111" }},
		{7, "after the end", "after the end: parent ended at 125 and holds 130", func(h *logcheck.History) { h.Shards[0].Ending = "125" }},
		{7, "below the parent", "below the parent: low begins with 129", func(h *logcheck.History) { h.Final["low"][0].Seq = "129" }},
		{7, "below the second parent", "below the parent: parent begins with 110, its parent low", func(h *logcheck.History) {
			h.Shards[1].Parents, h.Shards[0].Parents = nil, []string{"high", "low"}
		}},
		{8, "above the shard", `wrong shard: "d"`, func(h *logcheck.History) { h.Puts[3].Hash = hash(0x80) }},
		{8, "below the shard", `wrong shard: "f"`, func(h *logcheck.History) { h.Final["high"] = []logcheck.Record{record("f", "220", 4)} }},
		{9, "arrival", "arrival falls in parent", func(h *logcheck.History) { h.Final["parent"][0].Arrival = at(9) }},
		{9, "two arrivals", `"e" of low arrived at`, func(h *logcheck.History) {
			h.Reads[3].Records = []logcheck.Record{record("e", "1000", 5)}
		}},
		{10, "a hole", `"a" of parent is there at 110, though what stood behind it has left`, func(h *logcheck.History) {
			h.Shards[0].Horizon = 3
			h.Final["parent"] = slices.Delete(h.Final["parent"], 1, 2)
			h.Reads = nil
		}},
		{5, "a hole before a read, though nothing was old enough", "read with a gap", func(h *logcheck.History) {
			h.Shards[0].Horizon = 3
			h.Reads = append(h.Reads, logcheck.Read{Shard: "parent", After: "110", Start: 30, End: 31, Records: []logcheck.Record{record("d2", "140", 3)}, Tip: true})
			h.Final["parent"] = append(h.Final["parent"], record("d2", "140", 3))
			h.Puts = append(h.Puts, logcheck.Put{Value: "d2", Hash: hash(1), Start: 9, End: 10, Outcome: logcheck.Unknown})
		}},
	} {
		t.Run(fmt.Sprintf("%d %s", tt.check, tt.name), func(t *testing.T) {
			h := good()
			tt.harm(h)
			bad := h.Check()
			if !slices.ContainsFunc(bad, func(v logcheck.Violation) bool { return v.Check == tt.check && strings.Contains(v.Text, tt.want) }) {
				t.Errorf("check %d did not report %q; reported:\n%s", tt.check, tt.want, texts(bad))
			}
		})
	}
}

// Whatever a plain log in memory does is a good history; and any record of it
// that is taken out is missed.
func TestModelHistories(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		h := model(r)
		if bad := h.Check(); len(bad) > 0 {
			t.Fatalf("seed %d: %s", seed, logcheck.Describe(bad))
		}
		log := h.Final["s"]
		if len(log) == 0 {
			continue
		}
		i := r.IntN(len(log))
		value := log[i].Value
		h.Final["s"] = slices.Delete(log, i, i+1)
		known := slices.ContainsFunc(h.Puts, func(p logcheck.Put) bool { return p.Value == value && p.Outcome == logcheck.Acked }) ||
			slices.ContainsFunc(h.Reads, func(rd logcheck.Read) bool {
				return slices.ContainsFunc(rd.Records, func(rec logcheck.Record) bool { return rec.Value == value })
			})
		if bad := h.Check(); known != (len(bad) > 0) {
			t.Fatalf("seed %d: %q is gone, which somebody knew: %v; reported:\n%s", seed, value, known, texts(bad))
		}
	}
}

// model runs puts and reads on a slice, one after another and a few at once.
func model(r *rand.Rand) *logcheck.History {
	h := &logcheck.History{Final: make(map[string][]logcheck.Record), Shards: []logcheck.Shard{{ID: "s", To: hash(0xff)}}}
	var log []logcheck.Record
	now := time.Duration(0)
	tick := func() time.Duration { now++; return now }
	for i := range 1 + r.IntN(40) {
		if r.IntN(3) == 0 {
			from := r.IntN(len(log) + 1)
			to := from + r.IntN(len(log)-from+1)
			read := logcheck.Read{Shard: "s", Start: tick(), Records: slices.Clone(log[from:to]), Tip: to == len(log), End: tick()}
			if from > 0 {
				read.After = log[from-1].Seq
			}
			h.Reads = append(h.Reads, read)
			continue
		}
		p := logcheck.Put{Value: fmt.Sprint("v", i), Start: tick()}
		stored := r.IntN(4) > 0
		if stored {
			seq := strconv.Itoa(10 * (len(log) + 1))
			log = append(log, record(p.Value, seq, len(log)/3))
			if r.IntN(4) > 0 {
				p.Outcome, p.Shard, p.Seq = logcheck.Acked, "s", seq
			}
		} else if r.IntN(2) == 0 {
			p.Outcome = logcheck.Refused
		}
		p.End = tick()
		h.Puts = append(h.Puts, p)
	}
	h.Final["s"] = log
	return h
}

func TestRecorder(t *testing.T) {
	r := logcheck.NewRecorder()
	start := r.Now()
	r.Put(
		logcheck.Put{Value: "a", Start: start, End: r.Now(), Outcome: logcheck.Acked, Shard: "s", Seq: "1"},
		logcheck.Put{Value: "b", Start: start, End: r.Now()})
	r.Read(logcheck.Read{Shard: "s", Records: []logcheck.Record{record("a", "1", 1)}})
	if r.Acked() != 1 {
		t.Errorf("%d acknowledged", r.Acked())
	}
	bad := r.History(nil, nil).Check()
	if len(bad) != 2 {
		t.Errorf("an empty stream: %s", texts(bad))
	}
	if got := logcheck.Describe(slices.Repeat(bad, 15)); !strings.Contains(got, "30 broken promises") || !strings.HasSuffix(got, "and 10 more") {
		t.Errorf("described as %s", got)
	}
}

func BenchmarkCheck(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	h := model(r)
	for i := range 10_000 {
		v := fmt.Sprint("x", i)
		seq := strconv.Itoa(1_000_000 + i)
		h.Puts = append(h.Puts, logcheck.Put{Value: v, Start: time.Duration(1000 + 2*i), End: time.Duration(1001 + 2*i), Outcome: logcheck.Acked, Shard: "s", Seq: seq})
		h.Final["s"] = append(h.Final["s"], record(v, seq, 100+i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if bad := h.Check(); len(bad) > 0 {
			b.Fatal(logcheck.Describe(bad))
		}
	}
}
