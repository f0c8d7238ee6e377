package consumer

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
)

// modelRecord is a record in flight as the simplest of trackers would have it.
type modelRecord struct {
	p     *portion
	i     int
	at    Checkpoint
	block bool // shares its place with the one before
	acked bool
}

// TestTrackerAgainstModel plays acknowledgements of every kind, in random order,
// beside a list with a flag for each record.
func TestTrackerAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 11))
		var freed, charged int64
		tr := newTracker(func(n int64) { freed += n }, false, false)
		var model []modelRecord
		var portions []*portion
		passed := Checkpoint{} // end of the last portion that is wholly acknowledged, with all before
		seq := 100
		check := func(step int, what string) {
			t.Helper()
			unacked := 0
			for _, m := range model {
				if !m.acked {
					unacked++
				}
			}
			if n := tr.waiting(); n != unacked {
				t.Fatalf("seed %d, step %d, after %s: %d unacknowledged, want %d", seed, step, what, n, unacked)
			}
			// The place: over whole portions, then over records, but into no block.
			want, whole := passed, 0
			var held int64
			k := 0
			for _, p := range portions {
				n := 0
				for n < len(p.records) && model[k+n].acked {
					n++
				}
				if n == len(p.records) {
					want = p.end
					k += n
					whole++
					continue
				}
				for n > 0 && model[k+n].block {
					n--
				}
				if n > 0 {
					want = model[k+n-1].at
				}
				break
			}
			for _, p := range portions[whole:] {
				held += p.bytes
			}
			pos, idle := tr.state()
			if pos != want || idle != (whole == len(portions)) {
				t.Fatalf("seed %d, step %d, after %s: position %v, idle %v; want %v, %v", seed, step, what, pos, idle, want, whole == len(portions))
			}
			if charged-freed != held {
				t.Fatalf("seed %d, step %d, after %s: %d bytes held, want %d", seed, step, what, charged-freed, held)
			}
			model, portions, passed = model[k:], portions[whole:], want
		}
		for step := range 200 {
			switch op := rng.IntN(10); {
			case op < 3 || len(model) == 0:
				p := &portion{bytes: int64(1 + rng.IntN(100))}
				for range 1 + rng.IntN(70) {
					block := len(p.records) > 0 && rng.IntN(8) == 0
					if !block {
						seq++
					}
					r := Record{SequenceNumber: strconv.Itoa(seq), index: int32(len(p.records)), of: p}
					p.records = append(p.records, r)
					model = append(model, modelRecord{p, int(r.index), r.Checkpoint(), block, false})
				}
				seq += rng.IntN(2) // records after the last one were dropped
				p.end = Checkpoint{SequenceNumber: strconv.Itoa(seq)}
				charged += p.bytes
				tr.add(p)
				portions = append(portions, p)
				check(step, "add")
			case op < 7:
				m := &model[rng.IntN(len(model))]
				r := m.p.records[m.i]
				r.Ack()
				m.acked = true
				check(step, "ack")
			case op < 8: // a part of a portion is handled
				m := model[rng.IntN(len(model))]
				from := rng.IntN(len(m.p.records))
				to := from + 1 + rng.IntN(len(m.p.records)-from)
				tr.finish(&Batch{Records: m.p.records[from:to], of: m.p})
				for i := range model {
					if model[i].p == m.p && model[i].i >= from && model[i].i < to {
						model[i].acked = true
					}
				}
				check(step, "finish")
			case op < 9: // detached: nothing happens
				m := model[rng.IntN(len(model))]
				tr.finish(&Batch{Records: m.p.records, of: m.p, detached: true})
				check(step, "detached finish")
			default:
				to := rng.IntN(len(model))
				at := model[to].at
				if pos, _ := tr.state(); at.Compare(pos) < 0 {
					continue
				}
				newest := portions[len(portions)-1]
				tr.begin(&Batch{Records: newest.records, of: newest}) // a commit reaches what has come to the processor
				got, err := tr.commit(at, Checkpoint{SequenceNumber: TrimHorizon})
				if err != nil || got != at {
					t.Fatalf("seed %d, step %d: commit %v: %v, %v", seed, step, at, got, err)
				}
				for i := range model {
					if model[i].at.Compare(at) <= 0 {
						model[i].acked = true
					}
				}
				check(step, "commit")
			}
		}
		tr.close()
		if freed != charged || tr.waiting() != 0 {
			t.Fatalf("seed %d: %d of %d bytes returned, %d records unacknowledged after close", seed, freed, charged, tr.waiting())
		}
	}
}

// TestGivenUpIsNotWaitedFor: settle waits for records before what was given up,
// and for no others.
func TestGivenUpIsNotWaitedFor(t *testing.T) {
	tr := newTracker(func(int64) {}, false, false)
	p := &portion{}
	for i := range 10 {
		p.records = append(p.records, Record{SequenceNumber: strconv.Itoa(i + 10), index: int32(i), of: p})
	}
	p.end = p.records[9].Checkpoint()
	tr.add(p)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if tr.settle(over) {
		t.Error("settled with ten records in flight")
	}
	tr.giveUp(p, 3)
	for i, want := range []bool{false, false, true, true} {
		if i == 3 {
			p.records[7].Ack()
		} else {
			p.records[i].Ack()
		}
		if got := tr.settle(over); got != want {
			t.Errorf("settled %v after %d acknowledgements, want %v", got, i+1, want)
		}
	}
}

// BenchmarkAck acknowledges records one by one, the last first.
func BenchmarkAck(b *testing.B) {
	const n = 10000
	p := &portion{records: make([]Record, n)}
	for i := range p.records {
		p.records[i] = Record{SequenceNumber: strconv.Itoa(i + 1000), index: int32(i), of: p}
	}
	b.ReportAllocs()
	for left := b.N; left > 0; left -= n {
		tr := newTracker(func(int64) {}, false, false)
		p.acks, p.next, p.done = nil, 0, false
		tr.add(p)
		for i := n - 1; i >= 0; i-- { // the worst order
			p.records[i].Ack()
		}
	}
}
